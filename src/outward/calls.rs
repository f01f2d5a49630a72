//! Calls to Stripe on behalf of the application. An operation is committed, with its idempotency key and its bytes, before
//! the first byte is sent; its outcome is committed together with what it changes here. So wherever a process dies, an
//! operation is done once, or is known to be in doubt and resolved by [`Calls::recover`]. It must never send other bytes
//! under a key that was used. Called by `http::api` and by `jobs::waiting`.
//!
//! One operation: *sending* → *done*, *refused* (for good, such as a declined card), *not done* (certainly; the same key
//! may try again) or *in doubt*. A row that a process which died has left *sending* is treated as in doubt.

mod customer;
mod locked;
mod outcome;
pub(crate) mod prospect;
mod read_list;
mod recover;
mod user_locks;
mod without_key;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use customer::UserCustomer;
pub(crate) use locked::LockedRequest;
pub use outcome::{DoneOperation, OperationOutcome};

use crate::base::clock::Clock;
use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::reading::{ApiObject, RequestSent};
use crate::objects::subscription;
use crate::outward::account::{Account, AccountError};
use crate::store::stripe_operations::{self as table, Operation};
use crate::store::{Store, StoreError};
use crate::stripe::call::{Call, Priority, StripeAnswer, Verb};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::stripe::form::{FormBody, FormError};
use crate::stripe::operation::{OperationKind, OperationParameters};
use user_locks::UserLocks;

/// How long a request waits while another one changes the same user or payment at Stripe.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The prefix of the keys that are made here.
const KEY_PREFIX: &str = "tilld_";
/// The metadata by which what an operation made is found when its key has expired.
pub(crate) const KEY_METADATA: &str = "tilld_key";

/// Why an operation was not even tried, or could not be written down.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A parameter that Stripe cannot be given.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The key was used for something else.
    #[error("this Idempotency-Key was used for another request; use a new one for a new request")]
    KeyReused,
    /// Another request for the same user or payment is still under way.
    #[error("another request for the same user or payment is still under way; try again in a few seconds")]
    Busy,
    /// A GET that failed.
    #[error(transparent)]
    Stripe(#[from] StripeError),
    /// The key is of another account or mode than the database.
    #[error(transparent)]
    Account(AccountError),
    /// The system has no random bytes for a key.
    #[error("no idempotency key can be made: {0}")]
    Key(String),
    /// Stripe's answer cannot be taken into the tables.
    #[error("Stripe's answer cannot be used: {0}")]
    Answer(String),
}

impl From<AccountError> for CallsError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Unasked(error) => Self::Stripe(error),
            AccountError::Store(error) => Self::Store(error),
            error => Self::Account(error),
        }
    }
}

/// Who asks, as far as repeated requests are concerned.
#[derive(Debug, Clone)]
pub struct CallCaller {
    /// The `Idempotency-Key` it sent.
    pub key: Option<String>,
    /// Hash of what it asked for.
    pub fingerprint: String,
}

impl CallCaller {
    /// `request`: everything that makes two requests the same, parameters in a fixed order.
    #[must_use]
    pub fn new(key: Option<String>, request: &str) -> Self {
        Self { key, fingerprint: hex::encode(Sha256::digest(request.as_bytes())) }
    }
}

/// An operation that is asked for.
#[derive(Debug, Clone)]
pub struct OperationRequest {
    /// What.
    pub kind: OperationKind,
    /// What its object must look like once it is done.
    pub parameters: OperationParameters,
    /// For whom.
    pub user_id: Option<String>,
    /// Stripe's id of what it is done to.
    pub subject: Option<String>,
    /// By whom.
    pub caller: CallCaller,
}

/// The way to Stripe for the application's requests.
pub struct Calls {
    store: Store,
    client: Client,
    clock: Arc<dyn Clock>,
    context: Arc<NotifyContext>,
    locks: UserLocks,
    account: Account,
}

impl Calls {
    /// One for the process: its locks keep requests for one user apart.
    #[must_use]
    pub fn new(store: Store, client: Client, clock: Arc<dyn Clock>, context: Arc<NotifyContext>) -> Self {
        let account = Account::new(store.clone(), client.clone(), context.projection.livemode);
        Self { store, client, clock, context, locks: UserLocks::default(), account }
    }

