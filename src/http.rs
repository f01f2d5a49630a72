//! The HTTP edge: two listeners, a table of routes for each, and the shapes of requests and answers. tiny_http is
//! known to `server` alone, so that a guard can come in front of it without touching a handler.

pub mod admin;
pub mod api;
pub mod door;
pub mod health;
pub mod listen;
pub mod private;
pub mod public;
pub mod request;
pub mod response;
pub mod route;
pub mod server;
pub mod stripe_threads;
pub mod throttle;
