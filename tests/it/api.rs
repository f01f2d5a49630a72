//! The private API by the contract: who may call, what is answered, and what follows from events.

mod admin;
mod audit;
mod entitlement;
mod linking;
mod outbox;
mod rules;
mod users;

use serde_json::{Value, json};
use tilld::base::secret::Secret;
use tilld::http::request::Method;
use tilld::http::response::Response;
use tilld::http::route::Tokens;

use crate::harness::{ADMIN, START_S, TOKEN, Till, read, request};
use crate::live::Live;
use crate::samples::event;

fn with_header(till: &Till, method: Method, path: &str, authorization: Option<&str>) -> Response {
    let headers = authorization.map(|value| ("Authorization".to_owned(), value.to_owned())).into_iter().collect();
    tilld::http::private::answer(&till.api, &request(method, path, headers, b""))
}

fn code(till: &Till, path: &str, authorization: Option<&str>) -> (u16, Value) {
    let (status, body) = read(with_header(till, Method::Get, path, authorization));
    (status, body["error"]["code"].clone())
}

/// Status, code and param of an error.
fn fault(answer: (u16, Value)) -> (u16, String, Option<String>) {
    let error = &answer.1["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{answer:?}");
    assert_eq!(error["type"], if answer.0 < 500 { "invalid_request_error" } else { "api_error" });
    (answer.0, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
}

fn bad_parameter(name: &str) -> (u16, String, Option<String>) {
    (400, "parameter_invalid".to_owned(), Some(name.to_owned()))
}

fn ids(list: &Value) -> Vec<String> {
    assert_eq!(list["object"], "list", "{list}");
    list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Every id of a list, read in pages of one.
fn paged(till: &Till, path: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let after = found.last().map(|id| format!("&starting_after={id}")).unwrap_or_default();
        let (status, page) = till.get(&format!("{path}limit=1{after}"));
        assert_eq!(status, 200, "{page}");
        found.extend(ids(&page));
        if page["has_more"] == false {
            return found;
        }
    }
}

#[test]
fn the_api_token_opens_the_api_and_the_admin_token_opens_both() {
    let till = Till::new();
    let (users, events) = ("/api/v1/users", "/api/v1/admin/events");
    let bearer = |token: &str| format!("Bearer {token}");
    let missing = (401, json!("token_missing"));
    let invalid = (401, json!("token_invalid"));
    let fine = (200, Value::Null);
    for path in [users, events] {
        assert_eq!(code(&till, path, None), missing);
        assert_eq!(code(&till, path, Some(TOKEN)), missing, "no scheme");
        assert_eq!(code(&till, path, Some("Basic dGlsbGQ=")), missing);
        for wrong in ["", "x", "tilld_ap", "tilld_apii", "TILLD_API", "[redacted]"] {
            assert_eq!(code(&till, path, Some(&bearer(wrong))), invalid, "{wrong:?}");
        }
        assert_eq!(code(&till, path, Some(&bearer(ADMIN))), fine);
        assert_eq!(code(&till, path, Some(&format!("bearer  {ADMIN} "))), fine);
    }
    assert_eq!(code(&till, users, Some(&bearer(TOKEN))), fine);
    assert_eq!(code(&till, events, Some(&bearer(TOKEN))), invalid, "the API token is no admin token");
    let refusal = with_header(&till, Method::Get, users, None);
    assert!(refusal.headers.contains(&("WWW-Authenticate", "Bearer".to_owned())));
}

#[test]
fn lesson_23_no_token_configured_means_closed() {
    let mut till = Till::new();
    let (users, events) = ("/api/v1/users", "/api/v1/admin/events");
    let closed = (401, json!("token_not_configured"));
    till.api.tokens = Tokens::default();
    for guess in [None, Some("Bearer "), Some("Bearer admin"), Some(&format!("Bearer {TOKEN}"))] {
        assert_eq!((code(&till, users, guess), code(&till, events, guess)), (closed.clone(), closed.clone()));
    }
    till.api.tokens = Tokens { api: Some(Secret::new(TOKEN)), admin: None };
    assert_eq!(code(&till, events, Some(&format!("Bearer {TOKEN}"))), closed);
    assert_eq!(code(&till, users, Some(&format!("Bearer {TOKEN}"))).0, 200);
    assert_eq!(till.get("/healthz"), (200, json!("ok\n")));
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405_with_what_is_allowed() {
    let till = Till::new();
    for path in ["/", "/api/v1", "/api/v1/users/", "/api/v1/users//entitlement", "/api/v2/users", "/health"] {
        assert_eq!(fault(till.get(path)), (404, "not_found".to_owned(), None), "{path}");
    }
    let patch = with_header(&till, Method::Delete, "/api/v1/users/alice", Some(&format!("Bearer {TOKEN}")));
    assert!(patch.headers.contains(&("Allow", "GET, HEAD, PUT".to_owned())), "{:?}", patch.headers);
    assert_eq!(fault(read(patch)), (405, "method_not_allowed".to_owned(), None));
    assert_eq!(till.call(Method::Other, "/healthz", &Value::Null).0, 405);
    assert_eq!(till.call(Method::Head, "/healthz", &Value::Null).0, 200);
}

#[test]
fn limit_is_1_to_100_on_every_list() {
    let mut till = Till::new();
    till.feed(&[event("customer.subscription.created", "alice", START_S, &[])]);
    let of_alice = |list: &str| format!("/api/v1/users/alice/{list}");
    let mut lists = ["subscriptions", "payment-failures", "payment-intents", "audit"].map(of_alice).to_vec();
    let more = ["users", "admin/events", "admin/webhooks/retries", "admin/webhooks/dlq"];
    lists.extend(more.map(|list| format!("/api/v1/{list}")));
    for list in lists {
        for wrong in ["0", "101", "-1", "1.5", "ten", "", "99999999999"] {
            assert_eq!(fault(till.get(&format!("{list}?limit={wrong}"))), bad_parameter("limit"), "{list} {wrong}");
        }
        for right in ["1", "100"] {
            let (status, page) = till.get(&format!("{list}?limit={right}"));
            assert_eq!((status, &page["object"]), (200, &json!("list")), "{list}");
            assert!(page["data"].is_array() && page["has_more"].is_boolean() && page.as_object().unwrap().len() == 3);
        }
    }
}

#[test]
fn health_says_how_the_inbox_stands() {
    let mut till = Till::new();
    let health = |till: &Till| till.get("/health/webhooks").1;
    let empty = json!({"pending": 0, "pending_retries": 0, "dlq_items": 0, "oldest_pending_age_s": null,
        "last_event_at": null, "last_caught_up_at": null});
    assert_eq!(health(&till), json!({"status": "ok", "webhooks": empty}));
    till.post(&event("customer.created", "alice", START_S, &[]));
    till.clock.advance(5_000);
    let waiting = json!({"pending": 1, "pending_retries": 0, "dlq_items": 0, "oldest_pending_age_s": 5,
        "last_event_at": START_S, "last_caught_up_at": null});
    assert_eq!(health(&till), json!({"status": "ok", "webhooks": waiting}));
    assert_eq!(till.get("/readyz").0, 200);
    till.clock.advance(60_000);
    assert_eq!(health(&till)["status"], "stuck");
    let (status, not_ready) = till.get("/readyz");
    assert_eq!((status, &not_ready["checks"]["database"]), (503, &json!("ok")));
    assert!(not_ready["checks"]["worker"].as_str().unwrap().contains("65 s"), "{not_ready}");
    till.settle();
    assert_eq!(till.get("/readyz"), (200, json!({"status": "ready", "checks": {"database": "ok", "worker": "ok"}})));
    till.feed(&[admin::unreadable("evt_bad", START_S)]);
    let health = health(&till);
    assert_eq!((&health["status"], &health["webhooks"]["dlq_items"]), (&json!("degraded"), &json!(1)));
}

#[test]
fn the_real_binary_answers_health_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    for path in ["/healthz", "/readyz", "/health/webhooks"] {
        assert_eq!(live.get(path).0, 200, "{path}");
    }
    assert_eq!(live.get("/api/v1/users?limit=0").1["error"]["param"], "limit");
}

#[test]
fn no_answer_of_the_api_may_be_kept_on_the_way_be_it_an_error() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let (api, admin) = (format!("Bearer {TOKEN}"), format!("Bearer {ADMIN}"));
    for (path, authorization, status) in [
        ("/api/v1/users/alice/entitlement", Some(api.as_str()), 200),
        ("/api/v1/users/nobody", Some(api.as_str()), 404),
        ("/api/v1/users/alice", None, 401),
        ("/api/v1/admin/audit", Some(admin.as_str()), 200),
        ("/api/v1/nowhere", Some(api.as_str()), 404),
    ] {
        let response = with_header(&till, Method::Get, path, authorization);
        let kept: Vec<_> = response.headers.iter().filter(|(name, _)| *name == "Cache-Control").collect();
        assert_eq!((response.status, kept), (status, vec![&("Cache-Control", "no-store".to_owned())]), "{path}");
    }
}
