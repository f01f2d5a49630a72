//! What is wrong with a configuration, in words for the person who wrote it. Must never contain a
//! secret. Made by the reader, printed by the command line.

use std::fmt;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigFault {
    /// The dotted key, as `stripe.webhook[0].path`; blocks count from 0.
    pub(crate) key: String,
    /// Where the value came from: `config.toml:12`, an environment variable, a flag, a file. None:
    /// the value is missing.
    pub(crate) origin: Option<String>,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.key, self.message)?;
        match &self.origin {
            Some(origin) => write!(out, " ({origin})"),
            None => Ok(()),
        }
    }
}

/// All faults of a configuration, so that they can be fixed in one go. Prints one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub(crate) Vec<ConfigFault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}
