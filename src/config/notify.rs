//! `[notify]`: mail to customers and operator, events for the application. Must never resolve a name or read a template.
//! Called by `sections`.

use std::path::PathBuf;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::address;
use super::fault::shown;
use super::reader::{Number, Reader};
use super::secret::Secret;
use crate::notify::event_type::EventType;

/// Who is told of what, and how.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Mail is sent at all.
    pub mail: bool,
    /// Who mails are from: an address, with or without a name.
    pub from: Option<String>,
    /// Where mails for the operator go.
    pub operator: Option<String>,
    /// What mails call the product.
    pub product: Option<String>,
    /// Customers are told of every invoice.
    pub invoice_finalized: bool,
    /// So many hours without a webhook are told to the operator.
    pub silence_h: Option<i64>,
    /// A folder with templates that stand in for ours.
    pub templates: Option<PathBuf>,
    /// The mail server.
    pub smtp: Smtp,
    /// The application's endpoints; their URLs differ.
    pub webhooks: Vec<NotifyWebhook>,
}

/// The mail server.
#[derive(Debug, Clone)]
pub struct Smtp {
    /// Its name or address; always there when mail is sent.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub security: Security,
    /// Whom we log in as. None: we do not.
    pub username: Option<String>,
    /// Always there with a username.
    pub password: Option<Secret>,
    /// How long a mail may take, in seconds.
    pub timeout_s: u64,
    /// Certificates of an authority that is trusted beside the well-known ones.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// It begins plain and must turn to TLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Not at all; only on this machine.
    None,
}

impl Security {
    fn port(self) -> i64 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// An endpoint of the application's.
#[derive(Debug, Clone)]
pub struct NotifyWebhook {
    /// Where events are sent.
    pub url: String,
    /// One, or two while one is replaced; every event is signed with each.
    pub secrets: Vec<Secret>,
    /// Types, `stripe.*`, or `*`.
    pub events: Vec<String>,
    /// Its name may lead into a private network.
    pub allow_private: bool,
}

impl NotifyWebhook {
    /// The bytes that sign, one key for each secret.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.secrets.iter().filter_map(|secret| key_of(secret.expose()).ok()).collect()
    }
}

/// What an application needs.
const DEFAULT_EVENTS: EventType = EventType::EntitlementChanged;
const SECRETS: usize = 2;
const SECRET_PREFIX: &str = "whsec_";
const MIN_KEY_BYTES: usize = 24;
const MAX_KEY_BYTES: usize = 64;
const TIMEOUT_S: Number = Number { default: 30, min: 1, max: 300 };
/// 0 stands for none.
const SILENCE_H: Number = Number { default: 0, min: 1, max: 8760 };
const WEBHOOK_URL: &str = "TILLD_NOTIFY_WEBHOOK_URL";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads the section and its own.
pub(super) fn read(reader: &mut Reader<'_>) -> Notify {
    let templates = reader.text("notify.templates");
    let notify = Notify {
        mail: reader.flag("notify.mail"),
        from: reader.parsed("notify.from", sender),
        operator: reader.parsed("notify.operator", mail_address),
        product: reader.text("notify.product"),
        invoice_finalized: reader.flag("notify.invoice_finalized"),
        silence_h: Some(reader.number("notify.silence_h", &SILENCE_H)).filter(|hours| *hours > 0),
        templates: templates.map(|path| reader.around().absolute(path)),
        smtp: smtp(reader),
        webhooks: webhooks(reader),
    };
    if notify.mail {
        let needed = [
            ("notify.from", notify.from.is_none(), "name who mails are from, as in \"Shop <billing@example.com>\""),
            ("notify.smtp.host", notify.smtp.host.is_none(), "name the mail server"),
        ];
        for (key, missing, advice) in needed {
            if missing && !reader.has_fault(key) {
                reader.fault(key, format!("is missing, and notify.mail is true: {advice}"));
            }
        }
    }
    notify
}

fn smtp(reader: &mut Reader<'_>) -> Smtp {
    let host = reader.parsed("notify.smtp.host", host);
    let security = reader.parsed("notify.smtp.security", security).unwrap_or(Security::StartTls);
    let port = reader.number("notify.smtp.port", &Number { default: security.port(), min: 1, max: 65_535 });
    let ca_file = reader.text("notify.smtp.ca_file");
    let smtp = Smtp {
        ca_file: ca_file.map(|path| reader.around().absolute(path)),
        port: u16::try_from(port).unwrap_or_default(),
        security,
        username: reader.text("notify.smtp.username"),
        password: reader.secret("notify.smtp.password"),
        timeout_s: u64::try_from(reader.number("notify.smtp.timeout_s", &TIMEOUT_S)).unwrap_or_default(),
        host,
    };
    let is_local = smtp.host.as_deref().is_none_or(address::is_loopback);
    if security == Security::None && !is_local {
        let message =
            "must not be \"none\" for a mail server on another machine: mails and password would be open to all";
        reader.fault("notify.smtp.security", message);
    }
    let halves = [
        ("notify.smtp.password", smtp.password.is_none() && smtp.username.is_some()),
        ("notify.smtp.username", smtp.username.is_none() && smtp.password.is_some()),
    ];
    for (key, missing) in halves {
        if missing && !reader.has_fault(key) {
            reader.fault(key, "is missing: a login has a username and a password");
        }
    }
    smtp
}

