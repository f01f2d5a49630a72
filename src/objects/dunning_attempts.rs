//! `dunning_attempts`: the notices about a failure case that were decided on, each once, and what became of them. It must never
//! decide on one: `base::dunning` does. Called by `notify`.

use crate::base::notice_kind::NoticeKind;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// A notice to be recorded.
pub(crate) struct NewNotice<'a> {
    /// Row number of the case.
    pub(crate) case_id: i64,
    /// The user who is notified.
    pub(crate) user_id: Option<&'a str>,
    /// Which payment attempt it is about; 1 for a notice that is sent once per case.
    pub(crate) attempt: i64,
    /// Kind of notice.
    pub(crate) kind: NoticeKind,
    /// Whether the user was to be notified.
    pub(crate) told: bool,
    /// Start of the delinquency that a warning or a downgrade is about, unix seconds.
    pub(crate) grace_started_at: Option<i64>,
    /// Why the notice is not sent; `None`: it is on its way.
    pub(crate) outcome: Option<&'a str>,
    /// The event that brought it about; `None`: time did.
    pub(crate) cause: Option<&'a str>,
    /// Unix milliseconds.
    pub(crate) now_ms: i64,
}

const ADD: &str = "INSERT INTO dunning_attempts
    (payment_failure_id, user_id, attempt_number, notification_type, told, grace_started_at, outcome, created_at_ms,
     cause_event_id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
    ON CONFLICT (payment_failure_id, notification_type, attempt_number) DO NOTHING";

/// Records a notice, once per case, kind and attempt. `false`: it is recorded already.
pub(crate) fn add(tx: &Tx, new: &NewNotice) -> Result<bool, StoreError> {
    let params = (
        new.case_id,
        new.user_id,
        new.attempt,
        new.kind.as_str(),
        new.told,
        new.grace_started_at,
        new.outcome,
        new.now_ms,
        new.cause,
    );
    Ok(tx.execute(ADD, params)? == 1)
}

const SET_MAIL: &str = "UPDATE dunning_attempts SET outbox_id = ?4, outcome = ?5
    WHERE payment_failure_id = ?1 AND notification_type = ?2 AND attempt_number = ?3";

/// Sets the mail of a notice, or why there is none.
pub(crate) fn set_mail(
    tx: &Tx,
    new: &NewNotice,
    outbox_id: Option<i64>,
    outcome: Option<&str>,
) -> Result<(), StoreError> {
    tx.execute(SET_MAIL, (new.case_id, new.kind.as_str(), new.attempt, outbox_id, outcome)).map(|_| ())
}

/// Records that a mail was sent. `false`: the mail is not about a failure case.
pub(crate) fn set_sent(tx: &Tx, outbox_id: i64, now_ms: i64) -> Result<bool, StoreError> {
    const SQL: &str =
        "UPDATE dunning_attempts SET email_sent = 1, email_sent_at_ms = ?2, outcome = 'sent' WHERE outbox_id = ?1";
    Ok(tx.execute(SQL, (outbox_id, now_ms))? == 1)
}

/// Records why a mail will not be sent. `false`: the mail is not about a failure case.
pub(crate) fn set_outcome(tx: &Tx, outbox_id: i64, outcome: &str) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE dunning_attempts SET outcome = ?2 WHERE outbox_id = ?1";
    Ok(tx.execute(SQL, (outbox_id, outcome))? == 1)
}

columns! {
    /// The notices about the failures of a case.
    #[derive(Copy, Default)]
    pub(crate) struct EarlierNotices {
        /// There was to be one.
        any: bool = "coalesce(max(told), 0)",
        /// One has a mail.
        by_mail: bool = "coalesce(max(outbox_id IS NOT NULL), 0)",
        /// The mail of one was sent.
        sent: bool = "coalesce(max(email_sent), 0)",
        /// The newest attempt that the customer was asked by mail to confirm.
        asked: Option<i64> = "max(CASE WHEN notification_type = 'payment_action_required' AND outbox_id IS NOT NULL
            THEN attempt_number END)",
        /// The newest attempt of which a mail about its failure was sent.
        mailed: Option<i64> = "max(CASE WHEN notification_type <> 'payment_action_required' AND email_sent = 1
            THEN attempt_number END)",
    }
}

