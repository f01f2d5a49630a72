//! Over real sockets: what a client sees, and what stopping waits for.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::base::address::Address;
use crate::http::listen::{BindError, bind};
use std::os::unix::fs::PermissionsExt;

/// Far longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const BODY_BYTES: usize = 3000;
const LIMITS: DoorLimits = DoorLimits {
    rules: door::HeadRules { head_bytes: 16_384, body_bytes: BODY_BYTES, length_required: false },
    connections: 64,
    request_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(60),
    buffered_bytes: 1_000_000,
};

fn start(bound: Bound, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> HttpServer {
    start_with(LIMITS, bound, handler)
}

fn start_with(
    limits: DoorLimits,
    bound: Bound,
    handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> HttpServer {
    let options = ServerOptions { name: "test", threads: 4, in_hand: 4, limits };
    // The door's own connections ask for this first.
    let handler: Arc<Handler> = Arc::new(move |request: Request, reply: Reply| match request.path.as_str() {
        "/healthz" => reply.send(Response::text(200, "ok")),
        _ => reply.send(handler(&request)),
    });
    serve(bound, options, &Threads::default(), &handler).unwrap()
}

fn tcp(address: &str) -> Result<Bound, BindError> {
    bind("listen.public", &Address::Tcp(address.to_owned()), 0)
}

fn unix(path: &Path, mode: u32) -> Result<Bound, BindError> {
    bind("listen.private", &Address::Unix(path.to_owned()), mode)
}

/// A server on a free port, and its address.
fn started(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (HttpServer, String) {
    let bound = tcp("127.0.0.1:0").unwrap();
    let address = bound.address().to_owned();
    (start(bound, handler), address)
}

/// Answers with the request.
fn echo(request: &Request) -> Response {
    let signatures: Vec<&str> = request
        .headers
        .iter()
        .filter(|(name, _)| name == "Stripe-Signature")
        .map(|(_, value)| value.as_str())
        .collect();
    let (method, path, query) = (request.method.as_str(), &request.path, &request.query);
    Response::text(200, &format!("{method}|{path}|{query}|{}|{signatures:?}", request.body.len()))
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything that arrives until the server closes.
fn rest(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn exchange(address: &str, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

fn with_body(length: usize, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn stop_in_time(server: HttpServer) {
    let (done, waiting) = bounded(1);
    let stopping = Threads::default().spawn("stopping", move || {
        server.stop();
        done.send(()).unwrap();
    });
    waiting.recv_timeout(PATIENCE).unwrap();
    stopping.unwrap().join();
}

/// A handler that reports when it is called and then waits for a signal.
fn held() -> (impl Fn(&Request) -> Response, Receiver<()>, Sender<()>) {
    let ((called, calls), (go, gate)) = (bounded(8), bounded::<()>(8));
    let handler = move |_: &Request| {
        called.send(()).unwrap();
        gate.recv_timeout(PATIENCE).unwrap();
        Response::text(200, "held and answered")
    };
    (handler, calls, go)
}

#[test]
fn a_request_arrives_whole_and_its_answer_comes_back() {
    let (server, address) = started(echo);
    let answer =
        exchange(&address, "PUT /a%20b?x=1?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nPUT|/a%20b|x=1?2|2|[]"), "{answer}");
    stop_in_time(server);
}

#[test]
fn a_header_sent_twice_is_seen_twice() {
    let (server, address) = started(echo);
    let request =
        "GET / HTTP/1.1\r\nHost: x\r\nStripe-Signature: a\r\nStripe-Signature: b\r\nConnection: close\r\n\r\n";
    assert!(exchange(&address, request).ends_with("[\"a\", \"b\"]"));
    stop_in_time(server);
}

#[test]
fn a_chunked_body_arrives_whole() {
    let (server, address) = started(echo);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(exchange(&address, &format!("{head}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).ends_with("POST|/||5|[]"));
    stop_in_time(server);
}

#[test]
fn a_body_over_the_limit_is_a_413() {
    let (server, address) = started(echo);
    let fits = "x".repeat(BODY_BYTES);
    assert!(exchange(&address, &with_body(BODY_BYTES, &fits)).ends_with("|3000|[]"));
    let declared = exchange(&address, &with_body(BODY_BYTES + 1, &format!("{fits}x")));
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunked = exchange(&address, &format!("{head}bb9\r\n{fits}x\r\n0\r\n\r\n"));
    for answer in [declared, chunked] {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"code\":\"body_too_large\""), "{answer}");
    }
    stop_in_time(server);
}

#[test]
fn a_body_shorter_than_declared_is_a_400() {
    let (server, address) = started(|_| Response::text(200, "must not be called"));
    let unfinished_chunks =
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    for request in [with_body(2000, "abc").as_str(), unfinished_chunks] {
        let mut stream = connect(&address);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = rest(stream);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\"code\":\"body_truncated\""), "{answer}");
    }
    stop_in_time(server);
}

#[test]
fn a_panic_of_a_handler_is_a_500_and_the_threads_live_on() {
    let (server, address) = started(|request| match request.path.as_str() {
        "/panic" => std::panic::panic_any("on purpose"),
        _ => Response::text(200, "alive"),
    });
    let get = |path: &str| exchange(&address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
    for _ in 0..8 {
        let answer = get("/panic");
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("\"code\":\"internal_error\"") && !answer.contains("on purpose"), "{answer}");
    }
    assert!(get("/").ends_with("alive"));
    stop_in_time(server);
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let (server, address) = started(|_| Response::text(200, "four"));
    let answer = exchange(&address, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("\r\nContent-Length: 4\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    stop_in_time(server);
}

#[test]
fn a_long_answer_has_a_content_length() {
    let (server, address) = started(|_| Response::text(200, &"x".repeat(100_000)));
    let answer = exchange(&address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("\r\nContent-Length: 100000\r\n"));
    stop_in_time(server);
}

#[test]
fn a_header_value_cannot_begin_another_header() {
    let (server, address) = started(|_| Response {
        headers: vec![("Location", "/a\r\nSet-Cookie: x=1".to_owned()), ("X-Good", "yes".to_owned())],
        ..Response::text(200, "")
    });
    let answer = exchange(&address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(!answer.contains("Set-Cookie") && answer.contains("\r\nX-Good: yes\r\n"), "{answer}");
    stop_in_time(server);
}

#[test]
fn a_kept_connection_is_answered_again_and_again() {
    let (server, address) = started(echo);
    let mut stream = connect(&address);
    for number in 0..3 {
        stream.write_all(format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let (mut seen, expected) = (Vec::new(), format!("GET|/{number}||0|[]"));
        while !seen.ends_with(expected.as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.extend_from_slice(&byte);
        }
    }
    stop_in_time(server);
}

#[test]
fn a_kept_connection_that_stays_idle_is_closed_without_an_answer() {
    let bound = tcp("127.0.0.1:0").unwrap();
    let address = bound.address().to_owned();
    let idle_timeout = Duration::from_millis(200);
    let server = start_with(DoorLimits { idle_timeout, ..LIMITS }, bound, echo);
    let mut stream = connect(&address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let asked = Instant::now();
    // Nothing arrives but the answer.
    assert!(rest(stream).ends_with("GET|/||0|[]"));
    assert!(asked.elapsed() >= idle_timeout);
    stop_in_time(server);
}

#[test]
fn the_log_names_a_request_without_its_query_on_one_line() {
    assert_eq!(label(Method::Get, "/a/b?email=x@example.com"), "GET /a/b");
    assert_eq!(label(Method::Other, "/a\n\u{1b}[31m"), "other /a\\n\\u{1b}[31m");
}

#[test]
fn stopping_frees_every_waiting_thread_and_closes_the_port() {
    let (server, address) = started(echo);
    stop_in_time(server);
    // tiny_http's accepting thread ends soon after, not at once.
    let refused = (0..200).any(|_| {
        let refused = TcpStream::connect(&address).is_err();
        std::thread::sleep(Duration::from_millis(5));
        refused
    });
    assert!(refused);
}

#[test]
fn stopping_answers_the_request_in_hand() {
    let (handler, calls, go) = held();
    let (server, address) = started(handler);
    let mut client = connect(&address);
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    calls.recv_timeout(PATIENCE).unwrap();
    let (done, stopped) = bounded(1);
    let stopping = Threads::default().spawn("stopping", move || {
        server.stop();
        done.send(()).unwrap();
    });
    assert!(stopped.recv_timeout(Duration::from_millis(100)).is_err());
    go.send(()).unwrap();
    assert!(rest(client).ends_with("held and answered"));
    stopped.recv_timeout(PATIENCE).unwrap();
    stopping.unwrap().join();
}

#[test]
fn a_request_whose_reply_is_dropped_gets_a_500_and_the_next_is_answered() {
    let threads = Threads::default();
    let handler: Arc<Handler> = Arc::new(|request: Request, reply: Reply| match request.path.as_str() {
        "/dropped" => drop(reply),
        "/panic" => panic!("of a handler"),
        "/later" => drop(std::thread::Builder::new().spawn(move || reply.send(echo(&request)))),
        _ => reply.send(Response::text(200, "ok")),
    });
    let bound = tcp("127.0.0.1:0").unwrap();
    let address = bound.address().to_owned();
    let options = ServerOptions { name: "test", threads: 1, in_hand: 2, limits: LIMITS };
    let server = serve(bound, options, &threads, &handler).unwrap();
    for (path, status) in [("/dropped", 500), ("/panic", 500), ("/later", 200), ("/", 200)] {
        let answer = exchange(&address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    stop_in_time(server);
}

#[test]
fn a_request_whose_body_is_gone_is_not_done_without_it() {
    let internal = SocketFolder::new().unwrap();
    let listener = UnixListener::bind(internal.socket()).unwrap();
    let server = Arc::new(tiny_http::Server::from_listener(listener, None).unwrap());
    let (bodies, (stopper, stop)) = (Arc::new(Bodies::new(1)), stopper());
    let (called, calls) = bounded(8);
    let (serving, threads) = (Arc::clone(&server), Threads::default());
    let thread = threads.spawn("serving", move || {
        let handler = move |request: Request, reply: Reply| {
            called.send(request.body.len()).unwrap();
            reply.send(Response::text(200, "done"));
        };
        answer_all(&serving, &stop, &bodies, &handler);
    });
    let asked = |headers: &str| {
        let mut stream = UnixStream::connect(internal.socket()).unwrap();
        stream
            .write_all(format!("POST /all HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes())
            .unwrap();
        rest(stream)
    };
    // As if the door had put the body of the next request into its slot.
    assert!(asked("X-Tilld-Body: 0.1\r\n").starts_with("HTTP/1.1 503 "));
    assert!(asked("").starts_with("HTTP/1.1 200 "));
    assert_eq!(calls.try_iter().collect::<Vec<_>>(), [0], "only the one that never had a body");
    drop(stopper);
    server.unblock();
    thread.unwrap().join();
}

#[test]
fn the_end_of_a_serving_thread_is_reported_by_name() {
    let threads = Threads::default();
    let handler: Arc<Handler> = Arc::new(|request, reply| reply.send(echo(&request)));
    let options = ServerOptions { name: "hook", threads: 1, in_hand: 1, limits: LIMITS };
    let server = serve(tcp("127.0.0.1:0").unwrap(), options, &threads, &handler).unwrap();
    stop_in_time(server);
    let ended: Vec<String> = (0..2).map(|_| threads.reports().recv_timeout(PATIENCE).unwrap().name).collect();
    assert_eq!(ended, ["hook-guard", "hook-0"]);
}

#[test]
fn port_0_becomes_the_port_really_used() {
    let bound = tcp("127.0.0.1:0").unwrap();
    let port: u16 = bound.address().strip_prefix("127.0.0.1:").unwrap().parse().unwrap();
    assert_ne!(port, 0);
}

#[test]
fn a_port_in_use_is_refused_with_key_address_and_what_to_do() {
    let first = tcp("127.0.0.1:0").unwrap();
    let error = tcp(first.address()).err().unwrap().to_string();
    assert!(error.contains("listen.public") && error.contains(first.address()), "{error}");
    assert!(error.contains("in use") && error.contains("choose another address"), "{error}");
}

#[test]
fn an_address_of_another_machine_is_refused_as_such() {
    let error = tcp("192.0.2.1:0").err().unwrap().to_string();
    assert!(error.contains("this machine does not have that address"), "{error}");
}

#[test]
fn a_unix_socket_has_its_mode_and_is_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    for mode in [0o600, 0o666] {
        let bound = unix(&path, mode).unwrap();
        assert_eq!(bound.address(), format!("unix:{}", path.display()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        let server = start(bound, |request| Response::text(200, &format!("{:?}", request.peer)));
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        assert!(rest(stream).ends_with("None"));
        stop_in_time(server);
        assert!(!path.exists());
    }
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let living = unix(&path, 0o600).unwrap();
    let error = unix(&path, 0o600).err().unwrap();
    assert!(matches!(error, BindError::InUse { .. }), "{error}");
    assert!(UnixStream::connect(&path).is_ok());
    drop(living);
}

#[test]
fn a_file_that_is_not_a_socket_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tilld.db");
    std::fs::write(&path, "precious").unwrap();
    let error = unix(&path, 0o600).err().unwrap().to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let error = unix(&folder.path().join("none/sock"), 0o600).err().unwrap().to_string();
    assert!(error.contains("create the folder"), "{error}");
}

#[test]
fn what_a_killed_process_left_is_removed_and_a_living_one_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (dead, alive, other) = (folder("tilld-http-1-0"), folder("tilld-http-2-0"), folder("other"));
    drop(File::create(dead.join("lock")).unwrap());
    let lock = File::create(alive.join("lock")).unwrap();
    lock.lock().unwrap();
    let listening = UnixListener::bind(alive.join("http.sock")).unwrap();
    listening.set_nonblocking(true).unwrap();
    remove_leftovers(place.path());
    assert!(!dead.exists() && alive.exists() && other.exists());
    assert!(listening.accept().is_err(), "the living one is not disturbed");
    drop(lock);
    remove_leftovers(place.path());
    assert!(!alive.exists());
}
