//! Copies what is not derived from the old file into the new one, by the columns that both have. It must never take over a
//! derived row as it is. Called by `jobs::rebuild`.

use super::REPLAYED;
use super::tables::{self, RowOrigin};
use crate::objects::effective::{self, StoredAnswer};
use crate::objects::failure_case;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader, Tx};

/// Columns that a table has in both files.
fn columns(reader: &StoreReader, table: &str, but: &[&str]) -> Result<String, StoreError> {
    const SQL: &str = "SELECT n.name FROM pragma_table_info(?1, 'main') n
        JOIN pragma_table_info(?1, 'old') o ON o.name = n.name ORDER BY n.cid";
    let names: Vec<String> = reader.list(SQL, [table], row::only)?;
    Ok(names.into_iter().filter(|name| !but.contains(&name.as_str())).collect::<Vec<_>>().join(", "))
}

fn copy(tx: &Tx, table: &str) -> Result<(), StoreError> {
    let columns = columns(tx, table, &[])?;
    // Rows that are there already are of events that could not be projected any more, or such as every file has.
    tx.execute(&format!("INSERT OR REPLACE INTO main.{table} ({columns}) SELECT {columns} FROM old.{table}"), [])?;
    Ok(())
}

/// Copies what projecting depends on.
pub(crate) fn start(tx: &Tx) -> Result<(), StoreError> {
    tables::of_origin(RowOrigin::CopiedFirst).try_for_each(|table| copy(tx, table))?;
    if !has_history_of_readings(tx)? {
        tx.execute(HISTORY_OF_READINGS, [])?;
    }
    Ok(())
}

/// What had become of an event.
const STATE: [&str; 5] = ["status", "processed", "processing_error", "processing_attempts", "processed_at_ms"];

/// Copies the events that wait for the worker and were never projected. They follow after all that was.
pub(crate) fn copy_waiting(tx: &Tx) -> Result<(), StoreError> {
    let columns = columns(tx, "stripe_webhooks_log", &[])?;
    let sql = format!(
        "INSERT INTO main.stripe_webhooks_log ({columns}) SELECT {columns} FROM old.stripe_webhooks_log
         WHERE status = 'pending' AND status <> 'processed' AND processed_at_ms IS NULL ORDER BY id"
    );
    tx.execute(&sql, []).map(|_| ())
}

/// Makes the state of replayed events what it was, now that their facts are in the tables. One that could not be projected
/// has no time of that any more.
pub(crate) fn put_back_replayed(tx: &Tx) -> Result<(), StoreError> {
    let sql = format!(
        "UPDATE main.stripe_webhooks_log AS n SET status = o.status, processing_error = o.processing_error,
            processing_attempts = o.processing_attempts,
            processed = iif(n.processed_at_ms IS NULL, 0, o.processed),
            processed_at_ms = iif(n.processed_at_ms IS NULL, NULL, o.processed_at_ms)
         FROM (SELECT id, status, processed, processing_error, processing_attempts, processed_at_ms
               FROM old.stripe_webhooks_log WHERE status <> 'processed' AND {REPLAYED}) o
         WHERE o.id = n.id"
    );
    tx.execute(&sql, []).map(|_| ())
}

/// The statements that copy one event into the new log.
pub(crate) struct Copying {
    as_it_was: String,
    as_pending: String,
}

impl Copying {
    pub(crate) fn new(reader: &StoreReader) -> Result<Self, StoreError> {
        let sql = |columns: String| {
            format!(
                "INSERT INTO main.stripe_webhooks_log ({columns}) SELECT {columns} FROM old.stripe_webhooks_log
                 WHERE id = ?1"
            )
        };
        let of = |but: &[&str]| columns(reader, "stripe_webhooks_log", but);
        Ok(Self { as_it_was: sql(of(&[])?), as_pending: sql(of(&STATE)?) })
    }

    pub(crate) fn as_it_was(&self, tx: &Tx, log_id: i64) -> Result<(), StoreError> {
        tx.execute(&self.as_it_was, [log_id]).map(|_| ())
    }

    pub(crate) fn as_pending(&self, tx: &Tx, log_id: i64) -> Result<(), StoreError> {
        tx.execute(&self.as_pending, [log_id]).map(|_| ())
    }
}

