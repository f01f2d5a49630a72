//! Calls to Stripe over a real socket: the bytes, what is tried again and with what, and what each failure is called.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tilld::base::verdict::FailureVerdict;
use tilld::stripe::call::{Call, Priority, StripeAnswer, Verb};
use tilld::stripe::client::Client;
use tilld::stripe::error::{RateLimitKind, StripeError};
use tilld::stripe::settings::{ApiKey, ProxyUrl, StripeSettings};

mod failures;
mod server;

use server::{Act, Server, bytes, json};

const KEY: &str = "sk_test_hush51hush";
const VERSION: &str = "2026-09-30.endive";

/// A form, a path and a key with something in them that must not be seen anywhere.
const POST: Call<'static> = Call {
    verb: Verb::Post,
    path: "/v1/hush_customers",
    form: "email=hush%40example.com&metadata[user_id]=u%201&items[0][price]=price_1",
    idempotency_key: Some("hush-key-1"),
    priority: Priority::Interactive,
    context: None,
};

const GET: Call<'static> =
    Call { verb: Verb::Get, form: "email=hush%40example.com&expand[0]=data.customer", idempotency_key: None, ..POST };

/// Settings under which no test has to wait.
fn settings(server: &Server) -> StripeSettings {
    StripeSettings {
        backoff_base: Duration::ZERO,
        rate_limited_pause: Duration::ZERO,
        calls_per_s: 10_000,
        burst: 1000,
        ..StripeSettings::new(ApiKey::new(KEY), &server.base(), VERSION)
    }
}

fn client(server: &Server) -> Client {
    Client::new(settings(server)).unwrap()
}

/// What the only attempt of a call met, also where the call as a whole is in doubt by that.
fn single(settings: &StripeSettings, call: &Call) -> StripeError {
    let client = Client::new(StripeSettings { max_attempts: 1, ..settings.clone() }).unwrap();
    match client.call(call).unwrap_err() {
        StripeError::InDoubt { attempts, last } => {
            assert!(attempts == 1 && last.may_have_been_done(), "{last}");
            *last
        }
        error => error,
    }
}

/// What a failure looks like to whoever prints it: nothing of the call in it.
fn shown(error: &StripeError) -> String {
    let shown = format!("{error} | {error:?} | {error:#?}");
    assert!(!shown.contains("hush"), "{shown}");
    assert!(!shown.contains("127.0.0.1") && !shown.contains("/v1"), "{shown}");
    assert!(!shown.contains("Bearer") && !shown.contains("example.com"), "{shown}");
    shown
}

#[test]
fn a_post_is_these_bytes() {
    let server = Server::new(vec![]);
    client(&server).call(&POST).unwrap();
    let seen = server.seen();
    let mut lines: Vec<&str> = seen[0].head.trim_end().split("\r\n").collect();
    lines[1..].sort_unstable();
    let agent = format!("user-agent: tilld/{}", env!("CARGO_PKG_VERSION"));
    let (host, authorization) = (format!("host: {}", server.address()), format!("authorization: Bearer {KEY}"));
    let length = format!("content-length: {}", POST.form.len());
    let expected = [
        "POST /v1/hush_customers HTTP/1.1",
        "accept: application/json",
        &authorization,
        &length,
        "content-type: application/x-www-form-urlencoded",
        &host,
        "idempotency-key: hush-key-1",
        "stripe-version: 2026-09-30.endive",
        &agent,
    ];
    assert_eq!(lines, expected);
    assert_eq!((seen.len(), seen[0].body.as_str()), (1, POST.form));
}

#[test]
fn the_parameters_of_a_get_or_delete_are_its_query() {
    let server = Server::new(vec![]);
    let client = client(&server);
    client.call(&GET).unwrap();
    client.call(&Call { verb: Verb::Delete, form: "", context: Some("acct_1"), ..GET }).unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line(), format!("GET /v1/hush_customers?{} HTTP/1.1", GET.form));
    assert_eq!(seen[1].line(), "DELETE /v1/hush_customers HTTP/1.1");
    assert_eq!((seen[0].header("stripe-context"), seen[1].header("stripe-context")), (None, Some("acct_1")));
    for seen in &seen {
        assert_eq!((seen.body.as_str(), seen.header("idempotency-key")), ("", None));
        assert_eq!((seen.header("content-length"), seen.header("content-type")), (None, None));
        assert_eq!(seen.header("accept-encoding"), None);
    }
}

