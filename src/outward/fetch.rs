//! The fetch thread: what thin events only name, objects whose events of one second are in no certain order, and those of
//! which only a part was shown. It takes such an effect from the outbox, reads the event and its object, whole, from Stripe, outside any transaction, and takes both into the tables in one, with the completion of the event and of
//! the effect. So a crash in between repeats the reading, and nothing else. It must never ask for anything but paths of
//! Stripe's API that `projection::thin` has let through.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::base::retry::{self, RetryPolicy};
use crate::base::thread::Stop;
use crate::base::verdict::FailureVerdict;
use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::read::{ApiObject, ReadingOutcome, RequestSent};
use crate::objects::thin::PlannedFetch;
use crate::objects::{ProjectionError, kinds};
use crate::outward::sync::{SyncError, nested};
use crate::store::inbox::{self, EventCompletion};
use crate::store::outbox::{self, OutboxEffect, OutboxEnd, OutboxKind};
use crate::store::{Store, StoreError, Tx, in_savepoint};
use crate::stripe::call::Call;
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::stripe::event::EventError;
use crate::stripe::form::FormBody;
use crate::stripe::list::{self, ListPage, PAGE};

/// What a thin event's completion begins with.
const WHAT: &str = "a thin event:";

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStep {
    /// Nothing was due.
    Idle,
    /// An effect was taken, with success or without; more may wait.
    Worked,
}