/// Customers about which there is a statement: they have a row even where Stripe never showed them.
pub(crate) fn list_linked_customers(reader: &StoreReader) -> Result<Vec<String>, StoreError> {
    reader.list("SELECT DISTINCT object_id FROM user_links WHERE object = 'customer'", [], row::only)
}

/// Whether the old file has a table of readings.
pub(crate) fn has_history_of_readings(reader: &StoreReader) -> Result<bool, StoreError> {
    is_there(reader, "api_readings")
}

/// Whether the old file has a table.
fn is_there(reader: &StoreReader, table: &str) -> Result<bool, StoreError> {
    Ok(reader.find("SELECT 1 FROM old.sqlite_master WHERE name = ?1", [table], |_| Ok(()))?.is_some())
}

// In a file from before there was a table of readings, only this is left of most.
const HISTORY_OF_READINGS: &str = "INSERT INTO main.subscription_events
    (stripe_subscription_id, event_type, stripe_event_id, status, delinquent, collection_paused, price_ids, period_end,
     event_created, created_at_ms)
    SELECT stripe_subscription_id, event_type, stripe_event_id, status, delinquent, collection_paused, price_ids,
        period_end, event_created, created_at_ms FROM old.subscription_events
    WHERE stripe_event_id LIKE 'read:%' ORDER BY id ON CONFLICT DO NOTHING";

const KEYS_OF_CALLS: &str = "UPDATE main.stripe_payment_intents SET idempotency_key = o.idempotency_key
    FROM main.stripe_operations o
    WHERE o.object_id = stripe_intent_id AND o.kind = 'payment_intent.create' AND o.status = 'done'";

/// Copies all the rest, when everything is projected.
pub(crate) fn finish(tx: &Tx) -> Result<(), StoreError> {
    tables::of_origin(RowOrigin::CopiedLast).try_for_each(|table| copy(tx, table))?;
    for table in tables::of_origin(RowOrigin::CopiedIfThere) {
        if is_there(tx, table)? {
            copy(tx, table)?;
        }
    }
    numbers_of_letters(tx)?;
    operations(tx)?;
    // The row numbers of customers have changed, so a backfill that went by them begins again.
    tx.execute("UPDATE main.sync_progress SET after_row = NULL WHERE finished_at_ms IS NULL", [])?;
    figures(tx)?;
    // The key of a call of our own is known from the call, too; `payment_intent.created` need not have come.
    tx.execute(KEYS_OF_CALLS, [])?;
    notices(tx)?;
    audit(tx)?;
    failure_case::set_all_due(tx)
}

/// Numbers of dead letters are not given again, not even those of letters that are gone: a question about them may still
/// wait for its yes.
fn numbers_of_letters(tx: &Tx) -> Result<(), StoreError> {
    const LAST: &str = "SELECT seq FROM old.sqlite_sequence WHERE name = 'webhook_dead_letter_queue'";
    const GIVEN: &str = "SELECT seq FROM main.sqlite_sequence WHERE name = 'webhook_dead_letter_queue'";
    if !is_there(tx, "sqlite_sequence")? {
        return Ok(());
    }
    let Some(last) = tx.find(LAST, [], row::only::<i64>)? else { return Ok(()) };
    let given = tx.find(GIVEN, [], row::only::<i64>)?.unwrap_or(0);
    tx.execute("DELETE FROM main.sqlite_sequence WHERE name = 'webhook_dead_letter_queue'", [])?;
    let put = "INSERT INTO main.sqlite_sequence (name, seq) VALUES ('webhook_dead_letter_queue', ?1)";
    tx.execute(put, [last.max(given)]).map(|_| ())
}

// An attempt whose event is not in the log any more cannot be projected again.
const ATTEMPTS_OF_THE_PAST: &str = "INSERT INTO main.payment_attempts SELECT * FROM old.payment_attempts o
    WHERE NOT EXISTS (SELECT 1 FROM main.stripe_webhooks_log l WHERE l.event_id = o.event_id) ON CONFLICT DO NOTHING";
