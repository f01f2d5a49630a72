//! The keys before the first section, and `[listen]`: what the process itself needs.

use std::path::PathBuf;

use log::LevelFilter;

use crate::app::config::keys::{Section, text};
use crate::app::config::reader::ConfigReader;
use crate::app::config::{Listen, LogFormat};
use crate::base::address::Address;
use crate::base::secret::shown;

/// Modules whose name alone turns on all they say; another bare word is a level misspelt.
const MODULES: [&str; 6] = ["tilld", "ureq", "rustls", "lettre", "refinery", "refinery_core"];

pub(super) const TOP: Section = Section::once(
    "",
    "",
    &[
        text("database", "tilld.db").env(&["TILLD_DATABASE"]).about("The SQLite file: all that tilld knows is in it."),
        text("log", "info")
            .env(&["RUST_LOG", "TILLD_LOG"])
            .about("What is logged: error, warn, info, debug, trace, or by module as in \"info,tilld::http=debug\"."),
        text("log_format", "text")
            .env(&["TILLD_LOG_FORMAT"])
            .about("\"text\" for people, \"json\" for log collectors."),
    ],
);

pub(super) const LISTEN: Section = Section::once(
    "listen",
    "",
    &[
        text("listen.public", "127.0.0.1:4242").env(&["TILLD_PUBLIC_LISTEN"]).about(
            "For Stripe: webhooks only, everything else is 404. host:port or unix:/path; port 0 lets the system choose. Put \
             a reverse proxy with TLS in front. A socket that systemd passes wins, here and below.",
        ),
        text("listen.private", "127.0.0.1:4243").env(&["TILLD_PRIVATE_LISTEN"]).about(
            "For your application and operators. Other than a loopback address or Unix socket needs both tokens of [api].",
        ),
    ],
);

pub(super) fn database(reader: &mut ConfigReader<'_>) -> PathBuf {
    let configured = reader.text("database").unwrap_or_default();
    // A path from the command line need not be UTF-8.
    let path = reader.flags().database.clone().unwrap_or_else(|| configured.into());
    reader.around().absolute(path)
}

pub(super) fn log(reader: &mut ConfigReader<'_>) -> (String, LogFormat) {
    let filter = reader.parsed("log", log_filter).unwrap_or_default();
    let format = reader.choice("log_format", &LogFormat::WORDS);
    (filter, format.unwrap_or(LogFormat::Text))
}

pub(super) fn listen(reader: &mut ConfigReader<'_>) -> Listen {
    Listen { public: address(reader, "listen.public"), private: address(reader, "listen.private") }
}

fn address(reader: &mut ConfigReader<'_>, key: &str) -> Address {
    reader.parsed(key, Address::parse).unwrap_or_else(|| Address::Tcp(String::new()))
}

/// A filter of `env_logger`: levels, alone or by module, and after a slash what a line must contain.
fn log_filter(text: &str) -> Result<String, String> {
    let levels = text.split('/').next().unwrap_or_default();
    let wrong = levels.split(',').map(str::trim).find(|word| !word.is_empty() && !is_directive(word));
    match wrong {
        None => Ok(text.to_owned()),
        Some(word) => Err(format!(
            "{shown} is no level: write error, warn, info, debug, trace or off, or by module as in \
             \"info,tilld::jobs::worker=debug\"",
            shown = shown(word)
        )),
    }
}

fn is_directive(word: &str) -> bool {
    let is_level = |text: &str| text.parse::<LevelFilter>().is_ok();
    match word.split_once('=') {
        Some((module, level)) => !module.trim().is_empty() && is_level(level.trim()),
        None => is_level(word) || MODULES.iter().any(|module| word.split("::").next() == Some(module)),
    }
}
