//! One attempt to send an event to an endpoint: a signed POST over a kept connection. It must never follow a redirect, use a
//! proxy, keep the answer, or connect where the operator has not allowed it. Called by `jobs::lane` and by `tilld notify
//! test`.

use crate::notify::attempt::DeliveryOutcome;
use std::time::Duration;

use serde_json::value::RawValue;
use ureq::http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use ureq::http::{Request, Response};
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};

use super::sign;
use super::target::{AllowedTargets, TargetGuard, TargetRefused};
use crate::store::outbox::OutboxEffect;
use crate::stripe::signature;

const USER_AGENT: &str = concat!("tilld/", env!("CARGO_PKG_VERSION"));
/// Shorter than receivers keep idle connections (Node.js: 5 s), so that none is used that is just being closed.
const IDLE: Duration = Duration::from_secs(4);
/// The longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// How much of an answer's body is read, so that the connection can be used again; it is discarded.
const MAX_BODY_BYTES: u64 = 16 * 1024;
const GONE: u16 = 410;

/// How long one attempt may take.
#[derive(Debug, Clone, Copy)]
pub struct WebhookTimeouts {
    /// Finding the address, and connecting, each.
    pub connect: Duration,
    /// Silence of the receiver.
    pub silence: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for WebhookTimeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), silence: seconds(10), total: seconds(15) }
    }
}

/// How events are signed.
pub enum WebhookSigning {
    /// By the Standard Webhooks convention, with these keys.
    Standard(Vec<Vec<u8>>),
    /// As Stripe signs, and as Stripe's own tool forwards: the original event alone, with this secret.
    Stripe(String),
}

/// Sends events to one endpoint.
pub struct WebhookSender {
    agent: Agent,
    url: String,
    signing: WebhookSigning,
}

impl WebhookSender {
    /// Sends to `url` what `allowed` permits. Connects to nothing yet.
    #[must_use]
    pub fn new(url: &str, signing: WebhookSigning, allowed: AllowedTargets) -> Self {
        Self::through(TargetGuard::new(allowed), (url, signing), WebhookTimeouts::default())
    }

    /// As [`WebhookSender::new`], with addresses found by `resolver`, and these timeouts.
    #[must_use]
    pub fn through(resolver: impl Resolver, (url, signing): (&str, WebhookSigning), timeouts: WebhookTimeouts) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy from the environment would be connected to instead of the address that was checked.
            .proxy(None)
            .user_agent(USER_AGENT)
            .accept("*/*")
            .max_response_header_size(MAX_HEAD_BYTES)
            .max_idle_age(IDLE)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_read(Some(timeouts.silence))
            .timeout_per_write(Some(timeouts.silence))
            .timeout_global(Some(timeouts.total))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Self { agent, url: url.to_owned(), signing }
    }

    /// Makes one attempt at `now_ms`, unix milliseconds.
    #[must_use]
    pub fn send(&self, effect: &OutboxEffect, now_ms: i64) -> DeliveryOutcome {
        let sent = self.post(&effect.dedupe_key, &effect.payload, now_ms.div_euclid(1000));
        match sent {
            Ok(response) => self.judge(response, now_ms),
            Err(why) => DeliveryOutcome::TryAgain { why, after_s: None },
        }
    }

    fn post(&self, key: &str, payload: &str, now_s: i64) -> Result<Response<Body>, String> {
        let request = Request::post(&self.url).header(CONTENT_TYPE, "application/json");
        let (request, body) = match &self.signing {
            WebhookSigning::Standard(keys) => {
                let id = sign::message_id(key);
                let signatures = sign::signatures(keys, &id, now_s, payload.as_bytes());
                let request = request.header("webhook-id", id).header("webhook-timestamp", now_s);
                (request.header("webhook-signature", signatures), payload)
            }
            WebhookSigning::Stripe(secret) => {
                let body = original(payload).unwrap_or(payload);
                (request.header("stripe-signature", signature::sign(secret, now_s, body.as_bytes())), body)
            }
        };
        let request = request.body(body.as_bytes()).map_err(|_| "its URL cannot be requested".to_owned())?;
        self.agent.run(request).map_err(|error| lost(&error))
    }

    fn judge(&self, response: Response<Body>, now_ms: i64) -> DeliveryOutcome {
        let status = response.status().as_u16();
        let after_s = retry_after_s(response.headers(), now_ms.div_euclid(1000));
        // An endless or broken body changes nothing about the answer.
        let _ = response.into_body().into_with_config().limit(MAX_BODY_BYTES).read_to_vec();
        match status {
            200..300 => DeliveryOutcome::Done(Some(format!("answered {status}"))),
            300..400 => {
                let why = format!("answered {status}, a redirect, which is never followed: name the final URL");
                DeliveryOutcome::TryAgain { why, after_s: None }
            }
            GONE if matches!(self.signing, WebhookSigning::Standard(_)) => DeliveryOutcome::Gone,
            _ => DeliveryOutcome::TryAgain { why: format!("answered {status}"), after_s },
        }
    }
}

/// Stripe's own event in a `stripe.…` one, byte for byte.
#[must_use]
pub fn original(payload: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct ForwardedEvent<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    serde_json::from_str::<ForwardedEvent>(payload).ok().map(|forwarded| forwarded.data.get())
}

/// Seconds from now (RFC 9110, 10.2.3: seconds or a date).
fn retry_after_s(headers: &HeaderMap, now_s: i64) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(i64::MAX));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(at.as_second().saturating_sub(now_s).max(0))
}

/// Why there was no answer, without the URL, which may hold a secret.
fn lost(error: &ureq::Error) -> String {
    use ureq::{Error, Timeout};
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => "no connection in time".to_owned(),
        Error::Timeout(_) => "no answer in time".to_owned(),
        Error::HostNotFound => "its host has no address".to_owned(),
        Error::ConnectionFailed => "no connection".to_owned(),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::Tls(_) | Error::TlsRequired => "no TLS".to_owned(),
        Error::Io(error) => format!("no answer: {error}"),
        Error::LargeResponseHeader(..) => "the head of its answer is too long".to_owned(),
        Error::Protocol(_) | Error::Http(_) | Error::BodyStalled => "what it answered is not HTTP".to_owned(),
        Error::Other(error) if error.is::<TargetRefused>() => error.to_string(),
        _ => "no answer, for an unforeseen reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nothing_else() {
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after_s(&headers, 784_111_700)
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" 0 "), Some(0));
        assert_eq!(after("99999999999999999999"), Some(i64::MAX));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(77));
        assert_eq!(after("Sat, 05 Nov 1994 08:49:37 GMT"), Some(0));
        for wrong in ["", "-5", "soon", "1.5"] {
            assert_eq!(after(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_original_event_is_taken_out_byte_for_byte() {
        let original_event = "{ \"id\" : \"evt_1\",\n \"é\": 1.0 }";
        let payload = format!("{{\"type\":\"stripe.a\",\"timestamp\":\"x\",\"data\":{original_event}}}");
        assert_eq!(original(&payload), Some(original_event));
        assert_eq!(original("{}"), None);
    }
}
