//! What is told, to people and to the application. `project` and `absorb` wrap those of the objects and act on the facts
//! that they note, in order and in the same transaction, so that a notice that cannot be written fails its event; then the
//! event is forwarded. [`acting`] does so for every other change of the tables. It must never send anything. Called by
//! whatever changes objects: `worker`, `fetch`, `calls`, `sync`, `tick`, the private API.

pub(crate) mod announce;
pub mod attempt;
pub mod endpoints;
pub mod event_type;
mod invoiced;
pub mod mail;
pub mod notice;
pub mod notices;
pub mod occasions;
mod post;
pub mod resync;
pub mod settings;
pub mod text;

use crate::objects::derived::Basis;
use crate::objects::fact::{Compared, Fact, Facts};
use crate::objects::read::{self, Absorbed, Shown};
use crate::objects::{self, Event, ProjectionContext, ProjectionError};
use crate::store::Tx;
use crate::store::inbox::Completion;
use event_type::EventType;
use settings::{NoticeSettings, NotifyBasis};

/// What a change of the tables rests on, with all that follows from it.
#[derive(Debug, Clone)]
pub struct Context {
    /// What projecting rests on.
    pub projection: ProjectionContext,
    /// Who is sent what.
    pub notices: NoticeSettings,
}

/// Applies an event to the tables, tells of what follows from it, and says how it is to be completed.
///
/// # Errors
/// When the database or the object's shape does not allow it; nothing may be kept then.
pub fn project(tx: &Tx, event: &Event, context: &Context, now_ms: i64) -> Result<Completion, ProjectionError> {
    let (completion, taken) =
        acting(tx, context, now_ms, |basis| objects::project(tx, event, &context.projection, basis))?;
    if let Some(taken) = taken {
        announce::forward(tx, &taken, NotifyBasis::of(context, now_ms))?;
    }
    Ok(completion)
}

/// Takes a reading into the tables, and tells of what follows from it.
///
/// # Errors
/// As [`project`].
pub fn absorb(tx: &Tx, shown: &Shown, context: &Context, now_ms: i64) -> Result<Absorbed, ProjectionError> {
    acting(tx, context, now_ms, |basis| read::absorb(tx, shown, &context.projection, basis))
}

/// Makes a change of the tables, and tells of what follows from it.
///
/// # Errors
/// That of the change, or what the notices need; nothing may be kept then.
pub fn acting<T, E: From<ProjectionError>>(
    tx: &Tx,
    context: &Context,
    now_ms: i64,
    change: impl FnOnce(Basis) -> Result<T, E>,
) -> Result<T, E> {
    let (facts, wishes) = (Facts::default(), &context.notices);
    let compared = Compared {
        answers: wishes.is_wanted(EventType::EntitlementChanged.as_str()),
        subscriptions: wishes.is_wanted(EventType::SubscriptionChanged.as_str()),
    };
    let done = change(Basis {
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

fn act(tx: &Tx, fact: &Fact, basis: NotifyBasis) -> Result<(), ProjectionError> {
    match fact {
        Fact::AnswerChanged(change) => Ok(announce::entitlement(tx, change, basis)?),
        Fact::SubscriptionChanged { present } => Ok(announce::subscription(tx, present, basis)?),
        Fact::CaseTouched { invoice_id, heard } => Ok(notices::review(tx, invoice_id, heard.as_ref(), basis)?),
        Fact::CasesTouched { subscription_id } => Ok(notices::review_subscription(tx, subscription_id, basis)?),
        Fact::InvoiceFinalized(seen) => occasions::invoice_finalized(tx, seen, basis),
        Fact::TrialEnds(seen) => occasions::trial_will_end(tx, seen, basis),
        Fact::DisputeOpened(seen) => occasions::dispute_created(tx, seen, basis),
    }
}
