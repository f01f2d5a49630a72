//! Warns the operator when no webhook has arrived for `notify.silence_h` hours: once for each silence, in the log and by mail.
//! Events that catching up found do not count: otherwise a dead endpoint would never be noticed where there is an API key. It
//! must never decide whether the endpoint is at fault: `tilld check` finds out. Called beside `tick`; tests drive
//! [`Silence::step`].

use std::sync::Arc;

use crate::notify::NotifyContext;
use crate::notify::notice::missing_webhooks;
use crate::notify::settings::NotifyBasis;
use crate::store::inbox::{self, EventSource};
use crate::store::{Store, StoreError, settings};

/// How old the stored time may become before it is written again, in milliseconds.
const REMEMBERED_EVERY_MS: i64 = 3_600_000;

/// Watches when the newest event arrived.
pub struct Silence {
    store: Store,
    context: Arc<NotifyContext>,
    limit_s: i64,
    /// The source whose events count; `None`: all, since Stripe is asked for events.
    source: Option<EventSource>,
    /// When the silence began of which the operator was warned, unix milliseconds.
    warned_ms: Option<i64>,
}

impl Silence {
    /// `limit_s`: that many seconds without an event are too many. `is_pulled`: Stripe is asked for events and need not send
    /// webhooks.
    #[must_use]
    pub fn new(store: Store, context: Arc<NotifyContext>, limit_s: i64, is_pulled: bool) -> Self {
        let source = (!is_pulled).then_some(EventSource::Webhook);
        Self { store, context, limit_s, source, warned_ms: None }
    }

    /// Looks for silence, and warns of it. Returns whether there is any.
    pub fn step(&mut self, now_ms: i64) -> Result<bool, StoreError> {
        let source = self.source;
        let newest = self.store.read(|reader| inbox::find_newest(reader, source))?;
        let since_ms = self.since(newest, now_ms)?;
        if now_ms.saturating_sub(since_ms) < self.limit_s.saturating_mul(1000) {
            if self.warned_ms.take().is_some() {
                log::info!("events arrive again");
            }
            return Ok(false);
        }
        if self.warned_ms.replace(since_ms) != Some(since_ms) {
            let hours = now_ms.saturating_sub(since_ms) / 3_600_000;
            let what = if self.source.is_some() { "webhook" } else { "event" };
            log::warn!(
                "no {what} has arrived for {hours} h (notify.silence_h): is the endpoint enabled at Stripe, and can Stripe still \
                 reach its URL? `tilld check` finds out"
            );
            let context = Arc::clone(&self.context);
            self.store
                .write(move |tx| missing_webhooks::announce_silence(tx, since_ms, NotifyBasis::of(&context, now_ms)))?;
        }
        Ok(true)
    }

    /// When the newest event arrived, or since when the first one is awaited. It is stored now and then, since only the newest
    /// thousand events of the log are searched, and none of them may be from a webhook.
    fn since(&self, newest: Option<i64>, now_ms: i64) -> Result<i64, StoreError> {
        let known = self.store.read(|reader| settings::find(reader, settings::SILENT_SINCE))?;
        let known: Option<i64> = known.and_then(|text| text.parse().ok());
        let since_ms = newest.max(known).unwrap_or(now_ms);
        if known.is_none_or(|known_ms| since_ms.saturating_sub(known_ms) >= REMEMBERED_EVERY_MS) {
            self.store.write(move |tx| settings::put(tx, settings::SILENT_SINCE, &since_ms.to_string()))?;
        }
        Ok(since_ms)
    }
}