    /// Has an operation done, or returns the outcome of the one with the same key. `form` makes the parameters; it gets the
    /// key, for [`KEY_METADATA`], and is not called when the operation is known.
    ///
    /// # Errors
    /// When it was not tried, or its outcome could not be stored; then it is resolved later.
    pub fn perform(
        &self,
        wanted: &OperationRequest,
        form: impl FnOnce(&str) -> FormBody,
    ) -> Result<OperationOutcome, CallsError> {
        self.locked(&lock_of(wanted), &wanted.caller, |request| request.perform(wanted, &form(request.key())))
    }

    /// As [`Self::perform`], for what depends on the present state or takes more than one operation: when this request has
    /// locked `whose` user and subject, `plan` looks at them and refuses, or does what is to be done, one thing after the
    /// other. It is not called when the operation is known, so that a repeated request gets the same answer whatever the
    /// state is by then; but where nothing was done, the plan decides again.
    ///
    /// # Errors
    /// As [`Self::perform`], and those of `plan`.
    pub(crate) fn decide<E: From<CallsError>>(
        &self,
        whose: (Option<&str>, Option<&str>),
        caller: &CallCaller,
        plan: impl FnOnce(&LockedRequest) -> Result<OperationOutcome, E>,
    ) -> Result<OperationOutcome, E> {
        self.locked(&lock_name(whose.0, whose.1, ""), caller, plan)
    }

    /// The outcome of the operation with the caller's key, if there is one: asked before anything is made that a new one
    /// would need.
    pub(crate) fn repeated(&self, caller: &CallCaller) -> Result<Option<OperationOutcome>, CallsError> {
        let Some(known) = self.find(caller.key.as_deref())? else { return Ok(None) };
        if known.fingerprint != caller.fingerprint {
            return Err(CallsError::KeyReused);
        }
        let lock = lock_name(known.user_id.as_deref(), known.subject.as_deref(), &known.path);
        let Some(_lock) = self.locks.acquire(&lock, LOCK_TIMEOUT) else { return self.busy(caller).map(Some) };
        match self.find(caller.key.as_deref())? {
            Some(known) => match self.outcome_of(caller, known)? {
                KnownOutcome::Settled(outcome) => Ok(Some(outcome)),
                KnownOutcome::NotDone(_) => Ok(None),
            },
            None => Ok(None),
        }
    }

    fn locked<E: From<CallsError>>(
        &self,
        name: &str,
        caller: &CallCaller,
        plan: impl FnOnce(&LockedRequest) -> Result<OperationOutcome, E>,
    ) -> Result<OperationOutcome, E> {
        let Some(_lock) = self.locks.acquire(name, LOCK_TIMEOUT) else { return Ok(self.busy(caller)?) };
        let known = match self.find(caller.key.as_deref())? {
            Some(known) => match self.outcome_of(caller, known)? {
                KnownOutcome::Settled(outcome) => return Ok(outcome),
                KnownOutcome::NotDone(known) => Some(known),
            },
            None => None,
        };
        plan(&LockedRequest::new(self, caller, known)?)
    }

    /// Somebody else has the lock. If that is the recovery of this very operation, its outcome is not known yet.
    fn busy(&self, caller: &CallCaller) -> Result<OperationOutcome, CallsError> {
        match self.find(caller.key.as_deref())? {
            Some(known) if known.status.is_open() && known.fingerprint == caller.fingerprint => {
                Ok(OperationOutcome::InDoubt { key: known.idempotency_key })
            }
            _ => Err(CallsError::Busy),
        }
    }

    /// The operation of a caller's key.
    fn find(&self, key: Option<&str>) -> Result<Option<Operation>, CallsError> {
        let Some(key) = key.map(str::to_owned) else { return Ok(None) };
        Ok(self.store.read(move |reader| table::find(reader, &key))?)
    }

    /// Sends a claimed operation; one whose key has expired only after a search has not found it.
    fn send_or_find(&self, operation: Operation) -> Result<OperationOutcome, CallsError> {
        if key_lives(&operation, self.clock.now_ms()) {
            return self.send(&operation);
        }
        match self.find_without_key(&operation)? {
            OperationOutcome::NotDone(_) => self.send(&self.claim(operation)?),
            known => Ok(known),
        }
    }

    /// Asks Stripe for something. The answer, and when it was asked for.
    ///
    /// # Errors
    /// Stripe's, or that the database cannot be read.
    pub(crate) fn get(
        &self,
        path: &str,
        query: FormBody,
        priority: Priority,
    ) -> Result<(StripeAnswer, RequestSent), CallsError> {
        let form = query.encode()?;
        let now_ms = self.clock.now_ms();
        let sent = self.store.read(|reader| RequestSent::now(reader, now_ms))?;
        let call = Call { verb: Verb::Get, path, form: &form, idempotency_key: None, priority, context: None };
        Ok((self.client.call(&call)?, sent))
    }

