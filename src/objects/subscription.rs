//! Subscriptions. `owner` decides whose they are, `past` what their history says of them, `base::entitlement` what they give;
//! this file must never decide any of it. Called by `objects`; its queries by whoever shows or changes a subscription.

mod items;
pub(crate) mod mrr;

use serde_json::Value;

use super::fact::ObjectFact;
use super::history::{self, EventConcern, SubscriptionState};
use super::owner::rows::{self, OwnableKind, OwnableObject};
use super::past::{self, SubscriptionPast};
use super::row::row;
use super::{ProjectionError, ProjectionStep, WinningState, effective, failure_case, field, owner};
use crate::base::entitlement;
use crate::base::object_kind::{self, NestedList, NestedListAt, ObjectKind};
use crate::base::ownership::LinkedBy;
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader};
use crate::stripe::object::{self, ObjectError};
pub(crate) use items::ItemRow;
use mrr::{ShownSubscription, StoredMrr};

/// Stripe's list leaves the canceled ones out unless a status is asked for.
pub(super) const KIND: ObjectKind = ObjectKind {
    object: "subscription",
    name: "subscriptions",
    event_prefix: Some("customer.subscription"),
    table: Some(("stripe_subscriptions", "stripe_subscription_id")),
    events: &[
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.trial_will_end",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.deleted",
    ],
    path: "/v1/subscriptions",
    always: &[("status", "all")],
    permission: "Subscriptions",
    nested: Some(NestedList { key: "items", whole: NestedListAt::Filtered("/v1/subscription_items", "subscription") }),
    decides: true,
    terminal: |object| matches!(object_kind::word(object, "status"), "canceled" | "incomplete_expired"),
    example: include_str!("shapes/subscription.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// A subscription as its newest event has it. Times in unix seconds.
    pub(crate) struct SubscriptionRow in "stripe_subscriptions" {
        key stripe_subscription_id: String = field::id("id"),
        fixed stripe_customer_id: String = |winner: &WinningState| Ok(object::payer(&winner.object)?.to_owned()),
        /// Price of the first item.
        stripe_price_id: Option<String> = field::optional(items::first_price),
        /// As Stripe said it.
        status: String = field::text("status"),
        /// Earliest start of its items.
        current_period_start: Option<i64> = field::found(period.0),
        /// Latest end of its items.
        current_period_end: Option<i64> = field::found(period.1),
        /// Ends with the period.
        cancel_at_period_end: bool = field::flag("cancel_at_period_end"),
        cancel_at: Option<i64> = field::optional_integer("cancel_at"),
        /// When canceling was asked for.
        canceled_at: Option<i64> = field::lenient_integer("canceled_at"),
        ended_at: Option<i64> = field::optional_integer("ended_at"),
        trial_start: Option<i64> = field::lenient_integer("trial_start"),
        trial_end: Option<i64> = field::lenient_integer("trial_end"),
        start_date: Option<i64> = field::lenient_integer("start_date"),
        created: Option<i64> = field::lenient_integer("created"),
        collection_method: Option<String> = field::lenient_text("collection_method"),
        /// What Stripe does with invoices while collecting is paused.
        pause_collection: Option<String> = field::optional(object::paused_collection),
        /// Why it is paused, where it is.
        paused_reason: Option<String> = field::optional(object::paused_reason),
        cancellation_reason: Option<String> = field::lenient_text("cancellation_details.reason"),
        currency: Option<String> = field::lenient_text("currency"),
        latest_invoice: Option<String> = field::reference("latest_invoice"),
        /// Whether Stripe sent only the first items.
        items_partial: bool = |winner: &WinningState| Ok(!object::list(&winner.object, "items").1),
        deleted: bool = field::deleted,
        metadata: String = field::metadata,
    } once(winner) { period = object::subscription_period(&winner.object)? }
    also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
}

/// A subscription with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscriptionWithItems {
    pub(crate) row: SubscriptionRow,
    pub(crate) items: Vec<ItemRow>,
}

