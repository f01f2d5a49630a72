//! One attempt to send a mail or an event, as the lane that makes it and the sender that performs it see it. Called by
//! `delivery`, and by whatever sends.

use crate::store::outbox::OutboxEffect;

/// The target of mails in the outbox.
pub const MAIL: &str = "mail";

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It was taken; a note where one is worth it.
    Done(Option<String>),
    /// There was no reason or no way to perform it, and why.
    Skipped(String),
    /// It was refused for good, and why.
    Refused(String),
    /// It failed for now.
    TryAgain {
        /// Why.
        why: String,
        /// What the receiver asked for, in seconds.
        after_s: Option<i64>,
    },
    /// The endpoint wants nothing more, ever.
    Gone,
    /// It was broken off before anything could come of it.
    NotTried,
}

/// Performs one effect at a time, unix milliseconds.
pub type DeliveryAttempt = Box<dyn Fn(&OutboxEffect, i64) -> DeliveryOutcome + Send>;
