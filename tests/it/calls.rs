//! Calls to Stripe through the real binary, against the fake.

mod changes;
mod checkout;
mod crash;
mod customers;
mod expired;
mod load;
mod one_session;
mod outcomes;
mod payments;
mod second;
mod shop;
mod standing_still;
mod whose;
