//! Asks Stripe for one object or one page of a list, and cuts the page into its objects as Stripe wrote them. While the
//! answer is waited for, the pulse beats and a stop is heard. Called by the flows beside it.

use std::time::Duration;

use crossbeam_channel::{bounded, select};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Means, PAGE, SyncError};
use crate::kind::ObjectKind;
use crate::projection::read::Sent;
use crate::store::objects::Reading;
use crate::stripe::call::{Answer, Call, Priority, Verb};
use crate::stripe::error::StripeError;
use crate::stripe::form::Form;
use crate::thread;

/// How often the pulse beats while an answer is waited for.
const BEAT: Duration = Duration::from_secs(2);

/// A page of a list.
pub struct Page {
    /// Its objects, as Stripe wrote them.
    pub items: Vec<Box<RawValue>>,
    /// What the next page comes after; `None` on the last one.
    pub next: Option<String>,
    /// When it was read.
    pub reading: Reading,
}

impl Page {
    /// When it was asked for, by the clock that is behind: nothing that came since then counts as known, whichever of
    /// the two is wrong.
    #[must_use]
    pub fn began_s(&self) -> i64 {
        self.reading.at_s.min(self.reading.sent_ms.div_euclid(1000))
    }
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

/// What the next page comes after. A list that does not move on is an error: it would be read for ever.
fn next(page: &RawPage, after: Option<&str>) -> Result<Option<String>, &'static str> {
    if !page.has_more {
        return Ok(None);
    }
    match page.data.iter().rev().find_map(|item| id_of(item)) {
        None if page.data.is_empty() => Err("an empty page that is not the last one"),
        None => Err("a page without ids"),
        Some(last) if after == Some(last.as_str()) => Err("a page that ends where the one before it ended"),
        last => Ok(last),
    }
}

/// The members of a list that was asked for after an id, and the id that its next page comes after.
///
/// # Errors
/// Why it is no list, or one that does not move on.
pub fn members(text: &str, after: Option<&str>) -> Result<(Vec<Box<RawValue>>, Option<String>), &'static str> {
    let page: RawPage = serde_json::from_str(text).map_err(|_| "it is no list")?;
    let next = next(&page, after)?;
    Ok((page.data, next))
}

/// What the list of a kind is always asked with.
#[must_use]
pub fn form_of(kind: &ObjectKind) -> Form {
    kind.always.iter().fold(Form::new(), |form, (name, value)| form.put(*name, *value))
}

impl Means {
    /// One page of the list at `path`. Where its objects are longer than an answer may be, it has fewer of them.
    ///
    /// # Errors
    /// Stripe's, or that the answer is no list, or one that does not move on; where a single object is too long, see
    /// [`SyncError::is_too_long`].
    pub fn page(&self, path: &str, fixed: Form, after: Option<&str>) -> Result<Page, SyncError> {
        let mut limit = PAGE;
        loop {
            match self.page_of(limit, path, fixed.clone(), after) {
                Err(error) if error.is_too_long() && limit > 1 => limit /= 2,
                page => return page,
            }
        }
    }

    /// At most so many of the list at `path`.
    ///
    /// # Errors
    /// As [`Self::page`].
    pub fn page_of(&self, limit: i64, path: &str, fixed: Form, after: Option<&str>) -> Result<Page, SyncError> {
        let form = fixed.put("limit", limit).put_opt("starting_after", after);
        let (answer, reading) = self.get(path, &form)?;
        let unreadable = |reason| SyncError::Unreadable { path: path.to_owned(), reason };
        let (items, next) = members(&answer.text, after).map_err(unreadable)?;
        Ok(Page { items, next, reading })
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
