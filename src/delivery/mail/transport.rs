//! One conversation with the mail server per mail, step by step, so that it is known what was refused: the server's answer
//! to the login or the sender is the configuration's matter and may be another tomorrow, a refused recipient stays refused.
//! Every step has what is left of the mail's time. Called by `mail`.

use std::error::Error as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use super::notice::one_line;
use super::{MailError, Security, Server, Verdict};

const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long a goodbye may take; the mail has been taken, or has not.
const GOODBYE: Duration = Duration::from_secs(1);
/// Of a server's answer, so much is kept.
const MAX_ANSWER: usize = 200;
/// Answers that want a login, whatever they follow (RFC 4954).
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// How far a mail got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Secure,
    Login,
    Sender,
    Recipient,
    Begin,
    Content,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Connect => "the mail server cannot be reached",
            Self::Secure => "the mail server gives no secure connection",
            Self::Login => "the mail server refuses the login",
            Self::Sender => "the mail server refuses the sender",
            Self::Recipient => "the mail server refuses the recipient",
            Self::Begin | Self::Content => "the mail server refuses the mail",
        }
    }

    /// A final no, here, is one to this mail alone.
    fn is_about_this_mail(self) -> bool {
        matches!(self, Self::Recipient | Self::Begin | Self::Content)
    }

    /// Where nothing more is heard, here, the mail may be on its way.
    fn doubt(self) -> &'static str {
        if self == Self::Content { "; it may have taken the mail" } else { "" }
    }
}

/// The way to a mail server.
pub(super) struct Door {
    server: Server,
    credentials: Option<Credentials>,
    tls: Option<TlsParameters>,
    hello: ClientId,
}

impl Door {
    /// # Errors
    /// When the server's name is none that a certificate could have.
    pub(super) fn new(mut server: Server) -> Result<Self, String> {
        // An address in brackets is one to a reader, not to the resolver.
        server.host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match server.security {
            Security::None => None,
            Security::StartTls | Security::Tls => {
                let mut builder = TlsParameters::builder(server.host.clone());
                if let Some(file) = &server.ca_file {
                    builder = builder.add_root_certificate(authority(file)?);
                }
                Some(builder.build().map_err(|error| format!("notify.smtp.host cannot be used with TLS: {error}"))?)
            }
        };
        let credentials =
            server.login.as_ref().map(|(name, password)| Credentials::new(name.clone(), password.clone()));
        Ok(Self { server, credentials, tls, hello: ClientId::default() })
    }

    /// Sends a mail, to one recipient. The server's last words.
    ///
    /// # Errors
    /// When it did not take it, as far as is known: after a silence in the last step it may have.
    pub(super) fn send(&self, from: &Address, to: &Address, mail: &[u8]) -> Result<String, MailError> {
        let mut talk = self.open(Instant::now() + self.server.timeout, to)?;
        let answer = talk.transfer(from, mail);
        talk.close();
        answer
    }

    fn open<'a>(&self, deadline: Instant, to: &'a Address) -> Result<Talk<'a>, MailError> {
        let server = (self.server.host.as_str(), self.server.port);
        let wrapped = self.tls.as_ref().filter(|_| self.server.security == Security::Tls);
        let opened = SmtpConnection::connect(server, Some(self.server.timeout), &self.hello, wrapped, None);
        let connection = opened.map_err(|error| told(Step::Connect, &error, to))?;
        let mut talk = Talk { connection, deadline, to };
        let secured = self.secure(&mut talk).and_then(|()| self.log_in(&mut talk));
        if let Err(error) = secured {
            talk.close();
            return Err(error);
        }
        Ok(talk)
    }

    /// A server that offers no TLS gets neither password nor mail.
    fn secure(&self, talk: &mut Talk) -> Result<(), MailError> {
        let Some(tls) = self.tls.as_ref().filter(|_| self.server.security == Security::StartTls) else { return Ok(()) };
        if !talk.connection.can_starttls() {
            let text = "the mail server offers no STARTTLS, so nothing was sent: see notify.smtp.security";
            return Err(MailError::new(Verdict::Later, text));
        }
        talk.step(Step::Secure, |connection| connection.starttls(tls, &self.hello))
    }

    fn log_in(&self, talk: &mut Talk) -> Result<(), MailError> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        talk.step(Step::Login, |connection| connection.auth(&MECHANISMS, credentials).map(|_| ()))
    }
}

