//! What happened, as far as somebody may want to be told of it: typed, collected in the order in which it came about, and
//! handed to whoever began. Objects note facts and know nobody who hears of them; `notify` acts on them in the same
//! transaction. A fact is noted only where it is no reading, if it is one that only an event can tell.

use std::cell::RefCell;

use serde_json::Value;

use super::subscription::SubscriptionWithItems;
use crate::base::dunning::PaymentNews;
use crate::base::entitlement::EntitlementAnswer;
use crate::objects::effective::StoredAnswer;

/// Something that happened.
pub(crate) enum ObjectFact {
    /// A user's answer is another than the stored one.
    AnswerChanged(Box<AnswerChange>),
    /// A subscription says something else than before.
    SubscriptionChanged { present: Box<SubscriptionWithItems> },
    /// A failure case is to be looked at, with what an event told of an attempt to pay.
    CaseTouched { invoice_id: String, heard: Option<PaymentNews> },
    /// The open cases of a subscription are to be looked at.
    CasesTouched { subscription_id: String },
    /// An invoice is final.
    InvoiceFinalized(SeenObject),
    /// A trial ends soon.
    TrialEnds(SeenObject),
    /// A customer wants money back by way of the bank.
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

/// What is worth comparing, since somebody wants to know whether it changed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WantedComparisons {
    pub(crate) answers: bool,
    pub(crate) subscriptions: bool,
}

/// The facts of one change, in order.
#[derive(Default)]
#[must_use]
pub(crate) struct ObjectFacts(RefCell<Vec<ObjectFact>>);

impl ObjectFacts {
    pub(super) fn note(&self, fact: ObjectFact) {
        self.0.borrow_mut().push(fact);
    }

    /// All of them.
    pub(crate) fn into_vec(self) -> Vec<ObjectFact> {
        self.0.into_inner()
    }
}
