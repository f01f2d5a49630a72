//! Findings that take a scan of whole tables: paused subscriptions, prices in no plan, rows for targets that are not
//! configured, doubtful links. Too slow for a page. Called by `jobs::findings`.

use super::checks::OUTBOX;
use super::links;
use crate::base::entitlement::{EntitlementPlan, PausedCollection};
use crate::base::finding::{Finding, ok, warn};
use crate::notify::NotifyContext;
use crate::notify::attempt::MAIL;
use crate::notify::endpoints;
use crate::notify::settings::NoticeSettings;
use crate::objects::owner;
use crate::objects::subscription::{self, PausedCounts};
use crate::store::outbox::answers;
use crate::store::{StoreError, StoreReader};

pub(super) fn findings(reader: &StoreReader, context: &NotifyContext) -> Result<Vec<Finding>, StoreError> {
    let policy = &context.projection.policy;
    let mut findings = vec![paused(subscription::count_paused(reader)?, policy.paused_collection)];
    findings.extend(waiting_for_nobody(reader, &context.notices)?.iter().map(unsent));
    findings.extend(links::findings(&owner::doubtful(reader)?));
    findings.extend(prices(subscription::list_running_prices(reader)?, &policy.plans));
    Ok(findings)
}

/// Subscriptions whose collection is paused, and what follows from that.
fn paused(paused: PausedCounts, policy: PausedCollection) -> Finding {
    let follows = match policy {
        PausedCollection::Keep => "\"keep\": they have access",
        PausedCollection::UntilPaid => "\"until_paid\": access ends with the period in which the pause began",
    };
    let message = format!(
        "subscriptions with paused collection: {} (entitlement.paused_collection = {follows}); with status paused: {}",
        paused.collection, paused.status
    );
    ok("paused", message)
}

/// Rows of the outbox that wait for a target that is not in the configuration, by target: they will never be sent.
pub(crate) fn waiting_for_nobody(
    reader: &StoreReader,
    notices: &NoticeSettings,
) -> Result<Vec<(String, i64)>, StoreError> {
    let is_known = |target: &str| {
        let mail = target == MAIL && notices.mail;
        mail || notices.webhooks.iter().any(|webhook| webhook.url == target)
    };
    let shown = |target: String| if target == MAIL { target } else { endpoints::origin(&target) };
    let waiting = answers::list_waiting(reader)?;
    Ok(waiting.into_iter().filter(|(target, _)| !is_known(target)).map(|(to, count)| (shown(to), count)).collect())
}

fn unsent((target, count): &(String, i64)) -> Finding {
    let message = format!(
        "{count} rows wait for {target}, which is not configured: put it back into the configuration, or run `tilld outbox resync URL` for the endpoint that replaces it and discard the rows (`tilld outbox list --status pending`)"
    );
    warn(OUTBOX, message)
}

fn prices(mut running: Vec<String>, plans: &[EntitlementPlan]) -> Option<Finding> {
    let known: Vec<&String> = plans.iter().flat_map(|plan| &plan.price_ids).collect();
    running.retain(|price| !plans.is_empty() && !known.contains(&price));
    let said = running.join(", ");
    let message = format!(
        "running subscriptions have prices that are in no plan and give no access: {said}; add them to a [[plan]]"
    );
    (!running.is_empty()).then(|| warn("prices", message))
}
