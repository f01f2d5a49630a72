//! What holds for every kind, whoever adds one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::base::object_kind::{NestedListAt, ObjectState};
use crate::stripe::call::{Call, Priority, Verb};

fn unique<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let words: Vec<&str> = words.collect();
    words.iter().all(|word| !word.is_empty()) && words.iter().collect::<BTreeSet<_>>().len() == words.len()
}

fn place(object: &str) -> usize {
    all().position(|kind| kind.object == object).unwrap()
}

#[test]
fn objects_names_and_paths_are_told_apart_and_every_kind_has_them() {
    assert!(unique(all().map(|kind| kind.object)));
    assert!(unique(all().map(|kind| kind.name)));
    assert!(unique(all().map(|kind| kind.path)));
    for kind in all() {
        assert!(kind.path.starts_with("/v1/") && !kind.path.ends_with('/'), "{}", kind.path);
        assert!(!kind.permission.is_empty() && !kind.example.is_empty(), "{}", kind.object);
        assert_eq!((find(kind.object), named(kind.name)), (Some(kind), Some(kind)));
    }
}

#[test]
fn a_handled_event_type_belongs_to_exactly_one_kind() {
    assert!(unique(event_types()));
}

#[test]
fn the_kinds_that_are_projected_are_those_whose_events_are_handled() {
    for (kind, project) in KINDS {
        assert_eq!(project.is_some(), kind.has_table(), "{}", kind.object);
        assert_eq!(kind.events.is_empty(), !kind.has_table(), "{}", kind.object);
        let prefix = kind.event_prefix.unwrap_or(kind.object);
        let own = |event_type: &&str| event_type.rsplit_once('.').is_some_and(|(family, _)| family == prefix);
        assert_eq!(kind.events.iter().any(own), kind.has_table(), "{}: none begins with {prefix}", kind.object);
    }
}

#[test]
fn what_is_mirrored_can_be_fetched_again_and_an_id_cannot_lead_elsewhere() {
    for kind in all() {
        let path = kind.path_of("../50%/off?x#y");
        assert_eq!(path, format!("{}/..%2F50%25%2Foff%3Fx%23y", kind.path));
        for path in [&path, &kind.list_path(None), &kind.list_path(Some("cus_1"))] {
            let (idempotency_key, priority, context) = (None, Priority::Background, None);
            let call = Call { verb: Verb::Get, path, form: "", idempotency_key, priority, context };
            assert!(call.check().is_ok(), "{path}");
        }
    }
}

#[test]
fn the_list_of_one_customer_is_below_the_customer_and_only_for_kinds_that_have_no_list_of_all() {
    for kind in all() {
        let of_customer = kind.list_path(Some("cus/1"));
        assert_eq!(of_customer.starts_with("/v1/customers/cus%2F1/"), kind.is_per_customer(), "{of_customer}");
        // Customers are asked customer by customer, so these must have been read.
        assert!(!kind.is_per_customer() || place(kind.object) > place("customer"));
    }
    assert_eq!(find("payment_method").unwrap().list_path(Some("cus_1")), "/v1/customers/cus_1/payment_methods");
}

#[test]
fn what_answers_rest_on_is_read_first_and_by_default() {
    let deciding: Vec<&str> = of_answers().map(|kind| kind.object).collect();
    assert_eq!(deciding, ["customer", "subscription"]);
    assert_eq!(all().take(deciding.len()).map(|kind| kind.object).collect::<Vec<_>>(), deciding);
    assert!(of_answers().all(|kind| by_default().any(|read| read == kind) && kind.has_table()));
    let not_by_default: Vec<&str> =
        all().filter(|kind| !by_default().any(|read| read == *kind)).map(|kind| kind.object).collect();
    assert_eq!(not_by_default, ["payment_method"]);
}

#[test]
fn a_list_that_stripe_cuts_can_be_read_on_within_the_api() {
    for (kind, nested) in all().filter_map(|kind| Some((kind, kind.nested?))) {
        let (path, filter) = nested.path_of(kind, "a/b");
        match nested.whole {
            NestedListAt::Filtered(..) => assert!(path.starts_with("/v1/") && filter.unwrap().1 == "a/b"),
            NestedListAt::Below(_) => assert!(path.starts_with(&format!("{}/a%2Fb/", kind.path)) && filter.is_none()),
        }
        let example: Value = serde_json::from_str(kind.example).unwrap();
        assert_eq!(example["object"][nested.key]["object"], "list", "{}", kind.object);
    }
}

#[test]
fn a_status_that_cannot_be_left_is_no_less_progress_than_any_other() {
    let statuses = [
        "active",
        "trialing",
        "past_due",
        "unpaid",
        "paused",
        "incomplete",
        "incomplete_expired",
        "canceled",
        "open",
        "complete",
        "expired",
        "draft",
        "paid",
        "void",
        "uncollectible",
        "pending",
        "processing",
        "succeeded",
        "failed",
        "requires_action",
        "requires_capture",
        "requires_confirmation",
        "requires_payment_method",
        "won",
        "lost",
    ];
    for kind in all() {
        let shown: Vec<Value> =
            statuses.iter().map(|status| json!({"object": kind.object, "status": status})).collect();
        let progress = |object| (kind.progress)(&ObjectState { object, event_type: "", is_read: true });
        for terminal in shown.iter().filter(|object| kind.is_terminal(object)) {
            assert!(shown.iter().all(|other| progress(other) <= progress(terminal)), "{terminal}");
        }
        assert!(!kind.is_terminal(&json!({"object": kind.object})), "{}", kind.object);
    }
}

#[test]
fn an_unknown_kind_is_ordered_by_time_alone_and_is_asked_for_nowhere() {
    let payout = json!({"object": "payout", "status": "canceled"});
    assert_eq!((of_shown(&payout), find("payout"), has_table("payout")), (&ObjectKind::PLAIN, None, false));
    assert!(!of_shown(&payout).is_terminal(&payout));
    assert_eq!(event_type("payout", "read"), "payout.read");
    assert_eq!(event_type("subscription", "read"), "customer.subscription.read");
}

#[test]
fn each_kind_has_a_table_of_its_own_and_customers_which_others_refer_to_come_last() {
    assert!(unique(tables()));
    assert_eq!(tables().count(), all().filter(|kind| kind.has_table()).count());
    assert_eq!(tables().last(), Some("stripe_customers"));
}
