//! outward

pub mod account;
pub mod calls;
pub mod fetch;
pub mod sync;
