//! What every key means: its default, its range, its shape. Must never look at more than one
//! section; rules between sections are in the parent. Called by `load`.

use super::address::{self, Address};
use super::fault::shown;
use super::reader::{Number, Reader};
use super::{
    Api, Checkout, Config, Dunning, Entitlement, Limits, Listen, LogFormat, NightlyDrift, PausedCollection, Portal,
    Retry, Secret, Stripe, WebhookEndpoint, WhenStale, link, notify, plans, words,
};

const DATABASE: &str = "tilld.db";
const LOG: &str = "info";
const PUBLIC_LISTEN: &str = "127.0.0.1:4242";
const PRIVATE_LISTEN: &str = "127.0.0.1:4243";
const API_BASE: &str = "https://api.stripe.com";
pub(super) const API_VERSION: &str = "2026-09-30.endive";
const WEBHOOK_PATH: &str = "/api/v1/webhooks/stripe";

const fn number(default: i64, min: i64, max: i64) -> Number {
    Number { default, min, max }
}

// Default, least, most.
const TOLERANCE_S: Number = number(300, 1, 86_400);
const MAX_ATTEMPTS: Number = number(8, 1, 100);
const BASE_DELAY_S: Number = number(30, 0, 86_400);
const MAX_DELAY_S: Number = number(3600, 0, 604_800);
const STALE_AFTER_S: Number = number(3600, 0, 31_536_000);
const GRACE_PERIOD_DAYS: Number = number(7, 0, 365);
const WARNING_DAYS: Number = number(2, 0, 365);
const BODY_BYTES: Number = number(1_048_576, 1000, 67_108_864);
const HEAD_BYTES: Number = number(16_384, 1000, 1_048_576);
const CONNECTIONS: Number = number(512, 1, 65_536);
const BUFFERED_BYTES: Number = number(8_388_608, 65_536, 1_073_741_824);
const TIMEOUT_S: Number = number(30, 1, 100);
const CALLS_PER_S: Number = number(20, 1, 100);
/// 0 stands for none.
const PULL_INTERVAL_S: Number = number(0, 5, 86_400);
const REQUEST_TIMEOUT_S: Number = number(10, 1, 600);

/// Reads every key. Where one is wrong, a fault is noted and its default stands in.
pub(super) fn read(reader: &mut Reader<'_>) -> Config {
    let database = reader.text("database").unwrap_or_else(|| DATABASE.to_owned());
    // A path from the command line need not be UTF-8.
    let database = reader.flags().database.clone().unwrap_or_else(|| database.into());
    Config {
        database: reader.around().absolute(database),
        log: reader.parsed("log", words::log_filter).unwrap_or_else(|| LOG.to_owned()),
        log_format: reader.parsed("log_format", log_format).unwrap_or(LogFormat::Text),
        listen: Listen {
            public: listen(reader, "listen.public", PUBLIC_LISTEN),
            private: listen(reader, "listen.private", PRIVATE_LISTEN),
        },
        stripe: stripe(reader),
        api: Api { token: reader.secret("api.token"), admin_token: reader.secret("api.admin_token") },
        plans: plans::read(reader),
        link: link::read(reader),
        retry: Retry {
            max_attempts: unsigned(reader, "retry.max_attempts", &MAX_ATTEMPTS),
            base_delay_s: unsigned(reader, "retry.base_delay_s", &BASE_DELAY_S),
            max_delay_s: unsigned(reader, "retry.max_delay_s", &MAX_DELAY_S),
        },
        entitlement: Entitlement {
            stale_after_s: reader.number("entitlement.stale_after_s", &STALE_AFTER_S),
            when_stale: reader.parsed("entitlement.when_stale", when_stale).unwrap_or(WhenStale::Keep),
            paused_collection: reader
                .parsed("entitlement.paused_collection", paused_collection)
                .unwrap_or(PausedCollection::Keep),
        },
        dunning: Dunning {
            grace_period_days: reader.number("dunning.grace_period_days", &GRACE_PERIOD_DAYS),
            warning_days: reader.number("dunning.warning_days", &WARNING_DAYS),
        },
        notify: notify::read(reader),
        checkout: Checkout {
            success_url: reader.parsed("checkout.success_url", address::application_url),
            cancel_url: reader.parsed("checkout.cancel_url", address::application_url),
            automatic_tax: reader.flag("checkout.automatic_tax"),
        },
        portal: Portal { return_url: reader.parsed("portal.return_url", address::application_url) },
        limits: Limits {
            body_bytes: unsigned(reader, "limits.body_bytes", &BODY_BYTES),
            head_bytes: unsigned(reader, "limits.head_bytes", &HEAD_BYTES),
            connections: unsigned(reader, "limits.connections", &CONNECTIONS),
            buffered_bytes: unsigned(reader, "limits.buffered_bytes", &BUFFERED_BYTES),
            request_timeout_s: unsigned(reader, "limits.request_timeout_s", &REQUEST_TIMEOUT_S),
        },
        source: None,
        warnings: Vec::new(),
    }
}

