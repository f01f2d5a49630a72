//! Exact bytes, and exact refusals. What holds for any tree is in fuzz/properties/form.rs.
#![allow(clippy::unwrap_used)]

use super::*;

fn bytes(form: &FormBody) -> String {
    form.encode().unwrap()
}

fn refusal(form: &FormBody) -> (String, Problem) {
    let error = form.encode().unwrap_err();
    (error.field, error.problem)
}

fn nested(levels: usize) -> FormBody {
    (1..levels).fold(FormBody::new().put("a", 1), |inner, _| FormBody::new().map("a", inner))
}

#[test]
fn nothing_is_nothing() {
    assert_eq!(bytes(&FormBody::new()), "");
    let none: [&str; 0] = [];
    assert_eq!(
        bytes(&FormBody::new().map("metadata", FormBody::new()).list("expand", none).put_opt("a", None::<&str>)),
        ""
    );
}

#[test]
fn scalars_are_written_as_stripe_reads_them() {
    let form = FormBody::new()
        .put("customer", "cus_1")
        .put("quantity", 2_u64)
        .put("amount", -5_i64)
        .put("cancel_at_period_end", true)
        .put("prorate", false)
        .put_opt("coupon", Some("half"))
        .put_opt("trial_end", None::<i64>);
    let expected = "customer=cus_1&quantity=2&amount=-5&cancel_at_period_end=true&prorate=false&coupon=half";
    assert_eq!(bytes(&form), expected);
}

#[test]
fn a_subscription_with_items_expansion_and_metadata_has_exactly_these_bytes() {
    let form = FormBody::new()
        .put("customer", "cus_1")
        .list(
            "items",
            [
                FormBody::new().put("price", "price_a").put("quantity", 3),
                FormBody::new().put("id", "si_1").put("deleted", true),
            ],
        )
        .list("expand", ["latest_invoice.payments", "customer"])
        .map("metadata", FormBody::new().put("user_id", "user 7").put("plan", "pro"));
    assert_eq!(
        bytes(&form),
        "customer=cus_1&items[0][price]=price_a&items[0][quantity]=3&items[1][id]=si_1&items[1][deleted]=true\
         &expand[0]=latest_invoice.payments&expand[1]=customer&metadata[user_id]=user%207&metadata[plan]=pro"
    );
}

#[test]
fn lists_of_lists_and_deep_maps_keep_every_index() {
    let lists = FormBody::new().put("a", vec![vec!["x", "y"], vec!["z"]]);
    assert_eq!(bytes(&lists), "a[0][0]=x&a[0][1]=y&a[1][0]=z");
    let portal = FormBody::new().map(
        "flow_data",
        FormBody::new().put("type", "subscription_update_confirm").map(
            "subscription_update_confirm",
            FormBody::new().list("items", [FormBody::new().put("id", "si_1").put("price", "price_b")]),
        ),
    );
    assert_eq!(
        bytes(&portal),
        "flow_data[type]=subscription_update_confirm&flow_data[subscription_update_confirm][items][0][id]=si_1\
         &flow_data[subscription_update_confirm][items][0][price]=price_b"
    );
}

#[test]
fn everything_but_unreserved_characters_is_percent_encoded() {
    assert_eq!(bytes(&FormBody::new().put("a", "AZaz09-._~")), "a=AZaz09-._~");
    assert_eq!(bytes(&FormBody::new().put("a", "é €\u{1F600}")), "a=%C3%A9%20%E2%82%AC%F0%9F%98%80");
    assert_eq!(bytes(&FormBody::new().put("a", "+&=?/#%[]{}\"'!*()")), {
        "a=%2B%26%3D%3F%2F%23%25%5B%5D%7B%7D%22%27%21%2A%28%29"
    });
    assert_eq!(bytes(&FormBody::new().put("a", "\0\r\n\t\u{7f}")), "a=%00%0D%0A%09%7F");
    let url = "https://x.test/done?session={CHECKOUT_SESSION_ID}";
    assert_eq!(
        bytes(&FormBody::new().put("success_url", url)),
        "success_url=https%3A%2F%2Fx.test%2Fdone%3Fsession%3D%7BCHECKOUT_SESSION_ID%7D"
    );
    let names = FormBody::new().map("metadata", FormBody::new().put("größe & co=1", "x"));
    assert_eq!(bytes(&names), "metadata[gr%C3%B6%C3%9Fe%20%26%20co%3D1]=x");
}

#[test]
fn an_empty_value_unsets() {
    let form =
        FormBody::new().unset("pause_collection").map("metadata", FormBody::new().unset("old")).put("coupon", "");
    assert_eq!(bytes(&form), "pause_collection=&metadata[old]=&coupon=");
    assert_eq!(bytes(&FormBody::new().unset("metadata")), "metadata=");
}

#[test]
fn the_order_is_that_of_putting_so_the_same_parameters_give_the_same_bytes() {
    let form = || FormBody::new().put("z", 1).put("a", 2).map("m", [("y", 3), ("b", 4)].into_iter().collect());
    assert_eq!(bytes(&form()), "z=1&a=2&m[y]=3&m[b]=4");
    assert_eq!(bytes(&form()), bytes(&form()));
}

