//! Restarts under load with sockets that the service manager keeps: connections wait for the next process, none is
//! refused, and every webhook is in the database, once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tilld::stripe::signature;

use crate::harness::{PATH, SECRET, START_S};
use crate::live::database;
use crate::systemd::{Manager, Service, Unit, copy, tcp};

const WEBHOOKS: usize = 10_000;
const RESTARTS: usize = 5;
/// Half of them keep their connection, half open one for each webhook.
const SENDERS: usize = 16;
const DELAY: Duration = Duration::from_millis(3);

/// What the senders share and count.
struct Load {
    address: String,
    next: AtomicUsize,
    answered: AtomicUsize,
    /// Sent again, since a connection that had carried others before was closed between two requests.
    again: AtomicUsize,
}

fn body(number: usize) -> String {
    format!(
        r#"{{"id":"evt_restart_{number}","object":"event","type":"customer.created","created":{START_S},"livemode":false,"api_version":"2025-03-31.basil","data":{{"object":{{"id":"cus_{number}","object":"customer","created":{START_S},"livemode":false,"metadata":{{}}}}}}}}"#
    )
}

fn request(number: usize, keep: bool) -> Vec<u8> {
    let body = body(number);
    let now_s = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let signature = signature::sign(SECRET, now_s, body.as_bytes());
    let connection = if keep { "keep-alive" } else { "close" };
    let length = body.len();
    format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nStripe-Signature: {signature}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The head of the answer, and whether the connection stays open. The body is read, too.
fn answer(stream: &mut TcpStream) -> io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
            if body.len() >= length.parse().unwrap() {
                return Ok((head.to_owned(), !head.contains("Connection: close")));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Sends what is left to send, each webhook until it is answered.
fn send_all(load: &Load, keep: bool) {
    let mut kept: Option<TcpStream> = None;
    loop {
        let number = load.next.fetch_add(1, Ordering::SeqCst);
        if number >= WEBHOOKS {
            return;
        }
        loop {
            let used = kept.is_some();
            let mut stream = kept.take().unwrap_or_else(|| {
                let stream = TcpStream::connect(&load.address).expect("a connection was refused");
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                stream
            });
            // A network's delay between connecting, or the last answer, and the request: a stop that falls into it finds
            // a connection that has asked nothing yet.
            if number % 4 < 2 {
                std::thread::sleep(DELAY);
            }
            let sent = stream.write_all(&request(number, keep));
            match sent.and_then(|()| answer(&mut stream)) {
                // The one thing that HTTP cannot rule out: a request crosses with the end of an idle connection.
                Ok((head, _)) if used && head.starts_with("HTTP/1.1 503 ") => load.again.fetch_add(1, Ordering::SeqCst),
                Err(_) if used => load.again.fetch_add(1, Ordering::SeqCst),
                Ok((head, stays)) => {
                    assert!(head.starts_with("HTTP/1.1 200 "), "{number}: {head}");
                    kept = Some(stream).filter(|_| keep && stays);
                    break;
                }
                Err(error) => panic!("{number}: a new connection was accepted and not answered: {error}"),
            };
        }
        load.answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn no_webhook_is_refused_or_lost_over_five_restarts_under_load() {
    let manager = Manager::new();
    let ((public, address), (private, _)) = (tcp(), tcp());
    let load = Load { address, next: AtomicUsize::new(0), answered: AtomicUsize::new(0), again: AtomicUsize::new(0) };
    let service = std::thread::scope(|scope| {
        let (load, mut service) = (&load, start(&manager, &public, &private));
        let senders: Vec<_> = (0..SENDERS).map(|number| scope.spawn(move || send_all(load, number % 2 == 0))).collect();
        for restart in 1..=RESTARTS {
            let due = restart * WEBHOOKS / (RESTARTS + 1);
            while load.answered.load(Ordering::SeqCst) < due {
                assert!(!senders.iter().any(|sender| sender.is_finished()), "a sender failed");
                std::thread::sleep(Duration::from_millis(2));
            }
            stop(&manager, service);
            service = start(&manager, &public, &private);
        }
        service
    });
    println!("{WEBHOOKS} webhooks, {RESTARTS} restarts, sent again: {}", load.again.load(Ordering::SeqCst));
    stop(&manager, service);
    let connection = Connection::open(database(manager.dir.path())).unwrap();
    let count =
        "SELECT count(*), count(DISTINCT event_id) FROM stripe_webhooks_log WHERE event_id LIKE 'evt_restart_%'";
    let found: (i64, i64) = connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let sent = i64::try_from(WEBHOOKS).unwrap();
    assert_eq!(found, (sent, sent));
    // Only a request that was under way when its connection closed may have been sent twice.
    assert!(load.again.load(Ordering::SeqCst) <= RESTARTS * SENDERS, "sent again: {:?}", load.again);
}

fn start(manager: &Manager, public: &TcpListener, private: &TcpListener) -> Service {
    let service = manager.start([copy(public), copy(private)], &Unit::new("public:private"));
    assert!(manager.hear().starts_with("READY=1"));
    service
}

fn stop(manager: &Manager, service: Service) {
    service.signal("TERM");
    assert!(manager.hear().starts_with("STOPPING=1"));
    assert_eq!(service.ended(), Some(0), "{}", manager.log());
}
