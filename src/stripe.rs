//! Stripe's protocol: signatures, envelopes, the shapes of its objects, and the calls to its API. Knows no database.

pub mod backoff;
pub mod bucket;
pub mod call;
pub mod client;
pub mod error;
pub mod event;
pub mod form;
mod lossy;
pub mod object;
pub mod operation;
pub mod settings;
pub mod signature;
