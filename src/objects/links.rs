//! The application's own statements: this customer, or this subscription, belongs to this user, or does not. Statements are
//! kept as they were made, together with the earlier ones, and count before everything that Stripe's objects name. It must
//! never change one. Called by the private API and by `tilld user link`.

use serde_json::json;

use super::owner::rows;
use super::owner::statements::{self, NewStatement};
use super::{DerivationBasis, customer, owner, user};
use crate::base::ownership::{self, OwnershipTrace};
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

/// A statement that something belongs to a user, or does not.
#[derive(Debug, Clone, Copy)]
pub struct LinkStatement<'a> {
    /// What it is about.
    pub kind: LinkTarget,
    /// The id of that.
    pub id: &'a str,
    /// The user.
    pub user_id: &'a str,
    /// `api`, `cli` or `dashboard`.
    pub actor: &'a str,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkResult {
    /// It is linked from now on.
    Now,
    /// It was linked before.
    Already,
    /// It is linked to this other user, and the link was not forced.
    Taken(String),
}

/// What would become of a link.
pub(crate) fn foresee(reader: &StoreReader, said: LinkStatement, force: bool) -> Result<LinkResult, StoreError> {
    let newest = statements::list(reader, said.id)?.into_iter().find(|statement| statement.linked);
    Ok(match newest {
        Some(statement) if statement.user_id == said.user_id => LinkResult::Already,
        Some(statement) if !force => LinkResult::Taken(statement.user_id),
        _ => LinkResult::Now,
    })
}

/// Who would lose it by a link: the user to whom it was linked, or else the one it belongs to now.
pub(crate) fn holder(reader: &StoreReader, said: LinkStatement) -> Result<Option<String>, StoreError> {
    match foresee(reader, said, false)? {
        LinkResult::Already => Ok(Some(said.user_id.to_owned())),
        LinkResult::Taken(other) => Ok(Some(other)),
        LinkResult::Now => owner_of(reader, said),
    }
}

/// States that something belongs to a user; `force`: also where it is linked to another one.
pub fn link(tx: &Tx, said: LinkStatement, force: bool, basis: DerivationBasis) -> Result<LinkResult, StoreError> {
    let foreseen = foresee(tx, said, force)?;
    if foreseen == LinkResult::Already && !statements::is_last_customer(tx, said.user_id, said.id)? {
        // Stated once more, it is the newest statement, which makes this customer the main one.
        statements::withdraw(tx, said.id, said.user_id, true, basis.now_ms)?;
        note(tx, said, true, basis)?;
    }
    if foreseen != LinkResult::Now {
        return Ok(foreseen);
    }
    user::ensure(tx, said.user_id, basis.now_ms)?;
    statements::withdraw(tx, said.id, said.user_id, false, basis.now_ms)?;
    note(tx, said, true, basis)?;
    Ok(LinkResult::Now)
}

/// Withdraws the statements that link it to the user, and states that it does not belong to him, whatever names him.
/// `false`: nothing names him.
pub(crate) fn unlink(tx: &Tx, said: LinkStatement, basis: DerivationBasis) -> Result<bool, StoreError> {
    let withdrawn = statements::withdraw(tx, said.id, said.user_id, true, basis.now_ms)?;
    if withdrawn == 0 && !is_named(tx, said, basis)? {
        return Ok(false);
    }
    note(tx, said, false, basis)?;
    Ok(true)
}

/// Whether any rule names the user, alone or among others.
fn is_named(reader: &StoreReader, said: LinkStatement, basis: DerivationBasis) -> Result<bool, StoreError> {
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

/// The user it belongs to now.
pub(crate) fn owner_of(reader: &StoreReader, said: LinkStatement) -> Result<Option<String>, StoreError> {
    match said.kind {
        LinkTarget::Customer => customer::find_owner(reader, said.id),
        LinkTarget::Subscription => {
            Ok(rows::find_subscription(reader, said.id)?.and_then(|found| found.owner).map(|owner| owner.user_id))
        }
    }
}

fn note(tx: &Tx, said: LinkStatement, linked: bool, basis: DerivationBasis) -> Result<(), StoreError> {
    let object = said.kind.as_str();
    let new = NewStatement { object, object_id: said.id, user_id: said.user_id, linked, actor: said.actor };
    statements::add(tx, &new, basis.now_ms)?;
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
