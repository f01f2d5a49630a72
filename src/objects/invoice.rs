//! Invoices, and the failure cases that they open and close. `invoice.paid` and `invoice.payment_succeeded` show the same
//! change and are projected the same way, so it takes effect once. It must never log a link of an invoice. Called by
//! `objects`; its queries by the API, the mails and `failure_case`.

use super::fact::ObjectFact;
use super::failure_case::PaymentFailure;
use super::history::{self, EventConcern};
use super::owner::rows::{OwnableKind, OwnableObject};
use super::row::row;
use super::{
    DerivationBasis, ProjectionError, ProjectionStep, WinningState, effective, failure_case, field, invoice_payment,
    own_key, owner, past, payment_intent, rewrite,
};
use crate::base::dunning::{AttemptOutcome, ReportedAttempt};
use crate::base::object_kind::{NestedList, NestedListAt, ObjectKind, ObjectProgress, ObjectState};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

pub(super) const KIND: ObjectKind = ObjectKind {
    object: "invoice",
    name: "invoices",
    table: Some(("stripe_invoices", "stripe_invoice_id")),
    events: &[
        "invoice.created",
        "invoice.updated",
        "invoice.finalized",
        "invoice.finalization_failed",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "invoice.voided",
        "invoice.marked_uncollectible",
    ],
    path: "/v1/invoices",
    permission: "Invoices",
    nested: Some(NestedList { key: "lines", whole: NestedListAt::Below("lines") }),
    progress,
    example: include_str!("shapes/invoice.json"),
    ..ObjectKind::PLAIN
};

fn progress(state: &ObjectState) -> ObjectProgress {
    let step = match state.status() {
        "open" => 1,
        "uncollectible" => 2,
        "paid" | "void" => 3,
        _ => 0,
    };
    let number = |key: &str| object::lenient_integer(state.object, key).unwrap_or(0);
    [step, number("attempt_count"), number("amount_paid")]
}

row! {
    /// An invoice as its newest event has it. Amounts in minor units, times in unix seconds. Its links are bearer links:
    /// never logged.
    pub(crate) struct InvoiceRow in "stripe_invoices" {
        key stripe_invoice_id: String = field::id("id"),
        fixed stripe_customer_id: Option<String> = field::reference("customer"),
        fixed stripe_subscription_id: Option<String> = field::optional(object::invoice_subscription),
        /// By what the invoice itself says, or else by its invoice payment.
        fixed stripe_payment_intent_id: Option<String> = field::found(paid_by.0.map(str::to_owned)),
        stripe_charge_id: Option<String> = field::found(paid_by.1.map(str::to_owned)),
        number: Option<String> = field::lenient_text("number"),
        status: Option<String> = field::optional_text("status"),
        billing_reason: Option<String> = field::lenient_text("billing_reason"),
        collection_method: Option<String> = field::lenient_text("collection_method"),
        currency: Option<String> = field::lenient_text("currency"),
        amount_due: Option<i64> = field::optional_integer("amount_due"),
        amount_paid: Option<i64> = field::optional_integer("amount_paid"),
        amount_remaining: Option<i64> = field::optional_integer("amount_remaining"),
        total: Option<i64> = field::optional_integer("total"),
        attempt_count: Option<i64> = field::lenient_integer("attempt_count"),
        next_payment_attempt: Option<i64> = field::lenient_integer("next_payment_attempt"),
        due_date: Option<i64> = field::lenient_integer("due_date"),
        period_start: Option<i64> = field::found(period.0),
        period_end: Option<i64> = field::found(period.1),
        hosted_invoice_url: Option<String> = field::lenient_text("hosted_invoice_url"),
        invoice_pdf: Option<String> = field::lenient_text("invoice_pdf"),
        fixed created: Option<i64> = field::lenient_integer("created"),
        finalized_at: Option<i64> = field::optional_integer("status_transitions.finalized_at"),
        paid_at: Option<i64> = field::optional_integer("status_transitions.paid_at"),
        voided_at: Option<i64> = field::optional_integer("status_transitions.voided_at"),
        marked_uncollectible_at: Option<i64> = field::optional_integer("status_transitions.marked_uncollectible_at"),
        metadata: String = field::metadata,
        deleted: bool = field::deleted,
    } once(winner) {
        paid_by = object::invoice_paid_by(&winner.object),
        period = object::invoice_period(&winner.object)?,
    } also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let invoice = &step.snapshot.object;
    let id = object::required_reference(invoice, "id")?;
    let customer_id = object::reference(invoice, "customer");
    let subscription_id = object::invoice_subscription(invoice);
    let user_id = object::named_user(invoice, &step.context.link.metadata_keys);
    let concern = EventConcern { customer_id, subscription_id, user_id, ..EventConcern::default() };
    history::record(step, &concern)?;
    let object = OwnableObject { kind: OwnableKind::Invoice, id };
    let lost = winner.map_or(Ok(None), |winner| owner::lost_name(step.tx, winner, object, &step.context.link))?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    if owner::keep_name(step, winner, object, lost)? {
        owner::refresh_invoice(step.tx, id, step.basis())?;
    }
    let heard = payment_news(step);
    if heard.is_some() {
        note_failure(step, id)?;
    }
    let has_case = failure_case::refresh(step.tx, id)?;
    if let Some(subscription_id) = subscription_id {
        past::refresh(step.tx, subscription_id)?;
        effective::refresh_of_subscription(step.tx, subscription_id, step.basis())?;
    }
    if has_case {
        step.note(ObjectFact::CaseTouched { invoice_id: id.to_owned(), heard });
    }
    let is_sent = object::text(invoice, "collection_method")? == Some("send_invoice");
    if let Some(subscription_id) = subscription_id.filter(|_| has_case || is_sent) {
        // If this case is settled, the delinquency is notified about by another one; and a sent invoice has no case.
        step.note(ObjectFact::CasesTouched { subscription_id: subscription_id.to_owned() });
    }
    if step.event.event_type == "invoice.finalized" && !step.is_reading() {
        step.note(ObjectFact::InvoiceFinalized(step.seen(id)));
    }
    history::audit(step, &concern)
}

