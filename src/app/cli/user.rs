//! `tilld user`: shows everything that is known about a user, and links customers and subscriptions to users (`link`). It must
//! never decide a link by rules of its own. Called by the command line.

mod link;
mod links;

use std::io::Write;

use serde_json::json;

use crate::app::cli::table::{self, cell, time_ms, time_s};
use crate::app::cli::{CommandError, database, entitlement};
use crate::app::config::{Config, Flags};
use crate::base::entitlement::EntitlementAnswer;
use crate::http::api::views;
use crate::objects::failure_case::{self, PaymentFailureEntry};
use crate::objects::subscription::{self, FoundSubscription};
use crate::objects::user::{self, User};

/// How many payment failures are shown at most.
const FAILURES: u32 = 100;

/// What to do with a user.
#[derive(clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Show a user with entitlement, subscriptions and payment failures
    #[command(after_help = "Example: tilld user show alice --json")]
    Show(UserArguments),
    /// Link a customer or a subscription to a user; this overrides what Stripe's objects say
    #[command(
        after_help = "Example: tilld user link alice cus_123\n         tilld user link --from customers.csv --dry-run"
    )]
    Link(link::LinkArguments),
    /// Unlink it: it is not, or no longer, this user's, whatever Stripe's objects say
    #[command(after_help = "Example: tilld user unlink alice cus_123")]
    Unlink(link::Unlink),
}

/// Runs one of them.
///
/// # Errors
/// Those of the command.
pub(crate) fn run(command: &UserCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        UserCommand::Show(arguments) => show(arguments, flags, out),
        UserCommand::Link(arguments) => link::link(arguments, flags, out),
        UserCommand::Unlink(arguments) => link::unlink(arguments, flags, out),
    }
}

/// Whom to show, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct UserArguments {
    /// The application's id of the user
    #[arg(value_name = "USER_ID")]
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

struct KnownUser {
    user: User,
    answer: EntitlementAnswer,
    subscriptions: Vec<FoundSubscription>,
    failures: Vec<PaymentFailureEntry>,
    links: Vec<links::LinkRow>,
}

/// Prints what is known.
///
/// # Errors
/// An unknown user, or a database that cannot be used.
fn show(arguments: &UserArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let known = find(&config, &arguments.id)?;
    if !arguments.json {
        return print(&known, out);
    }
    let all = json!({
        "user": views::user(&known.user),
        "entitlement": views::EntitlementView { user_id: &arguments.id, answer: &known.answer },
        "subscriptions": known.subscriptions.iter().map(views::subscription).collect::<Vec<_>>(),
        "links": known.links.iter().map(links::json).collect::<Vec<_>>(),
        "payment_failures": known.failures.iter().map(views::payment_failure).collect::<Vec<_>>(),
    });
    Ok(writeln!(out, "{all}")?)
}

fn find(config: &Config, id: &str) -> Result<KnownUser, CommandError> {
    let (user, subscriptions, failures, links) = database::with_store(config, |store| {
        Ok(store.read(|reader| {
            let failures = failure_case::list_of_user(reader, id, None, FAILURES)?;
            let subscriptions = subscription::list_of_user(reader, id)?;
            let links = links::find(reader, id, &subscriptions, &config.link)?;
            Ok((user::find(reader, id)?, subscriptions, failures, links))
        })?)
    })?;
    let user = user.ok_or_else(|| entitlement::unknown_user(id))?;
    Ok(KnownUser { user, answer: entitlement::answer(config, &subscriptions), subscriptions, failures, links })
}

fn print(known: &KnownUser, out: &mut dyn Write) -> Result<(), CommandError> {
    let (user, answer) = (&known.user, &known.answer);
    let valid_until = answer.valid_until.map(time_s);
    let pairs = [
        ("id", user.id.clone()),
        ("email", cell(user.email.as_deref())),
        ("name", cell(user.name.as_deref())),
        ("metadata", user.metadata.clone()),
        ("stripe customer", cell(user.stripe_customer_id.as_deref())),
        ("first seen", time_ms(user.created_at_ms)),
        ("entitled", if answer.entitled { "yes" } else { "no" }.to_owned()),
        ("tier", answer.tier.clone()),
        ("reason", answer.reason.as_str().to_owned()),
        ("valid until", cell(valid_until.as_deref())),
    ];
    table::pairs(out, &pairs)?;
    links::print(&known.links, out)?;
    print_subscriptions(&known.subscriptions, out)?;
    print_failures(&known.failures, out)
}

fn print_subscriptions(subscriptions: &[FoundSubscription], out: &mut dyn Write) -> Result<(), CommandError> {
    if subscriptions.is_empty() {
        return Ok(());
    }
    let row = |shown: &FoundSubscription| {
        let row = &shown.subscription;
        let (ends_at, period_end) = (shown.facts().ends_at().map(time_s), row.current_period_end.map(time_s));
        vec![
            row.stripe_subscription_id.clone(),
            row.status.clone(),
            cell(row.stripe_price_id.as_deref()),
            cell(period_end.as_deref()),
            cell(ends_at.as_deref()),
        ]
    };
    writeln!(out)?;
    let rows: Vec<_> = subscriptions.iter().map(row).collect();
    Ok(table::columns(out, &["SUBSCRIPTION", "STATUS", "PRICE", "PERIOD END", "ENDS AT"], &rows)?)
}

fn print_failures(failures: &[PaymentFailureEntry], out: &mut dyn Write) -> Result<(), CommandError> {
    if failures.is_empty() {
        return Ok(());
    }
    let row = |row: &PaymentFailureEntry| {
        vec![
            row.invoice_id.clone(),
            time_s(row.first_failed_at),
            row.attempt_count.to_string(),
            if row.resolved { "yes" } else { "no" }.to_owned(),
            cell(row.failure_reason.as_deref()),
        ]
    };
    writeln!(out)?;
    let rows: Vec<_> = failures.iter().map(row).collect();
    Ok(table::columns(out, &["FAILED INVOICE", "SINCE", "ATTEMPTS", "RESOLVED", "REASON"], &rows)?)
}
