//! The configuration in force, for people: every key with its value, where that comes from, and the words of the example. Of
//! a secret it says only whether it is set, and no value that could hold one is shown whole. It must never read a value
//! itself: the reader notes what it reads. Called by `load`; the dashboard shows it.

use super::example;
use super::keys::{ConfigKey, KeyForm, Section};
use super::reader::ConfigReader;
use super::sections::CATALOG;
use crate::http::dashboard_state::{SettingRow, SettingSection};

/// The value of a key without one.
const NOT_SET: &str = "not set";

/// Every section with every key, in the order of the example.
pub(super) fn sections(reader: &ConfigReader<'_>) -> Vec<SettingSection> {
    CATALOG.0.iter().flat_map(|section| blocks(reader, section)).collect()
}

/// A section, once for each of its blocks; one that has none is shown once, without values.
fn blocks(reader: &ConfigReader<'_>, section: &'static Section) -> Vec<SettingSection> {
    if section.form == KeyForm::Once {
        return vec![shown(reader, section, section.name, header(section))];
    }
    let prefix = |number: usize| format!("{}[{number}]", section.name);
    let count = (0..).take_while(|number| reader.has_noted(&prefix(*number))).count();
    if count == 0 {
        return vec![shown(reader, section, &prefix(0), header(section))];
    }
    let one = |number| shown(reader, section, &prefix(number), format!("{} {}", section.header(), number + 1));
    (0..count).map(one).collect()
}

fn header(section: &Section) -> String {
    if section.name.is_empty() { "Before the first section".to_owned() } else { section.header() }
}

fn shown(reader: &ConfigReader<'_>, section: &'static Section, prefix: &str, header: String) -> SettingSection {
    let rows = section.keys.iter().map(|key| row(reader, key, prefix)).collect();
    SettingSection { header, about: section.about.to_owned(), rows }
}

fn row(reader: &ConfigReader<'_>, key: &ConfigKey, prefix: &str) -> SettingRow {
    let name = key.name.rsplit('.').next().unwrap_or_default();
    let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    let (value, source) = match reader.noted(&full) {
        Some((value, origin)) => (harmless(key, value), origin.map_or_else(|| "default".to_owned(), source)),
        None => (NOT_SET.to_owned(), String::new()),
    };
    SettingRow { key: name.to_owned(), value, source, about: example::about(key) }
}

/// What may be shown of a value. A secret's is only a word already.
fn harmless(key: &ConfigKey, value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // The path of an endpoint of the application's may be all that keeps others from calling it.
    if key.name == "notify.webhook.url" && host.len() < rest.len() {
        return format!("{scheme}://{host}/…");
    }
    if host.len() < authority.len() {
        format!("{scheme}://…@{host}{}", &rest[authority.len()..])
    } else {
        value.to_owned()
    }
}

/// An origin as the reader has it, in words.
fn source(origin: &str) -> String {
    let is_variable = origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match origin {
        origin if origin.starts_with("--") => format!("flag {origin}"),
        origin if is_variable => format!("variable {origin}"),
        origin => origin.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_said_in_words() {
        assert_eq!(source("TILLD_LOG"), "variable TILLD_LOG");
        assert_eq!(source("--database"), "flag --database");
        assert_eq!(source("/etc/tilld/config.toml:12"), "/etc/tilld/config.toml:12");
        assert_eq!(source("credential /run/x/api_token"), "credential /run/x/api_token");
    }

    #[test]
    fn a_url_shows_neither_a_login_nor_the_path_of_an_endpoint_of_the_applications() {
        let of = |name: &str, value: &str| {
            let key = CATALOG.keys().find(|key| key.name == name);
            key.map(|key| harmless(key, value)).unwrap_or_default()
        };
        assert_eq!(of("notify.webhook.url", "https://a.example:8443/hush?hush"), "https://a.example:8443/…");
        assert_eq!(of("notify.webhook.url", "https://a.example"), "https://a.example");
        assert_eq!(of("portal.return_url", "https://u:hush@a.example/b?c#d"), "https://…@a.example/b?c#d");
        assert_eq!(of("checkout.cancel_url", "https://a.example/@b"), "https://a.example/@b");
        assert_eq!(of("database", "tilld.db"), "tilld.db");
    }
}
