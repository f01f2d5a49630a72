//! Tables of cases, and what holds for any course of events.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::NoticeVerdict::{Send, Skip};
use super::*;
use crate::base::notice_kind::NoticeKind::{self, *};

const DAY: i64 = 86_400;
const POLICY: DunningPolicy = DunningPolicy { grace_s: 7 * DAY, warning_s: 2 * DAY };
const FAILED: DunningCase = DunningCase {
    attempt: 1,
    settled: None,
    first_payment: false,
    told: false,
    asked: None,
    mailed: None,
    leaving: false,
    delinquency: None,
    ended: None,
};
const GRACE: Delinquency =
    Delinquency { started_at: 0, speaks: true, warned: false, downgraded: false, covered: false };
const IN_GRACE: DunningCase = DunningCase { told: true, delinquency: Some(GRACE), ..FAILED };

fn heard(attempt: i64, at: i64) -> Option<ReportedAttempt> {
    Some(ReportedAttempt { what: AttemptOutcome::Failed, attempt, at })
}

fn asked(attempt: i64, at: i64) -> Option<ReportedAttempt> {
    Some(ReportedAttempt { what: AttemptOutcome::ActionRequired, attempt, at })
}

/// Kind, attempt and verdict of each notice.
fn decided(case: DunningCase, heard: Option<ReportedAttempt>, now: i64) -> Vec<(NoticeKind, i64, NoticeVerdict)> {
    let notices = decide(&case, heard.as_ref(), POLICY, now);
    notices.into_iter().map(|notice| (notice.kind, notice.attempt, notice.verdict)).collect()
}

fn settled(case: DunningCase, paid: bool, at: i64) -> DunningCase {
    DunningCase { settled: Some(CaseSettled { paid, at }), ..case }
}

#[test]
fn each_attempt_has_its_notice() {
    let third = DunningCase { attempt: 3, ..FAILED };
    for (what, case, heard, now, expected) in [
        ("the first failure", FAILED, heard(1, 0), 60, (PaymentFailed, 1, Send)),
        ("a later failure", third, heard(3, DAY), DAY, (PaymentRetry, 3, Send)),
        ("Stripe gave no count", FAILED, heard(0, 0), 60, (PaymentFailed, 1, Send)),
        ("the customer must act", FAILED, asked(1, 0), 60, (PaymentActionRequired, 1, Send)),
        ("the customer must act on a later attempt", third, asked(3, 0), 60, (PaymentActionRequired, 3, Send)),
        ("an older attempt comes late", third, heard(1, 0), 60, (PaymentFailed, 1, Skip(NoticeReason::Older))),
        ("three days late", FAILED, heard(1, 0), TOO_OLD_S, (PaymentFailed, 1, Send)),
        ("later than that", FAILED, heard(1, 0), TOO_OLD_S + 1, (PaymentFailed, 1, Skip(NoticeReason::TooOld))),
        ("the clock was set back", FAILED, heard(1, 9 * DAY), 0, (PaymentFailed, 1, Send)),
        (
            "whoever starts a subscription is there",
            DunningCase { first_payment: true, ..FAILED },
            heard(1, 0),
            60,
            (PaymentFailed, 1, Skip(NoticeReason::FirstPayment)),
        ),
    ] {
        assert_eq!(decided(case, heard, now), [expected], "{what}");
    }
}

