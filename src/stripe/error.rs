//! What can go wrong with a call to Stripe, by what the caller can do. Must never hold a key, a URL, a form or an
//! answer; Stripe's own message is kept for the caller and shown by no `Display` or `Debug`, since it may quote mail
//! addresses. Made by `client.rs`, read by whoever calls.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::verdict::FailureVerdict;

/// Characters of Stripe's message that are kept; its longest have some 500.
const MAX_MESSAGE_CHARS: usize = 2000;
/// Why an answer was not read to its end.
pub(in crate::stripe) const TOO_LONG: &str = "it is longer than an answer may be";
/// Longer words (codes, ids, parameter names) are not Stripe's.
const MAX_WORD_BYTES: usize = 255;

/// A limit of ours that was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimitKind {
    /// No turn at the token bucket within the call's budget.
    Turn,
    /// No connection in time.
    Connect,
    /// Silence, while an answer was waited for or read.
    Read,
    /// The request could not be written in time.
    Write,
    /// The attempt as a whole took too long.
    Total,
}

impl fmt::Display for RateLimitKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Turn => "too many calls were waiting before it",
            Self::Connect => "no connection in time",
            Self::Read => "silence for too long",
            Self::Write => "the request could not be sent in time",
            Self::Total => "no whole answer in time",
        })
    }
}

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// A fault of ours: never sent.
    #[error("the call to Stripe was not made: {0}")]
    Unsendable(&'static str),
    /// Stripe's own error.
    #[error("{0}")]
    Api(Box<StripeApiError>),
    /// No answer, or not all of it.
    #[error(
        "no answer from Stripe: {reason}; the request {}",
        if *reached { "may have been carried out" } else { "did not reach it" }
    )]
    Transport {
        /// Our limit that was hit, if it was one.
        limit: Option<RateLimitKind>,
        /// Whether the whole request can have reached Stripe.
        reached: bool,
        /// In words.
        reason: String,
    },
    /// An answer that Stripe's API does not give.
    #[error("Stripe's answer cannot be used{}: {reason}{}", status_words(*status), id_words(request_id.as_deref()))]
    Unreadable {
        /// The HTTP status, if there was one.
        status: Option<u16>,
        /// In words.
        reason: &'static str,
        /// Stripe's `Request-Id`.
        request_id: Option<String>,
    },
    /// At least one of several attempts may have been carried out, and no later one could show it.
    #[error("the outcome is not known after {attempts} attempts; the last: {last}")]
    InDoubt {
        /// Attempts made.
        attempts: u32,
        /// What the last one met.
        last: Box<StripeError>,
    },
}

fn status_words(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!(" (status {status})"))
}

fn id_words(request_id: Option<&str>) -> String {
    request_id.map_or_else(String::new, |id| format!(" request_id={id}"))
}

impl StripeError {
    /// What to do now. [`FailureVerdict::Retry`]: ask again, same key, same bytes. [`FailureVerdict::GiveUp`]: refused, nothing was
    /// done; a new try is a new request. [`FailureVerdict::Wait`]: it may have been done, and asking again at once does not help:
    /// keep the key, ask again later.
    #[must_use]
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Unsendable(_) => FailureVerdict::GiveUp,
            Self::Api(error) => error.verdict(),
            Self::Transport { .. } => FailureVerdict::Retry,
            Self::Unreadable { .. } | Self::InDoubt { .. } => FailureVerdict::Wait,
        }
    }

    /// Whether what was asked for may have been done, as far as this attempt shows.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unsendable(_) => false,
            Self::Api(error) => error.may_have_been_done(),
            Self::Transport { reached, .. } => *reached,
            Self::Unreadable { .. } | Self::InDoubt { .. } => true,
        }
    }

    /// Whether this answer also shows that earlier attempts with the same key and bytes did nothing (or is the stored
    /// answer to them). Stripe compares the key after it has checked who asks and how often, so answers from before
    /// that point show nothing.
    #[must_use]
    pub(crate) fn settles_earlier_attempts(&self) -> bool {
        matches!(self, Self::Api(error) if self.verdict() == FailureVerdict::GiveUp && !matches!(error.status, 401 | 403 | 407 | 409 | 429))
    }

    /// Whether the answer was longer than an answer may be: a list may be asked for fewer objects.
    #[must_use]
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, Self::Unreadable { reason, .. } if *reason == TOO_LONG)
    }

    /// Stripe's own error, also of the last attempt of a call in doubt.
    #[must_use]
    pub fn api(&self) -> Option<&StripeApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::InDoubt { last, .. } => last.api(),
            _ => None,
        }
    }
}

