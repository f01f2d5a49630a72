//! Mail: from a row's payload to a mail that a server has accepted. A mail says the same in text and in HTML
//! (`notice::letter`), in our words or by the operator's own templates (`overrides`); one SMTP session per mail
//! (`transport`). It must never decide whether or when a mail is sent, nor log to whom.
//!
//! Exactly once as far as SMTP allows: a row is claimed before its mail is sent, and recorded after the server has accepted
//! it. If the process dies in between, or the server does not answer after the last byte, the mail is sent again, with the
//! same Message-ID. Called by `jobs::lane` through `app::daemon`, and by `tilld notify test`.

mod message;
mod overrides;
mod transport;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use askama::Template as _;
use lettre::message::Mailbox;
use serde::Deserialize as _;
use serde_json::Value;

use message::{MailContent, MailSender};
use overrides::{MailOverrides, TemplatePart};
use transport::SmtpTransport;

use crate::base::host;
use crate::base::thread::Stop;
use crate::base::verdict::FailureVerdict;
use crate::notify::notice::NoticeMail;
use crate::notify::notice::letter::{self, Letter};
use crate::notify::text::one_line;
pub use overrides::PLACEHOLDERS;

/// How a connection to a mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// It begins plain and must change to TLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// Not at all; only on this machine.
    None,
}

impl SmtpSecurity {
    /// As the configuration writes them.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("starttls", Self::StartTls), ("tls", Self::Tls), ("none", Self::None)];
}

/// The mail server. Its `Debug` leaves the password out.
#[derive(Clone)]
pub struct SmtpServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub security: SmtpSecurity,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// Certificates of an authority that is trusted beside the well-known ones.
    pub ca_file: Option<PathBuf>,
    /// How long a mail may take in all, from looking up the server's name to its last word.
    pub timeout: Duration,
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SmtpServer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What a mailer is made from.
#[derive(Debug, Clone)]
pub struct MailSettings {
    /// Who mails are from: an address, with or without a name.
    pub from: String,
    /// Where answers go, if not there.
    pub reply_to: Option<String>,
    /// What mails call the product. None: the sender's name, or else the domain.
    pub product: Option<String>,
    /// A folder with templates that stand in for ours.
    pub templates: Option<PathBuf>,
    /// The mail server.
    pub server: SmtpServer,
}

/// Why a mail was not sent, or a mailer not made. It names no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// There is nobody to send it to.
    #[error("no mail address is known")]
    NoAddress,
    /// It failed.
    #[error("{text}")]
    Failed {
        /// [`FailureVerdict::Wait`]: it was ended by a stop before the server could have accepted it.
        verdict: FailureVerdict,
        /// Why.
        text: String,
    },
}

impl MailError {
    fn new(verdict: FailureVerdict, text: impl Into<String>) -> Self {
        Self::Failed { verdict, text: text.into() }
    }

    /// What can be done about it.
    #[must_use]
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::NoAddress => FailureVerdict::GiveUp,
            Self::Failed { verdict, .. } => *verdict,
        }
    }
}

/// A mail that a server has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSent {
    /// Its Message-ID, in angle brackets.
    pub message_id: String,
    /// What the server said, without addresses.
    pub answer: String,
}

/// A mail's parts, as they are shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedMail {
    /// One line.
    pub subject: String,
    /// For those who read text.
    pub text: String,
    /// For all others.
    pub html: String,
}

/// Writes and sends mails.
pub struct Mailer {
    sender: MailSender,
    product: String,
    overrides: MailOverrides,
    server: SmtpTransport,
}

#[derive(askama::Template)]
#[template(path = "letter.txt", config = "src/notify/mail/askama.toml", escape = "none")]
struct TextPart<'a> {
    letter: &'a Letter,
    greeting: &'a str,
    reason: &'a str,
    product: &'a str,
}

#[derive(askama::Template)]
#[template(path = "letter.html", config = "src/notify/mail/askama.toml")]
struct HtmlPart<'a> {
    letter: &'a Letter,
    greeting: &'a str,
    reason: &'a str,
    product: &'a str,
    colour: &'a str,
}

const MAX_PRODUCT: usize = 80;