#[test]
fn a_warning_comes_in_its_time_and_a_downgrade_at_the_end() {
    let of = |change: fn(&mut Delinquency)| {
        let mut grace = GRACE;
        change(&mut grace);
        DunningCase { delinquency: Some(grace), ..IN_GRACE }
    };
    let warning = (GracePeriodWarning, 1, Send);
    let downgrade = (SubscriptionDowngraded, 1, Send);
    let late = (GracePeriodWarning, 1, Skip(NoticeReason::TooLate));
    for (what, case, now, expected) in [
        ("before the warning's time", IN_GRACE, 5 * DAY - 1, vec![]),
        ("at the warning's time", IN_GRACE, 5 * DAY, vec![warning]),
        ("the daemon was down then", IN_GRACE, 7 * DAY - 1, vec![warning]),
        ("warned", of(|grace| grace.warned = true), 6 * DAY, vec![]),
        ("the end", of(|grace| grace.warned = true), 7 * DAY, vec![downgrade]),
        ("the daemon was down over both", IN_GRACE, 8 * DAY, vec![late, downgrade]),
        (
            "for very long",
            IN_GRACE,
            7 * DAY + TOO_OLD_S + 1,
            vec![late, (SubscriptionDowngraded, 1, Skip(NoticeReason::TooOld))],
        ),
        ("both told", of(|grace| (grace.warned, grace.downgraded) = (true, true)), 8 * DAY, vec![]),
        ("downgraded, then the setting grew", of(|grace| grace.downgraded = true), 6 * DAY, vec![]),
        ("another case speaks", of(|grace| grace.speaks = false), 8 * DAY, vec![]),
        (
            "another subscription gives as much",
            of(|grace| grace.covered = true),
            6 * DAY,
            vec![(GracePeriodWarning, 1, Skip(NoticeReason::Covered))],
        ),
        (
            "another subscription gives as much, at the end",
            of(|grace| (grace.covered, grace.warned) = (true, true)),
            7 * DAY,
            vec![(SubscriptionDowngraded, 1, Skip(NoticeReason::Covered))],
        ),
        ("no subscription, no grace", FAILED, 99 * DAY, vec![]),
        ("never more than incomplete", DunningCase { first_payment: true, ..IN_GRACE }, 8 * DAY, vec![]),
        ("the clock was set back", of(|grace| grace.warned = true), -DAY, vec![]),
    ] {
        assert_eq!(decided(case, None, now), expected, "{what}");
    }
}

#[test]
fn one_attempt_is_mailed_once_whoever_has_cancelled_is_not_chased_and_a_lost_subscription_is_told_of() {
    let asked_for = DunningCase { asked: Some(1), ..FAILED };
    assert_eq!(decided(asked_for, heard(1, 0), 60), [(PaymentFailed, 1, Skip(NoticeReason::Asked))]);
    assert_eq!(decided(DunningCase { attempt: 2, ..asked_for }, heard(2, 0), 60), [(PaymentRetry, 2, Send)]);
    let mailed = DunningCase { mailed: Some(1), ..FAILED };
    assert_eq!(decided(mailed, asked(1, 0), 60), [(PaymentActionRequired, 1, Skip(NoticeReason::Mailed))]);
    let leaving = DunningCase { leaving: true, ..IN_GRACE };
    assert_eq!(decided(leaving, heard(1, 0), 60), [(PaymentFailed, 1, Skip(NoticeReason::Leaving))]);
    let skipped = [
        (GracePeriodWarning, 1, Skip(NoticeReason::TooLate)),
        (SubscriptionDowngraded, 1, Skip(NoticeReason::Leaving)),
    ];
    assert_eq!(decided(leaving, None, 8 * DAY), skipped);
    let ended = CaseEnd { at: DAY, speaks: true, downgraded: false, covered: false };
    for (ended, expected) in [
        (ended, vec![(SubscriptionDowngraded, 1, Send)]),
        (CaseEnd { covered: true, ..ended }, vec![(SubscriptionDowngraded, 1, Skip(NoticeReason::Covered))]),
        (CaseEnd { downgraded: true, ..ended }, vec![]),
        (CaseEnd { speaks: false, ..ended }, vec![]),
    ] {
        let case = settled(DunningCase { ended: Some(ended), delinquency: None, ..IN_GRACE }, false, DAY);
        assert_eq!(decided(case, None, DAY), expected, "{ended:?}");
    }
}

