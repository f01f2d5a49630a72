//! The calls to Stripe's API: the only Stripe I/O, over blocking `ureq`. Must never follow a redirect, wait without a
//! limit, or put the key, a URL, a form or an answer into a log, an error or a `Debug`. Called by the flows and by
//! `http/api`, outside any transaction.
//!
//! No environment variable is read: a proxy comes in the [`StripeSettings`] and is asked for a tunnel (CONNECT), so that it does
//! not see the key; loopback hosts, and so all plain http, are called past it. No answer is compressed: `ureq` is built without gzip.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use ureq::{Agent, AsSendBody, Body, SendBody};

use crate::base::host::is_this_machine;
use crate::base::metrics::{self, CallOutcome, Metrics};
use crate::base::retry::jitter_of;
use crate::base::verdict::FailureVerdict;
use crate::stripe::backoff::{Backoff, BackoffCourse};
use crate::stripe::bucket::{Bucket, NoTurn};
use crate::stripe::call::{Call, Priority, StripeAnswer, Verb};
use crate::stripe::error::{AnswerHeaders, RateLimitKind, StripeApiError, StripeError, TOO_LONG, word};
use crate::stripe::settings::{ProxyUrl, StripeSettings};

const USER_AGENT: &str = concat!("tilld/", env!("CARGO_PKG_VERSION"));
/// The longest head of an answer; Stripe's have about 2 KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The client. Cheap to clone; all clones share connections and bucket, and are counted where the first one was.
#[derive(Clone)]
pub struct Client(Arc<ClientParts>, Option<Arc<Metrics>>);

struct ClientParts {
    agent: Agent,
    bucket: Bucket,
    settings: StripeSettings,
    /// Without a slash at its end.
    base: String,
    authorization: HeaderValue,
    version: HeaderValue,
    /// Calls begun. Makes the jitter of two equal calls differ.
    calls: AtomicU64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Client")
    }
}

impl Client {
    /// A client with these settings. Connects to nothing yet.
    ///
    /// # Errors
    /// [`StripeError::Unsendable`] names the key of the configuration that is wrong.
    pub fn new(settings: StripeSettings) -> Result<Self, StripeError> {
        let Base { url: base, is_plain, is_local } = base(&settings.api_base)?;
        let key = settings.api_key.expose();
        let wrong_key = "stripe.api_key is blank or has characters that a key cannot have";
        let mut authorization = header_value("Bearer ", key, wrong_key)?;
        authorization.set_sensitive(true);
        let version = header_value("", &settings.api_version, "stripe.api_version cannot stand in a header")?;
        let proxy = settings.proxy.as_ref().filter(|_| !is_local).map(proxy).transpose()?;
        let config = Agent::config_builder()
            .https_only(!is_plain)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .user_agent(USER_AGENT)
            .accept("application/json")
            .max_response_header_size(MAX_HEAD_BYTES)
            .timeout_resolve(Some(settings.connect_timeout))
            .timeout_connect(Some(settings.connect_timeout))
            .timeout_per_read(Some(settings.read_timeout))
            .timeout_per_write(Some(settings.read_timeout))
            .timeout_global(Some(settings.total_timeout))
            .build();
        let bucket = Bucket::new(settings.calls_per_s, settings.burst);
        let (agent, calls) = (Agent::new_with_config(config), AtomicU64::new(0));
        Ok(Self(Arc::new(ClientParts { agent, bucket, settings, base, authorization, version, calls }), None))
    }

    /// The same client, whose calls are counted.
    #[must_use]
    pub fn counted_by(self, metrics: Arc<Metrics>) -> Self {
        Self(self.0, Some(metrics))
    }