#[test]
fn a_base_with_a_path_keeps_it_and_an_empty_form_is_an_empty_body() {
    let server = Server::new(vec![]);
    let api_base = format!("{}/stripe/", server.base());
    let client = Client::new(StripeSettings { api_base, ..settings(&server) }).unwrap();
    client.call(&Call { form: "", ..POST }).unwrap();
    assert_eq!(server.seen()[0].line(), "POST /stripe/v1/hush_customers HTTP/1.1");
    assert_eq!(server.seen()[0].header("content-length"), Some("0"));
}

#[test]
fn the_longest_form_arrives_whole() {
    let server = Server::new(vec![]);
    let form = "a".repeat(tilld::stripe::call::MAX_FORM_BYTES);
    client(&server).call(&Call { form: &form, ..POST }).unwrap();
    assert!(server.seen()[0].body == form);
}

#[test]
fn an_answer_is_kept_as_it_was_sent() {
    let text = "{ \"id\":\"cus_1\",\n \"a\": 1.10, \"ä\":\"\\u00e4\" }\n";
    let headers = [("Request-Id", "req_1"), ("Date", "Tue, 24 Nov 2026 19:37:52 GMT"), ("Idempotent-Replayed", "true")];
    let server = Server::new(vec![json(201, &headers, text), json(200, &[], "{}")]);
    let client = client(&server);
    let answer = client.call(&POST).unwrap();
    let (text, request_id) = (text.to_owned(), Some("req_1".to_owned()));
    assert_eq!(answer, StripeAnswer { status: 201, text, request_id, replayed: true, date_s: Some(1_795_549_072) });
    let plain = StripeAnswer { status: 200, text: "{}".to_owned(), request_id: None, replayed: false, date_s: None };
    assert_eq!(client.call(&POST).unwrap(), plain);
}

