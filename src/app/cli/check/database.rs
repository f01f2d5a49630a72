//! The checks of the database file: does it exist, is it tilld's, undamaged, writable, and closed to other users? Then the
//! findings of `jobs::findings` about what is in it. Must never change it, but for the setting that proves that it takes a write,
//! and for what is remembered. Called by `check`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::app::config::Config;
use crate::app::daemon;
use crate::base::finding::{Finding, fail, ok, warn};
use crate::base::thread::Threads;
use crate::jobs::findings::{self, FindingsOf, Remembered};
use crate::store::engine::damage;
use crate::store::engine::schema::{self, CURRENT};
use crate::store::{OpenError, Store, StoreError, settings};

/// The setting that is written to prove that the database takes a write.
const PROBE: &str = "check";
/// Rights of users who are neither the owner nor in its group.
const OTHERS: u32 = 0o007;

/// What was found.
pub(super) struct DatabaseFindings {
    pub(super) lines: Vec<Finding>,
    pub(super) state: DatabaseState,
}

/// What further checks need of it.
#[derive(Default)]
pub(super) struct DatabaseState {
    /// It could be read and written.
    pub(super) is_usable: bool,
    /// One of the newest events that is not of the API key's mode.
    pub(super) of_other_mode: Option<String>,
    /// The id that a daemon gave it.
    pub(super) database_id: Option<String>,
}

pub(super) fn lines(config: &Config, now_ms: i64) -> DatabaseFindings {
    let path = config.database.as_path();
    let clock = findings::clock(now_ms.div_euclid(1000), None);
    let only = |lines| DatabaseFindings { lines, state: DatabaseState::default() };
    if !path.exists() {
        return only(vec![clock, missing(path)]);
    }
    let mut lines = vec![ok("database", path.display().to_string())];
    lines.extend(permissions(path));
    let version = schema::version_of(path);
    let usable = matches!(version, Ok(CURRENT));
    lines.push(schema_line(version));
    if !usable {
        lines.push(clock);
        return only(lines);
    }
    match opened(path, |store| state(store, now_ms, config)) {
        Ok(found) => DatabaseFindings { lines: lines.into_iter().chain(found.lines).collect(), ..found },
        Err(error) => {
            lines.extend([clock, error]);
            only(lines)
        }
    }
}

/// Remembers what was found for the dashboard. If it cannot, the dashboard shows what was found before.
pub(super) fn remember(config: &Config, what: Remembered, found: FindingsOf) {
    let _ = opened(&config.database, |store| store.write(move |tx| findings::remember(tx, what, &found)));
}

fn missing(path: &Path) -> Finding {
    let shown = path.display();
    match path.parent().filter(|folder| !folder.is_dir()) {
        Some(folder) => fail("database", format!("{shown}: the folder {} does not exist; create it", folder.display())),
        None => warn("database", format!("{shown} does not exist yet; `tilld serve` creates it")),
    }
}

fn permissions(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & OTHERS != 0)
        .then(|| warn("database", format!("every user of this machine can open your customers' data: chmod o= {path}")))
}

fn schema_line(version: Result<u32, OpenError>) -> Finding {
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

fn opened<T>(path: &Path, work: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, Finding> {
    let (store, writer) =
        Store::open(path, &Threads::default()).map_err(|error| fail("database", error.to_string()))?;
    let done = work(&store).map_err(|error| match error {
        StoreError::Damaged(said) => fail("integrity", damaged(path, &said)),
        error => fail("database", error.to_string()),
    });
    drop(store);
    writer.join();
    done
}

fn damaged(path: &Path, said: &str) -> String {
    let (path, backups) = (path.to_owned(), damage::backups(path));
    OpenError::Damaged { path, reason: said.lines().collect::<Vec<_>>().join("; "), backups }.to_string()
}

fn state(store: &Store, now_ms: i64, config: &Config) -> Result<DatabaseFindings, StoreError> {
    let now_s = now_ms.div_euclid(1000);
    let context = daemon::context(config);
    let faults = store.read(schema::quick_check)?;
    let in_tables = store.read(|reader| findings::in_tables(reader, &context))?;
    let found = FindingsOf { at_ms: now_ms, findings: in_tables.clone() };
    store.write(move |tx| {
        settings::put(tx, PROBE, &now_s.to_string())?;
        findings::remember(tx, Remembered::Tables, &found)
    })?;
    let integrity = match faults.first() {
        None => ok("integrity", "the file is undamaged and takes a write"),
        Some(first) => fail("integrity", damaged(store.path(), &format!("{first} (faults: {})", faults.len()))),
    };
    let mut lines = vec![integrity];
    lines.extend(findings::at_hand(store, &context, now_s)?);
    lines.extend(in_tables);
    let database_id = store.read(|reader| settings::find(reader, settings::DATABASE_ID))?;
    let of_other_mode = store.read(|reader| findings::find_of_other_mode(reader, &context))?;
    Ok(DatabaseFindings { lines, state: DatabaseState { is_usable: true, of_other_mode, database_id } })
}
