//! `tilld check`: is everything in order on this machine? One line per check: ok, warn or fail, and what to do. It must
//! never change anything but the one row that proves that the database takes a write, and nothing at all at Stripe. Called by
//! the command line.

mod burning;
mod daemon;
mod database;
mod outbox;
mod owners;
mod stripe;

use std::io::Write;

use crate::app::cli::{CommandError, table};
use crate::app::config::{self, Config, ConfigFault, ConfigSources, Faults, Flags, Purpose};
use crate::base::clock::{Clock, SystemClock};

/// 2026-01-01, before this program was written: a clock that shows an earlier time was never set.
const EARLIEST_NOW_S: i64 = 1_767_225_600;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckVerdict {
    Ok,
    Warn,
    Fail,
}

/// One line.
struct CheckLine {
    verdict: CheckVerdict,
    check: &'static str,
    message: String,
}

fn ok(check: &'static str, message: impl Into<String>) -> CheckLine {
    CheckLine { verdict: CheckVerdict::Ok, check, message: message.into() }
}

fn warn(check: &'static str, message: impl Into<String>) -> CheckLine {
    CheckLine { verdict: CheckVerdict::Warn, check, message: message.into() }
}

fn fail(check: &'static str, message: impl Into<String>) -> CheckLine {
    CheckLine { verdict: CheckVerdict::Fail, check, message: message.into() }
}

/// Runs every check and prints its line.
///
/// # Errors
/// When one of them fails: as wrong use when the configuration is at fault, whatever else failed.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let Checked { lines, is_misconfigured } = check(flags);
    let row = |line: &CheckLine| {
        let verdict = match line.verdict {
            CheckVerdict::Ok => "ok",
            CheckVerdict::Warn => "warn",
            CheckVerdict::Fail => "fail",
        };
        vec![format!("{verdict:<4}"), line.check.to_owned(), line.message.clone()]
    };
    table::aligned(out, &lines.iter().map(row).collect::<Vec<_>>())?;
    match lines.iter().filter(|line| line.verdict == CheckVerdict::Fail).count() {
        0 => Ok(()),
        failed if is_misconfigured => Err(CommandError::wrong_use(format!("checks failed: {failed}"))),
        failed => Err(CommandError::failed(format!("checks failed: {failed}"))),
    }
}

/// All lines, and whether `tilld serve` would refuse the configuration.
struct Checked {
    lines: Vec<CheckLine>,
    is_misconfigured: bool,
}

fn check(flags: &Flags) -> Checked {
    let around = ConfigSources::of_process();
    let config = match config::load(flags, &around, Purpose::Tool) {
        Ok(config) => config,
        Err(Faults(faults)) => {
            let lines = faults.iter().map(|fault| fail("configuration", fault.to_string())).collect();
            return Checked { lines, is_misconfigured: true };
        }
    };
    let faults = config::load(flags, &around, Purpose::Serve).err().map(|Faults(faults)| faults);
    let mut lines = configuration(&config);
    lines.extend(faults.iter().flatten().map(unserved));
    lines.extend(secrets(&config));
    lines.extend([plans(&config), tokens(&config)]);
    let now_s = SystemClock.now_s();
    let found = database::lines(&config, now_s);
    lines.push(clock(now_s, found.last_event_s));
    let database_id = found.database_id.clone();
    lines.extend(found.lines);
    lines.extend(stripe::lines(&config, found.of_other_mode.as_deref()));
    lines.extend(daemon::lines(&config, database_id.as_deref()));
    Checked { lines, is_misconfigured: faults.is_some() }
}

fn configuration(config: &Config) -> Vec<CheckLine> {
    let source = config.source.as_deref().map(|path| path.display().to_string());
    let first = ok("configuration", source.unwrap_or_else(|| "no file; environment and defaults".to_owned()));
    std::iter::once(first).chain(config.warnings.iter().map(|text| warn("configuration", text))).collect()
}

/// A fault that only `tilld serve` refuses.
fn unserved(fault: &ConfigFault) -> CheckLine {
    let check = if fault.key.starts_with("stripe.webhook") { "webhook secrets" } else { "configuration" };
    fail(check, fault.to_string())
}

/// Endpoints without a secret are reported as faults of the configuration.
fn secrets(config: &Config) -> Vec<CheckLine> {
    let with_secrets = config.stripe.webhooks.iter().filter(|endpoint| !endpoint.secrets.is_empty());
    with_secrets
        .map(|endpoint| {
            let path = &endpoint.path;
            let odd = endpoint.secrets.iter().filter(|secret| !secret.expose().starts_with("whsec_")).count();
            match odd {
                0 => ok("webhook secrets", format!("{path} (secrets: {})", endpoint.secrets.len())),
                _ => warn(
                    "webhook secrets",
                    format!("{path}: {odd} of its secrets do not begin with whsec_: compare with Stripe's dashboard"),
                ),
            }
        })
        .collect()
}

fn plans(config: &Config) -> CheckLine {
    let named: Vec<String> =
        config.policy.plans.iter().map(|plan| format!("{} (price ids: {})", plan.tier, plan.price_ids.len())).collect();
    if named.is_empty() {
        return warn("plans", "none: every price buys the tier \"default\"; name your tiers in [[plan]]");
    }
    ok("plans", named.join(" < "))
}

fn tokens(config: &Config) -> CheckLine {
    let missing: Vec<&str> = [("api.token", &config.tokens.api), ("api.admin_token", &config.tokens.admin)]
        .into_iter()
        .filter(|(_, token)| token.is_none())
        .map(|(key, _)| key)
        .collect();
    if missing.is_empty() {
        return ok("tokens", "api.token, api.admin_token");
    }
    warn("tokens", format!("no {}: these calls answer 401; `tilld init` makes tokens", missing.join(", ")))
}

fn clock(now_s: i64, last_event_s: Option<i64>) -> CheckLine {
    let now = table::time_s(now_s);
    match last_event_s {
        _ if now_s < EARLIEST_NOW_S => fail("clock", format!("it shows {now} UTC: set it, or start a time service")),
        Some(last) if last > now_s => {
            let last = table::time_s(last);
            warn(
                "clock",
                format!("it shows {now} UTC, but an event was received at {last}: it was set back; correct it"),
            )
        }
        _ => ok("clock", format!("{now} UTC")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_or_was_set_back_is_noticed() {
        assert_eq!(clock(0, None).verdict, CheckVerdict::Fail);
        assert_eq!(clock(EARLIEST_NOW_S, Some(EARLIEST_NOW_S + 1)).verdict, CheckVerdict::Warn);
        assert_eq!(clock(EARLIEST_NOW_S, Some(EARLIEST_NOW_S)).verdict, CheckVerdict::Ok);
    }
}
