//! What is told, to people and to the application. `project` and `absorb` wrap those of the objects and act on the facts
//! that they note, in order and in the same transaction, so that a notice that cannot be written fails its event; then the
//! event is forwarded. [`acting`] does so for every other change of the tables. It must never send anything. Called by
//! whatever changes objects: `worker`, `fetch`, `calls`, `sync`, `tick`, the private API.

pub(crate) mod app_events;
pub mod attempt;
pub mod endpoints;
pub mod event_type;
pub mod mail;
pub mod notice;
pub mod resync;
pub mod settings;
pub mod text;

use crate::objects::DerivationBasis;
use crate::objects::fact::{ObjectFact, ObjectFacts, WantedComparisons};
use crate::objects::reading::{self, ApiObject, ReadingOutcome};
use crate::objects::{self, ProjectedEvent, ProjectionContext, ProjectionError};
use crate::store::Tx;
use crate::store::inbox::EventCompletion;
use event_type::EventType;
use settings::{NoticeSettings, NotifyBasis};

/// What a change of the tables rests on, with all that follows from it.
#[derive(Debug, Clone)]
pub struct NotifyContext {
    /// What projecting rests on.
    pub projection: ProjectionContext,
    /// Who is sent what.
    pub notices: NoticeSettings,
}

/// Applies an event to the tables, tells of what follows from it, and says how it is to be completed.
///
/// # Errors
/// When the database or the object's shape does not allow it; nothing may be kept then.
pub fn project(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    let (completion, taken) =
        acting(tx, context, now_ms, |basis| objects::project(tx, event, &context.projection, basis))?;
    if let Some(taken) = taken {
        app_events::forward(tx, &taken, NotifyBasis::of(context, now_ms))?;
    }
    Ok(completion)
}

/// Takes a reading into the tables, and tells of what follows from it.
pub fn absorb(
    tx: &Tx,
    shown: &ApiObject,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<ReadingOutcome, ProjectionError> {
    acting(tx, context, now_ms, |basis| reading::absorb(tx, shown, &context.projection, basis))
}

/// Makes a change of the tables, and tells of what follows from it.
///
/// # Errors
/// That of the change, or what the notices need; nothing may be kept then.
pub fn acting<T, E: From<ProjectionError>>(
    tx: &Tx,
    context: &NotifyContext,
    now_ms: i64,
    change: impl FnOnce(DerivationBasis) -> Result<T, E>,
) -> Result<T, E> {
    let (facts, wishes) = (ObjectFacts::default(), &context.notices);
    let compared = WantedComparisons {
        answers: wishes.is_wanted(EventType::EntitlementChanged.as_str()),
        subscriptions: wishes.is_wanted(EventType::SubscriptionChanged.as_str()),
    };
    let done = change(DerivationBasis {
        policy: &context.projection.policy,
        link: &context.projection.link,
        facts: &facts,
        compared,
        now_ms,
    })?;
    let basis = NotifyBasis::of(context, now_ms);
    facts.into_vec().iter().try_for_each(|fact| act(tx, fact, basis))?;
    Ok(done)
}

fn act(tx: &Tx, fact: &ObjectFact, basis: NotifyBasis) -> Result<(), ProjectionError> {
    match fact {
        ObjectFact::AnswerChanged(change) => Ok(app_events::entitlement_changed(tx, change, basis)?),
        ObjectFact::SubscriptionChanged { present } => Ok(app_events::subscription_changed(tx, present, basis)?),
        ObjectFact::CaseTouched { .. }
        | ObjectFact::CasesTouched { .. }
        | ObjectFact::InvoiceFinalized(_)
        | ObjectFact::TrialEnds(_)
        | ObjectFact::DisputeOpened(_) => notice::act(tx, fact, basis),
    }
}