    /// Makes the call, again and again with the same key and bytes where that can help, within the limits of the
    /// settings.
    ///
    /// # Errors
    /// The last attempt's, or [`StripeError::InDoubt`] if one of them may have been carried out. With
    /// [`Verdict::Retry`](crate::base::verdict::FailureVerdict::Retry) nothing was done, and a later try may help.
    pub fn call(&self, call: &Call) -> Result<StripeAnswer, StripeError> {
        self.call_for(if call.verb == Verb::Get { metrics::READ } else { metrics::OTHER }, call)
    }

    /// As [`Self::call`], counted as a call for this operation.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub(crate) fn call_for(&self, operation: &str, call: &Call) -> Result<StripeAnswer, StripeError> {
        let began = Instant::now();
        let outcome = self.repeat(call);
        if let Some(metrics) = &self.1 {
            metrics.stripe_call(operation, counted_as(call.verb, &outcome), began.elapsed());
        }
        outcome
    }

    fn repeat(&self, call: &Call) -> Result<StripeAnswer, StripeError> {
        call.check()?;
        let backoff = self.backoff(call.priority);
        let number = self.0.calls.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{number} {}", call.idempotency_key.unwrap_or_default());
        let began = Instant::now();
        let mut course = BackoffCourse::default();
        loop {
            let left = backoff.budget.saturating_sub(began.elapsed());
            let error = match self.attempt(call, left) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let jitter = jitter_of(&seed, course.attempts() + 1);
            match course.after(&error, &backoff, began.elapsed(), jitter) {
                Some(pause) if self.0.bucket.rest(pause) => {
                    log::warn!(attempt = course.attempts() + 1, error:% = error; "a call to Stripe is tried again");
                }
                _ => return Err(course.conclude(call.verb, error)),
            }
        }
    }

    /// Lets nobody wait or rest any longer, and no call begin: the daemon is stopping. What is on its way comes to its
    /// own end.
    pub fn close(&self) {
        self.0.bucket.close();
    }

    /// Whether it was.
    #[must_use]
    pub(crate) fn is_closed(&self) -> bool {
        self.0.bucket.is_closed()
    }

    fn backoff(&self, priority: Priority) -> Backoff {
        let settings = &self.0.settings;
        let budget = match priority {
            Priority::Interactive => settings.interactive_budget,
            Priority::Background => settings.background_budget,
        };
        let (max_attempts, base, cap) = (settings.max_attempts, settings.backoff_base, settings.backoff_cap);
        Backoff { max_attempts, base, cap, budget }
    }

    /// One attempt, its turn at the bucket included, within `left`.
    fn attempt(&self, call: &Call, left: Duration) -> Result<StripeAnswer, StripeError> {
        let began = Instant::now();
        self.0.bucket.take(call.priority, left).map_err(no_turn)?;
        let timeout = left.saturating_sub(began.elapsed()).min(self.0.settings.total_timeout);
        let (status, facts, date_s, body) = self.exchange(call, timeout)?;
        if (200..300).contains(&status) {
            let text = String::from_utf8(body).ok().filter(|text| is_json(text));
            let AnswerHeaders { request_id, replayed, .. } = facts;
            let Some(text) = text else {
                return Err(StripeError::Unreadable {
                    status: Some(status),
                    reason: "it is not JSON; check stripe.api_base",
                    request_id,
                });
            };
            return Ok(StripeAnswer { status, text, request_id, replayed, date_s });
        }
        if (300..400).contains(&status) {
            let reason = "it is a redirect, which is never followed; check stripe.api_base";
            return Err(StripeError::Unreadable { status: Some(status), reason, request_id: facts.request_id });
        }
        let error = StripeApiError::read(status, facts, &body, self.0.settings.api_key.expose());
        if error.is_rate_limit() {
            self.0.bucket.empty(self.0.settings.rate_limited_pause);
        }
        Err(StripeError::Api(Box::new(error)))
    }

    /// Sends the request and reads the whole answer: status, headers, `Date`, body.
    fn exchange(
        &self,
        call: &Call,
        timeout: Duration,
    ) -> Result<(u16, AnswerHeaders, Option<i64>, Vec<u8>), StripeError> {
        let request = self.request(call)?;
        // Reading moves it forward, so that it shows afterwards how much was taken: a request that was not written to its
        // end cannot have been carried out.
        let mut form = call.form.as_bytes();
        let result = match call.verb {
            Verb::Post => self.run(request.map(|()| SendBody::from_reader(&mut form)), timeout),
            Verb::Get | Verb::Delete => self.run(request, timeout),
        };
        let sent = call.verb != Verb::Post || form.is_empty();
        let response = result.map_err(|error| lost(error, sent))?;
        let (status, facts) = (response.status().as_u16(), self.facts(response.headers()));
        let date_s = date_s(response.headers());
        let body = self.body(response).map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => {
                let (reason, request_id) = (TOO_LONG, facts.request_id.clone());
                StripeError::Unreadable { status: Some(status), reason, request_id }
            }
            error => lost(error, true),
        })?;
        Ok((status, facts, date_s, body))
    }

    fn run(&self, request: Request<impl AsSendBody>, timeout: Duration) -> Result<Response<Body>, ureq::Error> {
        let agent = &self.0.agent;
        agent.run(agent.configure_request(request).timeout_global(Some(timeout)).build())
    }

    fn request(&self, call: &Call) -> Result<Request<()>, StripeError> {
        let is_post = call.verb == Verb::Post;
        let query = if is_post || call.form.is_empty() { String::new() } else { format!("?{}", call.form) };
        let mut request = Request::builder()
            .method(match call.verb {
                Verb::Get => "GET",
                Verb::Post => "POST",
                Verb::Delete => "DELETE",
            })
            .uri(format!("{}{}{query}", self.0.base, call.path))
            .header(header::AUTHORIZATION, self.0.authorization.clone())
            .header("stripe-version", self.0.version.clone());
        if is_post {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::CONTENT_LENGTH, call.form.len());
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if let Some(context) = call.context {
            request = request.header("stripe-context", context);
        }
        // The error is not shown: it could quote the URL.
        request.body(()).map_err(|_| StripeError::Unsendable("its path or parameters make no URL"))
    }

    fn body(&self, response: Response<Body>) -> Result<Vec<u8>, ureq::Error> {
        let limit = self.0.settings.max_answer_bytes;
        response.into_body().into_with_config().limit(limit).read_to_vec()
    }

    fn facts(&self, headers: &HeaderMap) -> AnswerHeaders {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let word = |name: &str| text(name).and_then(|text| word(text, self.0.settings.api_key.expose()));
        let flag = |name: &str| text(name).and_then(|text| text.trim().to_ascii_lowercase().parse().ok());
        AnswerHeaders {
            request_id: word("request-id"),
            should_retry: flag("stripe-should-retry"),
            rate_limited: word("stripe-rate-limited-reason"),
            replayed: flag("idempotent-replayed").unwrap_or(false),
        }
    }
}

