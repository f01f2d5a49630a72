//! `tilld dev --forward-to`: forwards Stripe's events to an application on this machine, signed as Stripe signs them, with one
//! attempt and one printed line each. The secret is derived from that of the configuration, so that it stays the same. It must
//! never send to another machine. Called by `dev`.

use crate::notify::attempt::DeliveryOutcome;
use std::io::Write;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::app::cli::CommandError;
use crate::app::cli::table::time_ms;
use crate::app::config::Config;
use crate::app::daemon::{Forward, ForwardTargets};
use crate::base::host::{is_this_machine, of_authority};

/// Hex digits of the secret.
const SECRET_DIGITS: usize = 40;

/// Where events are forwarded to.
pub(super) fn to(url: &str, config: &Config) -> Result<Forward, CommandError> {
    check(url)?;
    if config.endpoints.iter().any(|webhook| webhook.url == url) {
        let message =
            format!("--forward-to {url}: the configuration has it as a [[notify.webhook]] already; choose another URL");
        return Err(CommandError::wrong_use(message));
    }
    Ok(Forward { url: url.to_owned(), secret: secret(config), told: Box::new(tell) })
}

/// Plain http or https to this machine.
fn check(url: &str) -> Result<(), CommandError> {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if matches!(scheme, "http" | "https") && is_this_machine(of_authority(authority)) {
        return Ok(());
    }
    let message = format!(
        "--forward-to {url} is not a URL on this machine: write it, as in http://127.0.0.1:3000/stripe/webhook"
    );
    Err(CommandError::wrong_use(message))
}

fn secret(config: &Config) -> String {
    let known = config.stripe.webhooks.first().and_then(|endpoint| endpoint.secrets.first());
    let known = known.map_or("", |secret| secret.expose());
    let mut digits = Hmac::<Sha256>::new_from_slice(known.as_bytes())
        .map(|mac| hex::encode(mac.chain_update("tilld dev --forward-to").finalize().into_bytes()))
        .unwrap_or_default();
    digits.truncate(SECRET_DIGITS);
    format!("whsec_{digits}")
}

/// The lines below the banner.
pub(super) fn banner(url: &str, secret: &str) -> String {
    format!("\nforwarding     every event to {url}\nits secret     {secret} (checks the Stripe-Signature header)\n\n")
}

fn tell(forwarded: &ForwardTargets) {
    // An output that was closed is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{}", line(forwarded));
}

fn line(forwarded: &ForwardTargets) -> String {
    let event: Value = serde_json::from_str(forwarded.event).unwrap_or_default();
    let text = |key: &str| {
        let value = event.get(key).and_then(Value::as_str).unwrap_or("-");
        value.chars().filter(|c| !c.is_control()).collect::<String>()
    };
    let answer = match forwarded.outcome {
        DeliveryOutcome::Done(note) => note.as_deref().unwrap_or("accepted"),
        DeliveryOutcome::TryAgain { why, .. } => why,
        DeliveryOutcome::Skipped(why) | DeliveryOutcome::Refused(why) => why,
        DeliveryOutcome::Gone => "answered 410",
        DeliveryOutcome::NotTried => "interrupted",
    };
    let answer = answer.strip_prefix("answered ").unwrap_or(answer);
    format!("{}  {}  {} -> {answer}", time_ms(forwarded.at_ms), text("type"), text("id"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_this_machine_is_forwarded_to() {
        for url in ["http://127.0.0.1:3000/x", "http://localhost/", "https://[::1]/", "http://app.localhost:3000/hook"]
        {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in ["http://10.0.0.1/", "https://example.com/", "ftp://localhost/", "localhost:3000", ""] {
            assert_eq!(check(url).unwrap_err().exit, 2, "{url}");
        }
    }

    #[test]
    fn a_line_has_time_type_id_and_answer() {
        let line_of = |outcome: &DeliveryOutcome| {
            line(&ForwardTargets {
                event: r#"{"id":"evt_1","type":"invoice.paid"}"#,
                outcome,
                at_ms: 1_795_483_205_999,
            })
        };
        let done = line_of(&DeliveryOutcome::Done(Some("answered 204".to_owned())));
        assert_eq!(done, "2026-11-24 01:20:05  invoice.paid  evt_1 -> 204");
        let failed = line_of(&DeliveryOutcome::TryAgain { why: "answered 500".to_owned(), after_s: None });
        assert_eq!(failed, "2026-11-24 01:20:05  invoice.paid  evt_1 -> 500");
    }
}
