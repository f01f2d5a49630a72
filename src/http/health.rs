//! Health checks: does the process answer, can it work, what state is the inbox in. Open to everyone who reaches the private
//! listener, so they must never show data of a user. Called by `private`.

use serde_json::json;

use super::api::ApiHandler;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::PathSegments;
use crate::store::inbox::{self, Health};
use crate::store::settings;

/// If an event waits longer than this, in seconds, the worker is stuck.
const STUCK_AFTER_S: i64 = 60;
/// The setting that `/readyz` writes each time to prove that the database accepts writes.
const PROBE: &str = "readyz";

pub(super) fn healthz(_: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    Ok(Response::text(200, "ok\n"))
}

/// 200 only if the database accepts a write and the worker makes progress.
pub(super) fn readyz(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let now_ms = api.clock.now_ms();
    let database = api.store.write(move |tx| settings::put(tx, PROBE, &now_ms.to_string()));
    let age_s = api.store.read(inbox::health).map(|health| oldest_age_s(&health, now_ms));
    let worker = match &age_s {
        Ok(Some(age_s)) if *age_s > STUCK_AFTER_S => Err(format!("an event has been waiting for {age_s} s")),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let database = database.map_err(|error| error.to_string());
    let ready = database.is_ok() && worker.is_ok();
    let word = |check: Result<(), String>| check.err().unwrap_or_else(|| "ok".to_owned());
    let body = json!({
        "status": if ready { "ready" } else { "not_ready" },
        "checks": {"database": word(database), "worker": word(worker)},
    });
    Ok(Response::json(if ready { 200 } else { 503 }, &body))
}

pub(super) fn webhooks(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let now_ms = api.clock.now_ms();
    let health = api.store.read(inbox::health)?;
    let age_s = oldest_age_s(&health, now_ms);
    // Reads still work while another program holds the file; webhooks do not.
    let takes_writes = api.store.write(move |tx| settings::put(tx, PROBE, &now_ms.to_string())).is_ok();
    let status = match age_s {
        _ if !takes_writes => "blocked",
        Some(age_s) if age_s > STUCK_AFTER_S => "stuck",
        _ if health.dead_letters > 0 => "degraded",
        _ => "ok",
    };
    Ok(Response::json(
        200,
        &json!({
            "status": status,
            "webhooks": {
                "pending": health.pending, "pending_retries": health.pending_retries,
                "dlq_items": health.dead_letters, "oldest_pending_age_s": age_s,
                "last_event_at": health.last_event_ms.map(|ms| ms.div_euclid(1000)),
                "last_caught_up_at": health.last_asked_ms.map(|ms| ms.div_euclid(1000)),
            },
        }),
    ))
}

/// Which daemon this is and which database it uses; for callers with a token.
pub(super) fn status(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let database_id = api.store.read(|reader| settings::find(reader, settings::DATABASE_ID))?;
    Ok(Response::json(
        200,
        &json!({
            "version": env!("CARGO_PKG_VERSION"), "database_id": database_id,
            "started_at": api.started_ms.div_euclid(1000), "refused_webhooks": api.refused.counts(),
        }),
    ))
}

fn oldest_age_s(health: &Health, now_ms: i64) -> Option<i64> {
    health.oldest_pending_ms.map(|received_ms| now_ms.saturating_sub(received_ms).max(0) / 1000)
}
