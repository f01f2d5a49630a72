//! The typed rows of an object and what is derived from them for its owner, cell by cell, so that they can be compared. It
//! must never change a row. Called by `again`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use crate::base::object_kind::ObjectKind;
use crate::store::{StoreError, StoreReader};

/// Rows that depend on an object and are not its own.
struct DependentRows {
    object: &'static str,
    table: &'static str,
    sql: &'static str,
}

const DEPENDENT: [DependentRows; 3] = [
    DependentRows {
        object: "subscription",
        table: "stripe_subscription_items",
        sql: "SELECT * FROM stripe_subscription_items WHERE stripe_subscription_id = ?1 ORDER BY position, stripe_item_id",
    },
    DependentRows {
        object: "subscription",
        table: EFFECTIVE,
        sql: "SELECT * FROM subscriptions WHERE user_id = \
            (SELECT user_id FROM stripe_subscriptions WHERE stripe_subscription_id = ?1)",
    },
    DependentRows {
        object: "invoice",
        table: "payment_failures",
        sql: "SELECT * FROM payment_failures WHERE stripe_invoice_id = ?1",
    },
];

/// The table of answers, which also change by time alone.
const EFFECTIVE: &str = "subscriptions";
/// Not compared, as our own times are not: row numbers, and due times, which depend on when they were computed.
const NOT_COMPARED: [&str; 3] = ["id", "changes_at", "dunning_due_at"];

/// Table, number of the row, column; and the value, written out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TypedRows(BTreeMap<(&'static str, usize, String), String>);

/// The rows of an object of this kind.
pub(crate) fn rows(reader: &StoreReader, kind: &ObjectKind, id: &str) -> Result<TypedRows, StoreError> {
    let own = kind.table.map(|(table, key)| (table, Cow::Owned(format!("SELECT * FROM {table} WHERE {key} = ?1"))));
    let dependent = DEPENDENT.iter().filter(|rows| rows.object == kind.object);
    let mut cells = BTreeMap::new();
    for (table, sql) in own.into_iter().chain(dependent.map(|rows| (rows.table, Cow::Borrowed(rows.sql)))) {
        let rows = reader.list(&sql, [id], |row| {
            let names: Vec<String> = row.as_ref().column_names().map(str::to_owned).collect();
            let cells = names.into_iter().enumerate().map(|(index, name)| Ok((name, written(row.get_ref(index)?))));
            cells.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        for (number, row) in rows.into_iter().enumerate() {
            let kept =
                row.into_iter().filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()) && !name.ends_with("_ms"));
            cells.extend(kept.map(|(name, value)| ((table, number, name), value)));
        }
    }
    Ok(TypedRows(cells))
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

/// Whether the answer of a subscription's owner has changed by time alone and was not computed anew yet.
pub(crate) fn is_answer_due(reader: &StoreReader, subscription_id: &str, now_s: i64) -> Result<bool, StoreError> {
    Ok(reader.find(IS_DUE, (subscription_id, now_s), |_| Ok(()))?.is_some())
}

impl TypedRows {
    #[must_use]
    pub(crate) fn without_answers(mut self) -> Self {
        self.0.retain(|(table, _, _), _| *table != EFFECTIVE);
        self
    }

    /// The `table.column` of each cell that differs.
    #[must_use]
    pub(crate) fn differing(&self, other: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(other.0.keys()).filter(|key| self.0.get(key) != other.0.get(key));
        let mut names: Vec<String> = keys.map(|(table, _, column)| format!("{table}.{column}")).collect();
        names.sort();
        names.dedup();
        names
    }
}
