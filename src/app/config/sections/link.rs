//! `[link]`: whose word counts for whose customer it is.

use crate::app::config::keys::{Section, list, text};
use crate::app::config::reader::ConfigReader;
use crate::base::ownership::{DEFAULT_KEY, LinkRules, Reference};
use crate::base::secret::shown;

/// Keys of metadata at most.
const MAX_KEYS: usize = 10;
/// Longest key of metadata (docs.stripe.com/api/metadata).
const MAX_KEY_CHARS: usize = 40;
/// `calls::KEY_METADATA`, which this room does not know; a test holds them together.
pub(in crate::app::config) const RESERVED: &str = "tilld_key";
const METADATA_KEYS: &str = "link.metadata_keys";

pub(super) const LINK: Section = Section::once(
    "link",
    "Whose word says whose a Stripe customer or subscription is: docs/whose-customer.md. What you say yourself (`tilld user \
     link`, PUT /api/v1/users/{id}/customer) counts before all of it.",
    &[
        list(METADATA_KEYS, &[DEFAULT_KEY]).env(&["TILLD_LINK_METADATA_KEYS"]).about(
            "Keys of Stripe's metadata that name your user; of several that are there the first one counts, and tilld writes \
             the first.",
        ),
        text("link.client_reference_id", "grant").env(&["TILLD_LINK_CLIENT_REFERENCE_ID"]).about(
            "What the client_reference_id of a checkout session is worth. Whoever holds a Payment Link can write any name \
             there: \"grant\" gives that user access to what was paid and nothing else, \"off\" gives nothing. \"trust\" \
             takes it for metadata of the session, so that cards, calls and mails follow it: only where nobody can guess or \
             choose a reference.",
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
            return Some(format!("{key:?} is what tilld writes its own keys under: name another one"));
        }
        let fits = !key.is_empty() && key.chars().count() <= MAX_KEY_CHARS && !key.contains(['[', ']']);
        (!fits).then(|| {
            format!(
                "{shown} cannot be a key of Stripe's metadata: 1 to {MAX_KEY_CHARS} characters, no brackets",
                shown = shown(key)
            )
        })
    };
    let fault = if keys.is_empty() {
        Some("is empty: name the keys of metadata that hold your user's id, or remove it".to_owned())
    } else if keys.len() > MAX_KEYS {
        Some(format!("names {} keys: at most {MAX_KEYS} are looked at", keys.len()))
    } else {
        keys.iter().find_map(problem)
    };
    if let Some(fault) = fault {
        reader.fault(METADATA_KEYS, fault);
    }
    keys
}
