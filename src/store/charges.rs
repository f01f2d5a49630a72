//! `stripe_charges` and `stripe_refunds`: charges as Stripe has them, less the refunds that came to nothing, and refunds.

use super::{Reader, StoreError, Tx};

/// A charge as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct Charge {
    pub stripe_charge_id: String,
    pub stripe_customer_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub amount_cents: i64,
    pub amount_refunded_cents: i64,
    pub refunded: bool,
    pub disputed: bool,
    pub currency: String,
    pub status: String,
    pub failure_code: Option<String>,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT: &str = "INSERT INTO stripe_charges
    (stripe_charge_id, stripe_customer_id, stripe_payment_intent_id, amount_cents, amount_refunded_cents, refunded,
     disputed, currency, status, failure_code, created, livemode, event_created, event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
    ON CONFLICT (stripe_charge_id) DO UPDATE SET stripe_customer_id = ?2, stripe_payment_intent_id = ?3,
     amount_cents = ?4, amount_refunded_cents = ?5, refunded = ?6, disputed = ?7, currency = ?8, status = ?9,
     failure_code = ?10, created = ?11, livemode = ?12, event_created = ?13, event_id = ?14";

/// Replaces what is known of a charge.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &Charge) -> Result<(), StoreError> {
    let params = (
        &row.stripe_charge_id,
        &row.stripe_customer_id,
        &row.stripe_payment_intent_id,
        row.amount_cents,
        row.amount_refunded_cents,
        row.refunded,
        row.disputed,
        &row.currency,
        &row.status,
        &row.failure_code,
        row.created,
        row.livemode,
        row.event_created,
        &row.event_id,
    );
    tx.execute(PUT, params).map(|_| ())
}

/// A refund as its newest event has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct Refund {
    pub stripe_refund_id: String,
    pub stripe_charge_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub amount_cents: i64,
    pub currency: Option<String>,
    pub status: String,
    pub reason: Option<String>,
    pub failure_reason: Option<String>,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT_REFUND: &str = "INSERT INTO stripe_refunds
    (stripe_refund_id, stripe_charge_id, stripe_payment_intent_id, amount_cents, currency, status, reason,
     failure_reason, created, livemode, event_created, event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (stripe_refund_id) DO UPDATE SET stripe_charge_id = ?2, stripe_payment_intent_id = ?3,
     amount_cents = ?4, currency = ?5, status = ?6, reason = ?7, failure_reason = ?8, created = ?9, livemode = ?10,
     event_created = ?11, event_id = ?12";

/// Replaces what is known of a refund.
///
/// # Errors
/// When the database cannot take it.
pub fn put_refund(tx: &Tx, row: &Refund) -> Result<(), StoreError> {
    let params = (
        &row.stripe_refund_id,
        &row.stripe_charge_id,
        &row.stripe_payment_intent_id,
        row.amount_cents,
        &row.currency,
        &row.status,
        &row.reason,
        &row.failure_reason,
        row.created,
        row.livemode,
        row.event_created,
        &row.event_id,
    );
    tx.execute(PUT_REFUND, params).map(|_| ())
}

/// The refunds of a charge that are known, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refunds {
    /// Gone through, or on the way.
    pub standing: i64,
    /// Failed or canceled: what they took came back.
    pub undone: i64,
}

const SUM_REFUNDS: &str = "SELECT coalesce(sum(amount_cents) FILTER (WHERE status NOT IN ('failed', 'canceled')), 0),
    coalesce(sum(amount_cents) FILTER (WHERE status IN ('failed', 'canceled')), 0)
    FROM stripe_refunds WHERE stripe_charge_id = ?1";

/// What is known of a charge's refunds.
///
/// # Errors
/// When the database cannot be read.
pub fn sum_refunds(reader: &Reader, charge_id: &str) -> Result<Refunds, StoreError> {
    reader.get(SUM_REFUNDS, [charge_id], |row| Ok(Refunds { standing: row.get(0)?, undone: row.get(1)? }))
}
