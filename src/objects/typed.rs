//! The typed rows of an object and what is derived from them for its owner, cell by cell, so that they can be compared.
//! Called by `projection::again`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use crate::base::object_kind::ObjectKind;
use crate::store::{StoreError, StoreReader};

/// What is kept of an object besides its own row: `(kind, table, rows)`.
const BESIDES: &[(&str, &str, &str)] = &[
    (
        "subscription",
        "stripe_subscription_items",
        "SELECT * FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 ORDER BY position, stripe_item_id",
    ),
    (
        "subscription",
        EFFECTIVE,
        "SELECT * FROM subscriptions WHERE user_id = \
        (SELECT user_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1)",
    ),
    ("invoice", "payment_failures", "SELECT * FROM payment_failures WHERE stripe_invoice_id = ?1"),
];

/// The table of answers, which also change by time alone.
const EFFECTIVE: &str = "subscriptions";
/// Row numbers, and when something falls due, which depends on when it was computed. So do our own times.
const NOT_COMPARED: [&str; 3] = ["id", "changes_at", "dunning_due_at"];

/// Table, number of the row, column; and the value, written out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rows(BTreeMap<(&'static str, usize, String), String>);

/// The rows of an object of this kind.
///
/// # Errors
/// When the database cannot be read.
pub fn rows(reader: &StoreReader, kind: &ObjectKind, id: &str) -> Result<Rows, StoreError> {
    let own = kind.table.map(|(table, key)| (table, Cow::Owned(format!("SELECT * FROM {table} WHERE {key} = ?1"))));
    let besides = BESIDES.iter().filter(|(object, ..)| *object == kind.object);
    let mut cells = BTreeMap::new();
    for (table, sql) in own.into_iter().chain(besides.map(|(_, table, sql)| (*table, Cow::Borrowed(*sql)))) {
        let rows = reader.list(&sql, [id], |row| {
            let names: Vec<String> = row.as_ref().column_names().map(str::to_owned).collect();
            let cells = names.into_iter().enumerate().map(|(place, name)| Ok((name, written(row.get_ref(place)?))));
            cells.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (number, row) in rows.into_iter().enumerate() {
            let kept =
                row.into_iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()) && !name.ends_with("_ms"));
            cells.extend(kept.map(|(name, value)| ((table, number, name), value)));
        }
    }
    Ok(Rows(cells))
}

fn written(value: ValueRef) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("{bytes:?}"),
    }
}

const IS_DUE: &str = "SELECT 1 FROM subscriptions WHERE changes_at <= ?2 AND user_id =
    (SELECT user_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1)";

/// Whether the answer about a subscription's owner has changed by time alone, and nobody has looked yet.
///
/// # Errors
/// When the database cannot be read.
pub fn is_answer_due(reader: &StoreReader, subscription_id: &str, now_s: i64) -> Result<bool, StoreError> {
    Ok(reader.find(IS_DUE, (subscription_id, now_s), |_| Ok(()))?.is_some())
}

impl Rows {
    /// Without the answers.
    #[must_use]
    pub fn without_answers(mut self) -> Self {
        self.0.retain(|(table, _, _), _| *table != EFFECTIVE);
        self
    }

    /// `table.column` of what is not the same in both.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys()).filter(|key| self.0.get(key) != other.0.get(key));
        let mut names: Vec<String> = keys.map(|(table, _, column)| format!("{table}.{column}")).collect();
        names.sort();
        names.dedup();
        names
    }
}
