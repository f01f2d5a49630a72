//! The types of objects that are read from Stripe's lists, as data: what they are called, where their list is, and
//! which lists within them may be cut. Knows no database. Used by `backfill` and `drift`.

use super::api::segment;
use crate::stripe::form::Form;

/// A type of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// As typed at the command line.
    pub name: &'static str,
    /// What Stripe calls it in `object`.
    pub object: &'static str,
    /// Where its objects are.
    pub path: &'static str,
    /// What is always asked for.
    pub fixed: &'static [(&'static str, &'static str)],
    /// The list within it that may be cut.
    pub nested: Option<Nested>,
    /// Its list is one per customer.
    pub per_customer: bool,
}

/// A list within an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Nested {
    /// Its key.
    pub key: &'static str,
    /// Where all of it is.
    pub whole: Whole,
}

/// Where a nested list can be read as a whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Whole {
    /// A list of its own with this filter.
    Filtered(&'static str, &'static str),
    /// Below the object.
    Below(&'static str),
}

const fn kind(name: &'static str, object: &'static str, path: &'static str) -> Kind {
    Kind { name, object, path, fixed: &[], nested: None, per_customer: false }
}

const fn with(kind: Kind, key: &'static str, whole: Whole) -> Kind {
    Kind { nested: Some(Nested { key, whole }), ..kind }
}

/// All of them, in the order in which they are read: what entitlement rests on first.
pub const KINDS: &[Kind] = &[
    kind("customers", "customer", "/v1/customers"),
    // Without a status Stripe leaves the canceled ones out.
    Kind {
        fixed: &[("status", "all")],
        ..with(
            kind("subscriptions", "subscription", "/v1/subscriptions"),
            "items",
            Whole::Filtered("/v1/subscription_items", "subscription"),
        )
    },
    with(kind("invoices", "invoice", "/v1/invoices"), "lines", Whole::Below("lines")),
    kind("payment_intents", "payment_intent", "/v1/payment_intents"),
    kind("charges", "charge", "/v1/charges"),
    kind("refunds", "refund", "/v1/refunds"),
    kind("disputes", "dispute", "/v1/disputes"),
    kind("products", "product", "/v1/products"),
    kind("prices", "price", "/v1/prices"),
    kind("coupons", "coupon", "/v1/coupons"),
    kind("promotion_codes", "promotion_code", "/v1/promotion_codes"),
    kind("checkout_sessions", "checkout.session", "/v1/checkout/sessions"),
    with(kind("credit_notes", "credit_note", "/v1/credit_notes"), "lines", Whole::Below("lines")),
    kind("setup_intents", "setup_intent", "/v1/setup_intents"),
    kind("subscription_schedules", "subscription_schedule", "/v1/subscription_schedules"),
    kind("tax_rates", "tax_rate", "/v1/tax_rates"),
    kind("features", "entitlements.feature", "/v1/entitlements/features"),
    Kind { per_customer: true, ..kind("payment_methods", "payment_method", "/v1/payment_methods") },
];

/// The type of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The type of objects that Stripe calls so.
#[must_use]
pub fn of_object(object: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.object == object)
}

/// What is read and compared unless types are named: not what takes a call for each customer, and decides nothing.
pub fn by_default() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| !kind.per_customer)
}

/// What answers rest on.
pub fn of_answers() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| matches!(kind.object, "customer" | "subscription"))
}

impl Kind {
    /// What is always asked for.
    #[must_use]
    pub fn form(&self) -> Form {
        self.fixed.iter().fold(Form::new(), |form, (name, value)| form.put(*name, *value))
    }

    /// One object of it.
    #[must_use]
    pub fn path_of(&self, id: &str) -> String {
        format!("{}/{}", self.path, segment(id))
    }

    /// Its list, or that of one customer.
    #[must_use]
    pub fn list_path(&self, customer_id: Option<&str>) -> String {
        match customer_id {
            Some(id) if self.per_customer => format!("/v1/customers/{}/payment_methods", segment(id)),
            _ => self.path.to_owned(),
        }
    }
}

impl Nested {
    /// Where the whole list of the object `id` is, and what is to be asked for.
    #[must_use]
    pub fn path_of(&self, kind: &Kind, id: &str) -> (String, Form) {
        match self.whole {
            Whole::Filtered(path, by) => (path.to_owned(), Form::new().put(by, id)),
            Whole::Below(name) => (format!("{}/{name}", kind.path_of(id)), Form::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_unique_and_what_depends_on_customers_comes_after_them() {
        for (place, kind) in KINDS.iter().enumerate() {
            assert_eq!(KINDS.iter().position(|other| other.name == kind.name), Some(place));
        }
        let place = |name| KINDS.iter().position(|kind| kind.name == name).unwrap();
        assert!(place("payment_methods") > place("customers"));
    }

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        let kind = find("coupons").unwrap();
        assert_eq!(kind.path_of("50%/off?x"), "/v1/coupons/50%25%2Foff%3Fx");
    }
}
