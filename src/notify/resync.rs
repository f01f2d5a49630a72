//! Endpoints that were not configured for a while: what changed meanwhile was not written for them, and what was written
//! before is out of date. They get every user's present answer, once, as `entitlement.changed` with `resync`; older answers
//! that still wait are superseded and not sent. It must never send anything. Called by `app::daemon` before a returning
//! endpoint gets its first event, and by `tilld outbox resync`.

use super::app_events;
use super::settings::{NoticeSettings, NotifyBasis};
use crate::base::thread::Stop;
use crate::notify;
use crate::notify::NotifyContext;
use crate::notify::event_type::AppEventType;
use crate::objects::effective;
use crate::objects::user;
use crate::store::{Store, StoreError, Tx, webhook_endpoints};

/// Users in one transaction.
const PAGE: u32 = 500;

/// Whether an endpoint gets answers.
#[must_use]
pub(crate) fn wants_answers(notify: &NoticeSettings, url: &str) -> bool {
    notify.subscribers(AppEventType::EntitlementChanged.as_str()).any(|subscriber| subscriber.url == url)
}

/// Notes which known endpoints get no answers by this configuration. To be called at start, before anything is projected.
pub fn note_absent(tx: &Tx, notify: &NoticeSettings) -> Result<(), StoreError> {
    for (url, was_away) in webhook_endpoints::list(tx)? {
        if !was_away && !wants_answers(notify, &url) {
            webhook_endpoints::set_absent(tx, &url, true)?;
        }
    }
    Ok(())
}

/// Endpoints that get answers again and have not been brought up to date.
pub fn list_returning(store: &Store, notify: &NoticeSettings) -> Result<Vec<String>, StoreError> {
    let known = store.read(webhook_endpoints::list)?;
    Ok(known.into_iter().filter(|(url, away)| *away && wants_answers(notify, url)).map(|(url, _)| url).collect())
}

/// Writes every user's present answer for one endpoint, page by page. How many. A process that dies in between leaves the
/// endpoint as one to be brought up to date.
pub fn resync(
    store: &Store,
    context: &NotifyContext,
    (url, now_ms): (&str, i64),
    stop: Option<&Stop>,
) -> Result<usize, StoreError> {
    let (mut written, mut last) = (0, String::new());
    loop {
        if stop.is_some_and(Stop::is_given) {
            return Err(StoreError::Stopped);
        }
        let (context, after, url) = (context.clone(), last, url.to_owned());
        let (ids, count) = store.write(move |tx| {
            let ids = user::list_ids(tx, &after, PAGE)?;
            let mut count = 0;
            for id in &ids {
                notify::with_notices(tx, &context, now_ms, |basis| effective::refresh(tx, id, basis))?;
                count += usize::from(app_events::resync_answer(tx, id, &url, NotifyBasis::of(&context, now_ms))?);
            }
            if ids.is_empty() {
                webhook_endpoints::set_absent(tx, &url, false)?;
            }
            Ok((ids, count))
        })?;
        written += count;
        match ids.into_iter().next_back() {
            Some(id) => last = id,
            None => return Ok(written),
        }
    }
}
