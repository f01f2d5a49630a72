//! What is known of one user, kind by kind: customers and subscriptions with the word that links them, failed payments with
//! what was sent about them, invoices, payments. Each is read a page at a time. Called by `user`, which shows the beginning
//! of each, and by `all`.

use super::table::{Cell, Table};
use crate::base::money;
use crate::base::ownership::{self, LinkRules, LinkedBy, OwnershipTrace, TraceStep};
use crate::http::dashboard::page::encoded;
use crate::objects::customer::{self, CustomerOfUser};
use crate::objects::dunning_attempts::{self, NoticeEntry};
use crate::objects::failure_case::{self, PaymentFailureEntry};
use crate::objects::invoice::{self, InvoiceRow};
use crate::objects::owner;
use crate::objects::payment_intent::{self, FoundPaymentIntent};
use crate::objects::subscription::FoundSubscription;
use crate::store::{StoreError, StoreReader};

/// How many notices of one case are named.
const NOTICES: u32 = 6;
/// How many items of one subscription are named.
const ITEMS: usize = 5;

/// Where a part is read from, and how much of it.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) reader: &'a StoreReader<'a>,
    pub(super) user_id: &'a str,
    pub(super) rules: &'a LinkRules,
    pub(super) now_ms: i64,
    /// The mode of what does not say its own.
    pub(super) livemode: bool,
    /// After the row with this id.
    pub(super) after: Option<&'a str>,
    /// How many rows are shown.
    pub(super) rows: usize,
}

/// Rows of a kind, and the id of the last one if there are more.
pub(super) type PartRows = (Table, Option<String>);

