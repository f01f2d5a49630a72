//! Whatever asks Stripe: calls for the application (written down before they are sent), fetching, catching up, syncing, drift.
//! It must never hold a transaction while it waits for Stripe. Called by `jobs`, by the private API and by commands.

pub mod account;
pub mod calls;
pub mod checks;
pub mod fetch;
pub mod sync;
