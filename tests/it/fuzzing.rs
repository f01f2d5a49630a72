//! The properties of `fuzz/`, without a fuzzer: the seeds kept there, and a few thousand pseudo-random changes to them,
//! the same in every run.

use std::path::Path;

#[path = "../../fuzz/properties/envelope.rs"]
mod envelope;
#[path = "../../fuzz/properties/form.rs"]
mod form;
#[path = "../../fuzz/properties/guard.rs"]
mod guard;
#[path = "../../fuzz/properties/signature.rs"]
mod signature;

/// Changed inputs per target; `PROPTEST_CASES` may ask for more.
const MUTATIONS: u32 = 4000;
/// Longest input, in bytes; the fuzzer goes on to 8192.
const LONGEST: usize = 2048;

/// xorshift64*: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end.max(1)
    }
}

/// The seeds of a target and the words of its dictionary.
fn material(target: &str) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let entries = std::fs::read_dir(root.join("seeds").join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 10, "{target} has {} seeds", seeds.len());
    let dictionary = std::fs::read_to_string(root.join("dictionaries").join(format!("{target}.dict"))).unwrap();
    let words =
        dictionary.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"')).map(unescaped).collect();
    (seeds, words)
}

/// A word as libFuzzer's dictionaries write it: `\xAB`, `\\` and `\"`.
fn unescaped(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.as_bytes());
    while let [first, after @ ..] = rest {
        (bytes, rest) = match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                (bytes, after)
            }
            (b'\\', [byte, after @ ..]) | (byte, after) => {
                bytes.push(*byte);
                (bytes, after)
            }
        };
    }
    bytes
}

fn mutate(input: &mut Vec<u8>, chance: &mut Chance, seeds: &[Vec<u8>], words: &[Vec<u8>]) {
    let place = chance.below(input.len() + 1);
    match chance.below(8) {
        0 if place < input.len() => input[place] ^= 1 << chance.below(8),
        1 if place < input.len() => input[place] = u8::try_from(chance.below(256)).unwrap(),
        2 => {
            let end = (place + 1 + chance.below(8)).min(input.len());
            input.drain(place.min(end)..end);
        }
        3 => {
            let end = (place + 1 + chance.below(32)).min(input.len());
            let piece = input[place.min(end)..end].to_vec();
            let other = chance.below(input.len() + 1);
            input.splice(other..other, piece);
        }
        4 => {
            let other = &seeds[chance.below(seeds.len())];
            input.truncate(place);
            input.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
        5 => input.truncate(place),
        6 => {
            // A line once more: two headers of one name.
            let start = input[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let end = input[place..].iter().position(|byte| *byte == b'\n').map_or(input.len(), |end| place + end + 1);
            let line = input[start..end].to_vec();
            input.splice(end..end, line);
        }
        _ => {
            let word = &words[chance.below(words.len())];
            input.splice(place..place, word.iter().copied());
        }
    }
    input.truncate(LONGEST);
}

fn replay(target: &str, check: fn(&[u8])) {
    let (seeds, words) = material(target);
    seeds.iter().for_each(|seed| check(seed));
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let rounds = usize::try_from(crate::harness::cases(MUTATIONS)).unwrap();
    for round in 0..rounds {
        let mut input = seeds[round % seeds.len()].clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &mut chance, &seeds, &words);
        }
        let told = input.clone();
        if std::panic::catch_unwind(|| check(&input)).is_err() {
            panic!("{target}: the property fails for {:?}", told.escape_ascii().to_string());
        }
    }
}

#[test]
fn whatever_comes_over_a_connection_is_refused_or_one_plain_request() {
    replay("guard", guard::check);
}

#[test]
fn no_header_verifies_without_the_secret_and_every_genuine_one_does() {
    replay("signature", signature::check);
}

#[test]
fn an_envelope_says_what_the_whole_event_says() {
    replay("envelope", envelope::check);
}

#[test]
fn a_form_read_back_is_the_form() {
    replay("form", form::check);
}
