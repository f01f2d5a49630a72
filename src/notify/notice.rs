//! The notices: what each says, as typed facts, and whether it is still so. Whoever decides that a notice ought to exist
//! makes a [`Notice`]; the outbox keeps it as JSON; `delivery::mail` reads it back and writes the mail. It must never make
//! a text, nor change anything.
//!
//! A row of the outbox whose `kind` is `mail` has this payload, which stays as it is (fields may be added; what an older
//! row lacks is not known):
//! ```json
//! {"notice": "payment_failed", "facts": {…}, "to": "jane@example.com", "user": {"id": "user_1", "name": "Jane"}}
//! ```
//! `notice` is the word of a `NoticeKind`, `facts` has the fields of the structs below by name: amounts in minor units,
//! times in unix seconds. `to` is null where no address is known; `user` is whose the customer is, without both for the
//! operator.

use serde::{Deserialize, Serialize};

use super::settings::NotifyBasis;
use super::text::{SafeLink, Text, personal_name};
use super::{invoiced, notices};
use crate::base::dunning::OLD_NEWS_S;
use crate::base::notice_kind::NoticeKind;
use crate::objects::dunning_attempts;
use crate::objects::{invoice, subscription};
use crate::store::{StoreError, StoreReader, dead_letters, webhook_endpoints};

/// Something to be told to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", content = "facts", rename_all = "snake_case")]
pub(crate) enum Notice {
    /// The first attempt at a payment failed.
    PaymentFailed(PaymentFacts),
    /// A later one failed.
    PaymentRetry(PaymentFacts),
    /// The customer must confirm a payment.
    PaymentActionRequired(PaymentFacts),
    /// Access ends soon.
    GracePeriodWarning(PaymentFacts),
    /// Access has ended.
    SubscriptionDowngraded(PaymentFacts),
    /// It is paid after all.
    PaymentRecovered(PaymentFacts),
    /// There is an invoice.
    InvoiceFinalized(InvoiceFacts),
    /// A trial ends soon.
    TrialWillEnd(TrialFacts),
    /// A customer wants money back by way of the bank.
    DisputeCreated(DisputeFacts),
    /// An event of Stripe's was given up.
    WebhookDeadLetter(DeadLetterFacts),
    /// An endpoint of the application's gets no more events.
    WebhookEndpointDisabled(EndpointFacts),
    /// Stripe's webhooks do not come.
    WebhooksMissing(MissingFacts),
    /// The operator tries whether mail works.
    Test {},
}

/// A failed payment, or an overdue invoice, and what hangs on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PaymentFacts {
    pub(crate) invoice_id: Text,
    pub(crate) subscription_id: Option<Text>,
    pub(crate) customer_id: Option<Text>,
    /// What remains to be paid; of a payment that has come, what was paid.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<Text>,
    /// Stripe's code.
    pub(crate) failure_code: Option<Text>,
    pub(crate) attempt: Option<i64>,
    pub(crate) next_attempt_at: Option<i64>,
    pub(crate) first_failed_at: Option<i64>,
    pub(crate) failed_at: Option<i64>,
    pub(crate) settled_at: Option<i64>,
    pub(crate) grace_period_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_date: Option<i64>,
    pub(crate) invoice_number: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosted_invoice_url: Option<SafeLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoice_pdf: Option<SafeLink>,
    /// What the invoice is for; of what has ended, what was had.
    pub(crate) tier: Option<Text>,
    /// What the user has now.
    pub(crate) tier_now: Option<Text>,
    /// Stripe has ended the subscription: paying does not bring it back.
    pub(crate) ended: bool,
    pub(crate) ended_at: Option<i64>,
    /// The invoice was sent to be paid, so that no attempt failed and no case exists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sent: bool,
}

impl PaymentFacts {
    /// The same for the application: a bearer link is for the customer's eyes.
    #[must_use]
    pub(crate) fn without_links(&self) -> Self {
        Self { hosted_invoice_url: None, invoice_pdf: None, ..self.clone() }
    }
}

/// An invoice that is final.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct InvoiceFacts {
    pub(crate) invoice_id: Text,
    pub(crate) customer_id: Option<Text>,
    pub(crate) subscription_id: Option<Text>,
    pub(crate) invoice_number: Option<Text>,
    pub(crate) amount: Option<i64>,
    pub(crate) total: Option<i64>,
    pub(crate) currency: Option<Text>,
    pub(crate) due_date: Option<i64>,
    pub(crate) period_start: Option<i64>,
    pub(crate) period_end: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosted_invoice_url: Option<SafeLink>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invoice_pdf: Option<SafeLink>,
    pub(crate) finalized_at: Option<i64>,
}

