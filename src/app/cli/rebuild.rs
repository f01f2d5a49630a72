//! `tilld rebuild`: every table once more from the log and the kept readings; or only what would be another (`--check`).

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use serde_json::json;

use crate::app::cli::{CommandError, database, table};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::base::clock::{Clock, SystemClock};
use crate::jobs::rebuild::{self, CheckOutcome, RebuildError, RebuildTask, Rebuilt};
use crate::objects::rebuild::Difference;
use crate::store::engine::lock;
use crate::store::engine::{damage, replace, schema};

/// From what, and where to.
#[derive(clap::Args)]
pub struct RebuildArguments {
    /// The file with the log [default: the configured database]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write there and leave the present file alone
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    into: Option<PathBuf>,
    /// Change nothing; list every value that would be another, and exit with 1 if there is any
    #[arg(long)]
    check: bool,
    /// Print JSON, one line each
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
pub fn run(arguments: &RebuildArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    daemon::start_logging(&config);
    let from = arguments.from.as_deref().unwrap_or(&config.database);
    if !from.is_file() {
        return Err(CommandError::failed(format!(
            "there is no database {}: give --from or --database",
            from.display()
        )));
    }
    match &arguments.into {
        _ if arguments.check => check(arguments, (from, &config), out),
        Some(into) => {
            let done = build(from, into, &config)?;
            report(arguments, done, &format!("written to {}", into.display()), out)
        }
        None => replace(arguments, (from, &config), out),
    }
}

/// Makes the file at `into`; half of one is taken away again.
fn build(from: &Path, into: &Path, config: &Config) -> Result<Rebuilt, CommandError> {
    if into.exists() {
        return Err(CommandError::failed(format!("{} is there already; it is not overwritten", into.display())));
    }
    let progress = RebuildProgress::new();
    let context = daemon::context(config);
    let task = RebuildTask { from, into, context: &context, now_ms: SystemClock.now_ms() };
    let done = rebuild::rebuild(task, &|done, total| progress.show(done, total));
    progress.finish();
    if done.is_err() {
        replace::remove_all(into);
    }
    Ok(done?)
}

fn replace(
    arguments: &RebuildArguments,
    (from, config): (&Path, &Config),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let path = &config.database;
    let _lock = lock::take(path)?;
    if path.exists() {
        damage::look(path)?;
    }
    let part = damage::beside(path, ".rebuild.part");
    // What a process that was killed has left is of no use.
    replace::remove_all(&part);
    let done = build(from, &part, config)?;
    let copy = replace::put_in_place(&part, path, SystemClock.now_ms()).inspect_err(|_| replace::remove_all(&part))?;
    let said = copy.map_or_else(String::new, |copy| format!("the file as it was: {}", copy.display()));
    report(arguments, done, &said, out)
}

fn report(arguments: &RebuildArguments, done: Rebuilt, said: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    if arguments.json {
        let line = json!({"events": done.events, "failed": done.failed, "readings": done.readings,
            "failed_readings": done.failed_readings, "changed_answers": done.changed});
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "rebuilt by rules {}: {} events and {} readings, {} answers are others than before",
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
        failed => {
            Err(CommandError::failed(format!("{failed} events could not be projected: see `tilld dead-letters list`")))
        }
    }
}

fn check(
    arguments: &RebuildArguments,
    (from, config): (&Path, &Config),
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let part = damage::beside(from, &format!(".check-{}.part", std::process::id()));
    let (progress, context) = (RebuildProgress::new(), daemon::context(config));
    let task = RebuildTask { from, into: &part, context: &context, now_ms: SystemClock.now_ms() };
    let outcome = rebuild::check(task, &|done, total| progress.show(done, total));
    progress.finish();
    replace::remove_all(&part);
    let CheckOutcome { done, found, limits } = outcome?;
    print_limits(arguments, &limits, out)?;
    print(arguments, &found, out)?;
    if found.is_empty() {
        if !arguments.json {
            let (events, readings) = (done.events, done.readings);
            writeln!(out, "every row is as {events} events and {readings} readings make it")?;
        }
        return Ok(());
    }
    Err(CommandError::failed(format!("{} values differ; `tilld rebuild` makes the tables again", found.len())))
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