fn counted_as(verb: Verb, outcome: &Result<StripeAnswer, StripeError>) -> CallOutcome {
    let error = match outcome {
        Ok(_) => return CallOutcome::Done,
        Err(error) => error,
    };
    match error {
        _ if verb != Verb::Get && error.may_have_been_done() => CallOutcome::InDoubt,
        StripeError::Api(error) if error.is_rate_limit() => CallOutcome::RateLimited,
        StripeError::Transport { limit: Some(RateLimitKind::Turn), .. } => CallOutcome::RateLimited,
        StripeError::Unsendable(_) | StripeError::Transport { reached: false, .. } => CallOutcome::Unreached,
        StripeError::Api(error) if error.verdict() == FailureVerdict::GiveUp => CallOutcome::Refused,
        _ => CallOutcome::Failed,
    }
}

/// What is called.
struct Base {
    /// Without a slash at its end.
    url: String,
    /// Only this machine may be called over plain http.
    is_plain: bool,
    is_local: bool,
}

fn base(text: &str) -> Result<Base, StripeError> {
    let wrong = StripeError::Unsendable(
        "stripe.api_base is not a valid URL: write https://host, or http:// and a loopback host",
    );
    let Ok(uri) = text.parse::<Uri>() else { return Err(wrong) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(wrong) };
    if uri.query().is_some() || text.contains('#') || authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(StripeError::Unsendable("stripe.api_base must have no user, password, query or fragment"));
    }
    let host = authority.host();
    match scheme {
        "https" => {}
        "http" if is_this_machine(host) => {}
        "http" => {
            let reason =
                "stripe.api_base must start with https://, since its host is not loopback: the key goes over it";
            return Err(StripeError::Unsendable(reason));
        }
        _ => return Err(wrong),
    }
    let url = text.trim_end_matches('/').to_owned();
    Ok(Base { url, is_plain: scheme == "http", is_local: is_this_machine(host) })
}

