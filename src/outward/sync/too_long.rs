//! Gets past an event that is longer than an answer may be. The next page of a list is asked for by the last id, and the
//! id of an event that cannot be read is not known; so its second is searched for, and the list is read on from the one
//! before. Called by `catch_up`.

use serde::Deserialize;

use super::api::SyncPage;
use super::{EVENTS_KEPT_S, SyncError, SyncTools};
use crate::base::object_kind::segment;
use crate::objects::reading::RequestSent;
use crate::stripe::form::FormBody;

/// No event is further ahead of our clock than this.
const AHEAD_S: i64 = 86_400;

#[derive(Deserialize)]
struct DatedEvent {
    created: i64,
}

/// The page that follows the event that is too long, which comes after `after`. Events of the same second that come after it
/// in the list are skipped with it.
pub(super) fn page_past(
    tools: &SyncTools,
    path: &str,
    from_s: i64,
    after: Option<&str>,
) -> Result<SyncPage, SyncError> {
    let now_ms = tools.clock.now_ms();
    let reading = tools.store.read(|reader| RequestSent::now(reader, now_ms))?.reading(None, now_ms);
    let until_s = match after {
        Some(id) => created_s(tools, path, id)?.saturating_sub(1),
        None => tools.clock.now_s().saturating_add(AHEAD_S),
    };
    let span = |until_s: i64| FormBody::new().map("created", FormBody::new().put("gte", from_s).put("lte", until_s));
    let is_too_long = |until_s: i64| match tools.page_of(1, path, span(until_s), None) {
        Ok(_) => Ok(false),
        Err(error) if error.is_too_long() => Ok(true),
        Err(error) => Err(error),
    };
    // Up to `low` the list can be read; up to `high` it begins with the event.
    let (mut low, mut high) = (from_s.saturating_sub(1).max(until_s.saturating_sub(EVENTS_KEPT_S + AHEAD_S)), until_s);
    if until_s < from_s || !is_too_long(until_s)? {
        (low, high) = (until_s, until_s.saturating_add(1));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if is_too_long(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    log::warn!(
        event_created = high;
        "an event in Stripe's list is longer than an answer may be and is skipped; `tilld drift` finds what it may have changed"
    );
    if low < from_s {
        Ok(SyncPage { items: Vec::new(), next: None, read: reading })
    } else {
        tools.page(path, span(low), None)
    }
}

fn created_s(tools: &SyncTools, path: &str, id: &str) -> Result<i64, SyncError> {
    let path = format!("{path}/{}", segment(id));
    let (answer, _) = tools.get(&path, &FormBody::new())?;
    let unreadable = |_| SyncError::Unreadable { path: path.clone(), reason: "it is not an event" };
    Ok(serde_json::from_str::<DatedEvent>(&answer.text).map_err(unreadable)?.created)
}
