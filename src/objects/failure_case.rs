//! `payment_failures`: one failure case per invoice that could not be paid, from its first failure to its resolution. How
//! a case ended is computed from the rows of its invoice, its payment and its subscription, so that it may be computed any
//! number of times in any order. It must never decide who is notified: `base::dunning` does. Called by the kinds whose events
//! change a case; its queries by `notify`, the tick and whoever shows a case.

use rusqlite::named_params;

use super::{invoice, past, payment_intent};
use crate::store::engine::row::{self, columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// One failed payment of an invoice, as `invoice.payment_failed` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PaymentFailure<'a> {
    /// `in_…`.
    pub(crate) invoice_id: &'a str,
    /// `sub_…`.
    pub(crate) subscription_id: Option<&'a str>,
    /// `cus_…`.
    pub(crate) customer_id: Option<&'a str>,
    /// Minor units.
    pub(crate) amount_due: Option<i64>,
    /// Lower-case ISO code.
    pub(crate) currency: Option<&'a str>,
    /// Stripe's count.
    pub(crate) attempt_count: i64,
    /// Stripe's next attempt, unix seconds.
    pub(crate) next_retry_at: Option<i64>,
    /// When it failed, unix seconds.
    pub(crate) failed_at: i64,
    /// The event that shows it.
    pub(crate) event_id: &'a str,
}

const NOTE: &str = "INSERT INTO payment_failures
    (stripe_invoice_id, stripe_subscription_id, stripe_customer_id, amount_due, currency, attempt_count, next_retry_at,
     first_failed_at, last_failed_at, last_event_id, created_at_ms)
    VALUES (:invoice, :subscription, :customer, :amount, :currency, :attempts, :next, :at, :at, :event, :now_ms)
    ON CONFLICT (stripe_invoice_id) DO UPDATE SET first_failed_at = min(first_failed_at, :at)";
/// Columns that have an index are set only where one of them changes: SQLite rewrites an index entry whenever its column is set.
macro_rules! note_newest {
    ($rest:literal) => {
        concat!(
            "UPDATE payment_failures SET stripe_customer_id = :customer, attempt_count = :attempts, next_retry_at = :next,
                last_failed_at = :at, last_event_id = :event",
            $rest,
            " stripe_invoice_id = :invoice
                AND (:at, :attempts, :event) > (last_failed_at, attempt_count, last_event_id)"
        )
    };
}
const NOTE_NEWEST_SAME: &str = note_newest!(
    " WHERE stripe_subscription_id IS :subscription AND amount_due IS :amount AND currency IS :currency AND"
);
const NOTE_NEWEST: &str =
    note_newest!(", stripe_subscription_id = :subscription, amount_due = :amount, currency = :currency WHERE");

/// Opens or updates the case of an invoice. Its beginning is that of the first failure, all else that of the newest, in
/// whatever order they come.
pub(crate) fn note(tx: &Tx, failure: &PaymentFailure, now_ms: i64) -> Result<(), StoreError> {
    tx.execute_named(
        NOTE,
        named_params! {
            ":invoice": failure.invoice_id, ":subscription": failure.subscription_id, ":customer": failure.customer_id,
            ":amount": failure.amount_due, ":currency": failure.currency, ":attempts": failure.attempt_count,
            ":next": failure.next_retry_at, ":at": failure.failed_at, ":event": failure.event_id, ":now_ms": now_ms,
        },
    )?;
    let newest = named_params! {
        ":customer": failure.customer_id, ":attempts": failure.attempt_count, ":next": failure.next_retry_at,
        ":at": failure.failed_at, ":event": failure.event_id, ":subscription": failure.subscription_id,
        ":amount": failure.amount_due, ":currency": failure.currency, ":invoice": failure.invoice_id,
    };
    if tx.execute_named(NOTE_NEWEST_SAME, newest)? == 0 {
        tx.execute_named(NOTE_NEWEST, newest)?;
    }
    Ok(())
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// `paid`, `void`, `uncollectible`, `subscription_ended`.
    pub(crate) kind: &'static str,
    /// When, unix seconds.
    pub(crate) at: i64,
}

const SETTLE: &str = "UPDATE payment_failures SET stripe_payment_intent_id = ?2, failure_reason = ?3,
    resolved = ?4 IS NOT NULL, resolution = ?4, resolved_at_ms = ?5 WHERE stripe_invoice_id = ?1";

/// Writes down what follows for a case from its invoice, its payment and its subscription as they are now.
pub(crate) fn settle(
    tx: &Tx,
    invoice_id: &str,
    payment_intent_id: Option<&str>,
    reason: Option<&str>,
    resolution: Option<Resolution>,
) -> Result<(), StoreError> {
    let kind = resolution.map(|resolution| resolution.kind);
    let at_ms = resolution.map(|resolution| resolution.at.saturating_mul(1000));
    tx.execute(SETTLE, (invoice_id, payment_intent_id, reason, kind, at_ms)).map(|_| ())
}

