//! What an operator does about a user: says whose something is, takes that back, has everything read from Stripe once more.
//! Each asks first. It must never have a rule of its own: the same functions serve the API and the command line. Called
//! through the table in `users`.

use super::{unknown, user_id, user_link};
use crate::http::api::calls::link::{self, ForeseenLink, UnlinkResult};
use crate::http::dashboard::confirm::Confirmation;
use crate::http::dashboard::page::{Page, PageError, PageResult};
use crate::http::response::ErrorResponse;
use crate::jobs::operator::{self, Operator};
use crate::objects::links::{self, LinkResult, LinkStatement, LinkTarget};
use crate::objects::{refresh, user};
use crate::store::StoreError;
use crate::stripe::object::is_user_id;

const ACTOR: &str = "dashboard";
/// The longest id of a subscription (Stripe's limit).
const MAX_ID_CHARS: usize = 255;
/// The field that says whose the question said it is: a user, or empty for nobody.
const HOLDER: &str = "holder";

impl From<ErrorResponse> for PageError {
    fn from(error: ErrorResponse) -> Self {
        Self::Refused(error.status, error.message)
    }
}

/// A user, and something of Stripe's. What is asked, done and told names both whole: ids that differ in their middle alone are
/// different ones.
struct Subject {
    user_id: String,
    kind: LinkTarget,
    object_id: String,
}

impl Subject {
    fn new(user_id: String, object_id: &str) -> Result<Self, PageError> {
        let object_id = object_id.trim();
        let fits = object_id.len() <= MAX_ID_CHARS && object_id.bytes().all(|byte| byte.is_ascii_graphic());
        if object_id.starts_with("sub_") && fits {
            return Ok(Self { user_id, kind: LinkTarget::Subscription, object_id: object_id.to_owned() });
        }
        let object_id = link::valid(object_id).map_err(|_| {
            PageError::Refused(400, "Give the id of a customer (cus_…) or of a subscription (sub_…).".to_owned())
        })?;
        Ok(Self { user_id, kind: LinkTarget::Customer, object_id })
    }

    /// As the address names it.
    fn asked(page: &Page<'_>) -> Result<Self, PageError> {
        let user_id = known(page, user_id(page)?)?;
        Self::new(user_id, &page.parameter("object").unwrap_or_default())
    }

    /// As the form names it.
    fn posted(page: &Page<'_>) -> Result<Self, PageError> {
        let user_id = known(page, page.request.field("id").unwrap_or_default())?;
        Self::new(user_id, &page.request.field("object").unwrap_or_default())
    }

    fn said(&self) -> LinkStatement<'_> {
        LinkStatement { kind: self.kind, id: &self.object_id, user_id: &self.user_id, actor: ACTOR }
    }

    /// `customer cus_1`.
    fn words(&self) -> String {
        format!("{} {}", self.kind.as_str(), self.object_id)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("id", self.user_id.clone()), ("object", self.object_id.clone())]
    }

    fn confirmation(&self, page: &Page<'_>, verb: &str, sentence: String) -> Result<Confirmation, PageError> {
        let (frame, back) = (page.frame("users", verb)?, user_link(&self.user_id));
        let (verb, fields) = (verb.to_owned(), self.fields());
        Ok(Confirmation { frame, sentence, verb, fields, asks_reason: false, back })
    }
}

pub(super) fn ask_link(page: &Page<'_>) -> PageResult {
    let subject = Subject::asked(page)?;
    let (foreseen, holder) = page.api.store.read(|reader| {
        let foreseen = links::foresee(reader, subject.said(), false)?;
        Ok::<_, StoreError>((foreseen, links::holder(reader, subject.said())?))
    })?;
    let mut sentence = link_words(&subject, &foreseen, holder.as_deref());
    if page.api.calls.is_some() {
        sentence.push_str(" It is read from Stripe first.");
    }
    let verb = format!("Link {} to {}", subject.object_id, subject.user_id);
    let mut confirmation = subject.confirmation(page, &verb, sentence)?;
    confirmation.fields.push((HOLDER, holder.unwrap_or_default()));
    confirmation.page()
}

/// What a link would do, and who would lose it.
fn link_words(subject: &Subject, foreseen: &LinkResult, holder: Option<&str>) -> String {
    let (words, user) = (subject.words(), &subject.user_id);
    match foreseen {
        LinkResult::Already => {
            format!("The {words} was said to be {user}'s before; said once more, it is the last word.")
        }
        LinkResult::Taken(other) => format!(
            "The {words} was said to be {other}'s. From now on it is {user}'s, with everything that is paid through it, and \
             {other} loses it."
        ),
        LinkResult::Now => {
            let today = holder.filter(|holder| *holder != subject.user_id);
            let today = today.map(|holder| format!(" Today it belongs to {holder}.")).unwrap_or_default();
            format!(
                "From now on the {words} is {user}'s, with everything that is paid through it, whatever Stripe's objects \
                 say. It can be taken back.{today}"
            )
        }
    }
}

