//! `[stripe]` and `[[stripe.webhook]]`: the client, and the secrets that Stripe's webhooks are checked with. Called by
//! `sections`.

use std::time::Duration;

use super::proxy;
use crate::app::config::keys::{KeyForm, Section, number, secret, secrets, text};
use crate::app::config::reader::ConfigReader;
use crate::app::config::{Stripe, urls};
use crate::base::secret::{Secret, shown};
use crate::http::public::WebhookEndpoint;
use crate::jobs::schedule::Nightly;
use crate::stripe::settings::{ApiKey, Mode, StripeSettings};

const API_VERSION: &str = "2026-09-30.endive";

pub(super) const STRIPE: Section = Section::once(
    "stripe",
    "",
    &[
        secret("stripe.api_key", "sk_test_...", "stripe_api_key")
            .env(&["STRIPE_API_KEY"])
            .about("Needed for calls to Stripe, not for webhooks and entitlement. A restricted key (rk_) is enough."),
        text("stripe.publishable_key", "pk_test_...")
            .no_default()
            .env(&["STRIPE_PUBLIC_KEY"])
            .about("GET /api/v1/config gives it to browsers."),
        text("stripe.api_base", "https://api.stripe.com")
            .env(&["STRIPE_API_BASE"])
            .about("The base URL of Stripe's API; plain http only to this machine, for a fake Stripe."),
        secret("stripe.proxy", "http://proxy.example.com:3128", "stripe_proxy").env(&["STRIPE_PROXY"]).about(
            "A proxy for the calls to Stripe: http:// or https://, with a login before the host if it needs one. It only passes a \
             tunnel (CONNECT) and sees neither key nor content. By default what HTTPS_PROXY or ALL_PROXY says, unless \
             NO_PROXY names the host of api_base; \"off\" means none, whatever they say. A loopback host is always called \
             directly.",
        ),
        text("stripe.api_version", API_VERSION)
            .env(&["STRIPE_API_VERSION"])
            .about("Sent with every call, so that answers keep their shape when Stripe's default changes."),
        text("stripe.mode", "test").no_default().env(&["TILLD_STRIPE_MODE"]).about(
            "The mode whose events this database keeps: \"live\" or \"test\". By default the mode of the key; without a key, test \
             until the first live event arrives and live from then on: events of test mode then stay in the log as ignored, \
             and their rows are removed.",
        ),
        text("stripe.account", "acct_1234567890").no_default().env(&["TILLD_STRIPE_ACCOUNT"]).about(
            "Your account's id. Events that name another account (Connect, organizations) are stored but never decide \
             anything; those that name this one are your own. By default the account of the key.",
        ),
        number("stripe.timeout_s", 30, (1, 100)).env(&["STRIPE_TIMEOUT_S"]).about(
            "Seconds ({range}) that a request of your application waits for Stripe, all attempts together. After that the \
             answer says whether nothing was done (502) or the outcome is not known yet (202).",
        ),
        number("stripe.calls_per_s", 20, (1, 100)).env(&["STRIPE_CALLS_PER_S"]).about(
            "Calls per second ({range}) at most, reads and writes together. Stripe allows 100 for an account, 25 for a sandbox.",
        ),
        number("stripe.pull_interval_s", 60, (5, 86_400)).no_default().env(&["TILLD_PULL_INTERVAL_S"]).about(
            "Pull-only mode, for machines that Stripe cannot reach: Stripe is asked for events every so many seconds ({range}), \
             and no webhook secret is needed. No default: events arrive as webhooks, and missed ones are asked for at start \
             and every ten minutes.",
        ),
        text("stripe.nightly_drift", "check").no_default().env(&["TILLD_NIGHTLY_DRIFT"]).about(
            "Compare what answers rest on (customers, subscriptions) with Stripe at about 03:00 UTC: \"off\", \"check\" (report \
             differences in the log and the audit log), or \"fix\" (repair them, too). A million objects take 17 minutes. By \
             default \"check\", without a key \"off\".",
        ),
    ],
);

