//! What must hold of the guard's parser, whatever a client sends. The first byte of the input chooses the limits, the
//! second how the stream is cut into pieces; the rest is what comes over one connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tilld::http::door::fuzzing::{Chunks, Head, HeadRules, Length, MAX_HEADERS, RequestRefusal, parse, passed_on};
use tilld::http::door::{BODY_HEADER, Bodies, PEER_HEADER};

/// Head and body limits that an input can choose.
const LIMITS: [(usize, usize); 4] = [(16_384, 1_048_576), (512, 64), (128, 0), (64, 4096)];

/// Byte by byte is tried up to this length.
const BYTEWISE_BYTES: usize = 1024;

/// A request that was let through.
#[derive(Debug, PartialEq)]
struct Let {
    /// The head as it came.
    raw: Vec<u8>,
    head: Head,
    body: Vec<u8>,
}

/// What became of a stream.
#[derive(Debug, PartialEq)]
struct Verdict {
    through: Vec<Let>,
    /// Why it ended; `None`: more is awaited.
    refused: Option<RequestRefusal>,
    /// Bytes that belong to no complete part yet.
    left: usize,
}

pub fn check(input: &[u8]) {
    let [rules, cut, stream @ ..] = input else { return };
    let (head_bytes, body_bytes) = LIMITS[usize::from(*rules) % LIMITS.len()];
    // The next bit: must a POST say how long its body is?
    let length_required = usize::from(*rules) / LIMITS.len() % 2 == 1;
    let rules = HeadRules { head_bytes, body_bytes, length_required };
    let whole = read([stream], rules);
    let cut = usize::from(*cut) + 1;
    assert_eq!(whole, read(stream.chunks(cut), rules), "cut into pieces of {cut} bytes");
    assert_eq!(whole, read(uneven(stream, cut), rules), "cut into uneven pieces");
    if stream.len() <= BYTEWISE_BYTES {
        assert_eq!(whole, read(stream.chunks(1), rules), "cut into single bytes");
    }
    for request in &whole.through {
        check_request(request, rules);
    }
}

/// Pieces of changing length, as a network makes them.
fn uneven(mut stream: &[u8], seed: usize) -> Vec<&[u8]> {
    let (mut pieces, mut state) = (Vec::new(), seed);
    while !stream.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (piece, rest) = stream.split_at(((state >> 33) % 97 + 1).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Reads requests as `http/door/connection.rs` does: whenever bytes have come, as far as they reach.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, rules: HeadRules) -> Verdict {
    let mut verdict = Verdict { through: Vec::new(), refused: None, left: 0 };
    let mut input = Input { early: Vec::new(), seen: 0, current: None };
    for piece in pieces {
        input.early.extend_from_slice(piece);
        match advance(&mut input, rules, &mut verdict.through) {
            Ok(true) => {}
            // The connection is closed; nobody reads what else comes.
            Ok(false) => return verdict,
            Err(refusal) => {
                verdict.refused = Some(refusal);
                return verdict;
            }
        }
    }
    verdict.left = input.early.len();
    verdict
}

/// What has come and belongs to no complete request yet.
struct Input {
    early: Vec<u8>,
    /// So much of it is known to be no complete head.
    seen: usize,
    current: Option<Current>,
}

/// A request whose head has come.
struct Current {
    raw: Vec<u8>,
    head: Head,
    chunks: Option<Chunks>,
}

/// Whether the connection stays open.
fn advance(input: &mut Input, rules: HeadRules, through: &mut Vec<Let>) -> Result<bool, RequestRefusal> {
    let Input { early, seen, current } = input;
    loop {
        let Some(mut request) = current.take() else {
            if early.is_empty() {
                return Ok(true);
            }
            let Some(head) = parse(early, *seen, rules)? else {
                *seen = early.len();
                return Ok(true);
            };
            *seen = 0;
            let raw = early.drain(..head.bytes).collect();
            let chunks = (head.length == Length::Chunked).then(|| Chunks::new(rules.body_bytes));
            *current = Some(Current { raw, head, chunks });
            continue;
        };
        let body = match (&mut request.chunks, request.head.length) {
            (Some(chunks), _) => {
                let taken = chunks.take(early)?;
                early.drain(..taken);
                if !chunks.is_done() {
                    // As for a large body: the same in another buffer.
                    chunks.move_into(Vec::with_capacity(chunks.body_len()));
                }
                chunks.is_done().then(|| request.chunks.take().unwrap().into_body())
            }
            (None, Length::Known(length)) => (early.len() >= length).then(|| early.drain(..length).collect()),
            (None, Length::Chunked) => unreachable!("chunks are kept for a chunked body"),
        };
        match body {
            Some(body) => {
                let last = !request.head.keep_alive;
                through.push(Let { raw: request.raw, head: request.head, body });
                if last {
                    return Ok(false);
                }
            }
            None => {
                *current = Some(request);
                return Ok(true);
            }
        }
    }
}

fn check_request(request: &Let, rules: HeadRules) {
    let Let { raw, head, body } = request;
    assert_eq!(head.bytes, raw.len());
    assert!(head.bytes <= rules.head_bytes, "a head of {} bytes", head.bytes);
    assert!(body.len() <= rules.body_bytes, "a body of {} bytes", body.len());
    if let Length::Known(length) = head.length {
        assert_eq!(length, body.len());
    }
    let came = Came::read(raw);
    check_framing(&came, body, rules);
    check_said(&came, head);
    for peer in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)))] {
        check_written(request, &came, peer);
    }
}

