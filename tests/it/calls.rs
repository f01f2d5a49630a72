//! Calls to Stripe through the real binary, against the fake.

mod crash;
mod customers;
mod expired;
mod load;