#[test]
fn a_mail_that_says_what_is_not_so_any_more_is_not_sent() {
    let why = |case: DunningCase, kind: NoticeKind, now: i64| {
        let written = WrittenNotice { kind, attempt: 1, failed_at: 0, failure_sent: true };
        against(&case, &written, POLICY, now)
    };
    let paid = settled(DunningCase { delinquency: None, ..IN_GRACE }, true, DAY);
    for kind in [PaymentFailed, PaymentActionRequired, GracePeriodWarning, SubscriptionDowngraded] {
        assert_eq!(why(paid, kind, DAY), Some(NoticeReason::SettledSince), "{kind:?}");
    }
    assert_eq!(why(paid, PaymentRecovered, DAY), None);
    assert_eq!(why(paid, PaymentRecovered, 60 * DAY), Some(NoticeReason::Stale));
    assert_eq!(why(IN_GRACE, PaymentFailed, 60), None);
    assert_eq!(why(DunningCase { attempt: 2, ..IN_GRACE }, PaymentFailed, 60), Some(NoticeReason::Older));
    assert_eq!(why(DunningCase { asked: Some(1), ..IN_GRACE }, PaymentFailed, 60), Some(NoticeReason::Asked));
    assert_eq!(why(DunningCase { asked: Some(1), ..IN_GRACE }, PaymentActionRequired, 60), None);
    assert_eq!(why(IN_GRACE, PaymentFailed, 60 * DAY), Some(NoticeReason::Stale));
    assert_eq!(why(IN_GRACE, GracePeriodWarning, 6 * DAY), None);
    assert_eq!(why(IN_GRACE, GracePeriodWarning, 7 * DAY), Some(NoticeReason::TooLate));
    assert_eq!(
        why(DunningCase { leaving: true, ..IN_GRACE }, GracePeriodWarning, 6 * DAY),
        Some(NoticeReason::Leaving)
    );
    assert_eq!(why(FAILED, GracePeriodWarning, 6 * DAY), Some(NoticeReason::GoodAgain));
    assert_eq!(why(IN_GRACE, SubscriptionDowngraded, 7 * DAY), None);
    assert_eq!(why(IN_GRACE, SubscriptionDowngraded, 6 * DAY), Some(NoticeReason::AccessGoesOn));
    assert_eq!(why(IN_GRACE, SubscriptionDowngraded, 60 * DAY), Some(NoticeReason::Stale));
    let written = WrittenNotice { kind: PaymentRecovered, attempt: 1, failed_at: 0, failure_sent: false };
    assert_eq!(against(&paid, &written, POLICY, DAY), Some(NoticeReason::FailureNotSent));
}

#[test]
fn settings_without_room_for_a_warning_give_none() {
    for (grace_days, warning_days, now_days, expected) in [
        (7, 0, 6, vec![]),
        (2, 2, 1, vec![]),
        (2, 9, 1, vec![]),
        (0, 2, 0, vec![SubscriptionDowngraded]),
        (1, 1, 1, vec![SubscriptionDowngraded]),
        (14, 2, 8, vec![]),
        (14, 2, 12, vec![GracePeriodWarning]),
    ] {
        let policy = DunningPolicy { grace_s: grace_days * DAY, warning_s: warning_days * DAY };
        let notices = decide(&IN_GRACE, None, policy, now_days * DAY);
        let kinds: Vec<NoticeKind> = notices.iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, expected, "grace {grace_days}, warning {warning_days}, day {now_days}");
    }
}

#[test]
fn a_settled_case_tells_of_recovery_alone_and_only_those_who_know_of_the_failure() {
    let recovered = |verdict| vec![(PaymentRecovered, 1, verdict)];
    let untold = DunningCase { told: false, ..IN_GRACE };
    for (what, case, heard, now, expected) in [
        ("paid", settled(IN_GRACE, true, DAY), None, DAY, recovered(Send)),
        ("paid after the end", settled(IN_GRACE, true, 9 * DAY), None, 9 * DAY, recovered(Send)),
        (
            "the failure was not told",
            settled(untold, true, DAY),
            None,
            DAY,
            recovered(Skip(NoticeReason::FailureNotSent)),
        ),
        ("long ago", settled(IN_GRACE, true, 0), None, TOO_OLD_S + 1, recovered(Skip(NoticeReason::TooOld))),
        ("void, uncollectible, or over", settled(IN_GRACE, false, DAY), None, 9 * DAY, vec![]),
        (
            "the failure is heard of afterwards",
            settled(untold, true, DAY),
            heard(1, 0),
            DAY,
            vec![
                (PaymentFailed, 1, Skip(NoticeReason::Settled)),
                (PaymentRecovered, 1, Skip(NoticeReason::FailureNotSent)),
            ],
        ),
    ] {
        assert_eq!(decided(case, heard, now), expected, "{what}");
        assert_eq!(due_at(&case, POLICY, now), None, "{what}");
    }
}