/// A head as a reader of lines sees it, unlike the guard (RFC 9112 §2.1, §3, §5).
struct Came<'a> {
    method: &'a str,
    target: &'a str,
    is_11: bool,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Came<'a> {
    /// There is no more than one way to take it apart.
    fn read(raw: &'a [u8]) -> Self {
        let ends = raw.windows(2).filter(|pair| pair == b"\r\n").count();
        for end in [b'\r', b'\n'] {
            assert_eq!(raw.iter().filter(|byte| **byte == end).count(), ends, "{}", raw.escape_ascii());
        }
        let lines = raw.strip_suffix(b"\r\n\r\n").expect("an empty line at the end");
        let mut lines = lines.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let request_line = lines.next().and_then(|line| std::str::from_utf8(line).ok()).expect("a request line");
        let [method, target, version] = request_line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("the request line {request_line:?}")
        };
        assert!(matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "DELETE"), "{method:?}");
        // tiny_http hangs up on anything that is not ASCII.
        assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "the target {target:?}");
        assert!(target.starts_with('/') && !target.starts_with("//"), "the target {target:?}");
        assert!(matches!(version, "HTTP/1.1" | "HTTP/1.0"), "{version:?}");
        Self { method, target, is_11: version == "HTTP/1.1", headers: lines.map(header).collect() }
    }

    /// The values of a header.
    fn all(&self, wanted: &str) -> Vec<&'a [u8]> {
        let found = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| *value).collect()
    }

    /// The words of a header that is a list (RFC 9110 §5.6.1), in small letters.
    fn words(&self, wanted: &str) -> Vec<String> {
        let text = self.all(wanted).join(&b","[..]);
        let words = text.split(|byte| *byte == b',').map(|word| word.trim_ascii().to_ascii_lowercase());
        words.map(|word| String::from_utf8_lossy(&word).into_owned()).collect()
    }

    /// What must go on: no header of this connection, none of the guard's own, a Host in any case, ASCII only.
    fn to_pass_on(&self) -> Vec<(String, Vec<u8>)> {
        const OURS: [&str; 12] = [
            "connection",
            "content-length",
            "expect",
            "http2-settings",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-tilld-body",
            "x-tilld-peer",
        ];
        const NEVER_NAMED_AWAY: [&str; 4] = ["authorization", "host", "stripe-signature", "x-forwarded-for"];
        let named = self.words("connection");
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if OURS.contains(&&*lower) || (named.contains(&lower) && !NEVER_NAMED_AWAY.contains(&&*lower)) {
                continue;
            }
            headers.push(((*name).to_owned(), value.iter().map(|byte| (*byte).min(0x80)).collect::<Vec<_>>()));
        }
        for byte in headers.iter_mut().flat_map(|(_, value)| value).filter(|byte| **byte == 0x80) {
            *byte = b'?';
        }
        if self.all("host").is_empty() {
            headers.push(("Host".to_owned(), b"tilld".to_vec()));
        }
        headers
    }

    /// The last hop that is not this machine, if every hop behind it is.
    fn last_stranger(&self) -> Option<IpAddr> {
        let text = self.all("x-forwarded-for").join(&b","[..]);
        for hop in text.rsplit(|byte| *byte == b',') {
            let hop = std::str::from_utf8(hop).ok()?.trim();
            let address = hop.parse::<SocketAddr>().map(|address| address.ip());
            let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
            let address = address.or_else(|_| bare.parse::<IpAddr>()).ok()?.to_canonical();
            if !address.is_loopback() {
                return Some(address);
            }
        }
        None
    }
}

