//! Many at once: idle ones, slow ones, large ones, ones that reset. What is normal passes meanwhile, and what was taken is
//! given back.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Door, connect, event, post, rest, wait_until};
use crate::live::{self, Live};

/// Sends each of `streams` up to `bytes` of its body, as far as the door takes them, without waiting for any.
fn pour(streams: &mut [TcpStream], bytes: usize) {
    let piece = vec![b'x'; 64 * 1024];
    let mut left: Vec<usize> = vec![bytes; streams.len()];
    let mut idle_rounds = 0;
    while idle_rounds < 20 && left.iter().any(|left| *left > 0) {
        let mut moved = 0;
        for (stream, left) in streams.iter_mut().zip(&mut left) {
            match stream.write(&piece[..piece.len().min(*left)]) {
                Ok(count) => {
                    *left -= count;
                    moved += count;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => *left = 0,
            }
        }
        idle_rounds = if moved == 0 { idle_rounds + 1 } else { 0 };
        if moved == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn slow_bodies(door: &Door, count: usize, headers: &str) -> Vec<TcpStream> {
    let head = post(headers, "");
    let open = |_| {
        let mut stream = door.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

#[test]
fn two_thousand_idle_connections_take_at_most_the_cap_and_nobody_else_waits() {
    let door = Door::open();
    let idle: Vec<TcpStream> = (0..2000).map(|_| door.connect()).collect();
    door.answers_promptly();
    wait_until(|| door.connections() <= 512, || format!("{} connections", door.connections()));
    door.has_kept_its_memory("2,000 idle connections, while they are there");
    drop(idle);
    door.is_unharmed("2,000 idle connections");
}

#[test]
fn more_idle_connections_than_open_files_do_not_make_it_deaf() {
    let door = Door::start("", |dir| Live::start_with_few_files(dir, 460));
    door.live.logged(&["limits.connections = 512 is too many: with 460 open files"]);
    let idle: Vec<TcpStream> = (0..500).map(|_| door.connect()).collect();
    for _ in 0..10 {
        door.answers_promptly();
    }
    assert!(door.count("fd") < 460, "{} open files", door.count("fd"));
    drop(idle);
    door.is_unharmed("500 idle connections with 460 open files");
}

#[test]
fn five_hundred_slow_bodies_leave_room_for_the_others() {
    let door = Door::with_limits("request_timeout_s = 4");
    let mut slow = slow_bodies(&door, 500, "Content-Length: 1048576\r\n");
    pour(&mut slow, 64 * 1024);
    door.answers_promptly();
    door.has_kept_its_memory("500 slow bodies of 64 KiB, while they are there");
    // Those that had room were too slow, the others had none.
    let codes: Vec<(u16, String)> = slow.into_iter().map(refusal).collect();
    let of = |code: &str| codes.iter().filter(|(_, found)| found == code).count();
    assert_eq!((of("request_timeout") + of("too_many_bodies"), of("request_timeout") > 0), (500, true), "{codes:?}");
    assert!(of("too_many_bodies") > 400, "{codes:?}");
    door.is_unharmed("500 slow bodies of 64 KiB");
}

/// Half a request, again and again on `count` connections, until `over`; how many were sent away meanwhile.
fn half_send(address: &str, count: usize, over: &AtomicBool, sent_away: &AtomicUsize) {
    let half = |_| {
        let mut stream = connect(address);
        // It may be told 503 before it is read.
        let _ = stream.write_all(post("Content-Length: 5000\r\n", "{").as_bytes());
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let mut streams: Vec<TcpStream> = (0..count).map(half).collect();
    while !over.load(Ordering::SeqCst) {
        for stream in &mut streams {
            let waits = stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            if !waits {
                sent_away.fetch_add(1, Ordering::SeqCst);
                *stream = half(0);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Repeats `call` until it is answered with `status`; how long that took.
fn until_answered(status: u16, mut call: impl FnMut() -> Option<u16>) -> Duration {
    let began = Instant::now();
    while call() != Some(status) {
        assert!(began.elapsed() < super::PATIENCE, "not answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn seven_hundred_half_sent_requests_on_each_listener_shut_nobody_out() {
    const HALVES: usize = 700;
    let door = Door::open();
    let (over, sent_away) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut webhooks, mut calls) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for address in [&door.live.public, &door.live.private] {
            scope.spawn(|| half_send(address, HALVES, &over, &sent_away));
        }
        wait_until(|| door.connections() >= 1000, || format!("only {} connections", door.connections()));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(6) {
            let body = event().to_string();
            webhooks.push(until_answered(200, || door.live.post(body.as_bytes()).ok().map(|answer| answer.status)));
            let path = "/api/v1/users/none/entitlement";
            let ask = || live::try_ask(&door.live.private, "GET", path, &[], &serde_json::Value::Null);
            calls.push(until_answered(404, || ask().ok().map(|(status, _)| status)));
        }
        over.store(true, Ordering::SeqCst);
    });
    let worst = |took: &[Duration]| took.iter().max().copied().unwrap();
    println!(
        "{HALVES} half-sent requests on each listener: {} webhooks, worst {:?}; {} calls, worst {:?}; {} sent away",
        webhooks.len(),
        worst(&webhooks),
        calls.len(),
        worst(&calls),
        sent_away.load(Ordering::SeqCst)
    );
    assert!(worst(&webhooks) < Duration::from_secs(2) && worst(&calls) < Duration::from_secs(2));
    door.is_unharmed("700 half-sent requests on each listener");
}

fn refusal(stream: TcpStream) -> (u16, String) {
    stream.set_nonblocking(false).unwrap();
    let reply = rest(stream);
    assert_eq!(reply.status() == 503, reply.has("Retry-After: 1"));
    reply.refusal()
}

#[test]
fn all_connections_with_nearly_complete_bodies_do_not_fill_the_memory() {
    let door = Door::with_limits("request_timeout_s = 4");
    for (attack, headers) in [
        ("500 bodies of 900 KiB", "Content-Length: 1048576\r\n"),
        ("500 chunked bodies of 900 KiB", "Transfer-Encoding: chunked\r\n"),
    ] {
        let mut slow = slow_bodies(&door, 500, headers);
        if headers.starts_with("Transfer") {
            slow.iter_mut().for_each(|stream| stream.write_all(b"100000\r\n").unwrap());
        }
        pour(&mut slow, 900 * 1024);
        door.answers_promptly();
        door.has_kept_its_memory(&format!("{attack}, while they are there"));
        drop(slow);
        door.is_unharmed(attack);
    }
}

#[test]
fn large_bodies_at_once_wait_for_each_other_and_all_arrive() {
    let door = Door::open();
    let body = "x".repeat(1_048_576);
    let request = post(&format!("Connection: close\r\nContent-Length: {}\r\n", body.len()), &body);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..40).map(|_| scope.spawn(|| door.exchange(&request).refusal())).collect();
        for sender in senders {
            assert_eq!(sender.join().unwrap(), (400, "signature_missing".to_owned()));
        }
    });
    door.is_unharmed("40 complete bodies of 1 MiB at once");
}

#[test]
fn what_a_large_body_took_is_not_kept_by_its_idle_connection() {
    let door = Door::open();
    let body = "x".repeat(1_048_576);
    let request = post(&format!("Content-Length: {}\r\n", body.len()), &body);
    let kept: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = door.connect();
            stream.write_all(request.as_bytes()).unwrap();
            assert_eq!(super::one_reply(&mut stream).status(), 400);
            stream
        })
        .collect();
    door.has_kept_its_memory("200 connections kept after a body of 1 MiB");
    drop(kept);
    door.is_unharmed("200 bodies of 1 MiB");
}

#[test]
fn a_thousand_connections_that_open_and_reset_leave_nothing() {
    let door = Door::open();
    for number in 0..1000 {
        let mut stream = door.connect();
        match number % 4 {
            0 => {}
            1 => stream.write_all(b"GET /hea").unwrap(),
            2 => stream.write_all(post("Content-Length: 5000\r\n", "abc").as_bytes()).unwrap(),
            _ => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(),
        }
        // With nothing to linger for, closing is a reset.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    door.is_unharmed("1,000 connections that open and reset");
}
