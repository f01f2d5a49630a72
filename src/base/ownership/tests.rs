#![allow(clippy::unwrap_used)]
use super::*;

fn rules() -> LinkRules {
    LinkRules::default()
}

fn trusting() -> LinkRules {
    LinkRules { reference: Reference::Trust, ..LinkRules::default() }
}

fn is(order: i64, user_id: &str) -> Statement {
    Statement { order, user_id: user_id.to_owned(), linked: true }
}

fn is_not(order: i64, user_id: &str) -> Statement {
    Statement { linked: false, ..is(order, user_id) }
}

/// A session in the state that Stripe's two words say.
fn session(status: &str, payment_status: &str) -> Session {
    Session {
        id: "cs_1".to_owned(),
        status: Some(status.to_owned()),
        payment_status: Some(payment_status.to_owned()),
        created: Some(100),
        ..Session::default()
    }
}

fn paid() -> Session {
    session("complete", "paid")
}

fn with_reference(session: Session, user_id: &str) -> Session {
    Session { reference: Some(user_id.to_owned()), ..session }
}

fn with_metadata(session: Session, user_id: &str) -> Session {
    Session { named: Some(user_id.to_owned()), ..session }
}

fn named(user_id: &str) -> Option<String> {
    Some(user_id.to_owned())
}

fn runs(user_id: &str) -> SubscriptionFacts {
    SubscriptionFacts { named: named(user_id), runs: true }
}

fn ended(user_id: &str) -> SubscriptionFacts {
    SubscriptionFacts { named: named(user_id), runs: false }
}

fn of(words: &OwnershipEvidence, rules: &LinkRules) -> Option<(String, LinkedBy)> {
    decide(trace_object(words, rules)).map(|owner| (owner.user_id, owner.linked_by))
}

fn customer(words: &OwnershipEvidence, rules: &LinkRules) -> Option<(String, LinkedBy)> {
    decide(trace_customer(words, rules)).map(|owner| (owner.user_id, owner.linked_by))
}

fn by(user_id: &str, linked_by: LinkedBy) -> Option<(String, LinkedBy)> {
    Some((user_id.to_owned(), linked_by))
}

fn all_words() -> OwnershipEvidence {
    OwnershipEvidence {
        said: vec![is(1, "said")],
        named: named("metadata"),
        customers_user: named("customer"),
        sessions: vec![with_reference(paid(), "reference")],
        ..OwnershipEvidence::default()
    }
}

#[test]
fn the_stronger_word_decides_and_the_next_one_when_it_is_taken_away() {
    let words = all_words();
    assert_eq!(of(&words, &rules()), by("said", LinkedBy::Said));
    let words = OwnershipEvidence { said: vec![], ..words };
    assert_eq!(of(&words, &rules()), by("metadata", LinkedBy::Metadata));
    let words = OwnershipEvidence { named: None, ..words };
    assert_eq!(of(&words, &rules()), by("customer", LinkedBy::Customer));
    let words = OwnershipEvidence { customers_user: None, ..words };
    assert_eq!(of(&words, &rules()), by("reference", LinkedBy::Reference));
    assert_eq!(of(&OwnershipEvidence { sessions: vec![], ..words }, &rules()), None);
}

#[test]
fn a_reference_counts_only_once_its_session_is_complete_and_paid() {
    let cases = [
        ("complete", "paid", true),
        ("complete", "no_payment_required", true),
        ("complete", "unpaid", false),
        ("open", "unpaid", false),
        ("expired", "unpaid", false),
        ("expired", "paid", false),
        ("", "", false),
    ];
    for (status, payment_status, counts) in cases {
        let sessions = vec![with_reference(session(status, payment_status), "ref")];
        let found = of(&OwnershipEvidence { sessions, ..OwnershipEvidence::default() }, &rules());
        assert_eq!(found.is_some(), counts, "{status} {payment_status}");
    }
}

#[test]
fn a_reference_never_names_a_customer() {
    let words = OwnershipEvidence {
        sessions: vec![with_reference(paid(), "ref")],
        created: Some(100),
        ..OwnershipEvidence::default()
    };
    assert_eq!(customer(&words, &rules()), None);
}

#[test]
fn metadata_of_a_session_count_when_it_is_complete_even_before_the_money_has_come() {
    for (status, counts) in [("complete", true), ("open", false), ("expired", false)] {
        let sessions = vec![with_metadata(session(status, "unpaid"), "meta")];
        let words = OwnershipEvidence { sessions, created: Some(100), ..OwnershipEvidence::default() };
        assert_eq!(of(&words, &rules()).is_some(), counts, "{status}");
        assert_eq!(customer(&words, &rules()).is_some(), counts, "{status}");
    }
}

