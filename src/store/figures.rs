//! `webhook_hours`, `webhook_days`, `webhook_lag_hours` and `level_hours`: what became of events and how things stood, by the
//! hour. The worker counts what it finishes for the first time, a batch at once; triggers count the rest
//! (`migrations/V2__own.sql`). It must never read the log: figures outlive it. Called by `objects::figures`, `jobs::worker` and
//! `jobs::levels`.

use std::collections::BTreeMap;

use super::{StoreError, StoreReader, Tx};
use crate::base::figure_range::{FigureBucket, FigureRange};
use crate::store::engine::row::{self, columns, select};

/// The upper bounds by which lags are counted, milliseconds; what took longer stands under `i64::MAX`. The triggers have the
/// same.
pub(crate) const LAG_BOUNDS_MS: [i64; 15] =
    [10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000, 86_400_000];

/// Types with more characters are counted as [`OTHER_TYPE`]. The triggers have the same.
const MAX_TYPE_CHARS: usize = 100;
/// The type of events with an absurdly long one.
const OTHER_TYPE: &str = "other";
const MS_PER_HOUR: i64 = 3_600_000;
const SECONDS_PER_HOUR: i64 = 3600;

/// Events that the worker finishes for the first time, counted together: one statement for each group, not for each event.
#[derive(Default)]
pub(crate) struct FinishedEvents<'a> {
    outcomes: BTreeMap<(i64, &'a str, EventStatusWord), i64>,
    lags: BTreeMap<(i64, i64), i64>,
}

/// `processed` or `ignored`.
type EventStatusWord = &'static str;

impl<'a> FinishedEvents<'a> {
    /// Adds an event. Times in unix milliseconds.
    pub(crate) fn add(&mut self, event_type: &'a str, status: EventStatusWord, (received_ms, now_ms): (i64, i64)) {
        let hour = received_ms / MS_PER_HOUR * SECONDS_PER_HOUR;
        let is_long = event_type.chars().nth(MAX_TYPE_CHARS).is_some();
        let event_type = if is_long { OTHER_TYPE } else { event_type };
        let lag_ms = now_ms.saturating_sub(received_ms);
        let up_to_ms = LAG_BOUNDS_MS.into_iter().find(|bound| lag_ms <= *bound).unwrap_or(i64::MAX);
        *self.outcomes.entry((hour, event_type, status)).or_default() += 1;
        *self.lags.entry((hour, up_to_ms)).or_default() += 1;
    }

    /// Writes them down.
    pub(crate) fn put(self, tx: &Tx) -> Result<(), StoreError> {
        const OUTCOME: &str = "INSERT INTO webhook_hours (hour, event_type, status, events) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (hour, event_type, status) DO UPDATE SET events = events + excluded.events RETURNING events";
        // An event of the same batch has taken it back already: the database turned to live mode.
        const EMPTY: &str = "DELETE FROM webhook_hours WHERE hour = ?1 AND event_type = ?2 AND status = ?3";
        const LAG: &str = "INSERT INTO webhook_lag_hours (hour, up_to_ms, events) VALUES (?1, ?2, ?3)
            ON CONFLICT (hour, up_to_ms) DO UPDATE SET events = events + excluded.events";
        for ((hour, event_type, status), events) in self.outcomes {
            if tx.get(OUTCOME, (hour, event_type, status, events), row::only::<i64>)? == 0 {
                tx.execute(EMPTY, (hour, event_type, status))?;
            }
        }
        self.lags.into_iter().try_for_each(|((hour, up_to), events)| tx.execute(LAG, (hour, up_to, events)).map(|_| ()))
    }
}

/// Beginning of a bucket in unix seconds, `status` of the events, and how many.
pub(crate) type OutcomeCount = (i64, String, i64);

/// Events by bucket of arrival and by what became of them.
pub(crate) fn list_outcomes(reader: &StoreReader, range: FigureRange) -> Result<Vec<OutcomeCount>, StoreError> {
    const HOURS: &str = "SELECT hour, status, sum(events) FROM webhook_hours WHERE hour >= ?1 AND hour < ?2
        GROUP BY 1, 2 ORDER BY 1, 2";
    const DAYS: &str = "SELECT day, status, sum(events) FROM webhook_days WHERE day >= ?1 AND day < ?2
        GROUP BY 1, 2 ORDER BY 1, 2";
    let sql = match range.bucket {
        FigureBucket::Hour => HOURS,
        FigureBucket::Day => DAYS,
    };
    reader.list(sql, (range.from_s, range.to_s), row::tuple)
}

columns! {
    /// What became of the events of one type.
    pub(crate) struct TypeCount {
        event_type: String,
        processed: i64 = "coalesce(sum(events) FILTER (WHERE status = 'processed'), 0)",
        ignored: i64 = "coalesce(sum(events) FILTER (WHERE status = 'ignored'), 0)",
        dead: i64 = "coalesce(sum(events) FILTER (WHERE status = 'dead'), 0)",
    }
}

