//! What is written without need: an update that gives an indexed column the value that it has takes the row out of the index
//! and puts it in again.

use rusqlite::Connection;
use serde_json::Value;
use tilld::store::inbox;

use crate::harness::Till;
use crate::histories;
use crate::reads::read_now;
use crate::versions::delivered;

/// `(table, column)` of every index of the schema, keys included.
fn indexed(connection: &Connection) -> Vec<(String, String)> {
    let sql =
        "SELECT DISTINCT t.name, i.name FROM sqlite_master t, pragma_index_list(t.name) l, pragma_index_info(l.name) i
        WHERE t.type = 'table' AND i.name IS NOT NULL ORDER BY 1, 2";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// From now on every update is noted that sets columns of an index and changes none of its table's.
fn watch(till: &Till) {
    let connection = till.connection();
    let columns = indexed(&connection);
    assert!(columns.len() > 40, "{columns:?}");
    connection.execute_batch("CREATE TABLE written_again (what TEXT PRIMARY KEY)").unwrap();
    for (table, column) in &columns {
        let of_table = columns.iter().filter(|(other, _)| other == table);
        let same =
            of_table.map(|(_, column)| format!("NEW.{column} IS OLD.{column}")).collect::<Vec<_>>().join(" AND ");
        let sql = format!(
            "CREATE TRIGGER again_{table}_{column} BEFORE UPDATE OF {column} ON {table} WHEN {same}
             BEGIN INSERT OR IGNORE INTO written_again VALUES ('{table}.{column}'); END"
        );
        connection.execute_batch(&sql).unwrap();
    }
}

/// Seldom: an owner stays the same, and what says so is another word.
const SELDOM: [&str; 2] = ["stripe_invoices.user_id", "stripe_payment_intents.user_id"];

fn written_again(till: &Till) -> Vec<String> {
    let connection = till.connection();
    let mut statement = connection.prepare("SELECT what FROM written_again ORDER BY 1").unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).filter(|what: &String| !SELDOM.contains(&what.as_str())).collect()
}

#[test]
fn no_history_writes_an_indexed_column_the_value_that_it_has() {
    let told = [
        histories::trial_to_active(),
        histories::incomplete_to_active_in_one_second(),
        histories::upgrade(),
        histories::cancel_now(),
        histories::past_due_and_recovered(),
        histories::whole_life(),
        histories::item_swapped(),
        histories::deleted_customer(),
        histories::dispute(),
        histories::refund(),
        histories::two_subscriptions(),
        histories::checkout_before_customer(),
        histories::owner_changed(),
        histories::collection_paused(),
    ];
    let mut found: Vec<String> = Vec::new();
    for history in told {
        let mut till = Till::new();
        watch(&till);
        let events: Vec<_> = history.story.steps.iter().filter_map(|step| delivered(step, history.version)).collect();
        till.feed(&events);
        till.store.write(|tx| inbox::replay_all(tx, None)).unwrap();
        till.settle();
        let last = history.story.steps.last().unwrap();
        read_now(&till, &last.object, last.at_s);
        assert_eq!(till.value("SELECT group_concat(error) FROM webhook_attempts"), Value::Null);
        found.extend(written_again(&till));
    }
    found.sort();
    found.dedup();
    assert_eq!(found, Vec::<String>::new());
}
