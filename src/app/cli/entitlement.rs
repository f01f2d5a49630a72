//! `tilld entitlement`: the answer of the entitlement call, read from the file, and on request why it is so. It must never
//! decide by other rules than the API. Called by the command line.

use std::io::Write;

use crate::app::cli::table;
use crate::app::cli::{CommandError, database};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::base::clock::{Clock, SystemClock};
use crate::base::entitlement::explain::{self, ExplainedRule, Explanation};
use crate::base::entitlement::{self, EntitlementAnswer};
use crate::http::api::views;
use crate::objects::subscription::{self, FoundSubscription};
use crate::objects::user;

/// Whose answer.
#[derive(Debug, clap::Args)]
pub(crate) struct EntitlementArguments {
    /// The application's id of the user
    #[arg(value_name = "USER_ID")]
    id: String,
    /// Say why, for people: every rule with what it looked at
    #[arg(long)]
    explain: bool,
}

/// How many subscriptions are explained.
const EXPLAINED: usize = 5;

/// Prints the answer as one line of JSON, or why it is so.
///
/// # Errors
/// An unknown user, or a database that cannot be used.
pub(crate) fn run(arguments: &EntitlementArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let (config, id) = (database::config(flags)?, arguments.id.as_str());
    let found = database::with_store(&config, |store| {
        Ok(store.read(|reader| match user::exists(reader, id)? {
            true => subscription::list_of_user(reader, id).map(Some),
            false => Ok(None),
        })?)
    })?;
    let found = found.ok_or_else(|| unknown_user(id))?;
    if arguments.explain {
        let facts: Vec<_> = found.iter().map(FoundSubscription::facts).collect();
        let policy = daemon::context(&config).projection.policy;
        return print(id, &explain::explain(&facts, &policy, SystemClock.now_s(), EXPLAINED), out);
    }
    let answer = answer(&config, &found);
    let text = serde_json::to_string(&views::EntitlementView { user_id: id, answer: &answer });
    let text = text.map_err(|error| CommandError::failed(format!("cannot print the answer: {error}")))?;
    Ok(writeln!(out, "{text}")?)
}

/// Prints an explanation.
fn print(id: &str, explanation: &Explanation, out: &mut dyn Write) -> Result<(), CommandError> {
    let (answer, id) = (&explanation.answer, table::printable(id));
    let may = if answer.entitled { "may use it" } else { "may not use it" };
    let (because, reason) = (answer.reason.meaning(), answer.reason.as_str());
    writeln!(out, "{id} {may}: tier {}, because {because} ({reason})", table::printable(&answer.tier))?;
    if let Some(until) = answer.valid_until {
        writeln!(out, "until {}", table::time_s(until))?;
    }
    writeln!(out, "{}", explanation.won_by.sentence())?;
    for one in &explanation.subscriptions {
        let id = table::printable(one.answer.subscription_id.as_deref().unwrap_or_default());
        writeln!(out, "\n{id}: {}, {}", table::printable(&one.answer.tier), one.answer.reason.as_str())?;
        table::columns(out, &["FITS", "RULE", "LOOKED AT"], &one.rules.iter().map(cells).collect::<Vec<_>>())?;
    }
    let more = explanation.compared.saturating_sub(explanation.subscriptions.len());
    if more > 0 {
        writeln!(out, "\nand {more} more, which decide nothing")?;
    }
    Ok(())
}

fn cells(rule: &ExplainedRule) -> Vec<String> {
    let looked_at: Vec<String> =
        rule.looked_at.iter().map(|(fact, value)| format!("{} {}", fact.as_str(), value.words())).collect();
    vec![rule.finding.words().to_owned(), rule.question.to_owned(), looked_at.join(", ")]
}

/// The answer now, by the configured plans.
pub(super) fn answer(config: &Config, shown: &[FoundSubscription]) -> EntitlementAnswer {
    let facts: Vec<_> = shown.iter().map(FoundSubscription::facts).collect();
    entitlement::entitlement(&facts, &daemon::context(config).projection.policy, SystemClock.now_s())
}

/// There is no such user.
pub(super) fn unknown_user(id: &str) -> CommandError {
    let message =
        format!("user {id:?} is not known: a subscription that names it, or PUT /api/v1/users/{id}, creates it");
    CommandError::failed(message)
}
