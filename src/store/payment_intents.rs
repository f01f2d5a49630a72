//! `stripe_payment_intents`: payment intents as Stripe has them, and the newest failure heard of each.

use rusqlite::{Row, named_params};

use super::{Reader, StoreError, Tx};

/// A payment intent as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct PaymentIntent {
    pub stripe_intent_id: String,
    /// Read only: `owners` writes it.
    pub user_id: Option<String>,
    /// Its metadata name a user; read back as `false`.
    pub named: bool,
    pub stripe_customer_id: Option<String>,
    pub stripe_invoice_id: Option<String>,
    pub stripe_charge_id: Option<String>,
    pub amount_cents: i64,
    pub amount_received_cents: Option<i64>,
    pub currency: String,
    pub status: String,
    pub payment_method_type: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub cancellation_reason: Option<String>,
    pub metadata: String,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT: &str = "INSERT INTO stripe_payment_intents
    (stripe_intent_id, stripe_customer_id, stripe_invoice_id, stripe_charge_id, amount_cents,
     amount_received_cents, currency, status, payment_method_type, error_code, error_message, cancellation_reason,
     metadata, created, livemode, event_created, event_id)
    VALUES (:id, :customer, :invoice, :charge, :amount, :received, :currency, :status, :method,
     :error_code, :error_message, :cancellation_reason, :metadata, :created, :livemode, :event_created, :event_id)
    ON CONFLICT (stripe_intent_id) DO UPDATE SET
     last_named = CASE WHEN :named THEN NULL ELSE last_named END,
     stripe_customer_id = :customer, stripe_invoice_id = :invoice, stripe_charge_id = :charge, amount_cents = :amount,
     amount_received_cents = :received, currency = :currency, status = :status, payment_method_type = :method,
     error_code = :error_code, error_message = :error_message, cancellation_reason = :cancellation_reason,
     metadata = :metadata, created = :created, livemode = :livemode, event_created = :event_created,
     event_id = :event_id";

/// Replaces what is known of a payment intent; its key and its newest failure stay.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &PaymentIntent) -> Result<(), StoreError> {
    let params = named_params! {
        ":id": row.stripe_intent_id, ":customer": row.stripe_customer_id, ":invoice": row.stripe_invoice_id, ":charge": row.stripe_charge_id,
        ":amount": row.amount_cents, ":received": row.amount_received_cents, ":currency": row.currency,
        ":status": row.status, ":method": row.payment_method_type, ":error_code": row.error_code,
        ":error_message": row.error_message, ":cancellation_reason": row.cancellation_reason,
        ":metadata": row.metadata, ":created": row.created, ":livemode": row.livemode,
        ":event_created": row.event_created, ":event_id": row.event_id, ":named": row.named,
    };
    tx.execute_named(PUT, params).map(|_| ())
}

/// Notes the key of the request that made the payment intent.
///
/// # Errors
/// When the database cannot take it.
pub fn set_idempotency_key(tx: &Tx, intent_id: &str, key: &str) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_payment_intents SET idempotency_key = ?2 WHERE stripe_intent_id = ?1";
    tx.execute(SQL, (intent_id, key)).map(|_| ())
}

const NOTE_FAILURE: &str = "UPDATE stripe_payment_intents
    SET failed_at = :at, failure_code = :code, failure_event_id = :event
    WHERE stripe_intent_id = :id AND (failed_at IS NULL OR (:at, :event) > (failed_at, failure_event_id))";

/// One failure of a payment intent.
pub struct Failure<'a> {
    /// When, unix seconds.
    pub at: i64,
    /// Decline code, else code.
    pub code: Option<&'a str>,
    /// The event that told it.
    pub event_id: &'a str,
}

/// Keeps a failure if it is the newest heard of; in whatever order they come, the same one stays.
///
/// # Errors
/// When the database cannot take it.
pub fn note_failure(tx: &Tx, intent_id: &str, failure: &Failure) -> Result<(), StoreError> {
    let params = named_params! {
        ":at": failure.at, ":code": failure.code, ":event": failure.event_id, ":id": intent_id,
    };
    tx.execute_named(NOTE_FAILURE, params).map(|_| ())
}

