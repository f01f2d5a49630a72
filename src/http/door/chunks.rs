//! Chunked bodies (RFC 9112 §7.1), decoded under the same limit as any other. Pure: bytes in, progress out. It must
//! never grow beyond that limit. Called by `connection`.

use super::head::{RequestRefusal, TOO_LARGE};
use crate::http::error_code::ErrorCode;

/// The longest line of a chunk's size with its extension, in bytes.
const MAX_SIZE_LINE: usize = 256;
/// The most bytes of the extensions of all chunks together. Nobody needs any; without a limit they could be endless.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// The longest trailer, in bytes. Trailers are read and dropped.
const MAX_TRAILER: usize = 4096;

const MALFORMED: RequestRefusal = RequestRefusal { code: ErrorCode::RequestMalformed, message: "a chunk is malformed" };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
    Done,
}

/// A body that is being decoded.
#[derive(Debug)]
pub struct Chunks {
    state: ChunkState,
    body: Vec<u8>,
    limit: usize,
    extensions: usize,
    trailer: usize,
}

impl Chunks {
    /// An empty body that may grow to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { state: ChunkState::Size, body: Vec::new(), limit, extensions: 0, trailer: 0 }
    }

    /// Takes what it can from the beginning of `bytes`. Returns how many bytes it took.
    ///
    /// # Errors
    /// When it is malformed or too large.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, RequestRefusal> {
        let mut taken = 0;
        while self.state != ChunkState::Done {
            match self.step(&bytes[taken..])? {
                0 => break,
                count => taken += count,
            }
        }
        Ok(taken)
    }

    /// Whether the last chunk and the trailer have arrived.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// How many bytes of the body have arrived.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Continues in another, larger buffer.
    pub fn move_into(&mut self, mut buffer: Vec<u8>) {
        buffer.extend_from_slice(&self.body);
        self.body = buffer;
    }

    /// The decoded body.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    fn step(&mut self, bytes: &[u8]) -> Result<usize, RequestRefusal> {
        match self.state {
            ChunkState::Size => self.size(bytes),
            ChunkState::Data(left) => Ok(self.data(bytes, left)),
            ChunkState::DataEnd => match bytes {
                [] | [b'\r'] => Ok(0),
                [b'\r', b'\n', ..] => self.go(ChunkState::Size, 2),
                _ => Err(MALFORMED),
            },
            ChunkState::Trailer => self.trailer_line(bytes),
            ChunkState::Done => Ok(0),
        }
    }

    fn go(&mut self, state: ChunkState, taken: usize) -> Result<usize, RequestRefusal> {
        self.state = state;
        Ok(taken)
    }

    fn size(&mut self, bytes: &[u8]) -> Result<usize, RequestRefusal> {
        let Some(line) = line(bytes, MAX_SIZE_LINE)? else { return Ok(0) };
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(digits).map_err(|_| MALFORMED)?;
        if !is_hex {
            return Err(MALFORMED);
        }
        self.extensions += line.len() - digits.len();
        if self.extensions > MAX_EXTENSIONS {
            return Err(MALFORMED);
        }
        let size = usize::from_str_radix(text, 16).map_err(|_| TOO_LARGE)?;
        let total = self.body.len().checked_add(size).ok_or(TOO_LARGE)?;
        if total > self.limit {
            return Err(TOO_LARGE);
        }
        self.go(if size == 0 { ChunkState::Trailer } else { ChunkState::Data(size) }, line.len() + 2)
    }

    fn data(&mut self, bytes: &[u8], left: usize) -> usize {
        let count = left.min(bytes.len());
        self.body.extend_from_slice(&bytes[..count]);
        self.state = if count == left { ChunkState::DataEnd } else { ChunkState::Data(left - count) };
        count
    }

    fn trailer_line(&mut self, bytes: &[u8]) -> Result<usize, RequestRefusal> {
        let Some(line) = line(bytes, MAX_TRAILER - self.trailer)? else { return Ok(0) };
        self.trailer += line.len() + 2;
        if self.trailer >= MAX_TRAILER {
            return Err(MALFORMED);
        }
        self.go(if line.is_empty() { ChunkState::Done } else { ChunkState::Trailer }, line.len() + 2)
    }
}

/// The line at the beginning of `bytes`, without its CR LF; `None` if its end has not arrived yet.
fn line(bytes: &[u8], limit: usize) -> Result<Option<&[u8]>, RequestRefusal> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > limit => Err(MALFORMED),
        Some(end) if end > 0 && bytes[end - 1] == b'\r' && !bytes[..end - 1].contains(&b'\r') => {
            Ok(Some(&bytes[..end - 1]))
        }
        Some(_) => Err(MALFORMED),
        None if bytes.len() > limit => Err(MALFORMED),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8], limit: usize) -> Result<Option<(Vec<u8>, usize)>, u16> {
        let mut chunks = Chunks::new(limit);
        let taken = chunks.take(bytes).map_err(RequestRefusal::status)?;
        Ok(chunks.is_done().then(|| (chunks.into_body(), taken)))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        let body = b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\nGET";
        assert_eq!(decode(body, 10), Ok(Some((b"abcde".to_vec(), body.len() - 3))));
        assert_eq!(decode(b"3\r\nab", 10), Ok(None));
    }

    #[test]
    fn malformed_endless_and_absurd_chunks_are_refused() {
        for body in
            [&b"-1\r\n"[..], b"0x3\r\nabc", b" 3\r\nabc\r\n", b"3\nabc\r\n", b"3\r\nabcd\r\n", b"\r\n", b"g\r\n"]
        {
            assert_eq!(decode(body, 10), Err(400), "{body:?}");
        }
        for body in [&b"b\r\n"[..], b"ffffffffffffffff\r\n", b"fffffffffffffffffffff\r\n", b"8\r\n12345678\r\n8\r\n"] {
            assert_eq!(decode(body, 10), Err(413), "{body:?}");
        }
        assert_eq!(decode(format!("1;{}", "a".repeat(300)).as_bytes(), 10), Err(400));
        let extended = format!("1;{}\r\na\r\n", "a".repeat(250)).repeat(70);
        assert_eq!(decode(extended.as_bytes(), 100), Err(400));
        assert_eq!(decode(format!("0\r\n{}", "A: b\r\n".repeat(1000)).as_bytes(), 10), Err(400));
    }

    proptest! {
        #[test]
        fn any_split_of_a_body_gives_the_same(
            body in prop::collection::vec(any::<u8>(), 0..200), size in 1..50_usize, cut in 1..40_usize,
        ) {
            let mut wire = Vec::new();
            for chunk in body.chunks(size) {
                wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            let mut chunks = Chunks::new(200);
            let mut buffer = Vec::new();
            for piece in wire.chunks(cut) {
                buffer.extend(piece);
                let taken = chunks.take(&buffer).unwrap();
                buffer.drain(..taken);
            }
            prop_assert!(chunks.is_done() && buffer.is_empty());
            prop_assert_eq!(chunks.into_body(), body);
        }

        #[test]
        fn no_bytes_break_it_or_grow_past_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut chunks = Chunks::new(20);
            let _ = chunks.take(&bytes);
            prop_assert!(chunks.into_body().len() <= 20);
        }
    }
}
