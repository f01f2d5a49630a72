//! Row by row: what differs between the derived tables of the old file and those of the new one. It must never compare what
//! depends on when it was computed. Called by `jobs::rebuild`.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;

use super::tables::TABLES;
use crate::objects::kinds;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader};

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Table or view.
    pub table: &'static str,
    /// The values that tell the row from others.
    pub key: String,
    /// The column; empty where only one of the files has the row.
    pub column: String,
    /// In the present file; `None`: there is no such row.
    pub present: Option<String>,
    /// In the rebuilt one.
    pub rebuilt: Option<String>,
}

/// Columns that look like times of our own and are times of Stripe's.
const DERIVED_TIMES: [&str; 2] = ["resolved_at_ms", "at_ms"];
/// Due times, which depend on when they were computed, and row numbers of readings.
const NOT_COMPARED: [&str; 5] = ["changes_at", "dunning_due_at", "same_reading_id", "same_log_id", "before_log_id"];

fn is_compared(table: &str, key: &[&str], name: &str) -> bool {
    let own_time = name.ends_with("_ms") && !DERIVED_TIMES.contains(&name);
    let numbered = name == "id" && !key.contains(&"id");
    // The JSON in the log is copied; that of a reading may be in another row.
    let body = name == "data" && table != "stripe_objects";
    // How the order guard came to its decision, which depends on the order of arrival; the decision does not.
    let way = name == "contested" && table == "stripe_objects";
    !own_time && !numbered && !body && !way && !NOT_COMPARED.contains(&name)
}

/// Which rows of a table have to be the same, in SQL.
fn compared_rows(table: &str) -> &'static str {
    match table {
        // Entries about nothing that Stripe sent are taken over.
        "audit_log" => "stripe_event_id IS NOT NULL",
        // An answer that has changed by time alone and was not computed anew yet differs rightly.
        "subscriptions" => "user_id NOT IN (SELECT user_id FROM old.subscriptions WHERE changes_at <= ?1)",
        // The same of a discount that has ended.
        "stripe_subscriptions" => {
            "stripe_subscription_id NOT IN (SELECT stripe_subscription_id FROM old.stripe_subscriptions
                WHERE mrr_changes_at <= ?1)"
        }
        "mrr_now" => "NOT EXISTS (SELECT 1 FROM old.stripe_subscriptions WHERE mrr_changes_at <= ?1)",
        _ => "1",
    }
}

/// Name and value of the columns of a row.
type RowCells = Vec<(String, String)>;

/// A table, the columns that tell its rows apart, and those that are compared.
struct ComparedTable {
    table: &'static str,
    key: Vec<&'static str>,
    columns: Vec<String>,
}

fn compared_tables(reader: &StoreReader) -> Result<Vec<ComparedTable>, StoreError> {
    let of_kinds = kinds::all().filter_map(|kind| kind.table).map(|(table, id)| (table, vec![id]));
    let others = TABLES.iter().filter_map(|table| table.compared).map(|rows| (rows.source, rows.key.to_vec()));
    let mut found = Vec::new();
    for (table, key) in others.chain(of_kinds) {
        let columns = columns(reader, table, &key)?;
        found.push(ComparedTable { table, key, columns });
    }
    found.retain(|table| !table.columns.is_empty());
    Ok(found)
}

/// Which of the two files has rows that the other has not.
#[derive(Clone, Copy)]
enum OnlyIn {
    Old,
    New,
}

/// Everything that differs.
pub(crate) fn differences(reader: &StoreReader, now_s: i64) -> Result<Vec<Difference>, StoreError> {
    let mut found = Vec::new();
    for compared in compared_tables(reader)? {
        let mut present = rows_only_in(reader, OnlyIn::Old, &compared, now_s)?;
        let rebuilt = rows_only_in(reader, OnlyIn::New, &compared, now_s)?;
        for (key, after) in rebuilt {
            let before = present.remove(&key);
            found.extend(of_row(compared.table, &key, before, Some(after)));
        }
        for (key, before) in present {
            found.extend(of_row(compared.table, &key, Some(before), None));
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

fn rows_only_in(
    reader: &StoreReader,
    which: OnlyIn,
    compared: &ComparedTable,
    now_s: i64,
) -> Result<BTreeMap<String, RowCells>, StoreError> {
    let ComparedTable { table, key, columns } = compared;
    let (here, there) = match which {
        OnlyIn::Old => ("old", "main"),
        OnlyIn::New => ("main", "old"),
    };
    let (names, rows) = (columns.join(", "), compared_rows(table));
    let sql = format!(
        "SELECT {names} FROM {here}.{table} WHERE {rows} AND ?1 IS ?1
         EXCEPT SELECT {names} FROM {there}.{table} WHERE {rows}"
    );
    let rows = reader.list(&sql, [now_s], |row| {
        let cells = columns.iter().enumerate().map(|(index, name)| Ok((name.clone(), written(row.get_ref(index)?))));
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
    let whole = |cells: RowCells| {
        cells.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    match (before, after) {
        (Some(before), Some(after)) => before
            .into_iter()
            .zip(after)
            .filter(|((_, was), (_, is))| was != is)
            .map(|((name, was), (_, is))| one(&name, Some(was), Some(is)))
            .collect(),
        (before, after) => vec![one("", before.map(whole), after.map(whole))],
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
