//! One thing that was looked at, and how it stands. Pure data: it must never look at anything itself. Made by
//! `jobs::findings`, `outward::checks` and `tilld check`; shown by that command and by the dashboard.

use serde::{Deserialize, Serialize};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingVerdict {
    /// Nothing is to be done.
    Ok,
    /// It works, and should be looked at.
    Warn,
    /// It does not work.
    Fail,
}

impl FindingVerdict {
    /// As it is printed.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was looked at, how it stands, and, where it is not well, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: String,
    /// How it stands.
    pub verdict: FindingVerdict,
    /// For people: the same on a terminal and on a page. Commands stand in backticks.
    pub message: String,
}

fn finding(check: &str, verdict: FindingVerdict, message: impl Into<String>) -> Finding {
    Finding { check: check.to_owned(), verdict, message: message.into() }
}

/// All is well with it.
pub(crate) fn ok(check: &str, message: impl Into<String>) -> Finding {
    finding(check, FindingVerdict::Ok, message)
}

/// It should be looked at.
pub(crate) fn warn(check: &str, message: impl Into<String>) -> Finding {
    finding(check, FindingVerdict::Warn, message)
}

/// It does not work.
pub(crate) fn fail(check: &str, message: impl Into<String>) -> Finding {
    finding(check, FindingVerdict::Fail, message)
}
