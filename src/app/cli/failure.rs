//! Why a command failed, and its exit status. It must never print: the parent does. Made by every command.

use crate::app::cli::init::InitError;
use crate::app::cli::post::PostError;
use crate::app::config::Faults;
use crate::app::daemon::DaemonError;
use crate::app::trigger::TriggerError;
use crate::base::ids::RandomError;
use crate::store::{OpenError, StoreError};

/// The command failed.
const FAILED: u8 = 1;
/// Wrong use or wrong configuration: the same call cannot succeed.
const WRONG_USE: u8 = 2;

/// A command that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommandError {
    /// The exit status.
    pub(crate) exit: u8,
    /// What to print, one line for each fault; nothing when empty.
    pub(crate) message: String,
}

impl CommandError {
    /// The command failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: FAILED, message: message.into() }
    }

    /// Wrong use or wrong configuration.
    pub(crate) fn wrong_use(message: impl Into<String>) -> Self {
        Self { exit: WRONG_USE, message: message.into() }
    }
}

impl From<Faults> for CommandError {
    fn from(faults: Faults) -> Self {
        Self::wrong_use(faults.to_string())
    }
}

impl From<TriggerError> for CommandError {
    fn from(error: TriggerError) -> Self {
        Self::wrong_use(error.to_string())
    }
}

impl From<PostError> for CommandError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Url(_) | PostError::Https(_) => Self::wrong_use(error.to_string()),
            PostError::Refused { .. } | PostError::Broken { .. } => Self::failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for CommandError {
    /// A reader that has seen enough, such as `head`, is not a failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self { exit: 0, message: String::new() },
            _ => Self::failed(format!("cannot print: {error}")),
        }
    }
}

macro_rules! failed_from {
    ($($error:ty),+) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::failed(error.to_string())
            }
        })+
    };
}

failed_from!(OpenError, StoreError, DaemonError, InitError, RandomError);