columns! {
    /// A case, as far as its invoice's events need it.
    pub(crate) struct StoredCase {
        /// `sub_…`.
        subscription_id: Option<String> = "stripe_subscription_id",
        /// First failure, unix seconds.
        first_failed_at: i64,
    }
}

/// The case of an invoice.
pub(crate) fn find(reader: &StoreReader, invoice_id: &str) -> Result<Option<StoredCase>, StoreError> {
    const SQL: &str = select!(StoredCase, "FROM payment_failures WHERE stripe_invoice_id = ?1");
    reader.find(SQL, [invoice_id], StoredCase::read)
}

/// The invoices of a subscription's cases.
pub(crate) fn list_invoices_of(reader: &StoreReader, subscription_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM payment_failures WHERE stripe_subscription_id = ?1 ORDER BY id";
    reader.list(SQL, [subscription_id], row::only)
}

const FIRST_SINCE: &str = "SELECT min(first_failed_at) FROM payment_failures
    WHERE stripe_subscription_id = ?1 AND first_failed_at >= ?2 AND resolution IS NOT 'paid'";

/// The first failure of a subscription at or after `since` whose invoice was not paid, unix seconds.
pub(crate) fn first_failure_since(
    reader: &StoreReader,
    subscription_id: &str,
    since: i64,
) -> Result<Option<i64>, StoreError> {
    reader.get(FIRST_SINCE, (subscription_id, since), row::only)
}

const LAST_MADE_GOOD: &str = "SELECT max(f.resolved_at_ms) / 1000 FROM payment_failures f
    WHERE f.stripe_subscription_id = ?1 AND f.resolution = 'paid' AND NOT EXISTS
        (SELECT 1 FROM payment_failures o WHERE o.stripe_subscription_id = ?1
         AND o.first_failed_at <= f.resolved_at_ms / 1000
         AND (o.resolved = 0 OR o.resolved_at_ms > f.resolved_at_ms))";

/// When a payment last left a subscription with no failed invoice that is owed, unix seconds.
pub(crate) fn last_made_good(reader: &StoreReader, subscription_id: &str) -> Result<Option<i64>, StoreError> {
    reader.get(LAST_MADE_GOOD, [subscription_id], row::only)
}

columns! {
    /// A case as the API shows it.
    pub(crate) struct PaymentFailureEntry {
        id: i64 = "f.id",
        invoice_id: String = "f.stripe_invoice_id",
        subscription_id: Option<String> = "f.stripe_subscription_id",
        payment_intent_id: Option<String> = "f.stripe_payment_intent_id",
        amount_due: Option<i64> = "f.amount_due",
        currency: Option<String> = "f.currency",
        attempt_count: i64 = "f.attempt_count",
        failure_reason: Option<String>,
        next_retry_at: Option<i64> = "f.next_retry_at",
        first_failed_at: i64,
        resolved: bool,
        resolution: Option<String>,
        resolved_at_ms: Option<i64>,
    }
}

