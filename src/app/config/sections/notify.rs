//! `[notify]` and `[notify.smtp]`: who gets which notices, and the mail server. Must never resolve a name or read a template.
//! Called by `sections`.

use std::time::Duration;

use crate::app::config::keys::{Section, flag, number, secret, text};
use crate::app::config::reader::ConfigReader;
use crate::base::address::is_host;
use crate::base::host;
use crate::base::secret::shown;
use crate::notify::endpoints::EndpointSettings;
use crate::notify::mail::{MailSettings, SmtpSecurity, SmtpServer};
use crate::notify::settings::{NoticeSettings, Subscriber};

pub(super) const NOTIFY: Section = Section::once(
    "notify",
    "Who is notified of failed payments, disputes and the like. Without these settings nobody is; failed payments are \
     recorded all the same.",
    &[
        flag("notify.mail").env(&["TILLD_NOTIFY_MAIL"]).about(
            "true sends mail to customers (payment failed, failed again, to be confirmed, access ends soon, access ended, \
             paid after all, trial ends) and to the operator (dispute, dead letter). Leave it false where Stripe's own mails \
             are switched on; otherwise customers get both.",
        ),
        text("notify.from", "Example Shop <billing@example.com>")
            .no_default()
            .env(&["TILLD_NOTIFY_FROM"])
            .about("The sender of mails; needed with mail = true."),
        text("notify.reply_to", "Example Help <help@example.com>")
            .no_default()
            .env(&["TILLD_NOTIFY_REPLY_TO"])
            .about("Where answers to mails go (Reply-To); no default: they go to the sender."),
        text("notify.operator", "ops@example.com")
            .no_default()
            .env(&["TILLD_NOTIFY_OPERATOR"])
            .about("The operator's address; without it mails for the operator are not sent."),
        number("notify.silence_h", 48, (1, 8760)).no_default().env(&["TILLD_NOTIFY_SILENCE_H"]).about(
            "Notify the operator, in the log and by mail, when no webhook has arrived for so many hours ({range}). Events found \
             by asking Stripe do not count. No default: a small shop may have quiet days.",
        ),
        text("notify.product", "Example")
            .no_default()
            .env(&["TILLD_NOTIFY_PRODUCT"])
            .about("What mails call your product; no default: the sender's name."),
        flag("notify.invoice_finalized")
            .env(&["TILLD_NOTIFY_INVOICE_FINALIZED"])
            .about("true also sends a mail for every finalized invoice, with its number, amount and links."),
        text("notify.templates", "/etc/tilld/templates")
            .no_default()
            .env(&["TILLD_NOTIFY_TEMPLATES"])
            .about("A folder with mail templates that replace tilld's own; no default."),
    ],
);

pub(super) const SMTP: Section = Section::once(
    "notify.smtp",
    "",
    &[
        text("notify.smtp.host", "smtp.example.com")
            .no_default()
            .env(&["TILLD_SMTP_HOST"])
            .about("The mail server; needed with mail = true."),
        number("notify.smtp.port", 587, (1, 65_535))
            .no_default()
            .env(&["TILLD_SMTP_PORT"])
            .about("Its port ({range}); the default depends on security: 587, 465 or 25."),
        text("notify.smtp.security", "starttls").env(&["TILLD_SMTP_SECURITY"]).about(
            "\"starttls\" (begins in clear, must switch to TLS), \"tls\" (from the first byte), or \"none\", which is allowed only \
             for a server on this machine.",
        ),
        text("notify.smtp.username", "billing@example.com")
            .no_default()
            .env(&["TILLD_SMTP_USERNAME"])
            .about("The user name, if the server wants a login."),
        secret("notify.smtp.password", "...", "smtp_password").env(&["TILLD_SMTP_PASSWORD"]).about("Its password."),
        text("notify.smtp.ca_file", "/etc/tilld/mail-ca.pem").no_default().env(&["TILLD_SMTP_CA_FILE"]).about(
            "The certificate (PEM) of your own authority, trusted in addition to the well-known ones; no default.",
        ),
        number("notify.smtp.timeout_s", 30, (1, 300))
            .about("Seconds ({range}) that a mail may take in all, including the connection."),
    ],
);