#[test]
fn one_connection_serves_many_calls() {
    let server = Server::new(vec![]);
    let client = client(&server);
    for _ in 0..10 {
        client.clone().call(&POST).unwrap();
        client.call(&GET).unwrap();
    }
    assert_eq!((server.seen().len(), server.connections()), (20, 1));
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced() {
    let server = Server::new(vec![Act::SayAndClose(bytes(200, &[], b"{}"))]);
    let client = client(&server);
    client.call(&POST).unwrap();
    client.call(&POST).unwrap();
    assert_eq!((server.seen().len(), server.connections()), (2, 2));
}

#[test]
fn what_must_not_be_sent_is_not_sent() {
    let server = Server::new(vec![]);
    let client = client(&server);
    let calls = [
        Call { idempotency_key: None, ..POST },
        Call { idempotency_key: Some("hush\r\nX: 1"), ..POST },
        Call { path: "/v1/../hush", ..POST },
        Call { form: "hush hush", ..GET },
        Call { context: Some("hush\n"), ..GET },
    ];
    for call in &calls {
        let error = client.call(call).unwrap_err();
        assert!(matches!(error, StripeError::Unsendable(_)));
        assert_eq!(error.verdict(), FailureVerdict::GiveUp);
        shown(&error);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn retries_carry_the_same_key_and_the_same_bytes() {
    let script = vec![
        json(503, &[], "<html>"),
        Act::CarryOutThenReset,
        json(409, &[], r#"{"error":{"type":"idempotency_error","code":"idempotency_key_in_use"}}"#),
        json(429, &[], r#"{"error":{"code":"lock_timeout"}}"#),
        json(200, &[("Idempotent-Replayed", "true")], "{\"id\":\"cus_1\"}"),
    ];
    let server = Server::new(script);
    let answer = client(&server).call(&POST).unwrap();
    assert!(answer.replayed);
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|one| one == &seen[0]), "{seen:?}");
}

#[test]
fn a_call_is_tried_five_times_and_one_of_a_single_attempt_once() {
    let server = Server::new(vec![json(503, &[], "{}"); 11]);
    let client = client(&server);
    let error = client.call(&POST).unwrap_err();
    assert!(matches!(error, StripeError::InDoubt { attempts: 5, .. }), "{}", shown(&error));
    assert_eq!(server.seen().len(), 5);
    let error = single(&settings(&server), &POST);
    assert_eq!((server.seen().len(), error.verdict()), (6, FailureVerdict::Retry));
    let error = client.call(&GET).unwrap_err();
    assert_eq!(error.api().map(|error| error.status), Some(503));
    assert_eq!((server.seen().len(), error.verdict()), (11, FailureVerdict::Retry));
}

#[test]
fn stripe_decides_whether_to_retry_where_it_says_so() {
    let script = vec![
        json(400, &[("Stripe-Should-Retry", "true")], "{}"),
        json(500, &[("Stripe-Should-Retry", "false")], "{}"),
        json(429, &[("Stripe-Should-Retry", "false")], "{}"),
    ];
    let server = Server::new(script);
    let client = client(&server);
    assert_eq!(client.call(&POST).unwrap_err().verdict(), FailureVerdict::Wait);
    assert_eq!(server.seen().len(), 2);
    assert_eq!(client.call(&POST).unwrap_err().verdict(), FailureVerdict::GiveUp);
    assert_eq!(server.seen().len(), 3);
}

#[test]
fn an_interactive_call_ends_within_its_budget() {
    let server = Server::new(vec![Act::Silence; 5]);
    let interactive_budget = Duration::from_millis(300);
    let client = Client::new(StripeSettings { interactive_budget, ..settings(&server) }).unwrap();
    let since = Instant::now();
    let error = client.call(&POST).unwrap_err();
    assert!(since.elapsed() >= interactive_budget, "{:?}", since.elapsed());
    assert!(matches!(error, StripeError::InDoubt { attempts: 1, .. }), "{}", shown(&error));
    assert_eq!(server.seen().len(), 1);
    let error = client.call(&Call { verb: Verb::Get, ..POST }).unwrap_err();
    assert!(matches!(error, StripeError::Transport { limit: Some(RateLimitKind::Total), .. }), "{}", shown(&error));
}

#[test]
fn a_rate_limit_stops_everybody_for_a_moment_and_a_locked_object_nobody() {
    let limited = json(429, &[("Stripe-Rate-Limited-Reason", "global-rate")], r#"{"error":{"code":"rate_limit"}}"#);
    let locked = json(429, &[], r#"{"error":{"code":"lock_timeout"}}"#);
    let server = Server::new(vec![locked, limited]);
    let interactive_budget = Duration::from_millis(500);
    let client =
        StripeSettings { rate_limited_pause: Duration::from_secs(60), interactive_budget, ..settings(&server) };
    let client = Client::new(client).unwrap();
    // The lock is tried again at once; the limit leaves no token for a third attempt, nor for anybody else.
    let error = client.call(&POST).unwrap_err();
    assert!(
        matches!(error, StripeError::Transport { limit: Some(RateLimitKind::Turn), reached: false, .. }),
        "{}",
        shown(&error)
    );
    assert_eq!(client.clone().call(&GET).unwrap_err(), error);
    assert_eq!((server.seen().len(), error.verdict()), (2, FailureVerdict::Retry));
}

#[test]
fn a_closed_client_waits_for_nothing_and_sends_nothing() {
    let server = Server::new(vec![json(503, &[], "{}")]);
    let backoff_base = Duration::from_secs(3600);
    let (backoff_cap, background_budget) = (backoff_base, backoff_base * 9);
    let client =
        Client::new(StripeSettings { backoff_base, backoff_cap, background_budget, ..settings(&server) }).unwrap();
    std::thread::scope(|scope| {
        let resting = scope.spawn(|| client.call(&Call { priority: Priority::Background, ..GET }));
        while server.seen().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        client.close();
        assert_eq!(resting.join().unwrap().unwrap_err().verdict(), FailureVerdict::Retry);
    });
    let error = client.call(&POST).unwrap_err();
    assert!(shown(&error).contains("stopping") && !error.may_have_been_done());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn two_hundred_interactive_calls_at_once_all_succeed_while_the_background_floods() {
    let server = Server::new(vec![]);
    let client = Client::new(StripeSettings { calls_per_s: 400, burst: 20, ..settings(&server) }).unwrap();
    let done = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        for flood in 0..8 {
            let (client, done) = (&client, &done);
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::SeqCst) {
                    number += 1;
                    let key = format!("flood-{flood}-{number}");
                    client.call(&Call { idempotency_key: Some(&key), priority: Priority::Background, ..POST }).unwrap();
                }
            });
        }
        while server.seen().is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let client = &client;
        let calls: Vec<_> = (0..200)
            .map(|number| {
                scope.spawn(move || {
                    let key = format!("call-{number}");
                    client.call(&Call { idempotency_key: Some(&key), ..POST }).unwrap().status
                })
            })
            .collect();
        let answered: Vec<u16> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        answered
    });
    assert_eq!(answered, [200; 200]);
    let seen = server.seen();
    let keys: Vec<&str> = seen.iter().filter_map(|one| one.header("idempotency-key")).collect();
    assert_eq!(keys.iter().filter(|key| key.starts_with("call-")).count(), 200);
    assert!(keys.len() > 200, "there was no flood");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "a call was made twice");
}
