//! `tilld trigger`: a realistic event, signed as Stripe signs and sent to the local daemon. It must never speak to
//! Stripe. The events come from `crate::app::trigger`; only here they get a time, a nonce and a signature. Called
//! by the command line.

use std::io::Write;

use serde_json::Value;

use crate::app::cli::{CommandError, database, post, reach, table};
use crate::app::config::{Config, Flags};
use crate::app::trigger::{self, ApiVersion, Spec};
use crate::base::clock::{Clock, SystemClock};
use crate::base::ids;
use crate::http::public::WebhookEndpoint;
use crate::stripe::object::is_user_id;
use crate::stripe::signature;

/// The price when neither the flag nor a plan names one.
const PRICE: &str = "price_tilld_pro";

/// What to send, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct TriggerArguments {
    /// The type of the event; --list shows all
    #[arg(value_name = "EVENT", required_unless_present = "list")]
    event: Option<String>,
    /// Set a value in the event by its path, as in data.object.status=past_due; can be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// The user it is about [default: none]
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: Option<String>,
    /// Where to send it [default: the configured public listener and webhook path]
    #[arg(long)]
    url: Option<String>,
    /// The signing secret [default: the first configured one]
    #[arg(long)]
    secret: Option<String>,
    /// The API version of its shape
    #[arg(long, value_name = "VERSION", default_value = ApiVersion::CURRENT.as_str(), value_parser = ApiVersion::parse)]
    api_version: ApiVersion,
    /// The price of the subscription [default: the first one of the first plan]
    #[arg(long, value_name = "ID")]
    price: Option<String>,
    /// List the types of events
    #[arg(long)]
    list: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (path, value) = text.split_once('=').ok_or("write it as PATH=VALUE, as in data.object.status=past_due")?;
    Ok((path.to_owned(), value.to_owned()))
}

fn user_id(text: &str) -> Result<String, &'static str> {
    if is_user_id(text) {
        Ok(text.to_owned())
    } else {
        Err("a user id has 1 to 255 characters, without control characters")
    }
}

/// Makes, signs and sends the event; prints it and the answer.
///
/// # Errors
/// An unknown type, a path of --set that leads nowhere, no secret; nobody answers, or the answer is not 2xx.
pub(crate) fn run(arguments: &TriggerArguments, flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    if arguments.list {
        let row = |(name, says): &(&str, &str)| vec![(*name).to_owned(), (*says).to_owned()];
        let rows: Vec<_> = trigger::event_types().iter().map(row).collect();
        return Ok(table::columns(out, &["EVENT", "WHAT IT SAYS"], &rows)?);
    }
    let config = database::config(flags)?;
    let now_s = SystemClock.now_s();
    let event = event(arguments, &config, now_s)?;
    let target = target(arguments, &config)?;
    let body = event.to_string();
    let header = signature::sign(&target.secret, now_s, body.as_bytes());
    let headers = [("Content-Type", "application/json"), ("Stripe-Signature", header.as_str())];
    let answer = post::post(&target.url, &headers, body.as_bytes())?;
    writeln!(out, "{} {}", text(&event, "id"), text(&event, "type"))?;
    writeln!(out, "{} {}", answer.status, answer.body.trim_end())?;
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    Err(CommandError::failed(format!("{} answered {}: the event was not accepted", target.url, answer.status)))
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn event(arguments: &TriggerArguments, config: &Config, now_s: i64) -> Result<Value, CommandError> {
    let planned = config.policy.plans.first().and_then(|plan| plan.price_ids.first());
    let nonce = ids::random_token("")?;
    let spec = Spec {
        event_type: arguments.event.as_deref().unwrap_or_default(),
        version: arguments.api_version,
        user: arguments.user.as_deref(),
        price_id: arguments.price.as_ref().or(planned).map_or(PRICE, String::as_str),
        now_s,
        nonce: &nonce,
        set: &arguments.set,
    };
    trigger::notes(&spec)?.iter().for_each(|note| eprintln!("{note}"));
    Ok(trigger::event(&spec)?)
}

struct TriggerTarget {
    url: String,
    secret: String,
}

fn target(arguments: &TriggerArguments, config: &Config) -> Result<TriggerTarget, CommandError> {
    let endpoint: Option<&WebhookEndpoint> = config.stripe.webhooks.first();
    let configured = endpoint.and_then(|endpoint| endpoint.secrets.first()).map(|secret| secret.expose().to_owned());
    let secret = arguments.secret.clone().or(configured).ok_or_else(|| {
        CommandError::wrong_use("no webhook secret is known: give --secret, or set secrets of [[stripe.webhook]]")
    })?;
    let path = endpoint.map_or("/", |endpoint| endpoint.path.as_str());
    let url = arguments.url.clone().unwrap_or_else(|| reach::url(&config.listen.public, path));
    Ok(TriggerTarget { url, secret })
}
