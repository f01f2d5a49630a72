//! Effects that were written into the outbox are performed here.

pub mod mail;
