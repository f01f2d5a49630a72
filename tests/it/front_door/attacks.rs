//! Single requests that are wrong, each on a connection of its own: the refusal that is due, and nothing else happens.

use std::io::Write;

use super::{Door, Reply, half_closed, halfway, one_reply, post, rest};
use crate::harness::PATH;

const LIMIT: usize = 1_048_576;

fn refuses(door: &Door, status: u16, code: &str, requests: &[&str]) {
    for request in requests {
        let shown: String = request.chars().take(200).collect();
        assert_eq!(door.exchange(request).refusal(), (status, code.to_owned()), "{shown:?}");
    }
}

#[test]
fn a_length_that_is_absurd_doubled_or_no_number_is_refused_and_kills_nothing() {
    let door = Door::open();
    let too_long =
        ["99999999999999999", "18446744073709551615", "99999999999999999999999999", &(LIMIT + 1).to_string()]
            .map(|length| post(&format!("Content-Length: {length}\r\n"), "abc"));
    refuses(&door, 413, "body_too_large", &too_long.each_ref().map(String::as_str));
    let malformed =
        ["-1", "+3", "0x3", "", " ", "3, 3", "3 3", "3.0", "three", "3\r\nContent-Length: 3", "3\r\nContent-Length: 4"]
            .map(|length| post(&format!("Content-Length: {length}\r\n"), "abc"));
    refuses(&door, 400, "request_malformed", &malformed.each_ref().map(String::as_str));
    // The limit itself goes through, to be refused by the handler for its missing signature.
    let fits = post(&format!("Connection: close\r\nContent-Length: {LIMIT}\r\n"), &"x".repeat(LIMIT));
    assert_eq!(door.exchange(fits).refusal(), (400, "signature_missing".to_owned()));
    door.is_unharmed("lengths");
}

#[test]
fn a_body_that_is_cut_short_is_a_400_and_never_a_shorter_event() {
    let door = Door::open();
    for request in [
        post("Content-Length: 5000\r\n", "abc"),
        post("Content-Length: 4\r\n", "abc"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"),
        post("Transfer-Encoding: chunked\r\n", "5\r\nab"),
        format!("POST {PATH} HTTP/1.1\r\nHost:"),
    ] {
        assert_eq!(half_closed(&door, &request).refusal(), (400, "body_truncated".to_owned()), "{request:?}");
    }
    door.is_unharmed("truncated bodies");
}

#[test]
fn chunks_of_absurd_size_and_endless_extensions_and_trailers_are_refused() {
    let door = Door::open();
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let too_long = ["100001", "7fffffffffffffff", "ffffffffffffffff", "fffffffffffffffffffff", &"f".repeat(200)]
        .map(|size| chunked(&format!("{size}\r\nabc")));
    refuses(&door, 413, "body_too_large", &too_long.each_ref().map(String::as_str));
    let extension = format!("1;{}\r\na\r\n", "e".repeat(240));
    let malformed = [
        chunked("-1\r\nabc"),
        chunked("0x3\r\nabc\r\n0\r\n\r\n"),
        chunked("3\nabc\n0\n\n"),
        chunked("\r\n"),
        chunked("3\r\nabcd\r\n0\r\n\r\n"),
        chunked(&format!("3;{}", "e".repeat(100_000))),
        chunked(&extension.repeat(1000)),
        chunked(&format!("0\r\n{}", "A: b\r\n".repeat(100_000))),
    ];
    refuses(&door, 400, "request_malformed", &malformed.each_ref().map(String::as_str));
    door.is_unharmed("chunks");
}

#[test]
fn a_head_without_end_is_a_431_however_it_comes() {
    let door = Door::open();
    let headers = "A: b\r\n".repeat(100_000);
    refuses(
        &door,
        431,
        "head_too_large",
        &[
            &format!("GET /{}", "a".repeat(3_000_000)),
            &format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(3_000_000)),
            &format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}"),
            &format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(100)),
        ],
    );
    let mut slow = door.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nA: ").unwrap();
    // Bytes one by one: what has been looked at is not looked at again.
    for _ in 0..17_000 {
        if slow.write_all(b"a").is_err() {
            break;
        }
    }
    assert_eq!(rest(slow).refusal().0, 431);
    door.is_unharmed("endless heads");
}

