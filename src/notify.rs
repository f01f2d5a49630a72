//! Notices for people and events for the application. `project` and `absorb` wrap those of the objects and act on the
//! facts that they note, in order and in the same transaction, so that an event fails if its notice cannot be written; then
//! the event is forwarded. [`with_notices`] does so for every other change of the tables. What is written is a row of the outbox;
//! `mail` and `endpoints` say how such a row is sent. Called by whatever changes objects: the jobs, `outward`, `http::api`
//! and the commands.

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
use event_type::AppEventType;
use settings::{NoticeSettings, NotifyBasis};

/// What a change of the tables depends on, and the notices that follow from it.
#[derive(Debug, Clone)]
pub struct NotifyContext {
    /// What projecting depends on.
    pub projection: ProjectionContext,
    /// Who gets which notices.
    pub notices: NoticeSettings,
}

/// Projects an event, writes the notices that follow from it, and says how it is to be completed.
///
/// # Errors
/// When the database or the object's shape does not allow it; nothing may be kept then.
pub fn project(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    let because = NotifyBasis { cause: Some(&event.id), ..NotifyBasis::of(context, now_ms) };
    let (completion, projected) =
        with_notices_of(tx, context, because, |basis| objects::project(tx, event, &context.projection, basis))?;
    if let Some(event) = projected {
        app_events::forward(tx, &event, because)?;
    }
    Ok(completion)
}

/// Projects a reading, and writes the notices that follow from it.
pub fn absorb(
    tx: &Tx,
    reading: &ApiObject,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<ReadingOutcome, ProjectionError> {
    with_notices(tx, context, now_ms, |basis| reading::absorb(tx, reading, &context.projection, basis))
}

/// Makes a change of the tables, and writes the notices that follow from it.
///
/// # Errors
/// That of the change, or that a notice cannot be written; nothing may be kept then.
pub fn with_notices<T, E: From<ProjectionError>>(
    tx: &Tx,
    context: &NotifyContext,
    now_ms: i64,
    change: impl FnOnce(DerivationBasis) -> Result<T, E>,
) -> Result<T, E> {
    with_notices_of(tx, context, NotifyBasis::of(context, now_ms), change)
}

fn with_notices_of<T, E: From<ProjectionError>>(
    tx: &Tx,
    context: &NotifyContext,
    basis: NotifyBasis,
    change: impl FnOnce(DerivationBasis) -> Result<T, E>,
) -> Result<T, E> {
    let (facts, settings) = (ObjectFacts::default(), &context.notices);
    let compared = WantedComparisons {
        answers: settings.is_wanted(AppEventType::EntitlementChanged.as_str()),
        subscriptions: settings.is_wanted(AppEventType::SubscriptionChanged.as_str()),
    };
    let changed = change(DerivationBasis {
        policy: &context.projection.policy,
        link: &context.projection.link,
        facts: &facts,
        compared,
        now_ms: basis.now_ms,
    })?;
    facts.into_vec().iter().try_for_each(|fact| act(tx, fact, basis))?;
    Ok(changed)
}

fn act(tx: &Tx, fact: &ObjectFact, basis: NotifyBasis) -> Result<(), ProjectionError> {
    match fact {
        ObjectFact::AnswerChanged(change) => Ok(app_events::entitlement_changed(tx, change, basis)?),
        ObjectFact::SubscriptionChanged { present } => Ok(app_events::subscription_changed(tx, present, basis)?),
        fact => notice::act(tx, fact, basis),
    }
}