fn stripe(reader: &mut Reader<'_>) -> Stripe {
    Stripe {
        api_key: api_key(reader),
        publishable_key: reader.parsed("stripe.publishable_key", publishable_key),
        api_base: reader.parsed("stripe.api_base", address::api_base).unwrap_or_else(|| API_BASE.to_owned()),
        mode_said: reader.parsed("stripe.mode", words::mode),
        account: reader.parsed("stripe.account", words::account),
        api_version: reader.parsed("stripe.api_version", words::api_version).unwrap_or_else(|| API_VERSION.to_owned()),
        timeout_s: unsigned(reader, "stripe.timeout_s", &TIMEOUT_S),
        calls_per_s: unsigned(reader, "stripe.calls_per_s", &CALLS_PER_S),
        pull_interval_s: Some(reader.number("stripe.pull_interval_s", &PULL_INTERVAL_S)).filter(|seconds| *seconds > 0),
        nightly_drift: reader.parsed("stripe.nightly_drift", nightly_drift).unwrap_or(NightlyDrift::Off),
        webhooks: webhooks(reader),
    }
}

fn api_key(reader: &mut Reader<'_>) -> Option<Secret> {
    let key = reader.secret("stripe.api_key")?;
    if key.expose().starts_with("pk_") {
        let message = "is a publishable key (pk_…), which cannot call the API: give a secret key \
                       (sk_…) or a restricted one (rk_…)";
        reader.fault("stripe.api_key", message);
    }
    Some(key)
}

/// This key is handed to browsers: a secret one here would be published.
fn publishable_key(text: &str) -> Result<String, String> {
    if ["sk_", "rk_", "whsec_"].iter().any(|prefix| text.starts_with(prefix)) {
        return Err("is a secret key, and this one is shown to everyone: give the one that \
                    starts with pk_"
            .to_owned());
    }
    Ok(text.to_owned())
}

/// The endpoints; one if the file has no block, so that environment and credentials suffice.
fn webhooks(reader: &mut Reader<'_>) -> Vec<WebhookEndpoint> {
    let mut endpoints: Vec<WebhookEndpoint> = Vec::new();
    for number in 0..reader.blocks("stripe.webhook").max(1) {
        let key = |name: &str| format!("stripe.webhook[{number}].{name}");
        let path = reader.parsed(&key("path"), address::webhook_path);
        let path = path.unwrap_or_else(|| WEBHOOK_PATH.to_owned());
        if endpoints.iter().any(|other| other.path == path) && !reader.has_fault(&key("path")) {
            let message = format!("{shown} is the path of two endpoints: give each its own", shown = shown(&path));
            reader.fault(&key("path"), message);
        }
        endpoints.push(WebhookEndpoint {
            path,
            secrets: reader.secrets(&key("secrets")),
            tolerance_s: reader.number(&key("tolerance_s"), &TOLERANCE_S),
        });
    }
    endpoints
}

fn listen(reader: &mut Reader<'_>, key: &str, default: &str) -> Address {
    reader.parsed(key, Address::parse).unwrap_or_else(|| Address::Tcp(default.to_owned()))
}

/// The ranges above keep every number within the types that are asked for.
fn unsigned<T: TryFrom<i64> + Default>(reader: &mut Reader<'_>, key: &str, range: &Number) -> T {
    T::try_from(reader.number(key, range)).unwrap_or_default()
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("must be \"text\" or \"json\", not {shown}", shown = shown(text))),
    }
}

fn nightly_drift(text: &str) -> Result<NightlyDrift, String> {
    match text {
        "off" => Ok(NightlyDrift::Off),
        "check" => Ok(NightlyDrift::Check),
        "fix" => Ok(NightlyDrift::Fix),
        _ => Err(format!("must be \"off\", \"check\" or \"fix\", not {shown}", shown = shown(text))),
    }
}

fn when_stale(text: &str) -> Result<WhenStale, String> {
    match text {
        "keep" => Ok(WhenStale::Keep),
        "deny" => Ok(WhenStale::Deny),
        _ => Err(format!("must be \"keep\" or \"deny\", not {shown}", shown = shown(text))),
    }
}

fn paused_collection(text: &str) -> Result<PausedCollection, String> {
    match text {
        "keep" => Ok(PausedCollection::Keep),
        "until_paid" => Ok(PausedCollection::UntilPaid),
        _ => Err(format!("must be \"keep\" or \"until_paid\", not {shown}", shown = shown(text))),
    }
}
