//! The kinds of objects that tilld knows, looked up by what Stripe, an event or a person calls them. Whatever lists kinds in
//! this program loops over [`all`]: what is projected, ordered, fetched again, read from Stripe's lists and compared, what a
//! restricted key must permit, which events are to be enabled, which can be triggered.

use serde_json::Value;

use super::{
    Project, charge, checkout, customer, dispute, invoice, invoice_payment, mirrored, payment_intent, refund,
    subscription,
};
use crate::kind::{self, ObjectKind};

/// Each kind with what its typed tables are made by; `None`: it is mirrored and no more. They are read from Stripe in this
/// order: what answers rest on first, what is listed per customer last.
pub(super) const KINDS: &[(&ObjectKind, Option<Project>)] = &[
    (&customer::KIND, Some(customer::project)),
    (&subscription::KIND, Some(subscription::project)),
    (&invoice::KIND, Some(invoice::project)),
    (&invoice_payment::KIND, Some(invoice_payment::project)),
    (&payment_intent::KIND, Some(payment_intent::project)),
    (&charge::KIND, Some(charge::project)),
    (&refund::KIND, Some(refund::project)),
    (&dispute::KIND, Some(dispute::project)),
    (&mirrored::PRODUCT, None),
    (&mirrored::PRICE, None),
    (&mirrored::COUPON, None),
    (&mirrored::PROMOTION_CODE, None),
    (&checkout::KIND, Some(checkout::project)),
    (&mirrored::CREDIT_NOTE, None),
    (&mirrored::SETUP_INTENT, None),
    (&mirrored::SUBSCRIPTION_SCHEDULE, None),
    (&mirrored::TAX_RATE, None),
    (&mirrored::FEATURE, None),
    (&mirrored::PAYMENT_METHOD, None),
];

/// All of them, in the order in which they are read.
pub fn all() -> impl Iterator<Item = &'static ObjectKind> {
    KINDS.iter().map(|(kind, _)| *kind)
}

/// The kind of objects that Stripe calls so.
#[must_use]
pub fn find(object: &str) -> Option<&'static ObjectKind> {
    all().find(|kind| kind.object == object)
}

/// The same; one that is not known is a plain one.
#[must_use]
pub fn of(object: &str) -> &'static ObjectKind {
    find(object).unwrap_or(&ObjectKind::PLAIN)
}

/// The kind of an object, by what it says of itself.
#[must_use]
pub fn of_shown(object: &Value) -> &'static ObjectKind {
    of(kind::word(object, "object"))
}

/// The kind of that name at the command line.
#[must_use]
pub fn named(name: &str) -> Option<&'static ObjectKind> {
    all().find(|kind| kind.name == name)
}

/// What is read and compared unless kinds are named: not what takes a call for each customer, and decides nothing.
pub fn by_default() -> impl Iterator<Item = &'static ObjectKind> {
    all().filter(|kind| !kind.is_per_customer())
}

/// What answers rest on.
pub fn of_answers() -> impl Iterator<Item = &'static ObjectKind> {
    all().filter(|kind| kind.decides)
}

/// Every type of event that has a place in the typed tables.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    all().flat_map(|kind| kind.events.iter().copied())
}

/// The type of an event about such an object; Stripe need not send it: what we read has one, too.
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
