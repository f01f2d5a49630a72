//! Users: found by whatever names them, or listed by their answer. A Stripe id leads straight to its user. The answers of a
//! list are those last computed; the page of one user computes anew. Called through the table in `dashboard`.

mod acts;
mod all;
mod find;
mod parts;
mod table;
mod timeline;
mod user;
mod why;

use askama::Template;
use strum::VariantArray;

use super::list::{ActiveFilter, Links, Pager, ROWS, fetch};
use super::page::{self, Frame, Page, PageError, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::base::entitlement::EntitlementReason;
use crate::http::request::Method::{Get, Post};
use crate::objects::user::answers::{self, AnswerPlace, AnsweredUser};
use crate::stripe::settings::Mode;
use find::Found;

pub(super) const ROUTES: &[PageRoute] = &[
    on(Get, "users", list),
    on(Get, "user", user::show),
    on(Get, "user-all", all::show),
    on(Get, "user-link", acts::ask_link),
    on(Post, "user-link", acts::link),
    on(Get, "user-unlink", acts::ask_unlink),
    on(Post, "user-unlink", acts::unlink),
    on(Get, "user-refresh", acts::ask_refresh),
    on(Post, "user-refresh", acts::refresh),
];

/// Acts that may wait for Stripe.
pub(super) const WAITING: &[&str] = &["user-link"];

/// Between the parts of a place in a list by answer; no part has control characters.
const SEPARATOR: char = '\u{1f}';
const ENTITLED: &str = "entitled";
const NOT_ENTITLED: &str = "not_entitled";

#[derive(Template)]
#[template(path = "users.html", config = "src/http/dashboard/askama.toml")]
struct UsersPage {
    frame: Frame,
    find: String,
    answer: String,
    tier: String,
    answers: Vec<&'static str>,
    tiers: Vec<String>,
    filters: Vec<ActiveFilter>,
    /// What was found that is no user.
    note: Option<String>,
    /// Something of Stripe's that is nobody's: its id.
    unowned: Option<String>,
    rows: Vec<UserRow>,
    pager: Pager,
}

struct UserRow {
    id: Id,
    /// The id as a value of a link's query.
    link: String,
    name: String,
    email: String,
    reason: String,
    tier: String,
    until: Option<When>,
    seen: When,
}

/// What stands in the address.
struct Wanted {
    find: Option<String>,
    answer: Option<String>,
    tier: Option<String>,
    before: Option<String>,
}

fn list(page: &Page<'_>) -> PageResult {
    let [find, answer, tier, before] = ["find", "answer", "tier", "before"].map(|name| page.parameter(name));
    let wanted = Wanted { find, answer, tier, before };
    let found = wanted
        .find
        .as_deref()
        .map_or(Ok(Found::Text), |text| page.api.store.read(|reader| find::what(reader, text)))?;
    let (note, unowned) = match found {
        Found::User(id) => return Ok(page::see_other(&user_link(&id))),
        Found::Event => return Ok(page::see_other(&format!("event?id={}", page::encoded(find_text(&wanted))))),
        // What is not known here can be linked where it can be read from Stripe first.
        Found::Nobodys { words, is_known, id } => (Some(words), id.filter(|_| is_known || page.api.calls.is_some())),
        Found::Text => (None, None),
    };
    show(page, &wanted, note, unowned)
}

fn find_text(wanted: &Wanted) -> &str {
    wanted.find.as_deref().unwrap_or_default()
}

fn show(page: &Page<'_>, wanted: &Wanted, note: Option<String>, unowned: Option<String>) -> PageResult {
    let chosen =
        [("find", wanted.find.as_deref()), ("answer", wanted.answer.as_deref()), ("tier", wanted.tier.as_deref())];
    let links = Links::new("users", &chosen);
    let mut users = rows(page, wanted)?;
    let by_answer = wanted.is_by_answer();
    let pager = links
        .pager(&mut users, wanted.before.as_deref(), |row| if by_answer { place(row) } else { row.user.id.clone() });
    let plans = page.api.context.projection.policy.plans.iter().map(|plan| plan.tier.clone());
    let users_page = UsersPage {
        frame: page.frame("users", "Users")?,
        find: wanted.find.clone().unwrap_or_default(),
        answer: wanted.answer.clone().unwrap_or_default(),
        tier: wanted.tier.clone().unwrap_or_default(),
        answers: [ENTITLED, NOT_ENTITLED].into_iter().chain(with_row().map(EntitlementReason::as_str)).collect(),
        tiers: plans.chain(["free".to_owned()]).collect(),
        filters: links.active(),
        note: note.as_deref().map(view::plain),
        unowned,
        rows: users.iter().take(ROWS).map(|user| row(user, page.now_ms)).collect(),
        pager,
    };
    page::html(200, &users_page)
}

/// The reasons that are kept for a user, those that give access first: without a subscription none is.
fn with_row() -> impl Iterator<Item = EntitlementReason> {
    let of = |access: bool| EntitlementReason::VARIANTS.iter().filter(move |reason| reason.gives_access() == access);
    of(true).chain(of(false)).copied().filter(|reason| *reason != EntitlementReason::NoSubscription)
}

impl Wanted {
    fn is_by_answer(&self) -> bool {
        self.find.is_none() && (self.answer.is_some() || self.tier.is_some())
    }

    /// The reasons that the filter means.
    fn reasons(&self) -> Result<Vec<EntitlementReason>, PageError> {
        let all = with_row();
        let reasons: Vec<_> = match self.answer.as_deref() {
            None => all.collect(),
            Some(ENTITLED) => all.filter(|reason| reason.gives_access()).collect(),
            Some(NOT_ENTITLED) => all.filter(|reason| !reason.gives_access()).collect(),
            Some(word) => all.filter(|reason| reason.as_str() == word).collect(),
        };
        match reasons.is_empty() {
            true => Err(PageError::Refused(400, "There is no such answer.".to_owned())),
            false => Ok(reasons),
        }
    }

    fn place(&self) -> Option<AnswerPlace> {
        let mut parts = self.before.as_deref()?.split(SEPARATOR).map(str::to_owned);
        Some(AnswerPlace { reason: parts.next()?, tier: parts.next()?, user_id: parts.next()? })
    }
}

fn rows(page: &Page<'_>, wanted: &Wanted) -> Result<Vec<AnsweredUser>, PageError> {
    let store = &page.api.store;
    if wanted.is_by_answer() {
        let (reasons, place) = (wanted.reasons()?, wanted.place());
        let tier = wanted.tier.as_deref();
        return Ok(store.read(|reader| answers::list_by_answer(reader, &reasons, tier, place.as_ref(), fetch()))?);
    }
    let after = wanted.before.as_deref();
    Ok(store.read(|reader| find::list(reader, find_text(wanted), after, fetch()))?)
}

fn place(row: &AnsweredUser) -> String {
    let (reason, tier) = (row.reason.as_deref().unwrap_or_default(), row.tier.as_deref().unwrap_or_default());
    format!("{reason}{SEPARATOR}{tier}{SEPARATOR}{}", row.user.id)
}

fn row(found: &AnsweredUser, now_ms: i64) -> UserRow {
    let user = &found.user;
    UserRow {
        id: Id::new(&user.id),
        link: user_link(&user.id),
        name: view::cut(user.name.as_deref().unwrap_or_default()),
        email: view::cut(user.email.as_deref().unwrap_or_default()),
        reason: found.reason.clone().unwrap_or_else(|| EntitlementReason::NoSubscription.as_str().to_owned()),
        tier: found.tier.clone().unwrap_or_else(|| "free".to_owned()),
        until: found.valid_until.map(|until| When::s(until, now_ms)),
        seen: When::ms(user.created_at_ms, now_ms),
    }
}

/// The page of a user.
fn user_link(id: &str) -> String {
    format!("user?id={}", page::encoded(id))
}

/// The id of the user that the address names.
fn user_id(page: &Page<'_>) -> Result<String, PageError> {
    // Not trimmed: an id may begin with a space.
    let id = page.request.parameter("id").filter(|id| !id.is_empty());
    id.ok_or_else(|| PageError::Refused(400, "The address names no user. Look for one on the page Users.".to_owned()))
}

/// The mode of the database, as far as it is known.
fn livemode(page: &Page<'_>) -> bool {
    page.api.context.projection.livemode.unwrap_or(page.api.offers.mode != Some(Mode::Test))
}

fn unknown(id: &str) -> PageError {
    PageError::not_found(format!(
        "There is no user {:?}. An object of Stripe's that names it, or the application, makes it known.",
        view::cut(id)
    ))
}
