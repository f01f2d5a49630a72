//! The readers of columns: each finds one value in an object. A name may be a path (`evidence_details.due_by`). Values
//! that Stripe moved between API versions have their reader in `stripe::object`; [`optional`] makes a column of it.
//! A `lenient` reader is for what decides nothing: a value that cannot be read counts as absent. Called by `row!`.

use serde_json::Value;

use super::Winner;
use crate::stripe::object::{self, ObjectError};

type Read<T> = Result<T, ObjectError>;

/// Where a path leads: the object around its last name, and that name.
fn inner<'a, 'p>(object: &'a Value, path: &'p str) -> (&'a Value, &'p str) {
    match path.rsplit_once('.') {
        None => (object, path),
        Some((outer, name)) => (outer.split('.').fold(object, |value, name| &value[name]), name),
    }
}

/// Has a reader of `stripe::object` read a value at this path.
fn at<'a, T>(winner: &'a Winner, path: &str, read: impl FnOnce(&'a Value, &str) -> Read<T>) -> Read<T> {
    let (object, name) = inner(&winner.object, path);
    read(object, name).map_err(|error| ObjectError { path: path.to_owned(), ..error })
}

/// An id that must be there.
pub(super) fn id(path: &'static str) -> impl Fn(&Winner) -> Read<String> {
    move |winner| at(winner, path, |object, name| object::required_reference(object, name).map(str::to_owned))
}

/// The id that a field refers to.
pub(super) fn reference(path: &'static str) -> impl Fn(&Winner) -> Read<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::reference(object, name).map(str::to_owned)))
}

/// A text that must be there.
pub(super) fn text(path: &'static str) -> impl Fn(&Winner) -> Read<String> {
    move |winner| at(winner, path, |object, name| object::required_text(object, name).map(str::to_owned))
}

/// A text that may be absent.
pub(super) fn optional_text(path: &'static str) -> impl Fn(&Winner) -> Read<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::text(object, name)?.map(str::to_owned)))
}

/// A text that decides nothing.
pub(super) fn lenient_text(path: &'static str) -> impl Fn(&Winner) -> Read<Option<String>> {
    move |winner| at(winner, path, |object, name| Ok(object::told_text(object, name)))
}

/// An integer that must be there.
pub(super) fn integer(path: &'static str) -> impl Fn(&Winner) -> Read<i64> {
    move |winner| at(winner, path, object::required_integer)
}

/// An integer that may be absent.
pub(super) fn optional_integer(path: &'static str) -> impl Fn(&Winner) -> Read<Option<i64>> {
    move |winner| at(winner, path, object::integer)
}

/// An integer that decides nothing.
pub(super) fn lenient_integer(path: &'static str) -> impl Fn(&Winner) -> Read<Option<i64>> {
    move |winner| at(winner, path, |object, name| Ok(object::told_integer(object, name)))
}

/// Yes or no; absent is no.
pub(super) fn flag(path: &'static str) -> impl Fn(&Winner) -> Read<bool> {
    move |winner| at(winner, path, object::flag)
}

/// Yes or no that decides nothing.
pub(super) fn lenient_flag(path: &'static str) -> impl Fn(&Winner) -> Read<bool> {
    move |winner| at(winner, path, |object, name| Ok(object::told_flag(object, name)))
}

/// What a reader of `stripe::object` finds.
pub(super) fn optional(find: fn(&Value) -> Option<&str>) -> impl Fn(&Winner) -> Read<Option<String>> {
    move |winner| Ok(find(&winner.object).map(str::to_owned))
}

/// The metadata as JSON text.
pub(super) fn metadata(winner: &Winner) -> Read<String> {
    Ok(object::metadata(&winner.object))
}

/// Whether its event says that it is gone.
pub(super) fn deleted(winner: &Winner) -> Read<bool> {
    Ok(winner.deleted)
}