// Events that have come to another end than before, which is rare: both sides of the union have an index.
const MOVED: [&str; 5] = [
    "CREATE TEMP TABLE moved_events AS
    SELECT n.id, n.created_at_ms / 3600000 * 3600 AS hour,
        iif(length(n.event_type) <= 100, n.event_type, 'other') AS event_type, o.status AS was, n.status AS became
    FROM main.stripe_webhooks_log n JOIN old.stripe_webhooks_log o ON o.id = n.id
    WHERE n.status <> 'processed' AND n.status <> o.status
    UNION
    SELECT n.id, n.created_at_ms / 3600000 * 3600, iif(length(n.event_type) <= 100, n.event_type, 'other'), o.status, n.status
    FROM old.stripe_webhooks_log o JOIN main.stripe_webhooks_log n ON n.id = o.id
    WHERE o.status <> 'processed' AND n.status <> o.status",
    "UPDATE main.webhook_hours SET events = webhook_hours.events - gone.moved
    FROM (SELECT hour, event_type, was, count(*) AS moved FROM temp.moved_events GROUP BY 1, 2, 3) gone
    WHERE webhook_hours.hour = gone.hour AND webhook_hours.event_type = gone.event_type
        AND webhook_hours.status = gone.was",
    "INSERT INTO main.webhook_hours (hour, event_type, status, events)
    SELECT hour, event_type, became, 1 FROM temp.moved_events
    WHERE became = 'processed' OR became = 'ignored' OR became = 'dead'
    ON CONFLICT (hour, event_type, status) DO UPDATE SET events = events + 1",
    "DELETE FROM main.webhook_hours WHERE events <= 0",
    "DROP TABLE temp.moved_events",
];

// What the log shows, where nothing was counted before.
const OUTCOMES_OF_THE_LOG: &str = "INSERT INTO main.webhook_hours (hour, event_type, status, events)
    SELECT created_at_ms / 3600000 * 3600, iif(length(event_type) <= 100, event_type, 'other'), status, count(*)
    FROM main.stripe_webhooks_log WHERE status = 'processed' OR status = 'ignored' OR status = 'dead' GROUP BY 1, 2, 3";

/// Takes over the figures of the past. For a file from before there were any they are made from its log, without lags.
fn figures(tx: &Tx) -> Result<(), StoreError> {
    let were_kept = is_there(tx, "webhook_hours")?;
    for table in tables::of_origin(RowOrigin::Kept) {
        tx.execute(&format!("DELETE FROM main.{table}"), [])?;
        if were_kept {
            copy(tx, table)?;
        }
    }
    if !were_kept {
        return tx.execute(OUTCOMES_OF_THE_LOG, []).map(|_| ());
    }
    MOVED.iter().try_for_each(|sql| tx.execute(sql, []).map(|_| ()))?;
    tx.execute(ATTEMPTS_OF_THE_PAST, []).map(|_| ())
}

// In a file from before the first release, what decides whether an operation was done is in its form alone. For a change of
// price that is the price; where none is found, an open one stays in doubt, because `null` cannot be judged.
const WANTED: &str = "CASE WHEN kind <> 'subscription.change_plan' THEN '{}'
    WHEN instr('&' || form, '&items[0][price]=') > 0 THEN
        (SELECT json_object('price_id', iif(instr(rest, '&') > 0, substr(rest, 1, instr(rest, '&') - 1), rest))
         FROM (SELECT substr('&' || form, instr('&' || form, '&items[0][price]=') + 17) AS rest))
    WHEN status IN ('sending', 'in_doubt') THEN 'null' ELSE '{}' END";

/// Copies what was asked of Stripe.
fn operations(tx: &Tx) -> Result<(), StoreError> {
    let columns = columns(tx, "stripe_operations", &[])?;
    if columns.split(", ").any(|column| column == "wanted") {
        return copy(tx, "stripe_operations");
    }
    let sql = format!(
        "INSERT OR REPLACE INTO main.stripe_operations ({columns}, wanted)
         SELECT {columns}, {WANTED} FROM old.stripe_operations"
    );
    tx.execute(&sql, []).map(|_| ())
}