/// What the event shows of an attempt to pay.
fn payment_news(step: &ProjectionStep) -> Option<ReportedAttempt> {
    let what = match step.event.event_type.as_str() {
        "invoice.payment_failed" => AttemptOutcome::Failed,
        "invoice.payment_action_required" => AttemptOutcome::ActionRequired,
        _ => return None,
    };
    let attempt = object::lenient_integer(&step.snapshot.object, "attempt_count").unwrap_or(0);
    Some(ReportedAttempt { what, attempt, at: step.event.created })
}

fn note_failure(step: &ProjectionStep, invoice_id: &str) -> Result<(), ProjectionError> {
    let invoice = &step.snapshot.object;
    let currency = object::lenient_text(invoice, "currency");
    let failure = PaymentFailure {
        invoice_id,
        subscription_id: object::invoice_subscription(invoice),
        customer_id: object::reference(invoice, "customer"),
        amount_due: object::integer(invoice, "amount_due")?,
        currency: currency.as_deref(),
        attempt_count: object::lenient_integer(invoice, "attempt_count").unwrap_or(0),
        next_retry_at: object::lenient_integer(invoice, "next_payment_attempt"),
        failed_at: step.event.created,
        event_id: &step.event.id,
    };
    Ok(failure_case::note(step.tx, &failure, step.now_ms)?)
}

pub(super) fn write(tx: &Tx, winner: &WinningState, basis: DerivationBasis) -> Result<(), ProjectionError> {
    let mut row = InvoiceRow::of(winner)?;
    // Webhooks of basil and later do not say by what an invoice is paid; invoice_payment events do.
    if row.stripe_payment_intent_id.is_none()
        && row.stripe_charge_id.is_none()
        && let Some(paid_by) = invoice_payment::find_paid_by(tx, &row.stripe_invoice_id)?
    {
        row.stripe_payment_intent_id = paid_by.payment_intent_id;
        row.stripe_charge_id = paid_by.charge_id;
    }
    let former = find_state(tx, &row.stripe_invoice_id)?;
    let was_given_up = former.as_ref().is_some_and(|former| is_given_up(former.status.as_deref()));
    row.put(tx, owner::is_named(winner, basis.link))?;
    owner::refresh_invoice(tx, &row.stripe_invoice_id, basis)?;
    if former.as_ref().and_then(|former| former.subscription_id.as_ref()) != row.stripe_subscription_id.as_ref() {
        for intent_id in payment_intent::list_ids_of_invoice(tx, &row.stripe_invoice_id)? {
            owner::refresh_payment_intent(tx, &intent_id, basis)?;
        }
    }
    if was_given_up || is_given_up(row.status.as_deref()) {
        let of_invoice = payment_intent::list_ids_of_invoice(tx, &row.stripe_invoice_id)?;
        for intent_id in of_invoice.iter().chain(&row.stripe_payment_intent_id) {
            payment_intent::settle(tx, intent_id)?;
        }
    }
    let former_intent = former.and_then(|former| former.payment_intent_id);
    if former_intent != row.stripe_payment_intent_id {
        for intent_id in former_intent.iter().chain(&row.stripe_payment_intent_id) {
            let key = own_key(&payment_intent::KIND, intent_id, winner.livemode);
            rewrite(tx, key, basis, payment_intent::write)?;
        }
    }
    Ok(())
}

/// Whether an invoice of this status is not collected any more.
fn is_given_up(status: Option<&str>) -> bool {
    matches!(status, Some("void" | "uncollectible"))
}

columns! {
    /// What a failure case needs to know of its invoice.
    pub(super) struct InvoiceState {
        status: Option<String>,
        subscription_id: Option<String> = "stripe_subscription_id",
        payment_intent_id: Option<String> = "stripe_payment_intent_id",
        paid_at: Option<i64>,
        voided_at: Option<i64>,
        marked_uncollectible_at: Option<i64>,
        event_created: i64,
    }
}