const OF_FAILURES: &str = select!(
    EarlierNotices,
    "FROM dunning_attempts WHERE payment_failure_id = ?1
    AND notification_type IN ('payment_failed', 'payment_retry', 'payment_action_required')"
);

/// The notices about the failures of a case.
pub(crate) fn find_earlier_notices(reader: &StoreReader, case_id: i64) -> Result<EarlierNotices, StoreError> {
    reader.get(OF_FAILURES, [case_id], EarlierNotices::read)
}

columns! {
    /// The notice that a mail carries.
    pub struct MailedNotice {
        /// The invoice of the case.
        invoice_id: String = "f.stripe_invoice_id",
        /// Kind of notice.
        kind: String = "a.notification_type",
        /// Which payment attempt it is about.
        attempt: i64 = "a.attempt_number",
    }
}

const OF_MAIL: &str = select!(
    MailedNotice,
    "FROM dunning_attempts a JOIN payment_failures f ON f.id = a.payment_failure_id WHERE a.outbox_id = ?1"
);

/// The notice that a mail carries; `None`: the mail is not about a failure case.
pub(crate) fn find_by_mail(reader: &StoreReader, outbox_id: i64) -> Result<Option<MailedNotice>, StoreError> {
    reader.find(OF_MAIL, [outbox_id], MailedNotice::read)
}

columns! {
    /// A notice of a case, for people.
    pub(crate) struct NoticeEntry {
        /// Kind of notice.
        kind: String = "notification_type",
        /// Which payment attempt it is about.
        attempt: i64 = "attempt_number",
        /// What became of it; `None`: it is on its way.
        outcome: Option<String>,
        /// Its mail.
        outbox_id: Option<i64>,
        /// When the mail server took it, unix milliseconds.
        sent_at_ms: Option<i64> = "email_sent_at_ms",
        /// When it was decided on, unix milliseconds.
        created_at_ms: i64,
    }
}

/// The notices of a case, newest first.
pub(crate) fn list_of_case(reader: &StoreReader, case_id: i64, limit: u32) -> Result<Vec<NoticeEntry>, StoreError> {
    const SQL: &str =
        select!(NoticeEntry, "FROM dunning_attempts WHERE payment_failure_id = ?1 ORDER BY id DESC LIMIT ?2");
    reader.list(SQL, (case_id, limit), NoticeEntry::read)
}

columns! {
    /// A notice without a mail, and the case that it is about.
    pub(crate) struct UnsentNotice {
        id: i64 = "a.id",
        /// Kind of notice.
        kind: String = "a.notification_type",
        /// Why there is no mail.
        outcome: Option<String> = "a.outcome",
        /// Unix milliseconds.
        created_at_ms: i64 = "a.created_at_ms",
        /// `in_…`.
        invoice_id: String = "f.stripe_invoice_id",
        /// The event that brought it about.
        cause: Option<String> = "a.cause_event_id",
    }
}

/// What a user was to be told and no mail says, newest first, before a place: time, then number of a row.
pub(crate) fn list_unsent_before(
    reader: &StoreReader,
    user_id: &str,
    (at_ms, id): (i64, i64),
    limit: u32,
) -> Result<Vec<UnsentNotice>, StoreError> {
    const SQL: &str = select!(
        UnsentNotice,
        "FROM dunning_attempts a JOIN payment_failures f ON f.id = a.payment_failure_id
         WHERE a.user_id = ?1 AND a.outbox_id IS NULL AND (a.created_at_ms, a.id) < (?2, ?3)
         ORDER BY a.created_at_ms DESC, a.id DESC LIMIT ?4"
    );
    reader.list(SQL, (user_id, at_ms, id, limit), UnsentNotice::read)
}

const ON_RECORD: &str = "SELECT 1 FROM payment_failures f JOIN dunning_attempts a ON a.payment_failure_id = f.id
    WHERE f.stripe_subscription_id = ?1 AND a.notification_type = ?2 AND a.grace_started_at >= ?3 LIMIT 1";

/// Whether a notice of this kind is recorded for a subscription's delinquency that began at `started_at`, unix seconds.
pub(crate) fn is_on_record(
    reader: &StoreReader,
    subscription_id: &str,
    kind: NoticeKind,
    started_at: i64,
) -> Result<bool, StoreError> {
    Ok(reader.find(ON_RECORD, (subscription_id, kind.as_str(), started_at), |_| Ok(()))?.is_some())
}
