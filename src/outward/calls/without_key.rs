//! Resolves an operation without its idempotency key, which has expired or stands for a stored failure: the object that it
//! made is found by the key in its metadata, or its subject shows whether it was done. It must never send the operation
//! again. Called by `locked` and `outcome`.

use serde_json::Value;

use super::outcome::OperationOutcome;
use super::{Calls, CallsError, KEY_METADATA};
use crate::objects::reading::RequestSent;
use crate::store::stripe_operations::{Operation, OperationStatus, SettledOperation};
use crate::stripe::call::{Priority, StripeAnswer};
use crate::stripe::error::StripeError;
use crate::stripe::form::FormBody;
use crate::stripe::list::ListPage;
use crate::stripe::operation::WithoutKey;

/// How much earlier than our time of sending Stripe may have dated what was made: our clock may have been wrong.
const CLOCK_SLACK_S: i64 = 86_400;
/// How many pages are searched at most; if there are more, the outcome stays unknown.
const MAX_PAGES: u32 = 1000;

impl Calls {
    /// Finds an operation's outcome without its key.
    pub(super) fn find_without_key(&self, operation: &Operation) -> Result<OperationOutcome, CallsError> {
        let Some(known) = &operation.known else { return self.unknown(operation) };
        let found = match known.kind.row().without_key {
            WithoutKey::Search(list) => self.search(operation, list),
            WithoutKey::LookAtSubject(..) => match self.look_at_subject(operation) {
                Ok(Some(outcome)) => return Ok(outcome),
                other => other.map(|_| None),
            },
            WithoutKey::NotDone => Ok(None),
        };
        match found {
            Ok(Some((answer, sent))) => self.settle_done(operation, &answer, sent),
            Ok(None) => self.settle_not_found(operation),
            Err(error @ (CallsError::Stripe(_) | CallsError::Answer(_))) => self.mark_in_doubt(operation, &error),
            Err(error) => Err(error),
        }
    }

    /// It was not found, so it was never done.
    fn settle_not_found(&self, operation: &Operation) -> Result<OperationOutcome, CallsError> {
        let error = "its key has expired, its object was searched for, and Stripe has not done it";
        let settled = SettledOperation {
            status: OperationStatus::NotDone,
            object_id: None,
            answer: None,
            request_id: None,
            error: Some(error.to_owned()),
        };
        self.write_settled(operation, settled)?;
        Ok(OperationOutcome::NotDone(StripeError::Unsendable(error)))
    }

    /// The object with the operation's key in its metadata, among those made since. `None` only after all of them were read.
    fn search(&self, operation: &Operation, list: &str) -> Result<Option<(StripeAnswer, RequestSent)>, CallsError> {
        // A time of sending in the future was written by a clock that has been set back.
        let sent_s = operation.first_sent_ms.min(self.clock.now_ms()).div_euclid(1000);
        let since_s = sent_s.saturating_sub(CLOCK_SLACK_S);
        let since = || FormBody::new().map("created", FormBody::new().put("gte", since_s.to_string()));
        let mut pages = self.pages(list, since).at_most(MAX_PAGES);
        for page in &mut pages {
            let ListPage { items, read: (answer, sent), .. } = page?;
            for item in &items {
                let object: Value =
                    serde_json::from_str(item.get()).map_err(|error| CallsError::Answer(error.to_string()))?;
                if object["metadata"][KEY_METADATA] == operation.idempotency_key.as_str() {
                    return Ok(Some((StripeAnswer { text: item.get().to_owned(), ..answer }, sent)));
                }
            }
        }
        if pages.is_cut() {
            return Err(CallsError::Answer(format!("a list of more than {MAX_PAGES} pages")));
        }
        Ok(None)
    }

    /// The outcome if the operation's subject shows that it was done; `None`: it does not, or there is none to look at.
    pub(super) fn look_at_subject(&self, operation: &Operation) -> Result<Option<OperationOutcome>, CallsError> {
        let Some(known) = &operation.known else { return Ok(None) };
        let Some(path) = known.kind.subject_path(operation.subject.as_deref()) else { return Ok(None) };
        let (answer, sent) = self.get(&path, FormBody::new(), Priority::Interactive)?;
        let subject: Value =
            serde_json::from_str(&answer.text).map_err(|error| CallsError::Answer(error.to_string()))?;
        if known.kind.was_done(&subject, &known.wanted) {
            return self.settle_done(operation, &answer, sent).map(Some);
        }
        Ok(None)
    }
}
