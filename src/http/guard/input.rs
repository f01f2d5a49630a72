//! What a client has sent and no request has taken yet. It is read into once allocated memory, never zeroed again, and
//! gives back what a long head made it grow by.

/// Its ordinary size in bytes: head and body of an ordinary webhook in one read.
pub(super) const BUFFER_BYTES: usize = 8 * 1024;

/// Bytes that have come.
pub(super) struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more, at least one byte. Who asks again and again without consuming must set the limit.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let double = self.buffer.len() * 2;
            self.buffer.resize(double, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were put into the room.
    pub(super) fn came(&mut self, count: usize) {
        self.end = self.buffer.len().min(self.end + count);
    }

    /// The first `count` bytes belong to a request.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER_BYTES {
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
    }

    /// Moves what fits into `target`; how many bytes that was.
    pub(super) fn move_into(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.bytes().len());
        target[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(input: &mut Input, bytes: &[u8]) {
        input.room()[..bytes.len()].copy_from_slice(bytes);
        input.came(bytes.len());
    }

    #[test]
    fn what_comes_is_kept_in_order_until_it_is_consumed() {
        let mut input = Input::new();
        put(&mut input, b"abc");
        input.consume(1);
        put(&mut input, b"de");
        assert_eq!(input.bytes(), b"bcde");
        let mut target = [0; 3];
        assert_eq!(input.move_into(&mut target), 3);
        assert_eq!((&target, input.bytes()), (b"bcd", &b"e"[..]));
    }

    #[test]
    fn it_grows_for_one_long_head_and_gives_the_memory_back() {
        let mut input = Input::new();
        for _ in 0..3 {
            let room = input.room().len();
            input.came(room);
        }
        assert!(input.bytes().len() > BUFFER_BYTES);
        input.consume(usize::MAX / 2);
        assert!(input.is_empty() && input.buffer.len() == BUFFER_BYTES);
    }
}
