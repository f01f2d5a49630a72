//! What speaks against a mail by the time that it can be sent. As pure as all of `dunning`. Called by `notify::notices`.

use super::{Case, OLD_NEWS_S, Policy, Why};
use crate::base::notice_kind::NoticeKind;

/// A notice whose mail has not been sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// What it says.
    pub kind: NoticeKind,
    /// About which attempt.
    pub attempt: i64,
    /// When the newest attempt failed that is known, unix seconds.
    pub failed_at: i64,
    /// A mail about a failure of the case has been sent.
    pub failure_sent: bool,
}

/// What speaks by now against a mail that was written earlier; `None`: nothing. `now` in unix seconds.
#[must_use]
pub fn against(case: &Case, written: &Written, policy: Policy, now: i64) -> Option<Why> {
    let is_stale = |at: i64| now.saturating_sub(at) > OLD_NEWS_S;
    let is_open = case.settled.is_none();
    let end = case.delinquency.map(|grace| grace.ends_at(policy));
    let checks = match written.kind {
        NoticeKind::PaymentFailed | NoticeKind::PaymentRetry | NoticeKind::PaymentActionRequired => vec![
            (!is_open, Why::SettledSince),
            (case.leaving, Why::Leaving),
            (written.attempt < case.attempt, Why::Older),
            (written.kind != NoticeKind::PaymentActionRequired && case.asked == Some(written.attempt), Why::Asked),
            (is_stale(written.failed_at), Why::Stale),
            // It promises that everything works until then.
            (end.is_some_and(|end| written.failed_at < end && end <= now), Why::TooLate),
        ],
        NoticeKind::GracePeriodWarning => vec![
            (!is_open, Why::SettledSince),
            (case.leaving, Why::Leaving),
            (end.is_none(), Why::GoodAgain),
            (end.is_some_and(|end| end <= now), Why::TooLate),
            (case.delinquency.is_some_and(|grace| grace.covered), Why::Covered),
        ],
        NoticeKind::SubscriptionDowngraded => {
            let at = case.ended.map(|ended| ended.at).or(end);
            vec![
                (!is_open && case.ended.is_none(), Why::SettledSince),
                (case.leaving, Why::Leaving),
                (is_open && end.is_none(), Why::GoodAgain),
                (is_open && end.is_some_and(|end| end > now), Why::AccessGoesOn),
                (case.delinquency.is_some_and(|grace| grace.covered), Why::Covered),
                (case.ended.is_some_and(|ended| ended.covered), Why::Covered),
                (at.is_some_and(is_stale), Why::Stale),
            ]
        }
        NoticeKind::PaymentRecovered => vec![
            (!written.failure_sent, Why::Untold),
            (case.settled.is_none_or(|settled| !settled.paid || is_stale(settled.at)), Why::Stale),
        ],
        // All others hang on no failure case.
        _ => Vec::new(),
    };
    checks.into_iter().find(|(speaks, _)| *speaks).map(|(_, why)| why)
}
