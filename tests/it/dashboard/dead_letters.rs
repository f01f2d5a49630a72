//! Dead letters on their page: the reason in words, and acts on one, on the ticked ones, and on all that match.

use serde_json::{Value, json};

use super::{logged_in, text};
use crate::harness::{START_S, Till};
use crate::samples::raw;

/// An event that no projection can read: it goes to the dead letters at once.
fn unreadable(number: i64, verb: &str) -> Value {
    let object = json!({"object": "subscription", "id": format!("sub_{number}"), "status": 7});
    raw(&format!("evt_{number}"), &format!("customer.subscription.{verb}"), START_S + number, object)
}

fn till(count: i64) -> Till {
    let mut till = Till::new();
    let events: Vec<Value> =
        (0..count).map(|number| unreadable(number, if number % 2 == 0 { "created" } else { "updated" })).collect();
    till.feed(&events);
    till
}

fn count(till: &Till, condition: &str) -> Value {
    till.value(&format!("SELECT count(*) FROM {condition}"))
}

#[test]
fn the_page_says_what_dead_letters_are_and_why_each_was_given_up() {
    let till = till(3);
    let browser = logged_in(&till);
    let page = browser.page(&till, "dead-letters");
    for words in ["3 dead letters", "lacks something that tilld needs", "data.object.", "name=\"id\" value=\"evt_1\""] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(browser.page(&till, "dead-letters?type=invoice.paid").contains("No dead letters match."));
    assert!(browser.page(&till, "dead-letters?type=customer.subscription.updated").contains("1 dead letter"));
    assert!(browser.page(&till, "dead-letters?error=data.object").contains("3 dead letters"));
    assert!(logged_in(&Till::new()).page(&Till::new(), "login").contains("Log in"));
}

#[test]
fn those_that_are_ticked_are_replayed_after_a_yes_and_the_others_are_not() {
    let mut till = till(4);
    let browser = logged_in(&till);
    let ask = "dead-letters-replay?id=evt_1&id=evt_3&id=evt_none";
    let page = browser.page(&till, ask);
    assert!(page.contains("2 dead letters become pending again") && page.contains("Replay 2 events"), "{page}");
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(4), "asking changes nothing");
    let told = browser.confirm(&till, ask, &[]);
    assert!(told.contains("Replayed 2 events."), "{told}");
    assert_eq!(count(&till, "stripe_webhooks_log WHERE status = 'pending' AND status <> 'processed'"), json!(2));
    assert_eq!(count(&till, "audit_log WHERE action = 'event.replay' AND actor = 'dashboard'"), json!(2));
    assert!(till.bell.try_recv().is_ok(), "the worker is woken");
    till.settle();
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(4), "they fail again");
}

#[test]
fn all_that_match_are_taken_and_what_came_after_the_question_is_not() {
    let mut till = till(600);
    let browser = logged_in(&till);
    let ask = "dead-letters-discard?all=1&type=customer.subscription.created";
    let page = browser.page(&till, ask);
    assert!(page.contains("Discard 300 events"), "{page}");
    let newest = page.split("name=\"newest\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    till.feed(&[unreadable(1000, "created")]);
    let fields = [("newest", newest.as_str()), ("type", "customer.subscription.created"), ("reason", " not <ours> ")];
    assert_eq!(browser.act(&till, "dead-letters-discard", &fields).status, 303);
    assert!(browser.page(&till, "dead-letters").contains("Discarded 300 events."));
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(301));
    let audit =
        "audit_log WHERE action = 'dead_letter.discard' AND actor = 'dashboard' AND detail ->> 'reason' = 'not <ours>'";
    assert_eq!(count(&till, audit), json!(300));
    let told = browser.confirm(&till, "dead-letters-replay?all=1", &[]);
    assert!(told.contains("Replayed 301 events."), "{told}");
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(0));
}

#[test]
fn an_act_on_nothing_or_on_an_event_that_is_no_dead_letter_is_refused() {
    let mut till = till(1);
    let fine = raw("evt_fine", "widget.made", START_S, json!({"id": "w_1", "object": "widget"}));
    till.feed(&[fine]);
    let browser = logged_in(&till);
    for name in ["dead-letters-replay", "dead-letters-discard"] {
        assert_eq!(browser.get(&till, name).0, 400, "{name}");
        assert_eq!(browser.get(&till, &format!("{name}?id=evt_fine")).0, 400, "{name}");
        for fields in [&[][..], &[("id", "evt_fine")][..], &[("id", "evt_none")][..], &[("newest", "0")][..]] {
            let response = browser.act(&till, name, fields);
            assert_eq!(response.status, 400, "{name} {fields:?}: {}", text(&response));
        }
    }
    assert_eq!(count(&till, "audit_log WHERE actor = 'dashboard'"), json!(0));
    assert_eq!(till.value("SELECT status FROM stripe_webhooks_log WHERE event_id = 'evt_fine'"), json!("ignored"));
}

/// The hidden `newest` of a question.
fn newest(page: &str) -> String {
    page.split("name=\"newest\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn a_yes_never_reaches_letters_that_took_the_places_of_those_that_were_asked_about() {
    let mut till = till(2);
    let browser = logged_in(&till);
    let asked = newest(&browser.page(&till, "dead-letters-discard?all=1"));
    assert!(browser.confirm(&till, "dead-letters-discard?all=1", &[]).contains("Discarded 2 events."));
    till.feed(&[unreadable(10, "created"), unreadable(11, "created")]);
    assert_eq!(browser.act(&till, "dead-letters-discard", &[("newest", &asked)]).status, 400, "nobody saw these");
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(2));
}

#[test]
fn a_letter_that_was_replayed_and_died_again_is_a_new_one_for_a_yes_from_before() {
    let mut till = till(2);
    let browser = logged_in(&till);
    let asked = newest(&browser.page(&till, "dead-letters-replay?all=1"));
    assert!(browser.confirm(&till, "dead-letters-replay?all=1", &[]).contains("Replayed 2 events."));
    till.settle();
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(2), "they die again");
    assert_eq!(browser.act(&till, "dead-letters-replay", &[("newest", &asked)]).status, 400);
    assert_eq!(count(&till, "webhook_dead_letter_queue"), json!(2));
}
