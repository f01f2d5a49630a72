//! What a request does while its user is locked: what it asks for, under its own key, and what has to be done or resolved
//! before that, each an operation of its own with its own row, key and bytes. Nothing else may be done to the same user
//! meanwhile. Made by `calls`, used by the plans of `http::api`.

use serde_json::Value;

use super::{CallCaller, Calls, CallsError, KEY_PREFIX, OperationRequest, key_lives, text_of};
use crate::base::ids;
use crate::objects::reading::RequestSent;
use crate::outward::calls::outcome::{DoneOperation, OperationOutcome};
use crate::store::StoreError;
use crate::store::stripe_operations::{self as table, NewOperation, Operation, OperationStatus, SettledOperation};
use crate::stripe::call::Priority;
use crate::stripe::form::FormBody;
use crate::stripe::operation::{OperationKind, OperationParameters};

/// A request whose user, or subject, is locked, and under whose key nothing has been done.
pub(crate) struct LockedRequest<'a> {
    calls: &'a Calls,
    caller: &'a CallCaller,
    key: String,
    /// The operation that was asked for under the key before, and was certainly not done.
    known: Option<Operation>,
}

impl<'a> LockedRequest<'a> {
    /// Makes a key if the caller has sent none.
    pub(super) fn new(calls: &'a Calls, caller: &'a CallCaller, known: Option<Operation>) -> Result<Self, CallsError> {
        let key = caller.key.clone().map_or_else(new_key, Ok)?;
        Ok(Self { calls, caller, key, known })
    }

    /// The key of what the request asks for.
    #[must_use]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Does what the request asks for, under its key. If the same request has used it before, its bytes are sent again.
    ///
    /// # Errors
    /// When it was not tried, or its outcome could not be stored; then it is resolved later.
    pub(crate) fn perform(&self, wanted: &OperationRequest, form: &FormBody) -> Result<OperationOutcome, CallsError> {
        let operation = match &self.known {
            Some(known) => self.calls.claim(known.clone())?,
            None => self.calls.reserve(wanted, &self.key, &form.encode()?)?,
        };
        self.calls.send_or_find(operation)
    }

    /// Does what has to be done before that, under a key of its own. If that is in doubt, so is the whole: a repetition with
    /// the request's key resolves it.
    pub(crate) fn perform_before(
        &self,
        wanted: &OperationRequest,
        form: &FormBody,
    ) -> Result<OperationOutcome, CallsError> {
        let outcome = self.calls.send_or_find(self.calls.reserve(wanted, &new_key()?, &form.encode()?)?)?;
        Ok(match outcome {
            OperationOutcome::InDoubt { .. } => self.in_doubt(),
            known => known,
        })
    }

    /// Resolves the user's open operations of these kinds, and those of kinds that this program does not know: nothing new may
    /// be made beside what may have been done. The doubt that remains, if one does.
    pub(crate) fn settle_open(
        &self,
        user_id: &str,
        kinds: &[OperationKind],
    ) -> Result<Option<OperationOutcome>, CallsError> {
        let open = self.calls.store.read(|reader| table::list_open_of_user(reader, user_id))?;
        for operation in open {
            if operation.known.as_ref().is_some_and(|known| !kinds.contains(&known.kind)) {
                continue;
            }
            // An operation with the same fingerprint is this request, whose key was lost with its answer.
            let is_this = operation.fingerprint == self.caller.fingerprint;
            match self.calls.resolve(operation)? {
                OperationOutcome::InDoubt { key } if is_this => return Ok(Some(OperationOutcome::InDoubt { key })),
                OperationOutcome::InDoubt { .. } => return Ok(Some(self.in_doubt())),
                OperationOutcome::Done(_) | OperationOutcome::Refused(_) | OperationOutcome::NotDone(_) => {}
            }
        }
        Ok(None)
    }

