//! Calls to Stripe on behalf of the application. What is asked for is committed, with its idempotency key and its bytes,
//! before the first byte leaves; what became of it is committed together with what it changes here. So whatever dies
//! when, an operation is done once, or is known to be in doubt and found out by [`Calls::recover`]. It must never send
//! other bytes under a key that was used. Called by `http::api` and by the recovery thread.
//!
//! One operation: *sending* → *done*, *refused* (for good, such as a declined card), *not done* (certainly; the same key
//! may try again) or *in doubt*. A row left *sending* by a process that died is treated as in doubt.

mod customer;
mod locked;
mod lookup;
mod outcome;
mod recover;
mod refresh;
mod user_locks;

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
use crate::objects::read::{ApiObject, RequestSent};
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
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Begins the keys that are made here.
const KEY_PREFIX: &str = "tilld_";
/// The metadata by which what an operation made is found when its key has expired.
pub const KEY_METADATA: &str = "tilld_key";

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

/// Who asks, as far as repeating goes.
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
    /// What decides whether it was done.
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

    /// Has an operation done, or tells what became of the one with the same key. `form` makes the parameters; it is
    /// given the key, for [`KEY_METADATA`], and is not asked when the operation is known.
    ///
    /// # Errors
    /// When it was not tried, or its outcome could not be written down; then it is found out later.
    pub fn perform(
        &self,
        wanted: &OperationRequest,
        form: impl FnOnce(&str) -> FormBody,
    ) -> Result<OperationOutcome, CallsError> {
        self.locked(&lock_of(wanted), &wanted.caller, |request| request.perform(wanted, &form(request.key())))
    }

    /// As [`Self::perform`], for what depends on how things stand, or takes more than one operation: when this
    /// request has locked `whose` user and subject, `plan` looks at them, refuses, or does what is to be done, one thing
    /// after the other. It is not asked when the operation is known, so that a repeated request is answered as it was,
    /// however things stand meanwhile; but where nothing was done, they decide anew.
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

    /// What became of the operation with the caller's key, if there is one that has an outcome: asked before what a new
    /// one would need is made.
    ///
    /// # Errors
    /// As [`Self::perform`].
    pub(crate) fn repeated(&self, caller: &CallCaller) -> Result<Option<OperationOutcome>, CallsError> {
        let Some(known) = self.find(caller.key.as_deref())? else { return Ok(None) };
        if known.fingerprint != caller.fingerprint {
            return Err(CallsError::KeyReused);
        }
        let lock = lock_name(known.user_id.as_deref(), known.subject.as_deref(), &known.path);
        let Some(_lock) = self.locks.take(&lock, LOCK_PATIENCE) else { return self.busy(caller).map(Some) };
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
        let Some(_lock) = self.locks.take(name, LOCK_PATIENCE) else { return Ok(self.busy(caller)?) };
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

    /// Sends an operation that is claimed; one whose key has expired only after it was looked for in vain.
    fn send_or_find(&self, operation: Operation) -> Result<OperationOutcome, CallsError> {
        if key_lives(&operation, self.clock.now_ms()) {
            return self.send(&operation);
        }
        match self.look_for(&operation)? {
            OperationOutcome::NotDone(_) => self.send(&self.claim(operation)?),
            known => Ok(known),
        }
    }

    /// Asks Stripe for something, and tells when that was so.
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

    /// A customer that Stripe does not know any more, as after "delete all test data", is noted as deleted, if account and
    /// mode are certain; in test mode so are its subscriptions, of which no event tells then. `false`: they are not.
    ///
    /// # Errors
    /// When the database cannot take it.
    pub(crate) fn forget_customer(&self, customer: &str, sent: RequestSent) -> Result<bool, CallsError> {
        let Some(livemode) = self.account.certain_mode(Priority::Interactive) else { return Ok(false) };
        let held = self.store.read(|reader| subscription::list_ids_of_customer(reader, customer))?;
        let gone = held.iter().filter(|_| !livemode).map(|id| ("subscription", id.as_str()));
        let reading = sent.reading(None, self.clock.now_ms());
        let tombstone = |(object, id): (&str, &str)| {
            let text = json!({"id": id, "object": object, "deleted": true, "livemode": livemode}).to_string();
            ApiObject::new(&text, reading)
        };
        let shown = gone.chain([("customer", customer)]).map(tombstone).collect::<Result<Vec<_>, _>>();
        self.absorb_all(shown.map_err(|error| CallsError::Answer(error.to_string()))?)?;
        Ok(true)
    }

    /// Takes objects that Stripe showed into the tables.
    ///
    /// # Errors
    /// When one of them cannot be; then none was.
    pub(crate) fn absorb(&self, texts: &[&str], answer: &StripeAnswer, sent: RequestSent) -> Result<(), CallsError> {
        let reading = sent.reading(answer.date_s, self.clock.now_ms());
        let shown = texts.iter().map(|text| ApiObject::new(text, reading)).collect::<Result<Vec<_>, _>>();
        self.absorb_all(shown.map_err(|error| CallsError::Answer(error.to_string()))?)
    }

    /// Takes readings into the tables, all of them or none.
    fn absorb_all(&self, shown: Vec<ApiObject>) -> Result<(), CallsError> {
        let (context, now_ms) = (Arc::clone(&self.context), self.clock.now_ms());
        self.store.write(move |tx| {
            for one in &shown {
                notify::absorb(tx, one, &context, now_ms)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// What a key that is known means. What is open is found out; of what was certainly not done there is no answer yet.
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
        match self.find_out(known.clone())? {
            OperationOutcome::NotDone(_) if !lives => Ok(KnownOutcome::NotDone(known)),
            outcome => Ok(KnownOutcome::Settled(outcome)),
        }
    }
}

/// What a known key leads to.
enum KnownOutcome {
    Settled(OperationOutcome),
    NotDone(Operation),
}

/// What an operation locks.
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

/// A text of an object, or the reason it has none.
fn text_of<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// Whether an open operation's key is certainly still known at Stripe, which keeps it for at least a day. Of one that was
/// sent in the future nothing is certain: the clock has been set back.
fn key_lives(operation: &Operation, now_ms: i64) -> bool {
    /// An hour less than a day: clocks differ, and a call takes its time.
    const KEY_LIFE_MS: i64 = 23 * 3_600_000;
    /// So little may the clock be set back by those that keep it right.
    const SLACK_MS: i64 = 60_000;
    (-SLACK_MS..KEY_LIFE_MS).contains(&now_ms.saturating_sub(operation.first_sent_ms))
}