/// The endpoints. One may be given by environment and credential alone.
fn webhooks(reader: &mut Reader<'_>) -> Vec<NotifyWebhook> {
    let in_environment = usize::from(reader.around().variable(WEBHOOK_URL).is_some());
    let mut endpoints: Vec<NotifyWebhook> = Vec::new();
    for number in 0..reader.blocks("notify.webhook").max(in_environment) {
        let key = |name: &str| format!("notify.webhook[{number}].{name}");
        let allow_private = reader.flag(&key("allow_private"));
        let url = reader.parsed(&key("url"), |text| address::endpoint_url(text, allow_private));
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
        endpoints.push(NotifyWebhook { url, secrets, events, allow_private });
    }
    endpoints
}

fn check_secrets(reader: &mut Reader<'_>, key: &str, secrets: &[Secret]) {
    if reader.has_fault(key) {
        return;
    }
    if !(1..=SECRETS).contains(&secrets.len()) {
        let advice = "give one secret, or two while one is replaced; `openssl rand -base64 32` after whsec_ makes one";
        reader.fault(key, format!("has {} secrets: {advice}", secrets.len()));
    }
    for secret in secrets {
        if let Err(message) = key_of(secret.expose()) {
            reader.fault(key, message);
        }
    }
}

/// A secret's bytes (standardwebhooks.com, "Symmetric"). The error never quotes it.
fn key_of(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || {
        format!(
            "is no signing secret: write whsec_ and {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes in base64; \
             `openssl rand -base64 32` makes such bytes"
        )
    };
    let encoded = text.strip_prefix(SECRET_PREFIX).ok_or_else(wrong)?;
    let bytes = BASE64.decode(encoded).map_err(|_| wrong())?;
    if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes.len()) { Ok(bytes) } else { Err(wrong()) }
}

fn events(reader: &mut Reader<'_>, key: &str) -> Vec<String> {
    let Some(given) = reader.texts(key) else { return vec![DEFAULT_EVENTS.as_str().to_owned()] };
    if given.is_empty() {
        reader.fault(key, "is empty: list the types that this endpoint wants, or \"*\" for all");
    }
    for event in &given {
        if !is_pattern(event) {
            let types: Vec<&str> = EventType::offered().map(EventType::as_str).collect();
            let types = types.join(", ");
            reader.fault(
                key,
                format!("{shown} is no type of event: there are {types}, \"stripe.*\" and \"*\"", shown = shown(event)),
            );
        }
    }
    given
}

/// A type, the beginning of some followed by `*`, or something of Stripe's.
fn is_pattern(text: &str) -> bool {
    let mut types = EventType::offered().map(EventType::as_str);
    match text.strip_suffix('*') {
        Some("") => true,
        Some(beginning) if beginning.ends_with('.') && !beginning.contains('*') => {
            beginning.starts_with("stripe.") || types.any(|name| name.starts_with(beginning))
        }
        Some(_) => false,
        None => types.any(|name| name == text) || text.strip_prefix("stripe.").is_some_and(|rest| !rest.is_empty()),
    }
}

fn security(text: &str) -> Result<Security, String> {
    match text {
        "starttls" => Ok(Security::StartTls),
        "tls" => Ok(Security::Tls),
        "none" => Ok(Security::None),
        _ => Err(format!("must be \"starttls\", \"tls\" or \"none\", not {shown}", shown = shown(text))),
    }
}

fn host(text: &str) -> Result<String, String> {
    if address::is_host(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{shown} is no host: write its name or address alone; the port is notify.smtp.port",
        shown = shown(text)
    ))
}

/// An address, or a name and an address in angle brackets.
fn sender(text: &str) -> Result<String, String> {
    let address = text.strip_suffix('>').and_then(|text| text.rsplit_once('<')).map_or(text, |(_, address)| address);
    mail_address(address).map_err(|_| no_address(text)).map(|_| text.to_owned())
}

fn mail_address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once('@');
    let is_local =
        |local: &str| !local.is_empty() && !local.contains(|c: char| c.is_whitespace() || "<>,;@".contains(c));
    let fits = parts.is_some_and(|(local, domain)| is_local(local) && address::is_host(domain));
    if fits { Ok(text.to_owned()) } else { Err(no_address(text)) }
}

fn no_address(text: &str) -> String {
    format!("{shown} is no mail address: write it as in billing@example.com", shown = shown(text))
}
