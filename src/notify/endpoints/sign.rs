//! Signatures and ids of events for the application (standardwebhooks.com, "Symmetric"): signed is
//! `<id>.<timestamp>.<body>` with HMAC-SHA256; the key is what follows `whsec_`, decoded. Pure. Called by `webhook`.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Hex digits of an id.
const ID_DIGITS: usize = 32;

const SECRET_PREFIX: &str = "whsec_";
/// How long a key may be.
pub(crate) const KEY_BYTES: RangeInclusive<usize> = 24..=64;
/// Secrets come with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a secret; `None` if it is not valid.
pub(crate) fn key_of(secret: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?;
    KEY_BYTES.contains(&bytes.len()).then_some(bytes)
}

/// The value of `webhook-id`, made from the effect's key: the same for every attempt. For a fact, such as a payment
/// that failed, it is also the same after the database was lost and made again from the log; the key of a change is random.
#[must_use]
pub fn message_id(dedupe_key: &str) -> String {
    format!("msg_{}", digest(dedupe_key))
}

/// Letters and digits that identify an effect and disclose nothing about it.
#[must_use]
pub(crate) fn digest(dedupe_key: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(dedupe_key));
    digits.truncate(ID_DIGITS);
    digits
}

/// The value of `webhook-signature`: one signature per key, so that either secret verifies it while one is replaced.
#[must_use]
pub fn signatures(keys: &[Vec<u8>], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let all: Vec<String> = keys.iter().filter_map(|key| signature(key, id, timestamp_s, body)).collect();
    all.join(" ")
}

/// `None` never comes: HMAC takes keys of every length.
fn signature(key: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    let head = format!("{id}.{timestamp_s}.");
    let made = mac.chain_update(head).chain_update(body).finalize().into_bytes();
    Some(format!("v1,{}", BASE64_STANDARD.encode(made)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key() -> Vec<u8> {
        BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()
    }

    #[test]
    fn the_vector_of_the_convention_comes_out() {
        assert_eq!(signatures(&[key()], ID, 1_614_265_330, BODY), SIGNED);
    }

    #[test]
    fn two_secrets_sign_side_by_side_and_id_time_and_body_are_signed() {
        let other = vec![7; 24];
        let both = signatures(&[key(), other.clone()], ID, 1_614_265_330, BODY);
        assert_eq!(both, format!("{SIGNED} {}", signatures(&[other], ID, 1_614_265_330, BODY)));
        for (id, at, body) in [("msg_x", 1_614_265_330, BODY), (ID, 1_614_265_331, BODY), (ID, 1_614_265_330, b"{}")] {
            assert_ne!(signatures(&[key()], id, at, body), SIGNED);
        }
    }

    #[test]
    fn an_id_is_the_same_for_the_same_effect_and_shows_nothing_of_it() {
        let id = message_id("webhook:https://a.example/?token=x:payment.failed:in_1:1");
        assert_eq!(id, message_id("webhook:https://a.example/?token=x:payment.failed:in_1:1"));
        assert_ne!(id, message_id("webhook:https://a.example/?token=x:payment.failed:in_1:2"));
        assert!(id.len() == 36 && id[4..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}
