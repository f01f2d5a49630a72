//! The command line: reads the arguments and runs the command. Commands print; nothing else in the program does. It must
//! never hold a rule about billing: commands call the same functions as the room `http`. Called by `main`.

pub(crate) mod catch_up;
pub(crate) mod check;
pub(crate) mod database;
pub(crate) mod dead_letters;
pub(crate) mod dev;
pub(crate) mod drift;
pub(crate) mod entitlement;
pub(crate) mod events;
mod failure;
pub(crate) mod init;
pub(crate) mod manual;
pub(crate) mod migrate;
pub(crate) mod notify;
pub(crate) mod openapi;
pub(crate) mod outbox;
pub(crate) mod outward;
pub mod post;
pub(crate) mod reach;
pub(crate) mod rebuild;
pub(crate) mod retries;
pub(crate) mod serve;
pub(crate) mod sync;
pub(crate) mod table;
pub(crate) mod trigger;
pub(crate) mod user;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::config::Flags;

pub(crate) use failure::CommandError;

/// Billing infrastructure in one binary and one SQLite file.
#[derive(Parser)]
#[command(
    name = "tilld",
    version,
    after_help = "Example: tilld dev\n\nExit status: 0 done, 1 failed, 2 wrong use or wrong configuration."
)]
struct CliArguments {
    /// Configuration file [default: the first of $TILLD_CONFIG, config.toml, tilld-dev.toml, /etc/tilld/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database file, instead of the configured one
    #[arg(long, global = true, value_name = "FILE")]
    database: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Run the daemon
    #[command(after_help = "Example: tilld serve --config /etc/tilld/config.toml")]
    Serve(serve::ServeArguments),
    /// Try tilld out on this machine: run the daemon with generated secrets and a database of its own
    #[command(
        after_help = "Example: tilld dev --forward-to http://127.0.0.1:3000/stripe/webhook\n\nIt writes its configuration, tilld-dev.toml, next to the database (tilld-dev.db). It does not accept --config."
    )]
    Dev(dev::DevArguments),
    /// Send a realistic, signed Stripe event to the local daemon and print the answer
    #[command(
        after_help = "Example: tilld trigger customer.subscription.updated --user alice --set data.object.status=past_due"
    )]
    Trigger(trigger::TriggerArguments),
    /// Write a commented config.toml with fresh tokens; never overwrites a file
    #[command(after_help = "Example: tilld init --config /etc/tilld/config.toml")]
    Init,
    /// Check configuration, database, daemon and Stripe; prints one line for each check
    #[command(after_help = "Example: tilld check --config /etc/tilld/config.toml")]
    Check,
    /// Show or change the schema of the database
    #[command(subcommand, after_help = "Example: tilld migrate status")]
    Migrate(migrate::MigrateCommand),
    /// List, show or replay the events that were received
    #[command(subcommand, after_help = "Example: tilld events list --status dead")]
    Events(events::EventsCommand),
    /// List the events that failed and wait for their next attempt
    #[command(subcommand, after_help = "Example: tilld retries list")]
    Retries(retries::RetriesCommand),
    /// List, show, replay or discard the events that failed too often
    #[command(subcommand, after_help = "Example: tilld dead-letters replay --all")]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// List, show, retry or discard mails and events for the application
    #[command(subcommand, after_help = "Example: tilld outbox list --status failed")]
    Outbox(outbox::OutboxCommand),
    /// Send a test event to the application, or a test mail
    #[command(subcommand, after_help = "Example: tilld notify test https://app.example.com/hooks/tilld")]
    Notify(notify::NotifyCommand),
    /// Copy every object from Stripe into the database; resumes where it was interrupted
    #[command(after_help = "Example: tilld sync customers subscriptions invoices")]
    Sync(sync::SyncArguments),
    /// Ask Stripe for events that did not arrive as webhooks
    #[command(after_help = "Example: tilld catch-up")]
    CatchUp,
    /// Compare the database with Stripe; exit status 1 if a difference was found and not repaired
    #[command(after_help = "Example: tilld drift subscriptions --fix")]
    Drift(drift::DriftArguments),
    /// Make every table again from the event log and the objects that were read from Stripe
    #[command(
        after_help = "Example: tilld rebuild --check\n\nNo mail is sent. The application gets entitlement.changed for every user whose answer is different afterwards."
    )]
    Rebuild(rebuild::RebuildArguments),
    /// Show a user, or link a Stripe customer to one
    #[command(subcommand, after_help = "Example: tilld user show alice")]
    User(user::UserCommand),
    /// Print whether a user is entitled: the answer of the API, as JSON
    #[command(after_help = "Example: tilld entitlement alice")]
    Entitlement(entitlement::EntitlementArguments),
    /// Print the description of the API, OpenAPI 3.1
    #[command(after_help = "Example: tilld openapi > openapi.json")]
    Openapi,
    /// Print the completions for a shell
    #[command(after_help = "Example: tilld completions bash > ~/.local/share/bash-completion/completions/tilld")]
    Completions(manual::Shell),
    /// Print the manual page
    #[command(after_help = "Example: tilld man | man -l -")]
    Man,
}

/// Runs the program and returns its exit status: 0 done, 1 failed, 2 wrong use or wrong configuration.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = CliArguments::parse();
    let flags = Flags { config: arguments.config, database: arguments.database, ..Flags::default() };
    let mut out = BufWriter::new(std::io::stdout());
    let done = run(arguments.command, &flags, &mut out);
    // The output of the command comes before its error message.
    let flushed = out.flush();
    match done.and_then(|()| flushed.map_err(CommandError::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.message.lines().for_each(|line| eprintln!("error: {line}"));
            ExitCode::from(failure.exit)
        }
    }
}

fn run(command: CliCommand, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    match command {
        CliCommand::Serve(arguments) => serve::run(arguments, flags),
        CliCommand::Dev(arguments) => dev::run(arguments, flags, out),
        CliCommand::Trigger(arguments) => trigger::run(&arguments, flags, out),
        CliCommand::Init => {
            let path = flags.config.clone().unwrap_or_else(|| PathBuf::from("config.toml"));
            Ok(out.write_all(init::run(&path)?.as_bytes())?)
        }
        CliCommand::Check => check::run(flags, out),
        CliCommand::Migrate(command) => migrate::run(command, flags, out),
        CliCommand::Events(command) => events::run(command, flags, out),
        CliCommand::Retries(retries::RetriesCommand::List(page)) => retries::list(&page, flags, out),
        CliCommand::DeadLetters(command) => dead_letters::run(command, flags, out),
        CliCommand::Outbox(command) => outbox::run(command, flags, out),
        CliCommand::Notify(notify::NotifyCommand::Test { target }) => notify::test(&target, flags, out),
        CliCommand::Sync(arguments) => sync::run(&arguments, flags, out),
        CliCommand::CatchUp => catch_up::run(flags, out),
        CliCommand::Drift(arguments) => drift::run(&arguments, flags, out),
        CliCommand::Rebuild(arguments) => rebuild::run(&arguments, flags, out),
        CliCommand::User(command) => user::run(&command, flags, out),
        CliCommand::Entitlement(arguments) => entitlement::run(&arguments, flags, out),
        CliCommand::Openapi => openapi::run(out),
        CliCommand::Completions(shell) => Ok(out.write_all(&manual::completions(&shell, definition()))?),
        CliCommand::Man => Ok(out.write_all(&manual::page(definition())?)?),
    }
}

fn definition() -> clap::Command {
    <CliArguments as clap::CommandFactory>::command()
}
