//! Is what a mail says still so? Asked right before it is sent, which may be days after it was written: the mail server or
//! the daemon was down. Settled, over, or older than it makes sense: not sent, with the reason. It must never change
//! anything. Called by `daemon` for the lane of mails.

use serde_json::Value;

use super::derived::Basis;
use super::{invoice, invoiced, notices, subscription};
use crate::dunning::{Kind, OLD_NEWS_S};
use crate::store::{Reader, StoreError, dead_letters, dunning_attempts, webhook_endpoints};

/// What speaks against sending the mail of this row, for people; `None`: nothing.
///
/// # Errors
/// When the database cannot be read.
pub fn against(
    reader: &Reader,
    (id, key): (i64, &str),
    payload: &Value,
    basis: Basis,
) -> Result<Option<String>, StoreError> {
    if let Some(mailed) = dunning_attempts::find_by_mail(reader, id)? {
        let why = notices::against(reader, &mailed, basis)?;
        return Ok(why.map(|why| why.as_str().trim_start_matches("skipped: ").to_owned()));
    }
    let facts = &payload["facts"];
    let text = |name: &str| facts[name].as_str().unwrap_or_default();
    let why = match payload["notice"].as_str().unwrap_or_default() {
        "trial_will_end" => trial(reader, facts, basis)?,
        "invoice_finalized" => invoice(reader, facts, basis)?,
        "webhook_dead_letter" if dead_letters::find(reader, text("event_id"))?.is_none() => {
            Some("the event is no dead letter any more")
        }
        "webhook_endpoint_disabled" => endpoint(reader, key)?,
        notice if facts["sent"] == true => match Kind::of(notice) {
            Some(kind) => invoiced::against(reader, kind, (text("subscription_id"), text("invoice_id")), basis)?,
            None => None,
        },
        _ => None,
    };
    Ok(why.map(str::to_owned))
}

fn trial(reader: &Reader, facts: &Value, basis: Basis) -> Result<Option<&'static str>, StoreError> {
    let known = subscription::find(reader, facts["subscription_id"].as_str().unwrap_or_default())?;
    let is_over = facts["trial_end"].as_i64().is_some_and(|end| end <= basis.now_ms.div_euclid(1000));
    Ok(match known {
        _ if is_over => Some("the trial was over"),
        Some(known) if known.subscription.status != "trialing" || known.subscription.deleted => {
            Some("the subscription is no longer on trial")
        }
        Some(known) if known.subscription.trial_end != facts["trial_end"].as_i64() => {
            Some("the trial ends another day")
        }
        _ => None,
    })
}

fn invoice(reader: &Reader, facts: &Value, basis: Basis) -> Result<Option<&'static str>, StoreError> {
    let standing = invoice::find_standing(reader, facts["invoice_id"].as_str().unwrap_or_default())?;
    let status = standing.and_then(|standing| standing.status).unwrap_or_default();
    let finalized_at = facts["finalized_at"].as_i64().unwrap_or(i64::MAX);
    Ok(match status.as_str() {
        "void" | "uncollectible" => Some("nobody is to pay the invoice any more"),
        "paid" if facts["due_date"].is_i64() => Some("the invoice was paid before this could be sent"),
        _ if basis.now_ms.div_euclid(1000).saturating_sub(finalized_at) > OLD_NEWS_S => {
            Some("it could not be sent in time")
        }
        _ => None,
    })
}

/// The key of its mail names the endpoint, between the notice and the time.
fn endpoint(reader: &Reader, key: &str) -> Result<Option<&'static str>, StoreError> {
    let url = key.strip_prefix("mail:webhook_endpoint_disabled:").and_then(|rest| rest.rsplit_once(':'));
    let found = url.map_or(Ok(None), |(url, _)| webhook_endpoints::find(reader, url))?;
    Ok(found.filter(|found| found.disabled_at_ms.is_none()).map(|_| "the endpoint takes its events again"))
}
