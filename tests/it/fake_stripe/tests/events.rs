//! Events: kept, listed, delivered, lost.

use std::net::TcpListener;

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;
use tilld::base::clock::Clock;
use tilld::stripe::signature;

use super::super::{Rule, wire};
use super::{FakeStripe, get, post, raw};
use crate::harness::{PATH, SECRET};
use crate::live::{self, Live};

const DAY_MS: i64 = 86_400_000;

/// Answers one request with each status, in order; what it got.
fn sink(statuses: &[u16]) -> (String, std::thread::JoinHandle<Vec<wire::Incoming>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let statuses = statuses.to_vec();
    let thread = super::super::spawn(move || {
        let mut got = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            got.push(wire::read(&mut stream, &mut Vec::new()).unwrap().unwrap());
            let answer = wire::Outgoing { status, headers: Vec::new(), body: b"{}".to_vec() };
            wire::write(&mut stream, &wire::Reply::Send(answer), false).unwrap();
        }
        got
    });
    (url, thread)
}

fn ids(requests: &[wire::Incoming]) -> Vec<String> {
    let read = |request: &wire::Incoming| serde_json::from_slice::<Value>(&request.body).unwrap();
    requests.iter().map(|request| read(request)["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_update_tells_what_was_before() {
    let fake = FakeStripe::start();
    let headers = [super::AUTH, super::FORM, ("Idempotency-Key", "k1")];
    let customer = raw(&fake, "POST /v1/customers", &headers, "name=a&metadata[x]=1").unwrap().id();
    let path = format!("/v1/customers/{customer}");
    post(&fake, &path, "name=b&metadata[y]=2");
    post(&fake, &path, "name=b");
    let events = fake.events();
    assert_eq!(fake.event_types(), ["customer.created", "customer.updated"], "nothing changed, nothing told");
    assert_eq!(events[0]["created"], events[1]["created"]);
    assert_eq!(events[1]["data"]["previous_attributes"], json!({ "name": "a", "metadata": { "y": null } }));
    assert_eq!(events[0]["request"]["idempotency_key"], "k1");
    assert_eq!(events[0]["data"]["object"]["name"], "a");
    let listed = get(&fake, "/v1/events");
    assert_eq!(listed.ids(), [events[1]["id"].as_str().unwrap(), events[0]["id"].as_str().unwrap()]);
    assert_eq!(get(&fake, &format!("/v1/events/{}", listed.ids()[0])).body["type"], "customer.updated");
}

#[test]
fn events_keep_their_version_and_are_kept_for_thirty_days() {
    let fake = FakeStripe::start();
    fake.set_version(ApiVersion::Acacia);
    post(&fake, "/v1/customers", "name=a");
    let event = get(&fake, "/v1/events").body["data"][0].clone();
    assert_eq!(event["api_version"], "2024-09-30.acacia");
    fake.set_version(ApiVersion::Endive);
    post(&fake, "/v1/customers", "name=b");
    let old = [super::AUTH, ("Stripe-Version", "2024-09-30.acacia")];
    let newest = raw(&fake, "GET /v1/events", &old, "").unwrap().body["data"][0].clone();
    assert!(newest["data"]["object"].get("business_name").is_some(), "as it was made, whoever asks");
    assert!(event["data"]["object"].get("business_name").is_none());
    let path = format!("/v1/events/{}", event["id"].as_str().unwrap());
    fake.clock().advance(30 * DAY_MS);
    assert_eq!(get(&fake, &path).status, 200);
    fake.clock().advance(1000);
    assert_eq!((get(&fake, &path).status, get(&fake, "/v1/events").ids().len()), (404, 0));
}

#[test]
fn events_are_filtered_by_type_and_delivery() {
    let fake = FakeStripe::start();
    post(&fake, "/v1/customers", "name=a");
    post(&fake, "/v1/products", "name=a");
    let count = |query: &str| get(&fake, &format!("/v1/events?{query}")).ids().len();
    assert_eq!((count("type=customer.created"), count("type=customer.%2A"), count("type=invoice.paid")), (1, 1, 0));
    assert_eq!(count("types[]=customer.created&types[]=product.created"), 2);
    assert_eq!(get(&fake, "/v1/events?type=a&types[0]=b").error().1, "parameters_exclusive");
    assert_eq!((count("delivery_success=true"), count("delivery_success=false")), (2, 0));
    fake.deliver_to("http://127.0.0.1:1/hook", "whsec_x", ApiVersion::Endive);
    post(&fake, "/v1/customers", "name=b");
    assert_eq!(fake.flush()[0].status, None);
    assert_eq!((count("delivery_success=true"), count("delivery_success=false")), (2, 1));
}

#[test]
fn a_thin_event_names_its_object() {
    let fake = FakeStripe::start();
    let customer = post(&fake, "/v1/customers", "name=a").id();
    let id = get(&fake, "/v1/events").ids()[0].replace("evt_F", "evt_T");
    let thin = get(&fake, &format!("/v2/core/events/{id}")).body;
    assert_eq!((&thin["object"], &thin["type"]), (&json!("v2.core.event"), &json!("v1.customer.created")));
    let url = thin["related_object"]["url"].as_str().unwrap();
    assert_eq!(get(&fake, url).id(), customer);
    assert!(thin["created"].as_str().unwrap().ends_with('Z') && thin.get("data").is_none());
    assert_eq!(thin["snapshot_event"], get(&fake, "/v1/events").ids()[0]);
    assert_eq!(get(&fake, "/v2/core/events/evt_T1").status, 404);
}

#[test]
fn thin_events_are_delivered_signed_and_without_their_object() {
    let fake = FakeStripe::start();
    let (url, hook) = sink(&[200]);
    fake.deliver_thin_to(&url, "whsec_x");
    fake.set_context("acct_1");
    post(&fake, "/v1/customers", "name=a");
    assert_eq!(fake.flush()[0].status, Some(200));
    let got = hook.join().unwrap();
    let now_s = fake.clock().now_s();
    signature::verify(got[0].header("stripe-signature"), &got[0].body, &["whsec_x"], 0, now_s).unwrap();
    let thin: Value = serde_json::from_slice(&got[0].body).unwrap();
    assert_eq!((&thin["object"], &thin["context"]), (&json!("v2.core.event"), &json!("acct_1")));
    assert!(thin.get("data").is_none() && thin.get("snapshot_event").is_none());
}

#[test]
fn webhooks_are_signed_in_the_endpoints_version_and_tried_until_accepted() {
    let fake = FakeStripe::start();
    let (url, hook) = sink(&[500, 200]);
    fake.deliver_to(&url, "whsec_x", ApiVersion::Acacia);
    post(&fake, "/v1/customers", "name=a");
    assert_eq!([fake.flush(), fake.flush()].map(|tries| tries[0].status), [Some(500), Some(200)]);
    assert!(fake.flush().is_empty());
    let got = hook.join().unwrap();
    let now_s = fake.clock().now_s();
    signature::verify(got[1].header("stripe-signature"), &got[1].body, &["whsec_x"], 0, now_s).unwrap();
    let event: Value = serde_json::from_slice(&got[1].body).unwrap();
    assert_eq!((&event["api_version"], &event["pending_webhooks"]), (&json!("2024-09-30.acacia"), &json!(1)));
    assert_eq!(get(&fake, "/v1/events").body["data"][0]["pending_webhooks"], 0);
}

#[test]
fn an_endpoint_made_by_a_call_gets_what_it_asked_for() {
    let fake = FakeStripe::start();
    let (url, hook) = sink(&[200]);
    let form = format!("url={}&enabled_events[0]=product.created", url.replace(':', "%3A").replace('/', "%2F"));
    let endpoint = post(&fake, "/v1/webhook_endpoints", &form);
    let secret = endpoint.body["secret"].as_str().unwrap();
    post(&fake, "/v1/customers", "name=a");
    post(&fake, "/v1/products", "name=a");
    assert_eq!(fake.flush().len(), 1);
    let got = hook.join().unwrap();
    let now_s = fake.clock().now_s();
    signature::verify(got[0].header("stripe-signature"), &got[0].body, &[secret], 0, now_s).unwrap();
    let listed = get(&fake, "/v1/webhook_endpoints").body["data"][0].clone();
    assert_eq!((&listed["id"], listed.get("secret")), (&json!(endpoint.id()), None));
    assert_eq!(super::delete(&fake, &format!("/v1/webhook_endpoints/{}", endpoint.id())).body["deleted"], true);
    post(&fake, "/v1/products", "name=b");
    assert!(fake.flush().is_empty());
}

#[test]
fn the_same_seed_loses_doubles_and_shuffles_the_same() {
    let run = |seed| {
        let fake = FakeStripe::start();
        fake.deliver_to("http://127.0.0.1:1/hook", "whsec_x", ApiVersion::Endive);
        fake.mail_by(Rule { seed, lost_percent: 20, twice_percent: 20, shuffle: true });
        (0..40).for_each(|n| drop(post(&fake, "/v1/customers", &format!("name=n{n}"))));
        fake.flush().into_iter().map(|delivery| delivery.event_id).collect::<Vec<_>>()
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let mut distinct = first.clone();
    distinct.sort();
    assert_ne!(distinct, first, "shuffled");
    distinct.dedup();
    assert!(distinct.len() < first.len(), "some come twice");
    assert!(distinct.len() < 40, "some are lost");
}

#[test]
fn a_lost_event_is_found_by_delivery_success() {
    let fake = FakeStripe::start();
    let (url, hook) = sink(&[200]);
    fake.deliver_to(&url, "whsec_x", ApiVersion::Endive);
    post(&fake, "/v1/customers", "name=a");
    fake.flush();
    fake.mail_by(Rule { lost_percent: 100, ..Rule::default() });
    post(&fake, "/v1/customers", "name=b");
    assert!(fake.flush().is_empty());
    let lost = get(&fake, "/v1/events?delivery_success=false");
    assert_eq!(lost.body["data"][0]["data"]["object"]["name"], "b");
    assert_eq!((lost.ids().len(), ids(&hook.join().unwrap()).contains(&lost.ids()[0].to_owned())), (1, false));
}

#[test]
fn tilld_hears_of_a_checkout_and_entitles() {
    let dir = tempfile::tempdir().unwrap();
    let till = Live::start(dir.path());
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 2000, "month");
    fake.deliver_to(&live::url_of(&till.public, PATH), SECRET, ApiVersion::Endive);
    fake.deliver_promptly();
    let form = "mode=subscription&success_url=x&client_reference_id=alice&line_items[0][price]=price_pro\
                &line_items[0][quantity]=1";
    let session = post(&fake, "/v1/checkout/sessions", form).id();
    fake.complete(&session, "pm_card_visa").unwrap();
    fake.wait_for_delivery();
    till.settle();
    let (status, entitlement) = till.get("/api/v1/users/alice/entitlement");
    assert_eq!((status, &entitlement["entitled"], &entitlement["tier"]), (200, &json!(true), &json!("pro")));
}
