//! Deadlines, the cap, and stopping: what a client may take, and how it is told that it took too long.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Door, connect, go_halfway, halfway, one_reply, post, rest, wait_until};

const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_request_that_does_not_come_in_time_is_a_408_however_steadily_it_drips() {
    let door = Door::with_limits("request_timeout_s = 1");
    let began = Instant::now();
    let starts = [
        "GET /healthz HT".to_owned(),
        post("Content-Length: 5000\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "1000\r\nab"),
    ];
    std::thread::scope(|scope| {
        let (door, began) = (&door, &began);
        for start in &starts {
            scope.spawn(move || {
                let mut stream = door.connect();
                stream.write_all(start.as_bytes()).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
                let mut answer = Vec::new();
                // A byte now and then does not move the deadline.
                while stream.write_all(b"a").is_ok() && answer.is_empty() && began.elapsed() < super::PATIENCE {
                    let mut piece = [0; 4096];
                    let count = stream.read(&mut piece).unwrap_or(0);
                    answer.extend_from_slice(&piece[..count]);
                }
                assert!(answer.starts_with(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"), "{start:?}");
            });
        }
    });
    assert!(began.elapsed() >= Duration::from_secs(1));
    door.is_unharmed("dripping requests");
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let door = Door::with_limits("request_timeout_s = 1");
    let mut silent = door.connect();
    let mut heard = Vec::new();
    silent.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"");
    door.is_unharmed("silence");
}

#[test]
fn who_does_not_read_its_answers_holds_no_thread_beyond_the_deadline() {
    let door = Door::with_limits("request_timeout_s = 1");
    let mut deaf = door.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&deaf, 4096).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // As many requests as it takes until the door reads no more, since nobody reads its answers.
    let many = GET.repeat(1000);
    while deaf.write_all(&many).is_ok() {}
    wait_until(|| door.connections() == 0, || "its thread is still there".to_owned());
    door.is_unharmed("a client that does not read");
    drop(deaf);
}

#[test]
fn at_the_cap_the_oldest_idle_one_goes_then_new_ones_are_told_to_come_again() {
    let door = Door::with_limits("connections = 3");
    let [mut old, mut young] = std::array::from_fn(|_| {
        let mut stream = door.connect();
        stream.write_all(GET).unwrap();
        assert_eq!(one_reply(&mut stream).status(), 200);
        stream
    });
    let mut busy = halfway(&door, 3);
    let mut next = halfway(&door, 3);
    assert_eq!(old.read(&mut [0]).unwrap(), 0, "the oldest idle one is closed");
    go_halfway(&mut young, 3);
    let answer = door.exchange(GET);
    assert!(answer.has("Retry-After: 1"), "{answer:?}");
    // However often: whoever is turned away hears it, although its request was never read. The first of those inside is
    // soon slow enough to give way.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(400) {
        assert_eq!(door.exchange(GET).refusal(), (503, "too_many_connections".to_owned()));
    }
    // Those inside are answered all the same.
    for stream in [&mut busy, &mut next, &mut young] {
        stream.write_all(b"abc").unwrap();
        assert_eq!(one_reply(stream).status(), 400);
    }
    drop((busy, next, young));
    door.is_unharmed("a full house");
}

#[test]
fn a_stop_answers_what_is_in_hand_and_does_not_wait_for_what_drips() {
    let door = Door::with_limits("request_timeout_s = 600");
    let idle = door.connect();
    let mut half = halfway(&door, 5000);
    half.write_all(b"abc").unwrap();
    let mut soon = halfway(&door, 3);
    std::thread::scope(|scope| {
        let began = Instant::now();
        let address = door.live.public.clone();
        let stopping = scope.spawn(|| door.terminate());
        wait_until(|| TcpStream::connect(&address).is_err(), || "it listens on".to_owned());
        soon.write_all(b"abc").unwrap();
        let answer = rest(soon);
        assert_eq!(answer.refusal(), (400, "signature_missing".to_owned()));
        let answer = rest(half);
        assert_eq!(answer.refusal(), (503, "stopping".to_owned()));
        assert!(answer.has("Retry-After: 1"));
        assert_eq!(stopping.join().unwrap(), Some(0));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
    drop(idle);
}

#[test]
fn a_kept_connection_of_http_10_is_told_that_it_is_kept() {
    let door = Door::open();
    let mut stream = door.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let reply = one_reply(&mut stream);
        assert!(reply.status() == 200 && reply.has("Connection: keep-alive"), "{reply:?}");
    }
    let reply = door.exchange("GET /healthz HTTP/1.0\r\n\r\n");
    assert!(reply.status() == 200 && reply.has("Connection: close"), "{reply:?}");
    drop(stream);
    door.is_unharmed("HTTP/1.0");
}

#[test]
fn the_private_listener_has_the_same_door() {
    let door = Door::open();
    let mut stream = connect(&door.live.private);
    stream
        .write_all(b"POST /api/v1/users/u HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999\r\n\r\nabc")
        .unwrap();
    assert_eq!(rest(stream).refusal(), (413, "body_too_large".to_owned()));
    let idle: Vec<TcpStream> = (0..600).map(|_| connect(&door.live.private)).collect();
    assert_eq!(door.live.get("/api/v1/users/none").0, 404);
    drop(idle);
    door.is_unharmed("600 idle connections at the private listener");
}
