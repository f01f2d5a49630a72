//! The public contract (§3), row by row, and bodies that nobody expects: a clear answer, nothing lost, and a process
//! that lives.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use rusqlite::Connection;
use serde_json::{Value, json};
use tilld::app::cli::post;
use tilld::base::clock::Clock;
use tilld::http::request::Method;
use tilld::stripe::signature;

use crate::harness::{PATH, SECRET, START_S, Setup, Till, endpoint, request};
use crate::live::{Live, database, url_of};
use crate::main_job::sample;

fn received() -> Value {
    json!({"received": true})
}

fn duplicate() -> Value {
    json!({"received": true, "duplicate": true})
}

/// An event around any object.
fn event(id: &str, object: &Value) -> Value {
    json!({"id": id, "object": "event", "type": "thing.made", "created": START_S, "livemode": false, "data": {"object": object}})
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    let error = &answer.1["error"];
    assert_eq!(error["type"], "invalid_request_error", "{answer:?}");
    assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{answer:?}");
    (answer.0, error["code"].as_str().unwrap())
}

fn row(till: &Till, event_id: &str, column: &str) -> Value {
    till.value(&format!("SELECT {column} FROM stripe_webhooks_log WHERE event_id = '{event_id}'"))
}

fn rows(till: &Till) -> Value {
    till.value("SELECT count(*) FROM stripe_webhooks_log")
}

