//! Whose customers, subscriptions, invoices and payment intents are: the columns `user_id`, `linked_by` and `last_named`
//! of their tables, and the words that they are computed from. It must never decide whose something is: `base::ownership`
//! does. Called by `owner` and by the kinds that have an owner.

use crate::base::ownership::{LinkedBy, OwnedBy, SubscriptionClaim};
use crate::store::engine::row::{self, CellResult, RowReader, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// The value of `last_named`: the event that named a user, written so that the greatest text is the newest.
pub(crate) fn naming(event_created: i64, event_id: &str, user_id: &str) -> String {
    format!("{event_created:012} {event_id} {user_id}")
}

/// The user in a `last_named`.
pub(crate) fn user_of(last_named: &str) -> Option<&str> {
    last_named.splitn(3, ' ').nth(2)
}

/// The kinds of objects that have a table with `last_named`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnableKind {
    /// `stripe_customers`.
    Customer,
    /// `stripe_subscriptions`.
    Subscription,
    /// `stripe_invoices`.
    Invoice,
    /// `stripe_payment_intents`.
    PaymentIntent,
}

/// An object of such a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnableObject<'a> {
    pub(crate) kind: OwnableKind,
    pub(crate) id: &'a str,
}

macro_rules! of_table {
    ($named:expr, $before:expr, $between:expr, $after:expr) => {{
        const CUSTOMER: &str = constcat::concat!($before, "stripe_customers", $between, "stripe_customer_id", $after);
        const SUBSCRIPTION: &str =
            constcat::concat!($before, "stripe_subscriptions", $between, "stripe_subscription_id", $after);
        const INVOICE: &str = constcat::concat!($before, "stripe_invoices", $between, "stripe_invoice_id", $after);
        const PAYMENT_INTENT: &str =
            constcat::concat!($before, "stripe_payment_intents", $between, "stripe_intent_id", $after);
        match $named {
            OwnableKind::Customer => CUSTOMER,
            OwnableKind::Subscription => SUBSCRIPTION,
            OwnableKind::Invoice => INVOICE,
            OwnableKind::PaymentIntent => PAYMENT_INTENT,
        }
    }};
}

impl OwnableKind {
    /// Stripe's word for it.
    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Subscription => "subscription",
            Self::Invoice => "invoice",
            Self::PaymentIntent => "payment_intent",
        }
    }
}

columns! {
    /// What the row of an object says of its user.
    pub(crate) struct OwnerNaming {
        metadata: String,
        last_named: Option<String>,
        event_created: i64 = "coalesce(event_created, 0)",
        event_id: String = "coalesce(event_id, '')",
    }
}

/// What the row of an object says of its user.
pub(crate) fn find_naming(reader: &StoreReader, object: OwnableObject) -> Result<Option<OwnerNaming>, StoreError> {
    let sql = of_table!(object.kind, select!(OwnerNaming, "FROM "), " WHERE ", " = ?1");
    reader.find(sql, [object.id], OwnerNaming::read)
}

/// Replaces the last name of an object whose metadata name nobody.
pub(crate) fn set_last_named(tx: &Tx, object: OwnableObject, naming: Option<&str>) -> Result<(), StoreError> {
    let sql = of_table!(object.kind, "UPDATE ", " SET last_named = ?2 WHERE ", " = ?1 AND last_named IS NOT ?2");
    tx.execute(sql, (object.id, naming)).map(|_| ())
}

/// Reads the column `linked_by`.
pub(crate) fn linked_by(cells: &mut RowReader) -> CellResult<Option<LinkedBy>> {
    let word: Option<String> = cells.take()?;
    Ok(word.as_deref().and_then(LinkedBy::parse))
}

/// Reads a user and `linked_by`.
fn owner(cells: &mut RowReader) -> CellResult<Option<OwnedBy>> {
    let user_id: Option<String> = cells.take()?;
    Ok(user_id.zip(linked_by(cells)?).map(|(user_id, linked_by)| OwnedBy { user_id, linked_by }))
}