    /// Answers the request with what an earlier one made, in its present state. If the caller has sent a key, that is its
    /// answer from then on.
    ///
    /// # Errors
    /// When it cannot be stored, or the key was used meanwhile.
    pub(crate) fn answer_with(
        &self,
        kind: OperationKind,
        user_id: &str,
        object: Value,
    ) -> Result<OperationOutcome, CallsError> {
        // A key that was used before has its own bytes and no answer: it stays reserved for that operation.
        if let (Some(key), None) = (&self.caller.key, &self.known) {
            let wanted = OperationRequest {
                kind,
                parameters: OperationParameters::default(),
                user_id: Some(user_id.to_owned()),
                subject: text_of(&object, "id").map(str::to_owned),
                caller: self.caller.clone(),
            };
            let settled = SettledOperation {
                status: OperationStatus::Done,
                object_id: wanted.subject.clone(),
                answer: Some(object.to_string()),
                request_id: None,
                error: None,
            };
            self.calls.write_new(&wanted, key, "", Some(settled))?;
        }
        Ok(OperationOutcome::Done(DoneOperation { object, key: self.key.clone() }))
    }

    fn in_doubt(&self) -> OperationOutcome {
        OperationOutcome::InDoubt { key: self.key.clone() }
    }
}

impl Calls {
    /// Stores a new operation, about to be sent.
    pub(super) fn reserve(&self, wanted: &OperationRequest, key: &str, form: &str) -> Result<Operation, CallsError> {
        self.account.confirm_mode()?;
        self.write_new(wanted, key, form, None)
    }

    fn write_new(
        &self,
        wanted: &OperationRequest,
        key: &str,
        form: &str,
        settled: Option<SettledOperation>,
    ) -> Result<Operation, CallsError> {
        let now_ms = self.clock.now_ms();
        let new = NewOperation {
            idempotency_key: key.to_owned(),
            kind: wanted.kind,
            user_id: wanted.user_id.clone(),
            subject: wanted.subject.clone(),
            fingerprint: wanted.caller.fingerprint.clone(),
            form: form.to_owned(),
            wanted: wanted.parameters.clone(),
            sent: (now_ms, 0),
        };
        let fingerprint = new.fingerprint.clone();
        let (inserted, found) = self.store.write(move |tx| {
            let sent = RequestSent::now(tx, now_ms)?;
            let inserted = table::insert(tx, &NewOperation { sent: (now_ms, sent.log_id), ..new.clone() })?;
            let found = table::find(tx, &new.idempotency_key)?;
            if let (true, Some(operation), Some(settled)) = (inserted, &found, &settled) {
                table::settle(tx, operation.id, settled, now_ms)?;
            }
            Ok((inserted, found))
        })?;
        match found {
            Some(operation) if inserted => Ok(operation),
            // Another request came first: with the same key for another user, or for the same user's customer.
            Some(other) if other.fingerprint != fingerprint => Err(CallsError::KeyReused),
            _ => Err(CallsError::Busy),
        }
    }

    /// Claims an operation that is open, or was certainly not done, for one more attempt.
    ///
    /// With an API key of another account Stripe would know neither the idempotency key nor what was made, and that must not
    /// be taken for not done.
    pub(super) fn claim(&self, known: Operation) -> Result<Operation, CallsError> {
        self.account.confirm(Priority::Interactive)?;
        let (id, now_ms) = (known.id, self.clock.now_ms());
        let found = self.store.write(move |tx| {
            let sent = RequestSent::now(tx, now_ms)?;
            table::claim(tx, id, (sent.at_ms, sent.log_id))?;
            table::find(tx, &known.idempotency_key)
        })?;
        found.ok_or_else(|| StoreError::Missing("an operation is no longer there").into())
    }

    /// Resolves an open operation: asks again under its key while that lives, and searches for its object after that.
    pub(super) fn resolve(&self, open: Operation) -> Result<OperationOutcome, CallsError> {
        let operation = self.claim(open)?;
        if key_lives(&operation, self.clock.now_ms()) {
            self.send(&operation)
        } else {
            self.find_without_key(&operation)
        }
    }
}

/// A key that is made here.
pub(super) fn new_key() -> Result<String, CallsError> {
    ids::random_token(KEY_PREFIX).map_err(|error| CallsError::Key(error.to_string()))
}
