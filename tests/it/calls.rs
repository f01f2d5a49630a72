//! Calls to Stripe through the real binary, against the fake.

mod customers;
