//! Health checks: does the process answer, can it work, what state is the inbox in. Open to everyone who reaches the
//! private listener, so they must never show data of a user. Called by `private`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::api::ApiHandler;
use super::request::Method::Get;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::RouteAccess::{Api, Open};
use super::route::{PathSegments, Route, route};
use crate::store::inbox::{self, Health};
use crate::store::settings;

/// If an event waits longer than this, in seconds, the worker is stuck.
const STUCK_AFTER_S: i64 = 60;
/// The setting that `/readyz` writes each time to prove that the database accepts writes.
const PROBE: &str = "readyz";

pub(super) const ROUTES: &[Route<ApiHandler>] = &[
    route(Get, "/healthz", Open, healthz)
        .named("getHealth", "Does the process answer?")
        .answers_text(200, "`ok`: it does."),
    route(Get, "/readyz", Open, readyz)
        .named("getReadiness", "Can it work?")
        .answers::<ReadinessView>(200, "The database accepts a write, and the worker makes progress.")
        .answers::<ReadinessView>(503, "Not now; the checks say why."),
    route(Get, "/health/webhooks", Open, webhooks)
        .named("getWebhookHealth", "What state is the inbox in?")
        .answers::<WebhookHealthView>(200, "Its state, in one word and in numbers."),
    route(Get, "/api/v1/status", Api, status)
        .named("getStatus", "Which daemon is this?")
        .answers::<StatusView>(200, "What it is, and what it refused."),
];

/// Whether it can work.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
struct ReadinessView {
    /// `ready` or `not_ready`.
    #[schemars(extend("enum" = ["ready", "not_ready"]), example = &"ready")]
    status: &'static str,
    /// What was looked at.
    checks: ReadinessChecks,
}

/// What was looked at: each is `ok`, or says what is wrong.
#[derive(Serialize, JsonSchema)]
struct ReadinessChecks {
    /// Whether the database accepts a write.
    #[schemars(example = &"ok")]
    database: String,
    /// Whether the worker makes progress.
    #[schemars(example = &"ok")]
    worker: String,
}

/// The state of the inbox.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookHealth")]
struct WebhookHealthView {
    /// `ok`; `degraded`: there are dead letters; `stuck`: an event waits too long; `blocked`: the database accepts no write.
    #[schemars(extend("enum" = ["ok", "degraded", "stuck", "blocked"]), example = &"ok")]
    status: &'static str,
    /// The inbox in numbers.
    webhooks: InboxView,
}

/// The inbox in numbers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Inbox")]
struct InboxView {
    /// Events that wait for the worker.
    #[schemars(example = 0)]
    pending: i64,
    /// Events that failed and wait for their next attempt.
    #[schemars(example = 0)]
    pending_retries: i64,
    /// Dead letters.
    #[schemars(example = 0)]
    dlq_items: i64,
    /// How long the oldest pending event has waited, seconds; null: none waits.
    #[schemars(example = 2)]
    oldest_pending_age_s: Option<i64>,
    /// When the newest webhook arrived, unix seconds; null: none of late.
    #[schemars(example = 1_767_225_600)]
    last_event_at: Option<i64>,
    /// When the newest event arrived that Stripe was asked for, unix seconds; null: none of late.
    #[schemars(example = 1_767_225_600)]
    last_caught_up_at: Option<i64>,
}

/// Which daemon this is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Status")]
struct StatusView {
    /// Version of the program.
    #[schemars(example = &"0.1.0")]
    version: &'static str,
    /// Id of the database, which a copy of the file has, too; null: it has none yet.
    #[schemars(example = &"db_5f2b8c1e")]
    database_id: Option<String>,
    /// When this process started, unix seconds.
    #[schemars(example = 1_767_225_600)]
    started_at: i64,
    /// Webhooks that this process refused, by code.
    #[schemars(example = serde_json::json!({"signature_mismatch": 3}))]
    refused_webhooks: BTreeMap<String, u64>,
}

fn healthz(_: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    Ok(Response::text(200, "ok\n"))
}

/// 200 only if the database accepts a write and the worker makes progress.
fn readyz(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
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
    let text = |check: Result<(), String>| check.err().unwrap_or_else(|| "ok".to_owned());
    let checks = ReadinessChecks { database: text(database), worker: text(worker) };
    let body = ReadinessView { status: if ready { "ready" } else { "not_ready" }, checks };
    Ok(Response::json(if ready { 200 } else { 503 }, &body))
}

fn webhooks(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
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
    let webhooks = InboxView {
        pending: health.pending,
        pending_retries: health.pending_retries,
        dlq_items: health.dead_letters,
        oldest_pending_age_s: age_s,
        last_event_at: health.last_event_ms.map(|ms| ms.div_euclid(1000)),
        last_caught_up_at: health.last_asked_ms.map(|ms| ms.div_euclid(1000)),
    };
    Ok(Response::json(200, &WebhookHealthView { status, webhooks }))
}

/// Which daemon this is and which database it uses; for callers with a token.
fn status(api: &ApiHandler, _: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let database_id = api.store.read(|reader| settings::find(reader, settings::DATABASE_ID))?;
    let view = StatusView {
        version: env!("CARGO_PKG_VERSION"),
        database_id,
        started_at: api.started_ms.div_euclid(1000),
        refused_webhooks: api.refused.counts(),
    };
    Ok(Response::json(200, &view))
}

fn oldest_age_s(health: &Health, now_ms: i64) -> Option<i64> {
    health.oldest_pending_ms.map(|received_ms| now_ms.saturating_sub(received_ms).max(0) / 1000)
}
