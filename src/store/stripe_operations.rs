//! `stripe_operations`: what was asked of Stripe. A row is committed, with its idempotency key and its bytes, before the
//! first byte leaves; what became of it is committed together with what it changed here. Each change says from which
//! state it may come. Called by `outward::calls`.

pub mod list;
pub(crate) mod one;

use rusqlite::named_params;

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row::{self, CellResult, RowReader, columns, select};
use crate::stripe::call::Verb;
use crate::stripe::operation::{OperationKind, OperationParameters};

/// States of an operation, as the column has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationStatus {
    /// Sent, or about to be; if nobody has it in hand, the process that had it died.
    Sending,
    /// Sent, and nobody knows what became of it; it is asked for again.
    InDoubt,
    /// Stripe has done it.
    Done,
    /// Stripe has refused it for good, such as a declined card.
    Refused,
    /// Stripe has certainly not done it; the same key may try again.
    NotDone,
}

impl OperationStatus {
    pub(crate) const ALL: [Self; 5] = [Self::Sending, Self::InDoubt, Self::Done, Self::Refused, Self::NotDone];

    /// The word in the column.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::InDoubt => "in_doubt",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::NotDone => "not_done",
        }
    }

    fn take(cells: &mut RowReader) -> CellResult<Self> {
        let word: String = cells.take()?;
        // The CHECK allows no other word.
        Ok(Self::ALL.into_iter().find(|known| known.as_str() == word).unwrap_or(Self::InDoubt))
    }

    /// Whether its outcome is still to be found out.
    #[must_use]
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Sending | Self::InDoubt)
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct NewOperation {
    /// Sent to Stripe.
    pub idempotency_key: String,
    /// What is done.
    pub kind: OperationKind,
    /// For whom.
    pub user_id: Option<String>,
    /// To what.
    pub subject: Option<String>,
    /// Hash of the caller's request.
    pub fingerprint: String,
    /// Encoded, as they are sent.
    pub form: String,
    /// What decides whether it was done.
    pub wanted: OperationParameters,
    /// Before the first byte leaves: unix milliseconds, and the newest event in the log.
    pub sent: (i64, i64),
}

/// What a row says is done, read once, where the row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownOperation {
    /// What is done.
    pub kind: OperationKind,
    /// How it is sent.
    pub verb: Verb,
    /// What decides whether it was done.
    pub wanted: OperationParameters,
}

impl KnownOperation {
    fn take(cells: &mut RowReader) -> CellResult<Option<Self>> {
        let (word, verb, wanted): (String, String, String) = (cells.take()?, cells.take()?, cells.take()?);
        let known = || {
            Some(Self {
                kind: OperationKind::parse(&word)?,
                verb: parse_verb(&verb)?,
                wanted: serde_json::from_str(&wanted).ok()?,
            })
        };
        Ok(known())
    }
}

columns! {
    /// A row.
    pub(crate) struct Operation {
        /// Its number.
        id: i64,
        /// Sent to Stripe.
        idempotency_key: String,
        /// The word for what is done.
        word: String = "kind",
        /// What that is; `None`: this program does not know it, or not all of it.
        known: Option<KnownOperation> = "kind, verb, wanted" => KnownOperation::take,
        /// For whom.
        user_id: Option<String>,
        /// To what.
        subject: Option<String>,
        /// Hash of the caller's request.
        fingerprint: String,
        /// Of the request to Stripe.
        path: String,
        /// Its encoded parameters.
        form: String,
        /// How far it is.
        status: OperationStatus = "status" => OperationStatus::take,
        /// Attempts made.
        attempts: u32,
        /// Before the first byte left, unix milliseconds.
        first_sent_ms: i64,
        /// The newest event in the log then.
        sent_log_id: i64,
        /// Stripe's answer or refusal, JSON.
        answer: Option<String>,
    }
}

fn verb_word(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::Post => "POST",
        Verb::Delete => "DELETE",
    }
}

fn parse_verb(word: &str) -> Option<Verb> {
    [Verb::Post, Verb::Delete].into_iter().find(|verb| verb_word(*verb) == word)
}

const INSERT: &str = "INSERT INTO stripe_operations
    (idempotency_key, kind, user_id, subject, fingerprint, verb, path, form, status, attempts, first_sent_ms,
     sent_log_id, created_at_ms, wanted)
    VALUES (:key, :kind, :user_id, :subject, :fingerprint, :verb, :path, :form, 'sending', 1, :sent_ms, :sent_log_id,
            :sent_ms, :wanted)
    ON CONFLICT DO NOTHING";

