//! Lists within an object, of which Stripe includes the first ten members. The others are read and added, so that the
//! object is kept whole. Called by `page` and `outward::fetch`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::SyncError;
use crate::base::object_kind::{NestedList, ObjectKind};
use crate::stripe::form::FormBody;
use crate::stripe::list::{ListPage, Pages};

/// Pages of one nested list at most; a subscription has 20 items, an invoice rarely more than hundreds of lines.
const MAX_PAGES: u32 = 1000;

#[derive(Deserialize)]
struct ListFlag {
    #[serde(default)]
    has_more: bool,
}

/// Whether a nested list is cut, found out without building the object.
fn is_cut(text: &str, nested: &NestedList) -> bool {
    // Whoever reads the whole object reports what cannot be read.
    let Ok(members) = serde_json::from_str::<HashMap<Cow<str>, &RawValue>>(text) else { return false };
    let list = members.get(nested.key).and_then(|list| serde_json::from_str::<ListFlag>(list.get()).ok());
    list.is_some_and(|list| list.has_more)
}

/// Asks for a page of the list at a path, with these parameters, after an id.
pub(crate) type PageFetcher<'a> = dyn FnMut(&str, FormBody, Option<&str>) -> Result<ListPage<()>, SyncError> + 'a;

/// The object with its nested list whole. `ask`: a page of the list at a path, with these parameters, after an id.
///
/// # Errors
/// Those of `ask`, where a cut list could not be read on.
pub(crate) fn complete<'t>(kind: &ObjectKind, text: &'t str, ask: &mut PageFetcher) -> Result<Cow<'t, str>, SyncError> {
    let Some(nested) = kind.nested.as_ref().filter(|nested| is_cut(text, nested)) else {
        return Ok(Cow::Borrowed(text));
    };
    let Ok(mut object) = serde_json::from_str::<Value>(text) else { return Ok(Cow::Borrowed(text)) };
    let id = object["id"].as_str().unwrap_or_default().to_owned();
    let (path, filter) = nested.path_of(kind, &id);
    let form = filter.map_or_else(FormBody::new, |(by, id)| FormBody::new().put(by, id));
    let mut members: Vec<Value> = object[nested.key]["data"].as_array().cloned().unwrap_or_default();
    let last = members.last().and_then(|member| member["id"].as_str()).map(str::to_owned);
    let unreadable = |reason| SyncError::Unreadable { path: path.clone(), reason };
    let mut pages = Pages::new(|after: Option<&str>| ask(&path, form.clone(), after)).after(last).at_most(MAX_PAGES);
    for page in &mut pages {
        for item in &page?.items {
            members.push(serde_json::from_str(item.get()).map_err(|_| unreadable("a member is not an object"))?);
        }
    }
    if pages.is_cut() {
        return Err(unreadable("its list has no end"));
    }
    object[nested.key]["data"] = members.into();
    object[nested.key]["has_more"] = Value::Bool(false);
    Ok(Cow::Owned(object.to_string()))
}
