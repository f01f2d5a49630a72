//! The contract's table row by row, then its sentences, then what holds for any input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::explain::{RuleFinding, WonBy, explain};
use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const GRACE: i64 = 7 * DAY;

fn plan(tier: &str, price_ids: &[&str]) -> EntitlementPlan {
    EntitlementPlan { tier: tier.to_owned(), price_ids: price_ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn policy() -> EntitlementPolicy {
    EntitlementPolicy {
        plans: vec![plan("pro", &["price_pro", "price_pro_year"]), plan("team", &["price_team"])],
        grace_period_s: GRACE,
        stale_after_s: 3600,
        when_stale: WhenStale::Keep,
        paused_collection: PausedCollection::Keep,
    }
}

fn without_plans() -> EntitlementPolicy {
    EntitlementPolicy { plans: Vec::new(), ..policy() }
}

fn denying() -> EntitlementPolicy {
    EntitlementPolicy { when_stale: WhenStale::Deny, ..policy() }
}

fn until_paid() -> EntitlementPolicy {
    EntitlementPolicy { paused_collection: PausedCollection::UntilPaid, ..policy() }
}

/// In the middle of a paid period of `price_pro`.
fn subscription(status: &str) -> SubscriptionInput {
    SubscriptionInput {
        id: "sub_1".to_owned(),
        status: status.to_owned(),
        price_ids: vec!["price_pro".to_owned()],
        period_end: Some(NOW + 10 * DAY),
        cancel_at: None,
        cancel_at_period_end: false,
        items_partial: false,
        paused_by_failure: false,
        pause_period_end: None,
        good_price_ids: None,
        deleted: false,
        by_reference: false,
        created: NOW - 20 * DAY,
        grace_started_at: None,
        as_of: NOW - 20 * DAY,
    }
}

fn of_price(status: &str, price_id: &str) -> SubscriptionInput {
    SubscriptionInput { price_ids: vec![price_id.to_owned()], ..subscription(status) }
}

fn of_prices(price_ids: &[&str]) -> SubscriptionInput {
    SubscriptionInput { price_ids: price_ids.iter().map(|id| (*id).to_owned()).collect(), ..subscription("active") }
}

fn ending(status: &str, ends_at: i64) -> SubscriptionInput {
    SubscriptionInput { cancel_at: Some(ends_at), ..subscription(status) }
}

fn in_trouble_since(status: &str, grace_started_at: i64) -> SubscriptionInput {
    SubscriptionInput { grace_started_at: Some(grace_started_at), ..subscription(status) }
}

fn deleted(status: &str) -> SubscriptionInput {
    SubscriptionInput { deleted: true, ..subscription(status) }
}

/// Paused by Stripe because a payment failed.
fn paused_by_failure(grace_started_at: i64) -> SubscriptionInput {
    SubscriptionInput { paused_by_failure: true, ..in_trouble_since("paused", grace_started_at) }
}

/// Nothing is collected; the period in which that began ends then.
fn uncollected(status: &str, pause_period_end: i64) -> SubscriptionInput {
    SubscriptionInput { pause_period_end: Some(pause_period_end), ..subscription(status) }
}

/// A payment is missing since now, and these prices were paid for before.
fn unpaid_change(from: &[&str], to: &str) -> SubscriptionInput {
    let good = from.iter().map(|id| (*id).to_owned()).collect();
    SubscriptionInput { grace_started_at: Some(NOW), good_price_ids: Some(good), ..of_price("past_due", to) }
}

/// Its period ended a second more than the hour ago, and the last word is older than that.
fn stale(status: &str) -> SubscriptionInput {
    SubscriptionInput { period_end: Some(NOW - 3601), ..subscription(status) }
}

/// The explanation says the answer, and of each subscription exactly one rule decides, which gives that reason; those before
/// it were asked and did not fit, those after it were not asked.
fn assert_is_explained(subscriptions: &[SubscriptionInput], policy: &EntitlementPolicy, now: i64) {
    let explained = explain(subscriptions, policy, now, usize::MAX);
    assert_eq!(explained.answer, entitlement(subscriptions, policy, now));
    assert_eq!(explained.answer.entitled, explained.answer.reason.gives_access());
    assert_eq!((explained.compared, explained.subscriptions.len()), (subscriptions.len(), subscriptions.len()));
    let deciding = explained.subscriptions.first().map(|one| &one.answer);
    assert_eq!(deciding.unwrap_or(&no_subscription()), &explained.answer);
    for one in &explained.subscriptions {
        let mut findings = one.rules.iter().map(|rule| rule.finding).skip_while(|it| *it == RuleFinding::DoesNotFit);
        assert_eq!(findings.next(), Some(RuleFinding::Decides(one.answer.reason)));
        assert!(findings.all(|finding| finding == RuleFinding::NotAsked));
        let silent = one.rules.iter().filter(|rule| rule.looked_at.is_empty());
        assert!(silent.into_iter().all(|rule| rule.finding == RuleFinding::NotAsked));
    }
}

/// `(tier, reason, valid_until)` of one; being entitled must agree with the tier.
fn verdict(subscription: &SubscriptionInput, policy: &EntitlementPolicy) -> (String, EntitlementReason, Option<i64>) {
    let answer = of_one(subscription, policy, NOW);
    assert_eq!(answer.entitled, answer.tier != FREE_TIER);
    assert_is_explained(std::slice::from_ref(subscription), policy, NOW);
    (answer.tier, answer.reason, answer.valid_until)
}

fn denied(reason: EntitlementReason) -> (String, EntitlementReason, Option<i64>) {
    (FREE_TIER.to_owned(), reason, None)
}

fn pro(reason: EntitlementReason, valid_until: Option<i64>) -> (String, EntitlementReason, Option<i64>) {
    ("pro".to_owned(), reason, valid_until)
}

#[test]
fn every_row_of_the_contracts_table_has_its_answer() {
    use EntitlementReason::*;
    let unknown = |status| of_price(status, "price_other");
    let cut = |status| SubscriptionInput { items_partial: true, ..unknown(status) };
    let over = NOW - GRACE - 1;
    let soon = |of| SubscriptionInput { cancel_at: Some(NOW + 5), ..of };
    let table = [
        ("a status of 2031", subscription("suspended"), denied(UnknownStatus)),
        ("active, unknown", unknown("active"), denied(UnknownPrice)),
        ("active, unknown, cut", cut("active"), denied(Partial)),
        ("past_due, unknown, cut", cut("past_due"), denied(Partial)),
        ("trialing, unknown", unknown("trialing"), denied(UnknownPrice)),
        ("active, ending", ending("active", NOW + 5), pro(Ending, Some(NOW + 5))),
        ("trialing, ending", ending("trialing", NOW + 5), pro(Ending, Some(NOW + 5))),
        ("active, ended", ending("active", NOW - 5), denied(Canceled)),
        ("trialing, ended", ending("trialing", NOW - 5), denied(Canceled)),
        ("trialing", subscription("trialing"), pro(Trialing, None)),
        ("active", subscription("active"), pro(Active, None)),
        ("past_due, in grace", in_trouble_since("past_due", NOW), pro(GracePeriod, Some(NOW + GRACE))),
        ("unpaid, in grace", in_trouble_since("unpaid", NOW), pro(GracePeriod, Some(NOW + GRACE))),
        ("paused by failure, in grace", paused_by_failure(NOW), pro(GracePeriod, Some(NOW + GRACE))),
        ("past_due, ending", soon(in_trouble_since("past_due", NOW)), pro(GracePeriod, Some(NOW + 5))),
        ("past_due", in_trouble_since("past_due", over), denied(PastDue)),
        ("unpaid", in_trouble_since("unpaid", over), denied(Unpaid)),
        ("paused by failure", paused_by_failure(over), denied(Paused)),
        ("past_due, ended", ending("past_due", NOW), denied(Canceled)),
        ("incomplete, ended", ending("incomplete", NOW), denied(Canceled)),
        ("paused, ended", ending("paused", NOW), denied(Canceled)),
        ("uncollected", uncollected("active", NOW - 1), pro(Active, None)),
        ("incomplete", subscription("incomplete"), denied(Incomplete)),
        ("incomplete_expired", subscription("incomplete_expired"), denied(Incomplete)),
        ("paused", subscription("paused"), denied(Paused)),
        ("canceled", subscription("canceled"), denied(Canceled)),
        ("deleted", deleted("active"), denied(Canceled)),
    ];
    for (row, subscription, expected) in table {
        assert_eq!(verdict(&subscription, &policy()), expected, "{row}");
    }
}

#[test]
fn where_pauses_end_access_it_lasts_for_the_period_in_which_collection_was_paused() {
    let soon = |at| SubscriptionInput { cancel_at: Some(at), ..uncollected("active", NOW + 9) };
    let table = [
        ("before its end", uncollected("active", NOW + 1), pro(EntitlementReason::Active, Some(NOW + 1))),
        ("on trial", uncollected("trialing", NOW + 1), pro(EntitlementReason::Trialing, Some(NOW + 1))),
        ("at its end", uncollected("active", NOW), denied(EntitlementReason::Paused)),
        ("trial, at its end", uncollected("trialing", NOW), denied(EntitlementReason::Paused)),
        ("its end is not known", subscription("active"), pro(EntitlementReason::Active, None)),
        ("the pause's end comes first", soon(NOW + 10), pro(EntitlementReason::Ending, Some(NOW + 9))),
        ("its own end comes first", soon(NOW + 8), pro(EntitlementReason::Ending, Some(NOW + 8))),
    ];
    for (row, subscription, expected) in table {
        assert_eq!(verdict(&subscription, &until_paid()), expected, "{row}");
    }
    let owing = SubscriptionInput { pause_period_end: Some(NOW), ..in_trouble_since("past_due", NOW) };
    assert_eq!(
        verdict(&owing, &until_paid()),
        pro(EntitlementReason::GracePeriod, Some(NOW + GRACE)),
        "grace is another rule"
    );
    let both = EntitlementPolicy { when_stale: WhenStale::Deny, ..until_paid() };
    let stale = SubscriptionInput { pause_period_end: Some(NOW - 1), ..stale("active") };
    assert_eq!(verdict(&stale, &both), denied(EntitlementReason::Paused), "a pause says more than silence");
}

#[test]
fn while_a_payment_is_missing_the_lower_tier_counts() {
    let table = [
        ("an upgrade that is not paid", &["price_pro"][..], "price_team", ("pro", "price_pro")),
        ("a downgrade that is not paid", &["price_team"], "price_pro", ("pro", "price_pro")),
        ("the same", &["price_team"], "price_team", ("team", "price_team")),
        ("another price of the same tier", &["price_pro"], "price_pro_year", ("pro", "price_pro_year")),
        ("an item more", &["price_other", "price_pro"], "price_team", ("pro", "price_pro")),
    ];
    for (row, from, to, (tier, price)) in table {
        let answer = of_one(&unpaid_change(from, to), &policy(), NOW);
        assert_eq!((answer.tier.as_str(), answer.price_id.as_deref()), (tier, Some(price)), "{row}");
        let paused =
            SubscriptionInput { status: "paused".to_owned(), paused_by_failure: true, ..unpaid_change(from, to) };
        assert_eq!(of_one(&paused, &policy(), NOW).tier, tier, "{row}, paused");
        let paid = SubscriptionInput { status: "active".to_owned(), ..unpaid_change(from, to) };
        assert_eq!(of_one(&paid, &policy(), NOW).price_id.as_deref(), Some(to), "{row}, paid");
    }
    let nothing_known = SubscriptionInput { good_price_ids: None, ..unpaid_change(&[], "price_team") };
    assert_eq!(of_one(&nothing_known, &policy(), NOW).tier, "team");
}

#[test]
fn whoever_had_nothing_gets_nothing_by_a_change_that_is_not_paid() {
    let answer = of_one(&unpaid_change(&["price_other"], "price_team"), &policy(), NOW);
    assert_eq!((answer.reason, answer.price_id.as_deref()), (EntitlementReason::UnknownPrice, Some("price_other")));
    let cut = SubscriptionInput { items_partial: true, ..unpaid_change(&["price_other"], "price_team") };
    assert_eq!(of_one(&cut, &policy(), NOW).tier, "team", "the old list was cut, too");
    assert_eq!(of_one(&unpaid_change(&["price_other"], "price_x"), &without_plans(), NOW).tier, DEFAULT_TIER);
}

#[test]
fn what_is_at_stake_is_what_was_paid_for() {
    let upgrade = unpaid_change(&["price_pro"], "price_team");
    assert_eq!(tier_bought(&upgrade, &policy()), Some("team"));
    assert_eq!(tier_at_stake(&upgrade, &policy()), Some("pro"));
    let other = SubscriptionInput { id: "sub_2".to_owned(), ..subscription("active") };
    assert!(is_covered(&[upgrade.clone(), other.clone()], "sub_1", &policy(), NOW), "the other gives as much");
    let team = SubscriptionInput { good_price_ids: None, ..upgrade };
    assert!(!is_covered(&[team, other], "sub_1", &policy(), NOW));
}

#[test]
fn a_user_without_subscription_is_free_and_nothing_else_is_known() {
    let answer = entitlement(&[], &policy(), NOW);
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        r#"{"entitled":false,"tier":"free","reason":"no_subscription","status":null,"subscription_id":null,"price_id":null,"valid_until":null,"grace_period_end":null,"ends_at":null,"as_of":null,"stale":false}"#
    );
    assert_eq!(effective(&[], &policy(), NOW), None);
}

#[test]
fn the_answer_has_the_fields_of_the_contract_in_its_order() {
    let answer = entitlement(&[in_trouble_since("past_due", 1_799_999_999)], &policy(), NOW);
    assert_eq!(
        serde_json::to_string(&answer).unwrap(),
        r#"{"entitled":true,"tier":"pro","reason":"grace_period","status":"past_due","subscription_id":"sub_1","price_id":"price_pro","valid_until":1800604799,"grace_period_end":1800604799,"ends_at":null,"as_of":1798272000,"stale":false}"#
    );
}

#[test]
fn every_reason_is_spelled_as_in_the_contract() {
    let table = [
        (EntitlementReason::NoSubscription, "no_subscription"),
        (EntitlementReason::UnknownPrice, "unknown_price"),
        (EntitlementReason::Partial, "partial"),
        (EntitlementReason::Ending, "ending"),
        (EntitlementReason::Canceled, "canceled"),
        (EntitlementReason::Trialing, "trialing"),
        (EntitlementReason::Active, "active"),
        (EntitlementReason::GracePeriod, "grace_period"),
        (EntitlementReason::PastDue, "past_due"),
        (EntitlementReason::Unpaid, "unpaid"),
        (EntitlementReason::Incomplete, "incomplete"),
        (EntitlementReason::Paused, "paused"),
        (EntitlementReason::UnknownStatus, "unknown_status"),
        (EntitlementReason::Stale, "stale"),
    ];
    for (reason, spelled) in table {
        assert_eq!(serde_json::to_value(reason).unwrap(), spelled);
    }
}

#[test]
fn a_status_never_heard_of_entitles_to_nothing() {
    for status in ["", "Active", "suspended"] {
        assert_eq!(verdict(&subscription(status), &policy()), denied(EntitlementReason::UnknownStatus));
    }
}

#[test]
fn a_deleted_subscription_is_canceled_whatever_its_status_says() {
    for status in ["active", "trialing", "past_due", "unpaid", "paused", "incomplete"] {
        let answer = of_one(&deleted(status), &policy(), NOW);
        assert_eq!(answer.reason, EntitlementReason::Canceled, "{status}");
        assert_eq!(answer.grace_period_end, None, "{status}");
        assert_eq!(answer.status.as_deref(), Some(status));
    }
}

#[test]
fn access_is_over_in_the_second_it_ends() {
    let one_more_second = pro(EntitlementReason::Ending, Some(NOW + 1));
    assert_eq!(verdict(&ending("active", NOW + 1), &policy()), one_more_second);
    assert_eq!(verdict(&ending("active", NOW), &policy()), denied(EntitlementReason::Canceled));
}

#[test]
fn grace_is_over_in_the_second_it_ends() {
    let last_second = in_trouble_since("past_due", NOW - GRACE + 1);
    assert_eq!(verdict(&last_second, &policy()), pro(EntitlementReason::GracePeriod, Some(NOW + 1)));
    let over = in_trouble_since("past_due", NOW - GRACE);
    assert_eq!(verdict(&over, &policy()), denied(EntitlementReason::PastDue));
}

#[test]
fn the_end_is_cancel_at_and_else_the_end_of_the_period() {
    let at_period_end = SubscriptionInput { cancel_at_period_end: true, ..subscription("active") };
    assert_eq!(at_period_end.ends_at(), Some(NOW + 10 * DAY));
    let both = SubscriptionInput { cancel_at: Some(NOW + DAY), ..at_period_end.clone() };
    assert_eq!(both.ends_at(), Some(NOW + DAY));
    assert_eq!(subscription("active").ends_at(), None);
    let no_period = SubscriptionInput { period_end: None, ..at_period_end };
    assert_eq!(verdict(&no_period, &policy()), pro(EntitlementReason::Active, None));
}

#[test]
fn without_a_known_failure_grace_starts_with_what_was_last_heard() {
    let past_due = SubscriptionInput { as_of: NOW - DAY, ..subscription("past_due") };
    let end = NOW - DAY + GRACE;
    assert_eq!(verdict(&past_due, &policy()), pro(EntitlementReason::GracePeriod, Some(end)));
}

#[test]
fn the_end_of_grace_is_told_where_a_payment_is_missing_alone_also_when_it_is_over() {
    let since = NOW - 2 * GRACE;
    let answer = of_one(&paused_by_failure(since), &policy(), NOW);
    assert_eq!(answer.grace_period_end, Some(NOW - GRACE));
    for status in ["past_due", "unpaid"] {
        let answer = of_one(&in_trouble_since(status, since), &policy(), NOW);
        assert_eq!(answer.grace_period_end, Some(NOW - GRACE), "{status}");
    }
    for status in ["active", "trialing", "incomplete", "paused", "canceled"] {
        let answer = of_one(&in_trouble_since(status, since), &policy(), NOW);
        assert_eq!(answer.grace_period_end, None, "{status}");
    }
}

#[test]
fn a_price_in_no_plan_is_not_granted_by_a_failed_payment() {
    let since = |since| SubscriptionInput { grace_started_at: Some(since), ..of_price("past_due", "price_other") };
    assert_eq!(verdict(&since(NOW), &policy()), denied(EntitlementReason::UnknownPrice));
    assert_eq!(verdict(&since(NOW - GRACE), &policy()), denied(EntitlementReason::UnknownPrice));
}

#[test]
fn a_price_in_no_plan_is_named_in_the_answer() {
    let answer = of_one(&of_prices(&["price_x", "price_y"]), &policy(), NOW);
    assert_eq!(answer.reason, EntitlementReason::UnknownPrice);
    assert_eq!(answer.price_id.as_deref(), Some("price_x"));
}

#[test]
fn an_unknown_price_does_not_hide_that_a_subscription_is_over() {
    for (status, reason) in [
        ("canceled", EntitlementReason::Canceled),
        ("incomplete", EntitlementReason::Incomplete),
        ("paused", EntitlementReason::Paused),
    ] {
        let subscription = of_price(status, "price_other");
        assert_eq!(verdict(&subscription, &policy()), denied(reason));
    }
}

#[test]
fn without_plans_every_price_and_none_gives_the_default_tier() {
    for prices in [&["price_other"][..], &[]] {
        let answer = of_one(&of_prices(prices), &without_plans(), NOW);
        assert!(answer.entitled);
        assert_eq!(answer.tier, DEFAULT_TIER);
        assert_eq!(answer.price_id.as_deref(), prices.first().copied());
    }
    assert_eq!(verdict(&of_prices(&[]), &policy()), denied(EntitlementReason::UnknownPrice));
}

#[test]
fn of_several_items_the_price_of_the_highest_plan_gives_the_tier() {
    let table = [
        (&["price_pro", "price_team"][..], "team", "price_team"),
        (&["price_team", "price_pro"], "team", "price_team"),
        (&["price_addon", "price_pro_year", "price_pro"], "pro", "price_pro_year"),
    ];
    for (prices, tier, price) in table {
        let answer = of_one(&of_prices(prices), &policy(), NOW);
        assert_eq!((answer.tier.as_str(), answer.price_id.as_deref()), (tier, Some(price)));
    }
}

/// The id of the one that decides among `(id, status, price, created)`.
fn deciding(subscriptions: &[(&str, &str, &str, i64)]) -> String {
    let subscriptions: Vec<_> = subscriptions
        .iter()
        .map(|(id, status, price, created)| SubscriptionInput {
            id: (*id).to_owned(),
            created: *created,
            ..of_price(status, price)
        })
        .collect();
    let answer = entitlement(&subscriptions, &policy(), NOW);
    let effective = effective(&subscriptions, &policy(), NOW).unwrap();
    assert_eq!(answer, of_one(effective, &policy(), NOW));
    effective.id.clone()
}

#[test]
fn the_entitled_subscription_of_the_highest_tier_decides() {
    let old_team = ("sub_a", "active", "price_team", 1);
    let new_pro = ("sub_b", "active", "price_pro", 2);
    let newer_canceled_team = ("sub_c", "canceled", "price_team", 3);
    let newest_unknown = ("sub_d", "active", "price_other", 4);
    assert_eq!(deciding(&[newest_unknown, old_team, new_pro]), "sub_a");
    assert_eq!(deciding(&[new_pro, newer_canceled_team]), "sub_b");
}

#[test]
fn among_equals_and_among_those_that_do_not_entitle_the_newest_decides() {
    let pro = |id, created| (id, "active", "price_pro", created);
    assert_eq!(deciding(&[pro("sub_z", 1), pro("sub_a", 2)]), "sub_a");
    assert_eq!(deciding(&[pro("sub_b", 1), pro("sub_a", 1)]), "sub_b");
    let gone = |id, status, created| (id, status, "price_team", created);
    assert_eq!(deciding(&[gone("sub_a", "incomplete", 2), gone("sub_b", "canceled", 1)]), "sub_a");
}

#[test]
fn a_stale_subscription_is_believed_or_not_as_configured() {
    for (status, reason) in [("active", EntitlementReason::Active), ("trialing", EntitlementReason::Trialing)] {
        assert_eq!(verdict(&stale(status), &policy()), pro(reason, None));
        assert_eq!(verdict(&stale(status), &denying()), denied(EntitlementReason::Stale));
        for policy in [policy(), denying()] {
            assert!(of_one(&stale(status), &policy, NOW).stale);
        }
    }
}

#[test]
fn a_subscription_is_stale_only_when_its_end_is_long_past_and_nothing_newer_was_heard() {
    let of = |period_end, as_of| {
        let subscription = SubscriptionInput { period_end, as_of, ..subscription("active") };
        of_one(&subscription, &denying(), NOW).stale
    };
    let end = NOW - 3601;
    assert!(of(Some(end), end));
    assert!(!of(Some(end), end + 1), "something newer was heard");
    assert!(!of(Some(end + 1), end), "not yet long enough ago");
    assert!(!of(None, 0), "the end is not known");
}

#[test]
fn only_a_running_subscription_can_be_stale() {
    let ended = SubscriptionInput { cancel_at_period_end: true, ..stale("active") };
    let gone = SubscriptionInput { deleted: true, ..stale("active") };
    let table = [
        (ended, EntitlementReason::Canceled),
        (gone, EntitlementReason::Canceled),
        (stale("unpaid"), EntitlementReason::Unpaid),
        (stale("canceled"), EntitlementReason::Canceled),
    ];
    for (subscription, reason) in table {
        let answer = of_one(&subscription, &denying(), NOW);
        assert_eq!((answer.reason, answer.stale), (reason, false));
    }
}

#[test]
fn a_stale_subscription_with_an_end_ahead_is_denied_too_when_so_configured() {
    let subscription = SubscriptionInput { cancel_at: Some(NOW + DAY), ..stale("active") };
    assert_eq!(verdict(&subscription, &policy()), pro(EntitlementReason::Ending, Some(NOW + DAY)));
    assert_eq!(verdict(&subscription, &denying()), denied(EntitlementReason::Stale));
}

#[test]
fn a_stale_subscription_that_is_denied_yields_to_one_that_entitles() {
    let denied_team =
        SubscriptionInput { id: "sub_stale".to_owned(), price_ids: vec!["price_team".to_owned()], ..stale("active") };
    let answer = entitlement(&[denied_team, subscription("active")], &denying(), NOW);
    assert_eq!((answer.tier.as_str(), answer.reason), ("pro", EntitlementReason::Active));
}

const STATUSES: [&str; 9] = [
    "active",
    "trialing",
    "past_due",
    "unpaid",
    "incomplete",
    "incomplete_expired",
    "paused",
    "canceled",
    "new_status",
];
const PRICES: [&str; 4] = ["price_pro", "price_pro_year", "price_team", "price_other"];

/// Times around now, where the rules change, and times without sense.
fn times() -> impl Strategy<Value = i64> {
    prop_oneof![8 => NOW - 2 * GRACE..NOW + 2 * GRACE, 1 => Just(NOW), 1 => any::<i64>()]
}

fn subscriptions() -> impl Strategy<Value = Vec<SubscriptionInput>> {
    let one = (
        prop::sample::select(STATUSES.to_vec()),
        prop::collection::vec(prop::sample::select(PRICES.to_vec()), 0..3),
        (prop::option::of(times()), prop::option::of(times())),
        (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2), any::<bool>()),
        (times(), prop::option::of(times()), prop::option::of(times()), 0..3_i64),
        prop::option::of(prop::collection::vec(prop::sample::select(PRICES.to_vec()), 0..3)),
    )
        .prop_map(|(status, prices, ends, flags, (as_of, trouble, pause, created), good)| SubscriptionInput {
            price_ids: prices.into_iter().map(str::to_owned).collect(),
            period_end: ends.0,
            cancel_at: ends.1,
            cancel_at_period_end: flags.0,
            deleted: flags.1,
            items_partial: flags.2,
            paused_by_failure: flags.3,
            pause_period_end: pause,
            good_price_ids: good.map(|good| good.into_iter().map(str::to_owned).collect()),
            created,
            grace_started_at: trouble,
            as_of,
            ..subscription(status)
        });
    prop::collection::vec(one, 0..5).prop_map(|mut subscriptions| {
        for (n, subscription) in subscriptions.iter_mut().enumerate() {
            subscription.id = format!("sub_{n}");
        }
        subscriptions
    })
}

