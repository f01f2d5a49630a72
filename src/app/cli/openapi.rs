//! `tilld openapi`: prints the description of the API, without a configuration, a database or a daemon. It must never
//! hold a word about a call. Called by the command line.

use std::io::Write;

use crate::app::cli::CommandError;
use crate::http::private;

/// Prints it.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn run(out: &mut dyn Write) -> Result<(), CommandError> {
    Ok(writeln!(out, "{:#}", private::description())?)
}
