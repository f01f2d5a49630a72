//! `stripe_disputes`: disputes as Stripe has them.

use super::{StoreError, Tx};

/// A dispute as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct Dispute {
    pub stripe_dispute_id: String,
    pub stripe_charge_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub amount_cents: i64,
    pub currency: String,
    pub reason: Option<String>,
    pub status: String,
    pub evidence_due_by: Option<i64>,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT: &str = "INSERT INTO stripe_disputes
    (stripe_dispute_id, stripe_charge_id, stripe_payment_intent_id, amount_cents, currency, reason, status,
     evidence_due_by, created, livemode, event_created, event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (stripe_dispute_id) DO UPDATE SET stripe_charge_id = ?2, stripe_payment_intent_id = ?3,
     amount_cents = ?4, currency = ?5, reason = ?6, status = ?7, evidence_due_by = ?8, created = ?9, livemode = ?10,
     event_created = ?11, event_id = ?12";

/// Replaces what is known of a dispute.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &Dispute) -> Result<(), StoreError> {
    let params = (
        &row.stripe_dispute_id,
        &row.stripe_charge_id,
        &row.stripe_payment_intent_id,
        row.amount_cents,
        &row.currency,
        &row.reason,
        &row.status,
        row.evidence_due_by,
        row.created,
        row.livemode,
        row.event_created,
        &row.event_id,
    );
    tx.execute(PUT, params).map(|_| ())
}
