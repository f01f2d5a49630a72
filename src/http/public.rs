//! The public listener: `POST <webhook path>`. Raw bytes, signature, envelope, row, 200, in that order, and the 200
//! only after the row is on disk. It must never project, and never refuse an authentic event for its type. Called by
//! `app::daemon`, on the hook threads.

use crossbeam_channel::Sender;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

use super::error_code::ErrorCode;
use super::request::{Method, Request};
use super::response::{ErrorResponse, Response};
use super::throttle::Throttle;
use crate::base::clock::Clock;
use crate::base::metrics::{Metrics, WebhookOutcome};
use crate::base::secret::Secret;
use crate::store::inbox::{self, AcceptOutcome, EventSource};
use crate::store::{Store, Tx};
use crate::stripe::event::{self, EventEnvelope};
use crate::stripe::signature::{self, SignatureError};

/// The header with Stripe's signature.
const SIGNATURE: &str = "Stripe-Signature";

/// An endpoint that Stripe sends events to.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// Starts with a slash.
    pub path: String,
    /// Any of them may have been used to sign.
    pub secrets: Vec<Secret>,
    /// How much the time of a signature may differ from ours, in seconds.
    pub tolerance_s: i64,
}

/// What the public listener needs.
pub struct PublicHandler {
    /// Where events are kept.
    pub store: Store,
    /// For the age of signatures.
    pub clock: Arc<dyn Clock>,
    /// Their paths and secrets.
    pub endpoints: Vec<WebhookEndpoint>,
    /// Wakes the worker.
    pub bell: Sender<()>,
    /// Counts refused webhooks by code.
    pub refused: Arc<Throttle>,
}

/// Logs how many more webhooks were refused than had a line of their own. Called beside `tick`, and at every request.
pub(crate) fn log_refused(refused: &Throttle) {
    for (code, count) in refused.more(Instant::now()) {
        log::warn!(code, count; "webhooks refused: {count} more");
    }
}

/// Answers a request of the public listener through `reply`: at once, or after the commit of the event.
pub fn answer(hooks: &PublicHandler, request: Request, reply: impl FnOnce(Response) + Send + 'static) {
    if request.path == "/healthz" {
        return reply(match request.method {
            Method::Get | Method::Head => Response::text(200, "ok\n"),
            _ => wrong_method("GET").into(),
        });
    }
    let watch = Watch { metrics: Arc::clone(hooks.store.metrics()), began: Instant::now() };
    log_refused(&hooks.refused);
    let Some(endpoint) = find(&hooks.endpoints, &request.path) else {
        return reply(unknown_path(hooks, &request, &watch).into());
    };
    if request.method != Method::Post {
        return reply(wrong_method("POST").into());
    }
    let now_ms = hooks.clock.now_ms();
    match check(hooks, endpoint, &request, now_ms.div_euclid(1000)) {
        Ok(envelope) => store(hooks, request, Received { envelope, now_ms, watch }, reply),
        Err(error) => {
            watch.note(WebhookOutcome::of_code(error.code.as_str()));
            reply(error.into());
        }
    }
}

/// A webhook that is being answered, as it is counted.
struct Watch {
    metrics: Arc<Metrics>,
    began: Instant,
}

impl Watch {
    fn note(&self, outcome: WebhookOutcome) {
        self.metrics.webhook(outcome, self.began.elapsed());
    }
}

/// The endpoint of a path. One trailing slash is ignored: people type it into Stripe's dashboard.
fn find<'a>(endpoints: &'a [WebhookEndpoint], path: &str) -> Option<&'a WebhookEndpoint> {
    let at = |path: &str| endpoints.iter().find(|endpoint| endpoint.path == path);
    at(path).or_else(|| at(path.strip_suffix('/')?))
}

/// 404. If the request is signed, the URL at Stripe or the configured path is wrong, and the log says so.
fn unknown_path(hooks: &PublicHandler, request: &Request, watch: &Watch) -> ErrorResponse {
    let is_webhook = request.method == Method::Post && request.header(SIGNATURE).is_some();
    if is_webhook {
        watch.note(WebhookOutcome::UnknownPath);
    }
    if is_webhook && hooks.refused.admit("unknown_path", Instant::now()) {
        let paths: Vec<&str> = hooks.endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect();
        log::warn!(
            client = request.client(), path = request.path, code = "unknown_path";
            "a webhook arrived at a path without an endpoint: configured are {}; correct the URL of the endpoint at Stripe, \
             or [[stripe.webhook]] path",
            paths.join(", ")
        );
    }
    ErrorResponse::new(ErrorCode::NotFound, format!("no webhook endpoint is configured at {}", request.path))
}

fn wrong_method(allowed: &str) -> ErrorResponse {
    let mut error = ErrorResponse::new(ErrorCode::MethodNotAllowed, format!("this path accepts only {allowed}"));
    error.headers.push(("Allow", allowed.to_owned()));
    error
}

