//! The head of a request; ground for every request. Whether it may be passed on: whatever two programs could read
//! differently (RFC 9112 §2.2, §5, §6, §11.2) is refused, so that no request can be smuggled past the door. And who the
//! client is: anyone can write an `X-Forwarded-For`, so it counts only on connections from this machine, and only its
//! last address that is not of this machine; garbage is ignored. Pure: bytes in, verdict out; it must never read a
//! socket. Called by `connection`.

use std::net::{IpAddr, SocketAddr};

use super::bodies::BODY_HEADER;
use crate::base::host::is_loopback;
use crate::http::error_code::ErrorCode;
use crate::http::request::Method;

/// The most headers.
pub const MAX_HEADERS: usize = 64;
/// The header with which the door names the client; one that a client sends is dropped.
pub const PEER_HEADER: &str = "X-Tilld-Peer";

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// That many bytes follow.
    Known(usize),
    /// Chunks follow.
    Chunked,
}

/// A head that may be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes, including the empty line.
    pub bytes: usize,
    /// What is passed on: the request line and the headers without those that concern only this connection, and without
    /// the empty line.
    pub forward: Vec<u8>,
    /// The method is HEAD: the answer has no body.
    pub is_head: bool,
    /// How its body is delimited.
    pub length: Length,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The connection stays open after the answer.
    pub keep_alive: bool,
    /// The client speaks HTTP/1.0, and must be told if the connection stays open.
    pub is_http_10: bool,
    /// The client that `X-Forwarded-For` names. It counts only if the peer is this machine.
    pub forwarded: Option<IpAddr>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRefusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: &'static str,
}

impl RequestRefusal {
    /// HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        self.code.status()
    }
}

/// A refusal with 400.
const fn bad(message: &'static str) -> RequestRefusal {
    RequestRefusal { code: ErrorCode::RequestMalformed, message }
}

/// The limits of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadRules {
    /// The longest head, in bytes.
    pub head_bytes: usize,
    /// The longest body, in bytes.
    pub body_bytes: usize,
    /// Whether a POST or PUT must declare the length of its body. Otherwise one without a length has no body (RFC 9112
    /// §6.3), which is how `curl -X POST` and others send a call that needs none.
    pub length_required: bool,
}

/// Headers that concern one connection (RFC 9110 §7.6.1), and those that the door writes itself. An offer to change the
/// protocol (Upgrade, with HTTP2-Settings for h2c: RFC 9110 §7.8, RFC 7540 §3.2.1) may be ignored, and must never reach
/// tiny_http, which would read everything that follows as the body.
const NOT_PASSED_ON: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "content-length",
    "expect",
    PEER_HEADER,
    BODY_HEADER,
];

