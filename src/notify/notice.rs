//! The notices: the list of them, and what is asked of each. Everything else about one stands in one file below: its
//! facts, who writes it down and when, whether it is still true when its mail is about to be sent, and the words of its
//! letter. Whoever decides that a notice ought to exist makes a [`Notice`]; the outbox keeps it as JSON; `mail` reads it
//! back and sends it. It must never send anything. Called by `notify`, by `mail`, and by the jobs that find something to
//! write about.
//!
//! To add one: a variant here with a line in each `match` below (the compiler asks for them), its file, and whoever
//! decides; and a row in `docs/notices.md`, which a test compares.
//!
//! A row of the outbox whose `kind` is `mail` has this payload, which stays as it is (fields may be added; what an older
//! row lacks is not known):
//! ```json
//! {"notice": "payment_failed", "facts": {…}, "to": "jane@example.com", "user": {"id": "user_1", "name": "Jane"}}
//! ```
//! `notice` is the word of a [`MailKind`], `facts` has the fields of the facts by name: amounts in minor units, times in
//! unix seconds. `to` is null where no address is known; `user` is whose the customer is, without both for the operator.

pub mod dead_letter;
mod dispute;
pub(super) mod endpoint;
pub mod failed_payment;
mod invoice;
pub(super) mod letter;
pub mod missing_webhooks;
mod overdue;
mod payment;
mod queue;
mod test_mail;
mod trial;
mod words;

use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use super::settings::NotifyBasis;
use super::text::{UntrustedText, personal_name};
use crate::base::notice_kind::NoticeKind;
use crate::objects::fact::ObjectFact;
use crate::objects::{ProjectionError, dunning_attempts};
use crate::store::{StoreError, StoreReader, Tx};
use dead_letter::DeadLetterFacts;
use dispute::DisputeFacts;
use endpoint::EndpointFacts;
use invoice::InvoiceFacts;
use letter::Letter;
use missing_webhooks::MissingWebhooksFacts;
use payment::PaymentFacts;
use trial::TrialFacts;

/// Something that a person is written about. `docs/notices.md` lists the kinds, and a test compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::EnumDiscriminants)]
#[serde(tag = "notice", content = "facts", rename_all = "snake_case")]
#[strum_discriminants(name(MailKind), vis(pub), strum(serialize_all = "snake_case"))]
#[strum_discriminants(derive(PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr, strum::VariantArray))]
#[strum_discriminants(doc = "The kind of a mail: the word in payloads, in keys and in names of templates.")]
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
    /// A payment that had failed has come.
    PaymentRecovered(PaymentFacts),
    /// An invoice is final.
    InvoiceFinalized(InvoiceFacts),
    /// A trial ends soon.
    TrialWillEnd(TrialFacts),
    /// A customer asks the bank to take a payment back; to the operator.
    DisputeCreated(DisputeFacts),
    /// tilld has given up an event of Stripe's; to the operator.
    WebhookDeadLetter(DeadLetterFacts),
    /// An endpoint of the application was disabled; to the operator.
    WebhookEndpointDisabled(EndpointFacts),
    /// Stripe's webhooks do not come; to the operator.
    WebhooksMissing(MissingWebhooksFacts),
    /// The operator tries whether mail works.
    Test {},
}

impl MailKind {
    /// All of them, in the order of the list above.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    pub(super) fn of(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// The word in tables, payloads and names of templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// It goes to the operator, not to a customer.
    pub(super) fn is_for_operator(self) -> bool {
        use MailKind::{DisputeCreated, Test, WebhookDeadLetter, WebhookEndpointDisabled, WebhooksMissing};
        matches!(self, DisputeCreated | WebhookDeadLetter | WebhookEndpointDisabled | WebhooksMissing | Test)
    }
}

/// Writes down the notices that a fact calls for, each once, in the transaction of the fact.
pub(super) fn act(tx: &Tx, fact: &ObjectFact, basis: NotifyBasis) -> Result<(), ProjectionError> {
    match fact {
        ObjectFact::CaseTouched { invoice_id, heard } => {
            Ok(failed_payment::review(tx, invoice_id, heard.as_ref(), basis)?)
        }
        ObjectFact::CasesTouched { subscription_id } => {
            failed_payment::review_subscription(tx, subscription_id, basis)?;
            Ok(overdue::review(tx, subscription_id, basis)?)
        }
        ObjectFact::InvoiceFinalized(seen) => invoice::announce(tx, seen, basis),
        ObjectFact::TrialEnds(seen) => trial::announce(tx, seen, basis),
        ObjectFact::DisputeOpened(seen) => dispute::announce(tx, seen, basis),
        // The application gets an event; nobody is written to.
        ObjectFact::AnswerChanged(_) | ObjectFact::SubscriptionChanged { .. } => Ok(()),
    }
}

impl Notice {
    /// The notice of a failure case.
    fn of_case(kind: NoticeKind, facts: PaymentFacts) -> Self {
        match kind {
            NoticeKind::PaymentFailed => Self::PaymentFailed(facts),
            NoticeKind::PaymentRetry => Self::PaymentRetry(facts),
            NoticeKind::PaymentActionRequired => Self::PaymentActionRequired(facts),
            NoticeKind::GracePeriodWarning => Self::GracePeriodWarning(facts),
            NoticeKind::SubscriptionDowngraded => Self::SubscriptionDowngraded(facts),
            NoticeKind::PaymentRecovered => Self::PaymentRecovered(facts),
        }
    }

