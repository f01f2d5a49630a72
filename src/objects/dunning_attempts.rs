//! `dunning_attempts`: what was decided to be told about a failure case, each notice once, and what became of it.

use crate::base::notice_kind::NoticeKind;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader, Tx};

/// A notice that is to be on record.
pub struct NewAttempt<'a> {
    /// Row number of the case.
    pub case_id: i64,
    /// Who is written to.
    pub user_id: Option<&'a str>,
    /// Which payment attempt it is about; 1 for what is told once.
    pub attempt: i64,
    /// Kind of notice.
    pub kind: NoticeKind,
    /// Whether it was to be told.
    pub told: bool,
    /// Of a warning or a downgrade: start of the delinquency, unix seconds.
    pub grace_started_at: Option<i64>,
    /// Why it is not told; `None`: it is on its way.
    pub outcome: Option<&'a str>,
    /// Unix milliseconds.
    pub now_ms: i64,
}

const ADD: &str = "INSERT INTO dunning_attempts
    (payment_failure_id, user_id, attempt_number, notification_type, told, grace_started_at, outcome, created_at_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (payment_failure_id, notification_type, attempt_number) DO NOTHING";

/// Puts a notice on record, once per case, kind and attempt. `false`: it is already.
///
/// # Errors
/// When the database cannot take it.
pub fn add(tx: &Tx, new: &NewAttempt) -> Result<bool, StoreError> {
    let params = (
        new.case_id,
        new.user_id,
        new.attempt,
        new.kind.as_str(),
        new.told,
        new.grace_started_at,
        new.outcome,
        new.now_ms,
    );
    Ok(tx.execute(ADD, params)? == 1)
}

const SET_MAIL: &str = "UPDATE dunning_attempts SET outbox_id = ?4, outcome = ?5
    WHERE payment_failure_id = ?1 AND notification_type = ?2 AND attempt_number = ?3";

/// Notes by which mail a notice is told, or why by none.
///
/// # Errors
/// When the database cannot take it.
pub fn set_mail(tx: &Tx, new: &NewAttempt, outbox_id: Option<i64>, outcome: Option<&str>) -> Result<(), StoreError> {
    tx.execute(SET_MAIL, (new.case_id, new.kind.as_str(), new.attempt, outbox_id, outcome)).map(|_| ())
}

/// The mail is sent: notes it with its attempt. `false`: the mail is none of a failure case.
///
/// # Errors
/// When the database cannot take it.
pub fn set_sent(tx: &Tx, outbox_id: i64, now_ms: i64) -> Result<bool, StoreError> {
    const SQL: &str =
        "UPDATE dunning_attempts SET email_sent = 1, email_sent_at_ms = ?2, outcome = 'sent' WHERE outbox_id = ?1";
    Ok(tx.execute(SQL, (outbox_id, now_ms))? == 1)
}

/// The mail is not sent, for good: notes why with its attempt. `false`: the mail is none of a failure case.
///
/// # Errors
/// When the database cannot take it.
pub fn set_outcome(tx: &Tx, outbox_id: i64, outcome: &str) -> Result<bool, StoreError> {
    const SQL: &str = "UPDATE dunning_attempts SET outcome = ?2 WHERE outbox_id = ?1";
    Ok(tx.execute(SQL, (outbox_id, outcome))? == 1)
}

columns! {
    /// What was told of a case's failures.
    #[derive(Copy, Default)]
    pub struct NoticeAttempt {
        /// A failure was to be told.
        any: bool = "coalesce(max(told), 0)",
        /// A mail about one was written.
        by_mail: bool = "coalesce(max(outbox_id IS NOT NULL), 0)",
        /// A mail about one was sent.
        sent: bool = "coalesce(max(email_sent), 0)",
        /// The newest attempt that the customer was to be asked to confirm.
        asked: Option<i64> = "max(CASE WHEN notification_type = 'payment_action_required' AND outbox_id IS NOT NULL
            THEN attempt_number END)",
        /// The newest attempt that was mailed as a failure.
        mailed: Option<i64> = "max(CASE WHEN notification_type <> 'payment_action_required' AND email_sent = 1
            THEN attempt_number END)",
    }
}

const TOLD: &str = select!(
    NoticeAttempt,
    "FROM dunning_attempts WHERE payment_failure_id = ?1
    AND notification_type IN ('payment_failed', 'payment_retry', 'payment_action_required')"
);

/// What was told of a case's failures.
///
/// # Errors
/// When the database cannot be read.
pub fn find_told(reader: &StoreReader, case_id: i64) -> Result<NoticeAttempt, StoreError> {
    reader.get(TOLD, [case_id], NoticeAttempt::read)
}

columns! {
    /// The notice that a mail tells.
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

/// The notice that a mail tells; `None`: the mail is none of a failure case.
///
/// # Errors
/// When the database cannot be read.
pub fn find_by_mail(reader: &StoreReader, outbox_id: i64) -> Result<Option<MailedNotice>, StoreError> {
    reader.find(OF_MAIL, [outbox_id], MailedNotice::read)
}

const ON_RECORD: &str = "SELECT 1 FROM payment_failures f JOIN dunning_attempts a ON a.payment_failure_id = f.id
    WHERE f.stripe_subscription_id = ?1 AND a.notification_type = ?2 AND a.grace_started_at >= ?3 LIMIT 1";

/// Whether a notice of this kind is on record for a subscription's delinquency that began at `started_at`, unix seconds.
///
/// # Errors
/// When the database cannot be read.
pub fn is_on_record(
    reader: &StoreReader,
    subscription_id: &str,
    kind: NoticeKind,
    started_at: i64,
) -> Result<bool, StoreError> {
    Ok(reader.find(ON_RECORD, (subscription_id, kind.as_str(), started_at), |_| Ok(()))?.is_some())
}