    /// Marks a customer as deleted that Stripe no longer has, as after "delete all test data", if account and mode are certain;
    /// in test mode its subscriptions, too, for which no event comes then. `false`: they are not certain.
    pub(crate) fn mark_customer_deleted(&self, customer: &str, sent: RequestSent) -> Result<bool, CallsError> {
        let Some(livemode) = self.account.certain_mode(Priority::Interactive) else { return Ok(false) };
        let subscriptions = self.store.read(|reader| subscription::list_ids_of_customer(reader, customer))?;
        let gone = subscriptions.iter().filter(|_| !livemode).map(|id| ("subscription", id.as_str()));
        let reading = sent.reading(None, self.clock.now_ms());
        let tombstone = |(object, id): (&str, &str)| {
            let text = json!({"id": id, "object": object, "deleted": true, "livemode": livemode}).to_string();
            ApiObject::new(&text, reading)
        };
        let objects = gone.chain([("customer", customer)]).map(tombstone).collect::<Result<Vec<_>, _>>();
        self.absorb_all(objects.map_err(|error| CallsError::Answer(error.to_string()))?)?;
        Ok(true)
    }

    /// Projects objects of an answer.
    ///
    /// # Errors
    /// When one of them cannot be; then none was.
    pub(crate) fn absorb(&self, texts: &[&str], answer: &StripeAnswer, sent: RequestSent) -> Result<(), CallsError> {
        let reading = sent.reading(answer.date_s, self.clock.now_ms());
        let objects = texts.iter().map(|text| ApiObject::new(text, reading)).collect::<Result<Vec<_>, _>>();
        self.absorb_all(objects.map_err(|error| CallsError::Answer(error.to_string()))?)
    }

    /// Projects readings, all of them or none.
    fn absorb_all(&self, objects: Vec<ApiObject>) -> Result<(), CallsError> {
        let (context, now_ms) = (Arc::clone(&self.context), self.clock.now_ms());
        self.store.write(move |tx| {
            for object in &objects {
                notify::absorb(tx, object, &context, now_ms)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The outcome of the operation with a known key. An open one is resolved; one that was certainly not done has no answer
    /// yet.
    fn outcome_of(&self, caller: &CallCaller, known: Operation) -> Result<KnownOutcome, CallsError> {
        if known.fingerprint != caller.fingerprint {
            return Err(CallsError::KeyReused);
        }
        if let Some(outcome) = OperationOutcome::of_stored(&known) {
            return Ok(KnownOutcome::Settled(outcome));
        }
        if !known.status.is_open() {
            return Ok(KnownOutcome::NotDone(known));
        }
        let lives = key_lives(&known, self.clock.now_ms());
        match self.resolve(known.clone())? {
            OperationOutcome::NotDone(_) if !lives => Ok(KnownOutcome::NotDone(known)),
            outcome => Ok(KnownOutcome::Settled(outcome)),
        }
    }
}

/// The outcome of the operation with a known key.
enum KnownOutcome {
    Settled(OperationOutcome),
    NotDone(Operation),
}

/// The name of the lock that an operation needs.
fn lock_of(wanted: &OperationRequest) -> String {
    lock_name(wanted.user_id.as_deref(), wanted.subject.as_deref(), wanted.kind.row().path)
}

fn lock_name(user_id: Option<&str>, subject: Option<&str>, path: &str) -> String {
    match (user_id, subject) {
        (Some(user_id), _) => format!("user {user_id}"),
        (None, Some(subject)) => subject.to_owned(),
        (None, None) => path.to_owned(),
    }
}

/// A text of an object.
fn text_of<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// How long Stripe certainly knows a key; it keeps one for at least a day. An hour less than that: clocks differ, and a call
/// takes its time.
const KEY_LIFE_MS: i64 = 23 * 3_600_000;

/// Whether Stripe certainly still knows an open operation's key.
fn key_lives(operation: &Operation, now_ms: i64) -> bool {
    is_key_alive(operation.first_sent_ms, now_ms)
}

/// The same of a key that was first sent at that time. If that is in the future, the clock has been set back, and nothing is
/// certain.
fn is_key_alive(first_sent_ms: i64, now_ms: i64) -> bool {
    /// How far the clock may be set back by those that keep it right.
    const SLACK_MS: i64 = 60_000;
    (-SLACK_MS..KEY_LIFE_MS).contains(&now_ms.saturating_sub(first_sent_ms))
}
