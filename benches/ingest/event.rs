//! Signed events, any number of them, each of another customer. Ids rise with time, as Stripe's do.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tilld::stripe::signature;
use tilld::trigger::{self, ApiVersion, Spec};

pub const SECRET: &str = "whsec_bench";
const USER: &str = "bench-00000000";
/// Digits of the number in every id.
const DIGITS: usize = 8;

/// A realistic event whose ids hold a number.
pub struct Source {
    text: Vec<u8>,
    /// Where the number stands.
    places: Vec<usize>,
    next: AtomicU64,
}

/// The user of the event with that number.
pub fn user(number: u64) -> String {
    format!("bench-{number:08}")
}

pub fn sign(secret: &str, body: &[u8]) -> String {
    signature::sign(secret, now_ms() / 1000, body)
}

pub fn now_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

impl Source {
    pub fn new() -> Self {
        let spec = Spec {
            event_type: "customer.subscription.created",
            version: ApiVersion::CURRENT,
            user: Some(USER),
            price_id: "price_pro",
            now_s: now_ms() / 1000,
            nonce: "bench",
            set: &[],
        };
        let event = trigger::event(&spec).unwrap();
        let names = trigger::ids(USER);
        let event_id = event["id"].as_str().unwrap().to_owned();
        let mut text = Vec::new();
        // Stripe indents its bodies, too; by one space, this one has the usual size.
        let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
        event.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format)).unwrap();
        let ids = [event_id, names.customer, names.subscription, names.item, names.invoice, USER.to_owned()];
        let mut places = Vec::new();
        for id in ids {
            let found = text.windows(id.len()).enumerate().filter(|(_, window)| *window == id.as_bytes());
            places.extend(found.map(|(at, _)| at + id.len() - DIGITS));
        }
        Self { text, places, next: AtomicU64::new(0) }
    }

    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// How many there have been.
    pub fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The next event: its number and its body.
    pub fn make(&self) -> (u64, Vec<u8>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let digits = format!("{number:0DIGITS$}");
        let mut text = self.text.clone();
        for place in &self.places {
            text[*place..place + DIGITS].copy_from_slice(digits.as_bytes());
        }
        (number, text)
    }
}
