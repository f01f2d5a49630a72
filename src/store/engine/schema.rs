//! Versions of the schema: what there is, going up (refinery) and going down (our scripts), each after a copy of
//! the file and in one transaction. It must never know a table, but for those that say what a file is. Called at start and by
//! `tilld migrate`.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use refinery::{Migration, Runner};
use rusqlite::Connection;

use super::{connection, damage, owner, row};
use crate::store::{OpenError, StoreError, StoreReader, Tx};

struct MigrationStep {
    version: u32,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! steps {
    ($($version:literal => $name:literal,)+) => {
        const STEPS: &[MigrationStep] = &[$(
            MigrationStep {
                version: $version,
                name: concat!("V", $version, "__", $name),
                up: include_str!(concat!("../../../migrations/V", $version, "__", $name, ".sql")),
                down: include_str!(concat!("../../../migrations/V", $version, "__", $name, ".down.sql")),
            }
        ),+];
    };
}

// A new migration is its two files in `migrations/` and its line here.
steps! {
    1 => "inbox",
    2 => "own",
    3 => "objects",
}

/// Newest schema version of this program.
pub const CURRENT: u32 = match STEPS {
    [.., newest] => newest.version,
    [] => 0,
};

/// What projection makes of the same log: raised when a release makes something else of it, so that a file whose tables
/// were made by other rules is known ([`has_other_rules`]).
pub(crate) const RULES: u32 = 1;

/// One line of `tilld migrate status`.
pub struct StepStatus {
    /// Its number.
    pub version: u32,
    /// Its name, as in the file name.
    pub name: &'static str,
    /// Whether the file has it.
    pub applied: bool,
}

/// What migrating did.
#[derive(Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Version before; 0 is an empty file.
    pub from: u32,
    /// Version now.
    pub to: u32,
    /// Where the file as it was has been copied to; `None`: nothing to copy or nothing to do.
    pub copy: Option<PathBuf>,
}

/// The version of the file, 0 when it is new. Creates nothing.
///
/// # Errors
/// When the file cannot be read or belongs to another program.
pub fn version_of(path: &Path) -> Result<u32, OpenError> {
    if !path.exists() {
        return Ok(0);
    }
    let connection = connection::open_reader(path).map_err(|error| OpenError::of(path, &error))?;
    read_version(&connection, path)
}

/// The number in the file, whether or not this program can use a file of that schema; 0 where there is none.
pub(super) fn number_of(path: &Path) -> u32 {
    const SQL: &str = "SELECT coalesce(max(version), 0) FROM refinery_schema_history";
    connection::open_reader(path).and_then(|file| file.query_row(SQL, [], |row| row.get(0))).unwrap_or_default()
}

/// Every step, applied or not.
///
/// # Errors
/// As [`version_of`].
pub fn status(path: &Path) -> Result<Vec<StepStatus>, OpenError> {
    let version = version_of(path)?;
    Ok(STEPS
        .iter()
        .map(|step| StepStatus { version: step.version, name: step.name, applied: step.version <= version })
        .collect())
}

/// Refuses a file whose schema is not [`CURRENT`].
///
/// # Errors
/// [`OpenError::OlderSchema`], [`OpenError::NewerSchema`], or as [`version_of`].
pub fn require_current(path: &Path) -> Result<(), OpenError> {
    let found = version_of(path)?;
    refuse_newer(path, found)?;
    if found < CURRENT {
        return Err(OpenError::OlderSchema { path: path.to_owned(), found, known: CURRENT });
    }
    Ok(())
}

/// Brings the file to [`CURRENT`], creating it when it is new. All steps or none.
///
/// # Errors
/// When the file is of a newer schema, of another program, or a step fails; then it is as it was.
pub fn up(path: &Path, now_ms: i64) -> Result<Migrated, OpenError> {
    let from = version_of(path)?;
    refuse_newer(path, from)?;
    if from == CURRENT {
        return Ok(Migrated { from, to: CURRENT, copy: None });
    }
    let copy = if from == 0 { None } else { Some(copy_aside(path, from, now_ms)?) };
    let is_new = !path.exists();
    if is_new {
        create_private(path)?;
    }
    if let Err(error) = run_up(path) {
        // Nothing was changed, and a daemon that is started over and over would leave a copy each time.
        copy.iter().for_each(|copy| remove(copy));
        if is_new {
            ["", "-wal", "-shm"].iter().for_each(|ending| remove(&damage::beside(path, ending)));
        }
        return Err(error);
    }
    if is_new {
        write_rules(path)?;
    }
    Ok(Migrated { from, to: CURRENT, copy })
}

// The row of `settings` is read and written here, because it belongs to the file and not to any table: it says what made
// the tables, as the history of migrations does.
const PUT_RULES: &str = "INSERT INTO settings (name, value) VALUES ('rules', ?1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const FIND_RULES: &str = "SELECT value FROM settings WHERE name = 'rules'";

/// What is projected into a new file is projected by the rules of this program.
fn write_rules(path: &Path) -> Result<(), OpenError> {
    let written = connection::open_writer(path).and_then(|file| file.execute(PUT_RULES, [RULES.to_string()]));
    written.map(|_| ()).map_err(|error| OpenError::of(path, &error))
}

/// Whether the tables were made by other rules than this program's, so that `tilld rebuild` would make others.
pub fn has_other_rules(reader: &StoreReader) -> Result<bool, StoreError> {
    Ok(reader.find(FIND_RULES, [], row::only::<String>)? != Some(RULES.to_string()))
}

/// Records that the tables were made by the rules of this program.
pub(crate) fn note_rules(tx: &Tx) -> Result<(), StoreError> {
    tx.execute(PUT_RULES, [RULES.to_string()]).map(|_| ())
}