/// The certificates in a file, at least one.
fn authority(file: &Path) -> Result<Certificate, String> {
    let wrong = |why: &str| format!("notify.smtp.ca_file: {} {why}", file.display());
    let pem = std::fs::read(file).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
        return Err(wrong("has no certificate in it: it must be PEM"));
    }
    Certificate::from_pem(&pem).map_err(|_| wrong("is no certificate: it must be PEM"))
}

/// A conversation about one mail.
struct Talk<'a> {
    connection: SmtpConnection,
    deadline: Instant,
    to: &'a Address,
}

impl Talk<'_> {
    fn step<T>(
        &mut self,
        step: Step,
        act: impl FnOnce(&mut SmtpConnection) -> Result<T, SmtpError>,
    ) -> Result<T, MailError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_slow(step));
        }
        if self.connection.set_timeout(Some(left)).is_err() {
            return Err(MailError::new(Verdict::Later, "the connection to the mail server broke"));
        }
        act(&mut self.connection).map_err(|error| told(step, &error, self.to))
    }

    fn transfer(&mut self, from: &Address, mail: &[u8]) -> Result<String, MailError> {
        let mut parameters = Vec::new();
        if !AsRef::<str>::as_ref(from).is_ascii() || !AsRef::<str>::as_ref(self.to).is_ascii() {
            if !self.connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let text = "the mail server takes no addresses with letters beyond ASCII (SMTPUTF8)";
                return Err(MailError::new(Verdict::Never, text));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let to = self.to.clone();
        self.step(Step::Sender, |connection| connection.command(Mail::new(Some(from.clone()), parameters)))?;
        self.step(Step::Recipient, |connection| connection.command(Rcpt::new(to, Vec::new())))?;
        self.step(Step::Begin, |connection| connection.command(Data))?;
        let answer = self.step(Step::Content, |connection| connection.message(mail))?;
        Ok(discreet(&answer.message().collect::<Vec<_>>().join(" "), self.to))
    }

    /// Whatever comes of it changes nothing.
    fn close(mut self) {
        if self.connection.set_timeout(Some(GOODBYE)).is_ok() {
            self.connection.abort();
        }
    }
}

fn too_slow(step: Step) -> MailError {
    MailError::new(Verdict::Later, format!("the mail server did not answer in time{}", step.doubt()))
}

/// An error as it is kept: no address in it, the server's own words where there are some.
fn told(step: Step, error: &SmtpError, to: &Address) -> MailError {
    if is_silence(error) {
        return too_slow(step);
    }
    let words = error.source().map_or_else(|| error.to_string(), |source| source.to_string());
    let words = discreet(&words, to);
    let Some(code) = error.status().map(u16::from) else {
        let place = if error.is_tls() { Step::Secure } else { step };
        let prefix = match place {
            Step::Sender | Step::Recipient | Step::Begin | Step::Content => "the connection to the mail server broke",
            Step::Connect | Step::Secure | Step::Login => place.words(),
        };
        return MailError::new(Verdict::Later, format!("{prefix}: {words}{}", place.doubt()));
    };
    let is_final = error.is_permanent() && step.is_about_this_mail() && !LOGIN_CODES.contains(&code);
    let verdict = if is_final { Verdict::Never } else { Verdict::Later };
    MailError::new(verdict, format!("{}: {code} {words}", step.words()))
}

fn is_silence(error: &SmtpError) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let mut source = error.source();
    while let Some(error) = source {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| matches!(error.kind(), TimedOut | WouldBlock)) {
            return true;
        }
        source = error.source();
    }
    false
}

/// A server's words without addresses, the recipient's name in front of the `@` included.
fn discreet(words: &str, to: &Address) -> String {
    let local = to.user().to_lowercase();
    let is_address = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        word.contains('@') || bare == local
    };
    let line = one_line(words, 4 * MAX_ANSWER);
    let kept: Vec<&str> = line.split(' ').map(|word| if is_address(word) { "[address]" } else { word }).collect();
    one_line(&kept.join(" "), MAX_ANSWER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_servers_words_are_kept_without_addresses() {
        let to: Address = "jane.doe@example.com".parse().unwrap();
        let kept = |words: &str| discreet(words, &to);
        assert_eq!(kept("5.1.1 <jane.doe@example.com>: no such user"), "5.1.1 [address] no such user");
        assert_eq!(kept("User 'Jane.Doe' is unknown"), "User [address] is unknown");
        assert_eq!(kept("rejected;sender=<bill@shop.example>\r\nsee x"), "[address] see x");
        assert_eq!(kept(&"no ".repeat(1000)).chars().count(), MAX_ANSWER);
    }
}
