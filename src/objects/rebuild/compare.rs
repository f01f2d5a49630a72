//! Row by row: what of the derived tables is not the same in the old file and in the new one.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use super::tables::{ComparedRows, TABLES};
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader};

/// One value that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Table or view.
    pub table: &'static str,
    /// What tells the row from others.
    pub key: String,
    /// Which column; empty where the whole row is there only once.
    pub column: String,
    /// In the present file; `None`: there is no such row.
    pub present: Option<String>,
    /// In the rebuilt one.
    pub rebuilt: Option<String>,
}

/// Times of our own that are Stripe's.
const DERIVED_TIMES: [&str; 2] = ["resolved_at_ms", "at_ms"];
/// When something falls due, which depends on when that was computed; and row numbers of readings.
const NOT_COMPARED: [&str; 5] = ["changes_at", "dunning_due_at", "same_reading_id", "same_log_id", "before_log_id"];

fn is_compared(table: &str, key: &[&str], name: &str) -> bool {
    let own_time = name.ends_with("_ms") && !DERIVED_TIMES.contains(&name);
    let numbered = name == "id" && !key.contains(&"id");
    // The body of the log is copied; that of a reading may be found in another row.
    let body = name == "data" && table != "stripe_objects";
    !own_time && !numbered && !body && !NOT_COMPARED.contains(&name)
}

/// Rows that must not be the same.
fn left_out(table: &str) -> &'static str {
    match table {
        // What is about nothing that Stripe sent is taken over.
        "audit_log" => "stripe_event_id IS NOT NULL",
        // Such an answer has changed by time alone, and nobody has looked yet.
        "subscriptions" => "user_id NOT IN (SELECT user_id FROM old.subscriptions WHERE changes_at <= ?1)",
        _ => "1",
    }
}

/// Name and value of the columns of a row.
type RowCells = Vec<(String, String)>;

/// Everything that differs.
pub fn differences(reader: &StoreReader, now_s: i64) -> Result<Vec<Difference>, StoreError> {
    let mut found = Vec::new();
    for ComparedRows { source: table, key } in TABLES.iter().filter_map(|table| table.compared) {
        let columns = columns(reader, table, key)?;
        if columns.is_empty() {
            continue;
        }
        let mut present = only_in(reader, ("old", "main"), (table, key, &columns), now_s)?;
        let rebuilt = only_in(reader, ("main", "old"), (table, key, &columns), now_s)?;
        for (key, after) in rebuilt {
            let before = present.remove(&key);
            found.extend(of_row(table, &key, before, Some(after)));
        }
        for (key, before) in present {
            found.extend(of_row(table, &key, Some(before), None));
        }
    }
    Ok(found)
}

/// Columns that both files have and that are compared.
fn columns(reader: &StoreReader, table: &str, key: &[&str]) -> Result<Vec<String>, StoreError> {
    const SQL: &str = "SELECT n.name FROM pragma_table_info(?1, 'main') n
        JOIN pragma_table_info(?1, 'old') o ON o.name = n.name ORDER BY n.cid";
    let names: Vec<String> = reader.list(SQL, [table], row::only)?;
    Ok(names.into_iter().filter(|name| is_compared(table, key, name)).collect())
}

fn only_in(
    reader: &StoreReader,
    (here, there): (&str, &str),
    (table, key, columns): (&str, &[&str], &[String]),
    now_s: i64,
) -> Result<BTreeMap<String, RowCells>, StoreError> {
    let (names, which) = (columns.join(", "), left_out(table));
    let sql = format!(
        "SELECT {names} FROM {here}.{table} WHERE {which} AND ?1 IS ?1
         EXCEPT SELECT {names} FROM {there}.{table} WHERE {which}"
    );
    let rows = reader.list(&sql, [now_s], |row| {
        let cells = columns.iter().enumerate().map(|(place, name)| Ok((name.clone(), written(row.get_ref(place)?))));
        cells.collect::<rusqlite::Result<RowCells>>()
    })?;
    let key_of = |cells: &RowCells| {
        let values = key.iter().filter_map(|name| cells.iter().find(|(column, _)| column == name));
        values.map(|(_, value)| value.trim_matches('\'').to_owned()).collect::<Vec<_>>().join(" ").trim().to_owned()
    };
    Ok(rows.into_iter().map(|cells| (key_of(&cells), cells)).collect())
}

fn of_row(table: &'static str, key: &str, before: Option<RowCells>, after: Option<RowCells>) -> Vec<Difference> {
    let one = |column: &str, present, rebuilt| Difference {
        table,
        key: key.to_owned(),
        column: column.to_owned(),
        present,
        rebuilt,
    };
    let told = |cells: RowCells| {
        cells.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    match (before, after) {
        (Some(before), Some(after)) => before
            .into_iter()
            .zip(after)
            .filter(|((_, was), (_, is))| was != is)
            .map(|((name, was), (_, is))| one(&name, Some(was), Some(is)))
            .collect(),
        (before, after) => vec![one("", before.map(told), after.map(told))],
    }
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
