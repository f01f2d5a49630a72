//! Dunning: which notices a failed payment calls for. From the state of a failure case, the payment attempt that was just reported, the
//! policy and the time, to the notices that ought to exist. The caller records each once per case, kind and attempt, and
//! never takes one back; so this may be asked any number of times. It knows no database, no clock, no addresses and no
//! settings of notices. Called by `notify::notices`.
//!
//! The outcome in cases that are not obvious:
//! - **Later failures** do not move the end of the grace period: it is counted from the first failure since the
//!   subscription was last in good standing.
//! - **Several unpaid invoices of one subscription**: each failed attempt is notified. There is one grace period, so there
//!   is one warning and one downgrade; they belong to the oldest open case of that delinquency, and when it is settled, to
//!   the next. What was once sent about a delinquency is not sent again, whichever case it belonged to.
//! - **Several subscriptions**: each has its own grace period. No warning and no downgrade while another subscription of
//!   the user gives the same tier or a higher one.
//! - **Invoices without a subscription** have no grace period: attempts and recovery are notified.
//! - **A delinquency without a reported failure** (Stripe says past due, the invoice's event is lost) has no case, so
//!   there is no notice; access still ends, and the application is notified of that.
//! - **Paused by Stripe because a payment failed**: as past due, also after the first payment, since access goes on.
//! - **The first payment of a subscription**: the customer is at the screen, and has no access to lose. Recorded,
//!   not sent.
//! - **A changed grace setting** counts at once, also for grace periods that run or are over: access comes back or ends,
//!   notices that are due by the new times are sent, and none is sent twice.
//! - **Clock set back**: what was sent is not sent again when its time comes again.
//! - **Daemon down over the warning's time**: the warning is sent late, while the grace period lasts. **Down over
//!   the deadline**: the warning is recorded as skipped, the downgrade is sent.
//! - **No room for a warning** (`warning_days` is 0, or no less than the grace period): none; the failure's own notice
//!   names the end. A grace period of 0 days ends with the failure: a downgrade, no warning.
//! - **Any order, any number of times**: a notice about an attempt older than the newest known one is recorded as
//!   skipped, as is a failure that is reported when its invoice is settled.
//! - **Old events**: what happened more than [`TOO_OLD_S`] ago (caught up on, copied, replayed) is recorded as skipped.
//! - **Recovery** is notified when the invoice is paid, and only if its failure was. Voided, uncollectible, and an end that
//!   somebody wanted close a case without a notice.
//! - **Stripe ends a subscription because the payment failed**: access has ended, so that is notified, unless it was already.
//! - **A customer who has cancelled** is not chased: recorded, not mailed. The application is still notified of failures.
//! - **One attempt, one mail**: where the bank wants the customer to confirm, Stripe reports a failure, too. The mail that
//!   asks to confirm goes out, unless the failure was mailed before that was known.
//! - **When a mail is about to be sent** ([`against`]) the case is looked at again: what has been settled, overtaken, or
//!   comes too late is not sent. A mail that is no longer true is worse than none.

mod late;

pub(crate) use late::{WrittenNotice, against};

use crate::base::notice_kind::NoticeKind;

/// What is older than this when it becomes known, in seconds, is sent to nobody: the customer knows it from elsewhere, or it
/// is settled by now. As long as Stripe itself goes on delivering an event.
pub(crate) const TOO_OLD_S: i64 = 3 * 86_400;

/// The operator's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DunningPolicy {
    /// How long access lasts after the first failed payment, in seconds.
    pub grace_s: i64,
    /// How long before the end of that the warning is due, in seconds.
    pub warning_s: i64,
}

/// What an event reports of a payment attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It failed.
    Failed,
    /// It waits for the customer.
    ActionRequired,
}

/// A payment attempt that was just reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedAttempt {
    /// What became of it.
    pub what: AttemptOutcome,
    /// Stripe's count of attempts.
    pub attempt: i64,
    /// When it happened, unix seconds.
    pub at: i64,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseSettled {
    /// It was paid; otherwise nothing is owed any more.
    pub paid: bool,
    /// When, unix seconds.
    pub at: i64,
}

/// The delinquency of a case's subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delinquency {
    /// When the grace period began, unix seconds.
    pub started_at: i64,
    /// Warning and downgrade belong to this case, and to no other.
    pub speaks: bool,
    /// A warning is recorded for it.
    pub warned: bool,
    /// A downgrade is recorded for it.
    pub downgraded: bool,
    /// Another subscription of the user gives as much.
    pub covered: bool,
}

