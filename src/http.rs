//! The HTTP edge: two listeners (`public` for Stripe, `private` for the application and operators), the door in front
//! of them, and the types of requests and responses. tiny_http is known to `server` alone, so that no handler depends
//! on it. It must never hold a rule of billing: handlers read, write and call what the rooms below decide. Started by
//! `app::daemon`.

pub mod admin;
pub mod api;
pub mod dashboard;
pub mod dashboard_state;
pub mod door;
pub mod error_code;
pub mod health;
pub mod later;
pub mod listen;
mod metrics;
mod openapi;
pub mod private;
pub mod public;
pub mod request;
pub mod response;
pub mod route;
pub mod server;
pub mod stripe_threads;
pub mod throttle;
