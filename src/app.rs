//! app

pub mod cli;
pub mod config;
pub mod daemon;
pub mod systemd;
pub mod trigger;
