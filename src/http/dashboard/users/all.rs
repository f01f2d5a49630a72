//! All rows of one kind of a user, page by page, where the page of the user shows only the first. Called through the table in
//! `users`.

use askama::Template;

use super::parts::{Part, PartRows};
use super::table::{Cell, Table};
use super::{livemode, unknown, user_id, user_link};
use crate::http::dashboard::list::{Links, Pager, ROWS};
use crate::http::dashboard::page::{self, Frame, Page, PageError, PageResult};
use crate::http::dashboard::view::{self, Id};
use crate::objects::subscription;
use crate::objects::user;
use crate::store::StoreError;

#[derive(Template)]
#[template(path = "user-all.html", config = "src/http/dashboard/askama.toml")]
struct AllPage {
    frame: Frame,
    user: String,
    link: String,
    table: Table,
    pager: Pager,
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let (id, of, before) = (user_id(page)?, page.parameter("of").unwrap_or_default(), page.parameter("before"));
    let (table, last) = read(page, &id, &of, before.as_deref())?
        .ok_or_else(|| PageError::not_found("There is no such list of a user."))?;
    let links = Links::new("user-all", &[("id", Some(&id)), ("of", Some(&of))]);
    let pager = Pager {
        newer: before.as_deref().map(|_| links.first()),
        older: last.as_deref().map(|last| links.before(last)),
    };
    let name = Id::new(&id).shown;
    let frame = page.frame("users", format!("{} of {name}", table.title))?;
    page::html(200, &AllPage { frame, link: user_link(&id), user: view::cut(&name), table, pager })
}

/// `None`: there is no such kind.
fn read(page: &Page<'_>, id: &str, of: &str, after: Option<&str>) -> Result<Option<PartRows>, PageError> {
    let rules = &page.api.context.projection.link;
    let found = page.api.store.read(|reader| {
        if !user::exists(reader, id)? {
            return Ok(None);
        }
        let (now_ms, livemode) = (page.now_ms, livemode(page));
        let part = Part { reader, user_id: id, rules, now_ms, livemode, after, rows: ROWS };
        let table = match of {
            "customers" => part.customers()?,
            "subscriptions" => part.subscriptions(&subscription::list_of_user(reader, id)?)?,
            "failures" => part.failures()?,
            "invoices" => part.invoices()?,
            "payments" => part.payments()?,
            _ => return Ok(Some(None)),
        };
        Ok::<_, StoreError>(Some(Some(table)))
    })?;
    found.ok_or_else(|| unknown(id))
}