columns! {
    /// The columns of a customer that decide and say whose it is.
    pub(crate) struct OwnedCustomer {
        owner: Option<OwnedBy> = "owner_user_id, linked_by" => owner,
        contested: bool,
        metadata: String,
        last_named: Option<String>,
        created: Option<i64>,
    }
}

/// A customer's words and owner.
pub(crate) fn find_customer(reader: &StoreReader, customer_id: &str) -> Result<Option<OwnedCustomer>, StoreError> {
    const SQL: &str = select!(OwnedCustomer, "FROM stripe_customers WHERE stripe_customer_id = ?1");
    reader.find(SQL, [customer_id], OwnedCustomer::read)
}

columns! {
    /// The same of a subscription, an invoice or a payment intent.
    pub(crate) struct OwnedObject {
        customer_id: Option<String> = "stripe_customer_id",
        owner: Option<OwnedBy> = "user_id, linked_by" => owner,
        metadata: String,
        last_named: Option<String>,
    } besides {
        /// The subscription of an invoice, the invoice of a payment intent.
        part_of: Option<String>,
    }
}

columns! {
    struct InvoiceObject {
        object: OwnedObject = OwnedObject::COLUMNS => OwnedObject::take,
        part_of: Option<String> = "stripe_subscription_id",
    }
}

columns! {
    struct PaymentIntentObject {
        object: OwnedObject = OwnedObject::COLUMNS => OwnedObject::take,
        part_of: Option<String> = "stripe_invoice_id",
    }
}

/// A subscription's words and owner.
pub(crate) fn find_subscription(reader: &StoreReader, id: &str) -> Result<Option<OwnedObject>, StoreError> {
    const SQL: &str = select!(OwnedObject, "FROM stripe_subscriptions WHERE stripe_subscription_id = ?1");
    reader.find(SQL, [id], OwnedObject::read)
}

/// An invoice's.
pub(crate) fn find_invoice(reader: &StoreReader, id: &str) -> Result<Option<OwnedObject>, StoreError> {
    const SQL: &str = select!(InvoiceObject, "FROM stripe_invoices WHERE stripe_invoice_id = ?1");
    let found = reader.find(SQL, [id], InvoiceObject::read)?;
    Ok(found.map(|InvoiceObject { object, part_of }| OwnedObject { part_of, ..object }))
}

/// A payment intent's.
pub(crate) fn find_payment_intent(reader: &StoreReader, id: &str) -> Result<Option<OwnedObject>, StoreError> {
    const SQL: &str = select!(PaymentIntentObject, "FROM stripe_payment_intents WHERE stripe_intent_id = ?1");
    let found = reader.find(SQL, [id], PaymentIntentObject::read)?;
    Ok(found.map(|PaymentIntentObject { object, part_of }| OwnedObject { part_of, ..object }))
}

columns! {
    /// What a customer's subscription says of it.
    pub(crate) struct OwnedSubscription {
        id: String = "stripe_subscription_id",
        metadata: String,
        last_named: Option<String>,
        /// `None` where it has ended for good.
        status: Option<String> = "CASE deleted WHEN 0 THEN status END",
    }
}

/// What a customer's subscriptions say of it.
pub(crate) fn list_subscribed(reader: &StoreReader, customer_id: &str) -> Result<Vec<OwnedSubscription>, StoreError> {
    const SQL: &str = select!(OwnedSubscription, "FROM stripe_subscriptions WHERE stripe_customer_id = ?1");
    reader.list(SQL, [customer_id], OwnedSubscription::read)
}

// A user's only customer is the main one; setting that here saves a second update in the ordinary case.
const SET_CUSTOMER: &str = "UPDATE stripe_customers SET owner_user_id = ?2, linked_by = ?3, contested = ?4,
        user_id = CASE WHEN user_id IS ?2 THEN user_id WHEN deleted = 0
        AND NOT EXISTS (SELECT 1 FROM stripe_customers WHERE owner_user_id = ?2) THEN ?2 END
    WHERE stripe_customer_id = ?1";

