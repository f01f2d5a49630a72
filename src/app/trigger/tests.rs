//! What the factory promises to its callers; `render/tests.rs` has the rows of version drift.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod set;
mod state;

use std::collections::BTreeSet;

use super::*;
use crate::objects::kinds;

const NOW_S: i64 = 1_790_000_000;

fn spec(event_type: &str) -> Spec<'_> {
    Spec {
        event_type,
        version: ApiVersion::CURRENT,
        user: Some("alice"),
        price_id: "price_pro",
        now_s: NOW_S,
        nonce: "n1",
        set: &[],
    }
}

fn made(event_type: &str) -> Value {
    event(&spec(event_type)).unwrap()
}

fn types() -> impl Iterator<Item = &'static str> {
    event_types().iter().map(|(event_type, _)| *event_type)
}

#[test]
fn every_type_in_every_version_is_a_whole_event() {
    for event_type in types() {
        for version in ApiVersion::ALL {
            let event = event(&Spec { version, ..spec(event_type) }).unwrap();
            let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                keys,
                ["api_version", "created", "data", "id", "livemode", "object", "pending_webhooks", "request", "type"]
            );
            assert!(event["id"].as_str().unwrap().starts_with("evt_1"));
            assert_eq!(event["object"], "event");
            assert_eq!(event["type"], event_type);
            assert_eq!(event["created"], NOW_S);
            assert_eq!(event["livemode"], false);
            assert_eq!(event["api_version"], version.as_str());
            assert_eq!(event["pending_webhooks"], 1);
            assert_eq!(event["request"], json!({ "id": null, "idempotency_key": null }));
            assert!(event["data"]["object"]["object"].is_string());
            let has_id = event["data"]["object"]["id"].is_string();
            assert_eq!(has_id, event_type != "invoice.upcoming", "{event_type}");
        }
    }
}

#[test]
fn no_placeholder_is_left_standing() {
    for event_type in types() {
        for version in ApiVersion::ALL {
            let text = event(&Spec { version, ..spec(event_type) }).unwrap().to_string();
            assert!(!text.contains('<'), "{event_type} {version:?}: {text}");
        }
    }
}

#[test]
fn the_same_arguments_make_the_same_event() {
    for event_type in types() {
        assert_eq!(made(event_type), made(event_type));
    }
}

#[test]
fn the_nonce_changes_the_event_id_and_nothing_else() {
    let one = made("invoice.paid");
    let mut two = event(&Spec { nonce: "n2", ..spec("invoice.paid") }).unwrap();
    assert_ne!(one["id"], two["id"]);
    two["id"] = one["id"].clone();
    assert_eq!(one, two);
}

#[test]
fn types_and_users_under_one_nonce_have_their_own_event_ids() {
    let mut ids: BTreeSet<String> = types().map(|event_type| made(event_type)["id"].to_string()).collect();
    ids.insert(event(&Spec { user: Some("bob"), ..spec("invoice.paid") }).unwrap()["id"].to_string());
    assert_eq!(ids.len(), event_types().len() + 1);
}

#[test]
fn the_objects_of_one_user_refer_to_each_other() {
    let object = |event_type: &str| made(event_type)["data"]["object"].clone();
    let customer = object("customer.created");
    let subscription = object("customer.subscription.created");
    let invoice = object("invoice.paid");
    let payment = object("invoice_payment.paid");
    let intent = object("payment_intent.succeeded");
    let charge = object("charge.succeeded");
    let session = object("checkout.session.completed");

    for owned in [&subscription, &invoice, &intent, &charge, &session] {
        assert_eq!(owned["customer"], customer["id"]);
    }
    assert_eq!(subscription["latest_invoice"], invoice["id"]);
    assert_eq!(invoice["parent"]["subscription_details"]["subscription"], subscription["id"]);
    let line = &invoice["lines"]["data"][0];
    let item = &subscription["items"]["data"][0];
    assert_eq!(line["parent"]["subscription_item_details"]["subscription_item"], item["id"]);
    assert_eq!(line["pricing"]["price_details"]["price"], item["price"]["id"]);
    assert_eq!(line["pricing"]["price_details"]["product"], object("product.created")["id"]);
    assert_eq!(item["price"], object("price.created"));
    assert_eq!(payment["invoice"], invoice["id"]);
    assert_eq!(payment["payment"]["payment_intent"], intent["id"]);
    assert_eq!(intent["latest_charge"], charge["id"]);
    assert_eq!(charge["payment_intent"], intent["id"]);
    assert_eq!(session["subscription"], subscription["id"]);
    assert_eq!(session["invoice"], invoice["id"]);
    assert_eq!(object("charge.dispute.created")["charge"], charge["id"]);
    assert_eq!(object("refund.created")["charge"], charge["id"]);
}

#[test]
fn all_events_of_a_family_speak_of_one_object() {
    for event_type in types().filter(|event_type| *event_type != "invoice.upcoming") {
        let family = shape::kind_of(event_type);
        let first = types().find(|other| shape::kind_of(other) == family && *other != "invoice.upcoming").unwrap();
        assert_eq!(made(event_type)["data"]["object"]["id"], made(first)["data"]["object"]["id"]);
    }
}