impl SubscriptionWithItems {
    fn of(winner: &WinningState) -> Result<Self, ObjectError> {
        Ok(Self { row: SubscriptionRow::of(winner)?, items: items::of(&winner.object)? })
    }

    fn put(&self, step: &ProjectionStep, named: bool) -> Result<(), StoreError> {
        self.row.put(step.tx, named)?;
        items::put(step.tx, &self.row.stripe_subscription_id, &self.items)
    }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let subscription = &step.snapshot.object;
    let id = object::required_reference(subscription, "id")?;
    object::payer(subscription)?;
    let concern = EventConcern {
        // Where an account pays there is no customer.
        customer_id: object::reference(subscription, "customer"),
        user_id: object::named_user(subscription, &step.context.link.metadata_keys),
        subscription_id: Some(id),
        state: Some(state(subscription)?),
    };
    history::record(step, &concern)?;
    let former = step.tx.find(FORMER, [id], FormerRow::read)?;
    let former_customer = former.as_ref().map(|row| row.customer_id.as_str());
    let object = OwnableObject { kind: OwnableKind::Subscription, id };
    if let Some(winner) = winner {
        let lost = owner::lost_name(step.tx, winner, object, &step.context.link)?;
        let present = SubscriptionWithItems::of(winner)?;
        let before = before(step, id)?;
        present.put(step, owner::is_named(winner, &step.context.link))?;
        owner::keep_name(step, Some(winner), object, lost)?;
        refresh_mrr(step, winner, id, former.as_ref())?;
        for invoice_id in failure_case::list_invoices_of(step.tx, id)? {
            failure_case::refresh(step.tx, &invoice_id)?;
        }
        past::refresh(step.tx, id)?;
        refresh_owner(step, id, Some(&present.row.stripe_customer_id), former_customer)?;
        note_change(step, before.as_ref(), present);
    } else {
        owner::keep_name(step, None, object, None)?;
        // A late event, too, can show when a delinquency or a pause began.
        past::refresh(step.tx, id)?;
        refresh_owner(step, id, former_customer, former_customer)?;
    }
    step.note(ObjectFact::CasesTouched { subscription_id: id.to_owned() });
    if step.event.event_type == "customer.subscription.trial_will_end" && !step.is_reading() {
        step.note(ObjectFact::TrialEnds(step.seen(id)));
    }
    history::audit(step, &concern)
}

columns! {
    /// What projecting needs of the row that it replaces.
    struct FormerRow {
        customer_id: String = "stripe_customer_id",
        mrr: StoredMrr = StoredMrr::COLUMNS => StoredMrr::take,
    }
}

const FORMER: &str = select!(FormerRow, "FROM stripe_subscriptions WHERE stripe_subscription_id = ?1");

fn refresh_mrr(
    step: &ProjectionStep,
    winner: &WinningState,
    id: &str,
    former: Option<&FormerRow>,
) -> Result<(), ProjectionError> {
    let shown = ShownSubscription { id, object: &winner.object, livemode: winner.livemode, deleted: winner.deleted };
    let none = StoredMrr::default();
    mrr::refresh(step.tx, &shown, former.map_or(&none, |former| &former.mrr), step.now_ms.div_euclid(1000))
}

/// A subscription before its row is replaced, if somebody is to be notified of changes.
fn before(step: &ProjectionStep, id: &str) -> Result<Option<SubscriptionWithItems>, StoreError> {
    if !step.basis().compared.subscriptions {
        return Ok(None);
    }
    let known = find(step.tx, id)?;
    Ok(known.map(|known| SubscriptionWithItems { row: known.subscription, items: known.items }))
}

/// Notes that a subscription differs from what it was before.
fn note_change(step: &ProjectionStep, before: Option<&SubscriptionWithItems>, present: SubscriptionWithItems) {
    // A canceled subscription counts as deleted in an event and not in a reading, which is no difference.
    let compared = |one: &SubscriptionWithItems| {
        let mut one = one.clone();
        one.row.event_created = 0;
        one.row.event_id = String::new();
        one.row.deleted = one.row.deleted || one.row.status == "canceled";
        one
    };
    if step.basis().compared.subscriptions && before.is_none_or(|before| compared(before) != compared(&present)) {
        step.note(ObjectFact::SubscriptionChanged { present: Box::new(present) });
    }
}