/// Gives a customer to a user, or to nobody. Call [`choose_main`] for the old and the new user afterwards.
pub(crate) fn set_customer(
    tx: &Tx,
    customer_id: &str,
    owner: Option<&OwnedBy>,
    contested: bool,
) -> Result<(), StoreError> {
    let (user_id, by) = (owner.map(|owner| &owner.user_id), owner.map(|owner| owner.linked_by.as_str()));
    tx.execute(SET_CUSTOMER, (customer_id, user_id, by, contested)).map(|_| ())
}

/// Gives a subscription to a user, or to nobody.
pub(crate) fn set_subscription(tx: &Tx, id: &str, owner: Option<&OwnedBy>) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_subscriptions SET user_id = ?2, linked_by = ?3 WHERE stripe_subscription_id = ?1";
    let (user_id, by) = (owner.map(|owner| &owner.user_id), owner.map(|owner| owner.linked_by.as_str()));
    tx.execute(SQL, (id, user_id, by)).map(|_| ())
}

const SET_INVOICES: &str = "UPDATE stripe_invoices SET user_id = ?2, linked_by = ?3
    WHERE stripe_subscription_id = ?1 AND (user_id IS NOT ?2 OR linked_by IS NOT ?3)";
const SET_PAYMENTS: &str = "UPDATE stripe_payment_intents SET user_id = ?2, linked_by = ?3
    WHERE (user_id IS NOT ?2 OR linked_by IS NOT ?3) AND stripe_invoice_id IN
        (SELECT stripe_invoice_id FROM stripe_invoices WHERE stripe_subscription_id = ?1)";

/// Gives the invoices of a subscription and their payments to its user.
pub(crate) fn set_billed(tx: &Tx, subscription_id: &str, owner: Option<&OwnedBy>) -> Result<(), StoreError> {
    // Looking first costs less than opening every index for writing, and mostly there is nothing to update.
    const ANY: &str = "SELECT 1 FROM stripe_invoices WHERE stripe_subscription_id = ?1 LIMIT 1";
    if tx.find(ANY, [subscription_id], |_| Ok(()))?.is_none() {
        return Ok(());
    }
    let (user_id, by) = (owner.map(|owner| &owner.user_id), owner.map(|owner| owner.linked_by.as_str()));
    tx.execute(SET_INVOICES, (subscription_id, user_id, by))?;
    tx.execute(SET_PAYMENTS, (subscription_id, user_id, by)).map(|_| ())
}

/// Gives an invoice to a user, or to nobody.
pub(crate) fn set_invoice(tx: &Tx, id: &str, owner: Option<&OwnedBy>) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_invoices SET user_id = ?2, linked_by = ?3 WHERE stripe_invoice_id = ?1";
    let (user_id, by) = (owner.map(|owner| &owner.user_id), owner.map(|owner| owner.linked_by.as_str()));
    tx.execute(SQL, (id, user_id, by)).map(|_| ())
}

/// Gives a payment intent to a user, or to nobody.
pub(crate) fn set_payment_intent(tx: &Tx, id: &str, owner: Option<&OwnedBy>) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_payment_intents SET user_id = ?2, linked_by = ?3 WHERE stripe_intent_id = ?1";
    let (user_id, by) = (owner.map(|owner| &owner.user_id), owner.map(|owner| owner.linked_by.as_str()));
    tx.execute(SQL, (id, user_id, by)).map(|_| ())
}

/// The subscriptions of a customer, by id.
pub(crate) fn list_subscriptions(reader: &StoreReader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_subscription_id FROM stripe_subscriptions WHERE stripe_customer_id = ?1
        ORDER BY stripe_subscription_id";
    reader.list(SQL, [customer_id], row::only)
}