#[test]
fn the_user_is_named_where_an_application_would_name_it() {
    let object = |event_type: &str| made(event_type)["data"]["object"].clone();
    for event_type in ["customer.created", "customer.subscription.created", "checkout.session.completed"] {
        assert_eq!(object(event_type)["metadata"], json!({ "user_id": "alice" }));
    }
    assert_eq!(object("customer.created")["email"], "alice@example.com");
    assert_eq!(object("checkout.session.completed")["client_reference_id"], "alice");
    assert_eq!(object("invoice.paid")["parent"]["subscription_details"]["metadata"]["user_id"], "alice");
    let by_address = event(&Spec { user: Some("a@b.test"), ..spec("customer.created") }).unwrap();
    assert_eq!(by_address["data"]["object"]["email"], "a@b.test");
}

#[test]
fn without_a_user_nothing_points_to_one() {
    for event_type in types() {
        let event = event(&Spec { user: None, ..spec(event_type) }).unwrap();
        assert!(!event.to_string().contains("user_id"), "{event_type}");
        assert!(event["data"]["object"]["client_reference_id"].is_null());
    }
}

#[test]
fn a_user_with_placeholder_or_quote_in_its_name_is_taken_literally() {
    let user = Some("<price>\"\\");
    let event = event(&Spec { user, ..spec("customer.subscription.created") }).unwrap();
    assert_eq!(event["data"]["object"]["metadata"]["user_id"], "<price>\"\\");
}

#[test]
fn ids_have_the_form_of_stripe() {
    let ids = ids("alice");
    for (id, prefix, len) in [
        (&ids.customer, "cus_", 18),
        (&ids.subscription, "sub_1", 28),
        (&ids.item, "si_", 17),
        (&ids.invoice, "in_1", 27),
        (&ids.payment_intent, "pi_3", 27),
        (&ids.charge, "ch_3", 27),
        (&ids.session, "cs_test_a1", 66),
        (&ids.dispute, "du_1", 27),
        (&ids.payment_method, "pm_1", 27),
        (&ids.product, "prod_", 19),
        (&ids.refund, "re_3", 27),
    ] {
        assert!(id.starts_with(prefix) && id.len() == len, "{id}");
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{id}");
    }
    assert_ne!(ids, super::ids("bob"));
    assert_eq!(ids.product, super::ids("bob").product);
}

#[test]
fn subscription_and_invoice_events_have_the_size_of_real_ones() {
    for event_type in types() {
        let is_big = matches!(shape::kind_of(event_type).object, "subscription" | "invoice");
        for version in ApiVersion::ALL.into_iter().filter(|_| is_big) {
            let size = event(&Spec { version, ..spec(event_type) }).unwrap().to_string().len();
            assert!((3_000..=6_144).contains(&size), "{event_type} {version:?}: {size}");
        }
    }
}

#[test]
fn every_type_has_a_description_and_stands_once_beside_its_kind() {
    assert!(event_types().iter().all(|(_, description)| !description.is_empty()));
    let once: BTreeSet<&str> = types().collect();
    assert_eq!(once.len(), event_types().len());
    for event_type in types() {
        let object = &made(event_type)["data"]["object"];
        assert_eq!(object["object"], shape::kind_of(event_type).object, "{event_type}");
    }
}

#[test]
fn every_kind_has_an_example_of_itself() {
    for kind in kinds::all() {
        let example = example(kind.object, NOW_S).unwrap();
        assert_eq!(example["object"], kind.object);
        assert!(example["id"].is_string(), "{}", kind.object);
        assert!(!example.to_string().contains('<'), "{}", kind.object);
    }
    assert_eq!(example("payout", NOW_S), None);
}

#[test]
fn every_event_of_an_example_knows_its_own_words_alone() {
    for kind in kinds::all() {
        let example: Value = serde_json::from_str(kind.example).unwrap();
        for event in example["events"].as_array().unwrap() {
            for key in event.as_object().unwrap().keys() {
                assert!(["type", "says", "like", "object", "previous_attributes"].contains(&key.as_str()), "{key}");
            }
            assert!(event["like"].as_str().is_none_or(|like| types().any(|known| known == like)), "{event}");
        }
    }
}

#[test]
fn a_family_stands_together_in_the_list() {
    let mut families: Vec<&str> = types().map(|event_type| event_type.rsplit_once('.').unwrap().0).collect();
    families.dedup();
    assert_eq!(families.len(), families.iter().collect::<BTreeSet<_>>().len());
}

#[test]
fn an_unknown_type_names_the_nearest_and_the_list() {
    let error = event(&spec("invoice.payed")).unwrap_err();
    assert_eq!(error, TriggerError::UnknownType { event_type: "invoice.payed".into(), nearest: Some("invoice.paid") });
    assert!(error.to_string().contains("did you mean invoice.paid?") && error.to_string().contains("--list"));
    let error = event(&spec("foo")).unwrap_err();
    assert_eq!(error.to_string(), "\"foo\" is not a known event type: `tilld trigger --list` shows all");
    assert!(event(&spec("")).is_err());
}

#[test]
fn a_version_is_known_by_its_whole_name_and_by_its_halves() {
    for version in ApiVersion::ALL {
        assert_eq!(ApiVersion::parse(version.as_str()), Ok(version));
    }
    assert_eq!(ApiVersion::parse("acacia"), Ok(ApiVersion::Acacia));
    assert_eq!(ApiVersion::parse("2026-09-30"), Ok(ApiVersion::Endive));
    let error = ApiVersion::parse("2019-01-01").unwrap_err().to_string();
    assert!(error.contains("2019-01-01") && error.contains("2025-03-31.basil"), "{error}");
    assert!(ApiVersion::parse("").is_err());
}
