//! One attempt: what is sent, and what each kind of answer leads to.

use tilld::jobs::lane::DELAYS_S;
use tilld::notify::attempt::DeliveryOutcome;
use tilld::notify::endpoints::target::{AllowedTargets, TargetGuard};
use tilld::notify::endpoints::webhook::{WebhookSender, WebhookSigning, WebhookTimeouts};
use tilld::store::outbox::OutboxEffect;
use tilld::stripe::signature;

use super::receiver::{Receiver, Reply};
use super::{IMPATIENT, START_MS, Stepper, WHSEC, key, put, sender, state, verifies};
use crate::harness::{START_S, Till};

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn effect(payload: &str) -> OutboxEffect {
    let dedupe_key = "webhook:x:test.made:1".to_owned();
    OutboxEffect { id: 1, dedupe_key, user_id: None, payload: payload.to_owned(), attempts: 1, claimed_at_ms: START_MS }
}

#[test]
fn the_body_is_sent_byte_for_byte_and_its_signature_fits_and_a_repeat_has_the_same_id() {
    let receiver = Receiver::answering(Reply::Status(204));
    let payload = "{ \"type\":\"x\",  \"é\\u00e9\" : 1.0, \"漢\":\"\\/\" }";
    let sender = sender(&receiver.url());
    for after_s in [0, 7] {
        let outcome = sender.send(&effect(payload), START_MS + after_s * 1000);
        assert_eq!(outcome, DeliveryOutcome::Done(Some("answered 204".to_owned())));
    }
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    for one in &got {
        assert!(verifies(WHSEC, one) && !verifies(OTHER, one));
        assert_eq!(one.text(), payload);
        assert_eq!(one.head(":first"), "POST /hook HTTP/1.1");
        assert_eq!(one.head("content-type"), "application/json");
        assert!(one.head("user-agent").starts_with("tilld/"));
    }
    assert_eq!(got[0].head("webhook-id"), got[1].head("webhook-id"));
    assert!(got[0].head("webhook-id").starts_with("msg_"));
    let times: Vec<&str> = got.iter().map(|one| one.head("webhook-timestamp")).collect();
    assert_eq!(times, [START_S.to_string(), (START_S + 7).to_string()]);
}

#[test]
fn while_a_secret_is_replaced_both_verify() {
    let receiver = Receiver::answering(Reply::Status(200));
    let signing = WebhookSigning::Standard(vec![key(WHSEC), key(OTHER)]);
    let sender =
        WebhookSender::through(TargetGuard::new(AllowedTargets::Loopback), (&receiver.url(), signing), IMPATIENT);
    assert!(matches!(sender.send(&effect("{}"), START_MS), DeliveryOutcome::Done(_)));
    let got = &receiver.got()[0];
    assert!(verifies(WHSEC, got) && verifies(OTHER, got));
    assert_eq!(got.head("webhook-signature").split(' ').count(), 2);
}

#[test]
fn what_is_forwarded_is_stripes_own_event_with_stripes_own_signature() {
    let receiver = Receiver::answering(Reply::Status(200));
    let original = "{\n  \"id\": \"evt_1\",  \"type\": \"invoice.paid\"}";
    let signing = WebhookSigning::Stripe("whsec_dev".to_owned());
    let sender =
        WebhookSender::through(TargetGuard::new(AllowedTargets::Loopback), (&receiver.url(), signing), IMPATIENT);
    let payload = format!("{{\"type\":\"stripe.invoice.paid\",\"timestamp\":\"x\",\"data\":{original}}}");
    assert!(matches!(sender.send(&effect(&payload), START_MS), DeliveryOutcome::Done(_)));
    let got = &receiver.got()[0];
    assert_eq!(got.text(), original);
    signature::verify(Some(got.head("stripe-signature")), &got.body, &["whsec_dev"], 300, START_S).unwrap();
}

