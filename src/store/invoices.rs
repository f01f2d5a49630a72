//! `stripe_invoices` and `stripe_invoice_payments`: invoices as Stripe has them, and by what they are paid.

use rusqlite::{Row, named_params};

use super::{Reader, StoreError, Tx};

/// An invoice as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct Invoice {
    pub stripe_invoice_id: String,
    pub stripe_customer_id: Option<String>,
    pub stripe_subscription_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub stripe_charge_id: Option<String>,
    pub number: Option<String>,
    pub status: Option<String>,
    pub billing_reason: Option<String>,
    pub collection_method: Option<String>,
    pub currency: Option<String>,
    pub amount_due: Option<i64>,
    pub amount_paid: Option<i64>,
    pub amount_remaining: Option<i64>,
    pub total: Option<i64>,
    pub attempt_count: Option<i64>,
    pub next_payment_attempt: Option<i64>,
    pub due_date: Option<i64>,
    pub period_start: Option<i64>,
    pub period_end: Option<i64>,
    pub hosted_invoice_url: Option<String>,
    pub invoice_pdf: Option<String>,
    pub created: Option<i64>,
    pub finalized_at: Option<i64>,
    pub paid_at: Option<i64>,
    pub voided_at: Option<i64>,
    pub marked_uncollectible_at: Option<i64>,
    pub metadata: String,
    pub deleted: bool,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
    /// Its metadata name a user; read back as `false`.
    pub named: bool,
}

const PUT: &str = "INSERT INTO stripe_invoices
    (stripe_invoice_id, stripe_customer_id, stripe_subscription_id, stripe_payment_intent_id, stripe_charge_id, number,
     status, billing_reason, collection_method, currency, amount_due, amount_paid, amount_remaining, total,
     attempt_count, next_payment_attempt, due_date, period_start, period_end, hosted_invoice_url, invoice_pdf, created,
     finalized_at, paid_at, voided_at, marked_uncollectible_at, metadata, deleted, livemode, event_created, event_id)
    VALUES (:id, :customer, :subscription, :intent, :charge, :number, :status, :billing_reason, :collection_method,
     :currency, :amount_due, :amount_paid, :amount_remaining, :total, :attempt_count, :next_attempt, :due_date,
     :period_start, :period_end, :url, :pdf, :created, :finalized_at, :paid_at, :voided_at, :uncollectible_at,
     :metadata, :deleted, :livemode, :event_created, :event_id)
    ON CONFLICT (stripe_invoice_id) DO UPDATE SET stripe_customer_id = :customer,
     stripe_subscription_id = :subscription, stripe_payment_intent_id = :intent, stripe_charge_id = :charge,
     number = :number, status = :status, billing_reason = :billing_reason, collection_method = :collection_method,
     currency = :currency, amount_due = :amount_due, amount_paid = :amount_paid, amount_remaining = :amount_remaining,
     total = :total, attempt_count = :attempt_count, next_payment_attempt = :next_attempt, due_date = :due_date,
     period_start = :period_start, period_end = :period_end, hosted_invoice_url = :url, invoice_pdf = :pdf,
     created = :created, finalized_at = :finalized_at, paid_at = :paid_at, voided_at = :voided_at,
     marked_uncollectible_at = :uncollectible_at, metadata = :metadata, deleted = :deleted, livemode = :livemode,
     event_created = :event_created, event_id = :event_id,
     last_named = CASE WHEN :named THEN NULL ELSE last_named END";

/// Replaces what is known of an invoice.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &Invoice) -> Result<(), StoreError> {
    let params = named_params! {
        ":id": row.stripe_invoice_id, ":customer": row.stripe_customer_id, ":subscription": row.stripe_subscription_id,
        ":intent": row.stripe_payment_intent_id, ":charge": row.stripe_charge_id, ":number": row.number,
        ":status": row.status, ":billing_reason": row.billing_reason, ":collection_method": row.collection_method,
        ":currency": row.currency, ":amount_due": row.amount_due, ":amount_paid": row.amount_paid,
        ":amount_remaining": row.amount_remaining, ":total": row.total, ":attempt_count": row.attempt_count,
        ":next_attempt": row.next_payment_attempt, ":due_date": row.due_date, ":period_start": row.period_start,
        ":period_end": row.period_end, ":url": row.hosted_invoice_url, ":pdf": row.invoice_pdf,
        ":created": row.created, ":finalized_at": row.finalized_at, ":paid_at": row.paid_at,
        ":voided_at": row.voided_at, ":uncollectible_at": row.marked_uncollectible_at, ":metadata": row.metadata,
        ":deleted": row.deleted, ":livemode": row.livemode, ":event_created": row.event_created,
        ":event_id": row.event_id, ":named": row.named,
    };
    tx.execute_named(PUT, params).map(|_| ())
}

/// What a failure case needs to know of its invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct Standing {
    pub status: Option<String>,
    pub subscription_id: Option<String>,
    pub payment_intent_id: Option<String>,
    pub paid_at: Option<i64>,
    pub voided_at: Option<i64>,
    pub marked_uncollectible_at: Option<i64>,
    pub event_created: i64,
}