#[test]
fn what_two_programs_could_read_differently_is_refused() {
    let door = Door::open();
    let get = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{rest}\r\n");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let malformed = [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &format!("0\r\n\r\n{smuggled}")),
        post("Transfer-Encoding: gzip, chunked\r\n", smuggled),
        post("Transfer-Encoding: xchunked\r\n", smuggled),
        post("Transfer-Encoding : chunked\r\n", smuggled),
        post("Transfer-Encoding:\r\n chunked\r\n", smuggled),
        post("Content-Length : 5\r\n", "abcde"),
        post("Content-Length\t: 5\r\n", "abcde"),
        format!("POST {PATH} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        get("A: b\r\n c\r\n"),
        get("A: b\rc\r\n"),
        get("A: b\nC: d\r\n"),
        get("A: b\0c\r\n"),
        get(": b\r\n"),
        get("A\r\n"),
        get("Host: y\r\n"),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\nHost: x\n\n".to_owned(),
        "GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET //healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET * HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /healthz#a HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n".to_owned(),
        "GET /healthz\r\n\r\n".to_owned(),
    ];
    refuses(&door, 400, "request_malformed", &malformed.each_ref().map(String::as_str));
    door.is_unharmed("smuggling");
}

#[test]
fn garbage_is_a_400_and_tls_is_garbage() {
    let door = Door::open();
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[7; 500]].concat();
    let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for bytes in
        [hello.as_slice(), &noise, b"\r\n\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"hello\r\n\r\n", b"\n"]
    {
        let status = door.exchange(bytes).refusal().0;
        assert!([400, 405].contains(&status), "{status} {:?}", &bytes[..bytes.len().min(20)]);
    }
    door.is_unharmed("garbage");
}

#[test]
fn methods_expectations_and_missing_lengths_have_their_own_answers() {
    let door = Door::open();
    for method in ["TRACE", "CONNECT", "OPTIONS", "PATCH", "BREW"] {
        let answer = door.exchange(format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.refusal(), (405, "method_not_allowed".to_owned()));
        assert!(answer.has("Allow: GET, HEAD, POST, PUT, DELETE"), "{answer:?}");
    }
    refuses(&door, 417, "expectation_failed", &[&post("Expect: money\r\nContent-Length: 3\r\n", "abc")]);
    refuses(&door, 411, "length_required", &[&post("", "")]);
    // A call of the private listener needs no body: `curl -X POST` says nothing of its length.
    let mut private = super::connect(&door.live.private);
    private
        .write_all(b"POST /api/v1/admin/events/evt_none/replay HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer tilld_admin\r\n\r\n")
        .unwrap();
    assert_eq!(rest(private).status(), 404);
    door.is_unharmed("methods");
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on_or_refused_at_once() {
    let door = Door::open();
    let mut polite = halfway(&door, 3);
    polite.write_all(b"abc").unwrap();
    let reply = one_reply(&mut polite);
    assert!(reply.status() == 400 && reply.0.contains("\"signature_missing\""), "{reply:?}");
    drop(polite);
    let too_large = post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", LIMIT + 1), "");
    refuses(&door, 413, "body_too_large", &[&too_large]);
    door.is_unharmed("expectations");
}

#[test]
fn a_header_that_is_not_ascii_harms_nobody() {
    let door = Door::open();
    for _ in 0..40 {
        let answer = door.exchange("GET /healthz HTTP/1.1\r\nHost: x\r\nX-City: Zürich\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
    door.is_unharmed("headers that are not ASCII");
}

#[test]
fn pipelined_requests_are_answered_in_order_and_one_refused_ends_them() {
    let door = Door::open();
    let mut stream = door.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let bad = "GET /last HTTP/1.1\r\nHost : x\r\n\r\n";
    let post = post("Content-Length: 3\r\n", "abc");
    let all = [get("/healthz"), get("/a"), post, get("/b"), bad.to_owned(), get("/never")].concat();
    stream.write_all(all.as_bytes()).unwrap();
    let replies: Vec<Reply> = (0..4).map(|_| one_reply(&mut stream)).collect();
    let found: Vec<u16> = replies.iter().map(Reply::status).collect();
    assert_eq!(found, [200, 404, 400, 404]);
    assert!(replies[1].0.contains(" at /a\"") && replies[3].0.contains(" at /b\""), "{replies:?}");
    assert_eq!(rest(stream).refusal(), (400, "request_malformed".to_owned()));
    door.is_unharmed("pipelining");
}
