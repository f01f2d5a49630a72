//! What becomes of a mail is noted with the notice that it tells, before the next mail is sent, and each is judged again
//! before it is sent.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tilld::notify::attempt::{DeliveryOutcome, MAIL};

use rusqlite::Connection;
use tilld::jobs::lane::{DeliveryLane, LaneKind};
use tilld::notify::notice::failed_payment::HOLD_MS;
use tilld::store::engine::schema;
use tilld::store::outbox::OutboxEffect;
use tilld::store::outbox::deliveries;

use super::{START_MS, Stepper};
use crate::dunning::{failed, told_till};
use crate::harness::{START_S, Till};
use crate::live::{Live, database};
use crate::mail::server::{MailServer, Manners};

#[test]
fn a_notice_knows_whether_its_mail_was_sent_refused_or_waits() {
    let mut till = told_till();
    for user in ["alice", "bob", "carol"] {
        till.feed(&[crate::samples::event("customer.created", user, START_S, &[]), failed(user, START_S, 1)]);
    }
    let attempt = Box::new(|effect: &OutboxEffect, _| match effect.user_id.as_deref() {
        Some("alice") => DeliveryOutcome::Done(Some("250 ok".to_owned())),
        Some("bob") => DeliveryOutcome::Refused("550 no such mailbox".to_owned()),
        _ => DeliveryOutcome::TryAgain { why: "no connection".to_owned(), after_s: None },
    });
    let mut lane = Stepper::over(&till, DeliveryLane::new(till.store.clone(), MAIL, LaneKind::Mail, attempt));
    assert_eq!(lane.settle(), 0, "Stripe may say more about these attempts");
    till.clock.advance(HOLD_MS);
    assert_eq!(lane.settle(), 3);
    let of = |user: &str, column: &str| {
        till.value(&format!("SELECT {column} FROM dunning_attempts WHERE user_id = '{user}' AND outbox_id IS NOT NULL"))
    };
    assert_eq!((of("alice", "email_sent"), of("alice", "outcome")), (1.into(), "sent".into()));
    assert_eq!(of("alice", "email_sent_at_ms"), START_MS + HOLD_MS);
    assert_eq!((of("bob", "email_sent"), of("bob", "outcome")), (0.into(), "failed: 550 no such mailbox".into()));
    assert_eq!((of("carol", "email_sent"), of("carol", "outcome")), (0.into(), serde_json::Value::Null));
    let standing = "SELECT group_concat(status, ' ') FROM (SELECT status FROM outbox WHERE kind = 'mail' ORDER BY id)";
    assert_eq!(till.value(standing), "done failed pending");
}

