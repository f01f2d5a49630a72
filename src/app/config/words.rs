//! Values that are sent or used elsewhere and mean something there: the filter of the log, a version of Stripe's API. Called
//! by `sections`.

use log::LevelFilter;

use crate::base::secret::shown;
use crate::stripe::settings::Mode;

/// Modules whose name alone turns on all they say; another bare word is a level misspelt.
const MODULES: [&str; 6] = ["tilld", "ureq", "rustls", "lettre", "refinery", "refinery_core"];

/// A filter of `env_logger`: levels, alone or by module, and after a slash what a line must contain.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let levels = text.split('/').next().unwrap_or_default();
    let wrong = levels.split(',').map(str::trim).find(|word| !word.is_empty() && !is_directive(word));
    match wrong {
        None => Ok(text.to_owned()),
        Some(word) => Err(format!(
            "{shown} is no level: write error, warn, info, debug, trace or off, or by module as in \
             \"info,tilld::worker=debug\"",
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

/// A version of Stripe's API: the day, since 2024 with the name of its release (docs.stripe.com/api/versioning).
pub(super) fn api_version(text: &str) -> Result<String, String> {
    let (day, name) = text.split_once('.').map_or((text, None), |(day, name)| (day, Some(name)));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_day = day.len() == "2026-09-30".len() && day.parse::<jiff::civil::Date>().is_ok();
    if is_day && name.is_none_or(is_name) {
        return Ok(text.to_owned());
    }
    let shown = shown(text);
    Err(format!(
        "{shown} is no API version: write the day and its name, as in {}",
        super::sections::stripe::API_VERSION
    ))
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "live" => Ok(Mode::Live),
        "test" => Ok(Mode::Test),
        _ => Err(format!("must be \"live\" or \"test\", not {shown}", shown = shown(text))),
    }
}

pub(super) fn account(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("acct_").unwrap_or_default();
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(text.to_owned());
    }
    Err(format!("{shown} is no account: write its id, acct_…, as Stripe's settings show it", shown = shown(text)))
}
