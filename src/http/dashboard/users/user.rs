//! One user: may the user use it and why, what can be done, what is known, and all that happened, as one timeline. All of it
//! is read from local rows, cut to the first of each kind. Called through the table in `users`.

use askama::Template;

use super::parts::Part;
use super::table::{self, Cell, Table};
use super::timeline::{self, Happened};
use super::why::{self, Answer, Why};
use super::{livemode, unknown, user_id};
use crate::base::entitlement::explain;
use crate::http::dashboard::list::{Links, Pager, fetch};
use crate::http::dashboard::page::{self, Frame, Page, PageError, PageResult};
use crate::http::dashboard::view::{self, Id, When};
use crate::objects::customer;
use crate::objects::subscription::{self, FoundSubscription};
use crate::objects::timeline as happened;
use crate::objects::timeline::{TimelineItem, TimelinePlace};
use crate::objects::user::{self, User};
use crate::store::{StoreError, levels};

/// How many rows of each kind are shown; the others are one click away.
const FIRST_ROWS: usize = 5;
/// How many subscriptions are explained.
const EXPLAINED: usize = 5;
/// How many characters of the application's metadata are shown.
const METADATA_CHARS: usize = 2000;

#[derive(Template)]
#[template(path = "user.html", config = "src/http/dashboard/askama.toml")]
struct UserPage {
    frame: Frame,
    user: UserFacts,
    answer: Answer,
    why: Why,
    tables: Vec<Table>,
    /// Whether only what happened is shown, from some place on.
    is_later: bool,
    happened: Vec<Happened>,
    pager: Pager,
    /// Whether there is a key to read with.
    can_refresh: bool,
    /// The main customer at Stripe.
    at_stripe: Option<String>,
    /// Events that failed and are in no answer: dead letters, and those that are tried again.
    missing: Option<String>,
}

/// What the application said of the user.
struct UserFacts {
    id: Id,
    /// As a value in a link's query.
    encoded: String,
    name: String,
    email: String,
    metadata: Option<String>,
    customer: Option<Id>,
    seen: When,
}

/// What is read for the page, in one transaction.
struct Known {
    user: User,
    subscriptions: Vec<FoundSubscription>,
    tables: Vec<Table>,
    happened: Vec<TimelineItem>,
    /// The main customer's page.
    at_stripe: Option<String>,
    /// Dead letters and retries, whoever they are about.
    missing: (i64, i64),
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let (id, before) = (user_id(page)?, page.parameter("before"));
    let place = before.as_deref().map(|text| {
        TimelinePlace::parse(text).ok_or_else(|| PageError::Refused(400, "The address names no place.".to_owned()))
    });
    let mut known = read(page, &id, place.transpose()?)?;
    let facts: Vec<_> = known.subscriptions.iter().map(FoundSubscription::facts).collect();
    let policy = &page.api.context.projection.policy;
    let explanation = explain::explain(&facts, policy, page.now_ms.div_euclid(1000), EXPLAINED);
    let links = Links::new("user", &[("id", Some(&id))]);
    let pager = links.pager(&mut known.happened, before.as_deref(), |(place, _)| place.text());
    let user_page = UserPage {
        frame: page.frame("users", Id::new(&id).shown)?,
        answer: why::answer(&explanation, page.now_ms),
        why: why::why(&explanation),
        tables: known.tables,
        is_later: before.is_some(),
        happened: known.happened.iter().map(|item| timeline::happened(item, page.now_ms)).collect(),
        pager,
        can_refresh: page.api.context.projection.fetches,
        at_stripe: known.at_stripe,
        missing: missing(known.missing),
        user: facts_of(&known.user, page.now_ms),
    };
    page::html(200, &user_page)
}

fn read(page: &Page<'_>, id: &str, place: Option<TimelinePlace>) -> Result<Known, PageError> {
    let rules = &page.api.context.projection.link;
    let known = page.api.store.read(|reader| {
        let Some(user) = user::find(reader, id)? else { return Ok(None) };
        let subscriptions = subscription::list_of_user(reader, id)?;
        let livemode = subscriptions.first().map_or_else(|| livemode(page), |one| one.subscription.livemode);
        let now_ms = page.now_ms;
        let part = Part { reader, user_id: id, rules, now_ms, livemode, after: None, rows: FIRST_ROWS };
        let mut tables = Vec::new();
        if place.is_none() {
            let all = [
                part.customers()?,
                part.subscriptions(&subscriptions)?,
                part.failures()?,
                part.invoices()?,
                part.payments()?,
            ];
            tables.extend(all.into_iter().map(|(table, _)| table).filter(|table| !table.rows.is_empty()));
        }
        let happened = happened::list(reader, id, place, fetch())?;
        let main = customer::list_of_user(reader, id, None, 1)?.into_iter().find(|one| one.is_main);
        let at_stripe = main.map(|one| table::at_stripe(&one.id, "customers", one.livemode.unwrap_or(livemode)));
        let waiting = levels::get_waiting(reader)?;
        let missing = (waiting.dead_letters, waiting.retries);
        Ok::<_, StoreError>(Some(Known { user, subscriptions, tables, happened, at_stripe, missing }))
    })?;
    known.ok_or_else(|| unknown(id))
}

/// What is in no answer, in words.
fn missing((dead_letters, retries): (i64, i64)) -> Option<String> {
    let count = |count: i64, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let failed = [count(dead_letters, "dead letter", "dead letters"), count(retries, "retry", "retries")];
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    (!failed.is_empty()).then(|| failed.join(" and "))
}

fn facts_of(user: &User, now_ms: i64) -> UserFacts {
    let metadata = Some(user.metadata.chars().take(METADATA_CHARS).collect::<String>());
    UserFacts {
        id: Id::new(&user.id),
        encoded: page::encoded(&user.id),
        name: view::cut(user.name.as_deref().unwrap_or_default()),
        email: view::cut(user.email.as_deref().unwrap_or_default()),
        metadata: metadata.filter(|text| text != "{}"),
        customer: user.stripe_customer_id.as_deref().map(Id::new),
        seen: When::ms(user.created_at_ms, now_ms),
    }
}
