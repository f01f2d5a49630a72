//! Events for the application: signed by the convention, each delivered at least once and in the order of its user, only
//! where the operator allows it, and a receiver that fails harms none but itself.

mod answers;
mod attempts;
mod commands;
mod endpoints;
mod guard;
mod live;
mod mails;
mod order;
mod receiver;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tilld::base::clock::ManualClock;
use tilld::base::thread::{Stop, Stopper, stopper};
use tilld::jobs::lane::{DeliveryLane, LaneKind, LaneStep};
use tilld::jobs::step::{LoopContext, StepCause, StepJob};
use tilld::notify::endpoints::target::{AllowedTargets, TargetGuard};
use tilld::notify::endpoints::webhook::{WebhookSender, WebhookSigning, WebhookTimeouts};
use tilld::notify::endpoints::{EndpointLane, fingerprint};
use tilld::store::outbox::{self, NewEffect, OutboxKind};
use tilld::store::{Store, StoreError};

use crate::harness::{START_S, Till};

pub const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const START_MS: i64 = START_S * 1000;
pub const OPERATOR: &str = "till@example.com";
/// Short ones, lest a test waits for what hangs.
pub const IMPATIENT: WebhookTimeouts = WebhookTimeouts {
    connect: Duration::from_millis(300),
    silence: Duration::from_millis(300),
    total: Duration::from_millis(900),
};

pub fn key(secret: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap()
}

/// What a receiver does by the convention: any signature of version 1 that fits.
pub fn verifies(secret: &str, got: &receiver::Got) -> bool {
    let signed = [got.head("webhook-id").as_bytes(), b".", got.head("webhook-timestamp").as_bytes(), b".", &got.body];
    let mac = Hmac::<Sha256>::new_from_slice(&key(secret)).unwrap().chain_update(signed.concat());
    let expected = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    got.head("webhook-signature").split(' ').any(|signature| signature == expected)
}

pub fn sender(url: &str) -> WebhookSender {
    let signing = WebhookSigning::Standard(vec![key(WHSEC)]);
    WebhookSender::through(TargetGuard::new(AllowedTargets::Loopback), (url, signing), IMPATIENT)
}

pub fn endpoint(url: &str) -> EndpointLane {
    let fingerprint = fingerprint(&[key(WHSEC)], &["*".to_owned()], false);
    EndpointLane { url: url.to_owned(), fingerprint, operator: Some(OPERATOR.to_owned()) }
}

/// A lane that is stepped by the test.
pub struct Stepper {
    lane: DeliveryLane,
    pub clock: Arc<ManualClock>,
    pub stop: Stop,
    _stopper: Stopper,
}

impl Stepper {
    pub fn of(till: &Till, url: &str) -> Self {
        let sender = sender(url);
        let attempt = Box::new(move |effect: &_, now_ms| sender.send(effect, now_ms));
        Self::over(till, DeliveryLane::new(till.store.clone(), url, LaneKind::Endpoint(endpoint(url)), attempt))
    }

    pub fn over(till: &Till, lane: DeliveryLane) -> Self {
        lane.prepare().unwrap();
        let (stopper, stop) = stopper();
        Self { lane, clock: Arc::clone(&till.clock), stop, _stopper: stopper }
    }

    pub fn step(&mut self) -> LaneStep {
        self.try_step().unwrap()
    }

    pub fn try_step(&mut self) -> Result<LaneStep, StoreError> {
        self.lane.step(&self.stop, &*self.clock)
    }

    /// What the lane's thread does after the clock was set.
    pub fn correct(&mut self, cause: StepCause) {
        let pulse = tilld::base::thread::Pulse::default();
        let around = LoopContext { stop: &self.stop, clock: &*self.clock, pulse: &pulse };
        self.lane.correct(cause, tilld::base::clock::Clock::now_ms(&*self.clock), &around).unwrap();
    }

    /// Steps until nothing is due.
    pub fn settle(&mut self) -> usize {
        let mut attempted = 0;
        loop {
            let stepped = self.step();
            attempted += stepped.attempted;
            if stepped == LaneStep::default() {
                return attempted;
            }
        }
    }
}

/// An event in the outbox; its row number.
pub fn put(store: &Store, url: &str, user: Option<&str>, number: usize) -> i64 {
    let (url, user) = (url.to_owned(), user.map(str::to_owned));
    let payload = format!("{{\"type\": \"test.made\",\"user\":\"{}\",\"n\":{number}}}", user.as_deref().unwrap_or("-"));
    let put = move |tx: &tilld::store::Tx<'_>| {
        let dedupe_key = format!("webhook:{url}:test.made:{number}");
        let new = NewEffect {
            kind: OutboxKind::Webhook,
            dedupe_key: &dedupe_key,
            user_id: user.as_deref(),
            target: Some(&url),
            payload: &payload,
            cause: None,
            due_ms: START_MS,
            now_ms: START_MS,
        };
        assert!(outbox::put(tx, &new)?);
        Ok(outbox::find_id(tx, &dedupe_key)?.unwrap())
    };
    store.write(put).unwrap()
}

/// Status and attempts of a row, and when it is due, in seconds from the start.
pub fn state(till: &Till, id: i64) -> (String, i64, i64) {
    let row = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let sql = "SELECT status, attempts, (next_attempt_at_ms - ?2) / 1000 FROM outbox WHERE id = ?1";
    till.connection().query_row(sql, (id, START_MS), row).unwrap()
}