impl Part<'_> {
    /// One more than is shown.
    fn limit(&self) -> u32 {
        u32::try_from(self.rows).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Takes the row away that only shows that there are more; then the id of the last one that is left.
    fn cut<T>(&self, found: &mut Vec<T>, id: impl Fn(&T) -> &str) -> Option<String> {
        let has_more = found.len() > self.rows;
        found.truncate(self.rows);
        found.last().filter(|_| has_more).map(|last| id(last).to_owned())
    }

    fn table(&self, empty: Table, rows: Vec<Vec<Cell>>, last: Option<&String>) -> Table {
        let all = last.map(|_| format!("user-all?id={}&of={}", encoded(self.user_id), empty.name));
        Table { rows, all, ..empty }
    }

    /// The user's customers, the main one first.
    pub(super) fn customers(&self) -> Result<PartRows, StoreError> {
        let mut found = customer::list_of_user(self.reader, self.user_id, self.after, self.limit())?;
        let last = self.cut(&mut found, |one| &one.id);
        let rows = found.iter().map(|one| self.customer(one)).collect::<Result<_, _>>()?;
        Ok((self.table(CUSTOMERS, rows, last.as_ref()), last))
    }

    fn customer(&self, one: &CustomerOfUser) -> Result<Vec<Cell>, StoreError> {
        let words = owner::words_of_customer(self.reader, &one.id, self.rules)?;
        let trace = trace(one.linked_by, ownership::trace_customer(&words, self.rules));
        let contact: Vec<&str> = [one.name.as_deref(), one.email.as_deref()].into_iter().flatten().collect();
        let state = match (one.deleted, one.delinquent, one.is_main) {
            (true, ..) => "deleted",
            (_, Some(true), _) => "delinquent",
            (_, _, true) => "main",
            _ => "second",
        };
        Ok(vec![
            Cell::object(&one.id, "customers", one.livemode.unwrap_or(self.livemode)),
            Cell::State(state.to_owned()),
            Cell::text(Some(&contact.join(" · "))),
            Cell::Text(trace),
            Cell::s(one.created, self.now_ms),
            unlink(self.user_id, &one.id),
        ])
    }

    /// The user's subscriptions, of which all have been read.
    pub(super) fn subscriptions(&self, all: &[FoundSubscription]) -> Result<PartRows, StoreError> {
        let id = |one: &&FoundSubscription| one.subscription.stripe_subscription_id.clone();
        let begin = self.after.and_then(|after| all.iter().position(|one| id(&one) == after));
        let mut found: Vec<_> = all
            .iter()
            .skip(begin.map_or(0, |index| index.saturating_add(1)))
            .take(self.rows.saturating_add(1))
            .collect();
        let last = self.cut(&mut found, |one| &one.subscription.stripe_subscription_id);
        let rows = found.iter().map(|one| self.subscription(one)).collect::<Result<_, _>>()?;
        Ok((self.table(SUBSCRIPTIONS, rows, last.as_ref()), last))
    }

    fn subscription(&self, one: &FoundSubscription) -> Result<Vec<Cell>, StoreError> {
        let row = &one.subscription;
        let words = owner::words_of_subscription(self.reader, &row.stripe_subscription_id, self.rules)?;
        Ok(vec![
            Cell::object(&row.stripe_subscription_id, "subscriptions", row.livemode),
            Cell::State(if row.deleted { "canceled".to_owned() } else { row.status.clone() }),
            Cell::text(Some(&items(one))),
            Cell::Text(trace(one.linked_by, ownership::trace_object(&words, self.rules))),
            Cell::s(row.current_period_end, self.now_ms),
            Cell::s(one.facts().ends_at(), self.now_ms),
            unlink(self.user_id, &row.stripe_subscription_id),
        ])
    }

    /// The user's failed payments, newest first.
    pub(super) fn failures(&self) -> Result<PartRows, StoreError> {
        let mut found = failure_case::list_of_user(self.reader, self.user_id, self.after, self.limit())?;
        let last = self.cut(&mut found, |one| &one.invoice_id);
        let rows = found.iter().map(|one| self.failure(one)).collect::<Result<_, _>>()?;
        Ok((self.table(FAILURES, rows, last.as_ref()), last))
    }

    fn failure(&self, one: &PaymentFailureEntry) -> Result<Vec<Cell>, StoreError> {
        let notices = dunning_attempts::list_of_case(self.reader, one.id, NOTICES)?;
        let sent: Vec<String> = notices.iter().map(notice).collect();
        let sent = if sent.is_empty() { "nothing".to_owned() } else { sent.join(" · ") };
        Ok(vec![
            Cell::object(&one.invoice_id, "invoices", self.livemode),
            Cell::State(one.resolution.clone().unwrap_or_else(|| "open".to_owned())),
            Cell::money(one.amount_due, one.currency.as_deref()),
            Cell::Number(one.attempt_count.to_string()),
            Cell::text(one.failure_reason.as_deref()),
            Cell::text(Some(&sent)),
            Cell::s(one.next_retry_at.filter(|_| !one.resolved), self.now_ms),
            Cell::s(Some(one.first_failed_at), self.now_ms),
        ])
    }

    /// The user's invoices, newest first.
    pub(super) fn invoices(&self) -> Result<PartRows, StoreError> {
        let mut found = invoice::list_of_user(self.reader, self.user_id, self.after, self.limit())?;
        let last = self.cut(&mut found, |one| &one.stripe_invoice_id);
        let row = |one: &InvoiceRow| {
            let currency = one.currency.as_deref();
            vec![
                Cell::object(&one.stripe_invoice_id, "invoices", one.livemode),
                Cell::State(one.status.clone().unwrap_or_default()),
                Cell::text(one.number.as_deref()),
                Cell::money(one.amount_due, currency),
                Cell::money(one.amount_paid, currency),
                Cell::s(one.created, self.now_ms),
            ]
        };
        Ok((self.table(INVOICES, found.iter().map(row).collect(), last.as_ref()), last))
    }

    /// The user's payments, newest first.
    pub(super) fn payments(&self) -> Result<PartRows, StoreError> {
        let mut found = payment_intent::list_of_user(self.reader, self.user_id, self.after, self.limit())?;
        let last = self.cut(&mut found, |one| &one.intent.stripe_intent_id);
        let row = |one: &FoundPaymentIntent| {
            let intent = &one.intent;
            let error = [intent.error_code.as_deref(), intent.error_message.as_deref()];
            vec![
                Cell::object(&intent.stripe_intent_id, "payments", intent.livemode),
                Cell::State(intent.status.clone()),
                Cell::money(Some(intent.amount_cents), Some(&intent.currency)),
                Cell::text(intent.payment_method_type.as_deref()),
                Cell::text(Some(&error.into_iter().flatten().collect::<Vec<_>>().join(": "))),
                Cell::s(intent.created, self.now_ms),
            ]
        };
        Ok((self.table(PAYMENTS, found.iter().map(row).collect(), last.as_ref()), last))
    }
}