const FAILURE_CODE: &str = "SELECT failure_code FROM stripe_payment_intents
    WHERE (stripe_intent_id = ?1 OR stripe_invoice_id = ?2) AND failed_at IS NOT NULL
    ORDER BY failed_at DESC, failure_event_id DESC LIMIT 1";

/// Why the payment of an invoice failed last, by the invoice's payment intent or the intent's invoice.
///
/// # Errors
/// When the database cannot be read.
pub fn find_failure_code(
    reader: &Reader,
    intent_id: Option<&str>,
    invoice_id: &str,
) -> Result<Option<String>, StoreError> {
    Ok(reader.find(FAILURE_CODE, (intent_id, invoice_id), |row| row.get(0))?.flatten())
}

/// The invoice that a payment intent was made for, as told by itself.
///
/// # Errors
/// When the database cannot be read.
pub fn find_invoice(reader: &Reader, intent_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM stripe_payment_intents WHERE stripe_intent_id = ?1";
    Ok(reader.find(SQL, [intent_id], |row| row.get(0))?.flatten())
}

/// The payment intents that name an invoice as theirs.
///
/// # Errors
/// When the database cannot be read.
pub fn list_ids_of_invoice(reader: &Reader, invoice_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_intent_id FROM stripe_payment_intents WHERE stripe_invoice_id = ?1";
    reader.list(SQL, [invoice_id], |row| row.get(0))
}

/// The user of a payment intent, unless a reference alone names one.
///
/// # Errors
/// When the database cannot be read.
pub fn find_user(reader: &Reader, intent_id: &str) -> Result<Option<String>, StoreError> {
    const SQL: &str = "SELECT user_id FROM stripe_payment_intents
        WHERE stripe_intent_id = ?1 AND linked_by <> 'reference'";
    Ok(reader.find(SQL, [intent_id], |row| row.get(0))?.flatten())
}

/// A payment intent as the API shows it: the row, and its place for paging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The row.
    pub intent: PaymentIntent,
    /// Key of the request that made it.
    pub idempotency_key: Option<String>,
}

const LIST: &str = "SELECT stripe_intent_id, user_id, 0, stripe_customer_id, stripe_invoice_id,
    stripe_charge_id, amount_cents, amount_received_cents, currency, status, payment_method_type, error_code,
    error_message, cancellation_reason, metadata, created, livemode, event_created, event_id, idempotency_key
    FROM stripe_payment_intents
    WHERE user_id = ?1 AND (?2 IS NULL OR id < (SELECT id FROM stripe_payment_intents WHERE stripe_intent_id = ?2))
    ORDER BY id DESC LIMIT ?3";

/// A user's payment intents, newest first, after the intent `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn list_of_user(reader: &Reader, user_id: &str, after: Option<&str>, limit: u32) -> Result<Vec<Shown>, StoreError> {
    reader.list(LIST, (user_id, after, limit), show)
}

fn show(row: &Row) -> rusqlite::Result<Shown> {
    let intent = PaymentIntent {
        stripe_intent_id: row.get(0)?,
        user_id: row.get(1)?,
        named: row.get(2)?,
        stripe_customer_id: row.get(3)?,
        stripe_invoice_id: row.get(4)?,
        stripe_charge_id: row.get(5)?,
        amount_cents: row.get(6)?,
        amount_received_cents: row.get(7)?,
        currency: row.get(8)?,
        status: row.get(9)?,
        payment_method_type: row.get(10)?,
        error_code: row.get(11)?,
        error_message: row.get(12)?,
        cancellation_reason: row.get(13)?,
        metadata: row.get(14)?,
        created: row.get(15)?,
        livemode: row.get(16)?,
        event_created: row.get(17)?,
        event_id: row.get(18)?,
    };
    Ok(Shown { intent, idempotency_key: row.get(19)? })
}
