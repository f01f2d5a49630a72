//! Databases with many events in them.

use std::path::Path;

use rusqlite::Connection;
use tilld::store::engine::schema;
use tilld::stripe::event;

use crate::daemon::Daemon;
use crate::event::{Source, now_ms};

/// Rows in one transaction.
const TRANSACTION: u64 = 10_000;

const INSERT: &str = "INSERT INTO stripe_webhooks_log
    (event_id, event_type, livemode, account, api_version, event_created, object_type, object_id, created_at_ms, data)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Appends events that wait for their projection.
pub fn append(database: &Path, source: &Source, count: u64) {
    schema::up(database, now_ms()).unwrap();
    let connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    let mut left = count;
    while left > 0 {
        let part = left.min(TRANSACTION);
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        (0..part).for_each(|_| append_one(&connection, &source.make()));
        connection.execute_batch("COMMIT").unwrap();
        left -= part;
    }
}

fn append_one(connection: &Connection, body: &[u8]) {
    let event = event::envelope(body).unwrap();
    let params = rusqlite::params![
        event.id,
        event.event_type,
        event.livemode,
        event.account,
        event.api_version,
        event.created,
        event.object_type,
        event.object_id,
        now_ms(),
        std::str::from_utf8(body).unwrap()
    ];
    connection.prepare_cached(INSERT).unwrap().execute(params).unwrap();
}

/// A database with so many processed events; the daemon itself projects them.
pub fn fill(database: &Path, source: &Source, count: u64) {
    append(database, source, count);
    let began = std::time::Instant::now();
    Daemon::start(database).settle();
    eprintln!("{count} events projected in {:.1} s", began.elapsed().as_secs_f64());
}
