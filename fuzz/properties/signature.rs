//! What must hold of the `Stripe-Signature` header. The input's first line is a header as anybody may send it, the rest
//! is the body.

use tilld::stripe::signature::{self, SignatureError, Verified};

const SECRET: &str = "whsec_e3c9f1a07d5b4e2f8a6d0c1b9e7f5a3d";
const ROLLED: &str = "whsec_0b1c2d3e4f5061728394a5b6c7d8e9fa";
const STRANGER: &str = "whsec_fffffffffffffffffffffffffffffffff";
const TOLERANCE_S: i64 = 300;
const LAST_S: i64 = 999_999_999_999;

pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let header = String::from_utf8_lossy(line);
    check_foreign(&header, body);
    check_genuine(&header, body);
}

/// A header made without the secret never verifies, whatever its time.
fn check_foreign(header: &str, body: &[u8]) {
    let secrets = [SECRET, ROLLED];
    for (tolerance_s, now_s) in [(TOLERANCE_S, 1_700_000_000), (i64::MAX, 0), (0, i64::MIN), (-1, i64::MAX)] {
        match signature::verify(Some(header), body, &secrets, tolerance_s, now_s) {
            Ok(_) | Err(SignatureError::Stale { .. } | SignatureError::Future { .. }) => {
                panic!("a header that nobody signed is authentic")
            }
            Err(error) => {
                let text = error.to_string();
                assert!(secrets.iter().all(|secret| !text.contains(secret)));
                assert!(text.len() < 400, "the header is quoted");
            }
        }
    }
    // No secret, or a blank one, is nobody's secret.
    for secrets in [&[][..], &["", " \t"][..]] {
        assert!(signature::verify(Some(header), body, secrets, i64::MAX, 0).is_err());
    }
    let blank = signature::sign("", 1_700_000_000, body);
    let refused = signature::verify(Some(&blank), body, &[""], TOLERANCE_S, 1_700_000_000);
    assert_eq!(refused, Err(SignatureError::Mismatch { secrets: 0 }));
}

/// What Stripe signs verifies, with whatever else its header holds; any change to it does not.
fn check_genuine(foreign: &str, body: &[u8]) {
    let seed = body
        .iter()
        .chain(foreign.as_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let at = 1 + i64::try_from(seed % 999_999_999_998).expect("below 10^12");
    let header = signature::sign(SECRET, at, body);
    let v1 = header.split_once(",v1=").expect("what sign writes").1;
    let verify =
        |header: &str, body: &[u8], now_s| signature::verify(Some(header), body, &[ROLLED, SECRET], TOLERANCE_S, now_s);
    let authentic = Ok(Verified { timestamp_s: at });

    assert_eq!(verify(&header, body, at), authentic);
    assert_eq!(verify(&header, body, at + TOLERANCE_S), authentic);
    assert_eq!(verify(&header, body, at - TOLERANCE_S), authentic);
    let age_s = TOLERANCE_S + 1;
    assert_eq!(verify(&header, body, at + age_s), Err(SignatureError::Stale { age_s }));
    assert_eq!(verify(&header, body, at - age_s), Err(SignatureError::Future { ahead_s: age_s }));
    assert!(matches!(verify(&header, body, i64::MAX), Err(SignatureError::Stale { .. })));
    assert!(matches!(verify(&header, body, i64::MIN), Err(SignatureError::Future { .. })));

    // Forms that Stripe documents: any order, other schemes, several signatures, upper-case digits, spaces.
    let other = signature::sign(STRANGER, at, body);
    let other = other.split_once(",v1=").expect("what sign writes").1;
    for accepted in [
        format!("v1={v1},t={at}"),
        format!("t={at},v1={other},v1={v1}"),
        format!("t={at},v1={v1},v1={other},v0={other}"),
        format!("t={at}, v1={v1},"),
        format!("t={at},v1={}", v1.to_uppercase()),
        format!("{}t={at},v1={v1}", schemes(foreign)),
        format!("t={at},{}v1={v1}", schemes(foreign)),
    ] {
        assert_eq!(verify(&accepted, body, at), authentic, "{accepted}");
    }
    let rolled = signature::sign(ROLLED, at, body);
    assert_eq!(verify(&rolled, body, at), authentic);

    let refused = |header: &str, body: &[u8]| {
        let verdict = verify(header, body, at);
        assert!(matches!(verdict, Err(SignatureError::Mismatch { .. } | SignatureError::Malformed(_))), "{verdict:?}");
    };
    for spoilt in mutations(body, seed) {
        refused(&header, &spoilt);
    }
    let later = at % LAST_S + 1;
    refused(&format!("t={later},v1={v1}"), body);
    refused(&format!("t={at},t={at},v1={v1}"), body);
    refused(&format!("t=0{at},v1={v1}"), body);
    refused(&format!("t=+{at},v1={v1}"), body);
    refused(&format!("t={at},v0={v1}"), body);
    refused(&format!("t={at},v1={other}"), body);
    refused(&format!("t={at},v1={}", &v1[1..]), body);
    let place = usize::try_from(seed % 64).expect("below 64");
    let digit = if v1.as_bytes()[place] == b'0' { "1" } else { "0" };
    refused(&format!("t={at},v1={}{digit}{}", &v1[..place], &v1[place + 1..]), body);
}

/// The items of a header that no reader may care about, each with its comma.
fn schemes(header: &str) -> String {
    const KEPT_BYTES: usize = 3000;
    let item = |item: &&str| !matches!(item.trim().split_once('='), Some(("t" | "v1", _)));
    let kept: String = header.split(',').filter(item).flat_map(|item| [item, ","]).collect();
    if kept.len() > KEPT_BYTES { String::new() } else { kept }
}

fn mutations(body: &[u8], seed: u64) -> Vec<Vec<u8>> {
    let mut found = vec![[body, b"\n"].concat(), [b" ", body].concat(), [b"\xef\xbb\xbf", body].concat()];
    if let Some((_, shorter)) = body.split_last() {
        let place = usize::try_from(seed % u64::try_from(body.len()).expect("a length")).expect("below a length");
        let mut flipped = body.to_vec();
        flipped[place] ^= 1 << (seed >> 32 & 7);
        found.extend([shorter.to_vec(), flipped]);
    }
    found
}
