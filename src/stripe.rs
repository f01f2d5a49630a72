//! Stripe's protocol: signatures, envelopes, the shapes of its objects, and the calls to its API. Knows no database.

pub(crate) mod backoff;
pub(crate) mod bucket;
pub mod call;
pub mod client;
pub mod error;
pub mod event;
pub mod form;
pub(crate) mod list;
mod lossy;
pub mod object;
pub mod operation;
pub mod settings;
pub mod signature;
pub(crate) mod version;