/// Reads the head at the beginning of `bytes`, of which `seen` were examined before. `None`: it has not arrived
/// completely.
///
/// # Errors
/// When the request must not be passed on.
pub fn parse(bytes: &[u8], seen: usize, rules: HeadRules) -> Result<Option<Head>, RequestRefusal> {
    // Not beyond the limit: how much arrived at once must not decide which refusal the client gets.
    let Some(length) = end_of_head(&bytes[..bytes.len().min(rules.head_bytes)], seen)? else {
        return if bytes.len() >= rules.head_bytes { Err(too_long()) } else { Ok(None) };
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(&bytes[..length]) {
        Ok(httparse::Status::Complete(_)) => read(&request, length, rules).map(Some),
        Ok(httparse::Status::Partial) => Err(bad("the head ends too early")),
        Err(httparse::Error::TooManyHeaders) => Err(too_long()),
        Err(_) => Err(bad("the request line or a header is malformed")),
    }
}

const fn too_long() -> RequestRefusal {
    RequestRefusal { code: ErrorCode::HeadTooLarge, message: "the request line and headers are too long" }
}

/// The length of the head with its empty line. Lines end with CR LF and nothing else.
fn end_of_head(bytes: &[u8], seen: usize) -> Result<Option<usize>, RequestRefusal> {
    for (index, byte) in bytes.iter().enumerate().skip(seen) {
        let before = index.checked_sub(1).and_then(|before| bytes.get(before));
        match byte {
            b'\n' if before != Some(&b'\r') => return Err(bad("a line ends with a bare LF")),
            b'\n' if index >= 3 && bytes[index - 3..index] == *b"\r\n\r" => return Ok(Some(index + 1)),
            b'\n' if index == 1 => return Err(bad("the request begins with an empty line")),
            0 => return Err(bad("the head contains a NUL byte")),
            _ if *byte != b'\n' && before == Some(&b'\r') => return Err(bad("the head contains a bare CR")),
            _ => {}
        }
    }
    Ok(None)
}

fn read(request: &httparse::Request, bytes: usize, rules: HeadRules) -> Result<Head, RequestRefusal> {
    let method = request.method.unwrap_or_default();
    if Method::parse(method) == Method::Other {
        let message = "the method must be GET, HEAD, POST, PUT or DELETE";
        return Err(RequestRefusal { code: ErrorCode::MethodNotAllowed, message });
    }
    let target = request.path.unwrap_or_default();
    if !target.starts_with('/') || target.contains('#') {
        return Err(bad("the request target must be a path; absolute, authority and asterisk forms are refused"));
    }
    if target.starts_with("//") {
        return Err(bad("the request target must not begin with two slashes"));
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the request target must be ASCII; percent-encode other characters"));
    }
    let is_http_10 = request.version == Some(0);
    if find_all(request, "host").count() > 1 || (!is_http_10 && find(request, "host").is_none()) {
        return Err(bad("there must be exactly one Host header"));
    }
    let keep = !is_http_10 || connection_says(request, "keep-alive");
    Ok(Head {
        bytes,
        is_head: method == "HEAD",
        length: length(request, is_http_10, rules)?,
        // RFC 9110 §10.1.1: the expectation of an HTTP/1.0 client is ignored.
        expects_continue: expects_continue(request)? && !is_http_10,
        keep_alive: keep && !connection_says(request, "close"),
        is_http_10,
        forwarded: last_hop(find_all(request, "x-forwarded-for")),
        forward: forward(request, method, target, bytes),
    })
}

/// The request line and the headers for tiny_http. tiny_http closes the connection at a header that is not ASCII, so
/// other bytes become question marks; no header that is read here may contain any.
fn forward(request: &httparse::Request, method: &str, target: &str, bytes: usize) -> Vec<u8> {
    /// Room for the headers that are still to come.
    const ADDED_BYTES: usize = 96;
    let mut forward = Vec::with_capacity(bytes + ADDED_BYTES);
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        forward.extend_from_slice(part.as_bytes());
    }
    for header in request.headers.iter().filter(|header| is_passed_on(request, header.name)) {
        forward.extend_from_slice(header.name.as_bytes());
        forward.extend_from_slice(b": ");
        forward.extend(header.value.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }));
        forward.extend_from_slice(b"\r\n");
    }
    if find(request, "host").is_none() {
        forward.extend_from_slice(b"Host: tilld\r\n");
    }
    forward
}

fn is_passed_on(request: &httparse::Request, name: &str) -> bool {
    let is = |other: &&str| name.eq_ignore_ascii_case(other);
    // A client must not have those removed without which a request would mean something else.
    let is_kept = ["host", "stripe-signature", "authorization", "x-forwarded-for"].iter().any(is);
    !NOT_PASSED_ON.iter().any(is) && (is_kept || !connection_says(request, name))
}

fn length(request: &httparse::Request, is_http_10: bool, rules: HeadRules) -> Result<Length, RequestRefusal> {
    let mut lengths = find_all(request, "content-length");
    let (declared, second) = (lengths.next(), lengths.next());
    let mut codings = find_all(request, "transfer-encoding");
    let (coding, second_coding) = (codings.next(), codings.next());
    match (declared, coding) {
        (Some(_), Some(_)) => Err(bad("Content-Length and Transfer-Encoding must not both be sent")),
        (None, Some(_)) if is_http_10 => Err(bad("Transfer-Encoding is not part of HTTP/1.0")),
        (None, Some(coding)) if second_coding.is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Length::Chunked)
        }
        (None, Some(_)) => Err(bad("Transfer-Encoding must be chunked and nothing else")),
        (Some(_), None) if second.is_some() => Err(bad("there is more than one Content-Length")),
        (Some(value), None) => known(value, rules),
        (None, None) if rules.length_required && matches!(request.method, Some("POST" | "PUT")) => {
            let message = "the body needs a Content-Length, or must be chunked";
            Err(RequestRefusal { code: ErrorCode::LengthRequired, message })
        }
        (None, None) => Ok(Length::Known(0)),
    }
}

fn known(value: &[u8], rules: HeadRules) -> Result<Length, RequestRefusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("Content-Length is not a number"));
    }
    // A number that does not fit 64 bits is too large in any case.
    let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
    match length {
        Some(length) if length <= rules.body_bytes => Ok(Length::Known(length)),
        _ => Err(TOO_LARGE),
    }
}

/// 413.
pub(super) const TOO_LARGE: RequestRefusal =
    RequestRefusal { code: ErrorCode::BodyTooLarge, message: "the body is larger than limits.body_bytes" };

fn expects_continue(request: &httparse::Request) -> Result<bool, RequestRefusal> {
    match find(request, "expect") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => {
            let message = "the only supported expectation is 100-continue";
            Err(RequestRefusal { code: ErrorCode::ExpectationFailed, message })
        }
    }
}

