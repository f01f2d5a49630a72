//! `stripe_charges`: charges as Stripe has them; refunds show in their amounts.

use super::{StoreError, Tx};

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