fn run_up(path: &Path) -> Result<(), OpenError> {
    let mut connection = connection::open_writer(path).map_err(|error| OpenError::of(path, &error))?;
    let migrations = STEPS
        .iter()
        .map(|step| Migration::unapplied(step.name, step.up))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(path, &error))?;
    Runner::new(&migrations).set_grouped(true).run(&mut connection).map_err(|error| failed(path, &error))?;
    Ok(())
}

/// Takes away what a failed step has made.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            log::info!("{} was not removed: {error}", path.display());
        }
        _ => {}
    }
}

/// Brings the file down to version `to`, one transaction for all steps. Foreign keys stay on, so that no row can be
/// left referring to a table that goes.
///
/// # Errors
/// As [`up`].
pub fn down(path: &Path, to: u32, now_ms: i64) -> Result<Migrated, OpenError> {
    let from = version_of(path)?;
    refuse_newer(path, from)?;
    if to >= from {
        return Ok(Migrated { from, to: from, copy: None });
    }
    let copy = copy_aside(path, from, now_ms)?;
    let mut connection = connection::open_writer(path).map_err(|error| OpenError::of(path, &error))?;
    if let Err(error) = run_down(&mut connection, to, from) {
        remove(&copy);
        return Err(failed(path, &error));
    }
    Ok(Migrated { from, to, copy: Some(copy) })
}

/// What SQLite finds wrong with the file, in its words; nothing when it is whole (sqlite.org/pragma.html#pragma_quick_check).
pub(crate) fn quick_check(reader: &StoreReader) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = reader.list("PRAGMA quick_check", [], row::only)?;
    found.retain(|line| line != "ok");
    Ok(found)
}

fn run_down(connection: &mut Connection, to: u32, from: u32) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in STEPS.iter().rev().filter(|step| step.version > to && step.version <= from) {
        tx.execute_batch(step.down)?;
        tx.execute("DELETE FROM refinery_schema_history WHERE version = ?1", [step.version])?;
    }
    tx.commit()
}

fn read_version(connection: &Connection, path: &Path) -> Result<u32, OpenError> {
    let count = |sql: &str| connection.query_row(sql, [], row::only::<u32>);
    let tables = count("SELECT count(*) FROM sqlite_master").map_err(|error| OpenError::of(path, &error))?;
    if tables == 0 {
        return Ok(0);
    }
    let ours = count("SELECT count(*) FROM sqlite_master WHERE name = 'refinery_schema_history'")
        .map_err(|error| OpenError::of(path, &error))?;
    if ours == 0 {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let version = count("SELECT coalesce(max(version), 0) FROM refinery_schema_history")
        .map_err(|error| OpenError::of(path, &error))?;
    // Other programs use refinery, too.
    let log = count("SELECT count(*) FROM sqlite_master WHERE name = 'stripe_webhooks_log'")
        .map_err(|error| OpenError::of(path, &error))?;
    if version > 0 && log == 0 {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    const UNRELEASED: &str = "SELECT count(*) FROM refinery_schema_history WHERE name = 'customers_and_subscriptions'";
    if count(UNRELEASED).map_err(|error| OpenError::of(path, &error))? > 0 {
        return Err(OpenError::Unreleased { path: path.to_owned() });
    }
    Ok(version)
}

fn refuse_newer(path: &Path, found: u32) -> Result<(), OpenError> {
    if found > CURRENT {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known: CURRENT });
    }
    Ok(())
}

/// A consistent copy beside the file, made by SQLite itself so that the write-ahead log is in it.
pub(crate) fn copy_aside(path: &Path, version: u32, now_ms: i64) -> Result<PathBuf, OpenError> {
    let copy = damage::beside(path, &format!(".schema-{version}-{now_ms}.bak"));
    create_private(&copy)?;
    let target = copy.to_string_lossy().into_owned();
    let copied = connection::open_reader(path).and_then(|connection| {
        // The file itself stays read-only; this lets SQLite write the copy.
        connection.pragma_update(None, "query_only", false)?;
        connection.execute("VACUUM INTO ?1", [target])
    });
    if let Err(error) = copied {
        // Half a copy would be taken for one.
        remove(&copy);
        return Err(OpenError::of(path, &error));
    }
    owner::give_if_allowed(&copy, path);
    Ok(copy)
}

/// Makes an empty file that only its owner reads: what is in it concerns people and their money.
fn create_private(path: &Path) -> Result<(), OpenError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(|_| ())
        .map_err(|error| OpenError::Unusable { path: path.to_owned(), reason: error.to_string() })
}

fn failed(path: &Path, error: &(dyn std::error::Error + 'static)) -> OpenError {
    let mut reason = error.to_string();
    let mut advice = None;
    let mut next = Some(error);
    while let Some(cause) = next {
        advice = advice.or(cause.downcast_ref().and_then(OpenError::advice));
        next = cause.source();
        if let Some(inner) = next {
            reason.push_str(": ");
            reason.push_str(&inner.to_string());
        }
    }
    reason.push_str(advice.unwrap_or_default());
    OpenError::Migration { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{CURRENT, STEPS};

    #[test]
    fn every_migration_of_the_folder_is_listed_in_order_with_its_way_back() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut listed: Vec<String> = STEPS
            .iter()
            .flat_map(|step| [".sql", ".down.sql"].map(|ending| format!("{}{ending}", step.name)))
            .collect();
        files.sort();
        listed.sort();
        assert_eq!(files, listed);
        let versions: Vec<u32> = STEPS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=CURRENT).collect::<Vec<_>>());
    }
}