fn find_all<'a>(request: &'a httparse::Request, name: &'static str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
    request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn find<'a>(request: &'a httparse::Request, name: &'static str) -> Option<&'a [u8]> {
    find_all(request, name).next()
}

/// Whether `word` is among the comma-separated words of `Connection`.
fn connection_says(request: &httparse::Request, word: &str) -> bool {
    find_all(request, "connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The client's address: `peer` is the other end of the socket (`None` on a Unix socket), `forwarded` what
/// [`last_hop`] found.
#[must_use]
pub(super) fn client(peer: Option<IpAddr>, forwarded: Option<IpAddr>) -> Option<IpAddr> {
    match peer {
        Some(peer) if !is_loopback(peer) => Some(peer),
        local => forwarded.or(local),
    }
}

/// The last hop named by `X-Forwarded-For` that is not this machine. `values` are the headers of that name in the order
/// sent; several count as one, joined by commas (RFC 9110 §5.3).
#[must_use]
pub(super) fn last_hop<'a>(values: impl DoubleEndedIterator<Item = &'a [u8]>) -> Option<IpAddr> {
    let hops = values.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    // Whoever wrote what precedes an unreadable address is unknown.
    hops.map_while(hop).find(|address| !is_loopback(*address))
}

/// An address, bare or with its port, as proxies write it.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const RULES: HeadRules = HeadRules { head_bytes: 1024, body_bytes: 100, length_required: false };

    fn status(head: &str) -> u16 {
        parse(head.as_bytes(), 0, RULES).unwrap_err().status()
    }

    fn text(head: &Head) -> String {
        String::from_utf8(head.forward.clone()).unwrap()
    }

    fn ok(head: &str) -> Head {
        parse(head.as_bytes(), 0, RULES).unwrap().unwrap()
    }

    #[test]
    fn a_plain_request_is_passed_on_without_what_concerns_its_connection() {
        let head = ok(
            "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nA: b\r\n\r\nabc",
        );
        assert_eq!((head.length, head.keep_alive, head.is_head), (Length::Known(3), false, false));
        assert_eq!(text(&head), "POST /a?b=c HTTP/1.1\r\nHost: x\r\nA: b\r\n");
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost:", 0, RULES), Ok(None));
    }

    #[test]
    fn what_says_who_the_client_is_can_be_neither_forged_nor_removed() {
        let head = ok(
            "GET / HTTP/1.1\r\nHost: x\r\nX-Tilld-Peer: 6.6.6.6\r\nx-tilld-peer: 6.6.6.6\r\nX-tilld-Body: 0.1\r\n\r\n",
        );
        assert_eq!(text(&head), "GET / HTTP/1.1\r\nHost: x\r\n");
        let all = "Host: x\r\nStripe-Signature: a\r\nAuthorization: b\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n";
        let head = ok(&format!(
            "GET / HTTP/1.1\r\nConnection: host, stripe-signature, authorization, x-forwarded-for\r\n{all}\r\n"
        ));
        assert_eq!(text(&head), format!("GET / HTTP/1.1\r\n{all}"));
        assert_eq!(head.forwarded, Some("192.0.2.2".parse().unwrap()));
    }

    #[test]
    fn an_offer_to_change_the_protocol_is_ignored() {
        let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n";
        let head = ok(&format!("POST / HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Length: 3\r\n\r\nabc"));
        assert_eq!((head.length, head.keep_alive), (Length::Known(3), true));
        assert_eq!(text(&head), "POST / HTTP/1.1\r\nHost: x\r\n");
        let head = ok("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nHTTP2-Settings: A\r\n\r\n");
        assert_eq!(text(&head), "GET / HTTP/1.1\r\nHost: x\r\n");
    }

    #[test]
    fn what_is_not_ascii_is_not_passed_on() {
        let head = ok("GET / HTTP/1.1\r\nHost: x\r\nX-City: Zürich\r\n\r\n");
        assert_eq!(text(&head), "GET / HTTP/1.1\r\nHost: x\r\nX-City: Z??rich\r\n");
        assert_eq!(status("GET /ü HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
    }

    #[test]
    fn a_body_of_unknown_length_is_refused_where_one_must_come_and_is_none_elsewhere() {
        let strict = HeadRules { length_required: true, ..RULES };
        for method in ["POST", "PUT"] {
            let head = format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(ok(&head).length, Length::Known(0));
            assert_eq!(parse(head.as_bytes(), 0, strict).unwrap_err().status(), 411);
        }
        assert!(parse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, strict).unwrap().is_some());
    }

    #[test]
    fn an_http_10_client_never_waits_for_a_continue() {
        let expects = |version| ok(&format!("POST / HTTP/{version}\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"));
        assert!(expects("1.1").expects_continue && !expects("1.0").expects_continue);
    }

    #[test]
    fn keep_alive_follows_the_version() {
        assert!(ok("GET / HTTP/1.1\r\nHost: x\r\n\r\n").keep_alive);
        assert!(!ok("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(ok("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn what_two_programs_could_read_differently_is_refused() {
        for head in [
            "GET / HTTP/1.1\nHost: x\n\n",
            "GET / HTTP/1.1\r\nHost: x\n\r\n",
            "GET / HTTP/1.1\r\nA: b\rc\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\0\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET //x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        ] {
            assert_eq!(status(head), 400, "{head:?}");
        }
        for length in ["-1", "+1", "0x1", "", "1, 1", "1 1", "one"] {
            assert_eq!(
                status(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")),
                400,
                "{length}"
            );
        }
        assert_eq!(status("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"), 400);
    }

    #[test]
    fn limits_and_methods_have_their_own_answers() {
        for length in ["101", "99999999999999999", "99999999999999999999999999"] {
            assert_eq!(status(&format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n")), 413);
        }
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1024))), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{}", "a".repeat(1024))), 431);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS))), 431);
        // The same refusal whether the line feed came with the rest or later.
        assert_eq!(status(&format!("GET /{}\n", "a".repeat(1024))), 431);
        assert_eq!(status("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: x\r\nExpect: money\r\n\r\n"), 417);
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict_and_what_is_passed_on_is_ascii(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(head)) = parse(&bytes, 0, RULES) {
                prop_assert!(head.forward.is_ascii());
            }
        }

        #[test]
        fn nearly_right_heads_never_break_it(
            method in "[A-Z]{1,5}", target in "[ -~]{0,20}", headers in prop::collection::vec("[ -~\r\n]{0,40}", 0..5),
        ) {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", headers.join("\r\n"));
            if let Ok(Some(head)) = parse(head.as_bytes(), 0, RULES) {
                let line = text(&head).lines().next().unwrap().to_owned();
                prop_assert_eq!(line.split(' ').count(), 3);
                prop_assert!(text(&head).split("\r\n").all(|line| !line.contains(['\r', '\n'])));
            }
        }

        #[test]
        fn any_split_of_a_head_gives_the_same(noise in "[A-Za-z: \r\n]{0,60}", cut in 1..20_usize) {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{noise}\r\n\r\n");
            let whole = parse(head.as_bytes(), 0, RULES);
            let mut pieces = Ok(None);
            let mut seen = 0;
            for end in (cut..head.len()).step_by(cut).chain([head.len()]) {
                pieces = parse(&head.as_bytes()[..end], seen, RULES);
                seen = end;
                if !matches!(pieces, Ok(None)) {
                    break;
                }
            }
            prop_assert_eq!(pieces.map(|head| head.map(|head| head.forward)), whole.map(|head| head.map(|head| head.forward)));
        }
    }
}

#[cfg(test)]
mod forwarded_tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn found(values: &[&str]) -> Option<String> {
        last_hop(values.iter().map(|value| value.as_bytes())).map(|address| address.to_string())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_last_hop_that_is_not_this_machine_counts() {
        assert_eq!(found(&["203.0.113.7"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["6.6.6.6, 203.0.113.7, 127.0.0.1, ::1"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["6.6.6.6", "203.0.113.7:443", "127.0.0.1"]).unwrap(), "203.0.113.7");
        assert_eq!(found(&["[2001:db8::1]:9"]).unwrap(), "2001:db8::1");
        assert_eq!(found(&["[2001:db8::1]"]).unwrap(), "2001:db8::1");
        assert_eq!(found(&["::ffff:203.0.113.7"]).unwrap(), "203.0.113.7");
    }

    #[test]
    fn garbage_and_what_stands_before_it_are_ignored() {
        for value in ["", ",", "unknown", "6.6.6.6, _hidden", "6.6.6.6,", "1.2.3", "\u{fc}", "a\"b", "127.0.0.1"] {
            assert_eq!(found(&[value]), None, "{value}");
        }
        assert_eq!(found(&[]), None);
        assert_eq!(last_hop([&b"\xff"[..]].into_iter()), None);
    }

    #[test]
    fn only_this_machine_is_believed() {
        let named = ip("203.0.113.7");
        assert_eq!(client(ip("127.0.0.1"), named), named);
        assert_eq!(client(ip("::1"), named), named);
        assert_eq!(client(ip("::ffff:127.0.0.1"), named), named);
        assert_eq!(client(None, named), named);
        assert_eq!(client(ip("198.51.100.2"), named), ip("198.51.100.2"));
        assert_eq!(client(ip("10.0.0.1"), named), ip("10.0.0.1"));
        assert_eq!(client(ip("127.0.0.1"), None), ip("127.0.0.1"));
        assert_eq!(client(None, None), None);
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = last_hop([value.as_slice()].into_iter());
        }
    }
}
