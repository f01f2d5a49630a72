//! `GET /metrics`: what was counted and what stands at a level now, as text for Prometheus. Open to everyone who reaches the
//! private listener, like the health checks, so it must never show an id, an address or anything of a user. A token that a
//! proxy sends along is not looked at. Called by `private`.

mod process;

use super::api::ApiHandler;
use super::request::Method::Get;
use super::request::Request;
use super::response::{ErrorResponse, Response};
use super::route::RouteAccess::Open;
use super::route::{PathSegments, Route, route};
use crate::base::metrics::{DeliveryKind, Levels, TextFormat};
use crate::objects::answer_counts;
use crate::store::{StoreError, levels};

pub(super) const ROUTES: &[Route<ApiHandler>] = &[route(Get, "/metrics", Open, get)
    .named("getMetrics", "What Prometheus reads")
    .details("OpenMetrics where `Accept` asks for `application/openmetrics-text`. docs/metrics.md names every series.")
    .answers_text(200, "Every series, one line each.")];

fn get(api: &ApiHandler, request: &Request, _: &PathSegments) -> Result<Response, ErrorResponse> {
    let format = wanted(request.header("Accept").unwrap_or_default());
    // Where the database cannot be read, the counters are what an operator needs most.
    let levels = read(api).inspect_err(|error| log::warn!("metrics without what is in the database: {error}")).ok();
    let process = process::look(api.started_ms.div_euclid(1000));
    let text = api.store.metrics().text(levels.as_ref(), &process, format);
    let body = text.map_err(|error| ErrorResponse::internal(&error))?.into_bytes();
    Ok(Response { status: 200, headers: vec![("Content-Type", format.content_type().to_owned())], body })
}

/// What an `Accept` asks for: OpenMetrics where it ranks that as high as the text format.
fn wanted(accept: &str) -> TextFormat {
    let mut ranks = (0.0, 0.0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let rank = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |rank| rank.parse().unwrap_or(0.0));
        match kind.as_str() {
            "application/openmetrics-text" => ranks.0 = f64::max(ranks.0, rank),
            "text/plain" => ranks.1 = f64::max(ranks.1, rank),
            _ => {}
        }
    }
    if ranks.0 > 0.0 && ranks.0 >= ranks.1 { TextFormat::OpenMetrics } else { TextFormat::Prometheus }
}

fn read(api: &ApiHandler) -> Result<Levels, StoreError> {
    let now_ms = api.clock.now_ms();
    let (waiting, answers) =
        api.store.read(|reader| Ok((levels::get_waiting(reader)?, answer_counts::list(reader)?)))?;
    let oldest_s = waiting.oldest_pending_ms.map_or(0, |received_ms| now_ms.saturating_sub(received_ms).max(0) / 1000);
    Ok(Levels {
        events_pending: waiting.events_pending,
        oldest_pending_s: oldest_s,
        retries_pending: waiting.retries,
        dead_letters: waiting.dead_letters,
        outbox_pending: vec![
            (DeliveryKind::Mail, waiting.mails),
            (DeliveryKind::Webhook, waiting.webhooks),
            (DeliveryKind::StripeCall, waiting.stripe_calls),
        ],
        operations_in_doubt: waiting.in_doubt,
        drift_differences: waiting.drift_left.and_then(|left| left.parse().ok()).unwrap_or(0),
        last_webhook_s: waiting.last_webhook_ms.map_or(0, |received_ms| received_ms.div_euclid(1000)),
        database_bytes: levels::file_bytes(&api.store),
        answers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_answered_only_to_whoever_asks_for_it_and_does_not_prefer_text() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [prometheus, "application/openmetrics-text", "text/plain, Application/OpenMetrics-Text"] {
            assert_eq!(wanted(accept), TextFormat::OpenMetrics, "{accept}");
        }
        let others = ["", "*/*", "text/html", "application/openmetrics-text;q=0", "application/openmetrics-text;q=x"];
        for accept in others.into_iter().chain(["application/openmetrics-text;q=0.2,text/plain;q=0.9"]) {
            assert_eq!(wanted(accept), TextFormat::Prometheus, "{accept}");
        }
    }
}