    pub(super) fn kind(&self) -> MailKind {
        self.into()
    }

    /// What its mail says.
    pub(super) fn letter(&self, product: &str) -> Letter {
        match self {
            Self::PaymentFailed(facts) => payment::failed(facts, product),
            Self::PaymentRetry(facts) => payment::failed_again(facts, product),
            Self::PaymentActionRequired(facts) => payment::action_required(facts, product),
            Self::GracePeriodWarning(facts) => payment::access_ends_soon(facts, product),
            Self::SubscriptionDowngraded(facts) => payment::access_has_ended(facts, product),
            Self::PaymentRecovered(facts) => payment::recovered(facts, product),
            Self::InvoiceFinalized(facts) => invoice::letter(facts, product),
            Self::TrialWillEnd(facts) => trial::letter(facts, product),
            Self::DisputeCreated(facts) => dispute::letter(facts, product),
            Self::WebhookDeadLetter(facts) => dead_letter::letter(facts, product),
            Self::WebhookEndpointDisabled(facts) => endpoint::letter(facts, product),
            Self::WebhooksMissing(facts) => missing_webhooks::letter(facts, product),
            Self::Test {} => test_mail::letter(product),
        }
    }

    /// Why its mail is not to be sent any more, for people; `None`: it is. Asked right before the mail is sent, which may
    /// be days after it was written: the mail server or the daemon was down. What has been settled, is over, or is older
    /// than makes sense is not sent. `outbox_id` and `key`: its row in the outbox.
    pub(crate) fn reason_to_skip(
        &self,
        reader: &StoreReader,
        outbox_id: i64,
        key: &str,
        basis: NotifyBasis,
    ) -> Result<Option<String>, StoreError> {
        if let Some(mailed) = dunning_attempts::find_by_mail(reader, outbox_id)? {
            let reason = failed_payment::reason_to_skip(reader, &mailed, basis)?;
            return Ok(reason.map(|reason| reason.as_str().trim_start_matches("skipped: ").to_owned()));
        }
        let reason = match self {
            Self::TrialWillEnd(facts) => facts.reason_to_skip(reader, basis)?,
            Self::InvoiceFinalized(facts) => facts.reason_to_skip(reader, basis)?,
            Self::WebhookDeadLetter(facts) => facts.reason_to_skip(reader)?,
            Self::WebhookEndpointDisabled(_) => EndpointFacts::reason_to_skip(reader, subject_of(self.kind(), key))?,
            Self::GracePeriodWarning(facts) if facts.sent => overdue::reason_to_skip_warning(reader, facts, basis)?,
            Self::SubscriptionDowngraded(facts) if facts.sent => overdue::reason_to_skip_end(reader, facts, basis)?,
            // The notices of a failure case are judged above; the others stay true.
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
        Ok(reason.map(str::to_owned))
    }
}

/// The user whom a mail greets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Addressee {
    /// The application's id.
    pub(super) id: Option<UntrustedText>,
    name: Option<String>,
}

impl Addressee {
    /// A user.
    pub(super) fn new(id: Option<&str>, name: Option<&str>) -> Self {
        Self { id: id.map(UntrustedText::from), name: name.map(str::to_owned) }
    }

    /// What the user is called, if that can be a name.
    pub(super) fn name(&self) -> Option<String> {
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
    pub(crate) fn payload(&self) -> Result<String, StoreError> {
        Ok(serde_json::to_string(self)?)
    }

    /// The key of its row: one mail for each kind and subject.
    pub(super) fn dedupe_key(kind: MailKind, subject: &str) -> String {
        format!("mail:{}:{subject}", kind.as_str())
    }
}

/// What the mail of a row is about, by its key.
fn subject_of(kind: MailKind, dedupe_key: &str) -> Option<&str> {
    dedupe_key.strip_prefix(NoticeMail::dedupe_key(kind, "").as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::notify::text::UntrustedLink;

    fn read(payload: Value) -> Result<NoticeMail, serde_json::Error> {
        serde_json::from_value(payload)
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for kind in MailKind::ALL {
            assert_eq!(MailKind::of(kind.as_str()), Some(*kind));
        }
        assert_eq!(MailKind::of("payment"), None);
        assert_eq!(MailKind::SubscriptionDowngraded.as_str(), "subscription_downgraded");
    }

    #[test]
    fn every_kind_of_notice_of_dunning_is_a_kind_of_mail_with_the_same_word() {
        for kind in NoticeKind::ALL {
            assert_eq!(Notice::of_case(*kind, PaymentFacts::default()).kind().as_str(), kind.as_str());
        }
    }

    #[test]
    fn the_payload_of_every_kind_names_it_and_is_read_back_as_it_was_written() {
        for kind in MailKind::ALL {
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
            invoice_id: UntrustedText::from("in_1"),
            amount: Some(1200),
            hosted_invoice_url: Some(UntrustedLink::from("https://pay.example/in_1")),
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
        let kind = MailKind::WebhookEndpointDisabled;
        let key = NoticeMail::dedupe_key(kind, &EndpointFacts::key("https://app.example:8443/hooks", 17));
        assert_eq!(key, "mail:webhook_endpoint_disabled:https://app.example:8443/hooks:17");
        assert_eq!(subject_of(kind, &key).and_then(EndpointFacts::url_of), Some("https://app.example:8443/hooks"));
    }
}
