//! Do webhooks come? When none has come for `notify.silence_h` hours the operator is told, once for each silence, in the log
//! and by mail. What catching up brings does not count: with a key a dead endpoint would never be noticed by it. Called
//! beside `tick`; tests drive [`Silence::step`].

use std::sync::Arc;

use crate::notify::NotifyContext;
use crate::notify::notice::missing_webhooks;
use crate::notify::settings::NotifyBasis;
use crate::store::inbox::{self, EventSource};
use crate::store::{Store, StoreError, settings};

/// How far what is remembered may lie behind, in milliseconds.
const REMEMBERED_EVERY_MS: i64 = 3_600_000;

/// Watches for silence.
pub struct Silence {
    store: Store,
    context: Arc<NotifyContext>,
    limit_s: i64,
    /// Whose silence counts; `None`: events are asked for, so any will do.
    source: Option<EventSource>,
    /// The newest event of the silence that was told, unix milliseconds.
    told_ms: Option<i64>,
}

impl Silence {
    /// `limit_s`: so many seconds without an event are too many. `is_pulled`: events are asked for, and no webhook need come.
    #[must_use]
    pub fn new(store: Store, context: Arc<NotifyContext>, limit_s: i64, is_pulled: bool) -> Self {
        let source = (!is_pulled).then_some(EventSource::Webhook);
        Self { store, context, limit_s, source, told_ms: None }
    }

    /// Looks, and tells what is to be told. Whether there is silence.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub fn step(&mut self, now_ms: i64) -> Result<bool, StoreError> {
        let source = self.source;
        let newest = self.store.read(|reader| inbox::find_newest(reader, source))?;
        let since_ms = self.since(newest, now_ms)?;
        if now_ms.saturating_sub(since_ms) < self.limit_s.saturating_mul(1000) {
            if self.told_ms.take().is_some() {
                log::info!("events come again");
            }
            return Ok(false);
        }
        if self.told_ms.replace(since_ms) != Some(since_ms) {
            let hours = now_ms.saturating_sub(since_ms) / 3_600_000;
            let what = if self.source.is_some() { "webhook" } else { "event" };
            log::warn!(
                "no {what} has come for {hours} h (notify.silence_h): is the endpoint enabled at Stripe, and is its URL still \
                 reached? `tilld check` looks"
            );
            let context = Arc::clone(&self.context);
            self.store
                .write(move |tx| missing_webhooks::announce_silence(tx, since_ms, NotifyBasis::of(&context, now_ms)))?;
        }
        Ok(true)
    }

    /// When the newest came, or since when a first one is waited for. It is remembered now and then, since the log is not
    /// searched beyond its newest thousand, which may all have been asked for.
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
