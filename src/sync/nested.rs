//! Lists within an object: Stripe shows the first ten of their members. What follows is read and put in its place, so
//! that the object is kept whole. Called by `page` and `fetch`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::SyncError;
use crate::kind::{NestedList, ObjectKind};
use crate::stripe::form::Form;

/// Pages of one nested list at most; a subscription has 20 items, an invoice rarely more than hundreds of lines.
const MAX_PAGES: u32 = 1000;

#[derive(Deserialize)]
struct Flag {
    #[serde(default)]
    has_more: bool,
}

/// Whether a nested list is cut, told without building the object.
fn is_cut(text: &str, nested: &NestedList) -> bool {
    // What cannot be read is told by whoever reads it whole.
    let Ok(members) = serde_json::from_str::<HashMap<Cow<str>, &RawValue>>(text) else { return false };
    let list = members.get(nested.key).and_then(|list| serde_json::from_str::<Flag>(list.get()).ok());
    list.is_some_and(|list| list.has_more)
}

/// Members of a list, and the id that the next page comes after.
pub type Members = (Vec<Box<RawValue>>, Option<String>);

/// Asks for a page of the list at a path, with these parameters, after an id.
pub type Ask<'a> = dyn FnMut(&str, Form, Option<&str>) -> Result<Members, SyncError> + 'a;

/// The object with its nested list whole. `ask`: a page of the list at a path, with these parameters, after an id.
///
/// # Errors
/// Those of `ask`, where a cut list could not be read on.
pub fn complete<'t>(kind: &ObjectKind, text: &'t str, ask: &mut Ask) -> Result<Cow<'t, str>, SyncError> {
    let Some(nested) = kind.nested.as_ref().filter(|nested| is_cut(text, nested)) else {
        return Ok(Cow::Borrowed(text));
    };
    let Ok(mut object) = serde_json::from_str::<Value>(text) else { return Ok(Cow::Borrowed(text)) };
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    let (path, filter) = nested.path_of(kind, &id);
    let form = filter.map_or_else(Form::new, |(by, id)| Form::new().put(by, id));
    let mut members: Vec<Value> = object[nested.key]["data"].as_array().cloned().unwrap_or_default();
    for _ in 0..MAX_PAGES {
        let after = members.last().and_then(|member| member["id"].as_str()).map(str::to_owned);
        let (items, next) = ask(&path, form.clone(), after.as_deref())?;
        let unreadable = |_| SyncError::Unreadable { path: path.clone(), reason: "a member is no object" };
        for item in &items {
            members.push(serde_json::from_str(item.get()).map_err(unreadable)?);
        }
        if next.is_some() {
            continue;
        }
        object[nested.key]["data"] = members.into();
        object[nested.key]["has_more"] = Value::Bool(false);
        return Ok(Cow::Owned(object.to_string()));
    }
    Err(SyncError::Unreadable { path, reason: "its list has no end" })
}
