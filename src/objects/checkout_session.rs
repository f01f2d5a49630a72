//! Checkout sessions. A completed one may name the user of what it made: strongly by its metadata; by its
//! `client_reference_id`, which any browser can write, only weakly and once it is paid. A session that is open, expired or
//! unpaid names nobody. It must never choose an owner itself. Called by `objects`; its queries by `owner`.

use super::history::{self, EventConcern};
use super::row::row;
use super::{ProjectionError, ProjectionStep, WinningState, field, owner, user};
use crate::base::object_kind::{self, ObjectKind};
use crate::base::ownership::Session;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};
use crate::stripe::object::{self, ObjectError};

pub(super) const KIND: ObjectKind = ObjectKind {
    object: "checkout.session",
    name: "checkout_sessions",
    table: Some(("stripe_checkout_sessions", "stripe_session_id")),
    events: &[
        "checkout.session.completed",
        "checkout.session.expired",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
    ],
    path: "/v1/checkout/sessions",
    permission: "Checkout Sessions",
    terminal: |object| object_kind::word(object, "status") == "expired",
    progress: |state| {
        [
            i64::from(state.status() != "open"),
            i64::from(object_kind::word(state.object, "payment_status") != "unpaid"),
            i64::from(state.event_type.contains(".async_")),
        ]
    },
    example: include_str!("shapes/checkout_session.json"),
    ..ObjectKind::PLAIN
};

row! {
    /// A checkout session as its newest event has it. Amounts in minor units, times in unix seconds.
    pub(crate) struct CheckoutSessionRow in "stripe_checkout_sessions" {
        key stripe_session_id: String = field::id("id"),
        client_reference_id: Option<String> = field::lenient_text("client_reference_id"),
        fixed stripe_customer_id: Option<String> = field::reference("customer"),
        fixed stripe_subscription_id: Option<String> = field::reference("subscription"),
        fixed stripe_payment_intent_id: Option<String> = field::reference("payment_intent"),
        fixed stripe_invoice_id: Option<String> = field::reference("invoice"),
        mode: Option<String> = field::lenient_text("mode"),
        status: Option<String> = field::optional_text("status"),
        payment_status: Option<String> = field::optional_text("payment_status"),
        amount_total: Option<i64> = field::lenient_integer("amount_total"),
        currency: Option<String> = field::lenient_text("currency"),
        metadata: String = field::metadata,
        created: Option<i64> = field::lenient_integer("created"),
    }
}

pub(super) fn project(step: &ProjectionStep, winner: Option<&WinningState>) -> Result<(), ProjectionError> {
    let object = &step.snapshot.object;
    let session = session(step)?;
    let rules = &step.context.link;
    let concern = EventConcern {
        customer_id: object::reference(object, "customer"),
        user_id: session.metadata_word(rules),
        subscription_id: object::reference(object, "subscription"),
        state: None,
    };
    history::record(step, &concern)?;
    if let Some(user_id) = session.reference_word(rules) {
        user::ensure(step.tx, user_id, step.now_ms)?;
    }
    if let Some(winner) = winner {
        apply(step, winner)?;
    }
    history::audit(step, &concern)
}

/// The session as this event shows it.
fn session(step: &ProjectionStep) -> Result<Session, ObjectError> {
    let session = &step.snapshot.object;
    let owned = |key: &str| object::text(session, key).map(|text| text.map(str::to_owned));
    Ok(Session {
        id: object::required_reference(session, "id")?.to_owned(),
        named: object::named_user(session, &step.context.link.metadata_keys).map(str::to_owned),
        reference: object::lenient_text(session, "client_reference_id").filter(|id| object::is_user_id(id)),
        status: owned("status")?,
        payment_status: owned("payment_status")?,
        created: object::lenient_integer(session, "created"),
    })
}

fn apply(step: &ProjectionStep, winner: &WinningState) -> Result<(), ProjectionError> {
    let row = CheckoutSessionRow::of(winner)?;
    let former = find_subjects(step.tx, &row.stripe_session_id)?;
    row.put(step.tx)?;
    let present = SessionSubjects {
        customer_id: row.stripe_customer_id,
        subscription_id: row.stripe_subscription_id,
        payment_intent_id: row.stripe_payment_intent_id,
        invoice_id: row.stripe_invoice_id,
    };
    owner::refresh_subjects(step.tx, &present, step.basis())?;
    if let Some(former) = former.filter(|former| *former != present) {
        owner::refresh_subjects(step.tx, &former, step.basis())?;
    }
    Ok(())
}

columns! {
    /// The objects that a session is about.
    pub(super) struct SessionSubjects {
        customer_id: Option<String> = "stripe_customer_id",
        subscription_id: Option<String> = "stripe_subscription_id",
        payment_intent_id: Option<String> = "stripe_payment_intent_id",
        invoice_id: Option<String> = "stripe_invoice_id",
    }
}

fn find_subjects(reader: &StoreReader, session_id: &str) -> Result<Option<SessionSubjects>, StoreError> {
    const SQL: &str = select!(SessionSubjects, "FROM stripe_checkout_sessions WHERE stripe_session_id = ?1");
    reader.find(SQL, [session_id], SessionSubjects::read)
}

/// An object that a session may have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionSubject<'a> {
    Customer(&'a str),
    Subscription(&'a str),
    PaymentIntent(&'a str),
    Invoice(&'a str),
}

columns! {
    /// A session, as far as it names a user.
    pub(crate) struct NamingSession {
        id: String = "stripe_session_id",
        metadata: String,
        client_reference_id: Option<String>,
        status: Option<String>,
        payment_status: Option<String>,
        created: Option<i64>,
        subscription_id: Option<String> = "stripe_subscription_id",
    }
}

macro_rules! about {
    ($column:literal) => {
        select!(
            NamingSession,
            concat!(
                "FROM stripe_checkout_sessions WHERE ",
                $column,
                " = ?1 ORDER BY created IS NULL, created, stripe_session_id"
            )
        )
    };
}

/// The sessions that are about an object, the oldest first.
pub(super) fn list_about(reader: &StoreReader, about: SessionSubject) -> Result<Vec<NamingSession>, StoreError> {
    const CUSTOMER: &str = about!("stripe_customer_id");
    const SUBSCRIPTION: &str = about!("stripe_subscription_id");
    const PAYMENT_INTENT: &str = about!("stripe_payment_intent_id");
    const INVOICE: &str = about!("stripe_invoice_id");
    let (sql, id) = match about {
        SessionSubject::Customer(id) => (CUSTOMER, id),
        SessionSubject::Subscription(id) => (SUBSCRIPTION, id),
        SessionSubject::PaymentIntent(id) => (PAYMENT_INTENT, id),
        SessionSubject::Invoice(id) => (INVOICE, id),
    };
    reader.list(sql, [id], NamingSession::read)
}

/// All of them by id, after the id `after`.
pub(crate) fn list_after(reader: &StoreReader, after: &str, limit: u32) -> Result<Vec<NamingSession>, StoreError> {
    const SQL: &str = select!(
        NamingSession,
        "FROM stripe_checkout_sessions WHERE stripe_session_id > ?1 ORDER BY stripe_session_id LIMIT ?2"
    );
    reader.list(SQL, (after, limit), NamingSession::read)
}
