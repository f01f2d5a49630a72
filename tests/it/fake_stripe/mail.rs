//! Webhooks: letters that wait, and the rule by which some are lost, come twice or in another order.

use std::collections::HashSet;

use tilld::app::cli::post;
use tilld::app::trigger::ApiVersion;
use tilld::stripe::signature;

/// Where events go.
pub struct Endpoint {
    pub id: String,
    pub url: String,
    pub secret: String,
    pub version: ApiVersion,
    /// Types, or `*`.
    pub events: Vec<String>,
    /// It gets thin events.
    pub thin: bool,
}

/// A delivery that has not succeeded.
#[derive(Clone)]
struct Letter {
    endpoint: usize,
    event_id: String,
    body: Vec<u8>,
}

/// What the post does to letters. The same seed does the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rule {
    pub seed: u64,
    /// Never delivered: `delivery_success=false` finds them.
    pub lost_percent: u64,
    pub twice_percent: u64,
    pub shuffle: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub event_id: String,
    /// `None`: no answer.
    pub status: Option<u16>,
}

/// See above.
#[derive(Default)]
pub struct Mail {
    pub endpoints: Vec<Endpoint>,
    pub rule: Rule,
    waiting: Vec<Letter>,
    /// Letters that were collected and are not back.
    travelling: usize,
    /// Event and endpoint that answered 2xx.
    arrived: HashSet<(String, usize)>,
    random: u64,
}

/// A letter on its way.
pub struct Trip {
    url: String,
    secret: String,
    letter: Letter,
}

impl Mail {
    /// Who gets events of this type: place, version, whether thin.
    pub fn readers(&self, event_type: &str) -> Vec<(usize, ApiVersion, bool)> {
        let wants = |endpoint: &Endpoint| endpoint.events.iter().any(|wanted| wanted == "*" || wanted == event_type);
        self.endpoints
            .iter()
            .enumerate()
            .filter(|(_, to)| wants(to))
            .map(|(at, to)| (at, to.version, to.thin))
            .collect()
    }

    pub fn post(&mut self, endpoint: usize, event_id: &str, body: Vec<u8>) {
        self.waiting.push(Letter { endpoint, event_id: event_id.to_owned(), body });
    }

    /// What is to be carried now, after the rule.
    pub fn collect(&mut self) -> Vec<Trip> {
        let rule = self.rule;
        let mut trips = Vec::new();
        for letter in std::mem::take(&mut self.waiting) {
            let to = &self.endpoints[letter.endpoint];
            let (url, secret) = (to.url.clone(), to.secret.clone());
            let trip = || Trip { url: url.clone(), secret: secret.clone(), letter: letter.clone() };
            if self.chance(rule.lost_percent) {
                continue;
            }
            if self.chance(rule.twice_percent) {
                trips.push(trip());
            }
            trips.push(trip());
        }
        if rule.shuffle {
            for last in (1..trips.len()).rev() {
                let other = usize::try_from(self.draw() % (last as u64 + 1)).unwrap();
                trips.swap(last, other);
            }
        }
        self.travelling += trips.len();
        trips
    }

    /// Something waits or is on its way.
    pub fn is_open(&self) -> bool {
        !self.waiting.is_empty() || self.travelling > 0
    }

    /// One came back.
    pub fn came_back(&mut self) {
        self.travelling -= 1;
    }

    /// Whether this is its first arrival there.
    pub fn arrived(&mut self, event_id: &str, endpoint: usize) -> bool {
        self.arrived.insert((event_id.to_owned(), endpoint))
    }

    /// What did not arrive waits for the next time.
    pub fn keep(&mut self, trip: Trip) {
        self.waiting.push(trip.letter);
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    /// Splitmix64.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random ^ self.rule.seed.wrapping_mul(0xD134_2543_DE82_EF95);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Trip {
    pub fn endpoint(&self) -> usize {
        self.letter.endpoint
    }

    /// Signed at this time, as Stripe signs each attempt anew.
    pub fn carry(&self, now_s: i64) -> Delivery {
        let header = signature::sign(&self.secret, now_s, &self.letter.body);
        let answer = post::post(&self.url, &[("Stripe-Signature", &header)], &self.letter.body);
        Delivery { event_id: self.letter.event_id.clone(), status: answer.ok().map(|answer| answer.status) }
    }
}
