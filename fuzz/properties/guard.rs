//! What must hold of the guard's parser, whatever a client sends. The first byte of the input chooses the limits, the
//! second how the stream is cut into pieces; the rest is what comes over one connection.

use std::net::{IpAddr, Ipv4Addr};

use tilld::http::guard::PEER_HEADER;
use tilld::http::guard::fuzzing::{Chunks, Head, Length, MAX_HEADERS, Refusal, Rules, parse, written};

/// Head and body limits that an input can choose.
const RULES: [Rules; 4] = [
    Rules { head_bytes: 16_384, body_bytes: 1_048_576 },
    Rules { head_bytes: 512, body_bytes: 64 },
    Rules { head_bytes: 128, body_bytes: 0 },
    Rules { head_bytes: 64, body_bytes: 4096 },
];

/// Byte by byte is tried up to this length; each step looks at the head again.
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
    refused: Option<Refusal>,
    /// Bytes that belong to no complete part yet.
    left: usize,
}

pub fn check(input: &[u8]) {
    let [rules, cut, stream @ ..] = input else { return };
    let rules = RULES[usize::from(*rules) % RULES.len()];
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

/// Reads requests as `guard/connection.rs` does: whenever bytes have come, as far as they reach.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, rules: Rules) -> Verdict {
    let mut verdict = Verdict { through: Vec::new(), refused: None, left: 0 };
    let mut early = Vec::new();
    let mut current = None;
    for piece in pieces {
        early.extend_from_slice(piece);
        match advance(&mut early, &mut current, rules, &mut verdict.through) {
            Ok(true) => {}
            // The connection is closed; nobody reads what else comes.
            Ok(false) => return verdict,
            Err(refusal) => {
                verdict.refused = Some(refusal);
                return verdict;
            }
        }
    }
    verdict.left = early.len();
    verdict
}

/// A request whose head has come.
struct Current {
    raw: Vec<u8>,
    head: Head,
    chunks: Option<Chunks>,
}

/// Whether the connection stays open.
fn advance(
    early: &mut Vec<u8>,
    current: &mut Option<Current>,
    rules: Rules,
    through: &mut Vec<Let>,
) -> Result<bool, Refusal> {
    loop {
        let Some(mut request) = current.take() else {
            if early.is_empty() {
                return Ok(true);
            }
            let Some(head) = parse(early, rules)? else { return Ok(true) };
            let raw = early.drain(..head.bytes).collect();
            let chunks = (head.length == Length::Chunked).then(|| Chunks::new(rules.body_bytes));
            *current = Some(Current { raw, head, chunks });
            continue;
        };
        let body = match (&mut request.chunks, request.head.length) {
            (Some(chunks), _) => {
                let taken = chunks.take(early)?;
                early.drain(..taken);
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

fn check_request(request: &Let, rules: Rules) {
    let Let { raw, head, body } = request;
    check_raw(raw, body);
    assert!(head.bytes <= rules.head_bytes, "a head of {} bytes", head.bytes);
    assert!(body.len() <= rules.body_bytes, "a body of {} bytes", body.len());
    if let Length::Known(length) = head.length {
        assert_eq!(length, body.len());
    }
    assert!(matches!(head.method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "DELETE"));
    // tiny_http hangs up on anything that is not ASCII, and splits the request line at spaces.
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()), "the target {:?}", head.target);
    assert!(head.target.starts_with('/') && !head.target.starts_with("//"));
    for (name, value) in &head.headers {
        assert!(!name.is_empty() && name.bytes().all(is_token), "the header name {name:?}");
        let clean = value.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte));
        assert!(clean, "the header {name}: {:?}", value.escape_ascii().to_string());
        let lower = name.to_ascii_lowercase();
        let alone = ["connection", "content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"];
        assert!(!alone.contains(&lower.as_str()), "{name} was passed on");
    }
    for peer in [None, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))] {
        check_written(request, peer);
    }
}

/// What came can be read in one way only (RFC 9112 §2.2, §3.2, §5, §6): read here line by line, unlike in the guard.
fn check_raw(raw: &[u8], body: &[u8]) {
    let text = std::str::from_utf8(raw).expect("ASCII");
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("an empty line at the end").split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0'])), "{text:?}");
    let (request_line, headers) = lines.split_first().expect("a request line");
    let headers: Vec<(String, &str)> = headers
        .iter()
        .map(|line| line.split_once(':').expect("a colon"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    assert!(headers.iter().all(|(name, _)| name.bytes().all(is_token)), "{text:?}");
    let all =
        |wanted: &str| headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| *value).collect::<Vec<_>>();
    let is_11 = request_line.ends_with(" HTTP/1.1");
    assert!(is_11 || request_line.ends_with(" HTTP/1.0"), "{request_line}");
    match (&all("content-length")[..], &all("transfer-encoding")[..]) {
        ([], []) => assert!(body.is_empty()),
        ([length], []) => {
            assert!(length.bytes().all(|byte| byte.is_ascii_digit()), "{length:?}");
            assert_eq!(length.parse(), Ok(body.len()));
        }
        ([], [coding]) => assert!(is_11 && coding.eq_ignore_ascii_case("chunked"), "{coding:?}"),
        both => panic!("more than one length: {both:?}"),
    }
    let hosts = all("host").len();
    assert!(hosts == 1 || (hosts == 0 && !is_11), "{hosts} hosts");
    assert!(all("upgrade").is_empty());
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The request as tiny_http gets it is one request, the same one, to any reader.
fn check_written(request: &Let, peer: Option<IpAddr>) {
    let Let { head, body, .. } = request;
    let bytes = written(head, body, peer);
    // Host, peer and length may be added.
    let mut space = [httparse::EMPTY_HEADER; MAX_HEADERS + 3];
    let mut parsed = httparse::Request::new(&mut space);
    let Ok(httparse::Status::Complete(end)) = parsed.parse(&bytes) else { panic!("httparse does not read it back") };
    assert_eq!((parsed.method, parsed.path, parsed.version), (Some(&*head.method), Some(&*head.target), Some(1)));
    assert_eq!(&bytes[end..], body, "what follows the head is the body and nothing else");

    let all = |name: &str| {
        let found = parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(all("content-length"), [body.len().to_string().into_bytes()]);
    assert_eq!(all("host").len(), 1);
    assert_eq!(all(PEER_HEADER), peer.iter().map(|peer| peer.to_string().into_bytes()).collect::<Vec<_>>());
    let ours = |name: &str| {
        ["content-length", "host", &PEER_HEADER.to_ascii_lowercase()].contains(&&*name.to_ascii_lowercase())
    };
    let came: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let went: Vec<_> = parsed.headers.iter().map(|header| (header.name, header.value)).collect();
    let others = |list: &[(&str, &[u8])]| {
        list.iter()
            .filter(|(name, _)| !ours(name))
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(others(&came), others(&went));

    // A reader that takes lines apart by hand, as tiny_http does, sees the same lines.
    let text = std::str::from_utf8(&bytes[..end]).expect("ASCII");
    let lines: Vec<&str> = text.strip_suffix("\r\n\r\n").expect("an empty line at the end").split("\r\n").collect();
    assert_eq!(lines.len(), went.len() + 1);
    assert_eq!(lines[0].split(' ').collect::<Vec<_>>(), [head.method.as_str(), &head.target, "HTTP/1.1"]);
    for (line, (name, value)) in lines[1..].iter().zip(&went) {
        let (left, right) = line.split_once(':').expect("a colon");
        assert_eq!((left, right.trim().as_bytes()), (*name, value.trim_ascii()));
    }
}
