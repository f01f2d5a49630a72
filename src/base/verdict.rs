//! What can be done about work that failed, in one vocabulary: for events, fetches, mails and calls to Stripe. An error type
//! says it with a method `verdict`; attempts and due times are counted by `retry`. Pure data. Used by whatever tries again.

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureVerdict {
    /// Nothing is decided: the work is not at fault, or may even have been done. Keep it as it is, count no attempt, come
    /// again later.
    Wait,
    /// The attempt failed, and another one may go better: the same work, the same key, the same bytes.
    Retry,
    /// It never will: this is the outcome.
    GiveUp,
}
