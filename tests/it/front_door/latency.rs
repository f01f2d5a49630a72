//! No request waits for another connection to close. Behind tiny_http alone one does: opened in a burst, a connection can
//! be queued behind one that is kept, until that one ends (fault 5).

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Door, one_reply};

const CONNECTIONS: usize = 10_000;
const LARGEST_BURST: usize = 100;
/// Kept open until others have been opened after them.
const KEPT: usize = 300;
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn ten_thousand_connections_in_bursts_are_answered_while_all_others_stay_open() {
    let door = Door::open();
    let (mut opened, mut worst, mut kept) = (0, Duration::ZERO, VecDeque::new());
    let mut times = Vec::with_capacity(CONNECTIONS);
    for size in (1..=LARGEST_BURST).cycle() {
        let began = Instant::now();
        let mut burst: Vec<TcpStream> = (0..size).map(|_| door.connect()).collect();
        burst.iter_mut().for_each(|stream| stream.write_all(GET).unwrap());
        // None of them is closed before all have their answer: a request that waited for that would wait for ever.
        for stream in &mut burst {
            assert_eq!(one_reply(stream).status(), 200);
            times.push(began.elapsed());
        }
        // Some stay, and are asked again.
        kept.extend(burst.into_iter().step_by(7));
        kept.drain(..kept.len().saturating_sub(KEPT));
        let place = size % kept.len().min(50);
        let old: &mut TcpStream = &mut kept[place];
        let began = Instant::now();
        old.write_all(GET).unwrap();
        assert_eq!(one_reply(old).status(), 200);
        worst = worst.max(began.elapsed());
        opened += size;
        if opened >= CONNECTIONS {
            break;
        }
    }
    times.sort_unstable();
    println!(
        "{opened} connections in bursts of 1 to {LARGEST_BURST}, {} kept: median {:?}, 99 % {:?}, worst {:?}; worst on a kept one {worst:?}",
        kept.len(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1],
    );
    door.has_kept_its_memory("10,000 connections in bursts");
    drop(kept);
    door.is_unharmed("bursts");
}
