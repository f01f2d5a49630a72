//! `tilld drift`: compares the database with Stripe. Works on the file, whether or not a daemon runs. It must never change
//! anything at Stripe. Called by the command line.

use std::io::Write;

use serde_json::json;

use crate::app::cli::{CommandError, database, outward, sync, table};
use crate::app::config::Flags;
use crate::app::logging;
use crate::base::object_kind::ObjectKind;
use crate::objects::kinds;
use crate::outward::sync::drift::{self, DriftFinding, DriftOutcome, DriftReport, DriftTally};
use crate::store::mirror;

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct DriftArguments {
    /// Only these types [default: all but payment_methods]
    #[arg(value_name = "TYPE", value_parser = sync::parse_kind)]
    types: Vec<&'static ObjectKind>,
    /// Repair the differences
    #[arg(long)]
    fix: bool,
    /// Print one JSON object for each difference
    #[arg(long)]
    json: bool,
}

/// Compares, and prints the differences.
///
/// # Errors
/// When a difference was not repaired; when Stripe or the database cannot be read.
pub(crate) fn run(arguments: &DriftArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let client = outward::client(&config)?;
    logging::start(&config);
    let kinds: Vec<&'static ObjectKind> = if arguments.types.is_empty() {
        kinds::by_default().collect()
    } else {
        kinds::all().filter(|kind| arguments.types.contains(kind)).collect()
    };
    let (outcome, printed) = database::with_store(&config, |store| {
        let (means, _stopper) = outward::means(&config, store, client);
        let mut total = 0;
        for kind in &kinds {
            total += store.read(|reader| mirror::count_present(reader, kind.object))?;
        }
        let shown = outward::WorkProgress::new(u64::try_from(total).ok());
        let mut printed = Ok(());
        let mut objects_so_far = (String::new(), 0);
        let mut report = |progress: DriftReport| match progress {
            DriftReport::Page(kind, pages, objects) => {
                if objects_so_far.0 != kind {
                    objects_so_far = (kind.to_owned(), 0);
                }
                objects_so_far.1 += objects;
                shown.page(kind, objects, (pages, objects_so_far.1));
            }
            DriftReport::Found(finding) if printed.is_ok() => printed = print(finding, arguments.json, out),
            DriftReport::Found(_) => {}
        };
        let outcome = drift::run(&means, &kinds, arguments.fix, "cli", &mut report)?;
        shown.finish();
        Ok((outcome, printed))
    })?;
    printed?;
    if !arguments.json {
        summary(&outcome, out)?;
    }
    verdict(&outcome, arguments.fix)
}

fn print(finding: &DriftFinding, as_json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let (kind, id, word) = (finding.kind, &finding.id, finding.word());
    if as_json {
        let (fields, fixed) = (finding.fields(), finding.fixed);
        return writeln!(out, "{}", json!({ "type": kind, "id": id, "drift": word, "fields": fields, "fixed": fixed }));
    }
    let mut line = format!("{kind} {id} {}", word.replace('_', " "));
    if !finding.fields().is_empty() {
        line.push_str(&format!(": {}", finding.fields().join(", ")));
    }
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    writeln!(out, "{line}{}", if finding.fixed { " (repaired)" } else { "" })
}

fn summary(outcome: &DriftOutcome, out: &mut dyn Write) -> std::io::Result<()> {
    let row = |tally: &DriftTally| {
        let counts = [
            tally.same,
            tally.ahead,
            tally.differing,
            tally.tables_wrong,
            tally.missing_here,
            tally.missing_there,
            tally.fixed,
            tally.failed,
        ];
        std::iter::once(tally.kind.to_owned()).chain(counts.iter().map(u64::to_string)).collect()
    };
    let rows: Vec<Vec<String>> = outcome.tallies.iter().map(row).collect();
    let head = [
        "TYPE",
        "SAME",
        "NEWER HERE",
        "DIFFERING",
        "TABLES WRONG",
        "MISSING HERE",
        "MISSING AT STRIPE",
        "REPAIRED",
        "UNREADABLE",
    ];
    table::columns(out, &head, &rows)
}

fn verdict(outcome: &DriftOutcome, fix: bool) -> Result<(), CommandError> {
    let mut lines: Vec<String> = outcome.refused.iter().map(|refused| format!("not compared: {refused}")).collect();
    match outcome.left() {
        0 => {}
        left if fix => lines.push(format!(
            "{left} objects differ from Stripe and could not be repaired; the lines above and the log name them"
        )),
        left => lines.push(format!("{left} objects differ from Stripe; `tilld drift --fix` repairs them")),
    }
    if lines.is_empty() { Ok(()) } else { Err(CommandError::failed(lines.join("\n"))) }
}