#[test]
fn a_session_made_its_customer_only_if_that_is_not_older() {
    for (created, counts) in [(Some(99), false), (Some(100), true), (Some(101), true), (None, false)] {
        let words = OwnershipEvidence {
            sessions: vec![with_metadata(paid(), "meta")],
            created,
            ..OwnershipEvidence::default()
        };
        assert_eq!(customer(&words, &rules()).is_some(), counts, "{created:?}");
    }
}

#[test]
fn trust_makes_a_reference_as_strong_as_metadata_of_its_session_and_off_makes_it_nothing() {
    let words = OwnershipEvidence {
        sessions: vec![with_reference(session("complete", "unpaid"), "ref")],
        created: Some(100),
        customers_user: named("customer"),
        ..OwnershipEvidence::default()
    };
    assert_eq!(of(&words, &trusting()), by("ref", LinkedBy::Metadata));
    assert_eq!(customer(&words, &trusting()), by("ref", LinkedBy::Metadata));
    assert_eq!(of(&words, &rules()), by("customer", LinkedBy::Customer));
    let off = LinkRules { reference: Reference::Off, ..LinkRules::default() };
    let alone = OwnershipEvidence { sessions: vec![with_reference(paid(), "ref")], ..OwnershipEvidence::default() };
    assert_eq!(of(&alone, &off), None);
    let both = vec![with_metadata(with_reference(paid(), "ref"), "meta")];
    assert_eq!(
        of(&OwnershipEvidence { sessions: both, ..OwnershipEvidence::default() }, &trusting()),
        by("meta", LinkedBy::Metadata)
    );
}

#[test]
fn own_metadata_count_before_those_of_the_session() {
    let sessions = vec![with_metadata(paid(), "buyer")];
    let words = OwnershipEvidence { named: named("recipient"), sessions, ..OwnershipEvidence::default() };
    assert_eq!(of(&words, &rules()), by("recipient", LinkedBy::Metadata));
}

#[test]
fn a_customer_without_a_name_is_the_one_users_whom_its_running_subscriptions_name() {
    let of_these = |subscriptions: Vec<SubscriptionFacts>| {
        customer(&OwnershipEvidence { subscriptions, ..OwnershipEvidence::default() }, &rules())
    };
    assert_eq!(of_these(vec![runs("a")]), by("a", LinkedBy::Subscriptions));
    assert_eq!(of_these(vec![runs("a"), runs("a")]), by("a", LinkedBy::Subscriptions));
    assert_eq!(of_these(vec![runs("a"), ended("b")]), by("a", LinkedBy::Subscriptions), "what has ended says nothing");
    assert_eq!(of_these(vec![ended("b")]), by("b", LinkedBy::Subscriptions), "unless nothing runs");
    assert_eq!(of_these(vec![runs("a"), runs("b")]), None);
    assert_eq!(of_these(vec![ended("a"), ended("b")]), None);
    assert_eq!(of_these(vec![]), None);
}

#[test]
fn a_customer_that_two_users_are_named_for_is_contested() {
    let words = OwnershipEvidence { subscriptions: vec![runs("a"), runs("b")], ..OwnershipEvidence::default() };
    assert!(is_contested(trace_customer(&words, &rules())));
    let settled = OwnershipEvidence { named: named("admin"), ..words };
    assert!(!is_contested(trace_customer(&settled, &rules())));
    assert!(!is_contested(trace_customer(&OwnershipEvidence::default(), &rules())));
}

#[test]
fn what_was_said_last_counts_until_it_is_taken_back_and_then_what_was_said_before() {
    let both =
        OwnershipEvidence { said: vec![is(2, "b"), is(1, "a")], named: named("m"), ..OwnershipEvidence::default() };
    assert_eq!(of(&both, &rules()), by("b", LinkedBy::Said));
    // Taken back: the store leaves it out, and has the denial.
    let back = OwnershipEvidence { said: vec![is_not(3, "b"), is(1, "a")], ..both.clone() };
    assert_eq!(of(&back, &rules()), by("a", LinkedBy::Said));
    let none = OwnershipEvidence { said: vec![is_not(4, "a"), is_not(3, "b")], ..both };
    assert_eq!(of(&none, &rules()), by("m", LinkedBy::Metadata));
}

#[test]
fn who_was_said_not_to_be_it_is_not_whatever_else_names_him_and_others_are() {
    let denied = |words: OwnershipEvidence| OwnershipEvidence { said: vec![is_not(1, "a")], ..words };
    let sessions = vec![with_reference(paid(), "a")];
    let words = denied(OwnershipEvidence {
        named: named("a"),
        customers_user: named("a"),
        sessions,
        ..OwnershipEvidence::default()
    });
    assert_eq!(of(&words, &rules()), None);
    assert_eq!(of(&OwnershipEvidence { named: named("b"), ..words.clone() }, &rules()), by("b", LinkedBy::Metadata));
    assert_eq!(of(&OwnershipEvidence { customers_user: named("b"), ..words }, &rules()), by("b", LinkedBy::Customer));
    let subscriptions = vec![runs("a"), runs("b")];
    assert_eq!(
        customer(&denied(OwnershipEvidence { subscriptions, ..OwnershipEvidence::default() }), &rules()),
        by("b", LinkedBy::Subscriptions)
    );
}

