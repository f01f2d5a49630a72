//! How things stand now, in numbers: subscriptions, what they bring a month, who owes, what waits. Read from totals and small
//! indexes, so that no table is scanned. It must never write. Called by `jobs::levels`, which keeps it once an hour, and by
//! `figures`.

use crate::base::mrr::MrrState;
use crate::store::engine::row::{self, columns, select};
use crate::store::figures::{self, Level};
use crate::store::{StoreError, StoreReader};

/// Subscriptions by state.
pub(crate) const SUBSCRIPTIONS: &str = "subscriptions";
/// Minor units a month; the label is currency/state.
pub(crate) const MRR: &str = "mrr";
/// Users who own a subscription that a payment is missing for.
pub(crate) const DELINQUENT_USERS: &str = "delinquent_users";
/// Minor units of invoices whose payment failed and that are still owed, by currency.
pub(crate) const MONEY_AT_RISK: &str = "money_at_risk";
/// Effects that wait, by kind.
pub(crate) const OUTBOX_PENDING: &str = "outbox_pending";
/// Effects that were given up, by kind.
pub(crate) const OUTBOX_FAILED: &str = "outbox_failed";

/// Kinds of effects, as the outbox has them.
const KINDS_OF_EFFECTS: [&str; 3] = ["mail", "webhook", "stripe_call"];

columns! {
    /// What the subscriptions of one currency and state bring a month.
    pub(crate) struct MrrTotal {
        currency: String,
        state: String,
        subscriptions: i64,
        /// Minor units.
        amount: i64 = "(thousandths + 500) / 1000",
        tiered_items: i64,
        metered_items: i64,
        other_items: i64,
        unknown_discounts: i64,
    }
}

/// What subscriptions bring a month, by currency and state.
pub(crate) fn list_mrr(reader: &StoreReader) -> Result<Vec<MrrTotal>, StoreError> {
    reader.list(select!(MrrTotal, "FROM mrr_now ORDER BY currency, state"), [], MrrTotal::read)
}

/// How everything stands. Closed lists are whole, with zeros.
pub(crate) fn list(reader: &StoreReader) -> Result<Vec<Level>, StoreError> {
    let mut levels = Vec::new();
    let mut add = |name: &str, label: &str, value: i64| {
        levels.push(Level { name: name.to_owned(), label: label.to_owned(), value });
    };
    let totals = list_mrr(reader)?;
    for state in MrrState::ALL {
        let of_state = totals.iter().filter(|total| total.state == state.as_str());
        add(SUBSCRIPTIONS, state.as_str(), of_state.map(|total| total.subscriptions).sum());
    }
    for total in &totals {
        add(MRR, &format!("{}/{}", total.currency, total.state), total.amount);
    }
    add(DELINQUENT_USERS, "", count_delinquent(reader)?);
    for (currency, amount) in list_at_risk(reader)? {
        add(MONEY_AT_RISK, &currency, amount);
    }
    for (name, counted) in [OUTBOX_PENDING, OUTBOX_FAILED].into_iter().zip(figures::count_outbox(reader)?) {
        for kind in KINDS_OF_EFFECTS {
            let count = counted.iter().find(|(known, _)| known == kind).map_or(0, |(_, count)| *count);
            add(name, kind, count);
        }
    }
    Ok(levels)
}

fn count_delinquent(reader: &StoreReader) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(DISTINCT user_id) FROM stripe_subscriptions WHERE grace_started_at IS NOT NULL";
    reader.get(SQL, [], row::only)
}

fn list_at_risk(reader: &StoreReader) -> Result<Vec<(String, i64)>, StoreError> {
    const SQL: &str = "SELECT iif(length(currency) <= 8, currency, 'other'), sum(min(max(amount_due, 0), 999999999999))
        FROM payment_failures WHERE resolved = 0 AND amount_due IS NOT NULL GROUP BY 1 ORDER BY 1";
    reader.list(SQL, [], row::tuple)
}