/// The standing of an invoice.
///
/// # Errors
/// When the database cannot be read.
pub fn find_standing(reader: &Reader, invoice_id: &str) -> Result<Option<Standing>, StoreError> {
    const SQL: &str = "SELECT status, stripe_subscription_id, stripe_payment_intent_id, paid_at, voided_at,
        marked_uncollectible_at, event_created FROM stripe_invoices WHERE stripe_invoice_id = ?1";
    reader.find(SQL, [invoice_id], |row| {
        Ok(Standing {
            status: row.get(0)?,
            subscription_id: row.get(1)?,
            payment_intent_id: row.get(2)?,
            paid_at: row.get(3)?,
            voided_at: row.get(4)?,
            marked_uncollectible_at: row.get(5)?,
            event_created: row.get(6)?,
        })
    })
}

/// Invoices that are paid by a payment intent, by id.
///
/// # Errors
/// When the database cannot be read.
pub fn list_ids_of_intent(reader: &Reader, intent_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str =
        "SELECT stripe_invoice_id FROM stripe_invoices WHERE stripe_payment_intent_id = ?1 ORDER BY stripe_invoice_id";
    reader.list(SQL, [intent_id], |row| row.get(0))
}

/// By what an invoice is paid, as an `invoice_payment` object tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct InvoicePayment {
    pub stripe_invoice_payment_id: String,
    pub stripe_invoice_id: String,
    pub stripe_payment_intent_id: Option<String>,
    pub stripe_charge_id: Option<String>,
    pub is_default: bool,
    pub status: Option<String>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT_PAYMENT: &str = "INSERT INTO stripe_invoice_payments
    (stripe_invoice_payment_id, stripe_invoice_id, stripe_payment_intent_id, stripe_charge_id, is_default, status,
     livemode, event_created, event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (stripe_invoice_payment_id) DO UPDATE SET stripe_invoice_id = ?2, stripe_payment_intent_id = ?3,
     stripe_charge_id = ?4, is_default = ?5, status = ?6, livemode = ?7, event_created = ?8, event_id = ?9";

/// Replaces what is known of an invoice payment.
///
/// # Errors
/// When the database cannot take it.
pub fn put_payment(tx: &Tx, row: &InvoicePayment) -> Result<(), StoreError> {
    let params = (
        &row.stripe_invoice_payment_id,
        &row.stripe_invoice_id,
        &row.stripe_payment_intent_id,
        &row.stripe_charge_id,
        row.is_default,
        &row.status,
        row.livemode,
        row.event_created,
        &row.event_id,
    );
    tx.execute(PUT_PAYMENT, params).map(|_| ())
}

/// Payment intent and charge by which something is paid.
pub type PaidBy = (Option<String>, Option<String>);

const BY_WHAT: &str = "SELECT stripe_payment_intent_id, stripe_charge_id FROM stripe_invoice_payments
    WHERE stripe_invoice_id = ?1 ORDER BY is_default DESC, event_created DESC, stripe_invoice_payment_id LIMIT 1";

/// Payment intent and charge by which an invoice is paid, from its invoice payments.
///
/// # Errors
/// When the database cannot be read.
pub fn find_paid_by(reader: &Reader, invoice_id: &str) -> Result<Option<PaidBy>, StoreError> {
    reader.find(BY_WHAT, [invoice_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

const WHAT_FOR: &str = "SELECT stripe_invoice_id FROM stripe_invoice_payments
    WHERE stripe_payment_intent_id = ?1 ORDER BY is_default DESC, event_created DESC, stripe_invoice_payment_id LIMIT 1";

/// The invoice that a payment intent pays, from its invoice payments.
///
/// # Errors
/// When the database cannot be read.
pub fn find_invoice_paid_by(reader: &Reader, intent_id: &str) -> Result<Option<String>, StoreError> {
    reader.find(WHAT_FOR, [intent_id], |row| row.get(0))
}

/// What customer and application are told of an invoice. Its links are bearer links: never logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct Told {
    pub number: Option<String>,
    pub billing_reason: Option<String>,
    pub amount_paid: Option<i64>,
    pub amount_remaining: Option<i64>,
    pub hosted_invoice_url: Option<String>,
    pub invoice_pdf: Option<String>,
}

const TOLD: &str = "SELECT number, billing_reason, amount_paid, hosted_invoice_url, invoice_pdf, amount_remaining
    FROM stripe_invoices WHERE stripe_invoice_id = ?1";

/// What is told of an invoice.
///
/// # Errors
/// When the database cannot be read.
pub fn find_told(reader: &Reader, invoice_id: &str) -> Result<Option<Told>, StoreError> {
    reader.find(TOLD, [invoice_id], |row| {
        Ok(Told {
            number: row.get(0)?,
            billing_reason: row.get(1)?,
            amount_paid: row.get(2)?,
            hosted_invoice_url: row.get(3)?,
            invoice_pdf: row.get(4)?,
            amount_remaining: row.get(5)?,
        })
    })
}

/// Status of an invoice, and where it is paid: a bearer link, never logged.
///
/// # Errors
/// When the database cannot be read.
pub fn find_payable(reader: &Reader, invoice_id: &str) -> Result<Option<(String, Option<String>)>, StoreError> {
    const SQL: &str = "SELECT coalesce(status, ''), hosted_invoice_url FROM stripe_invoices
        WHERE stripe_invoice_id = ?1 AND deleted = 0";
    reader.find(SQL, [invoice_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// An invoice that was sent to be paid, and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct Sent {
    pub id: String,
    pub currency: Option<String>,
    pub due_date: Option<i64>,
}

const SENT: &str = "SELECT stripe_invoice_id, currency, due_date FROM stripe_invoices
    WHERE stripe_subscription_id = ?1 AND status = 'open' AND deleted = 0 AND collection_method = 'send_invoice'
    AND coalesce(amount_remaining, 1) > 0 ORDER BY due_date, stripe_invoice_id LIMIT 1";

/// The invoice of a subscription that was sent to be paid, is open, and was due first.
///
/// # Errors
/// When the database cannot be read.
pub fn find_sent(reader: &Reader, subscription_id: &str) -> Result<Option<Sent>, StoreError> {
    reader
        .find(SENT, [subscription_id], |row| Ok(Sent { id: row.get(0)?, currency: row.get(1)?, due_date: row.get(2)? }))
}

const EMAIL: &str = "SELECT json_extract(data, '$.customer_email') FROM stripe_objects
    WHERE object = 'invoice' AND id = ?1 AND livemode IN (0, 1) AND account = ''
    AND json_type(data, '$.customer_email') = 'text'";

/// The mail address that an invoice shows of its customer.
///
/// # Errors
/// When the database cannot be read.
pub fn find_email(reader: &Reader, invoice_id: &str) -> Result<Option<String>, StoreError> {
    reader.find(EMAIL, [invoice_id], |row| row.get(0))
}
const LIST: &str = "SELECT i.stripe_invoice_id, i.stripe_customer_id, i.stripe_subscription_id,
    COALESCE(i.stripe_payment_intent_id, (SELECT p.stripe_payment_intent_id FROM stripe_invoice_payments p
        WHERE p.stripe_invoice_id = i.stripe_invoice_id
        ORDER BY p.is_default DESC, p.event_created DESC, p.stripe_invoice_payment_id LIMIT 1)),
    i.stripe_charge_id, i.number, i.status, i.billing_reason, i.collection_method, i.currency, i.amount_due,
    i.amount_paid, i.amount_remaining, i.total, i.attempt_count, i.next_payment_attempt, i.due_date, i.period_start,
    i.period_end, i.hosted_invoice_url, i.invoice_pdf, i.created, i.finalized_at, i.paid_at, i.voided_at,
    i.marked_uncollectible_at, i.metadata, i.deleted, i.livemode, i.event_created, i.event_id
    FROM stripe_invoices i
    WHERE i.user_id = ?1 AND i.deleted = 0 AND (?2 IS NULL OR (COALESCE(i.created, 0), i.stripe_invoice_id) <
        (SELECT COALESCE(created, 0), stripe_invoice_id FROM stripe_invoices WHERE stripe_invoice_id = ?2))
    ORDER BY COALESCE(i.created, 0) DESC, i.stripe_invoice_id DESC LIMIT ?3";

/// Invoices of a user, newest first, after the invoice `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn list_of_user(
    reader: &Reader,
    user_id: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Invoice>, StoreError> {
    reader.list(LIST, (user_id, after, limit), show)
}

fn show(row: &Row) -> rusqlite::Result<Invoice> {
    Ok(Invoice {
        stripe_invoice_id: row.get(0)?,
        stripe_customer_id: row.get(1)?,
        stripe_subscription_id: row.get(2)?,
        stripe_payment_intent_id: row.get(3)?,
        stripe_charge_id: row.get(4)?,
        number: row.get(5)?,
        status: row.get(6)?,
        billing_reason: row.get(7)?,
        collection_method: row.get(8)?,
        currency: row.get(9)?,
        amount_due: row.get(10)?,
        amount_paid: row.get(11)?,
        amount_remaining: row.get(12)?,
        total: row.get(13)?,
        attempt_count: row.get(14)?,
        next_payment_attempt: row.get(15)?,
        due_date: row.get(16)?,
        period_start: row.get(17)?,
        period_end: row.get(18)?,
        hosted_invoice_url: row.get(19)?,
        invoice_pdf: row.get(20)?,
        created: row.get(21)?,
        finalized_at: row.get(22)?,
        paid_at: row.get(23)?,
        voided_at: row.get(24)?,
        marked_uncollectible_at: row.get(25)?,
        metadata: row.get(26)?,
        deleted: row.get(27)?,
        livemode: row.get(28)?,
        event_created: row.get(29)?,
        event_id: row.get(30)?,
        named: false,
    })
}
