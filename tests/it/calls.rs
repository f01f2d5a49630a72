//! Calls to Stripe through the real binary, against the fake.

mod changes;
mod checkout;
mod customers;
mod outcomes;
mod payments;
mod shop;
