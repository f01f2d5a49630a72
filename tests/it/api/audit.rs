//! The audit log as operators search it.

use serde_json::{Value, json};
use tilld::http::request::Method;

use super::{bad_parameter, fault};
use crate::harness::{START_S, Till};
use crate::samples::event;

const AUDIT: &str = "/api/v1/admin/audit";

/// Action and time of each row of a list.
fn listed(till: &Till, query: &str) -> Vec<(String, i64)> {
    let (status, list) = till.get(&format!("{AUDIT}?{query}"));
    assert_eq!(status, 200, "{list}");
    let rows = list["data"].as_array().unwrap().iter();
    rows.map(|row| (row["action"].as_str().unwrap().to_owned(), row["at"].as_i64().unwrap() - START_S)).collect()
}

fn rows(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected.iter().map(|(action, at)| ((*action).to_owned(), *at)).collect()
}

/// Four events, one of them late, and one act of an operator.
fn told() -> Till {
    let mut till = Till::new();
    let first = event("customer.created", "alice", START_S - 90, &[]);
    till.feed(&[
        first.clone(),
        event("customer.subscription.created", "alice", START_S - 60, &[]),
        event("customer.created", "bob", START_S - 30, &[]),
        event("customer.updated", "alice", START_S - 80, &[]),
    ]);
    let id = first["id"].as_str().unwrap();
    let (status, _) = till.call(Method::Post, &format!("/api/v1/admin/events/{id}/replay"), &Value::Null);
    assert_eq!(status, 200);
    till.settle();
    till
}

#[test]
fn the_audit_log_is_searched_by_user_action_actor_and_time() {
    let till = told();
    let (made, subscribed) = ("customer.created", "customer.subscription.created");
    let all = [("event.replay", 0), (made, -30), (subscribed, -60), ("customer.updated", -80), (made, -90)];
    assert_eq!(listed(&till, ""), rows(&all), "newest first, by when it happened");
    assert_eq!(listed(&till, "user_id=bob"), rows(&[(made, -30)]));
    assert_eq!(listed(&till, "user_id=alice&action=customer.updated"), rows(&[("customer.updated", -80)]));
    assert_eq!(listed(&till, "action=customer.created"), rows(&[(made, -30), (made, -90)]));
    assert_eq!(listed(&till, "action=event.replay"), rows(&[("event.replay", 0)]));
    assert_eq!(listed(&till, "action=no.such"), []);
    assert_eq!(listed(&till, "actor=api"), rows(&[("event.replay", 0)]));
    assert_eq!(listed(&till, "actor=api&action=customer.created"), []);
    assert_eq!(listed(&till, "actor=stripe"), rows(&all[1..]));
    let (from, to) = (format!("from={}", START_S - 80), format!("to={}", START_S - 30));
    assert_eq!(listed(&till, &from), rows(&all[..4]), "the time itself belongs to it");
    assert_eq!(listed(&till, &to), rows(&all[2..]), "the end does not");
    assert_eq!(listed(&till, &format!("{from}&{to}")), rows(&all[2..4]));
    assert_eq!(listed(&till, &format!("{from}&{to}&action=customer.updated")), rows(&all[3..4]));
    assert_eq!(listed(&till, &format!("{to}&actor=stripe&user_id=alice")), rows(&all[2..]));
    for wrong in ["from=x", "to=-1", "from=1.5", "starting_after=x", "starting_after=-3"] {
        assert_eq!(fault(till.get(&format!("{AUDIT}?{wrong}"))), bad_parameter(wrong.split('=').next().unwrap()));
    }
}

#[test]
fn pages_of_the_audit_log_follow_each_other_whatever_the_filter() {
    let till = told();
    for filter in ["", "action=customer.created", "actor=stripe", "user_id=alice", "action=event.replay"] {
        let whole = till.get(&format!("{AUDIT}?{filter}")).1["data"].clone();
        let mut found = Vec::new();
        while found.len() <= 5 {
            let after = found.last().map(|row: &Value| format!("&starting_after={}", row["id"])).unwrap_or_default();
            let (_, page) = till.get(&format!("{AUDIT}?limit=1&{filter}{after}"));
            found.extend(page["data"].as_array().unwrap().clone());
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(json!(found), whole, "{filter}");
    }
    assert_eq!(listed(&till, "starting_after=999"), []);
}

#[test]
fn a_common_action_is_found_among_many_rows_as_a_rare_one_is() {
    let till = told();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
        INSERT INTO stripe_webhooks_log (event_id, event_type, status, processed, processed_at_ms, event_created, created_at_ms, data)
        SELECT 'evt_many' || i, 'charge.succeeded', 'processed', 1, 1, 1, 1, '{}' FROM n";
    till.connection().execute(many, []).unwrap();
    let noted = "INSERT INTO audit_log (at_ms, actor, action, stripe_event_id)
        SELECT id, 'stripe', event_type, event_id FROM stripe_webhooks_log WHERE event_type = 'charge.succeeded'";
    till.connection().execute(noted, []).unwrap();
    assert_eq!(listed(&till, "action=charge.succeeded").len(), 20);
    assert_eq!(listed(&till, "action=customer.updated"), rows(&[("customer.updated", -80)]));
    assert_eq!(listed(&till, "actor=api"), rows(&[("event.replay", 0)]));
}

#[test]
fn the_description_names_every_actor_where_one_is_asked_for_and_where_one_is_told() {
    let document = tilld::http::private::description();
    let parameters = document["paths"][AUDIT]["get"]["parameters"].as_array().unwrap();
    let asked = parameters.iter().find(|parameter| parameter["name"] == "actor").unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let told: Vec<&Value> =
        schemas.values().map(|schema| &schema["properties"]["actor"]).filter(|actor| actor.is_object()).collect();
    assert_eq!(told.len(), 1);
    for actor in ["stripe", "api", "cli", "dashboard", "tilld"] {
        for said in [asked, told[0]] {
            assert!(said["description"].as_str().unwrap().contains(&format!("`{actor}`")), "{actor}: {said}");
        }
    }
}
