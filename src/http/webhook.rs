//! The public listener: `POST <webhook path>`. Raw bytes, signature, envelope, row, 200 — in that order, and the 200
//! only after the row is on disk. It must never project, and never refuse an authentic event for its type.

use crossbeam_channel::Sender;
use serde_json::json;
use std::sync::Arc;

use super::request::{Method, Request};
use super::response::{ApiError, Response};
use crate::clock::Clock;
use crate::config::WebhookEndpoint;
use crate::store::inbox::{self, Accepted};
use crate::store::{Store, Tx};
use crate::stripe::event::{self, Envelope};
use crate::stripe::signature;

/// What the public listener needs.
pub struct Hooks {
    /// Where events are kept.
    pub store: Store,
    /// Judges the age of signatures.
    pub clock: Arc<dyn Clock>,
    /// Paths and their secrets.
    pub endpoints: Vec<WebhookEndpoint>,
    /// Rings the worker.
    pub bell: Sender<()>,
}

/// Answers a request of the public listener by `reply`: at once, or after the event's commit.
pub fn answer(hooks: &Hooks, request: Request, reply: impl FnOnce(Response) + Send + 'static) {
    if request.path == "/healthz" {
        return reply(match request.method {
            Method::Get | Method::Head => Response::text(200, "ok\n"),
            _ => wrong_method("GET").into(),
        });
    }
    let Some(endpoint) = hooks.endpoints.iter().find(|endpoint| endpoint.path == request.path) else {
        let message = format!("no webhook endpoint is configured at {}", request.path);
        return reply(ApiError::new(404, "not_found", message).into());
    };
    if request.method != Method::Post {
        return reply(wrong_method("POST").into());
    }
    let now_ms = hooks.clock.now_ms();
    match check(endpoint, &request, now_ms.div_euclid(1000)) {
        Ok(envelope) => store(hooks, request, Received { envelope, now_ms }, reply),
        Err(error) => reply(error.into()),
    }
}

fn wrong_method(allowed: &str) -> ApiError {
    let mut error = ApiError::new(405, "method_not_allowed", format!("this path takes {allowed}"));
    error.headers.push(("Allow", allowed.to_owned()));
    error
}

/// An event that is to be stored.
struct Received {
    envelope: Envelope,
    now_ms: i64,
}

fn check(endpoint: &WebhookEndpoint, request: &Request, now_s: i64) -> Result<Envelope, ApiError> {
    verify(endpoint, request, now_s)?;
    let envelope = event::envelope(&request.body).map_err(|error| {
        log::error!("a signed body was refused client={} path={}: {error}", request.client(), endpoint.path);
        ApiError::new(400, "invalid_payload", error.to_string())
    })?;
    event::tell_version(&envelope);
    Ok(envelope)
}

fn verify(endpoint: &WebhookEndpoint, request: &Request, now_s: i64) -> Result<(), ApiError> {
    let mut headers = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Stripe-Signature"));
    let header = headers.next().map(|(_, value)| value.as_str());
    if headers.next().is_some() {
        let message = "there are two Stripe-Signature headers; something on the way adds one";
        return Err(ApiError::new(400, "signature_malformed", message));
    }
    let secrets: Vec<&str> = endpoint.secrets.iter().map(crate::config::Secret::expose).collect();
    match signature::verify(header, &request.body, &secrets, endpoint.tolerance_s, now_s) {
        Ok(_) => Ok(()),
        Err(error) => {
            let (client, path, code) = (request.client(), &endpoint.path, error.code());
            log::warn!("webhook refused client={client} path={path} code={code}: {error}");
            Err(ApiError::new(400, error.code(), error.to_string()))
        }
    }
}

fn store(hooks: &Hooks, request: Request, received: Received, reply: impl FnOnce(Response) + Send + 'static) {
    let client = request.client();
    let path = request.path;
    // The envelope was read from it, so it is UTF-8; but nothing else than what came is ever stored.
    let body = match String::from_utf8(request.body) {
        Ok(body) => body,
        Err(error) => return reply(ApiError::new(400, "invalid_payload", error.to_string()).into()),
    };
    let (id, event_type) = (received.envelope.id.clone(), received.envelope.event_type.clone());
    let bell = hooks.bell.clone();
    let write = move |tx: &Tx| inbox::accept(tx, &received.envelope, &body, received.now_ms);
    hooks.store.write_one_then(write, move |outcome| match outcome {
        Ok(accepted) => {
            // A full bell is a bell that rings.
            let _ = bell.try_send(());
            note(accepted, &id, &event_type);
            reply(acknowledgement(accepted));
        }
        Err(error) => {
            let error = ApiError::from(error);
            log::warn!("webhook failed client={client} path={path} code={}", error.code);
            reply(error.into());
        }
    });
}

fn note(accepted: Accepted, id: &str, event_type: &str) {
    match accepted {
        Accepted::New => log::debug!("event received event_id={id} type={event_type}"),
        Accepted::Duplicate => log::debug!("event received again event_id={id} type={event_type}"),
        Accepted::Conflicting => log::error!(
            "another event came under a known id; the first one is kept, this one is not event_id={id} type={event_type}"
        ),
    }
}

fn acknowledgement(accepted: Accepted) -> Response {
    match accepted {
        Accepted::New => Response::json(200, &json!({"received": true})),
        Accepted::Duplicate | Accepted::Conflicting => {
            Response::json(200, &json!({"received": true, "duplicate": true}))
        }
    }
}
