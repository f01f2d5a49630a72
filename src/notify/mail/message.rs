//! A mail as it is sent: addresses checked, headers, both parts. `lettre` encodes what is not ASCII and keeps every value
//! inside its header. It must never send anything. Called by `mail`.

use std::str::FromStr;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use sha2::{Digest, Sha256};

use crate::notify::text::one_line;

/// The longest address that a mail can go to (RFC 5321, 4.5.3.1.3).
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_BYTES: usize = 64;
const MAX_SUBJECT: usize = 200;
const MAX_SENDER_NAME: usize = 100;
/// How many bytes of the hash make a Message-ID.
const ID_BYTES: usize = 16;

/// Checks a mail address. The error does not quote it, since it is logged.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let address = Address::from_str(text).map_err(|error| format!("the mail address is not valid: {error}"))?;
    if text.len() > MAX_ADDRESS_BYTES || address.user().len() > MAX_LOCAL_BYTES {
        return Err(format!("the mail address is not valid: it has more than {MAX_ADDRESS_BYTES} bytes"));
    }
    Ok(address)
}

/// Reads a sender: an address, or a name and an address in angle brackets.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('<') else { return Ok(Mailbox::new(None, address(text)?)) };
    let inner = rest.strip_suffix('>').ok_or("write a name, and after it the mail address in angle brackets")?;
    let name = one_line(name.trim().trim_matches('"'), MAX_SENDER_NAME);
    Ok(Mailbox::new((!name.is_empty()).then_some(name), address(inner.trim())?))
}

/// The parts of a mail.
pub(super) struct MailContent {
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// Who mails are from.
pub(super) struct MailSender {
    pub(super) from: Mailbox,
    pub(super) reply_to: Option<Mailbox>,
}

impl MailSender {
    /// The same for the same seed, so that whoever gets a mail twice can tell.
    pub(super) fn message_id(&self, seed: &str) -> String {
        let digest = Sha256::digest(seed.as_bytes());
        format!("<{}.tilld@{}>", hex::encode(&digest[..ID_BYTES]), self.from.email.domain())
    }

    /// Puts a mail together.
    pub(super) fn message(&self, to: Mailbox, content: MailContent, message_id: &str) -> Result<Message, String> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(one_line(&content.subject, MAX_SUBJECT))
            .message_id(Some(message_id.to_owned()))
            .date_now()
            .raw_header(automatic());
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        let parts = MultiPart::alternative_plain_html(content.text, content.html);
        builder.multipart(parts).map_err(|error| format!("the mail cannot be put together: {error}"))
    }
}

/// So that no out-of-office reply is sent (RFC 3834).
fn automatic() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_quoted_in_the_error() {
        let long = format!("{}@example.com", "a".repeat(65));
        let longer = format!("a@{}.example", "b".repeat(250));
        let wrong = [
            "",
            "jane",
            "jane@",
            "@example.com",
            "jane doe@example.com",
            "jane@exa mple.com",
            "a@b.c\r\nRCPT TO:<x@y.z>",
            "a@b.c,d@e.f",
            "<a@b.c>",
            "jane@example.com\n",
            &long,
            &longer,
        ];
        for text in wrong {
            let error = address(text).unwrap_err();
            assert!(!error.contains("jane") && !error.contains("RCPT"), "{error}");
        }
        for text in ["jane@example.com", "jane+till@mail.example.co.uk", "o'neill@example.com", "a@localhost"] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        let name = |text: &str| mailbox(text).unwrap().name;
        assert_eq!(name("a@b.example"), None);
        assert_eq!(name("<a@b.example>"), None);
        assert_eq!(name("Shop, Ltd. <a@b.example>").as_deref(), Some("Shop, Ltd."));
        assert_eq!(name("\"Übung & Söhne\" <a@b.example>").as_deref(), Some("Übung & Söhne"));
        assert_eq!(name("Shop\r\nBcc: x@y.z <a@b.example>").as_deref(), Some("Shop Bcc: x@y.z"));
        for wrong in ["Shop", "Shop <a@b.example", "Shop <a>", "Shop <a@b.example> x"] {
            assert!(mailbox(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_message_id_is_the_rows_and_hides_it() {
        let sender = MailSender { from: mailbox("Shop <billing@shop.example>").unwrap(), reply_to: None };
        let id = sender.message_id("mail:payment_failed:in_1:1");
        assert_eq!(id, sender.message_id("mail:payment_failed:in_1:1"));
        assert_ne!(id, sender.message_id("mail:payment_failed:in_1:2"));
        assert!(id.ends_with(".tilld@shop.example>") && !id.contains("in_1"), "{id}");
        assert_eq!(id.len(), "<.tilld@shop.example>".len() + 32);
    }
}
