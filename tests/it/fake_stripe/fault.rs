//! Faults on demand: what goes wrong, on which path, how often.

use std::time::Duration;

use serde_json::json;

use super::wire::{Outgoing, Reply};

/// What goes wrong. Faults without "act" in their name change nothing at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No answer, nothing done.
    Hang,
    /// Done, but no answer.
    ActThenHang,
    /// Accepted (its idempotency key is in flight), done and answered after `FakeStripe::release`.
    Hold,
    /// Connection reset, nothing done.
    ResetBefore,
    /// Done, then the connection is reset.
    ActThenReset,
    /// Done, but answered with a 500, which is what is stored under the idempotency key.
    ActThen500,
    /// A 500, nothing done.
    Only500,
    /// 429 of the rate limiter, with `Stripe-Rate-Limited-Reason`.
    RateLimited,
    /// 429 `lock_timeout` of the object lock, without that header.
    LockTimeout,
    /// Any error status, with `Stripe-Should-Retry` if given; nothing done.
    Status(u16, Option<bool>),
    /// Done, but the answer breaks off in the middle.
    Truncated,
    /// Done, but the answer comes in eight pieces, each after so long.
    SlowBody(Duration),
    /// A 502 in HTML, nothing done.
    Html502,
    /// Another server's answer: this status and body, nothing done.
    Says(u16, String),
    /// A 302 to this place, nothing done.
    Redirect(String),
    /// The fake itself panics: what its own test is for.
    Panic,
}

impl Fault {
    /// The reply of a fault that comes before anything is looked at.
    pub fn before(&self) -> Option<Reply> {
        let send = |status, headers, body: String| Some(Reply::Send(Outgoing { status, headers, body: body.into() }));
        let json = ("Content-Type", "application/json".to_owned());
        match self {
            Self::Hang => Some(Reply::Never),
            Self::ResetBefore => Some(Reply::Reset),
            Self::Only500 => send(500, vec![json], server_error()),
            Self::RateLimited => {
                let reason = ("Stripe-Rate-Limited-Reason", "global-rate".to_owned());
                send(429, vec![json, reason], error("rate_limit", "Too many requests."))
            }
            Self::LockTimeout => send(429, vec![json], error("lock_timeout", "This object cannot be accessed now.")),
            Self::Status(status, retry) => {
                let retry = retry.map(|retry| ("Stripe-Should-Retry", retry.to_string()));
                send(*status, [json].into_iter().chain(retry).collect(), error("fake_fault", "A fault on demand."))
            }
            Self::Html502 => {
                let html = ("Content-Type", "text/html".to_owned());
                send(502, vec![html], "<html><body>502 Bad Gateway</body></html>".to_owned())
            }
            Self::Says(status, body) => send(*status, vec![], body.clone()),
            Self::Redirect(place) => send(302, vec![("Location", place.clone())], String::new()),
            Self::Panic => unreachable!("asked to panic"),
            _ => None,
        }
    }

    /// How the answer to a request that was acted on reaches the client.
    pub fn after(&self, answer: Outgoing) -> Reply {
        match self {
            Self::ActThenHang => Reply::Never,
            Self::ActThenReset => Reply::Reset,
            Self::Truncated => Reply::Half(answer),
            Self::SlowBody(pause) => Reply::Slow(answer, *pause),
            _ => Reply::Send(answer),
        }
    }
}

/// The body of a 500.
pub fn server_error() -> String {
    json!({ "error": { "type": "api_error", "message": "Something went wrong on our side." } }).to_string()
}

fn error(code: &str, message: &str) -> String {
    json!({ "error": { "type": "invalid_request_error", "code": code, "message": message } }).to_string()
}

/// A fault that waits for its requests.
struct Planned {
    fault: Fault,
    pattern: String,
    left: usize,
}

/// All that are planned, in the order of planning.
#[derive(Default)]
pub struct Faults(Vec<Planned>);

impl Faults {
    pub fn plan(&mut self, fault: Fault, pattern: &str, times: usize) {
        self.0.push(Planned { fault, pattern: pattern.to_owned(), left: times });
    }

    /// The first that fits and is not used up.
    pub fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let planned = self.0.iter_mut().find(|planned| planned.left > 0 && matches(&planned.pattern, method, path))?;
        planned.left -= 1;
        Some(planned.fault.clone())
    }
}

/// `/v1/customers/*`, or with a method: `POST /v1/customers`. A star stands for one part; `/**` at the end for the rest.
pub fn matches(pattern: &str, method: &str, path: &str) -> bool {
    let (wanted, pattern) = pattern.split_once(' ').map_or((None, pattern), |(method, rest)| (Some(method), rest));
    if wanted.is_some_and(|wanted| wanted != method) {
        return false;
    }
    if let Some(start) = pattern.strip_suffix("/**") {
        return path.starts_with(start);
    }
    let (parts, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), pattern.split('/').collect());
    parts.len() == pattern.len() && pattern.iter().zip(&parts).all(|(pattern, part)| *pattern == "*" || pattern == part)
}
