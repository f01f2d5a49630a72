//! `stripe_checkout_sessions`: checkout sessions as Stripe has them.

use rusqlite::Row;

use super::{Reader, StoreError, Tx};

/// A checkout session as its newest event has it. Amounts in minor units, times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct CheckoutSession {
    pub stripe_session_id: String,
    pub client_reference_id: Option<String>,
    pub stripe_customer_id: Option<String>,
    pub stripe_subscription_id: Option<String>,
    pub stripe_payment_intent_id: Option<String>,
    pub stripe_invoice_id: Option<String>,
    pub mode: Option<String>,
    pub status: Option<String>,
    pub payment_status: Option<String>,
    pub amount_total: Option<i64>,
    pub currency: Option<String>,
    pub metadata: String,
    pub created: Option<i64>,
    pub livemode: bool,
    pub event_created: i64,
    pub event_id: String,
}

const PUT: &str = "INSERT INTO stripe_checkout_sessions
    (stripe_session_id, client_reference_id, stripe_customer_id, stripe_subscription_id, stripe_payment_intent_id,
     mode, status, payment_status, amount_total, currency, metadata, created, livemode, event_created, event_id,
     stripe_invoice_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
    ON CONFLICT (stripe_session_id) DO UPDATE SET client_reference_id = ?2, stripe_customer_id = ?3,
     stripe_subscription_id = ?4, stripe_payment_intent_id = ?5, mode = ?6, status = ?7, payment_status = ?8,
     amount_total = ?9, currency = ?10, metadata = ?11, created = ?12, livemode = ?13, event_created = ?14,
     event_id = ?15, stripe_invoice_id = ?16";

/// Replaces what is known of a checkout session.
///
/// # Errors
/// When the database cannot take it.
pub fn put(tx: &Tx, row: &CheckoutSession) -> Result<(), StoreError> {
    let params = (
        &row.stripe_session_id,
        &row.client_reference_id,
        &row.stripe_customer_id,
        &row.stripe_subscription_id,
        &row.stripe_payment_intent_id,
        &row.mode,
        &row.status,
        &row.payment_status,
        row.amount_total,
        &row.currency,
        &row.metadata,
        row.created,
        row.livemode,
        row.event_created,
        &row.event_id,
        &row.stripe_invoice_id,
    );
    tx.execute(PUT, params).map(|_| ())
}

/// What a session is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the columns' meaning stands in the migration
pub struct Concerned {
    pub customer_id: Option<String>,
    pub subscription_id: Option<String>,
    pub payment_intent_id: Option<String>,
    pub invoice_id: Option<String>,
}

/// What a session is about.
///
/// # Errors
/// When the database cannot be read.
pub fn find_concerned(reader: &Reader, session_id: &str) -> Result<Option<Concerned>, StoreError> {
    const SQL: &str = "SELECT stripe_customer_id, stripe_subscription_id, stripe_payment_intent_id, stripe_invoice_id
        FROM stripe_checkout_sessions WHERE stripe_session_id = ?1";
    reader.find(SQL, [session_id], |row| {
        Ok(Concerned {
            customer_id: row.get(0)?,
            subscription_id: row.get(1)?,
            payment_intent_id: row.get(2)?,
            invoice_id: row.get(3)?,
        })
    })
}

/// An object that a session may have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum About<'a> {
    Customer(&'a str),
    Subscription(&'a str),
    PaymentIntent(&'a str),
    Invoice(&'a str),
}

/// A session, as far as it names a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // as above
pub struct Naming {
    pub id: String,
    pub metadata: String,
    pub client_reference_id: Option<String>,
    pub status: Option<String>,
    pub payment_status: Option<String>,
    pub created: Option<i64>,
    pub subscription_id: Option<String>,
}

macro_rules! about {
    ($column:literal) => {
        concat!(
            "SELECT stripe_session_id, metadata, client_reference_id, status, payment_status, created,
             stripe_subscription_id FROM stripe_checkout_sessions WHERE ",
            $column,
            " = ?1 ORDER BY created IS NULL, created, stripe_session_id"
        )
    };
}

/// The sessions that are about an object, the oldest first.
///
/// # Errors
/// When the database cannot be read.
pub fn list_about(reader: &Reader, about: About) -> Result<Vec<Naming>, StoreError> {
    let (sql, id) = match about {
        About::Customer(id) => (about!("stripe_customer_id"), id),
        About::Subscription(id) => (about!("stripe_subscription_id"), id),
        About::PaymentIntent(id) => (about!("stripe_payment_intent_id"), id),
        About::Invoice(id) => (about!("stripe_invoice_id"), id),
    };
    reader.list(sql, [id], naming)
}

/// All of them by id, after the id `after`.
///
/// # Errors
/// When the database cannot be read.
pub fn list_after(reader: &Reader, after: &str, limit: u32) -> Result<Vec<Naming>, StoreError> {
    const SQL: &str = "SELECT stripe_session_id, metadata, client_reference_id, status, payment_status, created,
        stripe_subscription_id FROM stripe_checkout_sessions WHERE stripe_session_id > ?1
        ORDER BY stripe_session_id LIMIT ?2";
    reader.list(SQL, (after, limit), naming)
}

fn naming(row: &Row) -> rusqlite::Result<Naming> {
    Ok(Naming {
        id: row.get(0)?,
        metadata: row.get(1)?,
        client_reference_id: row.get(2)?,
        status: row.get(3)?,
        payment_status: row.get(4)?,
        created: row.get(5)?,
        subscription_id: row.get(6)?,
    })
}
