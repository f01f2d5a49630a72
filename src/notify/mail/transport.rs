//! One SMTP session per mail, step by step, so that it is known what was refused: whether login or sender is accepted depends
//! on the configuration and may change, a refused recipient stays refused. The whole session, connecting included, must end
//! within the mail's timeout (`wire`). It must never put an address into an error. Called by `mail`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lettre::Address;
use lettre::transport::smtp::extension::ClientId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::wire::{SmtpReply, SmtpTimeouts, SmtpWire, WireError};
use super::{MailError, SmtpSecurity, SmtpServer};
use crate::base::thread::Stop;
use crate::base::verdict::FailureVerdict;
use crate::notify::text::one_line;

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long QUIT may take: whether the mail was accepted is known by then.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a server's answer is kept.
const MAX_ANSWER: usize = 200;
/// Answers that require a login, in whatever step (RFC 4954).
const LOGIN_CODES: [u16; 4] = [530, 534, 535, 538];

/// How far a mail got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SmtpStep {
    Connect,
    Secure,
    Login,
    Sender,
    Recipient,
    Begin,
    Content,
}

impl SmtpStep {
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

    /// Whether a final refusal in this step concerns this mail alone.
    fn is_about_this_mail(self) -> bool {
        matches!(self, Self::Recipient | Self::Begin | Self::Content)
    }

    /// What is added to an error if the server may have accepted the mail although it did not answer.
    fn doubt(self) -> &'static str {
        if self == Self::Content { "; it may have taken the mail" } else { "" }
    }
}

struct SmtpTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The way to a mail server.
pub(super) struct SmtpTransport {
    server: SmtpServer,
    tls: Option<SmtpTls>,
    hello: ClientId,
    stop: Option<Stop>,
}

impl SmtpTransport {
    /// # Errors
    /// When no certificate can be for the server's name, or `ca_file` cannot be used.
    pub(super) fn new(mut server: SmtpServer) -> Result<Self, String> {
        // The resolver takes an IPv6 address without its brackets.
        server.host = server.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match server.security {
            SmtpSecurity::None => None,
            SmtpSecurity::StartTls | SmtpSecurity::Tls => Some(tls(&server)?),
        };
        Ok(Self { server, tls, hello: ClientId::default(), stop: None })
    }

    /// Ends a session at this stop.
    pub(super) fn set_stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
    }

    /// Sends a mail to one recipient. The server's answer.
    ///
    /// # Errors
    /// When the server did not accept it, as far as is known: if it did not answer in the last step, it may have.
    pub(super) fn send(&self, from: &Address, to: &Address, mail: &[u8]) -> Result<String, MailError> {
        let timeouts = SmtpTimeouts::new(self.server.timeout, self.stop.clone());
        let wire = SmtpWire::open((self.server.host.as_str(), self.server.port), timeouts);
        let wire = wire.map_err(|error| mail_error(SmtpStep::Connect, &error, to))?;
        let mut session = SmtpSession { wire, offers: Vec::new(), to };
        let answer = self.begin(&mut session).and_then(|()| session.transfer(from, mail));
        session.close();
        answer
    }

    fn begin(&self, session: &mut SmtpSession) -> Result<(), MailError> {
        if self.server.security == SmtpSecurity::Tls {
            self.secure(session)?;
        }
        session.read_reply(SmtpStep::Connect)?;
        session.greet(&self.hello)?;
        if self.server.security == SmtpSecurity::StartTls {
            // A server that offers no TLS gets neither password nor mail.
            if !session.offers("STARTTLS") {
                let text = "the mail server offers no STARTTLS, so nothing was sent: see notify.smtp.security";
                return Err(MailError::new(FailureVerdict::Retry, text));
            }
            session.step(SmtpStep::Secure, "STARTTLS")?;
            self.secure(session)?;
            session.greet(&self.hello)?;
        }
        self.log_in(session)
    }

    fn secure(&self, session: &mut SmtpSession) -> Result<(), MailError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        session.wire.secure(&tls.config, &tls.name).map_err(|error| mail_error(SmtpStep::Secure, &error, session.to))
    }

    fn log_in(&self, session: &mut SmtpSession) -> Result<(), MailError> {
        let Some((name, password)) = &self.server.login else { return Ok(()) };
        let ways = session.offer("AUTH").unwrap_or_default();
        let has = |way: &str| ways.split_whitespace().any(|offered| offered.eq_ignore_ascii_case(way));
        if has("PLAIN") {
            let both = BASE64_STANDARD.encode(format!("\0{name}\0{password}"));
            return session.step(SmtpStep::Login, &format!("AUTH PLAIN {both}")).map(|_| ());
        }
        if !has("LOGIN") {
            let text = format!("{}: it offers neither PLAIN nor LOGIN", SmtpStep::Login.words());
            return Err(MailError::new(FailureVerdict::Retry, text));
        }
        session.step(SmtpStep::Login, "AUTH LOGIN")?;
        session.step(SmtpStep::Login, &BASE64_STANDARD.encode(name))?;
        session.step(SmtpStep::Login, &BASE64_STANDARD.encode(password)).map(|_| ())
    }
}

