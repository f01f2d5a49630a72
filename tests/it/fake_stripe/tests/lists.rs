//! Lists: pages, filters, nested lists, expansion, many objects.

use serde_json::json;
use tilld::base::clock::Clock;

use super::{FakeStripe, get, post};

fn customers(count: usize) -> (FakeStripe, Vec<String>) {
    let fake = FakeStripe::start();
    let ids = (0..count).map(|n| {
        fake.clock().advance(1000);
        post(&fake, "/v1/customers", &format!("name=n{n}&email=n{n}%40example.com")).id()
    });
    let ids = ids.collect();
    (fake, ids)
}

#[test]
fn pages_are_newest_first_and_meet_without_gap_or_repetition() {
    let (fake, mut ids) = customers(12);
    ids.reverse();
    let first = get(&fake, "/v1/customers");
    assert_eq!(
        (first.ids(), &first.body["has_more"]),
        (ids[..10].iter().map(String::as_str).collect::<Vec<_>>(), &json!(true))
    );
    assert_eq!((&first.body["object"], &first.body["url"]), (&json!("list"), &json!("/v1/customers")));
    let second = get(&fake, &format!("/v1/customers?starting_after={}&limit=100", ids[9]));
    assert_eq!((second.ids(), &second.body["has_more"]), (vec![ids[10].as_str(), &ids[11]], &json!(false)));
    let before = get(&fake, &format!("/v1/customers?ending_before={}&limit=3", ids[11]));
    assert_eq!((before.ids(), &before.body["has_more"]), (vec![ids[8].as_str(), &ids[9], &ids[10]], &json!(true)));
    let newest = get(&fake, &format!("/v1/customers?ending_before={}&limit=3", ids[1]));
    assert_eq!((newest.ids(), &newest.body["has_more"]), (vec![ids[0].as_str()], &json!(false)));
}

#[test]
fn limits_and_cursors_are_checked() {
    let (fake, ids) = customers(2);
    for query in ["limit=0", "limit=101", "limit=x", "starting_after=cus_none", "ending_before=cus_none"] {
        assert_eq!(get(&fake, &format!("/v1/customers?{query}")).error().0, 400, "{query}");
    }
    let both = format!("/v1/customers?starting_after={}&ending_before={}", ids[0], ids[1]);
    assert_eq!(get(&fake, &both).error().1, "parameters_exclusive");
    assert_eq!(get(&fake, "/v1/customers?limit=1").ids(), [ids[1].as_str()]);
}