/// So many mails that wait, each to somebody else.
fn fill(connection: &Connection, count: usize) {
    let sql = "INSERT INTO outbox (kind, dedupe_key, target, payload, next_attempt_at_ms, created_at_ms)
        VALUES ('mail', ?1, 'mail', ?2, ?3, ?3)";
    connection.execute_batch("BEGIN").unwrap();
    for number in 0..count {
        let payload =
            format!("{{\"notice\":\"test\",\"to\":\"user{number}@example.com\",\"facts\":{{}},\"user\":{{}}}}");
        connection.execute(sql, (format!("mail:test:{number}"), payload, START_MS)).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn configure(dir: &Path, port: u16) {
    let text = format!(
        "[notify]\nmail = true\nfrom = \"billing@shop.example\"\n[notify.smtp]\nhost = \"127.0.0.1\"\nsecurity = \"none\"\nport = {port}\n"
    );
    let file = dir.join("config.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn while_a_mail_cannot_be_recorded_no_other_is_sent_and_none_is_sent_again() {
    let till = Till::new();
    fill(&till.connection(), 5);
    let sent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sent);
    let attempt = Box::new(move |effect: &OutboxEffect, _| {
        kept.lock().unwrap().push(effect.id);
        DeliveryOutcome::Done(None)
    });
    let mut lane = Stepper::over(&till, DeliveryLane::new(till.store.clone(), MAIL, LaneKind::Mail, attempt));
    let refusal = "CREATE TRIGGER refused BEFORE UPDATE ON outbox WHEN NEW.status = 'done'
        BEGIN SELECT raise(ABORT, 'refused'); END";
    till.connection().execute_batch(refusal).unwrap();
    for _ in 0..3 {
        assert!(lane.try_step().is_err());
    }
    assert_eq!(sent.lock().unwrap().len(), 1, "the batch stops at the first");
    till.connection().execute_batch("DROP TRIGGER refused").unwrap();
    lane.settle();
    let ids = sent.lock().unwrap().clone();
    assert!(ids.len() == 5 && ids.is_sorted_by(|one, next| one < next), "{ids:?}");
}

#[test]
fn an_attempt_in_which_the_process_died_counts_and_a_mail_that_kills_it_is_given_up() {
    let till = Till::new();
    fill(&till.connection(), 2);
    for death in 1..=8 {
        let claimed = till.store.write(|tx| deliveries::claim(tx, MAIL, 1, START_MS)).unwrap();
        assert_eq!(claimed.effects[0].attempts, death);
        let (rescued, spent) = till.store.write(|tx| tilld::jobs::lane::rescue(tx, START_MS)).unwrap();
        assert_eq!((rescued, spent.len()), if death < 8 { (1, 0) } else { (0, 1) }, "death {death}");
    }
    assert_eq!(till.value("SELECT group_concat(status, ' ') FROM outbox"), "failed pending");
}

#[test]
fn over_twelve_kills_in_the_middle_of_three_hundred_mails_one_at_most_is_doubled_by_each_and_none_is_lost() {
    const MAILS: usize = 300;
    const KILLS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(Manners::default());
    configure(dir.path(), server.port);
    schema::up(&database(dir.path()), START_MS).unwrap();
    fill(&Connection::open(database(dir.path())).unwrap(), MAILS);
    let wait = |count: usize| {
        let began = Instant::now();
        while server.mails().len() < count {
            assert!(began.elapsed() < Duration::from_secs(60), "{} of {count}", server.mails().len());
            std::thread::sleep(Duration::from_micros(500));
        }
    };
    for kill in 1..=KILLS {
        let live = Live::start(dir.path());
        wait(MAILS * kill / (KILLS + 1));
        live.kill();
    }
    let live = Live::start(dir.path());
    let left = || {
        let connection = Connection::open(database(dir.path())).unwrap();
        let sql = "SELECT count(*) FROM outbox WHERE status <> 'done'";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let began = Instant::now();
    while left() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} are left", left());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(live.terminate(), Some(0));
    let mut by_person: BTreeMap<String, usize> = BTreeMap::new();
    server.mails().iter().for_each(|mail| *by_person.entry(mail.to[0].clone()).or_default() += 1);
    assert_eq!(by_person.len(), MAILS, "none is lost");
    let doubled: Vec<_> = by_person.iter().filter(|(_, count)| **count > 1).collect();
    assert!(server.mails().len() <= MAILS + KILLS, "{doubled:?}");
    eprintln!("{KILLS} kills, {} mails to {MAILS} people, twice to {}", server.mails().len(), doubled.len());
}

#[test]
fn a_mail_server_that_says_nothing_does_not_hold_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let server = MailServer::start(Manners { hangs_after: Some("MAIL"), ..Manners::default() });
    configure(dir.path(), server.port);
    schema::up(&database(dir.path()), START_MS).unwrap();
    fill(&Connection::open(database(dir.path())).unwrap(), 3);
    let live = Live::start(dir.path());
    let began = Instant::now();
    while !server.commands().iter().any(|command| command.starts_with("MAIL")) {
        assert!(began.elapsed() < Duration::from_secs(20), "no mail is sent");
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = Instant::now();
    assert_eq!(live.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let connection = Connection::open(database(dir.path())).unwrap();
    let standing: String = connection
        .query_row("SELECT group_concat(status || ' ' || attempts, ', ') FROM outbox", [], |row| row.get(0))
        .unwrap();
    assert_eq!(standing, "pending 0, pending 0, pending 0", "what was broken off is no attempt");
}
