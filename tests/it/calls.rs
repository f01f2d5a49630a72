//! Calls to Stripe through the real binary, against the fake.

mod changes;
mod checkout;
mod crash;
mod customers;
mod expired;
mod load;
mod outcomes;
mod payments;
mod shop;
