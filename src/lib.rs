//! tilld, the till daemon: Stripe's webhooks in, a true local copy, and the answer to "may this user use it?".
//!
//! The modules below stand in reading order: values, decisions, edges, flows. `ARCHITECTURE.md` has the map, the
//! invariants and the walk of one webhook with file names.

// values
pub mod app;
pub mod base;
pub mod jobs;
pub mod objects;
pub mod outward;
// decisions
// configuration
// edges
pub mod http;
pub mod store;
pub mod stripe;
// flows
pub mod notify;
// the life of the process
// sample events
