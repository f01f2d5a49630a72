//! What an operator can do with rows of the outbox: have one or many sent again, or discard one. Each asks first, acts
//! through `jobs::operator`, which writes the audit row, and says what came of it. It must never send anything itself.
//! Called through the table in `outbox`.

use super::{find, id_of, url_of, words};
use crate::base::ago;
use crate::base::secret::without_query;
use crate::http::dashboard::confirm::Confirmation;
use crate::http::dashboard::page::{self, Page, PageError, PageResult};
use crate::http::dashboard::view;
use crate::jobs::operator::{self, MAX_DELIVERED_AGAIN, Operator};
use crate::store::Tx;
use crate::store::outbox::rows::{self, GivenUp, OutboxRow};

const HOUR_MS: i64 = 3_600_000;
/// The longest time back that can be asked for: a hundred years.
const MOST_HOURS: i64 = 24 * 365 * 100;

fn operator_of(page: &Page<'_>) -> Operator {
    Operator { actor: "dashboard", now_ms: page.now_ms }
}

fn row_link(id: i64) -> String {
    format!("outbox-row?id={id}")
}

pub(super) fn ask_retry(page: &Page<'_>) -> PageResult {
    let id = id_of(page.parameter("id"))?;
    let row = find(page, id)?;
    if !words::can_retry(&row) {
        return Err(cannot_retry());
    }
    let twice = if row.status == "done" { " It was accepted before, so its receiver gets it twice." } else { "" };
    let enabled = if row.kind == "webhook" { " If its endpoint is disabled, that is enabled." } else { "" };
    Confirmation {
        frame: page.frame("outbox", "Send again")?,
        sentence: format!(
            "The {} to {} is sent again now, with all its attempts.{twice}{enabled}",
            words::what(&row),
            words::to(&row)
        ),
        verb: "Send 1 again".to_owned(),
        fields: vec![("id", id.to_string()), ("seen", seen(&row))],
        asks_reason: false,
        back: row_link(id),
    }
    .page()
}

pub(super) fn retry(page: &Page<'_>) -> PageResult {
    let id = id_of(page.request.field("id"))?;
    if !words::can_retry(&find(page, id)?) {
        return Err(cannot_retry());
    }
    let (operator, asked) = (operator_of(page), page.request.field("seen").unwrap_or_default());
    // In the transaction of the act, so that nothing is delivered between the look and the act.
    let act = move |tx: &Tx| match rows::find(tx, id)? {
        Some(row) if seen(&row) == asked => Ok(Some(operator::deliver_again(tx, id, operator)?)),
        _ => Ok(None),
    };
    match page.api.store.write(act)? {
        Some(true) => page.done(&row_link(id), format!("Row {id} is sent again now.")),
        Some(false) => Err(cannot_retry()),
        None => Err(has_changed()),
    }
}

/// Where a row stands, as the question about it has said: a yes is to that alone.
fn seen(row: &OutboxRow) -> String {
    let finished_at_ms = row.finished_at_ms.map(|ms| ms.to_string()).unwrap_or_default();
    format!("{} {finished_at_ms}", row.status).trim_end().to_owned()
}

fn has_changed() -> PageError {
    let words = "Nothing was done: the row has changed since you were asked; it may have been sent meanwhile. Load its page \
                 again to see what came of it, and ask again if it is to be sent once more.";
    PageError::Refused(409, words.to_owned())
}

fn cannot_retry() -> PageError {
    let words = "This row cannot be sent again: it is being sent at this moment, or is a request to Stripe, which tilld \
                 repeats by itself. Load its page again to see what came of it.";
    PageError::Refused(409, words.to_owned())
}

/// Which rows are sent again together, as the question has it.
struct ManyRows {
    /// `mail`, or the URL of an endpoint, which is not shown whole.
    url: Option<String>,
    /// `None`: however long ago.
    hours: Option<i64>,
}

impl ManyRows {
    fn read(page: &Page<'_>) -> Result<Self, PageError> {
        let hours = page.parameter("hours").map(|text| match text.parse() {
            Ok(hours) if (1..=MOST_HOURS).contains(&hours) => Ok(hours),
            _ => Err(PageError::Refused(400, format!("{text:?} is not a number of hours."))),
        });
        let url = page.parameter("target").map(|name| url_of(page, &name)).transpose()?;
        Ok(Self { url, hours: hours.transpose()? })
    }

    fn since_ms(&self, now_ms: i64) -> i64 {
        self.hours.map_or(0, |hours| now_ms.saturating_sub(hours.saturating_mul(HOUR_MS)))
    }

    /// The target as pages name it.
    fn name(&self) -> Option<String> {
        self.url.as_deref().map(without_query)
    }

    fn words(&self) -> String {
        let target = self.name().map(|target| format!(" for {}", view::cut(&target)));
        let since = self.hours.map(|hours| format!(" in the last {}", ago::span(hours.saturating_mul(HOUR_MS))));
        format!("{}{}", target.unwrap_or_default(), since.unwrap_or_default())
    }
}