/// Name and value of a line.
fn header(line: &[u8]) -> (&str, &[u8]) {
    let told = line.escape_ascii();
    let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
    let name = std::str::from_utf8(&line[..colon]).expect("a name in ASCII");
    assert!(!name.is_empty() && name.bytes().all(is_token), "the header {told}");
    let mut value = &line[colon + 1..];
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    assert!(value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F)), "the header {told}");
    (name, value)
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the body ends, can be read in one way only (RFC 9112 §3.2, §6).
fn check_framing(came: &Came, body: &[u8], rules: HeadRules) {
    match (&came.all("content-length")[..], &came.all("transfer-encoding")[..]) {
        ([], []) => {
            assert!(body.is_empty());
            assert!(!rules.length_required || !matches!(came.method, "POST" | "PUT"), "no length");
        }
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit), "{}", length.escape_ascii());
            assert_eq!(std::str::from_utf8(length).unwrap().parse(), Ok(body.len()));
        }
        ([], [coding]) => assert!(came.is_11 && coding.eq_ignore_ascii_case(b"chunked"), "{}", coding.escape_ascii()),
        both => panic!("more than one length: {both:?}"),
    }
    let hosts = came.all("host").len();
    assert!(hosts == 1 || (hosts == 0 && !came.is_11), "{hosts} hosts");
}

/// What the guard goes by is what the client said.
fn check_said(came: &Came, head: &Head) {
    assert_eq!((head.is_head, head.is_http_10), (came.method == "HEAD", !came.is_11));
    let connection = came.words("connection");
    let says = |word: &str| connection.iter().any(|said| said == word);
    assert_eq!(head.keep_alive, !says("close") && (came.is_11 || says("keep-alive")));
    let expect = came.all("expect");
    assert!(expect.iter().take(1).all(|value| value.eq_ignore_ascii_case(b"100-continue")));
    assert_eq!(head.expects_continue, came.is_11 && !expect.is_empty());
    assert_eq!(head.forwarded, came.last_stranger());
}

/// The request as tiny_http gets it is one request, the same one, to any reader.
fn check_written(request: &Let, came: &Came, peer: Option<IpAddr>) {
    let Let { head, body, .. } = request;
    let bodies = Bodies::new(1);
    let bytes = passed_on(&bodies, head, body, peer).expect("memory takes it");

    let mut expected = came.to_pass_on();
    // X-Forwarded-For is believed from this machine alone.
    let client = peer.filter(|peer| !peer.is_loopback()).or(head.forwarded).or(peer);
    expected.extend(client.map(|client| (PEER_HEADER.to_owned(), client.to_string().into_bytes())));
    if !body.is_empty() {
        expected.push((BODY_HEADER.to_owned(), b"0.1".to_vec()));
    }
    let expected: Vec<_> = expected.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();

    // Host, client and ticket may be added.
    let mut space = [httparse::EMPTY_HEADER; MAX_HEADERS + 3];
    let mut parsed = httparse::Request::new(&mut space);
    let Ok(httparse::Status::Complete(end)) = parsed.parse(&bytes) else { panic!("httparse does not read it back") };
    assert_eq!((parsed.method, parsed.path, parsed.version), (Some(came.method), Some(came.target), Some(1)));
    assert_eq!(end, bytes.len(), "nothing follows the head");
    let went: Vec<_> = parsed.headers.iter().map(|header| (header.name, header.value)).collect();
    assert_eq!(went, expected);
    let all = |name: &str| went.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).collect::<Vec<_>>();
    // Without them tiny_http expects no body.
    assert!(all("content-length").is_empty() && all("transfer-encoding").is_empty());
    assert_eq!((all("host").len(), all(PEER_HEADER).len()), (1, usize::from(client.is_some())));
    match all(BODY_HEADER)[..] {
        [] => assert!(body.is_empty()),
        [(_, ticket)] => assert_eq!(bodies.take(std::str::from_utf8(ticket).unwrap()).as_ref(), Some(body)),
        _ => panic!("more than one ticket"),
    }

    // A reader that takes lines apart by hand, as tiny_http does, sees the same lines.
    let text = std::str::from_utf8(&bytes[..end]).expect("UTF-8");
    assert!(text.is_ascii());
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("an empty line at the end").split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0'])), "{text:?}");
    assert_eq!(lines.len(), expected.len() + 1);
    assert_eq!(lines[0].split(' ').collect::<Vec<_>>(), [came.method, came.target, "HTTP/1.1"]);
    for (line, (name, value)) in lines[1..].iter().zip(&expected) {
        let (left, right) = line.split_once(':').expect("a colon");
        assert_eq!((left, right.trim().as_bytes()), (*name, value.trim_ascii()));
    }
}
