//! The public listener: `POST <webhook path>`. Raw bytes, signature, envelope, row, 200 — in that order, and the 200
//! only after the row is on disk. It must never project, and never refuse an authentic event for its type.

use crossbeam_channel::Sender;
use serde_json::json;
use std::sync::Arc;

use super::request::{Method, Request};
use super::response::{ApiError, Response};
use crate::clock::Clock;
use crate::config::WebhookEndpoint;
use crate::store::Store;
use crate::store::inbox::{self, Accepted};
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

/// Answers a request of the public listener.
#[must_use]
pub fn answer(hooks: &Hooks, request: &Request) -> Response {
    if request.path == "/healthz" {
        return match request.method {
            Method::Get | Method::Head => Response::text(200, "ok\n"),
            _ => wrong_method("GET").into(),
        };
    }
    let Some(endpoint) = hooks.endpoints.iter().find(|endpoint| endpoint.path == request.path) else {
        return ApiError::new(404, "not_found", format!("no webhook endpoint is configured at {}", request.path))
            .into();
    };
    if request.method != Method::Post {
        return wrong_method("POST").into();
    }
    receive(hooks, endpoint, request).unwrap_or_else(Response::from)
}

fn wrong_method(allowed: &str) -> ApiError {
    let mut error = ApiError::new(405, "method_not_allowed", format!("this path takes {allowed}"));
    error.headers.push(("Allow", allowed.to_owned()));
    error
}

fn receive(hooks: &Hooks, endpoint: &WebhookEndpoint, request: &Request) -> Result<Response, ApiError> {
    let now_ms = hooks.clock.now_ms();
    verify(endpoint, request, now_ms.div_euclid(1000))?;
    let envelope = event::envelope(&request.body).map_err(|error| {
        log::error!("a signed body was refused client={} path={}: {error}", request.client(), endpoint.path);
        ApiError::new(400, "invalid_payload", error.to_string())
    })?;
    let accepted = store(hooks, envelope, &request.body, now_ms).inspect_err(|error| {
        log::warn!("webhook failed client={} path={} code={}", request.client(), endpoint.path, error.code);
    })?;
    // A full bell is a bell that rings.
    let _ = hooks.bell.try_send(());
    Ok(match accepted {
        Accepted::New => Response::json(200, &json!({"received": true})),
        Accepted::Duplicate | Accepted::Conflicting => {
            Response::json(200, &json!({"received": true, "duplicate": true}))
        }
    })
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

fn store(hooks: &Hooks, envelope: Envelope, body: &[u8], now_ms: i64) -> Result<Accepted, ApiError> {
    // The envelope was read from it, so it is UTF-8.
    let body = String::from_utf8_lossy(body).into_owned();
    let (id, event_type) = (envelope.id.clone(), envelope.event_type.clone());
    let accepted = hooks.store.write_one(move |tx| inbox::accept(tx, &envelope, &body, now_ms))?;
    match accepted {
        Accepted::New => log::debug!("event received event_id={id} type={event_type}"),
        Accepted::Duplicate => log::debug!("event received again event_id={id} type={event_type}"),
        Accepted::Conflicting => log::error!(
            "another event came under a known id; the first one is kept, this one is not event_id={id} type={event_type}"
        ),
    }
    Ok(accepted)
}
