//! Findings that need no table: plans, tokens, the clock, refused webhooks, versions. Pure. Called by `jobs::findings`, the
//! dashboard and `tilld check`.

use std::collections::BTreeMap;

use super::checks::REFUSED;
use crate::base::ago::utc_s;
use crate::base::entitlement::EntitlementPlan;
use crate::base::finding::{Finding, fail, ok, warn};

/// 2026-01-01, before this program was written: a clock that shows an earlier time was never set.
const EARLIEST_NOW_S: i64 = 1_767_225_600;

/// The tiers that prices buy.
pub(crate) fn plans(plans: &[EntitlementPlan]) -> Finding {
    let named: Vec<String> =
        plans.iter().map(|plan| format!("{} (price ids: {})", plan.tier, plan.price_ids.len())).collect();
    if named.is_empty() {
        return warn("plans", "none: every price buys the tier \"default\"; name your tiers in [[plan]]");
    }
    ok("plans", named.join(" < "))
}

/// Whether each of the two tokens is set.
pub(crate) fn tokens(api: bool, admin: bool) -> Finding {
    let missing: Vec<&str> = [("api.token", api), ("api.admin_token", admin)]
        .into_iter()
        .filter(|(_, set)| !set)
        .map(|(key, _)| key)
        .collect();
    if missing.is_empty() {
        return ok("tokens", "api.token, api.admin_token");
    }
    warn("tokens", format!("no {}: these calls answer 401; `tilld init` makes tokens", missing.join(", ")))
}

/// The clock of the machine, beside the time of the newest event.
pub(crate) fn clock(now_s: i64, last_event_s: Option<i64>) -> Finding {
    let now = utc_s(now_s);
    match last_event_s {
        _ if now_s < EARLIEST_NOW_S => fail("clock", format!("it shows {now} UTC: set it, or start a time service")),
        Some(last) if last > now_s => {
            let last = utc_s(last);
            warn(
                "clock",
                format!("it shows {now} UTC, but an event was received at {last}: it was set back; correct it"),
            )
        }
        _ => ok("clock", format!("{now} UTC")),
    }
}

/// Webhooks that the daemon has refused since its start, by code.
pub(crate) fn refused(counts: &BTreeMap<String, u64>) -> Finding {
    if counts.is_empty() {
        return ok(REFUSED, "none since the daemon started");
    }
    let counts: Vec<String> = counts.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    let remedy =
        "signature_mismatch: compare the secrets with Stripe's dashboard; unknown_path: check the endpoint's URL";
    warn(REFUSED, format!("since the daemon started: {} ({remedy})", counts.join(", ")))
}

/// The rules of projection are others than those that the tables were made by.
pub(super) fn other_rules() -> Finding {
    warn(
        "rules",
        "the tables were made by the rules of another version of tilld: stop the daemon and run `tilld rebuild`; \
         `tilld rebuild --check` shows what would change",
    )
}

/// Events of an API version that is newer than this program.
pub(super) fn newer_version(version: &str) -> Finding {
    let message = format!(
        "events have API version {version}, which is newer than this tilld: fields that moved are not found; update tilld, or \
         give the webhook endpoint an older version"
    );
    warn("api version", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::finding::FindingVerdict;

    #[test]
    fn a_clock_that_was_never_set_or_was_set_back_is_noticed() {
        assert_eq!(clock(0, None).verdict, FindingVerdict::Fail);
        assert_eq!(clock(EARLIEST_NOW_S, Some(EARLIEST_NOW_S + 1)).verdict, FindingVerdict::Warn);
        assert_eq!(clock(EARLIEST_NOW_S, Some(EARLIEST_NOW_S)).verdict, FindingVerdict::Ok);
    }
}