#[test]
fn every_authentic_event_gets_200_and_a_row_of_known_type_or_not() {
    let mut till = Till::new();
    let unknown = event("evt_1", &json!({"id": "thing_1", "object": "thing"}));
    assert_eq!(till.post(&unknown), (200, received()));
    assert_eq!(till.post(&unknown), (200, duplicate()));
    till.settle();
    assert_eq!(till.post(&unknown), (200, duplicate()), "also when it has been processed");
    assert_eq!((row(&till, "evt_1", "status"), rows(&till)), (json!("ignored"), json!(1)));
    assert_eq!(
        till.value("SELECT data FROM stripe_objects"),
        json!(r#"{"id":"thing_1","object":"thing"}"#),
        "it is mirrored"
    );
}

#[test]
fn a_signature_that_is_not_right_is_refused_with_its_own_code_and_no_row() {
    let till = Till::new();
    let body = sample("customer.created", "alice", "1").to_string().into_bytes();
    let signed = |secret: &str, at_s: i64| signature::sign(secret, at_s, &body);
    let now = START_S;
    let late = signed(SECRET, now - 301);
    let early = signed(SECRET, now + 301);
    let other = signed("whsec_other", now);
    let good = signed(SECRET, now);
    for (header, expected) in [
        (None, "signature_missing"),
        (Some(""), "signature_missing"),
        (Some("v1=aa"), "signature_malformed"),
        (Some("t=soon,v1=aa"), "signature_malformed"),
        (Some("nonsense"), "signature_malformed"),
        (Some(late.as_str()), "signature_stale"),
        (Some(early.as_str()), "signature_future"),
        (Some(other.as_str()), "signature_mismatch"),
        (Some(good.replace("v1=", "v0=").as_str()), "signature_malformed"),
    ] {
        let answer = till.post_with(header, &body);
        assert_eq!(code(&answer), (400, expected), "{header:?}");
        assert!(!answer.1.to_string().contains(SECRET), "no secret in an answer");
    }
    let mut changed = body.clone();
    changed.push(b' ');
    assert_eq!(code(&till.post_with(Some(&good), &changed)), (400, "signature_mismatch"), "a body changed on its way");
    let twice = vec![("Stripe-Signature".to_owned(), good.clone()), ("stripe-signature".to_owned(), good.clone())];
    assert_eq!(code(&till.hook(&request(Method::Post, PATH, twice, &body))), (400, "signature_malformed"));
    assert_eq!(rows(&till), 0);
    for at_s in [now - 300, now + 300] {
        assert_eq!(till.post_with(Some(&signed(SECRET, at_s)), &body).0, 200, "at the edge of the tolerance");
    }
    let lower = vec![("stripe-signature".to_owned(), good)];
    assert_eq!(till.hook(&request(Method::Post, PATH, lower, &body)), (200, duplicate()));
}

#[test]
fn an_authentic_body_that_is_no_event_is_refused_with_the_fault_named() {
    let till = Till::new();
    let with = |key: &str, value: Value| {
        let mut event = event("evt_1", &json!({"id": "thing_1", "object": "thing"}));
        event[key] = value;
        event.to_string().into_bytes()
    };
    let as_list = json!(["evt_1", "event", "thing.made", START_S, false, null, null, {"object": {}}, null]);
    for (body, named) in [
        (b"".to_vec(), "EOF"),
        (b"hello".to_vec(), "not a Stripe event"),
        (b"null".to_vec(), "not a Stripe event"),
        (b"[]".to_vec(), "not a Stripe event"),
        (as_list.to_string().into_bytes(), "not a Stripe event"),
        (b"{\"id\":\"evt_1\",".to_vec(), "not a Stripe event"),
        (b"{\"id\":\"evt_\xff\xfe\"}".to_vec(), "UTF-8"),
        (b"\0{}".to_vec(), "not a Stripe event"),
        (with("id", json!("evt_\0")), "`id`"),
        (with("id", json!("")), "`id`"),
        (with("id", json!("e".repeat(1025))), "`id`"),
        (with("id", json!(7)), "`id`"),
        (with("type", Value::Null), "`type`"),
        (with("object", json!("charge")), "`object`"),
        (with("created", json!(-1)), "`created`"),
        (with("created", json!(1e30)), "`created`"),
        (with("data", json!({})), "`data.object`"),
        (with("data", json!({"object": "thing_1"})), "data"),
        (with("data", json!({"object": ["thing_1", "thing", "x"]})), "`data.object`"),
        (with("livemode", json!("yes")), "`livemode`"),
    ] {
        let answer = till.post_bytes(&body);
        assert_eq!(code(&answer), (400, "invalid_payload"), "{}", String::from_utf8_lossy(&body));
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert!(message.contains(named), "{named}: {message}");
    }
    assert_eq!(rows(&till), 0);
}

#[test]
fn an_event_of_the_other_mode_is_kept_and_changes_nothing() {
    for (livemode, mode) in [(true, "live"), (false, "test")] {
        let mut till = Till::with(Setup { livemode: Some(livemode), ..Setup::default() });
        let empty = till.dump();
        let mut other = sample("customer.subscription.created", "alice", "1");
        other["livemode"] = json!(!livemode);
        till.feed(&[other.clone()]);
        let id = other["id"].as_str().unwrap();
        assert_eq!(row(&till, id, "status"), "ignored");
        assert!(
            row(&till, id, "processing_error").as_str().unwrap().contains(&format!("this database is of {mode} mode"))
        );
        assert_eq!(till.dump(), empty);
        let mut ours = sample("customer.subscription.created", "alice", "2");
        ours["livemode"] = json!(livemode);
        till.feed(&[ours]);
        assert_eq!(till.entitlement("alice")["entitled"], true);
    }
}

#[test]
fn a_thin_event_is_kept() {
    let mut till = Till::new();
    let thin = json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.invoice.paid", "created": "2026-01-01T00:00:00.123Z",
        "livemode": false, "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
    });
    assert_eq!(till.post(&thin), (200, received()));
    till.settle();
    assert_eq!(till.post(&thin), (200, duplicate()));
    assert_eq!(row(&till, "evt_thin", "status"), "ignored");
    assert_eq!(
        (row(&till, "evt_thin", "object_id"), row(&till, "evt_thin", "event_created")),
        (json!("in_1"), json!(START_S))
    );
    assert!(row(&till, "evt_thin", "processing_error").as_str().unwrap().contains("thin"));
}

