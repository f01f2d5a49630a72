//! Where a name leads is looked at when it is connected to.

use std::net::SocketAddr;
use tilld::notify::attempt::DeliveryOutcome;

use tilld::notify::endpoints::target::{AllowedTargets, TargetGuard};
use tilld::notify::endpoints::webhook::{WebhookSender, WebhookSigning};
use tilld::store::outbox::OutboxEffect;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::receiver::{Receiver, Reply};
use super::{IMPATIENT, START_MS, WHSEC, key, put};
use crate::harness::Till;

/// A name server that is in an attacker's hands.
#[derive(Debug)]
struct Names(Vec<SocketAddr>);

impl Resolver for Names {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        self.0.iter().for_each(|address| found.push(*address));
        Ok(found)
    }
}

fn send(url: &str, addresses: &[String], allowed: AllowedTargets) -> DeliveryOutcome {
    let names = Names(addresses.iter().map(|text| text.parse().unwrap()).collect());
    let signing = WebhookSigning::Standard(vec![key(WHSEC)]);
    let sender = WebhookSender::through(TargetGuard::over(names, allowed), (url, signing), IMPATIENT);
    let (dedupe_key, payload) = ("x".to_owned(), "{}".to_owned());
    sender.send(&OutboxEffect { id: 1, dedupe_key, user_id: None, payload, attempts: 1, claimed_at_ms: 0 }, START_MS)
}

fn is_refused(outcome: &DeliveryOutcome) -> bool {
    matches!(outcome, DeliveryOutcome::TryAgain { why, .. } if why.contains("private or local address"))
}

#[test]
fn a_name_that_leads_into_a_private_network_is_refused_and_nothing_is_connected_to() {
    let receiver = Receiver::answering(Reply::Status(200));
    let url = receiver.url().replace("127.0.0.1", "app.example.com");
    let here = url.split('/').nth(2).unwrap().replace("app.example.com", "127.0.0.1");
    let mapped = here.replace("127.0.0.1", "[::ffff:127.0.0.1]");
    let all = [here.clone(), mapped.clone(), "169.254.169.254:80".to_owned(), "10.0.0.1:80".to_owned()];
    for addresses in [&all[..], &all[..1], &all[1..2], &all[2..3], &all[3..]] {
        assert!(is_refused(&send(&url, addresses, AllowedTargets::Public)), "{addresses:?}");
    }
    assert_eq!(receiver.count(), 0);
    // The same name, where the operator has said that it may.
    assert!(matches!(send(&url, &[here], AllowedTargets::Everywhere), DeliveryOutcome::Done(_)));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn an_address_in_the_url_is_looked_at_too_in_every_spelling() {
    let receiver = Receiver::answering(Reply::Status(200));
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}");
        let sender = WebhookSender::new(&url, WebhookSigning::Standard(vec![key(WHSEC)]), AllowedTargets::Public);
        let (dedupe_key, payload) = ("x".to_owned(), "{}".to_owned());
        let effect = OutboxEffect { id: 1, dedupe_key, user_id: None, payload, attempts: 1, claimed_at_ms: 0 };
        let outcome = sender.send(&effect, START_MS);
        assert!(matches!(outcome, DeliveryOutcome::TryAgain { .. }), "{host}: {outcome:?}");
    }
    assert_eq!(receiver.count(), 0);
}

#[test]
fn a_refused_endpoint_keeps_its_events() {
    let till = Till::new();
    let id = put(&till.store, "https://10.0.0.1/hook", None, 1);
    let sender =
        WebhookSender::new("https://10.0.0.1/hook", WebhookSigning::Standard(vec![key(WHSEC)]), AllowedTargets::Public);
    let attempt = Box::new(move |effect: &_, now_ms| sender.send(effect, now_ms));
    let books = tilld::jobs::lane::LaneKind::Endpoint(super::endpoint("https://10.0.0.1/hook"));
    let lane = tilld::jobs::lane::DeliveryLane::new(till.store.clone(), "https://10.0.0.1/hook", books, attempt);
    assert_eq!(super::Stepper::over(&till, lane).settle(), 1);
    assert_eq!(super::state(&till, id).0, "pending");
    let why = till.value("SELECT last_error FROM outbox");
    assert!(why.as_str().unwrap().contains("allow_private"), "{why}");
}