#[test]
fn whatever_a_receiver_does_the_attempt_ends_and_says_how() {
    let table = [
        (Reply::Status(200), "answered 200"),
        (Reply::EndlessBody, "answered 200"),
        (Reply::Status(500), "answered 500"),
        (Reply::Status(404), "answered 404"),
        (Reply::With(302, "Location: http://127.0.0.1:1/\r\n"), "answered 302, a redirect, which is never followed"),
        (Reply::Hang, "no answer in time"),
        (Reply::Reset, "no answer"),
        (Reply::EndlessHead, "the head of its answer is too long"),
    ];
    for (reply, said) in table {
        let receiver = Receiver::answering(reply);
        let why = match sender(&receiver.url()).send(&effect("{}"), START_MS) {
            DeliveryOutcome::Done(note) => note.unwrap(),
            DeliveryOutcome::TryAgain { why, after_s: None } => why,
            outcome => unreachable!("{said}: {outcome:?}"),
        };
        assert!(why.starts_with(said) || (said.starts_with("the head") && why.contains("HTTP")), "{said}: {why}");
        assert_eq!(receiver.count(), 1, "{said}");
    }
    let receiver = Receiver::answering(Reply::Status(410));
    assert_eq!(sender(&receiver.url()).send(&effect("{}"), START_MS), DeliveryOutcome::Gone);
    let DeliveryOutcome::TryAgain { why, .. } = sender("http://127.0.0.1:1/").send(&effect("{}"), START_MS) else {
        unreachable!("nobody listens there");
    };
    assert!(why.contains("refused") || why.contains("no connection"), "{why}");
    let WebhookTimeouts { connect, silence, total } = WebhookTimeouts::default();
    assert!(connect.as_secs() == 5 && silence.as_secs() == 10 && total.as_secs() == 15);
}

#[test]
fn a_failed_event_is_tried_at_the_promised_times_and_then_given_up() {
    let till = Till::new();
    let receiver = Receiver::answering(Reply::Status(500));
    let id = put(&till.store, &receiver.url(), Some("alice"), 1);
    let behind = put(&till.store, &receiver.url(), Some("alice"), 2);
    let mut lane = Stepper::of(&till, &receiver.url());
    let mut at_s = 0;
    for (attempt, delay_s) in (1..).zip(DELAYS_S) {
        assert_eq!(lane.settle(), 1, "attempt {attempt}");
        let (status, attempts, due_s) = state(&till, id);
        assert_eq!((status.as_str(), attempts), ("pending", attempt));
        assert!((at_s + delay_s..=at_s + delay_s * 6 / 5).contains(&due_s), "attempt {attempt}: {due_s}");
        till.clock.set(START_MS + due_s * 1000);
        assert_eq!(lane.settle(), 0, "not before it is due");
        at_s = due_s + 1;
        till.clock.set(START_MS + at_s * 1000);
    }
    assert_eq!(lane.settle(), 2, "its last attempt, and the first of the one behind it");
    assert_eq!((state(&till, id).0.as_str(), state(&till, id).1), ("failed", 8));
    assert_eq!((state(&till, behind).0.as_str(), state(&till, behind).1), ("pending", 1));
}

#[test]
fn retry_after_rests_its_user_at_this_endpoint_and_nobody_else() {
    let till = Till::new();
    let receiver = Receiver::start(|got| match got.text() {
        text if text.contains("alice") => Reply::With(429, "Retry-After: 120\r\n"),
        _ => Reply::Status(200),
    });
    let put = |user, number| put(&till.store, &receiver.url(), Some(user), number);
    let (first, bob, second) = (put("alice", 1), put("bob", 2), put("alice", 3));
    let mut lane = Stepper::of(&till, &receiver.url());
    assert_eq!(lane.settle(), 2);
    assert_eq!(state(&till, first), ("pending".to_owned(), 1, 120));
    assert_eq!(state(&till, second), ("pending".to_owned(), 0, 0), "what is behind it waits");
    assert_eq!(state(&till, bob).0, "done");
    till.clock.advance(119_000);
    assert_eq!(lane.settle(), 0);
    till.clock.advance(1000);
    assert_eq!(lane.settle(), 1);
}