impl InvoiceFacts {
    /// The same for the application: a bearer link is for the customer's eyes.
    #[must_use]
    pub(crate) fn without_links(&self) -> Self {
        Self { hosted_invoice_url: None, invoice_pdf: None, ..self.clone() }
    }
}

/// A trial that ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TrialFacts {
    pub(crate) subscription_id: Text,
    pub(crate) customer_id: Option<Text>,
    pub(crate) trial_end: Option<i64>,
    pub(crate) tier: Option<Text>,
    /// What it costs afterwards, per interval, where that is known for certain.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<Text>,
    pub(crate) interval: Option<Text>,
    pub(crate) interval_count: Option<i64>,
    /// The subscription ends with it.
    pub(crate) ends_with_trial: bool,
}

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DisputeFacts {
    pub(crate) dispute_id: Text,
    pub(crate) charge_id: Option<Text>,
    pub(crate) payment_intent_id: Option<Text>,
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<Text>,
    /// Stripe's code.
    pub(crate) reason: Option<Text>,
    pub(crate) status: Option<Text>,
    pub(crate) evidence_due_by: Option<i64>,
    pub(crate) created: Option<i64>,
}

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeadLetterFacts {
    pub(crate) event_id: Text,
    pub(crate) event_type: Option<Text>,
    pub(crate) attempts: Option<i64>,
    pub(crate) error: Option<Text>,
    pub(crate) received_at: Option<i64>,
}

/// An endpoint that gets no more events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndpointFacts {
    /// Scheme and host: the rest may be a secret.
    pub(crate) url: Text,
    pub(crate) reason: Option<Text>,
    pub(crate) error: Option<Text>,
    pub(crate) disabled_at: Option<i64>,
    pub(crate) failing_since: Option<i64>,
    pub(crate) last_success_at: Option<i64>,
}

impl EndpointFacts {
    /// What its mail is about, by which the endpoint is found again.
    #[must_use]
    pub(crate) fn key(url: &str, disabled_at_ms: i64) -> String {
        format!("{url}:{disabled_at_ms}")
    }

    fn url_of(key: &str) -> Option<&str> {
        key.rsplit_once(':').map(|(url, _)| url)
    }
}

/// Webhooks that do not come.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MissingFacts {
    /// When the last one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent_since: Option<i64>,
    /// How many events were found by asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late_events: Option<u64>,
}

/// Whom a mail greets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Addressee {
    /// The application's id.
    pub(crate) id: Option<Text>,
    name: Option<String>,
}

impl Addressee {
    /// A user.
    #[must_use]
    pub(crate) fn new(id: Option<&str>, name: Option<&str>) -> Self {
        Self { id: id.map(Text::from), name: name.map(str::to_owned) }
    }

    /// What the user is called, if that can be a name.
    #[must_use]
    pub(crate) fn name(&self) -> Option<String> {
        self.name.as_deref().and_then(personal_name)
    }
}

/// A mail as its row in the outbox has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoticeMail {
    /// What it says.
    #[serde(flatten)]
    pub(crate) notice: Notice,
    /// The mail address, if one is known.
    #[serde(default)]
    pub(crate) to: Option<String>,
    /// Who is written to.
    #[serde(default)]
    pub(crate) user: Addressee,
}

impl NoticeMail {
    /// The payload of its row.
    ///
    /// # Errors
    /// Never for what can be made; `serde_json` does not know that.
    pub(crate) fn payload(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| StoreError::Sql(error.to_string()))
    }

    /// The key of its row: one mail for each kind and subject.
    #[must_use]
    pub(crate) fn dedupe_key(kind: NoticeKind, subject: &str) -> String {
        format!("mail:{}:{subject}", kind.as_str())
    }
}

/// What the mail of a row is about, by its key.
fn subject_of(kind: NoticeKind, dedupe_key: &str) -> Option<&str> {
    dedupe_key.strip_prefix(NoticeMail::dedupe_key(kind, "").as_str())
}

