//! `tilld notify test`: one signed event, now, past the outbox, to see whether an endpoint takes it. It must never send
//! anything that could be taken for real.

use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use crate::cli::{Failure, database};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Flags, NotifyWebhook};
use crate::daemon;
use crate::delivery::Outcome;
use crate::ids;
use crate::store::outbox::Effect;

/// The type of a test event.
const TYPE: &str = "tilld.test";

/// What to try out.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Send one signed test event to a configured endpoint and print its answer
    #[command(after_help = "Example: tilld notify test https://app.example.com/hooks/tilld")]
    Test {
        /// URL of a [[notify.webhook]]
        #[arg(value_name = "URL")]
        target: String,
    },
}

/// Sends the test and prints what came of it.
///
/// # Errors
/// A target that is not configured; or it was not taken.
pub fn test(target: &str, flags: &Flags, out: &mut dyn Write) -> Result<(), Failure> {
    let config = database::config(flags)?;
    let webhook = find(target, &config)?;
    let now_ms = SystemClock.now_ms();
    let timestamp = Timestamp::from_millisecond(now_ms).map_or_else(|_| now_ms.to_string(), |at| at.to_string());
    let payload = json!({"type": TYPE, "timestamp": timestamp, "data": {"message": "tilld can reach this endpoint"}});
    let effect = Effect {
        id: 0,
        dedupe_key: ids::random_token("test:")?,
        user_id: None,
        payload: payload.to_string(),
        attempts: 1,
        claimed_at_ms: now_ms,
    };
    writeln!(out, "{TYPE} to {target}")?;
    let why = match daemon::sender(webhook).send(&effect, now_ms) {
        Outcome::Done(note) => {
            return Ok(writeln!(out, "taken: {}", note.unwrap_or_else(|| "no word".to_owned()))?);
        }
        Outcome::Skipped(why) | Outcome::Refused(why) | Outcome::TryAgain { why, .. } => why,
        Outcome::Gone => "answered 410, by which it wants no events: the daemon would disable it".to_owned(),
    };
    Err(Failure::failed(format!("the endpoint did not take it: {why}")))
}

fn find<'a>(target: &str, config: &'a Config) -> Result<&'a NotifyWebhook, Failure> {
    let webhooks = &config.notify.webhooks;
    webhooks.iter().find(|webhook| webhook.url == target).ok_or_else(|| {
        let known: Vec<&str> = webhooks.iter().map(|webhook| webhook.url.as_str()).collect();
        let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
        Failure::wrong_use(format!("{target:?} is no [[notify.webhook]] of the configuration: {known}"))
    })
}