/// A yes to the question, and to nothing else: the form says from whom it takes the thing.
pub(super) fn link(page: &Page<'_>) -> PageResult {
    let subject = Subject::posted(page)?;
    let holder = page.request.field(HOLDER).filter(|holder| !holder.is_empty());
    let (words, user) = (subject.words(), &subject.user_id);
    match link::link_foreseen(page.api, subject.said(), holder)? {
        ForeseenLink::Linked => page.done(&user_link(user), format!("The {words} is {user}'s from now on.")),
        ForeseenLink::Otherwise(holder) => {
            let holder = holder.unwrap_or_else(|| "nobody".to_owned());
            let said = format!("Meanwhile the {words} belongs to {holder}. Nothing was done; go back and look again.");
            Err(PageError::Refused(409, said))
        }
    }
}

pub(super) fn ask_unlink(page: &Page<'_>) -> PageResult {
    let subject = Subject::asked(page)?;
    let (words, user) = (subject.words(), &subject.user_id);
    let sentence = format!(
        "From now on the {words} is not {user}'s, with everything that is paid through it, whatever Stripe's objects say; \
         {user} may lose access at once. Linking it again takes that back."
    );
    subject.confirmation(page, &format!("Unlink {} from {user}", subject.object_id), sentence)?.page()
}

pub(super) fn unlink(page: &Page<'_>) -> PageResult {
    let subject = Subject::posted(page)?;
    let (words, user) = (subject.words(), &subject.user_id);
    match link::unlink(page.api, subject.said())? {
        UnlinkResult::Unlinked(owner) => {
            let now = owner.unwrap_or_else(|| "nobody".to_owned());
            let said = format!("The {words} is not {user}'s any more; it belongs to {now} now.");
            page.done(&user_link(&subject.user_id), said)
        }
        UnlinkResult::NotLinked => {
            Err(PageError::Refused(409, format!("Nothing links the {words} to {user}. Nothing was done.")))
        }
    }
}

pub(super) fn ask_refresh(page: &Page<'_>) -> PageResult {
    let id = refreshable(page, user_id(page)?)?;
    let count = page.api.store.read(|reader| refresh::list(reader, &id))?.len();
    if count == 0 {
        return Err(PageError::Refused(
            409,
            "Nothing of this user is known that could have changed at Stripe: no customer, no subscription that runs, no \
             invoice to be paid."
                .to_owned(),
        ));
    }
    let sentence = format!(
        "What is known of {} at Stripe is read once more: customers, subscriptions that have not ended, invoices to be \
         paid. What has changed there is taken over, and may change the answer. It takes a request for each object.",
        id
    );
    let verb = format!("Read {} from Stripe", objects(count));
    let frame = page.frame("users", verb.clone())?;
    let (fields, back) = (vec![("id", id.clone())], user_link(&id));
    Confirmation { frame, sentence, verb, fields, asks_reason: false, back }.page()
}

pub(super) fn refresh(page: &Page<'_>) -> PageResult {
    let id = refreshable(page, page.request.field("id").unwrap_or_default())?;
    let (user_id, operator) = (id.clone(), Operator { actor: ACTOR, now_ms: page.now_ms });
    let count = page.api.store.write(move |tx| operator::refresh_user(tx, &user_id, operator))?;
    let said = format!(
        "{} of {} are read from Stripe now. Load this page again in a moment; \"what happened\" shows each.",
        objects(count),
        id
    );
    page.done(&user_link(&id), said)
}

/// A user that is known, where there is a key to read with.
fn refreshable(page: &Page<'_>, id: String) -> Result<String, PageError> {
    if !page.api.context.projection.fetches {
        return Err(PageError::Refused(409, "Without stripe.api_key nothing can be read from Stripe.".to_owned()));
    }
    known(page, id)
}

/// A user that is known. What no application can have given as an id is none, so that sentences can name it whole.
fn known(page: &Page<'_>, id: String) -> Result<String, PageError> {
    if !is_user_id(&id) || !page.api.store.read(|reader| user::exists(reader, &id))? {
        return Err(unknown(&id));
    }
    Ok(id)
}

fn objects(count: usize) -> String {
    if count == 1 { "1 object".to_owned() } else { format!("{count} objects") }
}
