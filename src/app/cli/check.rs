//! `tilld check`: is everything in order on this machine? One line per check: ok, warn or fail, and what to do. It must
//! never change anything but the row that proves that the database takes a write and those that the dashboard shows again, and
//! nothing at all at Stripe. Called by
//! the command line.

mod daemon;
mod database;

use std::io::Write;

use database::DatabaseState;

use crate::app::cli::{CommandError, table};
use crate::app::config::{self, Config, ConfigFault, ConfigSources, Faults, Flags, Purpose};
use crate::app::daemon as life;
use crate::base::clock::{Clock, SystemClock};
use crate::base::finding::{Finding, FindingVerdict, fail, ok, warn};
use crate::jobs::findings::{self, FindingsOf, Remembered};
use crate::outward::checks::{self, KnownFacts};

/// Runs every check and prints its line.
///
/// # Errors
/// When one of them fails: as wrong use when the configuration is at fault, whatever else failed.
pub(crate) fn run(flags: &Flags, out: &mut dyn Write) -> Result<(), CommandError> {
    let Checked { lines, is_misconfigured } = check(flags);
    let row = |line: &Finding| vec![format!("{:<4}", line.verdict.as_str()), line.check.clone(), line.message.clone()];
    table::aligned(out, &lines.iter().map(row).collect::<Vec<_>>())?;
    match lines.iter().filter(|line| line.verdict == FindingVerdict::Fail).count() {
        0 => Ok(()),
        failed if is_misconfigured => Err(CommandError::wrong_use(format!("checks failed: {failed}"))),
        failed => Err(CommandError::failed(format!("checks failed: {failed}"))),
    }
}

/// All lines, and whether `tilld serve` would refuse the configuration.
struct Checked {
    lines: Vec<Finding>,
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
    lines.push(findings::plans(&config.policy.plans));
    lines.push(findings::tokens(config.tokens.api.is_some(), config.tokens.admin.is_some()));
    let now_ms = SystemClock.now_ms();
    let found = database::lines(&config, now_ms);
    lines.extend(found.lines);
    lines.extend(at_stripe(&config, &found.state, now_ms));
    lines.extend(daemon::lines(&config, found.state.database_id.as_deref()));
    Checked { lines, is_misconfigured: faults.is_some() }
}

/// Asks Stripe, and leaves the answers to the dashboard.
fn at_stripe(config: &Config, state: &DatabaseState, now_ms: i64) -> Vec<Finding> {
    let Some(wanted) = life::stripe_checks(config) else { return vec![checks::without_key()] };
    let known = KnownFacts { of_other_mode: state.of_other_mode.clone(), permissions: None };
    let found = checks::ask(&wanted, known, &|| true).unwrap_or_default();
    if state.is_usable {
        database::remember(config, Remembered::Stripe, FindingsOf { at_ms: now_ms, findings: found.clone() });
    }
    found
}

fn configuration(config: &Config) -> Vec<Finding> {
    let source = config.source.as_deref().map(|path| path.display().to_string());
    let first = ok("configuration", source.unwrap_or_else(|| "no file; environment and defaults".to_owned()));
    std::iter::once(first).chain(config.warnings.iter().map(|text| warn("configuration", text))).collect()
}

/// A fault that only `tilld serve` refuses.
fn unserved(fault: &ConfigFault) -> Finding {
    let check = if fault.key.starts_with("stripe.webhook") { "webhook secrets" } else { "configuration" };
    fail(check, fault.to_string())
}

/// Endpoints without a secret are reported as faults of the configuration.
fn secrets(config: &Config) -> Vec<Finding> {
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