#[test]
fn another_event_under_a_known_id_does_not_replace_the_first() {
    let mut till = Till::new();
    let first = event("evt_1", &json!({"id": "thing_1", "object": "thing"}));
    assert_eq!(till.post(&first), (200, received()));
    let other = event("evt_1", &json!({"id": "thing_2", "object": "thing"}));
    assert_eq!(till.post(&other), (200, duplicate()));
    till.settle();
    assert_eq!((rows(&till), row(&till, "evt_1", "data")), (json!(1), json!(first.to_string())));
    assert_eq!(till.value("SELECT group_concat(id) FROM stripe_objects"), "thing_1");
}

#[test]
fn an_event_whose_object_has_no_id_is_kept() {
    let mut till = Till::new();
    let upcoming = sample("invoice.upcoming", "alice", "1");
    let nameless = event("evt_1", &json!({"object": "thing"}));
    let numbered = event("evt_2", &json!({"object": "thing", "id": 7}));
    till.feed(&[upcoming, nameless, numbered]);
    assert_eq!(
        till.value(
            "SELECT count(*) FROM stripe_webhooks_log WHERE status = 'ignored' AND processing_error IS NOT NULL"
        ),
        3
    );
    assert_eq!(till.value("SELECT count(*) FROM stripe_invoices"), 0);
}

#[test]
fn an_event_of_a_connected_account_is_mirrored_and_no_more() {
    let mut till = Till::new();
    let mut theirs = sample("customer.subscription.created", "alice", "1");
    theirs["account"] = json!("acct_1");
    till.feed(&[theirs]);
    assert_eq!(till.value("SELECT account FROM stripe_objects WHERE object = 'subscription'"), "acct_1");
    for table in ["stripe_subscriptions", "stripe_customers", "users", "subscription_events", "audit_log"] {
        assert_eq!(till.value(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    // The same object id of our own account is another object; a blank account is ours.
    let mut ours = sample("customer.subscription.created", "alice", "2");
    ours["account"] = json!("");
    till.feed(&[ours]);
    assert_eq!(till.value("SELECT count(*) FROM stripe_objects WHERE object = 'subscription'"), 2);
    assert_eq!(till.entitlement("alice")["entitled"], true);
}

#[test]
fn each_endpoint_takes_its_own_secrets_and_any_of_them() {
    let endpoints = vec![endpoint("/a", &["whsec_old", "whsec_new"]), endpoint("/b", &["whsec_b"])];
    let till = Till::with(Setup { endpoints, ..Setup::default() });
    let send = |path: &str, secret: &str, nonce: &str| {
        let body = sample("customer.created", "alice", nonce).to_string().into_bytes();
        let headers = vec![("Stripe-Signature".to_owned(), signature::sign(secret, START_S, &body))];
        till.hook(&request(Method::Post, path, headers, &body))
    };
    assert_eq!(send("/a", "whsec_old", "1"), (200, received()));
    assert_eq!(send("/a", "whsec_new", "2"), (200, received()));
    assert_eq!(send("/b", "whsec_b", "3"), (200, received()));
    assert_eq!(send("/b", "whsec_b", "1"), (200, duplicate()), "one log for all endpoints");
    assert_eq!(code(&send("/a", "whsec_b", "4")), (400, "signature_mismatch"));
    assert_eq!(code(&send("/b", "whsec_new", "4")), (400, "signature_mismatch"));
    assert_eq!(code(&send(PATH, "whsec_b", "4")), (404, "not_found"));
    assert_eq!(rows(&till), 3);
}

#[test]
fn everything_but_a_post_to_the_endpoint_and_healthz_is_404_or_405() {
    let till = Till::new();
    let ask = |method: Method, path: &str| till.hook(&request(method, path, Vec::new(), b""));
    assert_eq!(ask(Method::Get, "/healthz").0, 200);
    assert_eq!(ask(Method::Head, "/healthz").0, 200);
    assert_eq!(code(&ask(Method::Post, "/healthz")), (405, "method_not_allowed"));
    for method in [Method::Get, Method::Head, Method::Put, Method::Delete, Method::Other] {
        assert_eq!(code(&ask(method, PATH)), (405, "method_not_allowed"), "{method:?}");
    }
    for path in ["/", "/metrics", "/readyz", "/api/v1/users/alice", "/api/v1/admin/events", &format!("{PATH}//")] {
        assert_eq!(code(&ask(Method::Get, path)), (404, "not_found"), "the private side is not public: {path}");
    }
}

#[test]
fn one_slash_more_than_configured_is_as_none() {
    let till = Till::new();
    let body = event("evt_slash", &json!({"id": "thing_1"})).to_string();
    let signed = |path: &str| {
        let header = signature::sign(SECRET, till.clock.now_s(), body.as_bytes());
        till.hook(&request(Method::Post, path, vec![("Stripe-Signature".to_owned(), header)], body.as_bytes()))
    };
    assert_eq!(signed(&format!("{PATH}/")), (200, received()));
    assert_eq!(signed(PATH), (200, duplicate()));
    assert_eq!(code(&signed(&format!("{PATH}//"))), (404, "not_found"));
}

#[test]
fn an_offer_of_http_2_is_answered_in_http_11_and_a_webhook_at_a_wrong_path_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let body = event("evt_h2c", &json!({"id": "thing_1"})).to_string();
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let header = signature::sign(SECRET, now, body.as_bytes());
    let send = |path: &str| {
        let mut stream = std::net::TcpStream::connect(&live.public).unwrap();
        let upgrade =
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\n{upgrade}Stripe-Signature: {header}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        crate::front_door::one_reply(&mut stream).0
    };
    let answer = send(PATH);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"received\":true}"), "{answer}");
    assert!(send("/stripe/webhook").starts_with("HTTP/1.1 404 "));
    live.logged(&["path=/stripe/webhook", PATH, "correct the URL"]);
}

