//! Ids in Stripe's form that depend on the user alone, so that events made apart still belong together.
//! Never random; two users never share an id except the product, which belongs to the shop. Called by
//! `event` and by tests that need to know an id beforehand.

use sha2::{Digest, Sha256};

use super::Spec;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The ids of everything that belongs to one user. Their prefixes are Stripe's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // each field is named after the object whose id it is
pub struct Ids {
    pub customer: String,
    pub subscription: String,
    pub item: String,
    pub invoice: String,
    pub line: String,
    pub invoice_payment: String,
    pub payment_intent: String,
    pub charge: String,
    pub transaction: String,
    pub refund: String,
    pub dispute: String,
    pub session: String,
    pub payment_method: String,
    pub product: String,
    /// Opaque part of secrets and links.
    pub token: String,
    /// The beginning of the invoice numbers.
    pub invoice_prefix: String,
}

impl Ids {
    /// The user's id of what begins with `prefix`, for kinds that no other object refers to.
    pub(super) fn of(&self, prefix: &str) -> String {
        format!("{prefix}{}", base62(self.customer.as_bytes(), prefix, 23))
    }
}

/// The ids of `user`; the empty name stands for the anonymous set.
#[must_use]
pub fn ids(user: &str) -> Ids {
    let seed = Sha256::digest(format!("tilld-trigger:{user}"));
    let id = |prefix: &str, len: usize| format!("{prefix}{}", base62(&seed, prefix, len));
    let charge_tail = base62(&seed, "ch_3", 23);
    Ids {
        customer: id("cus_", 14),
        subscription: id("sub_1", 23),
        item: id("si_", 14),
        invoice: id("in_1", 23),
        line: id("il_1", 23),
        invoice_payment: id("inpay_1", 23),
        payment_intent: id("pi_3", 23),
        transaction: id("txn_3", 23),
        // `render` derives the id of a charge's refund from the charge alone.
        refund: format!("re_3{charge_tail}"),
        charge: format!("ch_3{charge_tail}"),
        dispute: id("du_1", 23),
        session: id("cs_test_a1", 56),
        payment_method: id("pm_1", 23),
        product: format!("prod_{}", base62(b"tilld-trigger", "prod_", 14)),
        token: base62(&seed, "token", 32),
        invoice_prefix: hex::encode_upper(seed).chars().take(8).collect(),
    }
}

/// Depends on what makes an event another event, the nonce among it, but not on `set`: the same id with
/// another content can be made on purpose.
pub(super) fn event_id(spec: &Spec) -> String {
    let user = spec.user.unwrap_or_default();
    let seed = format!("{}\n{}\n{}\n{user}", spec.nonce, spec.event_type, spec.version.as_str());
    format!("evt_1{}", base62(seed.as_bytes(), "evt_1", 23))
}

fn base62(seed: &[u8], purpose: &str, len: usize) -> String {
    (0_u8..=u8::MAX)
        .flat_map(|block| {
            let hash = Sha256::new().chain_update(seed).chain_update(purpose).chain_update([block]);
            hash.finalize().to_vec()
        })
        .map(|byte| char::from(BASE62[usize::from(byte) % BASE62.len()]))
        .take(len)
        .collect()
}
