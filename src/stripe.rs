//! Stripe's protocol: signatures, envelopes, and the shapes of its objects. Knows no database.

pub mod event;
pub mod form;
pub mod object;
pub mod signature;
