//! Asks Stripe for one object or one page of a list, and splits the page into its objects as Stripe wrote them. While it
//! waits for the answer, the pulse beats and a stop ends it. Called by `backfill`, `catch_up`, `drift` and what they use.

use std::time::Duration;

use crossbeam_channel::{bounded, select};

use super::{SyncError, SyncTools};
use crate::base::object_kind::ObjectKind;
use crate::base::thread;
use crate::objects::reading::RequestSent;
use crate::store::mirror::ApiReading;
use crate::stripe::call::{Call, Priority, StripeAnswer, Verb};
use crate::stripe::error::StripeError;
use crate::stripe::form::FormBody;
use crate::stripe::list::{self, ListPage, PAGE, Pages};

/// How often the pulse beats during a request.
const BEAT: Duration = Duration::from_secs(2);

/// A page of a list, and when it was read.
pub(crate) type SyncPage = ListPage<ApiReading>;

impl SyncPage {
    /// When it was asked for, by the earlier of the two clocks: whichever of them is wrong, nothing that came later counts as
    /// known.
    #[must_use]
    pub(crate) fn began_s(&self) -> i64 {
        self.read.at_s.min(self.read.sent_ms.div_euclid(1000))
    }
}

/// The parameters that a kind's list always gets.
#[must_use]
pub(crate) fn form_of(kind: &ObjectKind) -> FormBody {
    kind.always.iter().fold(FormBody::new(), |form, (name, value)| form.put(*name, *value))
}

impl SyncTools {
    /// All pages of the list at `path`.
    pub(crate) fn pages(
        &self,
        path: &str,
        fixed: FormBody,
    ) -> Pages<impl FnMut(Option<&str>) -> Result<SyncPage, SyncError>> {
        Pages::new(move |after: Option<&str>| self.page(path, fixed.clone(), after))
    }

    /// One page of the list at `path`. Where its objects are longer than an answer may be, it has fewer of them.
    ///
    /// # Errors
    /// Stripe's, or that the answer is not a list, or one that does not advance; where a single object is too long, see
    /// [`SyncError::is_too_long`].
    pub(crate) fn page(&self, path: &str, fixed: FormBody, after: Option<&str>) -> Result<SyncPage, SyncError> {
        let mut limit = PAGE;
        loop {
            match self.page_of(limit, path, fixed.clone(), after) {
                Err(error) if error.is_too_long() && limit > 1 => limit /= 2,
                page => return page,
            }
        }
    }

    /// At most so many of the list at `path`.
    pub(crate) fn page_of(
        &self,
        limit: i64,
        path: &str,
        fixed: FormBody,
        after: Option<&str>,
    ) -> Result<SyncPage, SyncError> {
        let (answer, reading) = self.get(path, &list::query(fixed, limit, after))?;
        let unreadable = |reason| SyncError::Unreadable { path: path.to_owned(), reason };
        ListPage::parse(&answer.text, after, reading).map_err(unreadable)
    }

    /// The answer to a GET, and the time of which it is true.
    ///
    /// # Errors
    /// Stripe's; or that it is time to stop.
    pub(crate) fn get(&self, path: &str, form: &FormBody) -> Result<(StripeAnswer, ApiReading), SyncError> {
        self.go_on()?;
        let form = form.encode().map_err(|_| StripeError::Unsendable("its parameters cannot be encoded"))?;
        let now_ms = self.clock.now_ms();
        let sent = self.store.read(|reader| RequestSent::now(reader, now_ms))?;
        let answer = self.answer(path.to_owned(), form)?;
        let reading = sent.reading(answer.date_s, self.clock.now_ms());
        Ok((answer, reading))
    }

    /// A thread of its own waits for the answer, which may take minutes: a stop does not wait for it.
    fn answer(&self, path: String, form: String) -> Result<StripeAnswer, SyncError> {
        let client = self.client.clone();
        let (sender, receiver) = bounded(1);
        let ask = move || {
            let (verb, priority) = (Verb::Get, Priority::Background);
            let call = Call { verb, path: &path, form: &form, idempotency_key: None, priority, context: None };
            // Nobody listens any more after a stop.
            let _ = sender.send(client.call(&call));
        };
        thread::detached("ask", ask).map_err(|error| SyncError::Thread(error.to_string()))?;
        loop {
            select! {
                recv(receiver) -> answer => {
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