/// Copies the notices about failed payments, by the invoice. Notices that projecting has recorded besides stay, so that nobody
/// is notified about what other rules make of the past.
fn notices(tx: &Tx) -> Result<(), StoreError> {
    let columns = columns(tx, "dunning_attempts", &["id", "payment_failure_id"])?;
    tx.execute(
        "DELETE FROM main.dunning_attempts WHERE EXISTS (SELECT 1 FROM main.payment_failures f
            JOIN old.payment_failures o ON o.stripe_invoice_id = f.stripe_invoice_id
            JOIN old.dunning_attempts a ON a.payment_failure_id = o.id
            WHERE f.id = main.dunning_attempts.payment_failure_id
              AND a.notification_type = main.dunning_attempts.notification_type
              AND a.attempt_number = main.dunning_attempts.attempt_number)",
        [],
    )?;
    let wanted: Vec<String> = columns.split(", ").map(|column| format!("a.{column}")).collect();
    let sql = format!(
        "INSERT INTO main.dunning_attempts (payment_failure_id, {columns}) SELECT f.id, {} FROM old.dunning_attempts a
         JOIN old.payment_failures o ON o.id = a.payment_failure_id
         JOIN main.payment_failures f ON f.stripe_invoice_id = o.stripe_invoice_id ORDER BY a.id",
        wanted.join(", ")
    );
    tx.execute(&sql, []).map(|_| ())
}

/// Copies the audit log in its order; what projecting has written about an event replaces what it wrote before.
fn audit(tx: &Tx) -> Result<(), StoreError> {
    const DERIVED: &str = "at_ms, actor, action, user_id, stripe_customer_id, stripe_subscription_id, subject,
        stripe_event_id, detail";
    let of = |alias: &str| DERIVED.split(',').map(|column| format!("{alias}.{}", column.trim())).collect::<Vec<_>>();
    let (derived, old) = (of("d"), of("o"));
    let chosen: Vec<String> = derived.iter().zip(&old).map(|(d, o)| format!("iif(d.id IS NULL, {o}, {d})")).collect();
    tx.execute(
        "CREATE TEMP TABLE derived_audit AS SELECT * FROM main.audit_log WHERE stripe_event_id IS NOT NULL",
        [],
    )?;
    tx.execute("CREATE INDEX temp.derived_audit_event ON derived_audit (stripe_event_id, action)", [])?;
    tx.execute("DELETE FROM main.audit_log", [])?;
    let join = "d.stripe_event_id = o.stripe_event_id AND d.action = o.action";
    let sql = format!(
        "INSERT INTO main.audit_log (id, {DERIVED}) SELECT o.id, {} FROM old.audit_log o
         LEFT JOIN temp.derived_audit d ON {join} ORDER BY o.id",
        chosen.join(", ")
    );
    tx.execute(&sql, [])?;
    let sql = format!(
        "INSERT INTO main.audit_log ({DERIVED}) SELECT {} FROM temp.derived_audit d
         WHERE NOT EXISTS (SELECT 1 FROM old.audit_log o WHERE {join}) ORDER BY d.id",
        derived.join(", ")
    );
    tx.execute(&sql, [])?;
    tx.execute("DROP TABLE temp.derived_audit", []).map(|_| ())
}

const CHANGED: &str = "SELECT user_id FROM
        (SELECT user_id, entitled, tier, reason, status, stripe_subscription_id, stripe_price_id, valid_until,
            grace_period_end, ends_at FROM old.subscriptions
         EXCEPT SELECT user_id, entitled, tier, reason, status, stripe_subscription_id, stripe_price_id, valid_until,
            grace_period_end, ends_at FROM main.subscriptions)
    UNION SELECT user_id FROM
        (SELECT user_id, entitled, tier, reason, status, stripe_subscription_id, stripe_price_id, valid_until,
            grace_period_end, ends_at FROM main.subscriptions
         EXCEPT SELECT user_id, entitled, tier, reason, status, stripe_subscription_id, stripe_price_id, valid_until,
            grace_period_end, ends_at FROM old.subscriptions)
    ORDER BY 1";

/// Users whose answer has changed.
pub(crate) fn list_changed_answers(reader: &StoreReader) -> Result<Vec<String>, StoreError> {
    reader.list(CHANGED, [], row::only)
}

/// The answer that the old file has for a user.
pub(crate) fn answer_before(reader: &StoreReader, user_id: &str) -> Result<Option<StoredAnswer>, StoreError> {
    effective::find_answered_before(reader, user_id)
}