/// Who gets which notices.
pub(super) fn notices(reader: &mut ConfigReader<'_>, warning_s: i64, endpoints: &[EndpointSettings]) -> NoticeSettings {
    let subscriber = |endpoint: &EndpointSettings| {
        let (url, events) = (endpoint.url.clone(), endpoint.events.clone());
        Subscriber { url, events }
    };
    NoticeSettings {
        mail: reader.flag("notify.mail"),
        operator: reader.parsed("notify.operator", mail_address),
        invoice_finalized: reader.flag("notify.invoice_finalized"),
        warning_s,
        webhooks: endpoints.iter().map(subscriber).collect(),
    }
}

/// The settings of mail; `None` where no sender or no mail server is named, which is a fault only if mail is wanted.
pub(super) fn mail(reader: &mut ConfigReader<'_>, is_wanted: bool) -> Option<MailSettings> {
    let from = reader.parsed("notify.from", sender);
    let reply_to = reader.parsed("notify.reply_to", sender);
    let product = reader.text("notify.product");
    let templates = reader.text("notify.templates").map(|path| reader.around().absolute(path));
    let server = server(reader);
    let needed = [
        ("notify.from", from.is_none(), "name the sender, as in \"Shop <billing@example.com>\""),
        ("notify.smtp.host", server.is_none(), "name the mail server"),
    ];
    for (key, missing, advice) in needed {
        if is_wanted && missing && !reader.has_fault(key) {
            reader.fault(key, format!("is missing, and notify.mail is true: {advice}"));
        }
    }
    Some(MailSettings { from: from?, reply_to, product, templates, server: server? })
}

fn server(reader: &mut ConfigReader<'_>) -> Option<SmtpServer> {
    let host = reader.parsed("notify.smtp.host", mail_host);
    let security = reader.choice("notify.smtp.security", &SmtpSecurity::WORDS).unwrap_or(SmtpSecurity::StartTls);
    if security == SmtpSecurity::None && !host.as_deref().is_none_or(host::is_this_machine) {
        let message =
            "must not be \"none\" for a mail server on another machine: mails and password would be sent in clear";
        reader.fault("notify.smtp.security", message);
    }
    let port = reader.optional_number("notify.smtp.port").and_then(|port| u16::try_from(port).ok());
    let port = port.unwrap_or(usual_port(security));
    reader.note("notify.smtp.port", port.to_string());
    let ca_file = reader.text("notify.smtp.ca_file").map(|path| reader.around().absolute(path));
    let (username, password) = (reader.text("notify.smtp.username"), reader.secret("notify.smtp.password"));
    let halves = [
        ("notify.smtp.password", password.is_none() && username.is_some()),
        ("notify.smtp.username", username.is_none() && password.is_some()),
    ];
    for (key, missing) in halves {
        if missing && !reader.has_fault(key) {
            reader.fault(key, "is missing: a login has a username and a password");
        }
    }
    let timeout = Duration::from_secs(reader.number("notify.smtp.timeout_s"));
    let login = username.zip(password.map(|password| password.expose().to_owned()));
    Some(SmtpServer { host: host?, port, security, login, ca_file, timeout })
}

fn usual_port(security: SmtpSecurity) -> u16 {
    match security {
        SmtpSecurity::StartTls => 587,
        SmtpSecurity::Tls => 465,
        SmtpSecurity::None => 25,
    }
}

fn mail_host(text: &str) -> Result<String, String> {
    if is_host(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{shown} is not a valid host: write only its name or address; the port goes into notify.smtp.port",
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
    let fits = parts.is_some_and(|(local, domain)| is_local(local) && is_host(domain));
    if fits { Ok(text.to_owned()) } else { Err(no_address(text)) }
}

fn no_address(text: &str) -> String {
    format!("{shown} is not a valid mail address: write it as in billing@example.com", shown = shown(text))
}
