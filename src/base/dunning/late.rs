//! Reasons not to send a mail any more by the time that it can be sent. As pure as all of `dunning`. Called by `notify::notices`.

use super::{DunningCase, DunningPolicy, NoticeReason, TOO_OLD_S};
use crate::base::notice_kind::NoticeKind;

/// A notice whose mail has not been sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenNotice {
    /// What it says.
    pub kind: NoticeKind,
    /// The attempt that it is about.
    pub attempt: i64,
    /// When the newest known attempt failed, unix seconds.
    pub failed_at: i64,
    /// A mail about a failure of the case has been sent.
    pub failure_sent: bool,
}

/// Why a mail that was written earlier must not be sent any more; `None`: it may be. `now` in unix seconds.
#[must_use]
pub fn against(case: &DunningCase, written: &WrittenNotice, policy: DunningPolicy, now: i64) -> Option<NoticeReason> {
    let is_stale = |at: i64| now.saturating_sub(at) > TOO_OLD_S;
    let is_open = case.settled.is_none();
    let end = case.delinquency.map(|grace| grace.ends_at(policy));
    let checks = match written.kind {
        NoticeKind::PaymentFailed | NoticeKind::PaymentRetry | NoticeKind::PaymentActionRequired => vec![
            (!is_open, NoticeReason::SettledSince),
            (case.leaving, NoticeReason::Leaving),
            (written.attempt < case.attempt, NoticeReason::Older),
            (
                written.kind != NoticeKind::PaymentActionRequired && case.asked == Some(written.attempt),
                NoticeReason::Asked,
            ),
            (is_stale(written.failed_at), NoticeReason::Stale),
            // It promises that everything works until then.
            (end.is_some_and(|end| written.failed_at < end && end <= now), NoticeReason::TooLate),
        ],
        NoticeKind::GracePeriodWarning => vec![
            (!is_open, NoticeReason::SettledSince),
            (case.leaving, NoticeReason::Leaving),
            (end.is_none(), NoticeReason::GoodAgain),
            (end.is_some_and(|end| end <= now), NoticeReason::TooLate),
            (case.delinquency.is_some_and(|grace| grace.covered), NoticeReason::Covered),
        ],
        NoticeKind::SubscriptionDowngraded => {
            let at = case.ended.map(|ended| ended.at).or(end);
            vec![
                (!is_open && case.ended.is_none(), NoticeReason::SettledSince),
                (case.leaving, NoticeReason::Leaving),
                (is_open && end.is_none(), NoticeReason::GoodAgain),
                (is_open && end.is_some_and(|end| end > now), NoticeReason::AccessGoesOn),
                (case.delinquency.is_some_and(|grace| grace.covered), NoticeReason::Covered),
                (case.ended.is_some_and(|ended| ended.covered), NoticeReason::Covered),
                (at.is_some_and(is_stale), NoticeReason::Stale),
            ]
        }
        NoticeKind::PaymentRecovered => vec![
            (!written.failure_sent, NoticeReason::FailureNotSent),
            (case.settled.is_none_or(|settled| !settled.paid || is_stale(settled.at)), NoticeReason::Stale),
        ],
    };
    checks.into_iter().find(|(applies, _)| *applies).map(|(_, why)| why)
}