/// Whether the event says that the subscription's status has changed.
fn begins_or_ends(step: &ProjectionStep) -> bool {
    let previous = step.snapshot.previous_attributes.as_ref();
    step.event.event_type == "customer.subscription.created" || previous.is_some_and(|was| was.get("status").is_some())
}

/// The owner of the customer may follow from the subscription, and that of the subscription from the customer.
fn refresh_owner(
    step: &ProjectionStep,
    id: &str,
    customer_id: Option<&str>,
    former_customer: Option<&str>,
) -> Result<(), ProjectionError> {
    let (tx, basis) = (step.tx, step.basis());
    let former = former_customer.filter(|former| Some(*former) != customer_id);
    for customer_id in customer_id.into_iter().chain(former) {
        owner::refresh_customer(tx, customer_id, basis)?;
    }
    let moved = owner::refresh_subscription(tx, id, basis)?;
    if moved || begins_or_ends(step) {
        owner::warn_of_second(tx, id)?;
    }
    if moved {
        return Ok(());
    }
    if former_customer.is_none() {
        // Until now its invoices belonged to the users that they name themselves.
        let owner = rows::find_subscription(tx, id)?.and_then(|row| row.owner);
        rows::set_billed(tx, id, owner.as_ref())?;
    }
    Ok(effective::refresh_of_subscription(tx, id, basis)?)
}

/// The part of this state that may count later.
fn state(subscription: &Value) -> Result<SubscriptionState<'_>, ObjectError> {
    let status = object::required_text(subscription, "status")?;
    let paused_by_failure = object::is_payment_failure(object::paused_reason(subscription));
    Ok(SubscriptionState {
        status,
        delinquent: entitlement::is_payment_missing(status, paused_by_failure),
        collection_paused: object::paused_collection(subscription).is_some(),
        price_ids: Value::from(object::subscription_prices(subscription)).to_string(),
        period_end: object::subscription_period(subscription)?.1,
    })
}

/// The user of a subscription.
pub(crate) fn find_user(reader: &StoreReader, subscription_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1";
    Ok(reader.find(SQL, [subscription_id], row::only)?.flatten())
}

/// The customer of a subscription.
pub(super) fn find_customer(reader: &StoreReader, subscription_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1";
    reader.find(SQL, [subscription_id], row::only)
}

/// The users of a customer's subscriptions.
pub(super) fn list_users_of_customer(reader: &StoreReader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_subscriptions
        WHERE stripe_customer_id = ?1 AND user_id IS NOT NULL";
    reader.list(SQL, [customer_id], row::only)
}

/// Subscriptions of a customer that are not known to have been deleted.
pub(crate) fn list_ids_of_customer(reader: &StoreReader, customer_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_subscription_id FROM stripe_subscriptions
        WHERE stripe_customer_id = ?1 AND deleted = 0 ORDER BY id";
    reader.list(SQL, [customer_id], row::only)
}

/// Prices of subscriptions that have not ended.
pub(crate) fn list_running_prices(reader: &StoreReader) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT DISTINCT i.stripe_price_id FROM stripe_subscription_items i
        JOIN stripe_subscriptions s ON s.stripe_subscription_id = i.stripe_subscription_id
        WHERE i.stripe_price_id IS NOT NULL AND s.deleted = 0 AND s.status IN ('active', 'trialing', 'past_due', 'unpaid')
        ORDER BY 1 LIMIT 20";
    reader.list(SQL, [], row::only)
}

columns! {
    /// How many subscriptions are not ended and not paid for.
    pub(crate) struct PausedCounts {
        /// Stripe does not collect for them (`pause_collection`).
        collection: i64 = "count(*) FILTER (WHERE pause_collection IS NOT NULL
            AND status NOT IN ('paused', 'canceled', 'incomplete_expired'))",
        /// Their status is `paused`.
        status: i64 = "count(*) FILTER (WHERE status = 'paused')",
    }
}