fn proxy(url: &ProxyUrl) -> Result<ureq::Proxy, StripeError> {
    // Proxies of other kinds (SOCKS) are not built in.
    let known = url.0.starts_with("http://") || url.0.starts_with("https://");
    let proxy = ureq::Proxy::new(&url.0).ok().filter(|_| known);
    proxy.ok_or(StripeError::Unsendable("the proxy is not a valid URL of the form http://host:port"))
}

fn header_value(scheme: &str, word: &str, reason: &'static str) -> Result<HeaderValue, StripeError> {
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("{scheme}{word}")).ok();
    value.filter(|_| is_word).ok_or(StripeError::Unsendable(reason))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn date_s(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?.as_second())
}

fn no_turn(reason: NoTurn) -> StripeError {
    let (limit, reason) = match reason {
        NoTurn::TimedOut => (Some(RateLimitKind::Turn), RateLimitKind::Turn.to_string()),
        NoTurn::Closed => (None, "the daemon is stopping".to_owned()),
    };
    StripeError::Transport { limit, reached: false, reason }
}

/// Our error for one of `ureq`'s. Its text is taken over only where it cannot quote a URL or a header; `source()` of it
/// is always empty. `sent` says whether the whole request was handed to a connection.
fn lost(error: ureq::Error, sent: bool) -> StripeError {
    use ureq::{Error, Timeout};
    let transport = |limit, reached, reason: String| StripeError::Transport { limit, reached, reason };
    let unreadable = |reason| StripeError::Unreadable { status: None, reason, request_id: None };
    let hit = |limit: RateLimitKind, reached| transport(Some(limit), reached, limit.to_string());
    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => hit(RateLimitKind::Connect, false),
        Error::Timeout(Timeout::PerRead) => hit(RateLimitKind::Read, sent),
        Error::Timeout(Timeout::PerWrite) => hit(RateLimitKind::Write, sent),
        Error::Timeout(_) => hit(RateLimitKind::Total, sent),
        Error::HostNotFound => transport(None, false, "its host has no address".to_owned()),
        Error::ConnectionFailed => transport(None, false, "no connection".to_owned()),
        Error::ConnectProxyFailed(_) => transport(None, false, "the proxy makes no connection".to_owned()),
        Error::Rustls(error) => transport(None, sent, format!("TLS: {error}")),
        Error::Tls(_) | Error::TlsRequired => transport(None, false, "no TLS".to_owned()),
        Error::Io(error) => transport(None, sent && !is_before_connection(error.kind()), error.to_string()),
        Error::LargeResponseHeader(..) => unreadable("its head is longer than an answer may have"),
        Error::Protocol(_) | Error::Http(_) | Error::BodyStalled => unreadable("it is not HTTP"),
        Error::BadUri(_) | Error::RequireHttpsOnly(_) => StripeError::Unsendable("its path makes no URL"),
        _ => transport(None, sent, "for an unforeseen reason".to_owned()),
    }
}

fn is_before_connection(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(kind, AddrNotAvailable | ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

#[cfg(test)]
mod tests;
