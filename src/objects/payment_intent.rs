//! Payment intents: their present state, the newest failure of each, and the key of the request that made them.
//! Guests have no customer. It must never take a failure for the present state: a later attempt may succeed. Called by
//! `objects`; its queries by the API, `outward::calls` and `failure_case`.

use super::history::{self, EventConcern};
use super::owner::rows::{OwnableKind, OwnableObject};
use super::row::row;
use super::{
    DerivationBasis, ProjectionError, ProjectionStep, WinningState, failure_case, field, invoice, invoice_payment,
    owner, payment_attempt,
};
use crate::base::object_kind::{self, ObjectKind, ObjectProgress, ObjectState};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

pub(super) const KIND: ObjectKind = ObjectKind {
    object: "payment_intent",
    name: "payment_intents",
    table: Some(("stripe_payment_intents", "stripe_intent_id")),
    events: &[
        "payment_intent.created",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    ],
    path: "/v1/payment_intents",
    permission: "Payment Intents",
    terminal: |object| matches!(object_kind::word(object, "status"), "succeeded" | "canceled"),
    progress,
    example: include_str!("shapes/payment_intent.json"),
    ..ObjectKind::PLAIN
};

/// Payment intents have no update events with old values. Which of a challenge, a failure and a new attempt came last in
/// one second cannot be known: each can follow each.
fn progress(state: &ObjectState) -> ObjectProgress {
    let step = match if state.is_read { state.status() } else { object_kind::last_word(state.event_type) } {
        "created" => 0,
        "amount_capturable_updated" | "requires_capture" => 2,
        "succeeded" | "canceled" => 3,
        _ => 1,
    };
    [step, object::lenient_integer(state.object, "amount_received").unwrap_or(0), 0]
}

row! {
    /// A payment intent as its newest event has it. Amounts in minor units, times in unix seconds.
    pub(crate) struct PaymentIntentRow in "stripe_payment_intents" {
        key stripe_intent_id: String = field::id("id"),
        fixed stripe_customer_id: Option<String> = field::reference("customer"),
        /// By what it says itself, or by its invoice payment.
        fixed stripe_invoice_id: Option<String> = field::reference("invoice"),
        stripe_charge_id: Option<String> = field::optional(object::latest_charge),
        amount_cents: i64 = field::integer("amount"),
        amount_received_cents: Option<i64> = field::lenient_integer("amount_received"),
        currency: String = field::text("currency"),
        status: String = field::text("status"),
        payment_method_type: Option<String> = field::optional(object::payment_method_type),
        error_code: Option<String> = field::found(error.0.map(str::to_owned)),
        error_message: Option<String> = field::found(error.1.map(str::to_owned)),
        cancellation_reason: Option<String> = field::lenient_text("cancellation_reason"),
        metadata: String = field::metadata,
        created: Option<i64> = field::lenient_integer("created"),
    } once(winner) { error = object::payment_error(&winner.object).unwrap_or_default() }
    also { named: bool = "last_named = CASE WHEN ? THEN NULL ELSE last_named END" }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let intent = &step.snapshot.object;
    let id = object::required_reference(intent, "id")?;
    let concern = EventConcern {
        customer_id: object::reference(intent, "customer"),
        user_id: object::named_user(intent, &step.context.link.metadata_keys),
        ..EventConcern::default()
    };
    history::record(step, &concern)?;
    let object = OwnableObject { kind: OwnableKind::PaymentIntent, id };
    let lost = winner.map_or(Ok(None), |winner| owner::lost_name(step.tx, winner, object, &step.context.link))?;
    if let Some(winner) = winner {
        write(step.tx, winner, step.basis())?;
    }
    if owner::keep_name(step, winner, object, lost)? {
        owner::refresh_payment_intent(step.tx, id, step.basis())?;
    }
    match (step.event.event_type.as_str(), &step.snapshot.idempotency_key) {
        ("payment_intent.created", Some(key)) => set_idempotency_key(step.tx, id, key)?,
        ("payment_intent.payment_failed", _) => {
            let (code, _) = object::payment_error(intent).unwrap_or_default();
            let failure = PaymentIntentFailure { at: step.event.created, code, event_id: &step.event.id };
            note_failure(step.tx, id, &failure)?;
        }
        _ => {}
    }
    payment_attempt::note(step)?;
    settle(step.tx, id)?;
    refresh_cases(step.tx, id)?;
    history::audit(step, &concern)
}

/// The reason in a failure case is that of its payment.
fn refresh_cases(tx: &Tx, intent_id: &str) -> Result<(), ProjectionError> {
    let mut invoice_ids = invoice::list_ids_of_intent(tx, intent_id)?;
    invoice_ids.extend(find_invoice(tx, intent_id)?);
    for invoice_id in invoice_ids {
        failure_case::refresh(tx, &invoice_id)?;
    }
    Ok(())
}

pub(super) fn write(tx: &Tx, winner: &WinningState, basis: DerivationBasis) -> Result<(), ProjectionError> {
    let mut row = PaymentIntentRow::of(winner)?;
    if row.stripe_invoice_id.is_none() {
        row.stripe_invoice_id = match invoice_payment::find_invoice(tx, &row.stripe_intent_id)? {
            None => invoice::list_ids_of_intent(tx, &row.stripe_intent_id)?.into_iter().next(),
            known => known,
        };
    }
    row.put(tx, owner::is_named(winner, basis.link))?;
    settle(tx, &row.stripe_intent_id)?;
    Ok(owner::refresh_payment_intent(tx, &row.stripe_intent_id, basis)?)
}

