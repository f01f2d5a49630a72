//! Does a daemon answer at the configured addresses? Must never change anything. Called by `check`, `trigger`, and the
//! commands that leave work to the daemon.

use std::fmt;

use crate::app::cli::post;
use crate::app::config::Config;
use crate::base::address::Address;

/// What was found at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaemonReach {
    /// A daemon.
    Daemon,
    /// Another program; a description of its answer.
    Stranger(String),
    /// Nothing answers.
    Nobody,
    /// The system chooses the port, so it is not in the configuration.
    Unknown,
}

/// The URL of a path at a configured address.
#[must_use]
pub(crate) fn url(address: &dyn fmt::Display, path: &str) -> String {
    let address = address.to_string();
    if address.starts_with("unix:") { format!("{address}:{path}") } else { format!("http://{address}{path}") }
}

/// Asks for `/healthz`, which both listeners have.
#[must_use]
pub(crate) fn of(address: &Address) -> DaemonReach {
    if matches!(address, Address::Tcp(text) if text.ends_with(":0")) {
        return DaemonReach::Unknown;
    }
    match post::send("GET", &url(address, "/healthz"), &[], &[]) {
        Ok(answer) if answer.status == 200 && answer.body.trim() == "ok" => DaemonReach::Daemon,
        Ok(answer) => DaemonReach::Stranger(format!("status {}", answer.status)),
        Err(post::PostError::Refused { .. }) => DaemonReach::Nobody,
        Err(error) => DaemonReach::Stranger(error.to_string()),
    }
}

/// When events that were put back to pending are going to be projected.
#[must_use]
pub(crate) fn projected_when(config: &Config) -> String {
    let private = &config.listen.private;
    match of(private) {
        DaemonReach::Daemon => "the daemon processes them now".to_owned(),
        DaemonReach::Unknown => "the running daemon processes them, or the next one that starts".to_owned(),
        DaemonReach::Nobody | DaemonReach::Stranger(_) => {
            format!("no daemon answers at {private}: they are processed when one starts")
        }
    }
}