/// Writes an operation down, about to be sent. `false`: its key was used meanwhile, or the user's customer is being made.
pub(crate) fn insert(tx: &Tx, new: &NewOperation) -> Result<bool, StoreError> {
    let (row, path) = (new.kind.row(), new.kind.path(new.subject.as_deref()));
    let wanted = serde_json::to_string(&new.wanted)?;
    let params = named_params! {
        ":key": new.idempotency_key, ":kind": row.word, ":user_id": new.user_id, ":subject": new.subject,
        ":fingerprint": new.fingerprint, ":verb": verb_word(row.verb), ":path": path, ":form": new.form,
        ":sent_ms": new.sent.0, ":sent_log_id": new.sent.1, ":wanted": wanted,
    };
    Ok(tx.execute_named(INSERT, params)? == 1)
}

/// The operation with this idempotency key.
pub(crate) fn find(reader: &StoreReader, key: &str) -> Result<Option<Operation>, StoreError> {
    const SQL: &str = select!(Operation, "FROM stripe_operations WHERE idempotency_key = ?1");
    reader.find(SQL, [key], Operation::read)
}

/// The operation that is making a user's customer, if one is.
pub(crate) fn find_customer_in_the_making(
    reader: &StoreReader,
    user_id: &str,
) -> Result<Option<Operation>, StoreError> {
    const SQL: &str = select!(
        Operation,
        "FROM stripe_operations WHERE user_id = ?1 AND kind = 'customer.create' AND status IN ('sending', 'in_doubt')"
    );
    reader.find(SQL, [user_id], Operation::read)
}

// What certainly has not been done is sent for the first time now.
const CLAIM: &str = "UPDATE stripe_operations SET status = 'sending',
        attempts = CASE status WHEN 'not_done' THEN 1 ELSE attempts + 1 END,
        first_sent_ms = CASE status WHEN 'not_done' THEN ?2 ELSE first_sent_ms END,
        sent_log_id = CASE status WHEN 'not_done' THEN ?3 ELSE sent_log_id END,
        answer = NULL, finished_at_ms = NULL
    WHERE id = ?1 AND status IN ('sending', 'in_doubt', 'not_done')";

