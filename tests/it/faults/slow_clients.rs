//! The worst hour: 500 clients that dawdle, a disk with hardly any room, and then `kill -9`.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rusqlite::Connection;

use super::{Disk, event};
use crate::harness::PATH;
use crate::live::{Live, database};

const SLOW_CLIENTS: usize = 500;
const SENDERS: usize = 4;
/// Refusals for want of room, after which the process is killed.
const REFUSALS: usize = 8;

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_with_500_slow_clients_and_a_nearly_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    match Disk::mount(dir.path(), 8192) {
        Some(disk) => {
            let live = Live::launch(disk.serve());
            disk.fill(2048);
            let acknowledged = until_killed(live);
            disk.empty();
            settle(Live::launch(disk.serve()));
            check(&database(disk.copied().path()), &acknowledged);
        }
        None => {
            eprintln!("a limit on the size of files stands for the full disk");
            let acknowledged = until_killed(Live::start_on_full_disk(dir.path(), 4096));
            settle(Live::start(dir.path()));
            check(&database(dir.path()), &acknowledged);
        }
    }
}

/// Loads the daemon until it has refused some for want of room, and kills it in the middle of it. What it acknowledged.
fn until_killed(live: Live) -> HashSet<String> {
    let slow: Vec<TcpStream> = (0..SLOW_CLIENTS).map(|number| slow_client(&live.public, number)).collect();
    let (refusals, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let address = live.public.clone();
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (refusals, killed, address) = (&refusals, &killed, address.as_str());
                scope.spawn(move || send(sender, address, refusals, killed))
            })
            .collect();
        super::eventually("the disk is full", || refusals.load(Ordering::SeqCst) >= REFUSALS);
        live.kill();
        killed.store(true, Ordering::SeqCst);
        drop(slow);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    })
}

/// Begins a request and leaves it at that; how far it got differs.
fn slow_client(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{{\"id\":\"evt_slow\"");
    stream.write_all(&request.as_bytes()[..1 + number % (request.len() - 1)]).unwrap();
    stream
}

fn send(sender: usize, address: &str, refusals: &AtomicUsize, killed: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let event = event(sender * 1_000_000 + number);
        match crate::live::post_to(address, event.to_string().as_bytes()) {
            Ok(answer) if answer.status == 200 => acknowledged.push(event["id"].as_str().unwrap().to_owned()),
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{}", answer.body);
                assert!(answer.body.contains("database_unavailable"), "{}", answer.body);
                refusals.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                super::eventually(&format!("a connection fails only by the kill: {error}"), || {
                    killed.load(Ordering::SeqCst)
                });
                break;
            }
        }
    }
    acknowledged
}

fn settle(live: Live) {
    live.settle();
    assert_eq!(live.terminate(), Some(0));
}

fn check(path: &Path, acknowledged: &HashSet<String>) {
    assert!(acknowledged.len() > 20, "too little load: {}", acknowledged.len());
    let connection = Connection::open(path).unwrap();
    let ids = |sql: &str| {
        let mut statement = connection.prepare(sql).unwrap();
        let ids = statement.query_map([], |row| row.get(0)).unwrap();
        ids.map(Result::unwrap).collect::<HashSet<String>>()
    };
    let done = ids("SELECT event_id FROM stripe_webhooks_log WHERE status = 'processed'");
    let missing: Vec<_> = acknowledged.difference(&done).collect();
    assert!(missing.is_empty(), "acknowledged, but not processed: {missing:?}");
    assert_eq!(ids("SELECT event_id FROM stripe_webhooks_log"), done, "nothing is stuck");
    assert_eq!(ids("SELECT stripe_event_id FROM webhook_attempts"), HashSet::new(), "no event was blamed");
    assert_eq!(ids("PRAGMA integrity_check"), HashSet::from(["ok".to_owned()]));
}