fn tls(server: &SmtpServer) -> Result<SmtpTls, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("notify.smtp.host cannot be used with TLS: {error}");
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = &server.ca_file {
        authority(file, &mut roots)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map_err(|error| wrong(&error))?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(server.host.clone()).map_err(|error| wrong(&error))?;
    Ok(SmtpTls { config: Arc::new(config), name })
}

/// Adds the certificates in a file, at least one.
fn authority(file: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let wrong = |why: &str| format!("notify.smtp.ca_file: {} {why}", file.display());
    let pem = std::fs::read(file).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    if !pem.windows(CERTIFICATE.len()).any(|part| part == CERTIFICATE) {
        return Err(wrong("has no certificate in it: it must be PEM"));
    }
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate.map_err(|_| ()).and_then(|certificate| roots.add(certificate).map_err(|_| ()));
        added.map_err(|()| wrong("is not a certificate: it must be PEM"))?;
    }
    Ok(())
}

/// A session for one mail.
struct SmtpSession<'a> {
    wire: SmtpWire,
    /// What the server can do, a line each.
    offers: Vec<String>,
    to: &'a Address,
}

impl SmtpSession<'_> {
    fn read_reply(&mut self, step: SmtpStep) -> Result<SmtpReply, MailError> {
        let answer = self.wire.read_reply().map_err(|error| mail_error(step, &error, self.to))?;
        if (200..400).contains(&answer.code) { Ok(answer) } else { Err(refused(step, &answer, self.to)) }
    }

    fn step(&mut self, step: SmtpStep, command: &str) -> Result<SmtpReply, MailError> {
        self.wire.write(format!("{command}\r\n").as_bytes()).map_err(|error| mail_error(step, &error, self.to))?;
        self.read_reply(step)
    }

    fn greet(&mut self, hello: &ClientId) -> Result<(), MailError> {
        self.offers = self.step(SmtpStep::Connect, &format!("EHLO {hello}"))?.lines;
        Ok(())
    }

    /// What follows the word of something that the server can do.
    fn offer(&self, word: &str) -> Option<&str> {
        self.offers.iter().find_map(|line| {
            let (first, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
            first.eq_ignore_ascii_case(word).then_some(rest)
        })
    }

    fn offers(&self, word: &str) -> bool {
        self.offer(word).is_some()
    }

    fn transfer(&mut self, from: &Address, mail: &[u8]) -> Result<String, MailError> {
        let mut parameters = "";
        if !AsRef::<str>::as_ref(from).is_ascii() || !AsRef::<str>::as_ref(self.to).is_ascii() {
            if !self.offers("SMTPUTF8") {
                let text = "the mail server takes no addresses with letters beyond ASCII (SMTPUTF8)";
                return Err(MailError::new(FailureVerdict::GiveUp, text));
            }
            parameters = " SMTPUTF8";
        }
        self.step(SmtpStep::Sender, &format!("MAIL FROM:<{from}>{parameters}"))?;
        self.step(SmtpStep::Recipient, &format!("RCPT TO:<{}>", self.to))?;
        self.step(SmtpStep::Begin, "DATA")?;
        // A stop from now on may come after the server has accepted the mail.
        self.wire.expect_last_reply();
        self.wire.write(&dotted(mail)).map_err(|error| mail_error(SmtpStep::Content, &error, self.to))?;
        let answer = self.read_reply(SmtpStep::Content)?;
        Ok(without_addresses(&answer.words(), self.to))
    }

    /// Ends the session; a failure changes nothing.
    fn close(mut self) {
        self.wire.limit(QUIT_TIMEOUT);
        if self.wire.write(b"QUIT\r\n").is_ok() {
            let _ = self.wire.read_reply();
        }
    }
}

