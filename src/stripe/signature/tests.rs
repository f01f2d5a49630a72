//! The vectors of reference/stripe-facts.md §1, then what holds for any input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::SignatureError::{Future, Malformed, Mismatch, Missing, Stale};
use super::*;
use proptest::prelude::*;

const S1: &str = "whsec_vector_secret_one";
const S2: &str = "whsec_vector_secret_two";
const T: i64 = 1_700_000_000;
const P1: &str = r#"{"id":"evt_test_1","object":"event","type":"invoice.paid"}"#;
const P1_RESERIALISED: &str = r#"{"id": "evt_test_1", "object": "event", "type": "invoice.paid"}"#;
const P2: &str = "{\n  \"id\": \"evt_test_2\",\n  \"object\": \"event\",\n  \"name\": \"Zoë €\"\n}\n";
const A: &str = "38b48014d5cad7c1b57cba016489b380b79af6951c3d4332da5afdfc7758162c";
const B: &str = "8eb5abb0c339b1eab52e45e4e306b2dc495e3852be6a4f4e37ec87ca4d125ed2";
const C: &str = "00373fa18475b36a88e5fd8be13264330d624130784c14a3709c444b7dc0bc8b";
const N: &str = "ab08978a383f5507fcd328a944aaa86fba42bf59c76e3cd45ea2a99ea80b1646";
const E: &str = "fd50e6e29d0c49562c0156250b4deb5f79e9828a8dcf2896f571e456e2dd8839";
const Z: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const NO_TIMESTAMP: SignatureError = Malformed("it has no timestamp t");
const TWO_TIMESTAMPS: SignatureError = Malformed("it has two timestamps t");
const BAD_TIMESTAMP: SignatureError = Malformed("its timestamp t is not a number of 1 to 12 digits");
const NO_SIGNATURE: SignatureError = Malformed("it has no v1 signature of 64 hex digits");
const FORGED: SignatureError = Mismatch { secrets: 1 };

fn check(header: &str, body: &str, secret: &str, now_s: i64) -> Result<(), SignatureError> {
    verify(Some(header), body.as_bytes(), &[secret], 300, now_s).map(|verified| {
        assert_eq!(verified.timestamp_s, T);
    })
}

/// Most vectors differ in the header alone.
fn check_header(header: &str) -> Result<(), SignatureError> {
    check(header, P1, S1, T + 60)
}

#[test]
fn the_vectors_are_what_the_reference_says() {
    assert_eq!((P1.len(), P2.len()), (58, 68));
    assert_eq!(hex::encode(Sha256::digest(P2)), "ad78e0ba55fdcf0d951bba92be0c817ba8456d1ff9b4f985f51bef4589036352");
    for (secret, body, expected) in [(S1, P1, A), (S2, P1, B), (S1, P2, C), ("vector_secret_one", P1, N), ("", P1, E)] {
        assert_eq!(sign(secret, T, body.as_bytes()), format!("t={T},v1={expected}"));
    }
}