/// Claims an operation for one more attempt. `false`: it has been settled meanwhile.
pub(crate) fn claim(tx: &Tx, id: i64, sent: (i64, i64)) -> Result<bool, StoreError> {
    Ok(tx.execute(CLAIM, (id, sent.0, sent.1))? == 1)
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub(crate) struct SettledOperation {
    /// [`OperationStatus::Done`], [`OperationStatus::Refused`] or [`OperationStatus::NotDone`].
    pub status: OperationStatus,
    /// What came of it.
    pub object_id: Option<String>,
    /// Stripe's answer or refusal, JSON.
    pub answer: Option<String>,
    /// Stripe's `Request-Id`.
    pub request_id: Option<String>,
    /// Why it came to nothing.
    pub error: Option<String>,
}

const SETTLE: &str = "UPDATE stripe_operations SET status = :status, object_id = :object_id, answer = :answer,
        request_id = :request_id, last_error = :error, next_attempt_at_ms = NULL, finished_at_ms = :now_ms
    WHERE id = :id AND status IN ('sending', 'in_doubt')";

/// Writes down how an operation ended. `false`: that is written down already.
pub(crate) fn settle(tx: &Tx, id: i64, settled: &SettledOperation, now_ms: i64) -> Result<bool, StoreError> {
    let params = named_params! {
        ":status": settled.status.as_str(), ":object_id": settled.object_id, ":answer": settled.answer,
        ":request_id": settled.request_id, ":error": settled.error, ":now_ms": now_ms, ":id": id,
    };
    Ok(tx.execute_named(SETTLE, params)? == 1)
}

const DOUBT: &str = "UPDATE stripe_operations SET status = 'in_doubt', last_error = ?2, next_attempt_at_ms = ?3
    WHERE id = ?1 AND status IN ('sending', 'in_doubt')";

/// The outcome is not known; it is asked for again at `next_attempt_at_ms`.
pub(crate) fn doubt(tx: &Tx, id: i64, error: &str, next_attempt_at_ms: i64) -> Result<(), StoreError> {
    tx.execute(DOUBT, (id, error, next_attempt_at_ms)).map(|_| ())
}

/// Has operations in doubt looked at now that would be later than at `latest_ms`: they were dated by a clock that was set
/// back since.
pub fn bring_forward(tx: &Tx, latest_ms: i64, now_ms: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE stripe_operations SET next_attempt_at_ms = ?2
        WHERE status IN ('sending', 'in_doubt') AND status = 'in_doubt' AND next_attempt_at_ms > ?1";
    tx.execute(SQL, (latest_ms, now_ms)).map(|_| ())
}

/// Open operations whose outcome is due to be found out, and those that may have lost their process; the oldest first.
pub(crate) fn list_open(reader: &StoreReader, now_ms: i64, limit: u32) -> Result<Vec<Operation>, StoreError> {
    const SQL: &str = select!(
        Operation,
        "FROM stripe_operations
         WHERE status IN ('sending', 'in_doubt') AND (status = 'sending' OR next_attempt_at_ms <= ?1)
         ORDER BY id LIMIT ?2"
    );
    reader.list(SQL, (now_ms, limit), Operation::read)
}

/// A user's open operations, the oldest first.
pub(crate) fn list_open_of_user(reader: &StoreReader, user_id: &str) -> Result<Vec<Operation>, StoreError> {
    const SQL: &str = select!(
        Operation,
        "FROM stripe_operations WHERE user_id = ?1 AND status IN ('sending', 'in_doubt') ORDER BY id"
    );
    reader.list(SQL, [user_id], Operation::read)
}

columns! {
    /// A checkout session that may still be open, as far as is known here.
    pub(crate) struct OpenCheckout {
        /// What made it.
        made_by: Operation = Operation::COLUMNS => Operation::take,
        /// Stripe's id of the session.
        session_id: String = "object_id",
    }
}

/// A user's checkout sessions that may still be open; the newest first.
pub(crate) fn list_open_checkouts(reader: &StoreReader, user_id: &str) -> Result<Vec<OpenCheckout>, StoreError> {
    const SQL: &str = select!(
        OpenCheckout,
        "FROM stripe_operations
         WHERE user_id = ?1 AND kind = 'checkout_session.create' AND status = 'done' AND object_id IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM stripe_checkout_sessions s WHERE s.stripe_session_id = object_id
                AND s.status <> 'open')
         ORDER BY id DESC"
    );
    reader.list(SQL, [user_id], OpenCheckout::read)
}

const UNHEARD: &str = "SELECT s.stripe_subscription_id FROM stripe_operations o
    JOIN stripe_checkout_sessions s ON s.stripe_session_id = o.object_id
    WHERE o.user_id = ?1 AND o.kind = 'checkout_session.create' AND o.status = 'done'
        AND s.mode = 'subscription' AND s.status = 'complete' AND s.stripe_subscription_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM stripe_subscriptions b
            WHERE b.stripe_subscription_id = s.stripe_subscription_id)
    ORDER BY o.id DESC";

/// Subscriptions that came of a user's checkout sessions and that no event has shown yet.
pub(crate) fn list_unseen_subscriptions(reader: &StoreReader, user_id: &str) -> Result<Vec<String>, StoreError> {
    reader.list(UNHEARD, [user_id], row::only)
}

columns! {
    /// An operation of a user, for people.
    pub(crate) struct OperationOfUser {
        id: i64,
        /// What is done, for example `customer.create`.
        kind: String,
        /// What it is done to.
        subject: Option<String>,
        status: String,
        attempts: i64,
        /// What came of it.
        object_id: Option<String>,
        /// Why the newest attempt settled nothing.
        error: Option<String> = "last_error",
        /// Unix milliseconds.
        created_at_ms: i64,
    }
}

/// A user's operations, newest first, before a place: time, then number of a row.
pub(crate) fn list_of_user_before(
    reader: &StoreReader,
    user_id: &str,
    (at_ms, id): (i64, i64),
    limit: u32,
) -> Result<Vec<OperationOfUser>, StoreError> {
    const SQL: &str = select!(
        OperationOfUser,
        "FROM stripe_operations WHERE user_id = ?1 AND (created_at_ms, id) < (?2, ?3)
         ORDER BY created_at_ms DESC, id DESC LIMIT ?4"
    );
    reader.list(SQL, (user_id, at_ms, id, limit), OperationOfUser::read)
}
