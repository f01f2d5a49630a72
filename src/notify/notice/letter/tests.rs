#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;

/// 24 November 2026, noon.
const NOW: i64 = 1_795_521_600;
const DAY: i64 = 86_400;

fn facts() -> Value {
    json!({
        "invoice_id": "in_1", "subscription_id": "sub_1", "customer_id": "cus_1", "amount": 1200, "currency": "usd",
        "failure_code": "expired_card", "attempt": 2, "next_attempt_at": NOW + 3 * DAY, "first_failed_at": NOW,
        "failed_at": NOW, "settled_at": NOW + DAY, "grace_period_end": NOW + 7 * DAY, "invoice_number": "INV-7",
        "hosted_invoice_url": "https://pay.example/in_1", "invoice_pdf": "https://pay.example/in_1.pdf",
        "tier": "pro", "tier_now": "free", "due_date": NOW + 14 * DAY, "period_start": NOW, "period_end": NOW + 30 * DAY,
        "trial_end": NOW + 3 * DAY, "interval": "month", "interval_count": 1, "evidence_due_by": NOW + 9 * DAY,
        "dispute_id": "dp_1", "charge_id": "ch_1", "payment_intent_id": "pi_1", "reason": "fraudulent",
        "event_id": "evt_1", "event_type": "invoice.paid", "attempts": 8, "error": "no such column",
        "received_at": NOW, "url": "https://app.example/hooks?key=secret", "disabled_at": NOW,
    })
}

fn written(kind: &str, change: impl FnOnce(&mut Value)) -> Letter {
    let mut facts = facts();
    change(&mut facts);
    let payload = json!({"notice": kind, "to": "a@b.example", "facts": facts, "user": {"id": "u1", "name": "Jane"}});
    let mail: NoticeMail = serde_json::from_value(payload).unwrap();
    mail.notice.letter("Example")
}

fn whole(letter: &Letter) -> String {
    format!("{letter:?}")
}

#[test]
fn every_kind_has_a_subject_a_heading_and_a_sentence_with_all_facts_and_with_none() {
    for kind in MailKind::ALL.iter().map(|kind| kind.as_str()) {
        for letter in [written(kind, |_| {}), written(kind, |facts| *facts = json!({}))] {
            assert!(letter.subject.contains("Example"), "{kind}: {}", letter.subject);
            assert!(!letter.heading.is_empty() && !letter.sentences.is_empty(), "{kind}");
            let text = whole(&letter);
            for blank in ["  ", " .", " ,", "None plan", "null", "NaN"] {
                assert!(!letter.sentences.join("|").contains(blank), "{kind}: {blank:?} in {text}");
            }
        }
    }
}

#[test]
fn a_failed_payment_says_what_why_what_next_and_until_when() {
    let letter = written("payment_failed", |_| {});
    assert_eq!(letter.subject, "Your payment of $12.00 to Example did not go through");
    let text = letter.sentences.join(" ");
    for part in
        ["$12.00 for your Pro plan because the card has expired", "again on 27 November 2026", "Until 1 December 2026"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(letter.button.unwrap().url, "https://pay.example/in_1");
}

#[test]
fn without_another_attempt_nobody_is_told_to_wait_for_one() {
    let text = written("payment_retry", |facts| facts["next_attempt_at"] = Value::Null).sentences.join(" ");
    assert!(text.contains("will not try again") && !text.contains("again on"), "{text}");
}

#[test]
fn a_trial_that_ends_by_itself_is_not_charged_for() {
    let goes_on = written("trial_will_end", |_| {}).sentences.join(" ");
    assert!(goes_on.contains("your Pro plan goes on for $12.00 every month"), "{goes_on}");
    let ends = written("trial_will_end", |facts| facts["ends_with_trial"] = json!(true)).sentences.join(" ");
    assert!(ends.contains("nothing is charged") && !ends.contains("$"), "{ends}");
}

#[test]
fn an_invoice_of_nothing_asks_for_nothing_and_one_with_a_due_day_names_it() {
    let nothing = written("invoice_finalized", |facts| facts["amount"] = json!(0)).sentences.join(" ");
    assert!(nothing.contains("Nothing is due"), "{nothing}");
    let due = written("invoice_finalized", |_| {}).sentences.join(" ");
    assert!(due.contains("Please pay it by 8 December 2026"), "{due}");
}

#[test]
fn an_endpoint_is_named_without_what_may_be_a_secret_in_its_url() {
    let text = whole(&written("webhook_endpoint_disabled", |_| {}));
    assert!(text.contains("https://app.example/hooks") && !text.contains("secret"), "{text}");
}

#[test]
fn a_link_that_is_none_of_ours_makes_no_button() {
    for wrong in ["http://pay.example", "javascript:alert(1)", "https://x\" onclick=\"y"] {
        assert_eq!(written("payment_failed", |facts| facts["hosted_invoice_url"] = json!(wrong)).button, None);
    }
    let dispute = written("dispute_created", |facts| facts["payment_intent_id"] = json!("../x?y"));
    assert_eq!(dispute.button, None);
}

#[test]
fn a_currency_that_is_none_makes_no_amount() {
    let letter = written("payment_failed", |facts| facts["currency"] = json!("💰"));
    assert_eq!(letter.subject, "Your payment to Example did not go through");
}
