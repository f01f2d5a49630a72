//! `webhook_endpoints`: how the application's endpoints fare. A disabled one gets nothing but an event once a day, to see
//! whether it takes it; all others wait.

use super::{StoreError, StoreReader, Tx};
use crate::base::secret::{LEFT_OUT, without_query};
use crate::store::engine::row::{self, columns, select};

columns! {
    /// How an endpoint fares.
    pub struct EndpointState {
        /// First of the failures since its last success, unix milliseconds.
        first_failure_ms: Option<i64>,
        /// Unix milliseconds.
        last_success_ms: Option<i64>,
        /// Since when it gets nothing, unix milliseconds.
        disabled_at_ms: Option<i64>,
        /// Why.
        disabled_reason: Option<String>,
        /// While it is disabled: when it is tried again, unix milliseconds.
        probe_at_ms: Option<i64>,
    }
}

columns! {
    /// An endpoint, and how it fares.
    pub struct EndpointEntry {
        /// As configured.
        url: String,
        /// How it fares.
        state: EndpointState = EndpointState::COLUMNS => EndpointState::take,
    }
}

impl EndpointEntry {
    /// Whether it is disabled, or has taken nothing since its last success.
    #[must_use]
    pub(crate) fn is_troubled(&self) -> bool {
        self.state.first_failure_ms.or(self.state.disabled_at_ms).is_some()
    }
}

/// Endpoints that were ever configured, those that get nothing first.
pub(crate) fn list_all(reader: &StoreReader, limit: u32) -> Result<Vec<EndpointEntry>, StoreError> {
    const SQL: &str = select!(EndpointEntry, "FROM webhook_endpoints ORDER BY disabled_at_ms IS NULL, url LIMIT ?1");
    reader.list(SQL, [limit], EndpointEntry::read)
}

/// One endpoint; `None`: it was never configured.
pub fn find(reader: &StoreReader, url: &str) -> Result<Option<EndpointState>, StoreError> {
    const SQL: &str = select!(EndpointState, "FROM webhook_endpoints WHERE url = ?1");
    reader.find(SQL, [url], EndpointState::read)
}

/// The URL of the endpoint that is shown as `name`; anything else is what it is.
pub(crate) fn url_of(reader: &StoreReader, name: &str) -> Result<String, StoreError> {
    if !name.contains(LEFT_OUT) {
        return Ok(name.to_owned());
    }
    let urls: Vec<String> = reader.list("SELECT url FROM webhook_endpoints", [], row::only)?;
    Ok(urls.into_iter().find(|url| without_query(url) == name).unwrap_or_else(|| name.to_owned()))
}

/// Endpoints that get nothing, and why.
pub(crate) fn list_disabled(reader: &StoreReader) -> Result<Vec<(String, Option<String>)>, StoreError> {
    const SQL: &str =
        "SELECT url, disabled_reason FROM webhook_endpoints WHERE disabled_at_ms IS NOT NULL ORDER BY url";
    reader.list(SQL, [], row::tuple)
}

const CONFIGURE: &str = "INSERT INTO webhook_endpoints (url, fingerprint) VALUES (?1, ?2)
    ON CONFLICT (url) DO UPDATE SET fingerprint = excluded.fingerprint, first_failure_ms = NULL, failing_days = 0,
        failing_day_ms = NULL, disabled_at_ms = NULL, disabled_reason = NULL, probe_at_ms = NULL
        WHERE fingerprint <> excluded.fingerprint";

/// Notes that it is configured so. Where it was configured otherwise, it is enabled and begins anew.
pub fn configure(tx: &Tx, url: &str, fingerprint: &str) -> Result<(), StoreError> {
    tx.execute(CONFIGURE, (url, fingerprint)).map(|_| ())
}

const SUCCEED: &str = "UPDATE webhook_endpoints SET first_failure_ms = NULL, failing_days = 0, failing_day_ms = NULL,
    last_success_ms = ?2 WHERE url = ?1";