#[test]
fn a_case_is_looked_at_again_at_the_warnings_time_and_at_the_end() {
    for (now, expected) in [(0, Some(5 * DAY)), (5 * DAY, Some(7 * DAY)), (7 * DAY, None), (-9 * DAY, Some(5 * DAY))] {
        assert_eq!(due_at(&IN_GRACE, POLICY, now), expected, "{now}");
    }
    let mute = DunningCase { delinquency: Some(Delinquency { speaks: false, ..GRACE }), ..FAILED };
    assert_eq!((due_at(&mute, POLICY, 0), due_at(&FAILED, POLICY, 0)), (None, None));
}

/// What happens to a case, in any order.
#[derive(Debug, Clone)]
enum Happening {
    Heard(AttemptOutcome, i64, i64),
    Settled(bool),
    Time(i64),
    Asked,
}

fn happening() -> impl Strategy<Value = Happening> {
    let what = prop_oneof![3 => Just(AttemptOutcome::Failed), 1 => Just(AttemptOutcome::ActionRequired)];
    prop_oneof![
        4 => (what, 0..5_i64, 0..12 * DAY).prop_map(|(what, attempt, at)| Happening::Heard(what, attempt, at)),
        1 => any::<bool>().prop_map(Happening::Settled),
        4 => (-DAY..3 * DAY).prop_map(Happening::Time),
        2 => Just(Happening::Asked),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The record as `dunning_attempts` keeps it: the first decision on a kind and attempt stands.
    #[test]
    fn whatever_happens_in_whatever_order_no_notice_comes_at_the_wrong_time(
        happenings in prop::collection::vec(happening(), 1..40),
        grace_days in 0..12_i64,
        warning_days in 0..12_i64,
    ) {
        let policy = DunningPolicy { grace_s: grace_days * DAY, warning_s: warning_days * DAY };
        let mut case = DunningCase { delinquency: Some(GRACE), ..FAILED };
        let (mut now, mut record) = (0, BTreeMap::new());
        for happening in happenings {
            let mut news = None;
            match happening {
                Happening::Heard(what, attempt, at) => {
                    case.attempt = case.attempt.max(attempt);
                    news = Some(ReportedAttempt { what, attempt, at });
                }
                Happening::Settled(paid) => case.settled = case.settled.or(Some(CaseSettled { paid, at: now })),
                Happening::Time(by) => now += by,
                Happening::Asked => {}
            }
            for notice in decide(&case, news.as_ref(), policy, now) {
                let is_failure = matches!(notice.kind, PaymentFailed | PaymentRetry | PaymentActionRequired);
                let is_new = record.insert((notice.kind, notice.attempt), ()).is_none();
                let told = is_new && notice.verdict == Send;
                if is_failure {
                    prop_assert!(news.is_some(), "a failure is told only when it is heard of");
                    prop_assert!(!told || (case.settled.is_none() && notice.attempt == case.attempt));
                    case.told |= told;
                } else {
                    prop_assert_eq!(notice.attempt, 1, "once in a case");
                }
                let (grace, end) = (case.delinquency.as_mut().unwrap(), policy.grace_s);
                match notice.kind {
                    GracePeriodWarning => {
                        prop_assert!(is_new && case.settled.is_none());
                        prop_assert!(!told || (now < end && now >= end - policy.warning_s));
                        grace.warned = true;
                    }
                    SubscriptionDowngraded => {
                        prop_assert!(is_new && case.settled.is_none() && now >= end);
                        grace.downgraded = true;
                    }
                    PaymentRecovered => {
                        prop_assert!(case.settled.is_some_and(|settled| settled.paid));
                        prop_assert!(notice.verdict != Send || case.told);
                    }
                    _ => {}
                }
            }
            if let Some(at) = due_at(&case, policy, now) {
                prop_assert!(at > now && case.settled.is_none());
            }
            let asked_again = decide(&case, None, policy, now);
            prop_assert!(
                asked_again.iter().all(|notice| record.contains_key(&(notice.kind, notice.attempt))
                    || notice.kind == PaymentRecovered),
                "asked again at the same time, nothing new: {asked_again:?}"
            );
        }
    }
}
