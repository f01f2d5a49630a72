//! `config.toml.example`, written from the descriptions of the keys, so that it cannot differ from what is read. Must never
//! hold a word about a single key: those stand in `sections`. Called by `tilld init`, and, for the words about a key, by `in_force`; and by the test that compares it with
//! the file in the repository.

use super::keys::{ConfigKey, KeyForm, KeyValue, Section};
use super::sections::CATALOG;

/// A space at which lines are not broken.
const UNBROKEN: &str = "\u{a0}";
/// The longest line of the example.
const WIDTH: usize = 120;

const HEAD: &str = "Configuration of tilld. Everything here is optional; what is commented out shows the default, or an example where \
    there is no default. tilld reads the first of: --config FILE, $TILLD_CONFIG, ./config.toml, ./tilld-dev.toml, \
    /etc/tilld/config.toml. Environment variables (in brackets) beat this file, flags beat both. Keys that tilld does not \
    know are errors. `tilld check` checks the whole configuration.";
const SECRETS: &str = "A secret may be given as KEY, as KEY_file = \"/path/to/a/file\", or as a systemd credential of the name \
    in brackets. Relative paths start from the directory that tilld is started in.";

/// The whole file.
#[must_use]
pub(crate) fn example() -> String {
    let mut text = format!("{}#\n{}\n", comment(HEAD), comment(SECRETS));
    let sections: Vec<String> = CATALOG.0.iter().map(|known| section(known)).collect();
    text.push_str(&sections.join("\n"));
    text
}

fn section(section: &Section) -> String {
    let mut text = if section.about.is_empty() { String::new() } else { comment(section.about) };
    if !section.name.is_empty() {
        let mark = if section.form == KeyForm::RepeatedOrNone { "#" } else { "" };
        text.push_str(&format!("{mark}{}\n", section.header()));
    }
    let keys: Vec<String> = section.keys.iter().map(key).collect();
    text + &keys.join("\n")
}

fn key(key: &ConfigKey) -> String {
    let name = key.name.rsplit('.').next().unwrap_or_default();
    let mut words = vec![about(key)];
    words.extend(key.credential.map(|_| match key.value {
        KeyValue::List(_) => format!("Or {name}_file, one per line or comma-separated, as in a variable."),
        _ => format!("Or {name}_file."),
    }));
    let mut sources: Vec<String> = key.env.iter().map(|name| (*name).to_owned()).collect();
    sources.extend(match key.value {
        KeyValue::List(_) if key.credential.is_none() && !sources.is_empty() => Some("comma-separated".to_owned()),
        _ => key.credential.map(|credential| format!("credential {credential}")),
    });
    if !sources.is_empty() {
        words.push(format!("[{}]", sources.join(", ").replace(' ', UNBROKEN)));
    }
    format!("{}#{name} = {}\n", comment(&words.join(" ")), value(&key.value))
}

/// The words about a key, with its range.
pub(super) fn about(key: &ConfigKey) -> String {
    match key.value {
        KeyValue::Number { min, max, .. } => key.about.replace("{range}", &format!("{min} to {max}")),
        _ => key.about.to_owned(),
    }
}

fn value(value: &KeyValue) -> String {
    match value {
        KeyValue::Text(text) => format!("{text:?}"),
        KeyValue::Number { value, .. } => value.to_string(),
        KeyValue::Flag => "false".to_owned(),
        KeyValue::List(texts) => format!("{texts:?}"),
    }
}

/// Lines of a comment, broken at spaces.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => line.extend([" ", word]),
            _ => lines.push(format!("# {word}")),
        }
    }
    (lines.join("\n") + "\n").replace(UNBROKEN, " ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml.example")
    }

    #[test]
    fn the_example_in_the_repository_is_the_one_that_the_keys_make_word_for_word() {
        let written = std::fs::read_to_string(path()).unwrap();
        let made = example();
        let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
        let advice = "cargo test --lib write_the_example -- --ignored";
        assert!(made == written, "config.toml.example is not what the keys say: {differs:?}; write it by: {advice}");
    }

    #[test]
    fn every_key_is_explained_and_every_number_with_its_range() {
        for key in CATALOG.keys() {
            assert!(!key.about.is_empty(), "{}", key.name);
            assert_eq!(key.about.contains("{range}"), matches!(key.value, KeyValue::Number { .. }), "{}", key.name);
        }
    }

    #[test]
    #[ignore = "writes config.toml.example into the repository"]
    fn write_the_example() {
        std::fs::write(path(), example()).unwrap();
    }

    #[test]
    fn a_comment_is_broken_before_the_edge_and_nowhere_within_a_word() {
        let long = "word ".repeat(60);
        let lines = comment(&long);
        assert!(lines.lines().all(|line| line.starts_with("# word") && line.len() <= WIDTH && line.ends_with("word")));
        assert_eq!(lines.matches("word").count(), 60);
    }
}
