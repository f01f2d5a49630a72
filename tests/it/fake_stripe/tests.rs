//! Each rule of the fake, driven over its socket by the plainest of clients.

mod checkout;
mod events;
mod faults;
mod idempotency;
mod lists;
mod money;
mod resumed;
mod subscriptions;

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use tilld::base::clock::Clock;

use super::{FakeStripe, Fault};

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: Value,
    pub text: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| unreachable!("no id: {self:?}")).to_owned()
    }

    /// `(status, code, param)` of an error.
    pub fn error(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body["error"][name].as_str().unwrap_or_default();
        (self.status, text("code"), text("param"))
    }

    /// The ids of a list.
    pub fn ids(&self) -> Vec<&str> {
        self.body["data"].as_array().unwrap().iter().map(|member| member["id"].as_str().unwrap()).collect()
    }
}

/// A request with just these headers; `None` when the connection ended without an answer.
pub fn raw(fake: &FakeStripe, line: &str, headers: &[(&str, &str)], body: &str) -> Option<Got> {
    let mut stream = connect(fake);
    let mut request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some(Got {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
        text: body.to_owned(),
    })
}

pub fn connect(fake: &FakeStripe) -> TcpStream {
    let stream = TcpStream::connect(fake.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const AUTH: (&str, &str) = ("Authorization", "Bearer sk_test_fake_stripe");

pub fn post(fake: &FakeStripe, path: &str, form: &str) -> Got {
    raw(fake, &format!("POST {path}"), &[AUTH, FORM], form).unwrap()
}

pub fn post_keyed(fake: &FakeStripe, path: &str, form: &str, key: &str) -> Option<Got> {
    raw(fake, &format!("POST {path}"), &[AUTH, FORM, ("Idempotency-Key", key)], form)
}

pub fn get(fake: &FakeStripe, path: &str) -> Got {
    raw(fake, &format!("GET {path}"), &[AUTH], "").unwrap()
}

pub fn delete(fake: &FakeStripe, path: &str) -> Got {
    raw(fake, &format!("DELETE {path}"), &[AUTH], "").unwrap()
}

#[test]
fn without_the_key_nothing_is_done() {
    let fake = FakeStripe::start();
    for headers in
        [vec![FORM], vec![FORM, ("Authorization", "Bearer sk_test_other")], vec![FORM, ("Authorization", "x")]]
    {
        let got = raw(&fake, "POST /v1/customers", &headers, "").unwrap();
        assert_eq!((got.status, &got.body["error"]["type"]), (401, &json!("invalid_request_error")));
    }
    assert_eq!(fake.effects("customer"), 0);
    assert_eq!(AUTH.1, format!("Bearer {}", fake.key()));
}

#[test]
fn every_request_is_recorded_as_it_came() {
    let fake = FakeStripe::start();
    let headers = [AUTH, FORM, ("Stripe-Version", "2026-09-30.endive"), ("Idempotency-Key", "k1")];
    raw(&fake, "POST /v1/customers", &headers, "name=A%20B&metadata[a]=1").unwrap();
    get(&fake, "/v1/customers?limit=1");
    let requests = fake.requests();
    let (first, second) = (&requests[0], &requests[1]);
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/v1/customers"));
    assert_eq!(first.params, json!({ "name": "A B", "metadata": { "a": "1" } }));
    assert_eq!(first.body, b"name=A%20B&metadata[a]=1");
    assert_eq!(first.header("stripe-version"), Some("2026-09-30.endive"));
    assert_eq!(first.header("idempotency-key"), Some("k1"));
    assert_eq!((first.fault.as_ref(), first.at_s), (None, fake.clock().now_s()));
    assert_eq!((&second.params, second.connection), (&json!({ "limit": "1" }), 1));
    assert!(first.received <= second.received);
    assert_eq!(fake.requests_to("GET /v1/*").len(), 1);
}

#[test]
fn a_connection_serves_many_requests() {
    let fake = FakeStripe::start();
    let mut stream = connect(&fake);
    let request = format!("GET /v1/account HTTP/1.1\r\nHost: x\r\n{}: {}\r\n\r\n", AUTH.0, AUTH.1);
    stream.write_all(request.repeat(3).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 3);
    assert_eq!(text.matches("acct_FakeStripe").count(), 3);
    assert!(fake.requests().iter().all(|request| request.connection == 0));
}

#[test]
fn parameters_stand_in_the_body_of_a_post_and_in_the_query_of_others() {
    let fake = FakeStripe::start();
    let json = ("Content-Type", "application/json");
    for (line, headers, body) in [
        ("POST /v1/customers", vec![AUTH, json], "{}"),
        ("POST /v1/customers?name=a", vec![AUTH, FORM], ""),
        ("GET /v1/customers", vec![AUTH, FORM], "limit=1"),
    ] {
        assert_eq!(raw(&fake, line, &headers, body).unwrap().status, 400, "{line}");
    }
    for form in ["name", "name=a&name=b", "name=%zz", "name=%2a", "name=a b", "name[=a", "=a", "a=1&a[b]=2", "name=%FF"]
    {
        let got = post(&fake, "/v1/customers", form);
        assert_eq!(got.status, 400, "{form}");
        assert!(got.text.contains("Invalid request"), "{got:?}");
    }
    assert_eq!(raw(&fake, "PUT /v1/customers", &[AUTH], "").unwrap().status, 405);
    assert_eq!(fake.effects("customer"), 0);
}

#[test]
fn unknown_missing_and_malformed_parameters_are_named() {
    let fake = FakeStripe::start();
    let intent = "/v1/payment_intents";
    assert_eq!(post(&fake, "/v1/customers", "nme=a").error(), (400, "parameter_unknown", "nme"));
    assert_eq!(post(&fake, "/v1/customers", "address[town]=a&x[y]=b").error(), (400, "parameter_unknown", "x[y]"));
    assert_eq!(post(&fake, intent, "currency=usd").error(), (400, "parameter_missing", "amount"));
    assert_eq!(post(&fake, intent, "amount=1.5&currency=usd").error(), (400, "parameter_invalid_integer", "amount"));
    assert_eq!(get(&fake, "/v1/customers?sort=name").error(), (400, "parameter_unknown", "sort"));
    assert_eq!(get(&fake, "/v1/nothing").status, 404);
    assert_eq!(post(&fake, "/v1/invoices", "").status, 404);
    assert_eq!((fake.effects("customer"), fake.effects("payment_intent")), (0, 0));
}

#[test]
fn metadata_has_its_limits_and_is_laid_over_what_is_there() {
    let fake = FakeStripe::start();
    let customer = post(&fake, "/v1/customers", "metadata[a]=1&metadata[b]=2").id();
    let path = format!("/v1/customers/{customer}");
    assert_eq!(post(&fake, &path, "metadata[a]=&metadata[c]=3").body["metadata"], json!({ "b": "2", "c": "3" }));
    assert_eq!(post(&fake, &path, "name=x").body["metadata"], json!({ "b": "2", "c": "3" }));
    assert_eq!(post(&fake, &path, "metadata=").body["metadata"], json!({}));
    let many: Vec<String> = (0..51).map(|n| format!("metadata[k{n}]=v")).collect();
    for form in [many.join("&"), format!("metadata[{}]=v", "k".repeat(41)), format!("metadata[k]={}", "v".repeat(501))]
    {
        assert_eq!(post(&fake, &path, &form).error().0, 400);
    }
}

#[test]
fn answers_have_the_shape_of_the_version_asked_for() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let id = post(&fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]=price_pro")).id();
    let in_version =
        |version| raw(&fake, &format!("GET /v1/subscriptions/{id}"), &[AUTH, ("Stripe-Version", version)], "");
    let old = in_version("2024-09-30.acacia").unwrap();
    assert!(old.body["current_period_end"].is_i64());
    assert!(old.body["items"]["data"][0].get("current_period_end").is_none());
    let new = in_version("2026-10-28.endive").unwrap();
    assert!(new.body.get("current_period_end").is_none());
    assert!(new.body["items"]["data"][0]["current_period_end"].is_i64());
    assert_eq!(in_version("yesterday").unwrap().status, 400);
}

#[test]
fn a_panic_within_the_fake_is_a_panic_of_the_test() {
    let fake = FakeStripe::start();
    fake.fail(Fault::Panic, "/v1/account", 1);
    assert!(raw(&fake, "GET /v1/account", &[AUTH], "").is_none());
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(fake)));
    assert!(ended.is_err());
}
