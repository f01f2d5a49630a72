//! Fetching: what thin events only name, objects whose events of one second are in no certain order, and objects of which
//! an event had only a part. A step takes such an effect from the outbox, reads the event and its object, whole, from
//! Stripe, outside any transaction, and projects both in one, with the completion of the event and of the effect. So a
//! crash in between repeats the reading, and nothing else. It must never ask for anything but paths of Stripe's API that
//! `objects::thin` has let through. Called by `jobs::waiting`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::base::metrics::{DeliveryKind, DeliveryResult};
use crate::base::retry::{self, RetryPolicy};
use crate::base::thread::Stop;
use crate::base::verdict::FailureVerdict;
use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::reading::{ApiObject, ReadingOutcome, RequestSent};
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

/// How the completion of a thin event begins.
const SUBJECT: &str = "a thin event:";

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

/// What was read; `None`: Stripe does not have it (404), or there is nothing to read.
struct FetchedObject {
    event: Option<ApiObject>,
    object: Option<ApiObject>,
    /// The event names an object, and Stripe has none there.
    is_gone: bool,
}

/// The time as it goes on within one step.
struct StepTime {
    began: Instant,
    now_ms: i64,
}

impl StepTime {
    fn now_ms(&self) -> i64 {
        let elapsed_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.now_ms.saturating_add(elapsed_ms)
    }
}

impl Fetcher {
    /// `policy` says how often and how far apart a fetch is tried.
    #[must_use]
    pub fn new(store: Store, client: Client, context: Arc<NotifyContext>, policy: RetryPolicy) -> Self {
        Self { store, client, context, policy, stop: None, in_hand: None }
    }

    /// The same, ended by this stop.
    #[must_use]
    pub fn until(self, stop: Stop) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Makes due again what a process that died had claimed. To be called before the first step.
    pub fn rescue(&self) -> Result<(), StoreError> {
        let rescued = self.store.write(|tx| outbox::rescue(tx, OutboxKind::StripeCall))?;
        if rescued > 0 {
            log::info!("the former process ended within a fetch; due again: {rescued}");
        }
        Ok(())
    }

    /// Brings forward what is due later than anything can be from now on: it was dated by a clock that has been set back.
    pub fn bring_forward(&self, now_ms: i64) -> Result<(), StoreError> {
        let latest_ms = now_ms.saturating_add_unsigned(self.policy.max_delay_s.saturating_mul(1000));
        self.store.write(move |tx| outbox::bring_forward(tx, OutboxKind::StripeCall, latest_ms)).map(|_| ())
    }

    /// When the next fetch is due, unix milliseconds.
    pub fn next_due_ms(&self) -> Result<Option<i64>, StoreError> {
        self.store.read(|reader| outbox::next_due_ms(reader, OutboxKind::StripeCall))
    }