#[test]
fn an_explanation_says_what_puts_the_deciding_subscription_before_the_next() {
    let made = |id: &str, price: &str, created: i64| SubscriptionInput {
        id: id.to_owned(),
        created,
        ..of_price("active", price)
    };
    let ended = |id: &str, created: i64| SubscriptionInput { id: id.to_owned(), created, ..subscription("canceled") };
    let referred = SubscriptionInput { by_reference: true, ..made("sub_r", "price_pro", 9) };
    let won_by = |all: &[SubscriptionInput]| explain(all, &policy(), NOW, 1).won_by;
    assert_eq!(won_by(&[]), WonBy::NoSubscription);
    assert_eq!(won_by(&[made("sub_a", "price_pro", 1)]), WonBy::Only);
    assert_eq!(won_by(&[made("sub_a", "price_pro", 1), ended("sub_b", 2)]), WonBy::Access);
    assert_eq!(won_by(&[made("sub_a", "price_team", 1), made("sub_b", "price_pro", 2)]), WonBy::Tier);
    assert_eq!(won_by(&[made("sub_a", "price_pro", 1), referred]), WonBy::Link);
    assert_eq!(won_by(&[made("sub_a", "price_pro", 1), made("sub_b", "price_pro", 2)]), WonBy::Newer);
    assert_eq!(won_by(&[made("sub_a", "price_pro", 1), made("sub_b", "price_pro", 1)]), WonBy::Id);
    assert_eq!(won_by(&[ended("sub_a", 1), ended("sub_b", 2)]), WonBy::NewestOfNone);
}