impl Delinquency {
    /// When access ends, unix seconds.
    #[must_use]
    pub fn ends_at(&self, policy: DunningPolicy) -> i64 {
        self.started_at.saturating_add(policy.grace_s)
    }

    fn warning_at(&self, policy: DunningPolicy) -> Option<i64> {
        let at = self.ends_at(policy).saturating_sub(policy.warning_s);
        (policy.warning_s > 0 && at > self.started_at).then_some(at)
    }
}

/// The end of a case's subscription, which Stripe ended because a payment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseEnd {
    /// When, unix seconds.
    pub at: i64,
    /// Its notice belongs to this case, and to no other.
    pub speaks: bool,
    /// The notice that access is over is recorded already.
    pub downgraded: bool,
    /// Another subscription of the user gives as much.
    pub covered: bool,
}

/// The state of a failure case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DunningCase {
    /// The newest known attempt.
    pub attempt: i64,
    /// How it ended, if it has.
    pub settled: Option<CaseSettled>,
    /// It is about the first payment of a subscription.
    pub first_payment: bool,
    /// A failure of it was notified.
    pub told: bool,
    /// The newest attempt that the customer is asked to confirm.
    pub asked: Option<i64>,
    /// The newest attempt that has been mailed as a failure.
    pub mailed: Option<i64>,
    /// Whoever pays has cancelled: the subscription ends, or has ended, because they want it.
    pub leaving: bool,
    /// `None`: its subscription is in no grace period, or there is none.
    pub delinquency: Option<Delinquency>,
    /// `None`: its subscription goes on, or ended for another reason.
    pub ended: Option<CaseEnd>,
}

/// A notice that ought to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueNotice {
    /// Its kind.
    pub kind: NoticeKind,
    /// The attempt that it is about; 1 for what is sent once in a case.
    pub attempt: i64,
    /// Whether it is sent.
    pub verdict: NoticeVerdict,
}

/// Whether a notice is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeVerdict {
    /// It is.
    Send,
    /// It is only recorded.
    Skip(NoticeReason),
}

/// Why a notice is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeReason {
    /// A newer attempt is known.
    Older,
    /// It happened too long ago.
    TooOld,
    /// The invoice was settled before the failure became known.
    Settled,
    /// It is about the first payment.
    FirstPayment,
    /// The grace period is over.
    TooLate,
    /// Another subscription gives as much.
    Covered,
    /// The failure was not notified.
    FailureNotSent,
    /// The customer is asked to confirm this attempt.
    Asked,
    /// This attempt was mailed as a failure.
    Mailed,
    /// Whoever pays has cancelled.
    Leaving,
    /// The invoice was settled before the mail could be sent.
    SettledSince,
    /// Nothing is missing any more.
    GoodAgain,
    /// Access has not ended, or has come back.
    AccessGoesOn,
    /// It could not be sent in time.
    Stale,
}

impl NoticeReason {
    /// As the column `outcome` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Older => "skipped: a newer attempt is known",
            Self::TooOld => "skipped: heard of too late",
            Self::Settled => "skipped: the invoice was settled before this was heard of",
            Self::FirstPayment => "skipped: the first payment of a subscription",
            Self::TooLate => "skipped: the grace period was over",
            Self::Covered => "skipped: another subscription gives as much",
            Self::FailureNotSent => "skipped: its failure was not told",
            Self::Asked => "skipped: the customer is asked to confirm this attempt",
            Self::Mailed => "skipped: this attempt was mailed as a failure",
            Self::Leaving => "skipped: whoever pays has cancelled",
            Self::SettledSince => "skipped: the invoice was settled before this could be sent",
            Self::GoodAgain => "skipped: the subscription owes nothing any more",
            Self::AccessGoesOn => "skipped: access has not ended",
            Self::Stale => "skipped: it could not be sent in time",
        }
    }

    /// It only prevents a mail; the application is still notified.
    #[must_use]
    pub(crate) fn is_about_mail(self) -> bool {
        matches!(self, Self::Asked | Self::Mailed | Self::Leaving)
    }
}

/// The notices that a case calls for, now. Times in unix seconds.
#[must_use]
pub(crate) fn decide(
    case: &DunningCase,
    heard: Option<&ReportedAttempt>,
    policy: DunningPolicy,
    now: i64,
) -> Vec<DueNotice> {
    let mut notices: Vec<DueNotice> = heard.map(|heard| about_attempt(case, heard, now)).into_iter().collect();
    match case.settled {
        Some(settled) if settled.paid => notices.push(recovery(case, settled, now)),
        Some(_) => notices.extend(ending(case, now)),
        None => notices.extend(about_grace(case, policy, now)),
    }
    notices
}

