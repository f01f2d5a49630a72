//! `[link]`: whose word counts for whose customer it is. Called by `sections`.

use super::fault::shown;
use super::reader::Reader;
use crate::ownership::{DEFAULT_KEY, Reference, Rules};

/// Keys of metadata at most.
const MAX_KEYS: usize = 10;
/// Longest key of metadata (docs.stripe.com/api/metadata).
const MAX_KEY_CHARS: usize = 40;
const METADATA_KEYS: &str = "link.metadata_keys";

pub(super) fn read(reader: &mut Reader<'_>) -> Rules {
    let keys = keys(reader);
    let reference = reader.parsed("link.client_reference_id", reference).unwrap_or(Reference::Grant);
    Rules { metadata_keys: if keys.is_empty() { vec![DEFAULT_KEY.to_owned()] } else { keys }, reference }
}

fn keys(reader: &mut Reader<'_>) -> Vec<String> {
    let Some(keys) = reader.list(METADATA_KEYS) else { return Vec::new() };
    let problem = |key: &String| {
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

fn reference(text: &str) -> Result<Reference, String> {
    match text {
        "off" => Ok(Reference::Off),
        "grant" => Ok(Reference::Grant),
        "trust" => Ok(Reference::Trust),
        _ => Err(format!("must be \"off\", \"grant\" or \"trust\", not {shown}", shown = shown(text))),
    }
}