impl Notice {
    /// The notice of a failure case; `None`: the kind hangs on none.
    #[must_use]
    pub(crate) fn of_case(kind: NoticeKind, facts: PaymentFacts) -> Option<Self> {
        Some(match kind {
            NoticeKind::PaymentFailed => Self::PaymentFailed(facts),
            NoticeKind::PaymentRetry => Self::PaymentRetry(facts),
            NoticeKind::PaymentActionRequired => Self::PaymentActionRequired(facts),
            NoticeKind::GracePeriodWarning => Self::GracePeriodWarning(facts),
            NoticeKind::SubscriptionDowngraded => Self::SubscriptionDowngraded(facts),
            NoticeKind::PaymentRecovered => Self::PaymentRecovered(facts),
            _ => return None,
        })
    }

    /// Its kind.
    #[must_use]
    pub(crate) fn kind(&self) -> NoticeKind {
        match self {
            Self::PaymentFailed(_) => NoticeKind::PaymentFailed,
            Self::PaymentRetry(_) => NoticeKind::PaymentRetry,
            Self::PaymentActionRequired(_) => NoticeKind::PaymentActionRequired,
            Self::GracePeriodWarning(_) => NoticeKind::GracePeriodWarning,
            Self::SubscriptionDowngraded(_) => NoticeKind::SubscriptionDowngraded,
            Self::PaymentRecovered(_) => NoticeKind::PaymentRecovered,
            Self::InvoiceFinalized(_) => NoticeKind::InvoiceFinalized,
            Self::TrialWillEnd(_) => NoticeKind::TrialWillEnd,
            Self::DisputeCreated(_) => NoticeKind::DisputeCreated,
            Self::WebhookDeadLetter(_) => NoticeKind::WebhookDeadLetter,
            Self::WebhookEndpointDisabled(_) => NoticeKind::WebhookEndpointDisabled,
            Self::WebhooksMissing(_) => NoticeKind::WebhooksMissing,
            Self::Test {} => NoticeKind::Test,
        }
    }

    /// What speaks by now against sending it, for people; `None`: nothing. Asked right before its mail is sent, which may
    /// be days after it was written: the mail server or the daemon was down. Settled, over, or older than it makes sense
    /// is not sent. `row`: its row's number and key in the outbox.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) fn against(
        &self,
        reader: &StoreReader,
        (id, key): (i64, &str),
        basis: NotifyBasis,
    ) -> Result<Option<String>, StoreError> {
        if let Some(mailed) = dunning_attempts::find_by_mail(reader, id)? {
            let why = notices::against(reader, &mailed, basis)?;
            return Ok(why.map(|why| why.as_str().trim_start_matches("skipped: ").to_owned()));
        }
        let why = match self {
            Self::TrialWillEnd(facts) => facts.against(reader, basis)?,
            Self::InvoiceFinalized(facts) => facts.against(reader, basis)?,
            Self::WebhookDeadLetter(facts) => facts.against(reader)?,
            Self::WebhookEndpointDisabled(_) => EndpointFacts::against(reader, subject_of(self.kind(), key))?,
            Self::GracePeriodWarning(facts) | Self::SubscriptionDowngraded(facts) if facts.sent => {
                invoiced::against(reader, self.kind(), facts, basis)?
            }
            // What is told of a case is judged above; the others stay true.
            Self::PaymentFailed(_)
            | Self::PaymentRetry(_)
            | Self::PaymentActionRequired(_)
            | Self::GracePeriodWarning(_)
            | Self::SubscriptionDowngraded(_)
            | Self::PaymentRecovered(_)
            | Self::DisputeCreated(_)
            | Self::WebhooksMissing(_)
            | Self::Test {} => None,
        };
        Ok(why.map(str::to_owned))
    }
}

impl TrialFacts {
    fn against(&self, reader: &StoreReader, basis: NotifyBasis) -> Result<Option<&'static str>, StoreError> {
        let known = subscription::find(reader, self.subscription_id.raw())?;
        let is_over = self.trial_end.is_some_and(|end| end <= basis.now_ms.div_euclid(1000));
        Ok(match known {
            _ if is_over => Some("the trial was over"),
            Some(known) if known.subscription.status != "trialing" || known.subscription.deleted => {
                Some("the subscription is no longer on trial")
            }
            Some(known) if known.subscription.trial_end != self.trial_end => Some("the trial ends another day"),
            _ => None,
        })
    }
}

