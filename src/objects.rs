//! From one stored event to rows. Each event is applied in one savepoint: the mirror and the typed row, if the event
//! is the one that its object's row rests on (`base::order`), and always what it adds to history. What follows for others
//! (owner, grace period, effective subscription) is computed anew from the tables, never carried along, so that any
//! order of arrival ends in the same tables. It must never do anything outside the database. Called by `notify`, which
//! acts on the facts.

pub(crate) mod again;
pub mod answer_counts;
mod charge;
pub(crate) mod checkout_session;
pub(crate) mod customer;
mod dispute;
pub(crate) mod dunning_attempts;
pub(crate) mod effective;
pub(crate) mod fact;
pub(crate) mod failure_case;
mod field;
pub mod figures;
mod guard;
mod history;
pub(crate) mod invoice;
mod invoice_payment;
pub mod kinds;
pub(crate) mod levels;
pub mod links;
mod mirrored;
pub(crate) mod mode;
pub(crate) mod owner;
mod past;
mod payment_attempt;
pub(crate) mod payment_intent;
pub mod reading;
pub(crate) mod rebuild;
pub(crate) mod refresh;
mod refund;
mod row;
pub(crate) mod subscription;
pub(crate) mod thin;
pub(crate) mod timeline;
pub(crate) mod typed;
pub mod user;

use std::borrow::Cow;

use crate::base::entitlement::EntitlementPolicy;
use crate::base::object_kind::ObjectKind;
use crate::base::ownership::LinkRules;
use crate::base::verdict::FailureVerdict;
use crate::store::inbox::{EventCompletion, PendingEvent};
use crate::store::mirror::{self, ApiReading, ObjectKey};
use crate::store::{StoreError, Tx};
use crate::stripe::event::{self, EventContent, EventError, Snapshot};
use crate::stripe::object::{self, ObjectError};
use fact::{ObjectFact, ObjectFacts, SeenObject, WantedComparisons};

/// Begins the `event_id` of a row that rests on a reading.
const READING_PREFIX: &str = "read:";

/// Why an event could not be projected.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProjectionError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event's body.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The object in it.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A panic while the event was read.
    #[error("panicked: {0}")]
    Panicked(String),
}

/// An error of an event fails the transaction that the event is a part of.
impl From<ProjectionError> for StoreError {
    fn from(error: ProjectionError) -> Self {
        match error {
            ProjectionError::Store(error) => error,
            error => Self::Content(error.to_string()),
        }
    }
}

impl ProjectionError {
    /// What can be done about it.
    #[must_use]
    pub fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Store(error) => error.verdict(),
            Self::Panicked(_) => FailureVerdict::Retry,
            // An operator has to look at it.
            Self::Event(_) | Self::Object(_) => FailureVerdict::GiveUp,
        }
    }
}

/// What projecting an event depends on besides the event.
#[derive(Debug, Clone)]
pub struct ProjectionContext {
    /// Plans, grace period and what else the operator decided.
    pub policy: EntitlementPolicy,
    /// The mode that was configured, or that of the API key; events of the other mode are not for these tables. `None` where
    /// there is neither: test mode, until a live event comes.
    pub livemode: Option<bool>,
    /// Our own account, where it was configured: events that name it are our own, not those of a connected account.
    pub account: Option<String>,
    /// Whether there is a key, with which what thin events name is fetched.
    pub fetches: bool,
    /// Which statements of whose an object is count.
    pub link: LinkRules,
}

/// What a computation depends on besides the tables.
#[derive(Clone, Copy)]
pub struct DerivationBasis<'a> {
    /// Plans and periods.
    pub(crate) policy: &'a EntitlementPolicy,
    /// Which statements of whose an object is count.
    pub(crate) link: &'a LinkRules,
    /// Where facts are noted.
    pub(crate) facts: &'a ObjectFacts,
    /// What is compared with what it was before.
    pub(crate) compared: WantedComparisons,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

