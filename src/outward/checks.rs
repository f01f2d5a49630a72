//! The checks at Stripe: the key, the clock, and the webhook endpoints as Stripe has them. Asks only, and little: it must
//! never change anything there, and it ends within seconds when Stripe does not answer. Called by `tilld check` and, once an
//! hour, by `jobs::findings`; a page is never made to wait for it.

mod endpoints;
pub(crate) mod permissions;
mod prices;

use std::time::Duration;

use serde_json::Value;

use crate::base::clock::{Clock, SystemClock};
use crate::base::entitlement::EntitlementPlan;
use crate::base::finding::{Finding, fail, ok, warn};
use crate::stripe::call::{Call, Priority, StripeAnswer, Verb};
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::stripe::settings::{Mode, StripeSettings};

/// Limit of one call, so that the person who waits gets an answer soon.
const BUDGET: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_ATTEMPTS: u32 = 2;
/// A difference of so many seconds does not count: the time that an answer takes, and a second that Stripe rounds down.
const EVEN_S: i64 = 5;
/// Name of the check of the key.
const KEY: &str = "stripe key";
/// Where keys are made and their permissions changed.
const KEYS_PAGE: &str = "https://dashboard.stripe.com/apikeys";

/// Asks Stripe, and keeps what every answer shows beside its content.
struct StripeCheck<'a> {
    client: Client,
    /// False: nothing more is asked.
    goes_on: &'a dyn Fn() -> bool,
    /// By how much our clock is ahead of Stripe's (negative: behind), in seconds; from the first answer with a date.
    ahead_s: Option<i64>,
}

impl StripeCheck<'_> {
    fn get(&mut self, path: &str, form: &str) -> Result<StripeAnswer, StripeError> {
        self.send(Call {
            verb: Verb::Get,
            path,
            form,
            idempotency_key: None,
            priority: Priority::Interactive,
            context: None,
        })
    }

    fn send(&mut self, call: Call) -> Result<StripeAnswer, StripeError> {
        if !(self.goes_on)() {
            self.client.close();
        }
        let sent_s = SystemClock.now_s();
        let answer = self.client.call(&call)?;
        let answered_s = SystemClock.now_s();
        // Its time may lie anywhere between the two of ours; if it does, the clocks agree.
        let ahead =
            answer.date_s.map(|date_s| sent_s.saturating_sub(date_s).max(0) + answered_s.saturating_sub(date_s).min(0));
        self.ahead_s = self.ahead_s.or(ahead);
        Ok(answer)
    }
}

/// What the configuration says about Stripe, to be compared with what Stripe says.
#[derive(Debug, Clone)]
pub struct StripeChecks {
    /// How Stripe is asked.
    pub settings: StripeSettings,
    /// Where webhooks come in.
    pub webhooks: Vec<CheckedWebhook>,
    /// How often Stripe is asked for events, in seconds, where it sends none.
    pub pull_interval_s: Option<i64>,
    /// Whose prices are looked up.
    pub plans: Vec<EntitlementPlan>,
}

/// A path that Stripe is to send webhooks to.
#[derive(Debug, Clone)]
pub struct CheckedWebhook {
    /// Starts with a slash.
    pub path: String,
    /// How much the time of a signature may differ from ours, in seconds.
    pub tolerance_s: i64,
}

/// What is known without asking Stripe.
#[derive(Default)]
pub(crate) struct KnownFacts {
    /// An event in the log that is not of the key's mode.
    pub(crate) of_other_mode: Option<String>,
    /// What was found out of the key's permissions not long ago. `None`: they are asked for.
    pub(crate) permissions: Option<Finding>,
}

/// Asks Stripe. `goes_on` is asked before each further question; `None`: it said no, so that nothing is known.
pub(crate) fn ask(wanted: &StripeChecks, known: KnownFacts, goes_on: &dyn Fn() -> bool) -> Option<Vec<Finding>> {
    let hasty = StripeSettings {
        max_attempts: MAX_ATTEMPTS,
        interactive_budget: BUDGET,
        total_timeout: BUDGET,
        read_timeout: BUDGET,
        connect_timeout: CONNECT_TIMEOUT,
        ..wanted.settings.clone()
    };
    let client = match Client::new(hasty) {
        Ok(client) => client,
        Err(error) => return Some(vec![fail(KEY, error.to_string())]),
    };
    let mut asking = StripeCheck { client, ahead_s: None, goes_on };
    let findings = all(&mut asking, wanted, known);
    goes_on().then_some(findings)
}