#[test]
fn every_reference_vector_about_the_header_has_its_verdict() {
    let late = T + 1;
    let upper = A.to_uppercase();
    let short = &A[1..];
    let table = [
        ("1", format!("t={T},v1={A}"), Ok(())),
        ("2 order", format!("v1={A},t={T}"), Ok(())),
        ("3 rolled", format!("t={T},v1={B},v1={A}"), Ok(())),
        ("5 v0 only", format!("t={T},v0={A}"), Err(NO_SIGNATURE)),
        ("6", format!("t={T},v1={Z},v0={A},v2={A}"), Err(FORGED)),
        ("7", format!("t={T},v1={A},v0={Z},v9=zz"), Ok(())),
        ("15 other t", format!("t={late},v1={A}"), Err(FORGED)),
        ("16 no whsec_", format!("t={T},v1={N}"), Err(FORGED)),
        ("18 space", format!("t={T}, v1={A}"), Ok(())),
        ("19 upper case", format!("t={T},v1={upper}"), Ok(())),
        ("20", format!("t={T},t={},v1={A}", T + 5), Err(TWO_TIMESTAMPS)),
        ("21", format!("t={},t={T},v1={A}", T + 5), Err(TWO_TIMESTAMPS)),
        ("22 trailing comma", format!("t={T},v1={A},"), Ok(())),
        ("23", format!("t={T},v1={A}="), Err(NO_SIGNATURE)),
        ("24", format!("t={T}abc,v1={A}"), Err(BAD_TIMESTAMP)),
        ("25 no t", format!("v1={A}"), Err(NO_TIMESTAMP)),
        ("25 empty", String::new(), Err(Missing)),
        ("25 case", format!("T={T},V1={A}"), Err(NO_TIMESTAMP)),
        ("26 bad item first", format!("t={T},v1=xyz,v1={A}"), Ok(())),
        ("27 no digits", format!("t={T},v1="), Err(NO_SIGNATURE)),
        ("27 63", format!("t={T},v1={short}"), Err(NO_SIGNATURE)),
    ];
    for (vector, header, verdict) in table {
        assert_eq!(check_header(&header), verdict, "vector {vector}");
    }
}

#[test]
fn every_reference_vector_about_secret_body_and_time_has_its_verdict() {
    let a = &format!("t={T},v1={A}");
    let c = &format!("t={T},v1={C}");
    let rolled = &format!("t={T},v1={B},v1={A}");
    let as_loaded = format!("{S1}\n");
    let table = [
        ("4", check(rolled, P1, S2, T + 60), Ok(())),
        ("8 age = tolerance", check(a, P1, S1, T + 300), Ok(())),
        ("9", check(a, P1, S1, T + 301), Err(Stale { age_s: 301 })),
        ("10", check(a, P1, S1, T - 3600), Err(Future { ahead_s: 3600 })),
        ("11", check(c, P2, S1, T + 60), Ok(())),
        ("12", check(c, P2.trim_end(), S1, T + 60), Err(FORGED)),
        ("13", check(a, P1_RESERIALISED, S1, T + 60), Err(FORGED)),
        // The configuration trims secrets; here the key is what it is.
        ("14 trimmed", check(a, P1, as_loaded.trim(), T + 60), Ok(())),
        ("14 not trimmed", check(a, P1, &as_loaded, T + 60), Err(FORGED)),
        // The configuration refuses to start; this is the second lock.
        ("17", check(&format!("t={T},v1={E}"), P1, "", T + 60), Err(Mismatch { secrets: 0 })),
    ];
    for (vector, verdict, expected) in table {
        assert_eq!(verdict, expected, "vector {vector}");
    }
}

#[test]
fn a_timestamp_other_than_plain_digits_is_malformed() {
    for t in ["", "0", "-5", "+1700000000", " 1700000000", "01700000000", "1700000000.0", "1e9", "1234567890123", "١٧"]
    {
        let header = format!("t={t},v1={A}");
        assert_eq!(check_header(&header), Err(BAD_TIMESTAMP), "t={t}");
    }
}

#[test]
fn no_header_and_a_blank_header_are_missing() {
    assert_eq!(verify(None, P1.as_bytes(), &[S1], 300, T), Err(Missing));
    assert_eq!(check_header(" \t"), Err(Missing));
}

#[test]
fn the_future_is_tolerated_as_far_as_the_past() {
    let header = format!("t={T},v1={A}");
    assert_eq!(check(&header, P1, S1, T - 300), Ok(()));
    assert_eq!(check(&header, P1, S1, T - 301), Err(Future { ahead_s: 301 }));
}

#[test]
fn a_forged_signature_is_a_mismatch_however_old_it_is() {
    let header = format!("t={T},v1={Z}");
    assert_eq!(check(&header, P1, S1, T + 9999), Err(FORGED));
    assert_eq!(check(&header, P1, S1, T - 9999), Err(FORGED));
}

