//! The head of a request: is it one that may go on? Pure: bytes in, verdict out. It refuses whatever two programs could
//! read differently (RFC 9112 §2.2, §5, §6, §11.2), so that nothing is smuggled past it.

use crate::http::request::Method;

/// Headers at most.
pub const MAX_HEADERS: usize = 64;

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes follow.
    Known(usize),
    /// Chunks follow.
    Chunked,
}

/// A head that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub bytes: usize,
    /// As sent.
    pub method: String,
    /// As sent; begins with a slash.
    pub target: String,
    /// All but those that concern this connection alone.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How its body is delimited.
    pub length: Length,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The connection stays open after the answer.
    pub keep_alive: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: &'static str,
}

/// A refusal with 400.
const fn bad(message: &'static str) -> Refusal {
    Refusal { status: 400, code: "request_malformed", message }
}

/// What may be asked of a client.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Longest head, in bytes.
    pub head_bytes: usize,
    /// Longest body, in bytes.
    pub body_bytes: usize,
}

/// Headers that concern one connection (RFC 9110 §7.6.1), and those that the guard writes itself.
const NOT_PASSED_ON: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "expect",
];

/// Reads the head at the beginning of `bytes`. `None`: it has not come completely yet.
///
/// # Errors
/// When the request must not go on.
pub fn parse(bytes: &[u8], rules: Rules) -> Result<Option<Head>, Refusal> {
    // No further: how much came at once must not decide which refusal it gets.
    let Some(length) = end_of_head(&bytes[..bytes.len().min(rules.head_bytes)])? else {
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

const fn too_long() -> Refusal {
    Refusal { status: 431, code: "head_too_large", message: "the request line and headers are too long" }
}

/// Length of the head with its empty line. Lines end with CR LF and nothing else.
fn end_of_head(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    for (place, byte) in bytes.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| bytes.get(before));
        match byte {
            b'\n' if before != Some(&b'\r') => return Err(bad("a line ends with a bare LF")),
            b'\n' if place >= 3 && bytes[place - 3..place] == *b"\r\n\r" => return Ok(Some(place + 1)),
            b'\n' if place == 1 => return Err(bad("the request begins with an empty line")),
            0 => return Err(bad("there is a NUL byte in the head")),
            _ if *byte != b'\n' && before == Some(&b'\r') => return Err(bad("there is a bare CR in the head")),
            _ => {}
        }
    }
    Ok(None)
}

fn read(request: &httparse::Request, bytes: usize, rules: Rules) -> Result<Head, Refusal> {
    let method = request.method.unwrap_or_default();
    if Method::parse(method) == Method::Other {
        let message = "this server knows GET, HEAD, POST, PUT and DELETE";
        return Err(Refusal { status: 405, code: "method_not_allowed", message });
    }
    let target = request.path.unwrap_or_default();
    if !target.starts_with('/') || target.contains('#') {
        return Err(bad("the target must be a path; absolute, authority and asterisk forms are refused"));
    }
    if target.starts_with("//") {
        return Err(bad("the target must not begin with two slashes"));
    }
    // tiny_http hangs up on it without an answer.
    if !target.is_ascii() || request.headers.iter().any(|header| !header.value.is_ascii()) {
        return Err(bad("there is a character outside ASCII in the target or in a header"));
    }
    let version_minor = request.version.unwrap_or_default();
    let connection = words(request, "connection");
    if find(request, "upgrade").is_some() || connection.iter().any(|word| word == "upgrade") {
        return Err(bad("this server does not upgrade connections"));
    }
    if find_all(request, "host").count() > 1 || (version_minor == 1 && find(request, "host").is_none()) {
        return Err(bad("there must be exactly one Host header"));
    }
    let close = connection.iter().any(|word| word == "close");
    let keep = connection.iter().any(|word| word == "keep-alive");
    Ok(Head {
        bytes,
        method: method.to_owned(),
        target: target.to_owned(),
        headers: passed_on(request, &connection),
        length: length(request, version_minor, rules)?,
        expects_continue: expects_continue(request)?,
        keep_alive: !close && (version_minor == 1 || keep),
    })
}