/// The list of what was given up.
fn failed_link(target: Option<&str>) -> String {
    let target = target.map(|target| format!("&target={}", page::encoded(target)));
    format!("outbox?status=failed{}", target.unwrap_or_default())
}

pub(super) fn ask_retry_all(page: &Page<'_>) -> PageResult {
    let which = ManyRows::read(page)?;
    let (since_ms, until_ms) = (which.since_ms(page.now_ms), page.now_ms);
    let given_up = GivenUp { target: which.url.as_deref(), since_ms, until_ms };
    let most = MAX_DELIVERED_AGAIN.saturating_add(1);
    let found = page.api.store.read(|reader| rows::list_given_up(reader, given_up, most))?;
    let count = found.len().min(usize::try_from(MAX_DELIVERED_AGAIN).unwrap_or(usize::MAX));
    if count == 0 {
        return Err(none_left(&which.words()));
    }
    let more = if found.len() > count { " There are more: ask again afterwards." } else { "" };
    Confirmation {
        frame: page.frame("outbox", "Send again")?,
        sentence: format!(
            "{} that {} given up{} {} sent again now, the oldest first, each with all its attempts. A mail that is no longer \
             true is skipped. Endpoints of theirs that are disabled are enabled.{more}",
            counted(count),
            if count == 1 { "was" } else { "were" },
            which.words(),
            if count == 1 { "is" } else { "are" },
        ),
        verb: format!("Send {count} again"),
        // Absolute times and the number: what is given up after the question is not meant by its answer.
        fields: vec![
            ("target", which.name().unwrap_or_default()),
            ("since", since_ms.to_string()),
            ("until", until_ms.to_string()),
            ("count", count.to_string()),
        ],
        asks_reason: false,
        back: failed_link(which.name().as_deref()),
    }
    .page()
}

pub(super) fn retry_all(page: &Page<'_>) -> PageResult {
    let field = |name: &str| page.request.field(name).map(|text| text.trim().to_owned());
    let target = field("target").filter(|target| !target.is_empty());
    let url = target.as_deref().map(|name| url_of(page, name)).transpose()?;
    let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok());
    let (Some(since_ms), Some(until_ms), Some(count)) = (number("since"), number("until"), number("count")) else {
        return Err(PageError::Refused(400, "Ask which rows these are first: the form is not complete.".to_owned()));
    };
    let (operator, limit, link) =
        (operator_of(page), u32::try_from(count).unwrap_or(0), failed_link(target.as_deref()));
    let act = move |tx: &Tx| {
        let which = GivenUp { target: url.as_deref(), since_ms, until_ms };
        if rows::list_given_up(tx, which, 1)?.is_empty() {
            return Ok((0, false));
        }
        operator::deliver_failed_again(tx, which, limit, operator)
    };
    let (count, has_more) = page.api.store.write(act)?;
    if count == 0 {
        return Err(none_left(""));
    }
    let more = if has_more { " There are more." } else { "" };
    let are = if count == 1 { "is" } else { "are" };
    page.done(&link, format!("{} {are} sent again now.{more}", counted(count)))
}

fn none_left(of: &str) -> PageError {
    PageError::Refused(409, format!("No mail or event{of} is given up, so none can be sent again."))
}

fn counted(count: usize) -> String {
    if count == 1 { "1 mail or event".to_owned() } else { format!("{count} mails and events") }
}

pub(super) fn ask_discard(page: &Page<'_>) -> PageResult {
    let id = id_of(page.parameter("id"))?;
    let row = find(page, id)?;
    if !words::can_discard(&row) {
        return Err(cannot_discard());
    }
    Confirmation {
        frame: page.frame("outbox", "Discard")?,
        sentence: format!(
            "The {} to {} will not be sent. What waits behind it for the same user goes on. It can be sent again later, as \
             long as the row is kept.",
            words::what(&row),
            words::to(&row)
        ),
        verb: "Discard 1 row".to_owned(),
        fields: vec![("id", id.to_string())],
        asks_reason: true,
        back: row_link(id),
    }
    .page()
}

pub(super) fn discard(page: &Page<'_>) -> PageResult {
    let id = id_of(page.request.field("id"))?;
    let reason = page.request.field("reason").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let operator = operator_of(page);
    let act = move |tx: &Tx| operator::discard_delivery(tx, id, reason.as_deref(), operator);
    if !page.api.store.write(act)? {
        return Err(cannot_discard());
    }
    page.done(&row_link(id), format!("Row {id} was discarded."))
}

fn cannot_discard() -> PageError {
    let words = "This row cannot be discarded: it was sent, is being sent at this moment, was discarded before, or does not \
                 exist. Load its page again to see what came of it.";
    PageError::Refused(409, words.to_owned())
}