#[test]
fn refused_webhooks_do_not_fill_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    for _ in 0..60 {
        assert_eq!(post::post(&url_of(&live.public, PATH), &[], b"{}").unwrap().status, 400);
    }
    live.logged(&["webhook refused", "code=signature_missing"]);
    let lines = live.log_lines().iter().filter(|line| line.contains("webhook refused")).count();
    assert!(lines <= 10, "{lines} lines for 60 refusals of one kind");
}

#[test]
fn long_ids_escaped_nul_bytes_and_extreme_numbers_lose_nothing_and_stop_nobody() {
    let mut till = Till::new();
    let long = |prefix: &str| format!("{prefix}{}", "x".repeat(300));
    let mut odd = Vec::new();
    let mut named_long = sample("customer.subscription.created", "alice", "1");
    named_long["id"] = json!(long("evt_"));
    named_long["data"]["object"]["id"] = json!(long("sub_"));
    named_long["data"]["object"]["customer"] = json!(long("cus_"));
    named_long["data"]["object"]["metadata"]["user_id"] = json!(long("user_"));
    odd.push(named_long);
    let mut nul_in_id = sample("customer.created", "bob", "1");
    nul_in_id["data"]["object"]["id"] = json!("\0cus_nul");
    odd.push(nul_in_id);
    let mut nul_in_text = sample("customer.created", "carol", "1");
    nul_in_text["data"]["object"]["name"] = json!("a\0b");
    odd.push(nul_in_text);
    for (nonce, number) in
        [("1", json!(i64::MIN)), ("2", json!(i64::MAX)), ("3", json!(u64::MAX)), ("4", json!(-5)), ("5", json!(1e300))]
    {
        let mut event = sample("invoice.payment_failed", "dave", nonce);
        for key in ["amount_due", "amount_paid", "amount_remaining", "attempt_count", "created", "next_payment_attempt"]
        {
            event["data"]["object"][key] = number.clone();
        }
        odd.push(event);
        let mut event = sample("customer.subscription.created", &format!("erin_{nonce}"), nonce);
        for key in ["current_period_start", "current_period_end", "cancel_at", "trial_end", "created", "canceled_at"] {
            event["data"]["object"][key] = number.clone();
            event["data"]["object"]["items"]["data"][0][key] = number.clone();
        }
        event["data"]["object"]["status"] = json!("past_due");
        odd.push(event);
    }
    for event in &odd {
        assert_eq!(till.post(event), (200, received()), "{event}");
    }
    till.settle();
    assert_eq!(rows(&till), json!(odd.len()));
    let of = |condition: &str| till.value(&format!("SELECT count(*) FROM stripe_webhooks_log WHERE {condition}"));
    assert_eq!(of("status NOT IN ('processed', 'dead')"), 0);
    // What fits no column of 64 bits, and nothing else, is refused, with the place named.
    assert_eq!((of("status = 'dead'"), of("processing_error LIKE 'data.object.%'")), (json!(4), json!(4)));
    // Whatever stands in the tables, every answer about it can be given.
    for user in ["erin_1", "erin_2", "erin_4", "dave", "carol"] {
        for what in ["", "/entitlement", "/subscriptions", "/payment-failures", "/audit"] {
            let (status, answer) = till.get(&format!("/api/v1/users/{user}{what}"));
            assert!(status == 200 || status == 404, "{user}{what}: {answer}");
        }
    }
    assert_eq!(till.get("/api/v1/admin/events?limit=100").1["data"].as_array().unwrap().len(), odd.len());
    till.feed(&[sample("customer.subscription.created", "frank", "1")]);
    assert_eq!(till.entitlement("frank")["entitled"], true);
}