pub(super) const WEBHOOK: Section = Section {
    name: "stripe.webhook",
    form: KeyForm::Repeated,
    about: "An endpoint as registered at Stripe. Repeat the block for more; environment and credential are for the first.",
    keys: &[
        text("stripe.webhook.path", "/api/v1/webhooks/stripe")
            .env(&["STRIPE_WEBHOOK_ENDPOINT"])
            .about("The path of its URL, or the whole URL."),
        secrets("stripe.webhook.secrets", &["whsec_..."], "stripe_webhook_secrets")
            .env(&["STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRETS"])
            .about("Its signing secrets: two while one is rolled."),
        number("stripe.webhook.tolerance_s", 300, (1, 86_400)).about(
            "Seconds ({range}) that the time of a signature may differ from this machine's: within them a recorded request could \
             be sent again.",
        ),
    ],
};

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Stripe {
    let api_key = api_key(reader);
    let api_base = reader.parsed("stripe.api_base", urls::api_base).unwrap_or_default();
    let api_version = reader.parsed("stripe.api_version", api_version).unwrap_or_default();
    let budget = Duration::from_secs(reader.number("stripe.timeout_s"));
    let calls_per_s = reader.number("stripe.calls_per_s");
    // Without a key there is nothing to compare with.
    let unless_said = api_key.as_ref().map(|_| Nightly::Check);
    let proxy = proxy::read(reader, &api_base, api_key.is_some());
    let client = api_key.map(|key| {
        let usual = StripeSettings::new(ApiKey::new(key.expose()), &api_base, &api_version);
        StripeSettings {
            proxy,
            calls_per_s,
            burst: calls_per_s,
            interactive_budget: budget,
            // A single wait must not take longer than all attempts may.
            connect_timeout: usual.connect_timeout.min(budget),
            read_timeout: usual.read_timeout.min(budget),
            ..usual
        }
    });
    let nightly_drift = reader.choice("stripe.nightly_drift", &Nightly::WORDS).unwrap_or(unless_said);
    if let Some((word, _)) = Nightly::WORDS.iter().find(|(_, known)| *known == nightly_drift) {
        reader.note("stripe.nightly_drift", *word);
    }
    Stripe {
        client,
        mode_said: reader.choice("stripe.mode", &Mode::WORDS),
        account: reader.parsed("stripe.account", account),
        pull_interval_s: reader.optional_number("stripe.pull_interval_s"),
        nightly_drift,
        webhooks: webhooks(reader),
    }
}

fn api_key(reader: &mut ConfigReader<'_>) -> Option<Secret> {
    let key = reader.secret("stripe.api_key")?;
    if key.expose().starts_with("pk_") {
        let message = "is a publishable key (pk_…), which cannot call the API: give a secret key \
                       (sk_…) or a restricted one (rk_…)";
        reader.fault("stripe.api_key", message);
    }
    Some(key)
}

/// This key is handed to browsers: a secret one here would be published.
pub(super) fn publishable_key(reader: &mut ConfigReader<'_>) -> Option<String> {
    reader.parsed("stripe.publishable_key", |text| {
        if ["sk_", "rk_", "whsec_"].iter().any(|prefix| text.starts_with(prefix)) {
            let message = "is a secret key, but this one is given to every browser: give the key that starts with pk_";
            return Err(message.to_owned());
        }
        Ok(text.to_owned())
    })
}

/// The endpoints; one if the file has no block, so that environment and credentials suffice.
fn webhooks(reader: &mut ConfigReader<'_>) -> Vec<WebhookEndpoint> {
    let mut endpoints: Vec<WebhookEndpoint> = Vec::new();
    for number in 0..reader.blocks("stripe.webhook").max(1) {
        let key = |name: &str| format!("stripe.webhook[{number}].{name}");
        let path = reader.parsed(&key("path"), urls::webhook_path).unwrap_or_default();
        if endpoints.iter().any(|other| other.path == path) && !reader.has_fault(&key("path")) {
            let message =
                format!("{shown} is the path of two endpoints: give each a path of its own", shown = shown(&path));
            reader.fault(&key("path"), message);
        }
        endpoints.push(WebhookEndpoint {
            path,
            secrets: reader.secrets(&key("secrets")),
            tolerance_s: reader.number(&key("tolerance_s")),
        });
    }
    endpoints
}

/// A version of Stripe's API: the day, since 2024 with the name of its release (docs.stripe.com/api/versioning).
fn api_version(text: &str) -> Result<String, String> {
    let (day, name) = text.split_once('.').map_or((text, None), |(day, name)| (day, Some(name)));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_day = day.len() == "2026-09-30".len() && day.parse::<jiff::civil::Date>().is_ok();
    if is_day && name.is_none_or(is_name) {
        return Ok(text.to_owned());
    }
    let shown = shown(text);
    Err(format!("{shown} is not a valid API version: write the day and its name, as in {}", API_VERSION))
}

fn account(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("acct_").unwrap_or_default();
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{shown} is not a valid account: write its id (acct_…), which Stripe's settings show",
        shown = shown(text)
    ))
}
