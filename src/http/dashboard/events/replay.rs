//! Replaying one event: the question, and the act. Called through the table in `events`.

use crate::http::dashboard::confirm::Confirmation;
use crate::http::dashboard::page::{self, Page, PageError, PageResult};
use crate::http::dashboard::view;
use crate::jobs::operator::{self, Operator};
use crate::store::inbox;

/// Who acts, as the audit log names it.
pub(in crate::http::dashboard) const ACTOR: &str = "dashboard";

fn unknown(id: &str) -> PageError {
    PageError::not_found(format!("There is no event {:?} in the log.", view::cut(id)))
}

pub(super) fn ask(page: &Page<'_>) -> PageResult {
    let id = page.parameter("id").unwrap_or_default();
    let entry = page.api.store.read(|reader| inbox::find(reader, &id))?.ok_or_else(|| unknown(&id))?;
    let sentence = format!(
        "The event {} ({}, now {}) becomes pending and is projected once more, with its attempts forgotten. \
         That changes nothing that newer events have said, and repeats no mail that was sent.",
        entry.event_id, entry.event_type, entry.status
    );
    let confirmation = Confirmation {
        frame: page.frame("events", "Replay an event")?,
        sentence,
        verb: "Replay 1 event".to_owned(),
        fields: vec![("id", entry.event_id.clone())],
        asks_reason: false,
        back: format!("event?id={}", page::encoded(&entry.event_id)),
    };
    confirmation.page()
}

pub(super) fn act(page: &Page<'_>) -> PageResult {
    let id = page.request.field("id").unwrap_or_default();
    let (event_id, operator) = (id.clone(), Operator { actor: ACTOR, now_ms: page.now_ms });
    if !page.api.store.write(move |tx| operator::replay(tx, &event_id, operator))? {
        return Err(unknown(&id));
    }
    // If the channel is full, the worker is being woken already.
    let _ = page.api.bell.try_send(());
    let link = format!("event?id={}", page::encoded(&id));
    page.done(&link, "Replayed 1 event. Load the page again to see how it ends.")
}
