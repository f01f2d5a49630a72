//! Every table of the schema besides the typed tables of the kinds, with how its rows come into a fresh file and whether they
//! are compared. The typed tables are all projected and compared, by the list of kinds. A table that is missing here would
//! be empty after a rebuild, so a test compares the list with the schema. It must never read a row. Called by `take_over`
//! and `compare`.

/// How the rows of a table come into the fresh file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrigin {
    /// Copied before anything is projected, because projecting depends on it.
    CopiedFirst,
    /// Made again from the log and the readings.
    Projected,
    /// Made by triggers from the rows of another table, which is compared.
    ByTriggers,
    /// Copied when everything is projected.
    CopiedLast,
    /// Figures of the past, counted by triggers: when everything is projected they become those of the old file, except for
    /// what projecting has made another of.
    Kept,
    /// By statements of its own in `take_over`, because its rows refer to others by number, or are projected in part.
    Merged,
}

/// One table.
pub(super) struct RebuiltTable {
    pub(super) name: &'static str,
    pub(super) origin: RowOrigin,
    /// What `compare` reads in its place and by which columns it tells rows apart; `None`: it is not compared.
    pub(super) compared: Option<ComparedRows>,
}

/// Rows that are compared.
#[derive(Clone, Copy)]
pub(super) struct ComparedRows {
    /// The table, or a view on it.
    pub(super) source: &'static str,
    /// The columns that tell its rows apart.
    pub(super) key: &'static [&'static str],
}

macro_rules! tables {
    ($($name:literal $origin:ident $(by [$($key:literal),+] $(in $view:literal)?)?,)+) => {
        pub(super) const TABLES: &[RebuiltTable] = &[$(RebuiltTable {
            name: $name,
            origin: RowOrigin::$origin,
            compared: tables!(@compared $name $([$($key),+] $($view)?)?),
        }),+];
    };
    (@compared $name:literal) => { None };
    (@compared $name:literal [$($key:literal),+]) => { Some(ComparedRows { source: $name, key: &[$($key),+] }) };
    (@compared $name:literal [$($key:literal),+] $view:literal) => {
        Some(ComparedRows { source: $view, key: &[$($key),+] })
    };
}

// The copied ones in the order in which they are copied: `user_links` refers to `users`.
tables! {
    "users" CopiedFirst by ["id"],
    "user_links" CopiedFirst,
    "settings" CopiedFirst,
    "stripe_webhooks_log" Projected by ["event_id"],
    "api_readings" Projected by ["object", "object_id", "livemode", "account", "reading_id"],
    "mirror" Projected by ["object", "id", "livemode", "account"] in "stripe_objects",
    "stripe_subscription_items" Projected by ["stripe_subscription_id", "stripe_item_id"],
    "subscriptions" Projected by ["user_id"],
    "answer_counts" ByTriggers,
    "subscription_events" Projected by ["stripe_event_id"],
    "payment_failures" Projected by ["stripe_invoice_id"],
    "subscription_discounts" Projected by ["needed_id", "stripe_subscription_id"],
    "mrr_now" Projected by ["currency", "state"],
    "intent_days" Projected by ["day", "currency", "outcome"],
    "payment_attempts" Projected by ["event_id"],
    "payment_hours" Projected by ["hour", "currency", "outcome", "code"],
    "webhook_hours" Kept,
    "webhook_days" Kept,
    "webhook_lag_hours" Kept,
    "level_hours" Kept,
    "audit_log" Merged by ["stripe_event_id", "action"],
    "dunning_attempts" Merged,
    "webhook_attempts" CopiedLast,
    "webhook_retry_queue" CopiedLast,
    "webhook_dead_letter_queue" CopiedLast,
    "worker_claim" CopiedLast,
    "outbox" CopiedLast,
    "webhook_endpoints" CopiedLast,
    "stripe_operations" Merged,
    "catch_up" CopiedLast,
    "sync_runs" CopiedLast,
    "sync_progress" CopiedLast,
    "drift_runs" CopiedLast,
    "drift_findings" CopiedLast,
    "task_requests" CopiedLast,
    "dashboard_sessions" CopiedLast,
}

/// Names of the tables whose rows come that way, in the order of the list.
pub(super) fn of_origin(origin: RowOrigin) -> impl Iterator<Item = &'static str> {
    TABLES.iter().filter(move |table| table.origin == origin).map(|table| table.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{RowOrigin, TABLES};
    use crate::base::thread::Threads;
    use crate::objects::kinds;
    use crate::store::Store;
    use crate::store::engine::{row, schema};

    #[test]
    fn every_table_of_the_schema_is_listed_exactly_once_and_what_is_projected_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tilld.db");
        schema::up(&path, 0).unwrap();
        let (store, _) = Store::open(&path, &Threads::default()).unwrap();
        // SQLite's own tables and the history of migrations are made with every file.
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'
            AND name <> 'refinery_schema_history' ORDER BY name";
        let tables: Vec<String> = store.read(|reader| reader.list(sql, [], row::only)).unwrap();
        let mut listed: Vec<&str> = TABLES.iter().map(|table| table.name).chain(kinds::tables()).collect();
        listed.sort_unstable();
        assert_eq!(listed, tables);
        for table in TABLES {
            assert!(table.origin != RowOrigin::Projected || table.compared.is_some(), "{} is not compared", table.name);
        }
    }
}
