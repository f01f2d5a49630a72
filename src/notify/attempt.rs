//! One attempt to send a mail or an event: what the job that makes it gives, and what the sender returns. It must never know
//! how something is sent. Called by `jobs::lane`, and by whatever sends.

use crate::store::outbox::OutboxEffect;

/// The target of mails in the outbox.
pub const MAIL: &str = "mail";

/// The result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The receiver has accepted it; with a note where there is something to say.
    Done(Option<String>),
    /// There was no reason or no way to send it, and why.
    Skipped(String),
    /// It was refused for good, and why.
    Refused(String),
    /// It failed for now.
    TryAgain {
        /// Why.
        why: String,
        /// After how many seconds, if the receiver has said so.
        after_s: Option<i64>,
    },
    /// The endpoint says that it will never accept anything again.
    Gone,
    /// It was stopped before anything was sent.
    NotTried,
}

/// Sends one effect at a time; the time is in unix milliseconds.
pub type DeliveryAttempt = Box<dyn Fn(&OutboxEffect, i64) -> DeliveryOutcome + Send>;