fn about_attempt(case: &DunningCase, heard: &ReportedAttempt, now: i64) -> DueNotice {
    let attempt = heard.attempt.max(1);
    let kind = match heard.what {
        AttemptOutcome::ActionRequired => NoticeKind::PaymentActionRequired,
        AttemptOutcome::Failed if attempt == 1 => NoticeKind::PaymentFailed,
        AttemptOutcome::Failed => NoticeKind::PaymentRetry,
    };
    let verdict = if case.settled.is_some() {
        NoticeVerdict::Skip(NoticeReason::Settled)
    } else if attempt < case.attempt {
        NoticeVerdict::Skip(NoticeReason::Older)
    } else {
        unless_old(heard.at, now)
    };
    let verdict = match verdict {
        NoticeVerdict::Send if case.first_payment => NoticeVerdict::Skip(NoticeReason::FirstPayment),
        NoticeVerdict::Send if case.leaving => NoticeVerdict::Skip(NoticeReason::Leaving),
        NoticeVerdict::Send if heard.what == AttemptOutcome::Failed && case.asked == Some(attempt) => {
            NoticeVerdict::Skip(NoticeReason::Asked)
        }
        NoticeVerdict::Send if heard.what == AttemptOutcome::ActionRequired && case.mailed == Some(attempt) => {
            NoticeVerdict::Skip(NoticeReason::Mailed)
        }
        verdict => verdict,
    };
    DueNotice { kind, attempt, verdict }
}

/// Stripe has ended the subscription because the payment failed: so has access, and with a word, if that was not said.
fn ending(case: &DunningCase, now: i64) -> Option<DueNotice> {
    let ended = case.ended.filter(|ended| ended.speaks && !ended.downgraded && !case.first_payment)?;
    let verdict = match unless_old(ended.at, now) {
        NoticeVerdict::Send if case.leaving => NoticeVerdict::Skip(NoticeReason::Leaving),
        NoticeVerdict::Send if ended.covered => NoticeVerdict::Skip(NoticeReason::Covered),
        verdict => verdict,
    };
    Some(DueNotice { kind: NoticeKind::SubscriptionDowngraded, attempt: 1, verdict })
}

fn recovery(case: &DunningCase, settled: CaseSettled, now: i64) -> DueNotice {
    let verdict =
        if case.told { unless_old(settled.at, now) } else { NoticeVerdict::Skip(NoticeReason::FailureNotSent) };
    DueNotice { kind: NoticeKind::PaymentRecovered, attempt: 1, verdict }
}

fn about_grace(case: &DunningCase, policy: DunningPolicy, now: i64) -> Vec<DueNotice> {
    let Some(grace) = case.delinquency.filter(|grace| grace.speaks && !case.first_payment) else { return Vec::new() };
    let (end, over) = (grace.ends_at(policy), grace.ends_at(policy) <= now);
    let covered = |verdict| match verdict {
        NoticeVerdict::Send if case.leaving => NoticeVerdict::Skip(NoticeReason::Leaving),
        NoticeVerdict::Send if grace.covered => NoticeVerdict::Skip(NoticeReason::Covered),
        verdict => verdict,
    };
    let mut notices = Vec::new();
    if !grace.warned && !grace.downgraded && grace.warning_at(policy).is_some_and(|at| at <= now) {
        let verdict = if over { NoticeVerdict::Skip(NoticeReason::TooLate) } else { covered(NoticeVerdict::Send) };
        notices.push(DueNotice { kind: NoticeKind::GracePeriodWarning, attempt: 1, verdict });
    }
    if !grace.downgraded && over {
        let verdict = covered(unless_old(end, now));
        notices.push(DueNotice { kind: NoticeKind::SubscriptionDowngraded, attempt: 1, verdict });
    }
    notices
}

fn unless_old(at: i64, now: i64) -> NoticeVerdict {
    if now.saturating_sub(at) > TOO_OLD_S { NoticeVerdict::Skip(NoticeReason::TooOld) } else { NoticeVerdict::Send }
}

/// When a case must be looked at again because a notice falls due by time alone; `None`: never.
#[must_use]
pub(crate) fn due_at(case: &DunningCase, policy: DunningPolicy, now: i64) -> Option<i64> {
    let grace = case.delinquency.filter(|grace| grace.speaks && case.settled.is_none() && !case.first_payment)?;
    let times = [grace.warning_at(policy), Some(grace.ends_at(policy))];
    times.into_iter().flatten().filter(|at| *at > now).min()
}

#[cfg(test)]
mod tests;