#[test]
fn names_that_would_be_misread_are_refused() {
    assert_eq!(refusal(&FormBody::new().put("", 1)), (String::new(), Problem::EmptyName));
    assert_eq!(refusal(&FormBody::new().map("m", FormBody::new().put("", 1))), ("m[]".to_owned(), Problem::EmptyName));
    assert_eq!(refusal(&FormBody::new().put("a[b]", 1)), ("a[b]".to_owned(), Problem::Bracket));
    assert_eq!(refusal(&FormBody::new().put("a]", 1)), ("a]".to_owned(), Problem::Bracket));
    let twice = FormBody::new().map("m", FormBody::new().put("x", 1).put("y", 2).put("x", 3));
    assert_eq!(refusal(&twice), ("m[x]".to_owned(), Problem::Repeated));
    let item = FormBody::new().list("items", [FormBody::new(), FormBody::new().put("price", "p")]);
    assert_eq!(refusal(&item), ("items[0]".to_owned(), Problem::EmptyItem));
    let hidden = FormBody::new().list("items", [FormBody::new().map("m", FormBody::new())]);
    assert_eq!(refusal(&hidden), ("items[0]".to_owned(), Problem::EmptyItem));
}

#[test]
fn size_has_limits_and_the_limit_itself_is_allowed() {
    assert_eq!(bytes(&nested(MAX_DEPTH)), "a[a][a][a][a][a][a][a]=1");
    assert_eq!(refusal(&nested(MAX_DEPTH + 1)).1, Problem::TooDeep);
    let many = |count: usize| FormBody::new().list("e", vec!["x"; count]);
    assert!(many(MAX_PARAMETERS).encode().is_ok());
    assert_eq!(refusal(&many(MAX_PARAMETERS + 1)), ("e[512]".to_owned(), Problem::TooMany));
    let long = |bytes: usize| FormBody::new().put("a", "x".repeat(bytes - 2));
    assert_eq!(bytes(&long(MAX_BYTES)).len(), MAX_BYTES);
    assert_eq!(refusal(&long(MAX_BYTES + 1)), ("a".to_owned(), Problem::TooLong));
}

#[test]
fn metadata_keeps_stripes_limits_wherever_it_stands() {
    let keys = |count: usize| (0..count).map(|n| (format!("k{n}"), "v")).collect::<FormBody>();
    assert!(FormBody::new().map("metadata", keys(MAX_METADATA_KEYS)).encode().is_ok());
    let inside = FormBody::new().map("subscription_data", FormBody::new().map("metadata", keys(MAX_METADATA_KEYS + 1)));
    assert_eq!(refusal(&inside), ("subscription_data[metadata]".to_owned(), Problem::MetadataKeys));

    // Characters, not bytes.
    let entry = |name: usize, value: usize| {
        FormBody::new().map("metadata", FormBody::new().put("ö".repeat(name), "ö".repeat(value)))
    };
    assert!(entry(MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS).encode().is_ok());
    assert_eq!(refusal(&entry(MAX_METADATA_KEY_CHARS + 1, 1)).1, Problem::MetadataKeyLength);
    let (field, problem) = refusal(&entry(1, MAX_METADATA_VALUE_CHARS + 1));
    assert_eq!((field.as_str(), problem), ("metadata[ö]", Problem::MetadataValueLength));

    let deep = FormBody::new().map("metadata", FormBody::new().map("user", FormBody::new().put("id", 1)));
    assert_eq!(refusal(&deep), ("metadata[user]".to_owned(), Problem::MetadataShape));
    assert_eq!(refusal(&FormBody::new().put("metadata", "x")), ("metadata".to_owned(), Problem::MetadataShape));
    assert!(FormBody::new().put("data", "x".repeat(MAX_METADATA_VALUE_CHARS + 1)).encode().is_ok());
}

#[test]
fn full_metadata_in_the_widest_characters_fits() {
    let entry = |n: usize| (format!("{n:02}{}", "😀".repeat(38)), "😀".repeat(MAX_METADATA_VALUE_CHARS));
    assert!(FormBody::new().map("metadata", (0..MAX_METADATA_KEYS).map(entry).collect()).encode().is_ok());
}

#[test]
fn a_refusal_names_the_field_shortly_and_never_its_value() {
    let error =
        FormBody::new().map("metadata", FormBody::new().put("mail", "zoe@x.test ".repeat(60))).encode().unwrap_err();
    let text = "the parameter metadata[mail] has more than 500 characters, which Stripe does not take in metadata";
    assert_eq!(error.to_string(), text);
    let long = FormBody::new().map("metadata", FormBody::new().put("n\n".repeat(500), "x")).encode().unwrap_err();
    assert!(long.field.starts_with("metadata[n\\nn") && long.field.chars().count() == SHOWN_CHARS + 1, "{long}");
}
