//! `tilld notify test`: sends one signed event or one mail at once, past the outbox, to see whether it is accepted. It must
//! never send anything that could be mistaken for a real one. Called by the command line.

use crate::notify::attempt::DeliveryOutcome;
use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use crate::app::cli::{CommandError, database};
use crate::app::config::{Config, Flags};
use crate::app::daemon;
use crate::base::clock::{Clock, SystemClock};
use crate::base::ids;
use crate::notify::endpoints::{EndpointSettings, origin};
use crate::notify::event_type::AppEventType;
use crate::notify::notice::{Addressee, Notice, NoticeMail};
use crate::store::outbox::OutboxEffect;

/// What to test.
#[derive(clap::Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send one signed test event to a configured endpoint, or one test mail, and print the answer
    #[command(
        after_help = "Example: tilld notify test https://app.example.com/hooks/tilld\n         tilld notify test me@example.com"
    )]
    Test {
        /// URL of a [[notify.webhook]], or a mail address
        #[arg(value_name = "URL|ADDRESS")]
        target: String,
    },
}

/// Sends the test and prints what came of it.
///
/// # Errors
/// A target that is not configured; or it was not taken.
pub(crate) fn test(target: &str, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let config = database::config(flags)?;
    let now_ms = SystemClock.now_ms();
    let is_mail = target.contains('@') && !target.contains("://");
    let outcome = if is_mail { mail(target, &config, now_ms)? } else { event(target, &config, now_ms)? };
    let why = match outcome {
        DeliveryOutcome::Done(note) => {
            return Ok(writeln!(out, "accepted: {}", note.unwrap_or_else(|| "without a note".to_owned()))?);
        }
        DeliveryOutcome::Skipped(why) | DeliveryOutcome::Refused(why) | DeliveryOutcome::TryAgain { why, .. } => why,
        DeliveryOutcome::NotTried => "it was interrupted".to_owned(),
        DeliveryOutcome::Gone => {
            "answered 410, which says that it wants no events: the daemon would disable it".to_owned()
        }
    };
    Err(CommandError::failed(format!("the test was not accepted: {why}")))
}

fn event(target: &str, config: &Config, now_ms: i64) -> Result<DeliveryOutcome, CommandError> {
    let webhook = find(target, config)?;
    let timestamp = Timestamp::from_millisecond(now_ms).map_or_else(|_| now_ms.to_string(), |at| at.to_string());
    let payload = json!({"type": AppEventType::Test.as_str(), "timestamp": timestamp, "data": {"message": "tilld can reach this endpoint"}});
    Ok(daemon::sender(webhook).send(&effect(payload.to_string(), now_ms)?, now_ms))
}

fn mail(target: &str, config: &Config, now_ms: i64) -> Result<DeliveryOutcome, CommandError> {
    let mailer = daemon::mailer_of(config).map_err(|error| CommandError::wrong_use(error.to_string()))?;
    let Some(mailer) = mailer else {
        return Err(CommandError::wrong_use("no mail can be sent: set notify.from and notify.smtp.host"));
    };
    let mail = NoticeMail { notice: Notice::Test {}, to: Some(target.to_owned()), user: Addressee::default() };
    Ok(daemon::mailing(mailer)(&effect(mail.payload()?, now_ms)?, now_ms))
}

fn effect(payload: String, now_ms: i64) -> Result<OutboxEffect, CommandError> {
    let dedupe_key = ids::random_token("test:")?;
    Ok(OutboxEffect { id: 0, dedupe_key, user_id: None, payload, attempts: 1, claimed_at_ms: now_ms })
}

fn find<'a>(target: &str, config: &'a Config) -> Result<&'a EndpointSettings, CommandError> {
    let webhooks = &config.endpoints;
    webhooks.iter().find(|webhook| webhook.url == target).ok_or_else(|| {
        // Their paths may hold tokens.
        let known: Vec<String> = webhooks.iter().map(|webhook| origin(&webhook.url)).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        let target = if target.contains("://") { origin(target) } else { "the target".to_owned() };
        CommandError::wrong_use(format!(
            "{target} is not the URL of a [[notify.webhook]] in the configuration: {known}"
        ))
    })
}
