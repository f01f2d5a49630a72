//! The checks of the database file: does it exist, is it tilld's, undamaged, writable, and closed to other users? Must never
//! change it, but for the one setting that proves that it takes a write. Called by `check`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::burning::{self, UrgentFindings};
use super::{CheckLine, fail, ok, outbox, warn};
use crate::app::config::Config;
use crate::base::entitlement::PausedCollection;
use crate::base::thread::Threads;
use crate::objects::subscription::{self, PausedCounts};
use crate::store::engine::damage;
use crate::store::engine::schema::{self, CURRENT};
use crate::store::{OpenError, Store, StoreError, inbox, settings};
use crate::stripe::event;
use crate::stripe::settings::Mode;

/// The setting that is written to prove that the database takes a write.
const PROBE: &str = "check";
/// Rights of users who are neither the owner nor in its group.
const OTHERS: u32 = 0o007;

/// What was found.
pub(super) struct DatabaseFindings {
    pub(super) lines: Vec<CheckLine>,
    /// When the newest event was received, unix seconds.
    pub(super) last_event_s: Option<i64>,
    /// One of the newest events that is not of the API key's mode.
    pub(super) of_other_mode: Option<String>,
    /// The id that a daemon gave it.
    pub(super) database_id: Option<String>,
}

impl DatabaseFindings {
    /// Nothing is known but what the lines say.
    fn only(lines: Vec<CheckLine>) -> Self {
        Self { lines, last_event_s: None, of_other_mode: None, database_id: None }
    }
}

pub(super) fn lines(config: &Config, now_s: i64) -> DatabaseFindings {
    let path = config.database.as_path();
    if !path.exists() {
        return DatabaseFindings::only(vec![missing(path)]);
    }
    let mut lines = vec![ok("database", path.display().to_string())];
    lines.extend(permissions(path));
    let version = schema::version_of(path);
    let usable = matches!(version, Ok(CURRENT));
    lines.push(schema_line(version));
    if !usable {
        return DatabaseFindings::only(lines);
    }
    match opened(path, now_s, config) {
        Ok(state) => {
            lines.push(state.integrity);
            lines.extend(state.rules);
            lines.push(paused(state.paused, config.policy.paused_collection));
            lines.extend(state.newest_version.as_deref().and_then(api_version));
            lines.extend(outbox::lines(path, config));
            lines.extend(state.links);
            lines.extend(state.burning.lines(config, now_s));
            let (of_other_mode, database_id) = (state.of_other_mode, state.database_id);
            DatabaseFindings { lines, last_event_s: state.burning.last_event_s(), of_other_mode, database_id }
        }
        Err(line) => {
            lines.push(line);
            DatabaseFindings::only(lines)
        }
    }
}

fn missing(path: &Path) -> CheckLine {
    let shown = path.display();
    match path.parent().filter(|folder| !folder.is_dir()) {
        Some(folder) => fail("database", format!("{shown}: the folder {} does not exist; create it", folder.display())),
        None => warn("database", format!("{shown} does not exist yet; `tilld serve` creates it")),
    }
}

fn permissions(path: &Path) -> Option<CheckLine> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & OTHERS != 0)
        .then(|| warn("database", format!("every user of this machine can open your customers' data: chmod o= {path}")))
}

fn schema_line(version: Result<u32, OpenError>) -> CheckLine {
    match version {
        Ok(CURRENT) => ok("schema", CURRENT.to_string()),
        Ok(found) if found < CURRENT => {
            let message = format!(
                "{found}, this tilld needs {CURRENT}: run `tilld migrate up`, or start `tilld serve`, which does it"
            );
            warn("schema", message)
        }
        Ok(found) => fail("schema", format!("{found}, this tilld knows up to {CURRENT}: use the newer tilld")),
        Err(error) => fail("schema", error.to_string()),
    }
}

struct DatabaseState {
    integrity: CheckLine,
    rules: Option<CheckLine>,
    paused: PausedCounts,
    burning: UrgentFindings,
    links: Vec<CheckLine>,
    of_other_mode: Option<String>,
    newest_version: Option<String>,
    database_id: Option<String>,
}

/// The rules of projection are others than those that the tables were made by.
fn other_rules() -> CheckLine {
    warn(
        "rules",
        "the tables were made by the rules of another version of tilld: stop the daemon and run `tilld rebuild`; \
         `tilld rebuild --check` shows what would change",
    )
}

/// Events of an API version that is newer than this program.
fn api_version(version: &str) -> Option<CheckLine> {
    let message = format!(
        "events have API version {version}, which is newer than this tilld: fields that moved are not found; update tilld, or \
         give the webhook endpoint an older version"
    );
    event::is_newer_than_known(version).then(|| warn("api version", message))
}

fn opened(path: &Path, now_s: i64, config: &Config) -> Result<DatabaseState, CheckLine> {
    let (store, writer) =
        Store::open(path, &Threads::default()).map_err(|error| fail("database", error.to_string()))?;
    let state = state(&store, now_s, config).map_err(|error| match error {
        StoreError::Damaged(said) => fail("integrity", damaged(path, &said)),
        error => fail("database", error.to_string()),
    });
    drop(store);
    writer.join();
    state
}

/// Subscriptions whose collection is paused, and what follows from that.
fn paused(paused: PausedCounts, policy: PausedCollection) -> CheckLine {
    let follows = match policy {
        PausedCollection::Keep => "\"keep\": they have access",
        PausedCollection::UntilPaid => "\"until_paid\": access ends with the period in which the pause began",
    };
    let message = format!(
        "subscriptions with paused collection: {} (entitlement.paused_collection = {follows}); with status paused: {}",
        paused.collection, paused.status
    );
    ok("paused", message)
}

fn damaged(path: &Path, said: &str) -> String {
    let (path, backups) = (path.to_owned(), damage::backups(path));
    OpenError::Damaged { path, reason: said.lines().collect::<Vec<_>>().join("; "), backups }.to_string()
}

fn state(store: &Store, now_s: i64, config: &Config) -> Result<DatabaseState, StoreError> {
    let faults = store.read(schema::quick_check)?;
    let burning = store.read(|reader| burning::read(reader, config))?;
    let of_other_mode = match config.stripe.mode() {
        Some(mode) => store.read(|reader| inbox::find_of_mode(reader, mode != Mode::Live))?,
        None => None,
    };
    store.write(move |tx| settings::put(tx, PROBE, &now_s.to_string()))?;
    let integrity = match faults.first() {
        None => ok("integrity", "the file is undamaged and takes a write"),
        Some(first) => fail("integrity", damaged(store.path(), &format!("{first} (faults: {})", faults.len()))),
    };
    let database_id = store.read(|reader| settings::find(reader, settings::DATABASE_ID))?;
    let paused = store.read(subscription::count_paused)?;
    let newest_version = store.read(inbox::find_newest_version)?;
    let links = super::owners::lines(store)?;
    let rules = store.read(schema::has_other_rules)?.then(other_rules);
    Ok(DatabaseState { integrity, rules, paused, burning, links, of_other_mode, newest_version, database_id })
}
