//! A user's customer at Stripe, made once: a user that has one keeps it; if one is being made, the request waits for it, and
//! one whose outcome is in doubt is resolved under the same key. It must never make a second one. Called by `http::api` before
//! anything that needs a customer.

use super::locked::new_key;
use super::{CallCaller, Calls, CallsError, LOCK_TIMEOUT, OperationRequest, lock_name, outcome::OperationOutcome};
use crate::objects::customer;
use crate::objects::user::User;
use crate::store::stripe_operations as table;
use crate::stripe::form::FormBody;
use crate::stripe::operation::{OperationKind, OperationParameters};

/// What a user has.
pub enum UserCustomer {
    /// This customer.
    Known(String),
    /// None yet: the outcome of making one, which is not [`OperationOutcome::Done`].
    NotCreated(OperationOutcome),
}

impl Calls {
    /// The user's customer; made if there is none.
    ///
    /// # Errors
    /// When it was not tried, or its outcome could not be stored.
    pub fn customer_of(&self, user: &User) -> Result<UserCustomer, CallsError> {
        let _lock = self.locks.acquire(&lock_name(Some(&user.id), None, ""), LOCK_TIMEOUT).ok_or(CallsError::Busy)?;
        let id = user.id.clone();
        let (known, open) = self.store.read(move |reader| {
            Ok((customer::find_main_usable(reader, &id)?, table::find_customer_in_the_making(reader, &id)?))
        })?;
        if let Some(known) = known {
            return Ok(UserCustomer::Known(known));
        }
        let operation = match open {
            Some(open) => self.claim(open)?,
            None => {
                let key = new_key()?;
                let wanted = OperationRequest {
                    kind: OperationKind::CustomerCreate,
                    parameters: OperationParameters::default(),
                    user_id: Some(user.id.clone()),
                    subject: None,
                    caller: CallCaller::new(None, ""),
                };
                self.reserve(&wanted, &key, &form(user, self.context.projection.link.own_key(), &key).encode()?)?
            }
        };
        match self.send_or_find(operation)? {
            OperationOutcome::Done(done) => match super::text_of(&done.object, "id") {
                Some(id) => Ok(UserCustomer::Known(id.to_owned())),
                None => Err(CallsError::Answer("a customer without an id".to_owned())),
            },
            other => Ok(UserCustomer::NotCreated(other)),
        }
    }
}

fn form(user: &User, user_key: &str, key: &str) -> FormBody {
    let metadata = FormBody::new().put(user_key, user.id.as_str()).put(super::KEY_METADATA, key);
    FormBody::new()
        .put_opt("email", user.email.as_deref())
        .put_opt("name", user.name.as_deref())
        .map("metadata", metadata)
}
