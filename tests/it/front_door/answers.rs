//! Those who are in order, among all others: half-closing clients, a busy pool, Unix sockets, and who the log says it was.

use std::io::Write;
use std::os::unix::net::UnixStream;

use rusqlite::Connection;

use super::{Door, event, half_closed, one_reply, post, rest};
use crate::harness::{PATH, SECRET};
use crate::live::{Live, database, post_to};

#[test]
fn a_client_that_half_closes_after_its_request_gets_its_answer() {
    let door = Door::open();
    for _ in 0..50 {
        let reply = half_closed(&door, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(reply.status() == 200 && reply.0.ends_with("ok\n"), "{reply:?}");
    }
    door.is_unharmed("half-closed connections");
}

#[test]
fn more_webhooks_than_threads_while_the_database_is_held_are_all_answered() {
    let door = Door::open();
    let holding = Connection::open(database(door.dir())).unwrap();
    holding.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| post_to(&door.live.public, event().to_string().as_bytes()).unwrap().status))
            .collect();
        super::wait_until(|| door.connections() == 100, || "a hundred connections".to_owned());
        // The private listener has threads of its own, and reading needs no lock.
        assert_eq!(door.live.get("/api/v1/users/none").0, 404);
        assert!(senders.iter().all(|sender| !sender.is_finished()));
        holding.execute_batch("COMMIT").unwrap();
        for sender in senders {
            assert_eq!(sender.join().unwrap(), 200);
        }
    });
    println!("100 webhooks, 16 threads, the database held: all answered after {:?}", began.elapsed());
    door.is_unharmed("a busy pool");
}

#[test]
fn a_unix_listener_has_the_same_guard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("public.sock");
    let address = format!("unix:{}", path.display());
    let live = Live::start_with(dir.path(), &[("TILLD_PUBLIC_LISTEN", &address)]);
    assert_eq!(live.public, address);
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
        stream
    };
    for (status, code, request) in [
        (413, "body_too_large", post("Content-Length: 99999999999999999\r\n", "abc")),
        (400, "request_malformed", post("Content-Length: -1\r\n", "abc")),
        (411, "length_required", post("", "")),
        (431, "head_too_large", format!("GET /{}", "a".repeat(20_000))),
        (405, "method_not_allowed", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned()),
    ] {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(rest(stream).refusal(), (status, code.to_owned()));
    }
    let idle: Vec<UnixStream> = (0..600).map(|_| connect()).collect();
    assert_eq!(post_to(&live.public, event().to_string().as_bytes()).unwrap().status, 200);
    drop(idle);
    // Who asks is what a proxy on this machine says.
    let mut stream = connect();
    stream.write_all(post("X-Forwarded-For: 203.0.113.9\r\nContent-Length: 3\r\n", "abc").as_bytes()).unwrap();
    assert_eq!(one_reply(&mut stream).status(), 400);
    live.logged(&["webhook refused client=203.0.113.9 ", "code=signature_missing"]);
    let mut stream = connect();
    stream.write_all(post("Content-Length: 3\r\nConnection: close\r\n", "abc").as_bytes()).unwrap();
    assert_eq!(rest(stream).status(), 400);
    live.logged(&["webhook refused client=local "]);
    assert_eq!(live.terminate(), Some(0));
}

#[test]
fn the_log_names_the_client_of_a_refused_webhook_and_garbage_is_ignored() {
    let door = Door::open();
    let refused = |headers: &str| {
        let request = post(&format!("{headers}Connection: close\r\nContent-Length: 3\r\n"), "abc");
        assert_eq!(door.exchange(request).refusal(), (400, "signature_missing".to_owned()));
    };
    refused("");
    door.live.logged(&["webhook refused client=127.0.0.1 path=/api/v1/webhooks/stripe code=signature_missing"]);
    refused("X-Forwarded-For: 6.6.6.6, 203.0.113.5\r\n");
    door.live.logged(&["webhook refused client=203.0.113.5 "]);
    refused("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.6, 127.0.0.1\r\n");
    door.live.logged(&["webhook refused client=203.0.113.6 "]);
    refused("X-Forwarded-For: [2001:db8::7]:1234\r\n");
    door.live.logged(&["webhook refused client=2001:db8::7 "]);
    // A header of the guard's own cannot be sent from outside.
    refused("X-Tilld-Peer: 203.0.113.66\r\nX-Forwarded-For: 203.0.113.8\r\n");
    door.live.logged(&["webhook refused client=203.0.113.8 "]);
    for garbage in ["", ",", "unknown", "203.0.113.99, garbage", "\u{fc}\u{fc}", "'; DROP TABLE", &"9".repeat(5000)] {
        refused(&format!("X-Forwarded-For: {garbage}\r\n"));
    }
    // The guard's own refusals name it, too.
    let refusal =
        door.exchange(post("X-Forwarded-For: 203.0.113.77\r\nTransfer-Encoding: chunked\r\n", "g\r\n")).refusal();
    assert_eq!(refusal.0, 400);
    door.live.logged(&["hook: refused client=203.0.113.77 status=400 code=request_malformed"]);
    assert!(door.live.log_lines().iter().all(|line| !line.contains("203.0.113.66") && !line.contains("203.0.113.99")));
    door.is_unharmed("forged addresses");
}

#[test]
fn a_webhook_that_fails_names_its_client() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start_on_full_disk(dir.path(), 2400);
    let mut failed = None;
    for _ in 0..2000 {
        let mut event = event();
        event["data"]["object"]["padding"] = serde_json::json!("x".repeat(20_000));
        let body = event.to_string();
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let signature = tilld::stripe::signature::sign(SECRET, now, body.as_bytes());
        let headers = [("Stripe-Signature", signature.as_str()), ("X-Forwarded-For", "203.0.113.40")];
        let url = format!("http://{}{PATH}", live.public);
        let answer = tilld::app::cli::post::post(&url, &headers, body.as_bytes()).unwrap();
        if answer.status != 200 {
            failed = Some(answer.status);
            break;
        }
    }
    assert_eq!(failed, Some(503));
    live.logged(&["webhook failed client=203.0.113.40 ", "code=database_unavailable"]);
}