fn unlink(user_id: &str, object_id: &str) -> Cell {
    let link = format!("user-unlink?id={}&object={}", encoded(user_id), encoded(object_id));
    Cell::Link("Unlink", short(object_id), link)
}

/// The rule that links it, and what each rule found.
fn trace(linked_by: Option<LinkedBy>, trace: impl Iterator<Item = TraceStep>) -> String {
    let found: Vec<String> =
        trace.map(|step| format!("{}: {}", step.rule.as_str(), short(&words(&step.found)))).collect();
    format!("{} ({})", linked_by.map_or("nothing", LinkedBy::as_str), found.join(", "))
}

fn words(found: &OwnershipTrace) -> String {
    match found {
        OwnershipTrace::Silent => "nobody".to_owned(),
        OwnershipTrace::Names(user_id) => user_id.clone(),
        OwnershipTrace::Denied(user_id) => format!("{user_id}, said not to be"),
        OwnershipTrace::Several(users) => format!("several: {}", users.join(", ")),
    }
}

fn short(text: &str) -> String {
    crate::http::dashboard::view::Id::new(text).shown
}

/// Its items: price, quantity, amount and interval of each.
fn items(one: &FoundSubscription) -> String {
    let item = |item: &crate::objects::subscription::ItemRow| {
        let price = item.stripe_price_id.as_deref().unwrap_or("no price");
        let amount = item.unit_amount.zip(item.currency.as_deref()).map(|(amount, currency)| {
            let every = match (item.recurring_interval.as_deref(), item.interval_count) {
                (Some(interval), Some(count)) if count > 1 => format!(" every {count} {interval}s"),
                (Some(interval), _) => format!(" a {interval}"),
                _ => String::new(),
            };
            format!(" at {}{every}", money::plain(amount, currency))
        });
        let quantity = item.quantity.filter(|quantity| *quantity != 1).map(|quantity| format!("{quantity} × "));
        format!("{}{price}{}", quantity.unwrap_or_default(), amount.unwrap_or_default())
    };
    let mut all: Vec<String> = one.items.iter().take(ITEMS).map(item).collect();
    if one.items.len() > ITEMS {
        all.push(format!("and {} more", one.items.len().saturating_sub(ITEMS)));
    }
    all.join(" · ")
}

/// A notice, and what became of it.
fn notice(entry: &NoticeEntry) -> String {
    let became = entry.outcome.as_deref().unwrap_or("on its way");
    format!("{} {} {became}", entry.kind, entry.attempt)
}

const CUSTOMERS: Table = Table {
    title: "Customers",
    name: "customers",
    note: "At Stripe. Linked by: the first rule that names somebody decides – said (here or by the application), metadata, \
           its subscriptions.",
    heads: &[
        ("Customer", false),
        ("State", false),
        ("Name, mail", false),
        ("Linked by", false),
        ("Made", false),
        ("", false),
    ],
    rows: Vec::new(),
    all: None,
};
const SUBSCRIPTIONS: Table = Table {
    title: "Subscriptions",
    name: "subscriptions",
    note: "Newest first, with Stripe's own status. A reference gives access and nothing else.",
    heads: &[
        ("Subscription", false),
        ("Status", false),
        ("Items", false),
        ("Linked by", false),
        ("Period ends", false),
        ("Ends", false),
        ("", false),
    ],
    rows: Vec::new(),
    all: None,
};
const FAILURES: Table = Table {
    title: "Failed payments",
    name: "failures",
    note: "One case for each invoice that could not be paid, and the dunning notices about it.",
    heads: &[
        ("Invoice", false),
        ("State", false),
        ("Due", true),
        ("Attempts", true),
        ("Reason", false),
        ("Sent", false),
        ("Next attempt", false),
        ("Since", false),
    ],
    rows: Vec::new(),
    all: None,
};
const INVOICES: Table = Table {
    title: "Invoices",
    name: "invoices",
    note: "Newest first.",
    heads: &[("Invoice", false), ("Status", false), ("Number", false), ("Due", true), ("Paid", true), ("Made", false)],
    rows: Vec::new(),
    all: None,
};
const PAYMENTS: Table = Table {
    title: "Payments",
    name: "payments",
    note: "Payment intents, newest first.",
    heads: &[
        ("Payment", false),
        ("Status", false),
        ("Amount", true),
        ("Method", false),
        ("Error", false),
        ("Made", false),
    ],
    rows: Vec::new(),
    all: None,
};