/// What a failure case needs to know of its invoice.
pub(super) fn find_state(reader: &StoreReader, invoice_id: &str) -> Result<Option<InvoiceState>, StoreError> {
    const SQL: &str = select!(InvoiceState, "FROM stripe_invoices WHERE stripe_invoice_id = ?1");
    reader.find(SQL, [invoice_id], InvoiceState::read)
}

/// The status of an invoice, if the invoice and its status are known.
pub(crate) fn find_status(reader: &StoreReader, invoice_id: &str) -> Result<Option<String>, StoreError> {
    Ok(find_state(reader, invoice_id)?.and_then(|state| state.status))
}

/// Invoices that are paid by a payment intent, by id.
pub(super) fn list_ids_of_intent(reader: &StoreReader, intent_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str =
        "SELECT stripe_invoice_id FROM stripe_invoices WHERE stripe_payment_intent_id = ?1 ORDER BY stripe_invoice_id";
    reader.list(SQL, [intent_id], row::only)
}

columns! {
    /// What notices to customer and application say of an invoice. Its links are bearer links: never logged.
    pub(crate) struct InvoiceDetails {
        number: Option<String>,
        billing_reason: Option<String>,
        amount_paid: Option<i64>,
        amount_remaining: Option<i64>,
        hosted_invoice_url: Option<String>,
        invoice_pdf: Option<String>,
    }
}

/// What notices say of an invoice.
pub(crate) fn find_details(reader: &StoreReader, invoice_id: &str) -> Result<Option<InvoiceDetails>, StoreError> {
    const SQL: &str = select!(InvoiceDetails, "FROM stripe_invoices WHERE stripe_invoice_id = ?1");
    reader.find(SQL, [invoice_id], InvoiceDetails::read)
}

/// Status of an invoice, and the link by which it can be paid: a bearer link, never logged.
pub(crate) fn find_payable(
    reader: &StoreReader,
    invoice_id: &str,
) -> Result<Option<(String, Option<String>)>, StoreError> {
    const SQL: &str = "SELECT coalesce(status, ''), hosted_invoice_url FROM stripe_invoices
        WHERE stripe_invoice_id = ?1 AND deleted = 0";
    reader.find(SQL, [invoice_id], row::tuple)
}

columns! {
    /// An invoice that was sent to the customer and is not paid.
    pub(crate) struct SentInvoice {
        id: String = "stripe_invoice_id",
        currency: Option<String>,
        due_date: Option<i64>,
    }
}

/// Of the open invoices of a subscription that were sent to the customer, the one that was due first.
pub(crate) fn find_sent(reader: &StoreReader, subscription_id: &str) -> Result<Option<SentInvoice>, StoreError> {
    const SQL: &str = select!(
        SentInvoice,
        "FROM stripe_invoices
         WHERE stripe_subscription_id = ?1 AND status = 'open' AND deleted = 0 AND collection_method = 'send_invoice'
         AND coalesce(amount_remaining, 1) > 0 ORDER BY due_date, stripe_invoice_id LIMIT 1"
    );
    reader.find(SQL, [subscription_id], SentInvoice::read)
}

/// The mail address that an invoice shows of its customer.
pub(crate) fn find_email(reader: &StoreReader, invoice_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT json_extract(data, '$.customer_email') FROM stripe_objects
        WHERE object = 'invoice' AND id = ?1 AND livemode IN (0, 1) AND account = ''
        AND json_type(data, '$.customer_email') = 'text'";
    reader.find(SQL, [invoice_id], row::only)
}

columns! {
    /// An invoice as the API lists it.
    struct ListedInvoice {
        invoice: InvoiceRow = InvoiceRow::COLUMNS => InvoiceRow::take,
        /// Its payment intent, from its invoice payments.
        paid_by: Option<String> = invoice_payment::INTENT_OF_INVOICE,
    }
}

/// Invoices of a user, newest first, after the invoice `after`.
pub(crate) fn list_of_user(
    reader: &StoreReader,
    user_id: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<InvoiceRow>, StoreError> {
    const SQL: &str = select!(
        ListedInvoice,
        "FROM stripe_invoices
         WHERE user_id = ?1 AND deleted = 0 AND (?2 IS NULL OR (COALESCE(created, 0), stripe_invoice_id) <
             (SELECT COALESCE(created, 0), stripe_invoice_id FROM stripe_invoices WHERE stripe_invoice_id = ?2))
         ORDER BY COALESCE(created, 0) DESC, stripe_invoice_id DESC LIMIT ?3"
    );
    let listed = reader.list(SQL, (user_id, after, limit), ListedInvoice::read)?;
    let with_payment = |ListedInvoice { mut invoice, paid_by }: ListedInvoice| {
        invoice.stripe_payment_intent_id = invoice.stripe_payment_intent_id.or(paid_by);
        invoice
    };
    Ok(listed.into_iter().map(with_payment).collect())
}