#[test]
fn any_configured_secret_may_match_and_a_blank_one_never_does() {
    let verify = |header: &str, secrets: &[&str]| {
        verify(Some(header), P1.as_bytes(), secrets, 300, T).map(|verified| verified.timestamp_s)
    };
    assert_eq!(verify(&format!("t={T},v1={B}"), &[S1, "", S2]), Ok(T));
    assert_eq!(verify(&format!("t={T},v1={A}"), &[S1, "", S2]), Ok(T));
    let signed_blank = sign(" ", T, P1.as_bytes());
    assert_eq!(verify(&signed_blank, &[S1, " "]), Err(Mismatch { secrets: 1 }));
    assert_eq!(verify(&signed_blank, &[]), Err(Mismatch { secrets: 0 }));
}

#[test]
fn only_so_many_signatures_and_so_long_a_header_are_looked_at() {
    let decoys = |n: usize| format!("t={T}{},v1={A}", format!(",v1={Z}").repeat(n));
    assert_eq!(check_header(&decoys(MAX_SIGNATURES - 1)), Ok(()));
    assert_eq!(check_header(&decoys(MAX_SIGNATURES)), Err(FORGED));
    let padded = |length: usize| format!("{:,<length$}", format!("t={T},v1={A}"));
    assert_eq!(check_header(&padded(MAX_HEADER_BYTES)), Ok(()));
    assert_eq!(check_header(&padded(MAX_HEADER_BYTES + 1)), Err(Malformed("it is longer than 4096 bytes")));
}

#[test]
fn a_secret_of_any_length_makes_the_key_that_hmac_defines() {
    for length in [1, 63, 64, 65, 200] {
        let secret = "s".repeat(length);
        let reference = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .unwrap()
            .chain_update(format!("{T}.{P1}"))
            .finalize()
            .into_bytes();
        assert_eq!(mac(&secret, &T.to_string(), P1.as_bytes()), <[u8; 32]>::from(reference));
    }
}

#[test]
fn every_error_has_the_code_of_the_contract_and_says_by_how_much() {
    let table = [
        (Missing, "signature_missing", "no Stripe-Signature header"),
        (NO_TIMESTAMP, "signature_malformed", "no timestamp"),
        (Stale { age_s: 301 }, "signature_stale", "301 s ago"),
        (Future { ahead_s: 7 }, "signature_future", "7 s in the future"),
        (Mismatch { secrets: 2 }, "signature_mismatch", "2 configured secrets"),
    ];
    for (error, code, text) in table {
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Headers that are nearly right, which random text never is.
fn headers() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        any::<String>(),
        any::<i64>().prop_map(|t| format!("t={t}")),
        "[tv]?[01 ]?=?[0-9a-fA-F=]{0,70}",
        Just(format!("t={T}")),
        Just(format!(" v1={A}")),
    ];
    prop::collection::vec(item, 0..6).prop_map(|items| items.join(","))
}

proptest! {
    #[test]
    fn no_header_body_or_time_panics(
        header in headers(), body: Vec<u8>, secrets: Vec<String>, tolerance_s: i64, now_s: i64,
    ) {
        let _ = verify(Some(&header), &body, &secrets, tolerance_s, now_s);
        let _ = verify(Some(&header), P1.as_bytes(), &[S1], tolerance_s, now_s);
    }

    #[test]
    fn what_is_signed_is_verified(
        secret in "[!-~]{1,100}", body: Vec<u8>, t in 1..1_000_000_000_000_i64, age_s in -300..=300_i64,
    ) {
        let header = sign(&secret, t, &body);
        let verified = verify(Some(&header), &body, &[secret], 300, t + age_s);
        prop_assert_eq!(verified, Ok(Verified { timestamp_s: t }));
    }

    #[test]
    fn a_body_with_one_bit_flipped_is_refused(
        mut body in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let header = sign(S1, T, &body);
        let at = at.index(body.len());
        body[at] ^= 1_u8 << bit;
        prop_assert_eq!(verify(Some(&header), &body, &[S1], 300, T), Err(FORGED));
    }
}