/// A user's cases, newest first, after the case of the invoice `after`.
pub(crate) fn list_of_user(
    reader: &StoreReader,
    user_id: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<PaymentFailureEntry>, StoreError> {
    const SQL: &str = select!(
        PaymentFailureEntry,
        "FROM stripe_invoices i JOIN payment_failures f ON f.stripe_invoice_id = i.stripe_invoice_id
         WHERE i.user_id = ?1 AND (?2 IS NULL OR f.id < (SELECT id FROM payment_failures WHERE stripe_invoice_id = ?2))
         ORDER BY f.id DESC LIMIT ?3"
    );
    reader.list(SQL, (user_id, after, limit), PaymentFailureEntry::read)
}

columns! {
    /// A case as dunning needs it.
    pub(crate) struct FailureCase {
        id: i64,
        invoice_id: String = "stripe_invoice_id",
        subscription_id: Option<String> = "stripe_subscription_id",
        customer_id: Option<String> = "stripe_customer_id",
        amount_due: Option<i64>,
        currency: Option<String>,
        attempt_count: i64,
        failure_reason: Option<String>,
        next_retry_at: Option<i64>,
        first_failed_at: i64,
        last_failed_at: i64,
        resolution: Option<String>,
        resolved_at_ms: Option<i64>,
    }
}

/// The case of an invoice, for dunning.
pub(crate) fn find_failure_case(reader: &StoreReader, invoice_id: &str) -> Result<Option<FailureCase>, StoreError> {
    const SQL: &str = select!(FailureCase, "FROM payment_failures WHERE stripe_invoice_id = ?1");
    reader.find(SQL, [invoice_id], FailureCase::read)
}

const SPEAKER: &str = "SELECT stripe_invoice_id FROM payment_failures
    WHERE stripe_subscription_id = ?1 AND resolved = 0
    ORDER BY first_failed_at < ?2, first_failed_at, stripe_invoice_id LIMIT 1";

/// A subscription's delinquency is notified about by one of its cases. This is the invoice of that case: the oldest open
/// one since the delinquency began.
pub(crate) fn find_oldest_open_case(
    reader: &StoreReader,
    subscription_id: &str,
    since: i64,
) -> Result<Option<String>, StoreError> {
    reader.find(SPEAKER, (subscription_id, since), row::only)
}

const ENDED_SPEAKER: &str = "SELECT stripe_invoice_id, first_failed_at FROM payment_failures
    WHERE stripe_subscription_id = ?1 AND resolved = 1 AND resolution <> 'paid'
    AND first_failed_at * 1000 > coalesce((SELECT max(resolved_at_ms) FROM payment_failures
        WHERE stripe_subscription_id = ?1 AND resolution = 'paid'), 0)
    ORDER BY first_failed_at, stripe_invoice_id LIMIT 1";

/// The same for a subscription that ended unpaid: the invoice of the oldest case since the last one that was paid after
/// all, and the first failure of it, unix seconds.
pub(crate) fn find_oldest_case_of_ended(
    reader: &StoreReader,
    subscription_id: &str,
) -> Result<Option<(String, i64)>, StoreError> {
    reader.find(ENDED_SPEAKER, [subscription_id], row::tuple)
}

/// Invoices of a subscription's cases that are open, that still wait for something, or that were closed unpaid.
pub(crate) fn list_open_of(reader: &StoreReader, subscription_id: &str) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM payment_failures
        WHERE stripe_subscription_id = ?1
        AND (resolved = 0 OR dunning_due_at IS NOT NULL OR resolution <> 'paid') ORDER BY id";
    reader.list(SQL, [subscription_id], row::only)
}

/// Sets when a notice of the case falls due by time alone, unix seconds.
pub(crate) fn set_due(tx: &Tx, invoice_id: &str, due_at: Option<i64>) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE payment_failures SET dunning_due_at = ?2
        WHERE stripe_invoice_id = ?1 AND dunning_due_at IS NOT ?2";
    tx.execute(SQL, (invoice_id, due_at)).map(|_| ())
}

/// Has every open case looked at again, because configured periods have changed.
pub(crate) fn set_all_due(tx: &Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE payment_failures SET dunning_due_at = 0 WHERE resolved = 0", []).map(|_| ())
}

/// Invoices whose cases have something due, longest overdue first.
pub(crate) fn list_due(reader: &StoreReader, now_s: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT stripe_invoice_id FROM payment_failures WHERE dunning_due_at <= ?1
        ORDER BY dunning_due_at, id LIMIT ?2";
    reader.list(SQL, (now_s, limit), row::only)
}

/// Brings the case of an invoice in line with the invoice, its payment and its subscription. `false`: there is no case.
pub(super) fn refresh(tx: &Tx, invoice_id: &str) -> Result<bool, StoreError> {
    let Some(case) = find(tx, invoice_id)? else { return Ok(false) };
    let invoice = invoice::find_state(tx, invoice_id)?;
    let intent_id = invoice.as_ref().and_then(|invoice| invoice.payment_intent_id.as_deref());
    let reason = payment_intent::find_failure_code(tx, intent_id, invoice_id)?;
    let resolution = match invoice.as_ref().and_then(resolution_of_invoice) {
        None => resolution_of_subscription(tx, case.subscription_id.as_deref())?,
        known => known,
    };
    settle(tx, invoice_id, intent_id, reason.as_deref(), resolution)?;
    Ok(true)
}

fn resolution_of_invoice(invoice: &invoice::InvoiceState) -> Option<Resolution> {
    let (kind, at) = match invoice.status.as_deref()? {
        "paid" => ("paid", invoice.paid_at),
        "void" => ("void", invoice.voided_at),
        "uncollectible" => ("uncollectible", invoice.marked_uncollectible_at),
        _ => return None,
    };
    Some(Resolution { kind, at: at.unwrap_or(invoice.event_created) })
}

fn resolution_of_subscription(tx: &Tx, subscription_id: Option<&str>) -> Result<Option<Resolution>, StoreError> {
    let Some(subscription_id) = subscription_id else { return Ok(None) };
    let current = past::find_current(tx, subscription_id)?;
    Ok(current
        .filter(|current| current.deleted || matches!(current.status.as_str(), "canceled" | "incomplete_expired"))
        .map(|current| Resolution {
            kind: "subscription_ended",
            at: current.ended_at.unwrap_or(current.event_created),
        }))
}
