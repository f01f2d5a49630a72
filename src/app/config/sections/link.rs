//! `[link]`: what links a customer or a subscription to a user. Called by `sections`.

use crate::app::config::keys::{Section, list, text};
use crate::app::config::reader::ConfigReader;
use crate::base::ownership::{DEFAULT_KEY, LinkRules, Reference};
use crate::base::secret::shown;

/// How many keys of metadata there may be.
const MAX_KEYS: usize = 10;
/// Longest key of metadata (docs.stripe.com/api/metadata).
const MAX_KEY_CHARS: usize = 40;
/// The same as `outward::calls::KEY_METADATA`; a test compares them.
pub(in crate::app::config) const RESERVED: &str = "tilld_key";
const METADATA_KEYS: &str = "link.metadata_keys";

pub(super) const LINK: Section = Section::once(
    "link",
    "What links a Stripe customer or subscription to one of your users: docs/whose-customer.md. What you say yourself \
     (`tilld user link`, PUT /api/v1/users/{id}/customer) overrides all of it.",
    &[
        list(METADATA_KEYS, &[DEFAULT_KEY]).env(&["TILLD_LINK_METADATA_KEYS"]).about(
            "Keys of Stripe's metadata that hold the id of your user. If an object has several of them, the first in this list \
             counts; tilld writes the first.",
        ),
        text("link.client_reference_id", "grant").env(&["TILLD_LINK_CLIENT_REFERENCE_ID"]).about(
            "What the client_reference_id of a checkout session is worth. Whoever holds a Payment Link can write any name \
             there: \"grant\" gives that user access to what was paid and nothing else, \"off\" gives nothing. \"trust\" \
             treats it like metadata of the session, so that cards, calls and mails follow it: only where nobody can guess \
             or choose a reference.",
        ),
    ],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> LinkRules {
    let reference = reader.choice("link.client_reference_id", &Reference::WORDS).unwrap_or(Reference::Grant);
    LinkRules { metadata_keys: keys(reader), reference }
}

fn keys(reader: &mut ConfigReader<'_>) -> Vec<String> {
    let keys = reader.list(METADATA_KEYS);
    let problem = |key: &String| {
        if key == RESERVED {
            return Some(format!("{key:?} is reserved for tilld's own keys: name another one"));
        }
        let fits = !key.is_empty() && key.chars().count() <= MAX_KEY_CHARS && !key.contains(['[', ']']);
        (!fits).then(|| {
            format!(
                "{shown} is not a valid key of Stripe's metadata: write 1 to {MAX_KEY_CHARS} characters, without brackets",
                shown = shown(key)
            )
        })
    };
    let fault = if keys.is_empty() {
        Some("is empty: name the keys of metadata that hold your user's id, or remove it".to_owned())
    } else if keys.len() > MAX_KEYS {
        Some(format!("names {} keys: name at most {MAX_KEYS}", keys.len()))
    } else {
        keys.iter().find_map(problem)
    };
    if let Some(fault) = fault {
        reader.fault(METADATA_KEYS, fault);
    }
    keys
}
