//! The readers of columns: each finds one value in an object. A name may be a path (`evidence_details.due_by`). Values
//! that Stripe moved between API versions have their reader in `stripe::object`; [`optional`] makes a column of it.
//! A `lenient` reader is for a value on which no decision rests: if it cannot be read, it counts as absent. It must never
//! look at anything but the winning state. Called by `row!`.

use serde_json::Value;

use super::WinningState;
use crate::stripe::object::{self, ObjectError};

type FieldRead<T> = Result<T, ObjectError>;

/// Where a path leads: the object around its last name, and that name.
fn inner<'a, 'p>(object: &'a Value, path: &'p str) -> (&'a Value, &'p str) {
    match path.rsplit_once('.') {
        None => (object, path),
        Some((outer, name)) => (outer.split('.').fold(object, |value, name| &value[name]), name),
    }
}

/// Has a reader of `stripe::object` read a value at this path.
fn at<'a, T>(winner: &'a WinningState, path: &str, read: impl FnOnce(&'a Value, &str) -> FieldRead<T>) -> FieldRead<T> {
    let (object, name) = inner(&winner.object, path);
    read(object, name).map_err(|error| ObjectError { path: path.to_owned(), ..error })
}

/// An id that must be there.
pub(super) fn id(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<String> {
    move |winner| at(winner, path, |object, name| object::required_reference(object, name).map(str::to_owned))
}

/// The id that a field refers to.
pub(super) fn reference(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::reference(object, name).map(str::to_owned)))
}

/// A text that must be there.
pub(super) fn text(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<String> {
    move |winner| at(winner, path, |object, name| object::required_text(object, name).map(str::to_owned))
}

/// A text that may be absent.
pub(super) fn optional_text(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::text(object, name)?.map(str::to_owned)))
}

/// A text on which no decision rests.
pub(super) fn lenient_text(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::lenient_text(object, name)))
}

/// An integer that must be there.
pub(super) fn integer(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<i64> {
    move |winner| at(winner, path, object::required_integer)
}

/// An integer that may be absent.
pub(super) fn optional_integer(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<Option<i64>> {
    move |winner| at(winner, path, object::integer)
}

/// An integer that may be absent, which means 0.
pub(super) fn integer_or_zero(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<i64> {
    move |winner| Ok(at(winner, path, object::integer)?.unwrap_or(0))
}

/// An integer on which no decision rests.
pub(super) fn lenient_integer(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<Option<i64>> {
    move |winner| at(winner, path, |object, name| Ok(object::lenient_integer(object, name)))
}

/// Yes or no; absent is no.
pub(super) fn flag(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<bool> {
    move |winner| at(winner, path, object::flag)
}

/// Yes or no, where no decision rests on it.
pub(super) fn lenient_flag(path: &'static str) -> impl Fn(&WinningState) -> FieldRead<bool> {
    move |winner| at(winner, path, |object, name| Ok(object::lenient_flag(object, name)))
}

/// What a reader of `stripe::object` finds.
pub(super) fn optional(find: fn(&Value) -> Option<&str>) -> impl Fn(&WinningState) -> FieldRead<Option<String>> {
    move |winner| Ok(find(&winner.object).map(str::to_owned))
}

/// A value that was found `once`, for several columns.
pub(super) fn found<T>(value: T) -> impl FnOnce(&WinningState) -> FieldRead<T> {
    move |_| Ok(value)
}

/// The metadata as JSON text.
pub(super) fn metadata(winner: &WinningState) -> FieldRead<String> {
    Ok(object::metadata(&winner.object))
}

/// Whether the winning event says that the object was deleted.
pub(super) fn deleted(winner: &WinningState) -> FieldRead<bool> {
    Ok(winner.deleted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use super::*;

    fn winner(object: Value) -> WinningState<'static> {
        let event_id = Cow::Borrowed("evt_1");
        WinningState { object: Cow::Owned(object), created: 1, event_id, livemode: false, deleted: true }
    }

    #[test]
    fn a_reader_follows_its_path_and_names_it_when_the_value_is_wrong() {
        let shown =
            winner(json!({"id": "in_1", "empty": null, "a": {"b": {"at": 5, "by": "x", "ref": {"id": "pi_1"}}}}));
        assert_eq!(id("id")(&shown).unwrap(), "in_1");
        assert_eq!(integer("a.b.at")(&shown).unwrap(), 5);
        assert_eq!(reference("a.b.ref")(&shown).unwrap().as_deref(), Some("pi_1"));
        for path in ["empty", "empty.at", "nowhere.at", "a.nowhere.at", "id.at"] {
            assert_eq!(optional_integer(path)(&shown).unwrap(), None, "{path}");
        }
        assert_eq!(optional_integer("a.b.by")(&shown).unwrap_err().path, "a.b.by");
        assert_eq!(text("a.b.at")(&shown).unwrap_err().path, "a.b.at");
        assert_eq!(lenient_integer("a.b.by")(&shown).unwrap(), None);
        assert_eq!(lenient_text("a.b.at")(&shown).unwrap(), None);
        assert!(deleted(&shown).unwrap());
    }
}
