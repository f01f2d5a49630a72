//! `[[notify.webhook]]`: where events for the application are sent. Must never resolve a name. Called by `sections`.

use crate::app::config::keys::{KeyForm, Section, flag, list, secrets, text};
use crate::app::config::reader::ConfigReader;
use crate::app::config::urls;
use crate::base::secret::{Secret, shown};
use crate::notify::endpoints::EndpointSettings;
use crate::notify::endpoints::sign::{KEY_BYTES, key_of};
use crate::notify::event_type::AppEventType;

const URL_ENV: &str = "TILLD_NOTIFY_WEBHOOK_URL";

pub(super) const WEBHOOK: Section = Section {
    name: "notify.webhook",
    form: KeyForm::RepeatedOrNone,
    about: "Where your application gets its events: signed by the convention of standardwebhooks.com. Repeat the \
            block for more endpoints; environment and credential are for the first.",
    keys: &[
        text("notify.webhook.url", "https://app.example.com/hooks/tilld")
            .no_default()
            .env(&[URL_ENV])
            .about("https, or http to a loopback host."),
        secrets(
            "notify.webhook.secrets",
            &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "notify_webhook_secrets",
        )
        .env(&["TILLD_NOTIFY_WEBHOOK_SECRETS"])
        .about(
            "What events are signed with: whsec_ and 24 to 64 random bytes in base64 (`openssl rand -base64 32`); two while \
             one is replaced.",
        ),
        list("notify.webhook.events", &["entitlement.changed"]).about(
            "The events that it gets: entitlement.changed (the default, and the one an application needs), subscription.changed, \
             payment.failed, payment.recovered, dispute.created, invoice.finalized, webhook.dead_letter; \"stripe.*\" or \
             \"stripe.invoice.paid\" forwards Stripe's own events, \"*\" is everything. An endpoint that was away gets \
             every user's current entitlement by itself, a new one by `tilld outbox resync URL`.",
        ),
        flag("notify.webhook.allow_private").about(
            "true allows a URL in a private network, also by plain http. Otherwise private and link-local addresses are \
             refused, whatever name leads to them.",
        ),
    ],
};

/// How many secrets an endpoint may have.
const SECRETS: usize = 2;

/// The endpoints. One may be given by environment and credential alone.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Vec<EndpointSettings> {
    let in_environment = usize::from(reader.around().variable(URL_ENV).is_some());
    let mut endpoints: Vec<EndpointSettings> = Vec::new();
    for number in 0..reader.blocks("notify.webhook").max(in_environment) {
        let key = |name: &str| format!("notify.webhook[{number}].{name}");
        let allow_private = reader.flag(&key("allow_private"));
        let url = reader.parsed(&key("url"), |text| urls::endpoint_url(text, allow_private));
        if url.is_none() && !reader.has_fault(&key("url")) {
            reader.fault(&key("url"), "is missing: name the URL that events are sent to");
        }
        let url = url.unwrap_or_default();
        if endpoints.iter().any(|other| other.url == url) && !reader.has_fault(&key("url")) {
            reader.fault(&key("url"), "is the URL of two endpoints: put their events into one");
        }
        let secrets = reader.secrets(&key("secrets"));
        check_secrets(reader, &key("secrets"), &secrets);
        let events = events(reader, &key("events"));
        endpoints.push(EndpointSettings { url, secrets, events, allow_private });
    }
    endpoints
}

/// Must never quote a secret.
fn check_secrets(reader: &mut ConfigReader<'_>, key: &str, secrets: &[Secret]) {
    if reader.has_fault(key) {
        return;
    }
    if !(1..=SECRETS).contains(&secrets.len()) {
        let advice = "give one secret, or two while one is replaced; `openssl rand -base64 32` after whsec_ makes one";
        reader.fault(key, format!("has {} secrets: {advice}", secrets.len()));
    }
    for _ in secrets.iter().filter(|secret| key_of(secret.expose()).is_none()) {
        let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
        let message = format!(
            "is not a valid signing secret: write whsec_ and {least} to {most} random bytes in base64; `openssl rand -base64 32` \
             makes such bytes"
        );
        reader.fault(key, message);
    }
}

fn events(reader: &mut ConfigReader<'_>, key: &str) -> Vec<String> {
    let given = reader.list(key);
    if given.is_empty() && !reader.has_fault(key) {
        reader.fault(key, "is empty: list the types that this endpoint wants, or \"*\" for all");
    }
    for event in given.iter().filter(|event| !is_pattern(event)) {
        let types: Vec<&str> = AppEventType::offered().map(AppEventType::as_str).collect();
        let (shown, types) = (shown(event), types.join(", "));
        reader.fault(key, format!("{shown} is not a valid type of event: choose from {types}, \"stripe.*\" and \"*\""));
    }
    given
}

/// A type, the beginning of several followed by `*`, or a type of Stripe's.
fn is_pattern(text: &str) -> bool {
    let mut types = AppEventType::offered().map(AppEventType::as_str);
    match text.strip_suffix('*') {
        Some("") => true,
        Some(beginning) if beginning.ends_with('.') && !beginning.contains('*') => {
            beginning.starts_with("stripe.") || types.any(|name| name.starts_with(beginning))
        }
        Some(_) => false,
        None => types.any(|name| name == text) || text.strip_prefix("stripe.").is_some_and(|rest| !rest.is_empty()),
    }
}
