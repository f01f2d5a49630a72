//! `tilld rebuild`: makes every table again from the log and the kept readings, or only lists what would change (`--check`). It
//! must never replace a file without a copy beside it, nor one that a daemon works on. Called by the command line.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use crate::app::cli::{CommandError, database, table};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::app::logging;
use crate::base::clock::{Clock, SystemClock};
use crate::jobs::rebuild::{self, CheckOutcome, RebuildError, RebuildTask, Rebuilt};
use crate::objects::rebuild::Difference;
use crate::store::engine::replace::{HeldFile, PartFile};
use crate::store::engine::{damage, lock, schema};

/// What to rebuild from, and where to.
#[derive(clap::Args)]
pub(crate) struct RebuildArguments {
    /// The file to read events and readings from [default: the configured database]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write to this new file and leave the database as it is
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    into: Option<PathBuf>,
    /// Change nothing: list every value that would change; exit status 1 if there is any
    #[arg(long)]
    check: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

impl From<RebuildError> for CommandError {
    fn from(error: RebuildError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Rebuilds, or checks.
///
/// # Errors
/// When a file cannot be used, a daemon runs on the one that would be replaced, or the check finds something.
pub(crate) fn run(arguments: &RebuildArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    logging::start(&config);
    let from = arguments.from.as_deref().unwrap_or(&config.database);
    if !from.is_file() {
        return Err(CommandError::failed(format!(
            "the database {} does not exist: name another one with --from or --database",
            from.display()
        )));
    }
    let from = &own_name(from)?;
    match &arguments.into {
        _ if arguments.check => check(arguments, from, &config, out),
        Some(into) => {
            let done = build_into(from, &own_name(into)?, &config)?;
            report(arguments, done, &format!("written to {}", into.display()), out)
        }
        None => replace(arguments, from, &config, out),
    }
}

/// Makes the file that `part` is the name of.
fn build(from: &Path, part: &PartFile, config: &Config) -> Result<Rebuilt, CommandError> {
    let progress = RebuildProgress::new();
    let context = daemon::context(config);
    let task = RebuildTask { from, into: part.path(), context: &context, now_ms: SystemClock.now_ms() };
    let done = rebuild::rebuild(task, &|done, total| progress.show(done, total));
    progress.finish();
    Ok(done?)
}

/// Makes a file of another name, which it gets when it is whole.
fn build_into(from: &Path, into: &Path, config: &Config) -> Result<Rebuilt, CommandError> {
    if into.exists() {
        return Err(CommandError::failed(format!("{} exists and is not overwritten: name a new file", into.display())));
    }
    let part = PartFile::of(into)?;
    let done = build(from, &part, config)?;
    part.rename(into)?;
    Ok(done)
}

fn replace(
    arguments: &RebuildArguments,
    from: &Path,
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let path = own_name(&config.database)?;
    let _lock = lock::take(&path)?;
    if path.exists() {
        damage::look(&path)?;
    }
    let part = PartFile::of(&path)?;
    // What a command wrote while the new file is made would not be in it.
    let held = HeldFile::take(&path)?;
    let done = build(from, &part, config)?;
    let copy = held.replace(&part, SystemClock.now_ms())?;
    let said = copy.map_or_else(String::new, |copy| format!("copy of the file as it was: {}", copy.display()));
    report(arguments, done, &said, out)
}

/// Whichever symlinks lead to a file: the file itself is read and replaced, and they stay.
fn own_name(path: &Path) -> Result<PathBuf, CommandError> {
    lock::resolved(path).map_err(|error| CommandError::failed(format!("{}: {error}", path.display())))
}

fn report(arguments: &RebuildArguments, done: Rebuilt, said: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    if arguments.json {
        let line = json!({"events": done.events, "failed": done.failed, "readings": done.readings,
            "failed_readings": done.failed_readings, "changed_answers": done.changed});
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "rebuilt by rules {}: events: {}, readings: {}, users whose answer changed: {}",
            schema::RULES,
            done.events,
            done.readings,
            done.changed
        )?;
        if done.failed_readings > 0 {
            writeln!(out, "{} readings could not be projected; they are kept, see the log", done.failed_readings)?;
        }
        if !said.is_empty() {
            writeln!(out, "{said}")?;
        }
    }
    match done.failed {
        0 => Ok(()),
        failed => Err(CommandError::failed(format!("{failed} events failed: `tilld dead-letters list` shows them"))),
    }
}

fn check(arguments: &RebuildArguments, from: &Path, config: &Config, out: &mut dyn Write) -> Result<(), CommandError> {
    let part = PartFile::to_compare(from)?;
    let (progress, context) = (RebuildProgress::new(), daemon::context(config));
    let task = RebuildTask { from, into: part.path(), context: &context, now_ms: SystemClock.now_ms() };
    let outcome = rebuild::check(task, &|done, total| progress.show(done, total));
    progress.finish();
    drop(part);
    let CheckOutcome { done, found, limits } = outcome?;
    print_limits(arguments, &limits, out)?;
    print(arguments, &found, out)?;
    if found.is_empty() {
        if !arguments.json {
            let (events, readings) = (done.events, done.readings);
            writeln!(out, "no differences (events: {events}, readings: {readings})")?;
        }
        return Ok(());
    }
    Err(CommandError::failed(format!("{} values differ: `tilld rebuild` makes the tables again", found.len())))
}

/// Beside the JSON, whose lines are differences, on standard error.
fn print_limits(arguments: &RebuildArguments, limits: &[String], out: &mut dyn Write) -> Result<(), CommandError> {
    for limit in limits {
        if arguments.json {
            eprintln!("{limit}");
        } else {
            writeln!(out, "{limit}")?;
        }
    }
    Ok(())
}

fn print(arguments: &RebuildArguments, found: &[Difference], out: &mut dyn Write) -> Result<(), CommandError> {
    if arguments.json {
        for one in found {
            let line = json!({"table": one.table, "key": one.key, "column": one.column, "present": one.present,
                "rebuilt": one.rebuilt});
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    if found.is_empty() {
        return Ok(());
    }
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(no row)".to_owned());
    let row = |one: &Difference| {
        vec![one.table.to_owned(), one.key.clone(), one.column.clone(), shown(&one.present), shown(&one.rebuilt)]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    Ok(table::columns(out, &["TABLE", "KEY", "COLUMN", "PRESENT", "REBUILT"], &rows)?)
}

/// A bar on a terminal, one line for each ten thousand events otherwise.
struct RebuildProgress(Option<ProgressBar>);

impl RebuildProgress {
    /// Events between two lines.
    const LINE: u64 = 10_000;

    fn new() -> Self {
        Self(std::io::stderr().is_terminal().then(|| ProgressBar::new(0)))
    }

    fn show(&self, done: u64, total: u64) {
        match &self.0 {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            None if done.is_multiple_of(Self::LINE) || done == total => eprintln!("{done} of {total} events"),
            None => {}
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