#[test]
fn lists_are_filtered_by_time_and_value() {
    let (fake, ids) = customers(5);
    let last = fake.clock().now_s();
    let list = |query: &str| {
        get(&fake, &format!("/v1/customers?{query}")).ids().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(list(&format!("created[gt]={}", last - 1)), [ids[4].as_str()]);
    assert_eq!(list(&format!("created[gte]={}", last - 1)), [ids[4].as_str(), &ids[3]]);
    assert_eq!(list(&format!("created[lt]={}", last - 3)), [ids[0].as_str()]);
    assert_eq!(list(&format!("created[lte]={}&created[gt]={}", last - 2, last - 4)), [ids[2].as_str(), &ids[1]]);
    assert_eq!(list(&format!("created={last}")), [ids[4].as_str()]);
    assert_eq!(list("email=n2%40example.com"), [ids[2].as_str()]);
    assert!(list("email=N2%40example.com").is_empty());
}

#[test]
fn canceled_subscriptions_are_hidden_unless_asked_for() {
    let fake = FakeStripe::start();
    for (id, status) in [("sub_a", "active"), ("sub_b", "canceled"), ("sub_c", "past_due")] {
        fake.add("subscription", &json!({ "id": id, "status": status, "customer": "cus_1" }));
    }
    let list = |query: &str| get(&fake, &format!("/v1/subscriptions?customer=cus_1{query}")).ids().join(" ");
    assert_eq!(list(""), "sub_c sub_a");
    assert_eq!(list("&status=all"), "sub_c sub_b sub_a");
    assert_eq!((list("&status=canceled"), list("&status=ended")), ("sub_b".to_owned(), "sub_b".to_owned()));
    assert_eq!(list("&status=past_due"), "sub_c");
    assert_eq!(list("&price=price_pro"), "sub_c sub_a");
    assert_eq!(list("&price=price_none"), "");
}

#[test]
fn nested_lists_show_ten_and_where_the_rest_is() {
    let fake = FakeStripe::start();
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let items: Vec<String> = (0..12)
        .map(|n| {
            fake.add_price(&format!("price_{n}"), 100, "month");
            format!("items[{n}][price]=price_{n}")
        })
        .collect();
    let subscription = post(&fake, "/v1/subscriptions", &format!("customer={customer}&{}", items.join("&")));
    let nested = &subscription.body["items"];
    assert_eq!((nested["data"].as_array().unwrap().len(), &nested["has_more"]), (10, &json!(true)));
    let last = nested["data"][9]["id"].as_str().unwrap();
    let rest = get(&fake, &format!("{}&starting_after={last}", nested["url"].as_str().unwrap()));
    assert_eq!((rest.ids().len(), &rest.body["has_more"]), (2, &json!(false)));
    let invoice = subscription.body["latest_invoice"].as_str().unwrap();
    let lines = get(&fake, &format!("/v1/invoices/{invoice}")).body["lines"].clone();
    assert_eq!((lines["data"].as_array().unwrap().len(), &lines["has_more"]), (10, &json!(true)));
    assert_eq!(get(&fake, &format!("{}?limit=100", lines["url"].as_str().unwrap())).ids().len(), 12);
    let event = fake.events().into_iter().find(|event| event["type"] == "customer.subscription.created").unwrap();
    assert_eq!(event["data"]["object"]["items"]["has_more"], true);
}

#[test]
fn references_are_expanded_four_deep() {
    let fake = FakeStripe::start();
    fake.add_price("price_pro", 100, "month");
    let customer = fake.add_customer("a@example.com", "pm_card_visa");
    let id = post(&fake, "/v1/subscriptions", &format!("customer={customer}&items[0][price]=price_pro")).id();
    let path = format!("/v1/subscriptions/{id}");
    let plain = get(&fake, &path);
    assert!(plain.body["customer"].is_string() && plain.body["latest_invoice"].is_string());
    let query = "expand[]=customer&expand[]=latest_invoice.payments.data.payment&expand[]=items.data.price.product";
    let full = get(&fake, &format!("{path}?{query}")).body;
    assert_eq!(full["customer"]["email"], "a@example.com");
    assert_eq!(full["latest_invoice"]["payments"]["data"][0]["status"], "paid");
    assert_eq!(full["items"]["data"][0]["price"]["product"]["object"], "product");
    let list = get(&fake, "/v1/subscriptions?expand[0]=data.latest_invoice.customer").body;
    assert_eq!(list["data"][0]["latest_invoice"]["customer"]["id"], customer.as_str());
    for (expand, code) in [
        ("a.b.c.d.e", "property_expansion_max_depth"),
        ("status", "property_expansion_invalid"),
        ("nothing", "property_expansion_invalid"),
    ] {
        assert_eq!(get(&fake, &format!("{path}?expand[0]={expand}")).error(), (400, code, "expand"));
    }
}

#[test]
fn every_kind_can_be_seeded_listed_and_retrieved() {
    let fake = FakeStripe::start();
    for (kind, path) in [
        ("tax_rate", "tax_rates"),
        ("credit_note", "credit_notes"),
        ("subscription_schedule", "subscription_schedules"),
        ("entitlements.feature", "entitlements/features"),
        ("dispute", "disputes"),
        ("setup_intent", "setup_intents"),
        ("event", "events"),
        ("price", "prices"),
        ("coupon", "coupons"),
        ("promotion_code", "promotion_codes"),
        ("charge", "charges"),
        ("refund", "refunds"),
    ] {
        fake.seed(kind, 3);
        let list = get(&fake, &format!("/v1/{path}?limit=2"));
        let last = FakeStripe::seeded_id(kind, 2);
        assert_eq!(
            (list.ids()[0], list.ids().len(), &list.body["has_more"]),
            (last.as_str(), 2, &json!(true)),
            "{kind}"
        );
        let one = get(&fake, &format!("/v1/{path}/{last}"));
        assert_eq!((one.id(), &one.body["object"]), (last, &json!(kind)));
    }
    assert_eq!(get(&fake, "/v1/account").body["object"], "account");
    assert_eq!(post(&fake, "/v1/tax_rates", "display_name=VAT&percentage=8.1&inclusive=false").body["percentage"], 8.1);
    assert_eq!(post(&fake, "/v1/tax_rates", "display_name=VAT").error().1, "parameter_missing");
}

#[test]
fn a_hundred_thousand_objects_cost_next_to_nothing() {
    let fake = FakeStripe::start();
    fake.seed("customer", 100_000);
    fake.seed("subscription", 100_000);
    let made = post(&fake, "/v1/customers", "name=new").id();
    let mut after = String::new();
    let mut seen = 0;
    for _ in 0..5 {
        let page = get(&fake, &format!("/v1/customers?limit=100{after}"));
        seen += page.ids().len();
        after = format!("&starting_after={}", page.ids()[99]);
        assert!(seen > 100 || page.ids()[0] == made);
    }
    let oldest =
        get(&fake, &format!("/v1/customers?limit=100&starting_after={}", FakeStripe::seeded_id("customer", 1)));
    assert_eq!(
        (seen, oldest.ids(), &oldest.body["has_more"]),
        (500, vec![FakeStripe::seeded_id("customer", 0).as_str()], &json!(false))
    );
    let seeded = FakeStripe::seeded_id("customer", 5000);
    post(&fake, &format!("/v1/customers/{seeded}"), "name=changed");
    assert_eq!(get(&fake, &format!("/v1/customers/{seeded}")).body["name"], "changed");
    let neighbours =
        get(&fake, &format!("/v1/customers?limit=1&starting_after={}", FakeStripe::seeded_id("customer", 5001)));
    assert_eq!((neighbours.ids(), &neighbours.body["data"][0]["name"]), (vec![seeded.as_str()], &json!("changed")));
    assert_eq!(
        get(&fake, &format!("/v1/subscriptions/{}", FakeStripe::seeded_id("subscription", 7))).body["customer"],
        FakeStripe::seeded_id("customer", 7)
    );
    let found = get(&fake, &format!("/v1/subscriptions?customer={seeded}"));
    assert_eq!(found.ids(), [FakeStripe::seeded_id("subscription", 5000)]);
    let by_mail = get(&fake, "/v1/customers?email=seed77%40example.com");
    assert_eq!(by_mail.ids(), [FakeStripe::seeded_id("customer", 77)]);
    let start_s = fake.clock().now_s() - 99_999;
    let old = get(&fake, &format!("/v1/subscriptions?created[lte]={}&created[gt]={start_s}", start_s + 2));
    assert_eq!(old.ids(), [FakeStripe::seeded_id("subscription", 2), FakeStripe::seeded_id("subscription", 1)]);
    // The made and the changed one.
    assert_eq!((fake.kept("customer"), fake.kept("subscription")), (2, 0));
    assert_eq!(fake.effects("customer"), 1);
}