// Failed for good: an attempt failed, and the payment was given up, or its invoice was.
macro_rules! outcome {
    () => {
        "CASE WHEN status = 'succeeded' THEN 'succeeded'
            WHEN failed_at IS NOT NULL AND (status = 'canceled'
                OR EXISTS (SELECT 1 FROM stripe_invoices v WHERE v.stripe_invoice_id = stripe_payment_intents.stripe_invoice_id
                    AND (v.status = 'void' OR v.status = 'uncollectible'))
                OR EXISTS (SELECT 1 FROM stripe_invoices v
                    WHERE v.stripe_payment_intent_id = stripe_payment_intents.stripe_intent_id
                    AND (v.status = 'void' OR v.status = 'uncollectible'))) THEN 'failed'
            WHEN status = 'canceled' THEN 'canceled' ELSE 'open' END"
    };
}

/// Writes down what has become of a payment intent, by its own row and its invoice as they are now.
pub(super) fn settle(tx: &Tx, intent_id: &str) -> Result<(), StoreError> {
    const SQL: &str = concat!(
        "UPDATE stripe_payment_intents SET outcome = ",
        outcome!(),
        " WHERE stripe_intent_id = ?1 AND outcome <> ",
        outcome!()
    );
    tx.execute(SQL, [intent_id]).map(|_| ())
}

/// Stores the key of the request that made the payment intent.
pub(crate) fn set_idempotency_key(tx: &Tx, intent_id: &str, key: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_payment_intents SET idempotency_key = ?2 WHERE stripe_intent_id = ?1";
    tx.execute(SQL, (intent_id, key)).map(|_| ())
}

/// One failure of a payment intent.
struct PaymentIntentFailure<'a> {
    /// When, unix seconds.
    at: i64,
    /// Decline code, else code.
    code: Option<&'a str>,
    /// The event that shows it.
    event_id: &'a str,
}

const NOTE_FAILURE: &str = "UPDATE stripe_payment_intents
    SET failed_at = ?2, failure_code = ?3, failure_event_id = ?4
    WHERE stripe_intent_id = ?1 AND (failed_at IS NULL OR (?2, ?4) > (failed_at, failure_event_id))";

/// Keeps a failure if it is the newest that is known; in whatever order they come, the same one stays.
fn note_failure(tx: &Tx, intent_id: &str, failure: &PaymentIntentFailure) -> Result<(), StoreError> {
    tx.execute(NOTE_FAILURE, (intent_id, failure.at, failure.code, failure.event_id)).map(|_| ())
}

const FAILURE_CODE: &str = "SELECT failure_code FROM stripe_payment_intents
    WHERE (stripe_intent_id = ?1 OR stripe_invoice_id = ?2) AND failed_at IS NOT NULL
    ORDER BY failed_at DESC, failure_event_id DESC LIMIT 1";

/// Why the payment of an invoice failed last, by the invoice's payment intent or the intent's invoice.
pub(super) fn find_failure_code(
    reader: &StoreReader,
    intent_id: Option<&str>,
    invoice_id: &str,
) -> Result<Option<String>, StoreError> {
    Ok(reader.find(FAILURE_CODE, (intent_id, invoice_id), row::only)?.flatten())
}

/// The invoice that a payment intent was made for, by its own row.
fn find_invoice(reader: &StoreReader, intent_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM stripe_payment_intents WHERE stripe_intent_id = ?1";
    Ok(reader.find(SQL, [intent_id], row::only)?.flatten())
}

/// The payment intents that name an invoice as theirs.
pub(super) fn list_ids_of_invoice(reader: &StoreReader, invoice_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_intent_id FROM stripe_payment_intents WHERE stripe_invoice_id = ?1";
    reader.list(SQL, [invoice_id], row::only)
}

/// The user of a payment intent, unless a reference alone names one.
pub(crate) fn find_user(reader: &StoreReader, intent_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_payment_intents
        WHERE stripe_intent_id = ?1 AND linked_by <> 'reference'";
    Ok(reader.find(SQL, [intent_id], row::only)?.flatten())
}

columns! {
    /// A payment intent as the API shows it.
    pub(crate) struct FoundPaymentIntent {
        intent: PaymentIntentRow = PaymentIntentRow::COLUMNS => PaymentIntentRow::take,
        user_id: Option<String>,
        /// Key of the request that made it.
        idempotency_key: Option<String>,
    }
}

/// A user's payment intents, newest first, after the intent `after`.
pub(crate) fn list_of_user(
    reader: &StoreReader,
    user_id: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<FoundPaymentIntent>, StoreError> {
    const SQL: &str = select!(
        FoundPaymentIntent,
        "FROM stripe_payment_intents WHERE user_id = ?1
         AND (?2 IS NULL OR id < (SELECT id FROM stripe_payment_intents WHERE stripe_intent_id = ?2))
         ORDER BY id DESC LIMIT ?3"
    );
    reader.list(SQL, (user_id, after, limit), FoundPaymentIntent::read)
}