impl Mailer {
    /// Checks all that can be known to be wrong before the first mail: addresses, security, every template.
    ///
    /// # Errors
    /// All that is wrong, one per line, each with its key or file.
    pub fn new(settings: MailSettings) -> Result<Self, MailError> {
        let never = |text: String| MailError::new(FailureVerdict::GiveUp, text);
        let server = settings.server;
        if server.security == SmtpSecurity::None && !host::is_this_machine(&server.host) {
            let text = "notify.smtp.security must not be \"none\" for a mail server on another machine";
            return Err(never(text.to_owned()));
        }
        let from = message::mailbox(&settings.from).map_err(|error| never(format!("notify.from: {error}")))?;
        let reply_to = settings.reply_to.as_deref().map(message::mailbox).transpose();
        let reply_to = reply_to.map_err(|error| never(format!("notify.reply_to: {error}")))?;
        let overrides = settings.templates.as_deref().map(MailOverrides::read).transpose();
        let overrides = overrides.map_err(|faults| never(faults.join("\n")))?.unwrap_or_default();
        let named = settings.product.or_else(|| from.name.clone()).map(|name| one_line(&name, MAX_PRODUCT));
        let product = named.filter(|name| !name.is_empty()).unwrap_or_else(|| from.email.domain().to_owned());
        Ok(Self {
            sender: MailSender { from, reply_to },
            product,
            overrides,
            server: SmtpTransport::new(server).map_err(never)?,
        })
    }

    /// Ends a session at this stop.
    #[must_use]
    pub(crate) fn stopped_by(mut self, stop: Stop) -> Self {
        self.server.set_stop(stop);
        self
    }

    /// Makes the parts of a mail from its row's payload.
    ///
    /// # Errors
    /// When it is not the payload of a mail.
    pub fn render(&self, payload: &Value) -> Result<RenderedMail, MailError> {
        self.write(&read(payload)?)
    }

    fn write(&self, mail: &NoticeMail) -> Result<RenderedMail, MailError> {
        let (kind, letter) = (mail.notice.kind(), mail.notice.letter(&self.product));
        let values = letter::values(mail, &letter, &self.product);
        let (greeting, reason) = (letter::greeting(mail), letter::reason(kind, &self.product));
        let (letter, greeting, reason, product) = (&letter, greeting.as_str(), reason.as_str(), self.product.as_str());
        let own = |part| self.overrides.fill(kind, part, &values);
        let broken = |error: askama::Error| {
            MailError::new(FailureVerdict::GiveUp, format!("the mail cannot be written: {error}"))
        };
        let text = match own(TemplatePart::Text) {
            Some(text) => text,
            None => TextPart { letter, greeting, reason, product }.render().map_err(broken)?,
        };
        let html = match own(TemplatePart::Html) {
            Some(html) => html,
            None => {
                let colour = letter.tone.colour();
                HtmlPart { letter, greeting, reason, product, colour }.render().map_err(broken)?
            }
        };
        let subject = own(TemplatePart::Subject).unwrap_or_else(|| letter.subject.clone());
        Ok(RenderedMail { subject, text, html })
    }

    /// Sends the mail of a row. The seed, the row's `dedupe_key`, makes its Message-ID.
    ///
    /// # Errors
    /// When it was not sent; [`MailError::verdict`] says whether to try again.
    pub fn send(&self, payload: &Value, message_id_seed: &str) -> Result<MailSent, MailError> {
        let never = |text: String| MailError::new(FailureVerdict::GiveUp, text);
        let mail = read(payload)?;
        let Some(to) = mail.to.as_deref().map(str::trim).filter(|to| !to.is_empty()) else {
            return Err(MailError::NoAddress);
        };
        let to = message::address(to).map_err(never)?;
        let RenderedMail { subject, text, html } = self.write(&mail)?;
        let message_id = self.sender.message_id(message_id_seed);
        let mailbox = Mailbox::new(mail.user.name(), to.clone());
        let message = self.sender.message(mailbox, MailContent { subject, text, html }, &message_id).map_err(never)?;
        let answer = self.server.send(&self.sender.from.email, &to, &message.formatted())?;
        Ok(MailSent { message_id, answer })
    }
}

/// Reads a row's payload. The error does not quote it, since it is logged.
fn read(payload: &Value) -> Result<NoticeMail, MailError> {
    NoticeMail::deserialize(payload).map_err(|error| {
        MailError::new(FailureVerdict::GiveUp, format!("the row is not a mail that this tilld knows: {error}"))
    })
}