/// Where the state of an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StateOrigin {
    /// From the event with this row number in the log.
    Log(i64),
    /// From the API, at that time.
    Api(ApiReading),
}

/// An event whose body was read, or a reading from the API, which is treated as one.
#[derive(Debug, Clone)]
pub struct ProjectedEvent {
    origin: StateOrigin,
    /// Stripe's id.
    pub id: String,
    /// `resource.verb`.
    pub event_type: String,
    /// Unix seconds.
    pub created: i64,
    /// `None` where the event does not say its mode.
    pub livemode: Option<bool>,
    /// Connect account; `None` is our own.
    pub account: Option<String>,
    /// Its object, or the name of one.
    pub content: EventContent,
}

/// Reads a stored event; this needs no database.
///
/// # Errors
/// When its body cannot be read: of an event that `inbox::accept` let in, only if it is nested too deeply.
pub fn read(pending: &PendingEvent) -> Result<ProjectedEvent, ProjectionError> {
    Ok(ProjectedEvent {
        origin: StateOrigin::Log(pending.log_id),
        id: pending.event_id.clone(),
        event_type: pending.event_type.clone(),
        created: pending.event_created,
        livemode: pending.livemode,
        account: pending.account.clone(),
        content: event::content(&pending.data)?,
    })
}

/// Applies an event to the tables. Returns how it is to be completed, and the event as it was applied; `None` where it was
/// not, because it is of the other mode. On an error nothing may be kept.
pub(crate) fn project<'e>(
    tx: &Tx,
    event: &'e ProjectedEvent,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<(EventCompletion, Option<Cow<'e, ProjectedEvent>>), ProjectionError> {
    if let Some(reason) = mode::refuse(tx, event, context, basis)? {
        log::warn!(event_id = event.id, "type" = event.event_type; "event ignored: it is {reason}");
        return Ok((EventCompletion::Ignored(reason), None));
    }
    let event = mode::own(tx, event, context)?;
    Ok((apply(tx, &event, context, basis)?, Some(event)))
}

/// Applies an event of the right mode.
fn apply(
    tx: &Tx,
    event: &ProjectedEvent,
    context: &ProjectionContext,
    basis: DerivationBasis,
) -> Result<EventCompletion, ProjectionError> {
    let now_ms = basis.now_ms;
    let snapshot = match &event.content {
        EventContent::Snapshot(snapshot) => snapshot,
        EventContent::Thin(named) => return thin::project(tx, event, named, context, now_ms),
    };
    if event.event_type == "invoice.upcoming" {
        return Ok(EventCompletion::Ignored("a preview: no such invoice exists yet".to_owned()));
    }
    let Some(key) = guard::key(event, snapshot) else {
        return Ok(EventCompletion::Ignored("its object has no id".to_owned()));
    };
    let step = ProjectionStep { tx, event, snapshot, reading: None, context, basis, now_ms };
    let winner = guard::choose(&step, key)?;
    thin::fetch_whole(&step, key, winner.as_ref())?;
    // Whoever owns a connected account could name any user in its objects, so they are mirrored and no more.
    if event.account.is_some() {
        return Ok(EventCompletion::Mirrored);
    }
    dispatch(&step, key.object, winner.as_ref())
}

/// One event on its way into the tables.
pub(crate) struct ProjectionStep<'a> {
    tx: &'a Tx<'a>,
    event: &'a ProjectedEvent,
    snapshot: &'a Snapshot,
    /// What was read from the API; `None` where the step is about an event.
    reading: Option<ReadObject<'a>>,
    context: &'a ProjectionContext,
    basis: DerivationBasis<'a>,
    now_ms: i64,
}

/// What was read from the API.
#[derive(Clone, Copy)]
struct ReadObject<'a> {
    /// The object as the API answered with it.
    snapshot: &'a Snapshot,
    /// Its lists were completed, as far as the key permits.
    completed: bool,
}

