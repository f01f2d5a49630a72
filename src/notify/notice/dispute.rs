//! `dispute_created`: a customer asks the bank to take a payment back. Evidence is due within days, so the operator gets
//! the mail however late tilld hears of it. Called by `notice`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::letter::{Letter, LetterTone, day_of, is_id, line, money_of};
use super::queue::{self, MailRecipient, NewMail};
use super::{Notice, words};
use crate::notify::app_events::{self, AppEvent, OfUser};
use crate::notify::event_type::AppEventType;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::UntrustedText;
use crate::objects::fact::SeenObject;
use crate::objects::{ProjectionError, customer};
use crate::store::{StoreError, Tx};
use crate::stripe::object;

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DisputeFacts {
    pub(crate) dispute_id: UntrustedText,
    pub(crate) charge_id: Option<UntrustedText>,
    pub(crate) payment_intent_id: Option<UntrustedText>,
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<UntrustedText>,
    /// Stripe's code.
    pub(crate) reason: Option<UntrustedText>,
    pub(crate) status: Option<UntrustedText>,
    pub(crate) evidence_due_by: Option<i64>,
    pub(crate) created: Option<i64>,
}

/// Writes the mail and the application's event.
pub(super) fn announce(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    let (id, dispute) = (seen.id.as_str(), &seen.object);
    let due_by = dispute.get("evidence_details").map_or(Ok(None), |evidence| object::integer(evidence, "due_by"))?;
    let facts = DisputeFacts {
        dispute_id: UntrustedText::from(id),
        charge_id: object::reference(dispute, "charge").map(UntrustedText::from),
        payment_intent_id: object::reference(dispute, "payment_intent").map(UntrustedText::from),
        amount: object::integer(dispute, "amount")?,
        currency: object::text(dispute, "currency")?.map(UntrustedText::from),
        reason: object::text(dispute, "reason")?.map(UntrustedText::from),
        status: object::text(dispute, "status")?.map(UntrustedText::from),
        evidence_due_by: due_by,
        created: Some(object::integer(dispute, "created")?.unwrap_or(seen.at_s)),
    };
    let recipient = MailRecipient::operator(basis);
    let notice = Notice::DisputeCreated(facts.clone());
    let mail = NewMail { notice, key: id, recipient: &recipient, not_before_ms: 0 };
    queue::put(tx, mail, None, basis)?;
    let user_id = owner_of_charge(tx, dispute)?;
    let user_id = user_id.as_deref();
    let data = OfUser { facts: &facts, user_id };
    let (event_type, at_s) = (AppEventType::DisputeCreated, seen.at_s);
    let event = AppEvent { event_type, key: id, user_id, at_s, data: &data };
    Ok(app_events::publish(tx, &event, basis)?)
}

/// A dispute names no customer; its charge does, if tilld knows it.
fn owner_of_charge(tx: &Tx, dispute: &Value) -> Result<Option<String>, StoreError> {
    match object::reference(dispute, "charge") {
        Some(charge_id) => customer::find_owner_of_charge(tx, charge_id),
        None => Ok(None),
    }
}

pub(super) fn letter(facts: &DisputeFacts, product: &str) -> Letter {
    let amount = money_of(facts.amount, facts.currency.as_ref());
    let money = amount.as_ref().map(|money| format!(" of {money}")).unwrap_or_default();
    let due = day_of(facts.evidence_due_by);
    let reason = line(facts.reason.as_ref()).map(|code| words::dispute(&code));
    let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let subject = format!("{product}: a payment{money} is disputed");
    let page = line(facts.payment_intent_id.as_ref()).filter(|id| is_id(id));
    let letter = Letter::new(LetterTone::Grave, subject, "A payment is disputed")
        .say(format!("A customer asks the bank to take a payment{money} back{because}."));
    let letter = match &due {
        Some(day) => letter.say(format!("Answer with evidence by {day}, or the money is lost.")),
        None => letter.say("Answer with evidence in time, or the money is lost."),
    };
    letter
        .about(due.clone())
        .show("Amount", amount.clone())
        .show("Reason", reason)
        .show("Evidence by", due)
        .show("Dispute", facts.dispute_id.line())
        .show("Charge", line(facts.charge_id.as_ref()))
        .button("Open in Stripe", page.map(|id| format!("https://dashboard.stripe.com/payments/{id}")))
        .with([
            ("amount", amount),
            ("currency", line(facts.currency.as_ref()).map(|code| code.to_uppercase())),
            ("dispute_id", facts.dispute_id.line()),
            ("evidence_due_by", day_of(facts.evidence_due_by)),
            ("reason", line(facts.reason.as_ref())),
        ])
}