const LOOSE_INVOICES: &str = "SELECT stripe_invoice_id FROM stripe_invoices i WHERE stripe_customer_id = ?1
    AND NOT EXISTS (SELECT 1 FROM stripe_subscriptions s WHERE s.stripe_subscription_id = i.stripe_subscription_id)";

/// The invoices of a customer that belong to no subscription that is known.
pub(crate) fn list_loose_invoices(reader: &StoreReader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    reader.list(LOOSE_INVOICES, [customer_id], row::only)
}

/// The payment intents of a customer.
pub(crate) fn list_payment_intents(reader: &StoreReader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_intent_id FROM stripe_payment_intents WHERE stripe_customer_id = ?1";
    reader.list(SQL, [customer_id], row::only)
}

columns! {
    /// A customer that may be a user's main one.
    struct MainCandidate {
        customer_id: String = "stripe_customer_id",
        linked_by: Option<LinkedBy> = "linked_by" => linked_by,
        created: Option<i64>,
        said: Option<i64> = "(SELECT max(l.id) FROM user_links l WHERE l.object_id = stripe_customer_id
            AND l.user_id = ?1 AND l.linked = 1 AND l.withdrawn_at_ms IS NULL)",
        is_main: bool = "user_id IS NOT NULL",
    }
}

/// The customers that may be a user's main one, and whether each is it now.
pub(crate) fn list_candidates(
    reader: &StoreReader,
    user_id: &str,
) -> Result<Vec<(SubscriptionClaim, bool)>, StoreError> {
    const SQL: &str = select!(MainCandidate, "FROM stripe_customers WHERE owner_user_id = ?1 AND deleted = 0");
    let found = reader.list(SQL, [user_id], MainCandidate::read)?;
    let candidate = |MainCandidate { customer_id, linked_by, created, said, is_main }| {
        (
            SubscriptionClaim { customer_id, linked_by: linked_by.unwrap_or(LinkedBy::Subscriptions), created, said },
            is_main,
        )
    };
    Ok(found.into_iter().map(candidate).collect())
}

/// Makes a customer the user's main one, or none of them.
pub(crate) fn set_main(tx: &Tx, user_id: &str, customer_id: Option<&str>) -> Result<(), StoreError> {
    tx.execute("UPDATE stripe_customers SET user_id = NULL WHERE user_id = ?1", [user_id])?;
    const SET: &str = "UPDATE stripe_customers SET user_id = ?1 WHERE stripe_customer_id = ?2";
    customer_id.map_or(Ok(0), |id| tx.execute(SET, (user_id, id))).map(|_| ())
}

/// Ids of a table's objects, after the id `after`, for going through all of them.
pub(crate) fn list_ids(
    reader: &StoreReader,
    named: OwnableKind,
    after: &str,
    limit: u32,
) -> Result<Vec<String>, StoreError> {
    macro_rules! sql {
        ($table:literal, $id:literal) => {
            concat!("SELECT ", $id, " FROM ", $table, " WHERE ", $id, " > ?1 ORDER BY ", $id, " LIMIT ?2")
        };
    }
    let sql = match named {
        OwnableKind::Customer => sql!("stripe_customers", "stripe_customer_id"),
        OwnableKind::Subscription => sql!("stripe_subscriptions", "stripe_subscription_id"),
        OwnableKind::Invoice => sql!("stripe_invoices", "stripe_invoice_id"),
        OwnableKind::PaymentIntent => sql!("stripe_payment_intents", "stripe_intent_id"),
    };
    reader.list(sql, (after, limit), row::only)
}

/// The customers of a user, the main one first.
pub(crate) fn list_customers(reader: &StoreReader, user_id: &str) -> Result<Vec<(String, bool)>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id, user_id IS NOT NULL FROM stripe_customers WHERE owner_user_id = ?1
        ORDER BY user_id IS NULL, stripe_customer_id";
    reader.list(SQL, [user_id], row::tuple)
}
