//! What happened, as far as somebody may have to be notified: typed, collected in the order in which it happened, and
//! returned to the caller. Objects note facts and never know who is notified; `notify` acts on the facts in the same
//! transaction. Facts that only an event can show are not noted for a reading. Called by the kinds.

use std::cell::RefCell;

use serde_json::Value;

use super::effective::StoredAnswer;
use super::subscription::SubscriptionWithItems;
use crate::base::dunning::ReportedAttempt;
use crate::base::entitlement::EntitlementAnswer;

/// Something that happened.
pub(crate) enum ObjectFact {
    /// A user's answer differs from the stored one.
    AnswerChanged(Box<AnswerChange>),
    /// A subscription differs from what it was before.
    SubscriptionChanged { present: Box<SubscriptionWithItems> },
    /// A failure case is to be reviewed. `heard`: what an event showed of an attempt to pay.
    CaseTouched { invoice_id: String, heard: Option<ReportedAttempt> },
    /// The open cases of a subscription are to be reviewed.
    CasesTouched { subscription_id: String },
    /// An invoice was finalized.
    InvoiceFinalized(SeenObject),
    /// A trial ends soon.
    TrialEnds(SeenObject),
    /// A customer disputes a charge with the bank.
    DisputeOpened(SeenObject),
}

/// A user's answer and the one before it.
pub(crate) struct AnswerChange {
    pub(crate) user_id: String,
    /// `None`: nothing was stored.
    pub(crate) before: Option<StoredAnswer>,
    pub(crate) answer: EntitlementAnswer,
}

/// An object as an event showed it.
pub(crate) struct SeenObject {
    pub(crate) id: String,
    pub(crate) object: Value,
    /// The event's time, unix seconds.
    pub(crate) at_s: i64,
}

/// What is compared with what it was before, because somebody is to be notified of changes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WantedComparisons {
    pub(crate) answers: bool,
    pub(crate) subscriptions: bool,
}

/// The facts of one change, in the order in which they happened.
#[derive(Default)]
#[must_use]
pub(crate) struct ObjectFacts(RefCell<Vec<ObjectFact>>);

impl ObjectFacts {
    pub(super) fn note(&self, fact: ObjectFact) {
        self.0.borrow_mut().push(fact);
    }

    pub(crate) fn into_vec(self) -> Vec<ObjectFact> {
        self.0.into_inner()
    }
}