/// How many subscriptions are paused, in either of Stripe's two ways.
pub(crate) fn count_paused(reader: &StoreReader) -> Result<PausedCounts, StoreError> {
    const SQL: &str = select!(PausedCounts, "FROM stripe_subscriptions WHERE deleted = 0");
    reader.get(SQL, [], PausedCounts::read)
}

columns! {
    /// A subscription as the API shows it.
    pub(crate) struct FoundSubscription {
        subscription: SubscriptionRow = SubscriptionRow::COLUMNS => SubscriptionRow::take,
        /// What its history says of it.
        past: SubscriptionPast = SubscriptionPast::COLUMNS => SubscriptionPast::take,
        /// Whether its customer was deleted.
        customer_deleted: bool = "coalesce(c.deleted, 0)",
        user_id: Option<String> = "stripe_subscriptions.user_id",
        /// How it was found whose it is.
        linked_by: Option<LinkedBy> = "stripe_subscriptions.linked_by" => rows::linked_by,
        /// The owner of its customer.
        customers_user: Option<String> = "c.owner_user_id",
    } besides {
        /// In Stripe's order; read by another statement.
        items: Vec<ItemRow>,
    }
}

impl FoundSubscription {
    /// What entitlement needs to know of it. A deleted customer's subscriptions are over.
    #[must_use]
    pub(crate) fn facts(&self) -> entitlement::SubscriptionInput {
        let row = &self.subscription;
        entitlement::SubscriptionInput {
            id: row.stripe_subscription_id.clone(),
            status: row.status.clone(),
            price_ids: self.items.iter().filter_map(|item| item.stripe_price_id.clone()).collect(),
            period_end: row.current_period_end,
            cancel_at: row.cancel_at,
            cancel_at_period_end: row.cancel_at_period_end,
            items_partial: row.items_partial,
            paused_by_failure: object::is_payment_failure(row.paused_reason.as_deref()),
            pause_period_end: self.past.pause_period_end,
            good_price_ids: self.past.good_price_ids.as_deref().and_then(|ids| serde_json::from_str(ids).ok()),
            deleted: row.deleted || self.customer_deleted,
            by_reference: self.linked_by == Some(LinkedBy::Reference),
            created: row.created.unwrap_or(row.event_created),
            grace_started_at: self.past.grace_started_at,
            as_of: row.event_created,
        }
    }
}

macro_rules! with_customer {
    ($which:literal) => {
        select!(
            FoundSubscription,
            concat!(
                "FROM stripe_subscriptions LEFT JOIN stripe_customers c
                     ON c.stripe_customer_id = stripe_subscriptions.stripe_customer_id ",
                $which
            )
        )
    };
}

/// Every subscription of a user with its items, newest first.
pub(crate) fn list_of_user(reader: &StoreReader, user_id: &str) -> Result<Vec<FoundSubscription>, StoreError> {
    const SQL: &str = with_customer!(
        "WHERE stripe_subscriptions.user_id = ?1
         ORDER BY stripe_subscriptions.created DESC, stripe_subscription_id DESC"
    );
    list_with_items(reader, SQL, user_id)
}

/// A subscription with its items.
pub(crate) fn find(reader: &StoreReader, subscription_id: &str) -> Result<Option<FoundSubscription>, StoreError> {
    const SQL: &str = with_customer!("WHERE stripe_subscription_id = ?1");
    Ok(list_with_items(reader, SQL, subscription_id)?.into_iter().next())
}

fn list_with_items(reader: &StoreReader, sql: &str, id: &str) -> Result<Vec<FoundSubscription>, StoreError> {
    let mut subscriptions = reader.list(sql, [id], FoundSubscription::read)?;
    for one in &mut subscriptions {
        one.items = items::list(reader, &one.subscription.stripe_subscription_id)?;
    }
    Ok(subscriptions)
}