/// Fetches what thin events name.
pub struct Fetcher {
    store: Store,
    client: Client,
    context: Arc<NotifyContext>,
    policy: RetryPolicy,
    /// Given where it runs on a thread.
    stop: Option<Stop>,
    /// Claimed, but the database could not take its end.
    in_hand: Option<OutboxEffect>,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stripe(#[from] StripeError),
    #[error(transparent)]
    Event(#[from] EventError),
    /// A list within the object.
    #[error(transparent)]
    Nested(#[from] SyncError),
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

impl FetchError {
    /// What can be done about it.
    fn verdict(&self) -> FailureVerdict {
        match self {
            Self::Store(error) => error.verdict(),
            Self::Stripe(StripeError::Unsendable(_)) | Self::Event(_) => FailureVerdict::GiveUp,
            // Also what Stripe refuses for good: a key is rolled, a permission is given.
            Self::Stripe(_) | Self::Nested(_) => FailureVerdict::Retry,
            Self::Projection(error) => error.verdict(),
        }
    }
}

/// What was read. `None`: it is not there (404), or there is none.
struct FetchedObject {
    event: Option<ApiObject>,
    object: Option<ApiObject>,
    /// The event names an object, and Stripe has none there.
    gone: bool,
}

/// Time as it goes on within one step.
struct FetchBasis {
    began: Instant,
    now_ms: i64,
}

impl FetchBasis {
    fn now_ms(&self) -> i64 {
        let went_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.now_ms.saturating_add(went_ms)
    }
}

impl Fetcher {
    /// `policy` says how often and how far apart a fetch is tried.
    #[must_use]
    pub fn new(store: Store, client: Client, context: Arc<NotifyContext>, policy: RetryPolicy) -> Self {
        Self { store, client, context, policy, stop: None, in_hand: None }
    }

    /// The same, broken off by this order to stop.
    #[must_use]
    pub fn until(self, stop: Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Takes up what a process that died had in hand. To be called before the first step.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn rescue(&self) -> Result<(), StoreError> {
        let rescued = self.store.write(|tx| outbox::rescue(tx, OutboxKind::StripeCall))?;
        if rescued > 0 {
            log::info!("the former process ended within a fetch; taken up again: {rescued}");
        }
        Ok(())
    }

    /// Lets no fetch be due later than it can be from now on: what is, was dated by a clock that was set back since.
    ///
    /// # Errors
    /// When the database could not take it.
    pub fn bring_forward(&self, now_ms: i64) -> Result<(), StoreError> {
        let latest_ms = now_ms.saturating_add_unsigned(self.policy.max_delay_s.saturating_mul(1000));
        self.store.write(move |tx| outbox::bring_forward(tx, OutboxKind::StripeCall, latest_ms)).map(|_| ())
    }

    /// When the next fetch is due, unix milliseconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        self.store.read(|reader| outbox::next_due_ms(reader, OutboxKind::StripeCall))
    }

    /// Performs the fetch that has been due longest.
    ///
    /// # Errors
    /// When the database could not take it; then it stays in hand and is performed again.
    pub fn step(&mut self, now_ms: i64) -> Result<FetchStep, StoreError> {
        let Some(effect) = self.next(now_ms)? else { return Ok(FetchStep::Idle) };
        let since = FetchBasis { began: Instant::now(), now_ms };
        let outcome = self.perform(&effect, &since);
        if outcome.is_err() {
            self.in_hand = Some(effect);
        }
        outcome.map(|()| FetchStep::Worked)
    }

    fn next(&mut self, now_ms: i64) -> Result<Option<OutboxEffect>, StoreError> {
        if let Some(effect) = self.in_hand.take() {
            return Ok(Some(effect));
        }
        if self.next_due_ms()?.is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(None);
        }
        self.store.write(move |tx| outbox::claim(tx, OutboxKind::StripeCall, now_ms))
    }

    /// `Err` only where the database is at fault.
    fn perform(&self, effect: &OutboxEffect, since: &FetchBasis) -> Result<(), StoreError> {
        let Some(fetch) = PlannedFetch::parse(&effect.payload) else {
            let (effect, now_ms) = (effect.clone(), since.now_ms());
            let end = OutboxEnd::Failed("its payload names no fetch");
            return self.store.write(move |tx| outbox::finish(tx, &effect, end, now_ms)).map(|_| ());
        };
        if effect.attempts > self.policy.max_attempts {
            let reason = "the process ended in each of its attempts";
            return self.give_up(effect, &fetch, reason, since.now_ms());
        }
        let error = match self.ask(&fetch, since).and_then(|got| self.take(effect, &fetch, got, since.now_ms())) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match (error.verdict(), error) {
            (
                FailureVerdict::Wait,
                FetchError::Store(error) | FetchError::Projection(ProjectionError::Store(error)),
            ) => Err(error),
            // What ends because the daemon does is no failure: the next process takes it up at once.
            _ if self.stop.as_ref().is_some_and(Stop::is_given) => Ok(()),
            (FailureVerdict::GiveUp, error) => self.give_up(effect, &fetch, &error.to_string(), since.now_ms()),
            (_, error) => self.failed(effect, &fetch, &error.to_string(), since.now_ms()),
        }
    }

    /// Reads the event, then its object.
    fn ask(&self, fetch: &PlannedFetch, since: &FetchBasis) -> Result<FetchedObject, FetchError> {
        let event = match fetch.event_path() {
            Some(path) => self.read(fetch, &path, since)?,
            None => None,
        };
        let Some(path) = &fetch.object_path else {
            return Ok(FetchedObject { gone: event.is_none(), event, object: None });
        };
        let object = self.read(fetch, path, since)?;
        Ok(FetchedObject { event, gone: object.is_none(), object })
    }

    fn read(&self, fetch: &PlannedFetch, path: &str, since: &FetchBasis) -> Result<Option<ApiObject>, FetchError> {
        let sent = self.store.read(|reader| RequestSent::now(reader, since.now_ms()))?;
        match self.client.call(&fetch.call(path)) {
            Ok(answer) => {
                let text = self.whole(fetch, &answer.text)?;
                let shown = ApiObject::new(&text, sent.reading(answer.date_s, since.now_ms()))?;
                Ok(Some(shown.of_account(fetch.account.clone()).completed()))
            }
            Err(error) if error.api().is_some_and(|error| error.status == 404 && error.is_stripes()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The object with its nested list whole. Where the key may not read that, what was shown of it has to do.
    fn whole<'t>(&self, fetch: &PlannedFetch, text: &'t str) -> Result<Cow<'t, str>, FetchError> {
        let kind = serde_json::from_str::<Value>(text).ok().and_then(|object| kinds::find(object["object"].as_str()?));
        let Some(kind) = kind else { return Ok(Cow::Borrowed(text)) };
        let mut ask = |path: &str, form: FormBody, after: Option<&str>| {
            let form = list::query(form, PAGE, after).encode();
            let form = form.map_err(|_| StripeError::Unsendable("its parameters cannot be encoded"))?;
            let answer = self.client.call(&Call { form: &form, ..fetch.call(path) })?;
            let unreadable = |reason| SyncError::Unreadable { path: path.to_owned(), reason };
            ListPage::parse(&answer.text, after, ()).map_err(unreadable)
        };
        match nested::complete(kind, text, &mut ask) {
            Err(error) if error.is_refusal() => {
                log::warn!("only a part of an object could be fetched subject={}: {error}", fetch.subject());
                Ok(Cow::Borrowed(text))
            }
            whole => Ok(whole?),
        }
    }

    /// Takes what was read into the tables, and ends event and effect by that: all or nothing.
    fn take(
        &self,
        effect: &OutboxEffect,
        fetch: &PlannedFetch,
        got: FetchedObject,
        now_ms: i64,
    ) -> Result<(), FetchError> {
        let (effect, event_id, context) = (effect.clone(), fetch.event_id.clone(), Arc::clone(&self.context));
        let ours = fetch.account.is_none();
        let taken = self.store.write(move |tx| {
            let taken = in_savepoint(tx, |tx| {
                let completion = absorb(tx, &got, ours, &context, now_ms)?;
                let note = if let EventCompletion::Ignored(note) = &completion { Some(note.as_str()) } else { None };
                if !outbox::finish(tx, &effect, OutboxEnd::Done(note), now_ms)? {
                    // Replayed meanwhile: it is fetched again. What was read is true all the same.
                    return Ok(());
                }
                complete(tx, event_id.as_deref(), &completion, now_ms)?;
                Ok(())
            });
            match taken {
                Err(ProjectionError::Store(error)) => Err(error),
                taken => Ok(taken),
            }
        })?;
        Ok(taken?)
    }

    /// Due again later, or given up after its last attempt.
    fn failed(&self, effect: &OutboxEffect, fetch: &PlannedFetch, error: &str, now_ms: i64) -> Result<(), StoreError> {
        let jitter = retry::jitter_of(&effect.dedupe_key, effect.attempts);
        let Some(due_ms) = self.policy.due_ms(effect.attempts, now_ms, jitter) else {
            return self.give_up(effect, fetch, error, now_ms);
        };
        let (attempt, of) = (effect.attempts, self.policy.max_attempts);
        let in_s = due_ms.saturating_sub(now_ms) / 1000;
        log::warn!("fetch failed, retried in {in_s} s subject={} attempt={attempt}/{of}: {error}", fetch.subject());
        let reason = format!("{WHAT} what it names could not be fetched yet (attempt {attempt} of {of}): {error}");
        let (effect, event_id, error) = (effect.clone(), fetch.event_id.clone(), error.to_owned());
        self.store.write(move |tx| {
            if outbox::retry(tx, &effect, &error, due_ms)? {
                complete(tx, event_id.as_deref(), &EventCompletion::Ignored(reason), now_ms)?;
            }
            Ok(())
        })
    }

    fn give_up(&self, effect: &OutboxEffect, fetch: &PlannedFetch, error: &str, now_ms: i64) -> Result<(), StoreError> {
        let attempts = effect.attempts;
        let advice = match &fetch.event_id {
            Some(id) => format!("`tilld events replay {id}` tries again"),
            None => "`tilld drift --fix` compares it".to_owned(),
        };
        log::error!("fetch given up, {advice} subject={} attempts={attempts}: {error}", fetch.subject());
        let reason =
            format!("{WHAT} what it names was not fetched, given up (attempts: {attempts}), replay it: {error}");
        let (effect, event_id, error) = (effect.clone(), fetch.event_id.clone(), error.to_owned());
        self.store.write(move |tx| {
            if outbox::finish(tx, &effect, OutboxEnd::Failed(&error), now_ms)? {
                complete(tx, event_id.as_deref(), &EventCompletion::Ignored(reason), now_ms)?;
            }
            Ok(())
        })
    }
}

/// Ends the thin event that it was fetched for, if it was for one.
fn complete(tx: &Tx, event_id: Option<&str>, completion: &EventCompletion, now_ms: i64) -> Result<(), StoreError> {
    event_id.map_or(Ok(()), |id| inbox::fetched(tx, id, completion, now_ms).map(|_| ()))
}

/// The event and its object into the mirror, the object into its table; how the event ends by that.
fn absorb(
    tx: &Tx,
    got: &FetchedObject,
    ours: bool,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    if let Some(event) = &got.event {
        notify::absorb(tx, event, context, now_ms)?;
    }
    let Some(object) = &got.object else {
        let gone = format!("{WHAT} what it names is not at Stripe any more (404)");
        return Ok(if got.gone { EventCompletion::Ignored(gone) } else { EventCompletion::Mirrored });
    };
    if notify::absorb(tx, object, context, now_ms)? == ReadingOutcome::NoObject {
        return Ok(EventCompletion::Ignored(format!("{WHAT} its object has no id")));
    }
    let kind = object.object().get("object").and_then(Value::as_str).unwrap_or_default();
    Ok(if ours && kinds::has_table(kind) { EventCompletion::Processed } else { EventCompletion::Mirrored })
}