/// It took an event.
pub fn succeed(tx: &Tx, url: &str, now_ms: i64) -> Result<(), StoreError> {
    tx.execute(SUCCEED, (url, now_ms)).map(|_| ())
}

const URLS: &str = "SELECT url, was_away FROM webhook_endpoints ORDER BY url";
const SET_AWAY: &str = "UPDATE webhook_endpoints SET was_away = ?2 WHERE url = ?1";

/// Endpoints that are known, and whether changes of answers were not written for them.
pub fn list(reader: &StoreReader) -> Result<Vec<(String, bool)>, StoreError> {
    reader.list(URLS, [], row::tuple)
}

/// Notes that changes of answers are not written for it, or that all present ones have been announced to it since.
pub(crate) fn set_absent(tx: &Tx, url: &str, was_away: bool) -> Result<(), StoreError> {
    tx.execute(SET_AWAY, (url, was_away)).map(|_| ())
}

columns! {
    /// How long an endpoint has been taking nothing.
    #[derive(Copy)]
    pub struct FailingEndpoint {
        /// Its first failure since it last took something, unix milliseconds.
        since_ms: i64 = "first_failure_ms",
        /// Days, each a day or more after the one before, on which it was tried and took nothing.
        days: u32 = "failing_days",
    }
}

const DAY_MS: i64 = 24 * 3600 * 1000;
const FAIL: &str = constcat::concat!(
    "UPDATE webhook_endpoints SET first_failure_ms = min(coalesce(first_failure_ms, ?2), ?2),
    failing_days = failing_days + (failing_day_ms IS NULL OR ?2 - failing_day_ms >= ?3),
    failing_day_ms = CASE WHEN abs(?2 - failing_day_ms) < ?3 THEN failing_day_ms ELSE ?2 END
    WHERE url = ?1 RETURNING ",
    FailingEndpoint::COLUMNS
);

/// It did not take an event.
pub fn fail(tx: &Tx, url: &str, now_ms: i64) -> Result<Option<FailingEndpoint>, StoreError> {
    tx.find(FAIL, (url, now_ms, DAY_MS), FailingEndpoint::read)
}

const DISABLE: &str = "UPDATE webhook_endpoints SET disabled_at_ms = ?2, disabled_reason = ?3, probe_at_ms = ?4
    WHERE url = ?1 AND disabled_at_ms IS NULL";

/// Sends it nothing more before `probe_at_ms`. `false`: it was so already.
pub(crate) fn disable(tx: &Tx, url: &str, reason: &str, (now_ms, probe_at_ms): (i64, i64)) -> Result<bool, StoreError> {
    Ok(tx.execute(DISABLE, (url, now_ms, reason, probe_at_ms))? == 1)
}

/// Has a disabled one tried now that would be later than at `latest_ms`: that was dated by a clock that was set back since.
pub fn bring_forward(tx: &Tx, url: &str, latest_ms: i64, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE webhook_endpoints SET probe_at_ms = ?3 WHERE url = ?1 AND probe_at_ms > ?2";
    tx.execute(SQL, (url, latest_ms, now_ms)).map(|_| ())
}

const POSTPONE: &str = "UPDATE webhook_endpoints SET probe_at_ms = ?2 WHERE url = ?1 AND disabled_at_ms IS NOT NULL";

/// A disabled one is tried again then, unix milliseconds. `false`: it is not disabled.
pub(crate) fn postpone(tx: &Tx, url: &str, probe_at_ms: i64) -> Result<bool, StoreError> {
    Ok(tx.execute(POSTPONE, (url, probe_at_ms))? == 1)
}

const ENABLE: &str = "UPDATE webhook_endpoints SET first_failure_ms = NULL, failing_days = 0, failing_day_ms = NULL,
    disabled_at_ms = NULL, disabled_reason = NULL, probe_at_ms = NULL WHERE url = ?1 AND disabled_at_ms IS NOT NULL";

/// Sends it its events again. `false`: it was not disabled.
pub fn enable(tx: &Tx, url: &str) -> Result<bool, StoreError> {
    Ok(tx.execute(ENABLE, [url])? == 1)
}