#[test]
fn of_many_subscriptions_the_first_are_explained_and_all_are_counted() {
    let all: Vec<_> =
        (0..30).map(|n| SubscriptionInput { id: format!("sub_{n}"), created: n, ..subscription("active") }).collect();
    let explained = explain(&all, &policy(), NOW, 3);
    let ids: Vec<_> = explained.subscriptions.iter().filter_map(|one| one.answer.subscription_id.clone()).collect();
    assert_eq!((explained.compared, ids), (30, ["sub_29", "sub_28", "sub_27"].map(str::to_owned).to_vec()));
}

fn policies() -> impl Strategy<Value = EntitlementPolicy> {
    let both = EntitlementPolicy { when_stale: WhenStale::Deny, ..until_paid() };
    prop::sample::select(vec![policy(), denying(), without_plans(), until_paid(), both])
}

proptest! {
    #[test]
    fn entitled_and_a_paid_tier_are_the_same_and_the_end_lies_ahead(
        subscriptions in subscriptions(), policy in policies(), now in times(),
    ) {
        let answer = entitlement(&subscriptions, &policy, now);
        prop_assert_eq!(answer.entitled, answer.tier != FREE_TIER);
        prop_assert!(answer.entitled || answer.valid_until.is_none());
        prop_assert!(answer.valid_until.is_none_or(|until| until > now));
    }

    #[test]
    fn the_order_in_which_subscriptions_are_read_never_matters(
        (subscriptions, shuffled) in subscriptions()
            .prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        policy in policies(),
    ) {
        prop_assert_eq!(
            entitlement(&subscriptions, &policy, NOW),
            entitlement(&shuffled, &policy, NOW)
        );
    }

    #[test]
    fn every_answer_is_explained_by_the_rules_that_gave_it(
        subscriptions in subscriptions(), policy in policies(), now in times(),
    ) {
        assert_is_explained(&subscriptions, &policy, now);
    }

    #[test]
    fn until_the_time_that_is_named_the_answer_stays(
        subscriptions in subscriptions(), policy in policies(), now in times(), later in times(),
    ) {
        let Some(deciding) = effective(&subscriptions, &policy, now) else { return Ok(()) };
        let changes_at = changes_at(deciding, &policy, now);
        prop_assume!(later >= now && changes_at.is_none_or(|at| later < at));
        // How fresh it is changes without a word.
        let at = |at| EntitlementAnswer { stale: false, ..of_one(deciding, &policy, at) };
        prop_assert_eq!(at(now), at(later));
    }

    #[test]
    fn an_unpaid_change_gives_no_more_than_either_side_of_it(
        subscriptions in subscriptions(), policy in policies(), now in times(),
    ) {
        let rank = |tier: &str| policy.plans.iter().position(|plan| plan.tier == tier);
        for one in subscriptions.iter().filter(|one| one.is_payment_missing() && !one.items_partial) {
            let answer = of_one(one, &policy, now);
            for prices in [Some(&one.price_ids), one.good_price_ids.as_ref()].into_iter().flatten() {
                prop_assert!(rank(&answer.tier) <= best_of(prices, &policy).and_then(|best| rank(best.tier)));
            }
        }
    }

    #[test]
    fn a_user_is_entitled_exactly_if_one_of_the_subscriptions_entitles(
        subscriptions in subscriptions(), policy in policies(),
    ) {
        let any = subscriptions.iter().any(|s| of_one(s, &policy, NOW).entitled);
        prop_assert_eq!(entitlement(&subscriptions, &policy, NOW).entitled, any);
    }
}