/// An authentic event that is to be stored.
struct Received {
    envelope: EventEnvelope,
    now_ms: i64,
    watch: Watch,
}

fn check(
    hooks: &PublicHandler,
    endpoint: &WebhookEndpoint,
    request: &Request,
    now_s: i64,
) -> Result<EventEnvelope, ErrorResponse> {
    verify(endpoint, request, now_s).inspect_err(|error| {
        let (client, path, code) = (request.client(), &endpoint.path, error.code);
        if hooks.refused.admit(code.as_str(), Instant::now()) {
            log::warn!(client, path, code = code.as_str(), why = error.message; "webhook refused");
        }
    })?;
    let envelope = event::envelope(&request.body).map_err(|error| {
        log::error!(client = request.client(), path = endpoint.path, why:% = error; "a signed body was refused");
        ErrorResponse::new(ErrorCode::InvalidPayload, error.to_string())
    })?;
    event::log_version(&envelope);
    Ok(envelope)
}

fn verify(endpoint: &WebhookEndpoint, request: &Request, now_s: i64) -> Result<(), ErrorResponse> {
    let mut headers = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(SIGNATURE));
    let header = headers.next().map(|(_, value)| value.as_str());
    if headers.next().is_some() {
        let message = "the request has more than one Stripe-Signature header; a proxy on the way adds one";
        return Err(ErrorResponse::new(ErrorCode::SignatureMalformed, message));
    }
    let secrets: Vec<&str> = endpoint.secrets.iter().map(Secret::expose).collect();
    signature::verify(header, &request.body, &secrets, endpoint.tolerance_s, now_s)
        .map(|_| ())
        .map_err(|error| ErrorResponse::new(code_of(&error), error.to_string()))
}

fn code_of(error: &SignatureError) -> ErrorCode {
    match error {
        SignatureError::Missing => ErrorCode::SignatureMissing,
        SignatureError::Malformed(_) => ErrorCode::SignatureMalformed,
        SignatureError::Stale { .. } => ErrorCode::SignatureStale,
        SignatureError::Future { .. } => ErrorCode::SignatureFuture,
        SignatureError::Mismatch { .. } => ErrorCode::SignatureMismatch,
    }
}

fn store(hooks: &PublicHandler, request: Request, received: Received, reply: impl FnOnce(Response) + Send + 'static) {
    let client = request.client();
    let path = request.path;
    // The envelope was read from it, so it is UTF-8; it is still checked, since a body is only stored as it was sent.
    let body = match String::from_utf8(request.body) {
        Ok(body) => body,
        Err(error) => {
            received.watch.note(WebhookOutcome::InvalidPayload);
            return reply(ErrorResponse::new(ErrorCode::InvalidPayload, error.to_string()).into());
        }
    };
    let Received { envelope, now_ms, watch } = received;
    let (id, event_type) = (envelope.id.clone(), envelope.event_type.clone());
    let bell = hooks.bell.clone();
    let write = move |tx: &Tx| inbox::accept(tx, &envelope, &body, EventSource::Webhook, now_ms);
    hooks.store.write_one_then(write, move |outcome| match outcome {
        Ok(accepted) => {
            // If the channel is full, the worker is being woken already.
            let _ = bell.try_send(());
            watch.note(counted_as(accepted));
            log_accepted(accepted, &id, &event_type);
            reply(acknowledgement(accepted));
        }
        Err(error) => {
            let error = ErrorResponse::from(error);
            watch.note(WebhookOutcome::of_code(error.code.as_str()));
            log::warn!(client, path, code = error.code.as_str(); "webhook failed");
            reply(error.into());
        }
    });
}

fn counted_as(accepted: AcceptOutcome) -> WebhookOutcome {
    match accepted {
        AcceptOutcome::New => WebhookOutcome::Accepted,
        AcceptOutcome::Duplicate => WebhookOutcome::Duplicate,
        AcceptOutcome::Conflicting => WebhookOutcome::Conflicting,
    }
}

fn log_accepted(accepted: AcceptOutcome, id: &str, event_type: &str) {
    match accepted {
        AcceptOutcome::New => log::debug!(event_id = id, "type" = event_type; "event received"),
        AcceptOutcome::Duplicate => log::debug!(event_id = id, "type" = event_type; "event received again"),
        AcceptOutcome::Conflicting => log::error!(
            event_id = id, "type" = event_type;
            "another event arrived under a known id; only the first one is kept"
        ),
    }
}

fn acknowledgement(accepted: AcceptOutcome) -> Response {
    match accepted {
        AcceptOutcome::New => Response::json(200, &json!({"received": true})),
        AcceptOutcome::Duplicate | AcceptOutcome::Conflicting => {
            Response::json(200, &json!({"received": true, "duplicate": true}))
        }
    }
}
