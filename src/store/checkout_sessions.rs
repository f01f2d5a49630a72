//! `stripe_checkout_sessions`: checkout sessions as Stripe has them.

use super::{StoreError, Tx};

/// A checkout session as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct CheckoutSession {
    pub stripe_session_id: String,
    pub client_reference_id: Option<String>,
    pub stripe_customer_id: Option<String>,
    pub stripe_subscription_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub mode: Option<String>,
    pub status: Option<String>,
    pub payment_status: Option<String>,
    pub amount_total: Option<i64>,
    pub currency: Option<String>,
    pub metadata: String,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT: &str = "INSERT INTO stripe_checkout_sessions
    (stripe_session_id, client_reference_id, stripe_customer_id, stripe_subscription_id, stripe_payment_intent_id,
     mode, status, payment_status, amount_total, currency, metadata, created, livemode, event_created, event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
    ON CONFLICT (stripe_session_id) DO UPDATE SET client_reference_id = ?2, stripe_customer_id = ?3,
     stripe_subscription_id = ?4, stripe_payment_intent_id = ?5, mode = ?6, status = ?7, payment_status = ?8,
     amount_total = ?9, currency = ?10, metadata = ?11, created = ?12, livemode = ?13, event_created = ?14,
     event_id = ?15";

/// Replaces what is known of a checkout session.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &CheckoutSession) -> Result<(), StoreError> {
    let params = (
        &row.stripe_session_id,
        &row.client_reference_id,
        &row.stripe_customer_id,
        &row.stripe_subscription_id,
        &row.stripe_payment_intent_id,
        &row.mode,
        &row.status,
        &row.payment_status,
        row.amount_total,
        &row.currency,
        &row.metadata,
        row.created,
        row.livemode,
        row.event_created,
        &row.event_id,
    );
    tx.execute(PUT, params).map(|_| ())
}