fn all(asking: &mut StripeCheck, wanted: &StripeChecks, known: KnownFacts) -> Vec<Finding> {
    let key = CheckedKey::of(&wanted.settings);
    let (first, usable) = key.finding(&wanted.settings.api_base, asking.get("/v1/balance", ""));
    let mut findings = vec![first];
    findings.extend(known.of_other_mode.map(|event_id| key.contradicted(&event_id)));
    if !usable {
        return findings;
    }
    if key.restricted {
        findings.push(known.permissions.unwrap_or_else(|| permissions::finding(asking)));
    }
    findings.extend(endpoints::findings(asking, wanted));
    findings.extend(prices::findings(asking, wanted));
    findings.extend(clock(asking.ahead_s, wanted));
    findings
}

/// Nothing can be asked.
pub(crate) fn without_key() -> Finding {
    let message = "none: webhooks and entitlement work; checkout, portal, changes, refunds, catching up on missed events, and thin \
                   events do not. Set stripe.api_key (STRIPE_API_KEY); a restricted key (rk_) is enough";
    warn(KEY, message)
}

/// What the key itself shows.
struct CheckedKey {
    restricted: bool,
    mode: Option<Mode>,
}

impl CheckedKey {
    fn of(settings: &StripeSettings) -> Self {
        Self { restricted: settings.api_key.is_restricted(), mode: settings.api_key.mode() }
    }

    /// What is found, and whether further checks with this key make sense.
    fn finding(&self, base: &str, asked: Result<StripeAnswer, StripeError>) -> (Finding, bool) {
        let kind = if self.restricted { "restricted (rk_)" } else { "unrestricted: a restricted key (rk_) is safer" };
        let own = self.mode.map_or("unknown", name);
        let shown = match asked {
            Ok(answer) => {
                let balance: Value = serde_json::from_str(&answer.text).unwrap_or_default();
                balance["livemode"].as_bool().map(|live| if live { Mode::Live } else { Mode::Test })
            }
            Err(error) => match error.api().map(|error| error.status) {
                Some(401) => return (fail(KEY, refused()), false),
                Some(403) => None,
                Some(status @ 400..=499) if status != 429 => {
                    let said = format!(
                        "{base} answered {status} to GET /v1/balance: is it Stripe's API? Check stripe.api_base"
                    );
                    return (warn(KEY, said), true);
                }
                _ => return (fail(KEY, unreachable(base, &error)), false),
            },
        };
        let line = match (self.mode, shown) {
            (Some(own), Some(shown)) if own != shown => {
                let said = format!(
                    "its prefix stands for {}, but Stripe says {}: events of {} mode are ignored",
                    name(own),
                    name(shown),
                    name(shown)
                );
                warn(KEY, format!("{said}; take the key from {KEYS_PAGE} again"))
            }
            (None, Some(shown)) => ok(KEY, format!("valid, {} mode, {kind}", name(shown))),
            _ => ok(KEY, format!("valid, {own} mode, {kind}")),
        };
        (line, true)
    }

    fn contradicted(&self, event_id: &str) -> Finding {
        let own = self.mode.map_or("another", name);
        let message = format!(
            "it is of {own} mode, but events of the other mode come in, such as {event_id}, and are ignored: use the key and \
             the webhook secret of one mode"
        );
        warn(KEY, message)
    }
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Test => "test",
    }
}

fn refused() -> String {
    format!(
        "Stripe does not know it (401): it was mistyped, rolled or deleted; copy a valid one from {KEYS_PAGE} and set stripe.api_key (STRIPE_API_KEY)"
    )
}

fn unreachable(base: &str, error: &StripeError) -> String {
    format!("could not be checked at stripe.api_base = {base}: {error}")
}

fn clock(ahead_s: Option<i64>, wanted: &StripeChecks) -> Option<Finding> {
    const CHECK: &str = "clock at Stripe";
    let ahead_s = ahead_s?;
    let tolerance_s = wanted.webhooks.iter().map(|webhook| webhook.tolerance_s).min()?;
    let off_s = ahead_s.saturating_abs();
    let side = if ahead_s > 0 { "ahead of" } else { "behind" };
    let said =
        format!("this machine is {off_s} s {side} Stripe; webhooks are refused from {tolerance_s} s on (tolerance_s)");
    let remedy = "start a time service (timedatectl set-ntp true)";
    Some(if off_s > tolerance_s {
        fail(CHECK, format!("{said}: {remedy}"))
    } else if off_s.saturating_mul(2) > tolerance_s {
        warn(CHECK, format!("{said}: {remedy}"))
    } else if off_s > EVEN_S {
        ok(CHECK, said)
    } else {
        ok(CHECK, "they agree")
    })
}
