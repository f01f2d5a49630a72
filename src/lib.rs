//! tilld, the till daemon: Stripe's webhooks in, a true local copy, and the answer to "may this user use it?".
//!
//! Nine rooms, in reading order. Each may use those above it in this list, and no other; `tests/it/tidy.rs` holds the exact
//! list. `ARCHITECTURE.md` has the picture, the walk of a webhook and the walk of a call.

pub mod base;

pub mod stripe;

pub mod store;

pub mod objects;

pub mod notify;

pub mod outward;

pub mod jobs;

pub mod http;

pub mod app;
