//! `[link]`: keys, references, and what is refused.

use super::*;
use crate::base::ownership::{LinkRules, Reference};

fn of(text: &str) -> LinkRules {
    World::bare().file(text).tool().link
}

#[test]
fn without_a_section_user_id_names_the_user_and_a_reference_grants() {
    assert_eq!(
        World::bare().tool().link,
        LinkRules { metadata_keys: vec!["user_id".to_owned()], reference: Reference::Grant }
    );
}

#[test]
fn keys_and_reference_come_from_the_file_or_the_environment() {
    let rules = of("[link]\nmetadata_keys = [\"tenant\", \" user_id \"]\nclient_reference_id = \"trust\"\n");
    assert_eq!(rules.metadata_keys, ["tenant", "user_id"]);
    assert_eq!((rules.own_key(), rules.reference), ("tenant", Reference::Trust));
    let world = World::bare()
        .env(&[("TILLD_LINK_METADATA_KEYS", "account, user_id"), ("TILLD_LINK_CLIENT_REFERENCE_ID", "off")]);
    assert_eq!(world.tool().link.metadata_keys, ["account", "user_id"]);
    assert_eq!(world.tool().link.reference, Reference::Off);
}

#[test]
fn the_key_that_is_refused_is_the_one_that_calls_write() {
    assert_eq!(crate::app::config::sections::RESERVED, crate::outward::calls::KEY_METADATA);
}

#[test]
fn what_cannot_be_a_key_of_metadata_or_is_no_choice_is_refused() {
    let long = format!("[link]\nmetadata_keys = [\"{}\"]\n", "k".repeat(41));
    let many = format!("[link]\nmetadata_keys = [{}]\n", "\"k\",".repeat(11));
    for (text, words) in [
        ("[link]\nmetadata_keys = []\n", "is empty"),
        ("[link]\nmetadata_keys = [\"a[b]\"]\n", "without brackets"),
        ("[link]\nmetadata_keys = [\"\"]\n", "1 to 40 characters"),
        (long.as_str(), "1 to 40 characters"),
        (many.as_str(), "at most 10"),
        ("[link]\nmetadata_keys = [\"tilld_key\"]\n", "tilld's own keys"),
    ] {
        World::bare().file(text).fault(&["link.metadata_keys", words]);
    }
    World::bare().file("[link]\nclient_reference_id = \"yes\"\n").fault(&["link.client_reference_id", "\"trust\""]);
}
