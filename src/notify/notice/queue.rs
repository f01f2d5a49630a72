//! The mails of the notices as rows of the outbox: to whom, and which notice. It must never write a text, nor send one.
//! Called by the notices.

use super::{Addressee, Notice, NoticeMail};
use crate::base::ownership;
use crate::notify::attempt::MAIL;
use crate::notify::settings::NotifyBasis;
use crate::objects::user;
use crate::objects::{customer, invoice};
use crate::store::outbox::{self, NewEffect, OutboxKind};
use crate::store::{StoreError, Tx};

/// The outcome where no mail is wanted.
pub(super) const OFF: &str = "skipped: mail is off (notify.mail)";
/// The outcome where no address is known.
pub(super) const NO_ADDRESS: &str = "skipped: no mail address is known";

/// The recipient of a mail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MailRecipient {
    /// Mail address.
    pub(super) to: Option<String>,
    /// The application's id of the user.
    pub(super) user_id: Option<String>,
    /// What the user is called.
    pub(super) name: Option<String>,
}

impl MailRecipient {
    /// The customer: with the address and the name that the application gave for its user, else with those at Stripe. Never the
    /// user of what was bought, whom a `client_reference_id` may have named.
    pub(super) fn of_customer(
        tx: &Tx,
        customer_id: Option<&str>,
        invoice_id: Option<&str>,
    ) -> Result<Self, StoreError> {
        let user_id = customer_id.map_or(Ok(None), |id| customer::find_owner(tx, id))?;
        let user = user_id.as_deref().map_or(Ok(None), |id| user::find(tx, id))?;
        let (own, mut name) = user.map_or((None, None), |user| (user.email, user.name));
        let mut to = ownership::addressee(own.as_deref(), None).map(str::to_owned);
        if (to.is_none() || name.is_none())
            && let Some((email, called)) = customer_id.map_or(Ok(None), |id| customer::find_contact(tx, id))?
        {
            (to, name) = (ownership::addressee(own.as_deref(), email.as_deref()).map(str::to_owned), name.or(called));
        }
        if to.is_none() {
            let email = invoice_id.map_or(Ok(None), |id| invoice::find_email(tx, id))?;
            to = ownership::addressee(email.as_deref(), None).map(str::to_owned);
        }
        Ok(Self { to, user_id, name })
    }

    /// The operator.
    pub(super) fn operator(basis: NotifyBasis) -> Self {
        Self { to: basis.notify.operator.clone(), user_id: None, name: None }
    }
}

/// A mail to be written into the outbox.
pub(super) struct NewMail<'a> {
    /// What it says.
    pub(super) notice: Notice,
    /// What it is about; one mail per kind of notice and key.
    pub(super) key: &'a str,
    /// The recipient of a mail.
    pub(super) recipient: &'a MailRecipient,
    /// When it is due, unix milliseconds; it is judged again when it is sent. 0: at once.
    pub(super) not_before_ms: i64,
}

/// What became of a mail of a failure case.
pub(super) enum QueuedMail {
    /// It is in the outbox, and the number of its row there.
    Queued(i64),
    /// It is not, and why.
    Skipped(&'static str),
}

/// Writes a mail of a failure case into the outbox.
pub(super) fn put_of_case(tx: &Tx, mail: NewMail, basis: NotifyBasis) -> Result<QueuedMail, StoreError> {
    if !basis.notify.mail {
        return Ok(QueuedMail::Skipped(OFF));
    }
    if mail.recipient.to.is_none() {
        return Ok(QueuedMail::Skipped(NO_ADDRESS));
    }
    Ok(add(tx, mail, None, (basis.cause, basis.now_ms))?.map_or(QueuedMail::Skipped(NO_ADDRESS), QueuedMail::Queued))
}

/// Writes a mail about an object into the outbox, which is all the record there is of it; `skipped`: why it is not sent.
pub(super) fn put(tx: &Tx, mail: NewMail, skipped: Option<&str>, basis: NotifyBasis) -> Result<(), StoreError> {
    if !basis.notify.mail {
        return Ok(());
    }
    let nobody = mail.recipient.to.is_none().then_some("no mail address is known");
    add(tx, mail, skipped.or(nobody), (basis.cause, basis.now_ms)).map(|_| ())
}

/// Writes the row, unless there is one of this kind and key, and returns its number. The last: the event that brings it
/// about, if one does, and the time.
pub(super) fn add(
    tx: &Tx,
    mail: NewMail,
    skipped: Option<&str>,
    (cause, now_ms): (Option<&str>, i64),
) -> Result<Option<i64>, StoreError> {
    let dedupe_key = NoticeMail::dedupe_key(mail.notice.kind(), mail.key);
    let recipient = mail.recipient;
    let user = Addressee::new(recipient.user_id.as_deref(), recipient.name.as_deref());
    let payload = NoticeMail { notice: mail.notice, to: recipient.to.clone(), user }.payload()?;
    let new = NewEffect {
        kind: OutboxKind::Mail,
        dedupe_key: &dedupe_key,
        user_id: recipient.user_id.as_deref(),
        target: Some(MAIL),
        payload: &payload,
        cause,
        due_ms: mail.not_before_ms.max(now_ms),
        now_ms,
    };
    match skipped {
        None => outbox::put(tx, &new)?,
        Some(reason) => outbox::put_skipped(tx, &new, reason)?,
    };
    outbox::find_id(tx, &dedupe_key)
}