impl InvoiceFacts {
    fn against(&self, reader: &StoreReader, basis: NotifyBasis) -> Result<Option<&'static str>, StoreError> {
        let status = invoice::find_status(reader, self.invoice_id.raw())?.unwrap_or_default();
        let finalized_at = self.finalized_at.unwrap_or(i64::MAX);
        Ok(match status.as_str() {
            "void" | "uncollectible" => Some("nobody is to pay the invoice any more"),
            "paid" if self.due_date.is_some() => Some("the invoice was paid before this could be sent"),
            _ if basis.now_ms.div_euclid(1000).saturating_sub(finalized_at) > OLD_NEWS_S => {
                Some("it could not be sent in time")
            }
            _ => None,
        })
    }
}

impl DeadLetterFacts {
    fn against(&self, reader: &StoreReader) -> Result<Option<&'static str>, StoreError> {
        let is_dead = dead_letters::find(reader, self.event_id.raw())?.is_some();
        Ok((!is_dead).then_some("the event is no dead letter any more"))
    }
}

impl EndpointFacts {
    fn against(reader: &StoreReader, key: Option<&str>) -> Result<Option<&'static str>, StoreError> {
        let url = key.and_then(Self::url_of);
        let found = url.map_or(Ok(None), |url| webhook_endpoints::find(reader, url))?;
        Ok(found.filter(|found| found.disabled_at_ms.is_none()).map(|_| "the endpoint takes its events again"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn read(payload: Value) -> Result<NoticeMail, serde_json::Error> {
        serde_json::from_value(payload)
    }

    #[test]
    fn the_payload_of_every_kind_names_it_and_is_read_back_as_it_was_written() {
        for kind in NoticeKind::ALL {
            let payload =
                json!({"notice": kind.as_str(), "facts": {}, "to": "a@b.example", "user": {"id": "u", "name": null}});
            let mail = read(payload).unwrap();
            assert_eq!(mail.notice.kind(), *kind);
            let written: Value = serde_json::from_str(&mail.payload().unwrap()).unwrap();
            assert_eq!(written["notice"], kind.as_str());
            assert!(written["facts"].is_object(), "{written}");
            assert_eq!(read(written).unwrap(), mail);
        }
    }

    #[test]
    fn the_payload_of_a_mail_is_the_documented_one() {
        let facts = PaymentFacts {
            invoice_id: Text::from("in_1"),
            amount: Some(1200),
            hosted_invoice_url: Some(SafeLink::from("https://pay.example/in_1")),
            ..PaymentFacts::default()
        };
        let user = Addressee::new(Some("user_1"), Some("Jane"));
        let mail = NoticeMail { notice: Notice::PaymentFailed(facts), to: Some("jane@example.com".to_owned()), user };
        let written: Value = serde_json::from_str(&mail.payload().unwrap()).unwrap();
        assert_eq!(
            (&written["notice"], &written["to"], &written["user"]),
            (&json!("payment_failed"), &json!("jane@example.com"), &json!({"id": "user_1", "name": "Jane"}))
        );
        let facts = &written["facts"];
        assert_eq!((&facts["invoice_id"], &facts["amount"]), (&json!("in_1"), &json!(1200)));
        assert_eq!((&facts["hosted_invoice_url"], &facts["tier"]), (&json!("https://pay.example/in_1"), &Value::Null));
    }

    #[test]
    fn a_row_of_an_older_tilld_that_lacks_a_fact_is_read_and_one_of_an_unknown_kind_is_not() {
        assert!(read(json!({"notice": "trial_will_end", "facts": {"trial_end": 5}})).is_ok());
        assert!(read(json!({"notice": "payment_lost", "facts": {}})).is_err());
        assert!(read(json!({"to": "a@b.example", "facts": {}})).is_err());
    }

    #[test]
    fn an_endpoint_is_found_again_by_the_key_of_its_mail() {
        let kind = NoticeKind::WebhookEndpointDisabled;
        let key = NoticeMail::dedupe_key(kind, &EndpointFacts::key("https://app.example:8443/hooks", 17));
        assert_eq!(key, "mail:webhook_endpoint_disabled:https://app.example:8443/hooks:17");
        assert_eq!(subject_of(kind, &key).and_then(EndpointFacts::url_of), Some("https://app.example:8443/hooks"));
    }
}