#[test]
fn the_trace_says_what_each_rule_found() {
    let words = OwnershipEvidence {
        said: vec![is_not(1, "meta")],
        named: named("meta"),
        customers_user: named("c"),
        ..OwnershipEvidence::default()
    };
    let trace: Vec<_> = trace_object(&words, &rules()).map(|step| (step.rule, step.found)).collect();
    assert_eq!(
        trace,
        [
            (LinkedBy::Said, OwnershipTrace::Silent),
            (LinkedBy::Metadata, OwnershipTrace::Denied("meta".to_owned())),
            (LinkedBy::Customer, OwnershipTrace::Names("c".to_owned())),
            (LinkedBy::Reference, OwnershipTrace::Silent),
        ]
    );
}

fn candidate(customer_id: &str, linked_by: LinkedBy, said: Option<i64>, created: Option<i64>) -> SubscriptionClaim {
    SubscriptionClaim { customer_id: customer_id.to_owned(), linked_by, said, created }
}

#[test]
fn the_main_customer_is_the_one_said_last_then_by_metadata_then_the_oldest() {
    let main = |of: &[SubscriptionClaim]| main_customer(of).map(|one| one.customer_id.clone());
    let old = candidate("cus_old", LinkedBy::Subscriptions, None, Some(1));
    let older = candidate("cus_older_by_metadata", LinkedBy::Metadata, None, Some(5));
    let newer = candidate("cus_newer_by_metadata", LinkedBy::Metadata, None, Some(9));
    let first = candidate("cus_said_first", LinkedBy::Said, Some(1), Some(2));
    let last = candidate("cus_said_last", LinkedBy::Said, Some(2), Some(20));
    let all = [old.clone(), newer.clone(), older.clone(), first.clone(), last];
    assert_eq!(main(&all).as_deref(), Some("cus_said_last"));
    assert_eq!(main(&[old.clone(), newer.clone(), older, first]).as_deref(), Some("cus_said_first"));
    assert_eq!(main(&[old.clone(), newer]).as_deref(), Some("cus_newer_by_metadata"));
    let ageless = candidate("cus_a", LinkedBy::Subscriptions, None, None);
    assert_eq!(main(&[ageless, old]).as_deref(), Some("cus_old"));
    assert_eq!(main(&[]), None);
}

#[test]
fn the_portal_is_that_of_the_customer_calls_act_on_if_it_is_the_users_own() {
    assert_eq!(portal("u", Some(("cus_s", Some("u"))), Some("cus_m")), PortalOf::Customer("cus_s"));
    assert_eq!(portal("u", Some(("cus_s", Some("other"))), Some("cus_m")), PortalOf::Shared("cus_s"));
    assert_eq!(portal("u", Some(("cus_s", None)), None), PortalOf::Shared("cus_s"));
    assert_eq!(portal("u", None, Some("cus_m")), PortalOf::Customer("cus_m"));
    assert_eq!(portal("u", None, None), PortalOf::Nobodys);
}

#[test]
fn calls_touch_nothing_that_a_reference_alone_links() {
    for by in LinkedBy::ALL {
        assert_eq!(may_be_called(Some(by)), by != LinkedBy::Reference);
        assert_eq!(LinkedBy::parse(by.as_str()), Some(by));
    }
    assert!(!may_be_called(None));
}

#[test]
fn money_is_written_about_to_the_customers_user_else_to_the_customer() {
    assert_eq!(addressee(Some("u@x"), Some("c@x")), Some("u@x"));
    assert_eq!(addressee(None, Some("c@x")), Some("c@x"));
    assert_eq!(addressee(None, None), None);
    for none in ["", " ", "@", "u@", "@x", "u", "u v@x", "u@x y", "u@x, v@y", "<u@x>", "u@x..y", "u@-x", "u\n@x"] {
        assert_eq!(addressee(Some(none), Some("c@x")), Some("c@x"), "{none:?}");
        assert_eq!(addressee(Some(none), Some(none)), None, "{none:?}");
    }
    for one in ["jane+till@mail.example.co.uk", "o'neill@example.com", "a@localhost", "ü@bücher.example", " u@x "] {
        assert_eq!(addressee(Some(one), Some("c@x")), Some(one.trim()));
    }
}
