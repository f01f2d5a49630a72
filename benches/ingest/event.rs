//! Signed events, any number of them, each of another customer. Ids rise with time, as Stripe's do.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tilld::app::trigger::{self, ApiVersion, Spec};
use tilld::stripe::signature;

pub const SECRET: &str = "whsec_bench";
const USER: &str = "bench-00000000";
/// When the first events were made, unix seconds.
const BEGAN_S: i64 = 1_780_000_000;
/// Digits of the number in every id.
const DIGITS: usize = 8;

/// Realistic events whose ids hold a number.
pub struct Source {
    first: Template,
    update: Template,
    next: AtomicU64,
}

/// An event's text, and where its numbers stand.
struct Template {
    text: Vec<u8>,
    /// The number of the event.
    event: Vec<usize>,
    /// The number of whom it is about.
    subject: Vec<usize>,
    /// When it was made.
    created: usize,
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

impl Template {
    fn new(event_type: &str) -> Self {
        let spec = Spec {
            event_type,
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
        // Stripe indents its bodies, too; by one space, these have the usual size.
        let format = serde_json::ser::PrettyFormatter::with_indent(b" ");
        event.serialize(&mut serde_json::Serializer::with_formatter(&mut text, format)).unwrap();
        let ids = [names.customer, names.subscription, names.item, names.invoice, USER.to_owned()];
        let subject = ids.iter().flat_map(|id| places(&text, id)).collect();
        let event = places(&text, &event_id);
        // The envelope's stands before the object's.
        let created = text.windows(11).position(|window| window == b"\"created\": ").unwrap() + 11;
        Self { text, event, subject, created }
    }

    fn make(&self, event: u64, subject: u64, created_s: i64) -> Vec<u8> {
        let mut text = self.text.clone();
        for (places, number) in [(&self.event, event), (&self.subject, subject)] {
            let digits = format!("{number:0DIGITS$}");
            places.iter().for_each(|place| text[*place..place + DIGITS].copy_from_slice(digits.as_bytes()));
        }
        text[self.created..self.created + 10].copy_from_slice(format!("{created_s:010}").as_bytes());
        text
    }
}

/// Where the last digits of an id stand.
fn places(text: &[u8], id: &str) -> Vec<usize> {
    let found = text.windows(id.len()).enumerate().filter(|(_, window)| *window == id.as_bytes());
    found.map(|(at, _)| at + id.len() - DIGITS).collect()
}

impl Source {
    pub fn new() -> Self {
        let first = Template::new("customer.subscription.created");
        Self { first, update: Template::new("customer.subscription.updated"), next: AtomicU64::new(0) }
    }

    pub fn bytes(&self) -> (usize, usize) {
        (self.first.text.len(), self.update.text.len())
    }

    /// How many there have been.
    pub fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// The next event, the first of somebody new.
    pub fn make(&self) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.first.make(number, number, BEGAN_S)
    }

    /// The next event, a change of somebody who is known. Each is of a later second, as renewals are.
    pub fn update(&self, subject: u64) -> Vec<u8> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.update.make(number, subject, BEGAN_S + i64::try_from(number).unwrap())
    }
}