/// Opens and closes `levels` brackets.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

fn deep(id: &str, levels: usize) -> String {
    event(id, &json!({"id": id, "object": "thing", "metadata": "DEEP"}))
        .to_string()
        .replace("\"DEEP\"", &nested(levels))
}

#[test]
fn json_nested_deeper_than_can_be_read_is_kept_and_ends_as_a_dead_letter_in_the_living_process() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    assert_eq!(live.post(deep("evt_shallow", 100).as_bytes()).unwrap().status, 200);
    let body = deep("evt_deep", 10_000);
    let previous = event("evt_previous", &json!({"id": "t", "object": "thing"})).to_string();
    let previous = previous.replace(
        "\"data\":{",
        &format!("\"request\":{},\"data\":{{\"previous_attributes\":{},", nested(5_000), nested(5_000)),
    );
    for body in [&body, &previous] {
        assert_eq!(live.post(body.as_bytes()).unwrap().status, 200);
    }
    let after = sample("customer.subscription.created", "alice", "1").to_string();
    assert_eq!(live.post(after.as_bytes()).unwrap().status, 200);
    live.settle();
    for id in ["evt_deep", "evt_previous"] {
        let (status, letter) = live.get(&format!("/api/v1/admin/webhooks/dlq/{id}"));
        assert_eq!((status, &letter["retry_count"]), (200, &json!(1)));
        assert!(letter["error"].as_str().unwrap().contains("128 levels"), "{}", letter["error"]);
    }
    assert_eq!(live.get("/api/v1/admin/webhooks/dlq/evt_deep").1["payload"], json!(body), "byte for byte");
    assert_eq!(live.get("/api/v1/admin/events/evt_shallow").1["status"], "ignored");
    assert_eq!(live.get("/api/v1/users/alice/entitlement").1["entitled"], true);
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn the_contract_holds_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start_with(dir.path(), &[("STRIPE_WEBHOOK_SECRETS", "whsec_second,whsec_third")]);
    contract(&live);
    let body = sample("customer.created", "zoe", "1").to_string();
    for (secret, status) in [("whsec_second", 200), ("whsec_third", 200), (SECRET, 200), ("whsec_fourth", 400)] {
        assert_eq!(post_signed(&live, secret, body.as_bytes()), status, "{secret}");
    }
}