/// What the headers of an answer say beside its body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerHeaders {
    /// `Request-Id`.
    pub request_id: Option<String>,
    /// `Stripe-Should-Retry`.
    #[serde(skip)]
    pub should_retry: Option<bool>,
    /// `Stripe-Rate-Limited-Reason`, as in `global-rate` or `endpoint-concurrency`.
    #[serde(skip)]
    pub rate_limited: Option<String>,
    /// `Idempotent-Replayed`: the stored answer to an earlier request with the same key.
    #[serde(skip)]
    pub replayed: bool,
}

/// An error that Stripe answered with (docs.stripe.com/api/errors). Written down, it is the answer to whoever repeats what
/// was refused.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StripeApiError {
    /// The HTTP status.
    pub status: u16,
    /// `type`: `card_error`, `invalid_request_error`, `api_error`, `idempotency_error`; absent if the body was not
    /// Stripe's JSON.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `code`, as in `resource_missing`.
    pub code: Option<String>,
    /// `decline_code` of a declined card.
    pub decline_code: Option<String>,
    /// The parameter that is wrong.
    pub param: Option<String>,
    /// Stripe's message. Only that of a `card_error` is meant for users; may quote mail addresses.
    pub message: Option<String>,
    /// The payment intent that the error is about.
    pub payment_intent: Option<String>,
    /// What the headers said.
    #[serde(flatten)]
    pub facts: AnswerHeaders,
}

impl StripeApiError {
    /// Reads the body of an answer other than success. Any body will do: what is not there is `None`. `secret` is taken
    /// out wherever it is quoted.
    #[must_use]
    pub fn read(status: u16, facts: AnswerHeaders, body: &[u8], secret: &str) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &body["error"];
        let word = |name: &str| error[name].as_str().and_then(|text| word(text, secret));
        let mut read = Self { status, facts, ..Self::default() };
        if let Some(code) = error.as_str() {
            // OAuth: {"error":"invalid_grant","error_description":"…"}
            read.code = self::word(code, secret);
            read.message = body["error_description"].as_str().map(|text| message(text, secret));
            return read;
        }
        (read.kind, read.code, read.decline_code, read.param) =
            (word("type"), word("code"), word("decline_code"), word("param"));
        read.message = error["message"].as_str().map(|text| message(text, secret));
        let intent = &error["payment_intent"];
        read.payment_intent = intent["id"].as_str().or(intent.as_str()).and_then(|id| self::word(id, secret));
        read
    }

    /// Whether its body is that of Stripe's API, and not the page of a proxy or of another server.
    #[must_use]
    pub(crate) fn is_stripes(&self) -> bool {
        self.kind.is_some() || self.code.is_some()
    }

    /// `Stripe-Should-Retry` first, then the status: 409 (key in use, conflict), 424, 429, 5xx.
    #[must_use]
    pub fn verdict(&self) -> FailureVerdict {
        let passing = matches!(self.status, 409 | 424 | 429 | 500..);
        match self.facts.should_retry.unwrap_or(passing) {
            true => FailureVerdict::Retry,
            false if self.may_have_been_done() => FailureVerdict::Wait,
            false => FailureVerdict::GiveUp,
        }
    }

    /// Stripe calls a 5xx indeterminate, also a stored one; a key in use is at work right now.
    #[must_use]
    pub fn may_have_been_done(&self) -> bool {
        self.status == 424 || self.status >= 500 || self.code.as_deref() == Some("idempotency_key_in_use")
    }

    /// Whether calls came too fast. A 429 without that reason can be an object that is locked by another call.
    #[must_use]
    pub(crate) fn is_rate_limit(&self) -> bool {
        self.status == 429 && (self.facts.rate_limited.is_some() || self.code.as_deref() != Some("lock_timeout"))
    }
}

impl fmt::Display for StripeApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Stripe answered with status {}", self.status)?;
        let words = [
            ("type", &self.kind),
            ("code", &self.code),
            ("decline_code", &self.decline_code),
            ("param", &self.param),
            ("rate_limited", &self.facts.rate_limited),
            ("request_id", &self.facts.request_id),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                write!(out, " {name}={word}")?;
            }
        }
        match self.status {
            401 => out.write_str("; check stripe.api_key"),
            403 => out.write_str("; give the key of stripe.api_key this permission"),
            400..=499 if !self.is_stripes() => out.write_str(", and not as Stripe does; check stripe.api_base"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for StripeApiError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::error::Error for StripeApiError {}

/// A code, an id or the like; nothing that could forge a line of a log.
pub(in crate::stripe) fn word(text: &str, secret: &str) -> Option<String> {
    let text = hide(text, secret);
    let plain = (1..=MAX_WORD_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then_some(text)
}

fn message(text: &str, secret: &str) -> String {
    hide(text, secret).chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect()
}

/// `text` without `secret`.
pub(in crate::stripe) fn hide(text: &str, secret: &str) -> String {
    if secret.is_empty() { text.to_owned() } else { text.replace(secret, "[redacted]") }
}

#[cfg(test)]
mod tests;
