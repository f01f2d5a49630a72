//! What somebody typed to find a user: an id of Stripe's, by which its user is looked up; a mail address; else a user's id or
//! the beginning of one. It must never guess: what it does not find, it says. Called by `users`.

use crate::objects::customer;
use crate::objects::owner::rows;
use crate::objects::user;
use crate::objects::user::answers::{self, AnsweredUser};
use crate::store::{StoreError, StoreReader};

/// What was meant.
pub(super) enum Found {
    /// This user.
    User(String),
    /// An event, which has a page of its own.
    Event,
    /// Something of Stripe's that leads to no user: why, whether it is known here, and its id if it is of a kind that can
    /// be linked.
    Nobodys { words: String, is_known: bool, id: Option<String> },
    /// A mail address or a user's id, to be looked for.
    Text,
}

/// What a text means.
pub(super) fn what(reader: &StoreReader, text: &str) -> Result<Found, StoreError> {
    // The application may have such ids for its own users.
    if user::exists(reader, text)? {
        return Ok(Found::User(text.to_owned()));
    }
    let (kind, is_known, owner) = match text.split_once('_').map(|(prefix, _)| prefix) {
        Some("cus") => ("customer", customer::exists(reader, text)?, customer::find_owner(reader, text)?),
        Some("sub") => owned("subscription", rows::find_subscription(reader, text)?),
        Some("in") => owned("invoice", rows::find_invoice(reader, text)?),
        Some("pi") => owned("payment", rows::find_payment_intent(reader, text)?),
        Some("ch" | "py") => {
            let owner = customer::find_owner_of_charge(reader, text)?;
            ("charge", owner.is_some(), owner)
        }
        Some("evt") => return Ok(Found::Event),
        _ => return Ok(Found::Text),
    };
    let can_be_linked = matches!(kind, "customer" | "subscription").then(|| text.to_owned());
    Ok(match (owner, is_known) {
        (Some(owner), _) => Found::User(owner),
        (None, true) => Found::Nobodys {
            words: format!("The {kind} {text} is known here and belongs to no user: nothing of Stripe's names one."),
            is_known,
            id: can_be_linked,
        },
        (None, false) => Found::Nobodys {
            words: format!("No {kind} {text} is known here: no webhook and no sync has shown it yet."),
            is_known,
            id: can_be_linked,
        },
    })
}

fn owned(kind: &'static str, found: Option<rows::OwnedObject>) -> (&'static str, bool, Option<String>) {
    (kind, found.is_some(), found.and_then(|object| object.owner).map(|owner| owner.user_id))
}

/// Users whose id begins with the text, and those with this mail address; by id, after the id `after`.
pub(super) fn list(
    reader: &StoreReader,
    text: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<AnsweredUser>, StoreError> {
    let mut found = answers::list_beginning(reader, text, after, limit)?;
    if text.contains('@') {
        found.extend(answers::list_with_address(reader, text, after, limit)?);
        found.sort_by(|one, other| one.user.id.cmp(&other.user.id));
        found.dedup_by(|one, other| one.user.id == other.user.id);
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(found)
}