    /// Performs the fetch that has been due longest.
    ///
    /// # Errors
    /// When the database could not take it; then it stays in hand and is performed again.
    pub fn step(&mut self, now_ms: i64) -> Result<FetchStep, StoreError> {
        let Some(effect) = self.next(now_ms)? else { return Ok(FetchStep::Idle) };
        let since = StepTime { began: Instant::now(), now_ms };
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

    /// Fails only where the database does.
    fn perform(&self, effect: &OutboxEffect, since: &StepTime) -> Result<(), StoreError> {
        let Some(fetch) = PlannedFetch::parse(&effect.payload) else {
            let (effect, now_ms) = (effect.clone(), since.now_ms());
            let end = OutboxEnd::Failed("its payload names no fetch");
            return self.store.write(move |tx| outbox::finish(tx, &effect, end, now_ms)).map(|_| ());
        };
        if effect.attempts > self.policy.max_attempts {
            let reason = "the process ended in each of its attempts";
            return self.give_up(effect, &fetch, reason, since.now_ms());
        }
        let error = match self.ask(&fetch, since).and_then(|fetched| self.take(effect, &fetch, fetched, since.now_ms()))
        {
            Ok(()) => {
                self.count(DeliveryResult::Delivered);
                return Ok(());
            }
            Err(error) => error,
        };
        match (error.verdict(), error) {
            (
                FailureVerdict::Wait,
                FetchError::Store(error) | FetchError::Projection(ProjectionError::Store(error)),
            ) => Err(error),
            // An attempt that ends because the daemon stops has not failed: the next process makes it again at once.
            _ if self.stop.as_ref().is_some_and(Stop::is_given) => Ok(()),
            (FailureVerdict::GiveUp, error) => self.give_up(effect, &fetch, &error.to_string(), since.now_ms()),
            (_, error) => self.failed(effect, &fetch, &error.to_string(), since.now_ms()),
        }
    }

    /// Reads the event, then its object.
    fn ask(&self, fetch: &PlannedFetch, since: &StepTime) -> Result<FetchedObject, FetchError> {
        let event = match fetch.event_path() {
            Some(path) => self.read(fetch, &path, since)?,
            None => None,
        };
        let Some(path) = &fetch.object_path else {
            return Ok(FetchedObject { is_gone: event.is_none(), event, object: None });
        };
        let object = self.read(fetch, path, since)?;
        Ok(FetchedObject { event, is_gone: object.is_none(), object })
    }

    fn read(&self, fetch: &PlannedFetch, path: &str, since: &StepTime) -> Result<Option<ApiObject>, FetchError> {
        let sent = self.store.read(|reader| RequestSent::now(reader, since.now_ms()))?;
        match self.client.call(&fetch.call(path)) {
            Ok(answer) => {
                let text = self.whole(fetch, &answer.text)?;
                let object = ApiObject::new(&text, sent.reading(answer.date_s, since.now_ms()))?;
                Ok(Some(object.of_account(fetch.account.clone()).completed()))
            }
            Err(error) if error.api().is_some_and(|error| error.status == 404 && error.is_stripes()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The object with its nested list whole. Where the key may not read the rest, the part has to do.
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
                log::warn!(subject = fetch.subject(); "only a part of an object could be fetched: {error}");
                Ok(Cow::Borrowed(text))
            }
            whole => Ok(whole?),
        }
    }

    /// Projects what was read, and completes event and effect with it: all or nothing.
    fn take(
        &self,
        effect: &OutboxEffect,
        fetch: &PlannedFetch,
        fetched: FetchedObject,
        now_ms: i64,
    ) -> Result<(), FetchError> {
        let (effect, event_id, context) = (effect.clone(), fetch.event_id.clone(), Arc::clone(&self.context));
        let ours = fetch.account.is_none();
        let taken = self.store.write(move |tx| {
            let taken = in_savepoint(tx, |tx| {
                let completion = absorb(tx, &fetched, ours, &context, now_ms)?;
                let note = if let EventCompletion::Ignored(note) = &completion { Some(note.as_str()) } else { None };
                if !outbox::finish(tx, &effect, OutboxEnd::Done(note), now_ms)? {
                    // It was replayed meanwhile and is fetched again. What was read is true all the same.
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
        log::warn!(subject = fetch.subject(), attempt, of; "fetch failed, retried in {in_s} s: {error}");
        let reason = format!("{SUBJECT} what it names could not be fetched yet (attempt {attempt} of {of}): {error}");
        let (effect, event_id, error) = (effect.clone(), fetch.event_id.clone(), error.to_owned());
        self.store.write(move |tx| {
            if outbox::retry(tx, &effect, &error, due_ms)? {
                complete(tx, event_id.as_deref(), &EventCompletion::Ignored(reason), now_ms)?;
            }
            Ok(())
        })?;
        self.count(DeliveryResult::Failed);
        Ok(())
    }

    fn give_up(&self, effect: &OutboxEffect, fetch: &PlannedFetch, error: &str, now_ms: i64) -> Result<(), StoreError> {
        let attempts = effect.attempts;
        let advice = match &fetch.event_id {
            Some(id) => format!("`tilld events replay {id}` tries again"),
            None => "`tilld drift --fix` compares it".to_owned(),
        };
        log::error!(subject = fetch.subject(), attempts; "fetch given up, {advice}: {error}");
        let reason =
            format!("{SUBJECT} what it names was not fetched, given up (attempts: {attempts}), replay it: {error}");
        let (effect, event_id, error) = (effect.clone(), fetch.event_id.clone(), error.to_owned());
        self.store.write(move |tx| {
            if outbox::finish(tx, &effect, OutboxEnd::Failed(&error), now_ms)? {
                complete(tx, event_id.as_deref(), &EventCompletion::Ignored(reason), now_ms)?;
            }
            Ok(())
        })?;
        self.count(DeliveryResult::GivenUp);
        Ok(())
    }

    fn count(&self, outcome: DeliveryResult) {
        self.store.metrics().delivery(DeliveryKind::StripeCall, outcome);
    }
}

/// Completes the thin event that it was fetched for, if there is one.
fn complete(tx: &Tx, event_id: Option<&str>, completion: &EventCompletion, now_ms: i64) -> Result<(), StoreError> {
    event_id.map_or(Ok(()), |id| inbox::fetched(tx, id, completion, now_ms).map(|_| ()))
}

/// Projects the event and its object; how the event is completed by that.
fn absorb(
    tx: &Tx,
    fetched: &FetchedObject,
    ours: bool,
    context: &NotifyContext,
    now_ms: i64,
) -> Result<EventCompletion, ProjectionError> {
    if let Some(event) = &fetched.event {
        notify::absorb(tx, event, context, now_ms)?;
    }
    let Some(object) = &fetched.object else {
        let gone = format!("{SUBJECT} what it names is not at Stripe any more (404)");
        return Ok(if fetched.is_gone { EventCompletion::Ignored(gone) } else { EventCompletion::Mirrored });
    };
    if notify::absorb(tx, object, context, now_ms)? == ReadingOutcome::NoObject {
        return Ok(EventCompletion::Ignored(format!("{SUBJECT} its object has no id")));
    }
    let kind = object.object().get("object").and_then(Value::as_str).unwrap_or_default();
    Ok(if ours && kinds::has_table(kind) { EventCompletion::Processed } else { EventCompletion::Mirrored })
}
