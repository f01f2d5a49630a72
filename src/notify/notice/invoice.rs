//! `invoice_finalized`: an invoice is final, so that its number and its file exist. The customer is written to only if
//! the operator wants that (`notify.invoice_finalized`); the application gets its event either way. Called by `notice`.

use serde::{Deserialize, Serialize};

use super::Notice;
use super::letter::{Letter, LetterTone, day_of, line, money_of, safe};
use super::queue::{self, MailRecipient, NewMail};
use crate::base::dunning::TOO_OLD_S;
use crate::notify::app_events::{self, AppEvent, OfUser};
use crate::notify::event_type::AppEventType;
use crate::notify::settings::NotifyBasis;
use crate::notify::text::{UntrustedLink, UntrustedText};
use crate::objects::fact::SeenObject;
use crate::objects::{ProjectionError, invoice};
use crate::store::{StoreError, StoreReader, Tx};
use crate::stripe::object;

/// An invoice that is final.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InvoiceFacts {
    pub(crate) invoice_id: UntrustedText,
    pub(crate) customer_id: Option<UntrustedText>,
    pub(crate) subscription_id: Option<UntrustedText>,
    pub(crate) invoice_number: Option<UntrustedText>,
    pub(crate) amount: Option<i64>,
    pub(crate) total: Option<i64>,
    pub(crate) currency: Option<UntrustedText>,
    pub(crate) due_date: Option<i64>,
    pub(crate) period_start: Option<i64>,
    pub(crate) period_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosted_invoice_url: Option<UntrustedLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoice_pdf: Option<UntrustedLink>,
    pub(crate) finalized_at: Option<i64>,
}

impl InvoiceFacts {
    /// The same for the application: whoever has one of the links can use it, so they are for the customer alone.
    fn without_links(&self) -> Self {
        Self { hosted_invoice_url: None, invoice_pdf: None, ..self.clone() }
    }
}

/// Writes the mail and the application's event.
pub(super) fn announce(tx: &Tx, seen: &SeenObject, basis: NotifyBasis) -> Result<(), ProjectionError> {
    let mailed = basis.notify.mail && basis.notify.invoice_finalized;
    if !(mailed || basis.notify.is_wanted(AppEventType::InvoiceFinalized.as_str())) {
        return Ok(());
    }
    let (id, object) = (seen.id.as_str(), &seen.object);
    let customer_id = object::reference(object, "customer");
    let recipient = MailRecipient::of_customer(tx, customer_id, Some(id))?;
    let (period_start, period_end) = object::invoice_period(object)?;
    let facts = InvoiceFacts {
        invoice_id: UntrustedText::from(id),
        customer_id: customer_id.map(UntrustedText::from),
        subscription_id: object::invoice_subscription(object).map(UntrustedText::from),
        invoice_number: object::text(object, "number")?.map(UntrustedText::from),
        amount: object::integer(object, "amount_due")?,
        total: object::integer(object, "total")?,
        currency: object::text(object, "currency")?.map(UntrustedText::from),
        due_date: object::integer(object, "due_date")?,
        period_start,
        period_end,
        hosted_invoice_url: object::text(object, "hosted_invoice_url")?.map(UntrustedLink::from),
        invoice_pdf: object::text(object, "invoice_pdf")?.map(UntrustedLink::from),
        finalized_at: Some(seen.at_s),
    };
    let user_id = recipient.user_id.as_deref();
    let event = AppEvent {
        event_type: AppEventType::InvoiceFinalized,
        key: id,
        user_id,
        at_s: seen.at_s,
        data: &OfUser { facts: &facts.without_links(), user_id },
    };
    if mailed {
        let notice = Notice::InvoiceFinalized(facts);
        let mail = NewMail { notice, key: id, recipient: &recipient, not_before_ms: 0 };
        let is_old = basis.now_ms.div_euclid(1000).saturating_sub(seen.at_s) > TOO_OLD_S;
        queue::put(tx, mail, is_old.then_some("heard of too late"), basis)?;
    }
    Ok(app_events::publish(tx, &event, basis)?)
}

impl InvoiceFacts {
    pub(super) fn reason_to_skip(
        &self,
        reader: &StoreReader,
        basis: NotifyBasis,
    ) -> Result<Option<&'static str>, StoreError> {
        let status = invoice::find_status(reader, self.invoice_id.raw())?.unwrap_or_default();
        let finalized_at = self.finalized_at.unwrap_or(i64::MAX);
        Ok(match status.as_str() {
            "void" | "uncollectible" => Some("nobody is to pay the invoice any more"),
            "paid" if self.due_date.is_some() => Some("the invoice was paid before this could be sent"),
            _ if basis.now_ms.div_euclid(1000).saturating_sub(finalized_at) > TOO_OLD_S => {
                Some("it could not be sent in time")
            }
            _ => None,
        })
    }
}

pub(super) fn letter(facts: &InvoiceFacts, product: &str) -> Letter {
    let number = line(facts.invoice_number.as_ref()).map(|number| format!(" {number}")).unwrap_or_default();
    let amount = money_of(facts.amount, facts.currency.as_ref());
    let money = amount.as_ref().map(|money| format!(" for {money}")).unwrap_or_default();
    let subject = format!("Your invoice{number} from {product}");
    let due = day_of(facts.due_date);
    let letter = Letter::new(LetterTone::Calm, subject, "Your invoice is ready")
        .say(format!("Here is your invoice{number}{money}."));
    let letter = match (&due, facts.amount) {
        (_, Some(0)) => letter.say("Nothing is due: please keep it for your records."),
        (Some(day), _) => letter.say(format!("Please pay it by {day}.")),
        (None, _) => letter.say("It is paid with the payment method that you gave us; you need not do anything."),
    };
    letter
        .about(due.clone().or_else(|| day_of(facts.finalized_at)))
        .show("Amount", amount.clone())
        .show("Invoice", line(facts.invoice_number.as_ref()))
        .show("From", day_of(facts.period_start).filter(|_| facts.period_start != facts.period_end))
        .show("To", day_of(facts.period_end).filter(|_| facts.period_start != facts.period_end))
        .show("Due", due)
        .button("See the invoice", safe(facts.hosted_invoice_url.as_ref()))
        .link("Download the PDF", safe(facts.invoice_pdf.as_ref()))
        .with([
            ("amount", amount),
            ("currency", line(facts.currency.as_ref()).map(|code| code.to_uppercase())),
            ("due_date", day_of(facts.due_date)),
            ("invoice_id", facts.invoice_id.line()),
            ("invoice_number", line(facts.invoice_number.as_ref())),
            ("invoice_pdf", safe(facts.invoice_pdf.as_ref())),
        ])
}