/// A mail as SMTP sends it (RFC 5321, 4.5.2): one more dot in front of each line that begins with one, and the end.
fn dotted(mail: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(mail.len() + 64);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn refused(step: SmtpStep, answer: &SmtpReply, to: &Address) -> MailError {
    let SmtpReply { code, .. } = answer;
    let is_final = *code >= 500 && step.is_about_this_mail() && !LOGIN_CODES.contains(code);
    let verdict = if is_final { FailureVerdict::GiveUp } else { FailureVerdict::Retry };
    MailError::new(verdict, format!("{}: {code} {}", step.words(), without_addresses(&answer.words(), to)))
}

/// An error as it is kept: no address in it.
fn mail_error(step: SmtpStep, error: &WireError, to: &Address) -> MailError {
    let words = without_addresses(&error.to_string(), to);
    let doubt = step.doubt();
    match error {
        WireError::TimedOut => {
            MailError::new(FailureVerdict::Retry, format!("the mail server did not answer in time{doubt}"))
        }
        WireError::Stopped => MailError::new(FailureVerdict::Wait, "tilld is stopping"),
        WireError::Unreachable(_) => {
            MailError::new(FailureVerdict::Retry, format!("{}: {words}", SmtpStep::Connect.words()))
        }
        WireError::Insecure(_) => {
            MailError::new(FailureVerdict::Retry, format!("{}: {words}", SmtpStep::Secure.words()))
        }
        WireError::Broken(_) => {
            let prefix = match step {
                SmtpStep::Sender | SmtpStep::Recipient | SmtpStep::Begin | SmtpStep::Content => {
                    "the connection to the mail server broke"
                }
                SmtpStep::Connect | SmtpStep::Secure | SmtpStep::Login => step.words(),
            };
            MailError::new(FailureVerdict::Retry, format!("{prefix}: {words}{doubt}"))
        }
    }
}

/// A server's words without addresses, the recipient's name in front of the `@` included.
fn without_addresses(words: &str, to: &Address) -> String {
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
        let kept = |words: &str| without_addresses(words, &to);
        assert_eq!(kept("5.1.1 <jane.doe@example.com>: no such user"), "5.1.1 [address] no such user");
        assert_eq!(kept("User 'Jane.Doe' is unknown"), "User [address] is unknown");
        assert_eq!(kept("rejected;sender=<bill@shop.example>\r\nsee x"), "[address] see x");
        assert_eq!(kept(&"no ".repeat(1000)).chars().count(), MAX_ANSWER);
    }

    #[test]
    fn a_line_that_begins_with_a_dot_does_not_end_the_mail() {
        assert_eq!(dotted(b"a\r\n.\r\n..b\r\n"), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(dotted(b"a"), b"a\r\n.\r\n");
    }
}
