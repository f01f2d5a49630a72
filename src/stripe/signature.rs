//! The `Stripe-Signature` header: is this body from Stripe, and is it recent? Must never read the
//! clock, log, or put a secret or a part of the header into an error. Called by the webhook route;
//! [`sign`] by `tilld trigger`, by the forwarding of events and by tests.
//!
//! Stripe sends `t=<unix seconds>,v1=<64 hex digits>`, with one `v1` per secret while a secret is
//! being rolled. Signed is `<t>.<raw body>` with HMAC-SHA256; the key is the text of the secret,
//! `whsec_` included. Other schemes do not count: `v0` is a decoy on test events.
//! Source: docs.stripe.com/webhooks, stripe-python 16.1, stripe-go 86.2 (run against our vectors).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A longer header is malformed. A genuine one has about 90 bytes, and 70 more per rolled secret.
const MAX_HEADER_BYTES: usize = 4096;
/// `v1` signatures looked at; Stripe sends one per active secret, so rarely more than two.
const MAX_SIGNATURES: usize = 16;
/// SHA-256's block: HMAC pads a shorter key with zeros and hashes a longer one (RFC 2104).
const BLOCK_BYTES: usize = 64;

type Signature = [u8; 32];

/// What an authentic and recent header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// When Stripe signed this delivery, unix seconds. A redelivery has a new one.
    pub timestamp_s: i64,
}

/// Why a delivery is refused. The text is for the operator: what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No header, or an empty one.
    #[error("no Stripe-Signature header: the request is not from Stripe, or a proxy dropped the header")]
    Missing,
    /// The header cannot be read; the reason names the part.
    #[error("Stripe-Signature cannot be read: {0}; a proxy may have changed the header")]
    Malformed(&'static str),
    /// Authentic, but signed too long ago.
    #[error(
        "authentic, but signed {age_s} s ago, longer than tolerance_s allows: an old request was \
         sent again, or the clock of this machine is fast; compare it with a time server"
    )]
    Stale {
        /// Seconds since it was signed.
        age_s: i64,
    },
    /// Authentic, but signed too far in the future.
    #[error(
        "authentic, but signed {ahead_s} s in the future, more than tolerance_s allows: the clock \
         of this machine is slow; compare it with a time server"
    )]
    Future {
        /// Seconds until the time at which it says it was signed.
        ahead_s: i64,
    },
    /// Nothing in the header was made with a configured secret over this body.
    #[error(
        "no signature matches the body with any of the {secrets} configured secrets: the secret is \
         that of another endpoint or mode, or a proxy changed the body; compare with the signing \
         secret of this endpoint in the Stripe dashboard or of `stripe listen`"
    )]
    Mismatch {
        /// How many secrets were tried; blank ones are not.
        secrets: usize,
    },
}

impl SignatureError {
    /// The `error.code` of the 400 answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "signature_missing",
            Self::Malformed(_) => "signature_malformed",
            Self::Stale { .. } => "signature_stale",
            Self::Future { .. } => "signature_future",
            Self::Mismatch { .. } => "signature_mismatch",
        }
    }
}

/// Checks `body`, exactly as received, against the header and every secret of the endpoint.
///
/// A signature up to and including `tolerance_s` old, or ahead of `now_s`, is accepted. A blank
/// secret never matches.
///
/// # Errors
/// See [`SignatureError`]. The age is judged after the signature, so [`SignatureError::Stale`] and
/// [`SignatureError::Future`] mean an authentic delivery, not a forged one.
pub fn verify(
    header: Option<&str>,
    body: &[u8],
    secrets: &[impl AsRef<str>],
    tolerance_s: i64,
    now_s: i64,
) -> Result<Verified, SignatureError> {
    let header = parse(header.ok_or(SignatureError::Missing)?)?;
    let secrets = || {
        let secrets = secrets.iter().map(AsRef::as_ref);
        secrets.filter(|secret: &&str| !secret.trim().is_empty())
    };
    // No early exit: the time taken must not reveal which secret or signature matched.
    let authentic = secrets().fold(Choice::from(0), |found, secret| {
        found | is_among(&mac(secret, header.timestamp, body), &header.signatures)
    });
    if !bool::from(authentic) {
        return Err(SignatureError::Mismatch { secrets: secrets().count() });
    }
    check_age(now_s.saturating_sub(header.timestamp_s), tolerance_s)?;
    Ok(Verified { timestamp_s: header.timestamp_s })
}

/// The value of the header that Stripe would send for this body, secret and time (unix seconds).
#[must_use]
pub fn sign(secret: &str, timestamp_s: i64, body: &[u8]) -> String {
    let signature = mac(secret, &timestamp_s.to_string(), body);
    format!("t={timestamp_s},v1={}", hex::encode(signature))
}

struct Header<'a> {
    /// As sent, for these bytes are signed.
    timestamp: &'a str,
    timestamp_s: i64,
    signatures: Vec<Signature>,
}

fn parse(header: &str) -> Result<Header<'_>, SignatureError> {
    if header.trim().is_empty() {
        return Err(SignatureError::Missing);
    }
    if header.len() > MAX_HEADER_BYTES {
        return Err(SignatureError::Malformed("it is longer than 4096 bytes"));
    }
    let values = |wanted| {
        let items = header.split(',').filter_map(|i| i.trim().split_once('='));
        items.filter_map(move |(key, value)| (key == wanted).then_some(value))
    };
    let mut timestamps = values("t");
    let timestamp = timestamps.next().ok_or(SignatureError::Malformed("it has no timestamp t"))?;
    if timestamps.next().is_some() {
        return Err(SignatureError::Malformed("it has two timestamps t"));
    }
    let timestamp_s =
        timestamp_s(timestamp).ok_or(SignatureError::Malformed("its timestamp t is not a number of 1 to 12 digits"))?;
    let signatures: Vec<_> = values("v1").filter_map(signature).take(MAX_SIGNATURES).collect();
    if signatures.is_empty() {
        return Err(SignatureError::Malformed("it has no v1 signature of 64 hex digits"));
    }
    Ok(Header { timestamp, timestamp_s, signatures })
}

/// `[1-9][0-9]{0,11}`: signs, spaces and leading zeros, which a number parser would take, are not
/// what Stripe sends.
fn timestamp_s(text: &str) -> Option<i64> {
    let strict = text.len() <= 12 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| strict)
}

fn signature(text: &str) -> Option<Signature> {
    let mut signature = Signature::default();
    hex::decode_to_slice(text, &mut signature).ok()?;
    Some(signature)
}

fn mac(secret: &str, timestamp: &str, body: &[u8]) -> Signature {
    let mut block = [0; BLOCK_BYTES];
    if secret.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(secret));
    } else {
        block[..secret.len()].copy_from_slice(secret.as_bytes());
    }
    Hmac::<Sha256>::new(&block.into())
        .chain_update(timestamp)
        .chain_update(b".")
        .chain_update(body)
        .finalize()
        .into_bytes()
        .into()
}

fn is_among(expected: &Signature, signatures: &[Signature]) -> Choice {
    signatures.iter().fold(Choice::from(0), |found, signature| found | expected.ct_eq(signature))
}

fn check_age(age_s: i64, tolerance_s: i64) -> Result<(), SignatureError> {
    let ahead_s = age_s.saturating_neg();
    if age_s > tolerance_s {
        Err(SignatureError::Stale { age_s })
    } else if ahead_s > tolerance_s {
        Err(SignatureError::Future { ahead_s })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