fn passed_on(request: &httparse::Request, connection: &[String]) -> Vec<(String, Vec<u8>)> {
    let concerns_connection = |name: &str| {
        let name = name.to_ascii_lowercase();
        NOT_PASSED_ON.contains(&name.as_str()) || (connection.contains(&name) && name != "stripe-signature")
    };
    request
        .headers
        .iter()
        .filter(|header| !concerns_connection(header.name))
        .map(|header| (header.name.to_owned(), header.value.to_vec()))
        .collect()
}

fn length(request: &httparse::Request, version_minor: u8, rules: Rules) -> Result<Length, Refusal> {
    let mut lengths = find_all(request, "content-length");
    let (declared, second) = (lengths.next(), lengths.next());
    let mut codings = find_all(request, "transfer-encoding");
    let (coding, second_coding) = (codings.next(), codings.next());
    match (declared, coding) {
        (Some(_), Some(_)) => Err(bad("Content-Length and Transfer-Encoding are both there")),
        (None, Some(_)) if version_minor == 0 => Err(bad("Transfer-Encoding is not part of HTTP/1.0")),
        (None, Some(coding)) if second_coding.is_none() && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Length::Chunked)
        }
        (None, Some(_)) => Err(bad("Transfer-Encoding must be chunked and nothing else")),
        (Some(_), None) if second.is_some() => Err(bad("there is more than one Content-Length")),
        (Some(value), None) => known(value, rules),
        (None, None) => Ok(Length::Known(0)),
    }
}

fn known(value: &[u8], rules: Rules) -> Result<Length, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("Content-Length is not a number"));
    }
    // More digits than a number of 64 bits has are too many in any case.
    let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
    match length {
        Some(length) if length <= rules.body_bytes => Ok(Length::Known(length)),
        _ => Err(TOO_LARGE),
    }
}

/// 413.
pub(super) const TOO_LARGE: Refusal =
    Refusal { status: 413, code: "body_too_large", message: "the body is larger than limits.body_bytes" };

fn expects_continue(request: &httparse::Request) -> Result<bool, Refusal> {
    match find(request, "expect") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => {
            let message = "the only expectation known here is 100-continue";
            Err(Refusal { status: 417, code: "expectation_failed", message })
        }
    }
}

fn find_all<'a>(request: &'a httparse::Request, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

fn find<'a>(request: &'a httparse::Request, name: &'static str) -> Option<&'a [u8]> {
    find_all(request, name).next()
}

/// The comma-separated words of a header, in lower case.
fn words(request: &httparse::Request, name: &'static str) -> Vec<String> {
    find_all(request, name)
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|word| String::from_utf8_lossy(word).trim().to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules { head_bytes: 1024, body_bytes: 100 };

    fn status(head: &str) -> u16 {
        parse(head.as_bytes(), RULES).unwrap_err().status
    }

    fn ok(head: &str) -> Head {
        parse(head.as_bytes(), RULES).unwrap().unwrap()
    }

    #[test]
    fn a_plain_request_goes_on_without_what_concerns_its_connection() {
        let head = ok(
            "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nA: b\r\n\r\nabc",
        );
        assert_eq!((head.length, head.keep_alive, head.target.as_str()), (Length::Known(3), false, "/a?b=c"));
        let names: Vec<&str> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Host", "A"]);
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost:", RULES), Ok(None));
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
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "GET /zoë HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nX-Name: Zoë\r\n\r\n",
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
        fn any_bytes_get_a_verdict_and_what_goes_on_is_clean(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(head)) = parse(&bytes, RULES) {
                prop_assert!(head.target.starts_with('/'));
                prop_assert!(head.headers.iter().all(|(_, value)| !value.contains(&b'\n') && !value.contains(&b'\r')));
            }
        }

        #[test]
        fn nearly_right_heads_never_break_it(
            method in "[A-Z]{1,5}", target in "[ -~]{0,20}", headers in prop::collection::vec("[ -~\r\n]{0,40}", 0..5),
        ) {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", headers.join("\r\n"));
            if let Ok(Some(head)) = parse(head.as_bytes(), RULES) {
                prop_assert!(!head.target.contains(' '));
            }
        }
    }
}
