//! The application's own word: this customer, or this subscription, is this user's, or is not. It is kept as said, with
//! what was said before, and counts before everything that Stripe's objects carry. Called by the private API and by
//! `tilld user link`.

use serde_json::json;

use super::derived::DerivationBasis;
use super::owner::rows;
use super::owner::said::{self, NewStatement};
use super::{customer, owner};
use crate::base::ownership::{self, OwnershipTrace};
use crate::objects::user;
use crate::store::{StoreError, StoreReader, Tx, audit};

/// What can be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkTarget {
    /// `cus_…`.
    Customer,
    /// `sub_…`.
    Subscription,
}

impl LinkTarget {
    /// Stripe's word, and that of the column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Subscription => "subscription",
        }
    }
}

/// Who says what of whom.
#[derive(Debug, Clone, Copy)]
pub struct SaidLink<'a> {
    /// What it is said of.
    pub kind: LinkTarget,
    /// Its id.
    pub id: &'a str,
    /// The user.
    pub user_id: &'a str,
    /// `api` or `cli`.
    pub actor: &'a str,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkResult {
    /// It is the user's from now on.
    Now,
    /// It was said before, and stands.
    Already,
    /// It was said to be this other user's, and nobody insisted.
    Taken(String),
}

/// What would become of a link.
///
/// # Errors
/// When the database cannot be read.
pub fn foresee(reader: &StoreReader, said: SaidLink, force: bool) -> Result<LinkResult, StoreError> {
    let standing = said::list(reader, said.id)?.into_iter().find(|statement| statement.linked);
    Ok(match standing {
        Some(statement) if statement.user_id == said.user_id => LinkResult::Already,
        Some(statement) if !force => LinkResult::Taken(statement.user_id),
        _ => LinkResult::Now,
    })
}

/// Says that something is a user's; `force`: also where it was said to be another one's.
///
/// # Errors
/// When the database cannot take it.
pub fn link(tx: &Tx, said: SaidLink, force: bool, basis: DerivationBasis) -> Result<LinkResult, StoreError> {
    let foreseen = foresee(tx, said, force)?;
    if foreseen == LinkResult::Already && !said::is_last_customer(tx, said.user_id, said.id)? {
        // SaidLink again, it is what was said last, and so the main one.
        said::withdraw(tx, said.id, said.user_id, true, basis.now_ms)?;
        note(tx, said, true, basis)?;
    }
    if foreseen != LinkResult::Now {
        return Ok(foreseen);
    }
    user::ensure(tx, said.user_id, basis.now_ms)?;
    said::withdraw(tx, said.id, said.user_id, false, basis.now_ms)?;
    note(tx, said, true, basis)?;
    Ok(LinkResult::Now)
}

/// Takes back what was said of it and the user, and says that it is not this user's, whoever names him. `false`: nothing
/// and nobody says that it is.
///
/// # Errors
/// When the database cannot take it.
pub fn unlink(tx: &Tx, said: SaidLink, basis: DerivationBasis) -> Result<bool, StoreError> {
    let withdrawn = said::withdraw(tx, said.id, said.user_id, true, basis.now_ms)?;
    if withdrawn == 0 && !is_named(tx, said, basis)? {
        return Ok(false);
    }
    note(tx, said, false, basis)?;
    Ok(true)
}

/// Whether any rule names the user, be it beside others.
fn is_named(reader: &StoreReader, said: SaidLink, basis: DerivationBasis) -> Result<bool, StoreError> {
    let is_meant = |step: ownership::TraceStep| match step.found {
        OwnershipTrace::Names(user_id) => user_id == said.user_id,
        OwnershipTrace::Several(users) => users.iter().any(|user_id| user_id == said.user_id),
        OwnershipTrace::Silent | OwnershipTrace::Denied(_) => false,
    };
    Ok(match said.kind {
        LinkTarget::Customer => {
            let words = owner::words_of_customer(reader, said.id, basis.link)?;
            ownership::trace_customer(&words, basis.link).any(is_meant)
        }
        LinkTarget::Subscription => {
            let words = owner::words_of_subscription(reader, said.id, basis.link)?;
            ownership::trace_object(&words, basis.link).any(is_meant)
        }
    })
}

/// Whose it is now.
///
/// # Errors
/// When the database cannot be read.
pub fn owner_of(reader: &StoreReader, said: SaidLink) -> Result<Option<String>, StoreError> {
    match said.kind {
        LinkTarget::Customer => customer::find_owner(reader, said.id),
        LinkTarget::Subscription => {
            Ok(rows::find_subscription(reader, said.id)?.and_then(|found| found.owner).map(|owner| owner.user_id))
        }
    }
}

fn note(tx: &Tx, said: SaidLink, linked: bool, basis: DerivationBasis) -> Result<(), StoreError> {
    let object = said.kind.as_str();
    let new = NewStatement { object, object_id: said.id, user_id: said.user_id, linked, actor: said.actor };
    said::add(tx, &new, basis.now_ms)?;
    let action = match (said.kind, linked) {
        (LinkTarget::Customer, true) => "customer.link",
        (LinkTarget::Customer, false) => "customer.unlink",
        (LinkTarget::Subscription, true) => "subscription.link",
        (LinkTarget::Subscription, false) => "subscription.unlink",
    };
    let before = owner_of(tx, said)?;
    match said.kind {
        LinkTarget::Customer => {
            customer::ensure(tx, said.id)?;
            owner::refresh_customer(tx, said.id, basis)?;
            owner::choose_main(tx, said.user_id)?;
        }
        LinkTarget::Subscription => {
            owner::refresh_subscription(tx, said.id, basis)?;
        }
    }
    let detail = json!({"before": before, "after": owner_of(tx, said)?}).to_string();
    let entry = audit::NewEntry::new(said.actor, action, basis.now_ms, &detail);
    audit::add(tx, &audit::NewEntry { user_id: Some(said.user_id), subject: Some(said.id), ..entry })
}
