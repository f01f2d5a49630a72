//! `tilld entitlement`: the answer of the entitlement call, read from the file. It must never decide by other rules than the
//! API. Called by the command line.

use std::io::Write;

use crate::app::cli::{CommandError, database};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::base::clock::{Clock, SystemClock};
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
}

/// Prints the answer as one line of JSON.
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
    let answer = answer(&config, &found.ok_or_else(|| unknown_user(id))?);
    let text = serde_json::to_string(&views::EntitlementView { user_id: id, answer: &answer });
    let text = text.map_err(|error| CommandError::failed(format!("cannot print the answer: {error}")))?;
    Ok(writeln!(out, "{text}")?)
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
