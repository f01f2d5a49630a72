//! The program: the command line, the configuration, the life of the daemon, systemd, and sample events. It knows every room
//! and no room knows it. Only here is printing, and only here are files and the environment read for the configuration.

pub mod cli;
pub mod config;
pub mod daemon;
pub(crate) mod logging;
pub mod systemd;
pub mod trigger;
