//! One call to Stripe and its answer, as values. Must never do I/O or show a path, a form or an answer in a `Debug`.
//! Made by the flows and by `http/api`, sent by `client.rs`.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::stripe::error::StripeError;

/// A longer idempotency key is refused by Stripe (docs.stripe.com/api/idempotent_requests).
pub(crate) const MAX_KEY_BYTES: usize = 255;
/// A longer path cannot be one of Stripe's: its longest has an id of 255 bytes or two in it.
pub(crate) const MAX_PATH_BYTES: usize = 2048;
/// The longest form. A query has less room: [`MAX_QUERY_BYTES`].
pub const MAX_FORM_BYTES: usize = 1 << 20;
/// The longest query of a GET or DELETE; what the whole URL may have is 64 KiB.
pub(crate) const MAX_QUERY_BYTES: usize = 32 * 1024;

/// What RFC 3986 leaves alone everywhere may stand in a segment of a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An id as a segment of a path.
#[must_use]
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, PLAIN).to_string()
}

/// What is done with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads; changes nothing.
    Get,
    /// Creates or changes; has an idempotency key.
    Post,
    /// Deletes; doing it twice is doing it once.
    Delete,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Somebody's request: first at the token bucket, and given up within a budget.
    Interactive,
    /// Nobody: the outbox, recovery, reconciliation.
    Background,
}

/// One call. Has no `Debug`: ids, forms and keys do not belong into logs.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// What to do.
    pub verb: Verb,
    /// The path, from `/v1/` or `/v2/` on, without query; ids in it percent-encoded where they need it.
    pub path: &'a str,
    /// The encoded parameters: the body of a POST, the query of a GET or DELETE.
    pub form: &'a str,
    /// A POST must have one. Written down with the form before the call is made, and the same in every attempt.
    pub idempotency_key: Option<&'a str>,
    /// Who waits.
    pub priority: Priority,
    /// The value of `Stripe-Context`: the account on whose behalf the call is made.
    pub context: Option<&'a str>,
}

impl Call<'_> {
    /// Refuses what must not or cannot be sent.
    ///
    /// # Errors
    /// [`StripeError::Unsendable`], which names the part and does not show it.
    pub fn check(&self) -> Result<(), StripeError> {
        let fault = self.path_fault().or_else(|| self.form_fault()).or_else(|| self.header_fault());
        fault.map_or(Ok(()), |fault| Err(StripeError::Unsendable(fault)))
    }

    fn path_fault(&self) -> Option<&'static str> {
        let segments = self.path.strip_prefix('/').unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.~%".contains(&byte);
        if segments.is_empty() || self.path.len() > MAX_PATH_BYTES || !self.path.bytes().all(plain) {
            return Some("its path must start with a slash and have ids in it percent-encoded");
        }
        // A path from an id that somebody else chose must not lead elsewhere.
        let leads_elsewhere = segments.split('/').any(|segment| matches!(segment, "" | "." | ".."));
        leads_elsewhere.then_some("its path has an empty or a dotted segment")
    }

    fn form_fault(&self) -> Option<&'static str> {
        let max_bytes = if self.verb == Verb::Post { MAX_FORM_BYTES } else { MAX_QUERY_BYTES };
        if self.form.len() > max_bytes {
            return Some("its parameters are longer than a call may have");
        }
        let encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~*+%&=[]".contains(&byte);
        (!self.form.bytes().all(encoded)).then_some("its parameters are not form-encoded")
    }

    fn header_fault(&self) -> Option<&'static str> {
        let is_word =
            |word: &str| (1..=MAX_KEY_BYTES).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
        match self.idempotency_key {
            None if self.verb == Verb::Post => return Some("a POST needs an idempotency key"),
            Some(key) if !is_word(key) => {
                return Some("its idempotency key must be 1 to 255 visible ASCII characters");
            }
            _ => {}
        }
        let context = self.context.is_some_and(|context| !is_word(context));
        context.then_some("its Stripe-Context must be 1 to 255 visible ASCII characters")
    }
}

