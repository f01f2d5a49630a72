//! Asks Stripe for one object or one page of a list, and cuts the page into its objects as Stripe wrote them. While the
//! answer is waited for, the pulse beats and a stop is heard. Called by the flows beside it.

use std::time::Duration;

use crossbeam_channel::{bounded, select};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Means, PAGE, SyncError};
use crate::projection::read::Sent;
use crate::store::objects::Reading;
use crate::stripe::call::{Answer, Call, Priority, Verb};
use crate::stripe::error::StripeError;
use crate::stripe::form::Form;
use crate::thread;

/// How often the pulse beats while an answer is waited for.
const BEAT: Duration = Duration::from_secs(2);
/// What may stand in a segment of a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');

/// A page of a list.
pub struct Page {
    /// Its objects, as Stripe wrote them.
    pub items: Vec<Box<RawValue>>,
    /// Whether another page follows.
    pub has_more: bool,
    /// When it was read.
    pub reading: Reading,
}

#[derive(Deserialize)]
struct RawPage {
    data: Vec<Box<RawValue>>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

/// The id of an object, if it has one.
#[must_use]
pub fn id_of(object: &RawValue) -> Option<String> {
    serde_json::from_str::<Named>(object.get()).ok()?.id.filter(|id| !id.is_empty())
}

impl Page {
    /// What the next page comes after; `None` on the last one.
    ///
    /// # Errors
    /// When another page follows and none of its objects has an id.
    pub fn next(&self, path: &str) -> Result<Option<String>, SyncError> {
        if !self.has_more {
            return Ok(None);
        }
        let unreadable = || SyncError::Unreadable { path: path.to_owned(), reason: "a page without ids" };
        self.items.iter().rev().find_map(|item| id_of(item)).map(Some).ok_or_else(unreadable)
    }
}

/// A segment of a path.
#[must_use]
pub fn segment(id: &str) -> String {
    utf8_percent_encode(id, PLAIN).to_string()
}

impl Means {
    /// One page of the list at `path`.
    ///
    /// # Errors
    /// Stripe's, or that the answer is no list.
    pub fn page(&self, path: &str, fixed: Form, after: Option<&str>) -> Result<Page, SyncError> {
        let form = fixed.put("limit", PAGE).put_opt("starting_after", after);
        let (answer, reading) = self.get(path, &form)?;
        let unreadable = |_| SyncError::Unreadable { path: path.to_owned(), reason: "it is no list" };
        let RawPage { data, has_more } = serde_json::from_str(&answer.text).map_err(unreadable)?;
        Ok(Page { items: data, has_more, reading })
    }

    /// The answer to a GET, and when what it shows was so.
    ///
    /// # Errors
    /// Stripe's; or that it is time to stop.
    pub fn get(&self, path: &str, form: &Form) -> Result<(Answer, Reading), SyncError> {
        self.go_on()?;
        let form = form.encode().map_err(|_| StripeError::Unsendable("its parameters cannot be encoded"))?;
        let now_ms = self.clock.now_ms();
        let sent = self.store.read(|reader| Sent::now(reader, now_ms))?;
        let answer = self.answer(path.to_owned(), form)?;
        let reading = sent.reading(answer.date_s, self.clock.now_ms());
        Ok((answer, reading))
    }

    /// A thread of its own waits for the answer: it may take minutes, and nobody who stops has to wait for it.
    fn answer(&self, path: String, form: String) -> Result<Answer, SyncError> {
        let client = self.client.clone();
        let (tell, told) = bounded(1);
        let ask = move || {
            let (verb, priority) = (Verb::Get, Priority::Background);
            let call = Call { verb, path: &path, form: &form, idempotency_key: None, priority, context: None };
            // Nobody listens any more after a stop.
            let _ = tell.send(client.call(&call));
        };
        thread::aside("ask", ask).map_err(|error| SyncError::Thread(error.to_string()))?;
        loop {
            select! {
                recv(told) -> answer => {
                    let panicked = |_| SyncError::Thread("the call to Stripe panicked".to_owned());
                    let answer = answer.map_err(panicked)?;
                    // The stop reaches the client before it reaches us.
                    return answer.map_err(|error| if self.client.is_closed() { SyncError::Stopped } else { error.into() });
                },
                recv(self.stop.signal()) -> _ => return Err(SyncError::Stopped),
                default(BEAT) => self.pulse.beat(),
            }
        }
    }
}