/// What a row rests on: the event that won, and the object as that event shows it.
struct WinningState<'a> {
    object: Cow<'a, serde_json::Value>,
    created: i64,
    event_id: Cow<'a, str>,
    livemode: bool,
    deleted: bool,
}

impl<'a> ProjectionStep<'a> {
    /// Whether this is about a reading from the API and not about an event.
    fn is_reading(&self) -> bool {
        matches!(self.event.origin, StateOrigin::Api(_))
    }

    fn note(&self, fact: ObjectFact) {
        self.basis.facts.note(fact);
    }

    /// The object as the event shows it.
    fn seen(&self, id: &str) -> SeenObject {
        SeenObject { id: id.to_owned(), object: self.snapshot.object.clone(), at_s: self.event.created }
    }

    fn basis(&self) -> DerivationBasis<'a> {
        self.basis
    }
}

/// An object of our own account.
fn own_key<'a>(kind: &ObjectKind, id: &'a str, livemode: bool) -> ObjectKey<'a> {
    ObjectKey { object: kind.object, id, livemode, account: "" }
}

/// Writes a typed row again from the mirror, because something that it refers to has become known.
fn rewrite(
    tx: &Tx,
    key: ObjectKey,
    basis: DerivationBasis,
    write: impl FnOnce(&Tx, &WinningState, DerivationBasis) -> Result<(), ProjectionError>,
) -> Result<(), ProjectionError> {
    let Some(mirrored) = mirror::find(tx, key)? else { return Ok(()) };
    let winner = WinningState {
        object: Cow::Owned(serde_json::from_str(&mirrored.data).map_err(StoreError::from)?),
        created: mirrored.event_created,
        event_id: Cow::Owned(mirrored.event_id),
        livemode: key.livemode,
        deleted: mirrored.deleted,
    };
    write(tx, &winner, basis)
}

/// Makes the typed rows of an object.
type ProjectFn = fn(&ProjectionStep, Option<&WinningState>) -> Result<(), ProjectionError>;

/// Each kind with what its typed tables are made by; `None`: it is mirrored and no more. They are read from Stripe in this
/// order: what answers rest on first, what is listed per customer last. `kinds` looks them up.
const KINDS: &[(&ObjectKind, Option<ProjectFn>)] = &[
    (&customer::KIND, Some(customer::project)),
    (&subscription::KIND, Some(subscription::project)),
    (&invoice::KIND, Some(invoice::project)),
    (&invoice_payment::KIND, Some(invoice_payment::project)),
    (&payment_intent::KIND, Some(payment_intent::project)),
    (&charge::KIND, Some(charge::project)),
    (&refund::KIND, Some(refund::project)),
    (&dispute::KIND, Some(dispute::project)),
    (&mirrored::PRODUCT, None),
    (&mirrored::PRICE, None),
    (&mirrored::COUPON, None),
    (&mirrored::PROMOTION_CODE, None),
    (&checkout_session::KIND, Some(checkout_session::project)),
    (&mirrored::CREDIT_NOTE, None),
    (&mirrored::SETUP_INTENT, None),
    (&mirrored::SUBSCRIPTION_SCHEDULE, None),
    (&mirrored::TAX_RATE, None),
    (&mirrored::FEATURE, None),
    (&mirrored::PAYMENT_METHOD, None),
];

fn dispatch(
    step: &ProjectionStep,
    object: &str,
    winner: Option<&WinningState>,
) -> Result<EventCompletion, ProjectionError> {
    if winner.is_some() && matches!(object, "discount" | "coupon") {
        let id = object::required_reference(&step.snapshot.object, "id")?;
        subscription::mrr::refresh_dependents(step.tx, id, step.now_ms.div_euclid(1000))?;
    }
    let project = KINDS.iter().find(|(kind, _)| kind.object == object).and_then(|(_, project)| *project);
    let Some(project) = project else { return Ok(EventCompletion::Mirrored) };
    project(step, winner)?;
    Ok(EventCompletion::Processed)
}