#[test]
fn the_contract_holds_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("public.sock");
    let address = format!("unix:{}", socket.display());
    let live = Live::start_with(dir.path(), &[("TILLD_PUBLIC_LISTEN", &address)]);
    assert_eq!(live.public, address);
    contract(&live);
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    live.kill();
    // The socket that a killed process leaves behind is in nobody's way.
    let live = Live::start_with(dir.path(), &[("TILLD_PUBLIC_LISTEN", &address)]);
    let event = sample("customer.created", "alice", "1").to_string();
    let again = live.post(event.as_bytes()).unwrap();
    assert_eq!((again.status, again.body), (200, duplicate().to_string()));
    assert_eq!(live.terminate(), Some(0));
    assert!(!socket.exists());
}

fn post_signed(live: &Live, secret: &str, body: &[u8]) -> u16 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let header = signature::sign(secret, i64::try_from(now).unwrap(), body);
    post::post(&url_of(&live.public, PATH), &[("Stripe-Signature", &header)], body).unwrap().status
}

/// What every kind of listener must do.
fn contract(live: &Live) {
    let event = sample("customer.created", "alice", "1").to_string();
    let says = |answer: post::DaemonAnswer| (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap());
    assert_eq!(says(live.post(event.as_bytes()).unwrap()), (200, received()));
    assert_eq!(says(live.post(event.as_bytes()).unwrap()), (200, duplicate()));
    let bare = says(post::post(&url_of(&live.public, PATH), &[], event.as_bytes()).unwrap());
    assert_eq!(code(&bare), (400, "signature_missing"));
    let stale = signature::sign(SECRET, START_S - 400, event.as_bytes());
    let old = says(post::post(&url_of(&live.public, PATH), &[("Stripe-Signature", &stale)], event.as_bytes()).unwrap());
    assert_eq!(code(&old).0, 400);
    assert_eq!(code(&says(live.post(b"{\"id\":\"\xff\"}").unwrap())), (400, "invalid_payload"));
    assert_eq!(code(&says(post::post(&url_of(&live.public, "/elsewhere"), &[], b"").unwrap())), (404, "not_found"));
    assert_eq!(
        code(&says(post::post(&url_of(&live.public, "/healthz"), &[], b"").unwrap())),
        (405, "method_not_allowed")
    );
    let large = vec![b' '; 1_048_577];
    let refused = post::post(&url_of(&live.public, PATH), &[], &large);
    // Who answers before the body has come may be cut off by the system before the answer is read.
    if let Ok(answer) = refused {
        assert_eq!(code(&says(answer)), (413, "body_too_large"));
    }
    live.settle();
}

#[test]
fn a_body_is_kept_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let body = "\r\n\t{ \"id\":\"evt_1\", \"object\":\"event\" ,\"type\":\"thing.made\",\"created\":1,\"data\":{\"object\":{\"id\":\"t\",\"object\":\"thing\",\"n\":1.10,\"z\":1e2,\"e\":\"\\u00e9é😀\\ud83d\\ude00\"}}}\n ";
    assert_eq!(live.post(body.as_bytes()).unwrap().status, 200);
    live.settle();
    assert_eq!(live.terminate(), Some(0));
    let connection = Connection::open(database(dir.path())).unwrap();
    let kept: String = connection.query_row("SELECT data FROM stripe_webhooks_log", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, body);
    let mirrored: String = connection.query_row("SELECT data FROM stripe_objects", [], |row| row.get(0)).unwrap();
    assert!(mirrored.contains("\"n\":1.10,\"z\":1e2"), "{mirrored}");
}
