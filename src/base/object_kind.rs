//! What tilld knows of one kind of Stripe's objects, as data and pure functions. It knows no database and no client. Each
//! kind's constant is at the top of its file in `objects`; `objects::kinds` looks them up, and every list of kinds in the
//! program is a loop over them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// What needs no encoding in a segment of a path.
const PLAIN_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');

/// A kind of objects. `..ObjectKind::PLAIN` fills in what most kinds do not need.
#[derive(Debug)]
pub struct ObjectKind {
    /// What Stripe calls it in `object`.
    pub object: &'static str,
    /// As typed at the command line, and as `sync_runs` keeps it.
    pub name: &'static str,
    /// What the types of its events begin with, where that is not `object`: `customer.subscription`.
    pub event_prefix: Option<&'static str>,
    /// Its typed table, and the column that holds the object's id; `None`: it is mirrored and no more.
    pub table: Option<(&'static str, &'static str)>,
    /// The types of events that the table is made from, to be enabled at Stripe.
    pub events: &'static [&'static str],
    /// Where its list is; one object is at `path/{id}`.
    pub path: &'static str,
    /// How its objects are listed.
    pub listed: ObjectListing,
    /// What its list is always asked with.
    pub always: &'static [(&'static str, &'static str)],
    /// What a restricted key needs to read it, as the page of the key calls it.
    pub permission: &'static str,
    /// The list within it that Stripe cuts.
    pub nested: Option<NestedList>,
    /// Whether entitlements rest on it: it is compared every night, and its nested list must be whole.
    pub decides: bool,
    /// Whether a state of it cannot be left any more.
    pub terminal: fn(&Value) -> bool,
    /// What only ever grows in its life, most significant first: of two states of one second, the greater is the later.
    pub progress: fn(&ObjectState) -> ObjectProgress,
    /// An example in Stripe's newest shape, and what its events change in it; see `trigger`.
    pub example: &'static str,
}

/// How far an object has come; see [`ObjectKind::progress`].
pub type ObjectProgress = [i64; 3];

/// A state of an object, as an event or a reading shows it.
#[derive(Debug, Clone, Copy)]
pub struct ObjectState<'a> {
    /// The object.
    pub object: &'a Value,
    /// `resource.verb` of the event.
    pub event_type: &'a str,
    /// It was read from the API, so the event type means nothing.
    pub is_read: bool,
}

impl<'a> ObjectState<'a> {
    /// Its `status`; empty where it has none.
    #[must_use]
    pub fn status(&self) -> &'a str {
        word(self.object, "status")
    }
}

/// How objects of a kind are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectListing {
    /// In one list.
    Whole,
    /// In one list for each customer, below it at this name.
    PerCustomer(&'static str),
}

/// A list within an object, of which Stripe shows the first ten members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NestedList {
    /// Its key.
    pub key: &'static str,
    /// Where all of it is.
    pub whole: NestedListAt,
}

/// Where a nested list can be read as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NestedListAt {
    /// At this path, filtered by the object's id under this name.
    Filtered(&'static str, &'static str),
    /// Below the object.
    Below(&'static str),
}

impl ObjectKind {
    /// A kind that nothing is known about: it is mirrored, and ordered by time and old values alone.
    pub const PLAIN: Self = Self {
        object: "",
        name: "",
        event_prefix: None,
        table: None,
        events: &[],
        path: "",
        listed: ObjectListing::Whole,
        always: &[],
        permission: "",
        nested: None,
        decides: false,
        terminal: |_| false,
        progress: |_| [0; 3],
        example: "",
    };

    /// Whether it has a typed table.
    #[must_use]
    pub fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// Whether its list is one for each customer.
    #[must_use]
    pub(crate) fn is_per_customer(&self) -> bool {
        matches!(self.listed, ObjectListing::PerCustomer(_))
    }

    /// Whether the object's state cannot be left any more.
    #[must_use]
    pub(crate) fn is_terminal(&self, object: &Value) -> bool {
        (self.terminal)(object)
    }

    /// The path of one object.
    #[must_use]
    pub(crate) fn path_of(&self, id: &str) -> String {
        format!("{}/{}", self.path, segment(id))
    }

    /// The path of its list, or of that of one customer.
    #[must_use]
    pub(crate) fn list_path(&self, customer_id: Option<&str>) -> String {
        match (self.listed, customer_id) {
            (ObjectListing::PerCustomer(below), Some(id)) => format!("/v1/customers/{}/{below}", segment(id)),
            _ => self.path.to_owned(),
        }
    }
}

impl PartialEq for ObjectKind {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl Eq for ObjectKind {}

impl NestedList {
    /// Where the whole list of the object `id` is, and what it is to be filtered by.
    #[must_use]
    pub(crate) fn path_of<'i>(&self, kind: &ObjectKind, id: &'i str) -> (String, Option<(&'static str, &'i str)>) {
        match self.whole {
            NestedListAt::Filtered(path, by) => (path.to_owned(), Some((by, id))),
            NestedListAt::Below(name) => (format!("{}/{name}", kind.path_of(id)), None),
        }
    }
}

/// A text of the object; empty where there is no text under that key.
#[must_use]
pub fn word<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or("")
}

/// The verb of an event type.
#[must_use]
pub fn last_word(event_type: &str) -> &str {
    event_type.rsplit('.').next().unwrap_or_default()
}

/// An id as a segment of a path: it cannot lead elsewhere.
#[must_use]
pub(crate) fn segment(id: &str) -> String {
    utf8_percent_encode(id, PLAIN_IN_PATH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        let coupons = ObjectKind { path: "/v1/coupons", ..ObjectKind::PLAIN };
        assert_eq!(coupons.path_of("50%/off?x"), "/v1/coupons/50%25%2Foff%3Fx");
        let listed = ObjectListing::PerCustomer("payment_methods");
        let methods = ObjectKind { path: "/v1/payment_methods", listed, ..ObjectKind::PLAIN };
        assert_eq!(methods.list_path(Some("../x")), "/v1/customers/..%2Fx/payment_methods");
        assert_eq!(methods.list_path(None), "/v1/payment_methods");
    }

    #[test]
    fn a_nested_list_is_read_below_its_object_or_by_a_filter() {
        let lines = NestedList { key: "lines", whole: NestedListAt::Below("lines") };
        let items =
            NestedList { key: "items", whole: NestedListAt::Filtered("/v1/subscription_items", "subscription") };
        let kind = ObjectKind { path: "/v1/invoices", ..ObjectKind::PLAIN };
        assert_eq!(lines.path_of(&kind, "in/1"), ("/v1/invoices/in%2F1/lines".to_owned(), None));
        assert_eq!(items.path_of(&kind, "s"), ("/v1/subscription_items".to_owned(), Some(("subscription", "s"))));
    }
}
