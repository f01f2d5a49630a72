//! The webhook endpoints as Stripe has them, compared with those of the configuration. Must never change one. Called by
//! `outward::checks`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{StripeCheck, StripeChecks};
use crate::base::finding::{Finding, fail, ok, warn};
use crate::objects::kinds;
use crate::stripe::error::StripeError;
use crate::stripe::version::is_known;

const CHECK: &str = "webhook endpoint";
const VERSION: &str = "webhook version";
const EVENTS: &str = "webhook events";
/// Stripe allows an account 16 endpoints in each mode.
const MAX_PAGES: usize = 10;
const PAGE: &str = "https://dashboard.stripe.com/webhooks";

pub(super) fn findings(asking: &mut StripeCheck, wanted: &StripeChecks) -> Vec<Finding> {
    let settings = &wanted.settings;
    let registered = match all(asking) {
        Ok(registered) => registered,
        Err(error) => return vec![unknown(&error, &settings.api_base)],
    };
    let paths = wanted.webhooks.iter().map(|webhook| webhook.path.as_str());
    paths.flat_map(|path| of_path(path, &registered, wanted.pull_interval_s, &settings.api_version)).collect()
}

fn unknown(error: &StripeError, base: &str) -> Finding {
    match error.api().map(|error| error.status) {
        Some(403) => warn(
            CHECK,
            "not compared: the key may not read Webhook Endpoints; give it that permission to have them checked",
        ),
        Some(404) => warn(CHECK, format!("not compared: {base} knows no webhook endpoints (404)")),
        _ => warn(CHECK, format!("not compared: {error}")),
    }
}

fn all(asking: &mut StripeCheck) -> Result<Vec<Value>, StripeError> {
    let mut found: Vec<Value> = Vec::new();
    for _ in 0..MAX_PAGES {
        let after = found.last().and_then(|last| last["id"].as_str()).map(|id| format!("&starting_after={id}"));
        let answer = asking.get("/v1/webhook_endpoints", &format!("limit=100{}", after.unwrap_or_default()))?;
        let mut page: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        let more = page["has_more"].as_bool() == Some(true);
        let Some(data) = page["data"].as_array_mut().filter(|data| !data.is_empty()) else { break };
        found.append(data);
        if !more {
            break;
        }
    }
    Ok(found)
}

/// The path of a URL, as it is asked for.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

fn of_path(path: &str, registered: &[Value], pull_interval_s: Option<i64>, calls_version: &str) -> Vec<Finding> {
    let here: Vec<&Value> =
        registered.iter().filter(|one| one["url"].as_str().is_some_and(|url| path_of(url) == path)).collect();
    let enabled: Vec<&&Value> = here.iter().filter(|one| one["status"] != "disabled").collect();
    match (here.first(), enabled.is_empty()) {
        (None, _) => vec![missing(path, pull_interval_s)],
        (Some(one), true) => vec![fail(
            CHECK,
            format!("{path}: {} is disabled at Stripe and gets no events: enable it at {PAGE}", id(one)),
        )],
        (Some(_), false) => {
            enabled.into_iter().flat_map(|one| [found(path, one), version(one, calls_version), events(one)]).collect()
        }
    }
}

fn missing(path: &str, pull_interval_s: Option<i64>) -> Finding {
    if let Some(seconds) = pull_interval_s {
        let said = format!(
            "Stripe has none with the path {path}; tilld asks Stripe for events every {seconds} s (stripe.pull_interval_s)"
        );
        return ok(CHECK, said);
    }
    let said = format!(
        "Stripe has none with the path {path}: add your public URL with it at {PAGE}, then its signing secret to \
         [[stripe.webhook]]; on your own machine, `stripe listen --forward-to` needs none, nor does stripe.pull_interval_s"
    );
    warn(CHECK, said)
}

fn id(endpoint: &Value) -> &str {
    endpoint["id"].as_str().unwrap_or("an endpoint without id")
}

fn found(path: &str, endpoint: &Value) -> Finding {
    ok(CHECK, format!("{path}: {} is enabled", id(endpoint)))
}

fn version(endpoint: &Value, calls_version: &str) -> Finding {
    let id = id(endpoint);
    let remedy = format!("make a new endpoint with api_version={calls_version} and the same URL, then delete this one");
    match endpoint["api_version"].as_str() {
        None => warn(
            VERSION,
            format!("{id} has none: the shape of its events changes with the account's default version; {remedy}"),
        ),
        Some(version) if !is_known(version) => {
            warn(VERSION, format!("{id} has {version}, which this tilld does not know; {remedy}"))
        }
        Some(version) if version != calls_version => {
            warn(VERSION, format!("{id} has {version}, but calls use {calls_version} (stripe.api_version); {remedy}"))
        }
        Some(version) => ok(VERSION, format!("{id} has {version}, the same as calls")),
    }
}

fn events(endpoint: &Value) -> Finding {
    let id = id(endpoint);
    let enabled: BTreeSet<&str> =
        endpoint["enabled_events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if enabled.contains("*") {
        return ok(EVENTS, format!("{id} gets all types"));
    }
    let missing: Vec<&str> = kinds::event_types().filter(|known| !enabled.contains(known)).collect();
    if !missing.is_empty() {
        let message = format!(
            "{id} does not get {}: enable them at {PAGE}; without them tilld's tables lag behind",
            missing.join(", ")
        );
        return warn(EVENTS, message);
    }
    let known: BTreeSet<&str> = kinds::event_types().collect();
    match enabled.difference(&known).count() {
        0 => ok(EVENTS, format!("{id} gets every type that has a table")),
        others => ok(EVENTS, format!("{id} gets every type that has a table; kept without one: {others}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_url_is_what_stripe_asks_for() {
        for (url, path) in [
            ("https://a.example/hook", "/hook"),
            ("https://a.example/hook/?x=/y", "/hook/"),
            ("https://a.example", "/"),
            ("https://a.example?x=/y", "/"),
            ("http://127.0.0.1:4242/a/b#c", "/a/b"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