/// What Stripe answered with a status of 200 to 299, at once or as the replay of an earlier answer.
#[derive(Clone, PartialEq, Eq)]
pub struct StripeAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON exactly as Stripe sent it.
    pub text: String,
    /// Stripe's `Request-Id`, for its support and its log.
    pub request_id: Option<String>,
    /// An earlier request with the same key was carried out; this is its stored answer.
    pub replayed: bool,
    /// Stripe's own time (its `Date` header), unix seconds.
    pub date_s: Option<i64>,
}

impl fmt::Debug for StripeAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StripeAnswer")
            .field("status", &self.status)
            .field("bytes", &self.text.len())
            .field("request_id", &self.request_id)
            .field("replayed", &self.replayed)
            .field("date_s", &self.date_s)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment() {
        assert_eq!(segment("pi_1-a.b~"), "pi_1-a.b~");
        assert_eq!(segment("a/b?c#d é"), "a%2Fb%3Fc%23d%20%C3%A9");
    }

    const POST: Call<'static> = Call {
        verb: Verb::Post,
        path: "/v1/customers",
        form: "metadata[user_id]=u%201&description=a+b",
        idempotency_key: Some("key-1"),
        priority: Priority::Background,
        context: None,
    };

    fn refused(call: Call, part: &str) {
        let text = call.check().unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn a_post_without_an_idempotency_key_is_refused_and_others_need_none() {
        POST.check().unwrap();
        refused(Call { idempotency_key: None, ..POST }, "idempotency key");
        for verb in [Verb::Get, Verb::Delete] {
            Call { verb, idempotency_key: None, ..POST }.check().unwrap();
        }
    }

    #[test]
    fn a_key_or_context_that_cannot_stand_in_a_header_is_refused_and_not_shown() {
        let long = "hush".repeat(64);
        for word in ["", "hush hush", "hush\r\nX-Evil: 1", "hüsh", "hush\0", &long] {
            refused(Call { idempotency_key: Some(word), ..POST }, "idempotency key");
            refused(Call { context: Some(word), ..POST }, "Stripe-Context");
        }
        Call { idempotency_key: Some(&"k".repeat(255)), context: Some("acct_1"), ..POST }.check().unwrap();
    }

    #[test]
    fn a_path_cannot_lead_elsewhere() {
        let long = format!("/v1/{}", "hush".repeat(600));
        let paths =
            ["", "/", "v1/customers", "//evil.example/hush", "/v1/../hush", "/v1/./hush", "/v1//hush", "/v1/hush/"];
        for path in paths.into_iter().chain(["/v1/hush?a=b", "/v1/hush#a", "/v1/hu sh", "/v1/hush@evil", &long]) {
            refused(Call { path, ..POST }, "its path");
        }
        Call { path: "/v1/prices/a%2Fb.c~d", ..POST }.check().unwrap();
    }

    #[test]
    fn parameters_that_are_not_encoded_or_too_long_are_refused() {
        for form in ["hush hush", "hush#", "hush\r\n", "hüsh", "hush\"", "hush/"] {
            refused(Call { form, ..POST }, "form-encoded");
        }
        let form = "a".repeat(MAX_QUERY_BYTES + 1);
        Call { form: &form, ..POST }.check().unwrap();
        refused(Call { form: &form, verb: Verb::Get, ..POST }, "longer");
        refused(Call { form: &"a".repeat(MAX_FORM_BYTES + 1), ..POST }, "longer");
    }

    #[test]
    fn an_answer_does_not_show_its_text() {
        let text = "{\"client_secret\":\"hush\"}".to_owned();
        let answer =
            StripeAnswer { status: 200, text, request_id: Some("req_1".to_owned()), replayed: true, date_s: Some(1) };
        let shown = format!("{answer:?}");
        assert!(!shown.contains("hush") && shown.contains("req_1") && shown.contains("24"), "{shown}");
    }
}