/// Events of the whole range by type, those with the most first.
pub(crate) fn list_types(reader: &StoreReader, range: FigureRange, limit: u32) -> Result<Vec<TypeCount>, StoreError> {
    const HOURS: &str = select!(
        TypeCount,
        "FROM webhook_hours WHERE hour >= ?1 AND hour < ?2 GROUP BY event_type ORDER BY sum(events) DESC, event_type LIMIT ?3"
    );
    const DAYS: &str = select!(
        TypeCount,
        "FROM webhook_days WHERE day >= ?1 AND day < ?2 GROUP BY event_type ORDER BY sum(events) DESC, event_type LIMIT ?3"
    );
    let sql = match range.bucket {
        FigureBucket::Hour => HOURS,
        FigureBucket::Day => DAYS,
    };
    reader.list(sql, (range.from_s, range.to_s, limit), TypeCount::read)
}

/// Beginning of a bucket in unix seconds, upper bound of the lag in milliseconds, and how many events.
pub(crate) type LagCount = (i64, i64, i64);

/// Events by bucket of arrival and by how long they waited, in this order.
pub(crate) fn list_lags(reader: &StoreReader, range: FigureRange) -> Result<Vec<LagCount>, StoreError> {
    const SQL: &str = "SELECT hour / ?3 * ?3, up_to_ms, sum(events) FROM webhook_lag_hours
        WHERE hour >= ?1 AND hour < ?2 GROUP BY 1, 2 ORDER BY 1, 2";
    reader.list(SQL, (range.from_s, range.to_s, range.bucket.seconds()), row::tuple)
}

columns! {
    /// How something stood at one time.
    pub(crate) struct Level {
        /// What was counted.
        name: String,
        /// Of what kind.
        label: String,
        /// How many or how much.
        value: i64,
    }
}

columns! {
    /// How something stood at the last look in a bucket.
    pub(crate) struct LevelAt {
        /// Beginning of the bucket, unix seconds.
        start_s: i64 = "l.hour / ?3 * ?3",
        level: Level = "name, label, value" => Level::take,
    }
}

// Whatever is looked at is looked at together.
const LEVELS: &str = select!(
    LevelAt,
    "FROM level_hours l JOIN (SELECT max(hour) AS hour FROM level_hours WHERE hour >= ?1 AND hour < ?2 GROUP BY hour / ?3) last
        ON last.hour = l.hour ORDER BY l.hour, name, label"
);

/// How things stood at the last look in each bucket; a bucket without a look has none.
pub(crate) fn list_levels(reader: &StoreReader, range: FigureRange) -> Result<Vec<LevelAt>, StoreError> {
    reader.list(LEVELS, (range.from_s, range.to_s, range.bucket.seconds()), LevelAt::read)
}

/// Whether anybody has looked in this hour.
pub(crate) fn has_levels(reader: &StoreReader, hour_s: i64) -> Result<bool, StoreError> {
    const SQL: &str = "SELECT 1 FROM level_hours WHERE hour = ?1 LIMIT 1";
    Ok(reader.find(SQL, [hour_s], |_| Ok(()))?.is_some())
}

/// Writes down how things stand in this hour.
pub(crate) fn put_levels(tx: &Tx, hour_s: i64, levels: &[Level]) -> Result<(), StoreError> {
    const SQL: &str = "INSERT INTO level_hours (hour, name, label, value) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (hour, name, label) DO UPDATE SET value = excluded.value";
    levels.iter().try_for_each(|level| tx.execute(SQL, (hour_s, &level.name, &level.label, level.value)).map(|_| ()))
}

/// Of each day before `before_s` keeps the last look alone, and takes away what a clock that was ahead has written for after
/// `now_s`.
pub(crate) fn thin_levels(tx: &Tx, before_s: i64, now_s: i64) -> Result<(), StoreError> {
    const THIN: &str = "DELETE FROM level_hours WHERE hour < ?1
        AND hour NOT IN (SELECT max(hour) FROM level_hours WHERE hour < ?1 GROUP BY hour / 86400)";
    const FUTURE: &str = "DELETE FROM level_hours WHERE hour > ?1";
    tx.execute(THIN, [before_s])?;
    tx.execute(FUTURE, [now_s]).map(|_| ())
}

/// Effects that wait for delivery, and those that were given up, each by kind.
pub(crate) fn count_outbox(reader: &StoreReader) -> Result<[Vec<(String, i64)>; 2], StoreError> {
    const WAITING: &str = "SELECT kind, count(*) FROM outbox WHERE status = 'pending' GROUP BY kind";
    const FAILED: &str = "SELECT kind, count(*) FROM outbox WHERE status = 'failed' GROUP BY kind";
    Ok([reader.list(WAITING, [], row::tuple)?, reader.list(FAILED, [], row::tuple)?])
}
