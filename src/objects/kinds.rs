//! The kinds of objects that tilld knows, looked up by what Stripe, an event or a person calls them. Every list of kinds in
//! this program loops over [`all`]: what is projected, ordered, fetched again, read from Stripe's lists and compared, what a
//! restricted key must permit, which events are to be enabled, which can be triggered. It must never list them itself: that
//! is `objects::KINDS`. Called by every room above.

use serde_json::Value;

use super::KINDS;
use crate::base::object_kind::{self, ObjectKind};

/// All of them, in the order in which they are read.
pub fn all() -> impl Iterator<Item = &'static ObjectKind> {
    KINDS.iter().map(|(kind, _)| *kind)
}

/// The kind that Stripe calls so in `object`.
#[must_use]
pub fn find(object: &str) -> Option<&'static ObjectKind> {
    all().find(|kind| kind.object == object)
}

/// The same; for one that is not known, a plain kind.
#[must_use]
pub fn of(object: &str) -> &'static ObjectKind {
    find(object).unwrap_or(&ObjectKind::PLAIN)
}

/// The kind of an object, by what it says of itself.
#[must_use]
pub(crate) fn of_shown(object: &Value) -> &'static ObjectKind {
    of(object_kind::word(object, "object"))
}

/// The kind of this name at the command line.
#[must_use]
pub fn named(name: &str) -> Option<&'static ObjectKind> {
    all().find(|kind| kind.name == name)
}

/// The typed tables of all kinds, children before what they refer to.
pub fn tables() -> impl Iterator<Item = &'static str> {
    KINDS.iter().rev().filter_map(|(kind, _)| kind.table).map(|(table, _)| table)
}

/// The kinds that are read and compared unless some are named: not those that need a call for each customer.
pub(crate) fn by_default() -> impl Iterator<Item = &'static ObjectKind> {
    all().filter(|kind| !kind.is_per_customer())
}

/// The kinds on which answers depend.
pub(crate) fn of_answers() -> impl Iterator<Item = &'static ObjectKind> {
    all().filter(|kind| kind.decides)
}

/// Every type of event that the typed tables are made from.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    all().flat_map(|kind| kind.events.iter().copied())
}

/// The type of an event about such an object. Stripe need not send it: readings have a type, too.
#[must_use]
pub fn event_type(object: &str, verb: &str) -> String {
    format!("{}.{verb}", of(object).event_prefix.unwrap_or(object))
}

/// Whether objects of this kind have a typed table.
#[must_use]
pub fn has_table(object: &str) -> bool {
    of(object).has_table()
}

#[cfg(test)]
mod tests;
