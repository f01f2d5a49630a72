//! What a key of the configuration is: name, type, default, range, environment variables, systemd credential and the words
//! of the example. The keys themselves stand in `sections`, each beside the code that reads it. Must never read a value.
//! Used by the reader and by `example`.

use strsim::levenshtein;

/// A section of the file, with all of its keys.
pub(super) struct Section {
    /// Dotted; empty for the keys before the first section.
    pub(super) name: &'static str,
    pub(super) form: KeyForm,
    /// What stands above it in the example.
    pub(super) about: &'static str,
    /// In the order of the example.
    pub(super) keys: &'static [ConfigKey],
}

/// How often a section stands in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyForm {
    Once,
    /// An array of tables. Environment variables and credentials speak of its first block.
    Repeated,
    /// The same, and the example leaves it out.
    RepeatedOrNone,
}

/// One key of the configuration.
pub(super) struct ConfigKey {
    /// Dotted, without the numbers of blocks.
    pub(super) name: &'static str,
    pub(super) value: KeyValue,
    /// Is the value what counts if nobody gives one? Otherwise it is an example.
    pub(super) is_default: bool,
    /// Environment variables, the stronger first.
    pub(super) env: &'static [&'static str],
    /// The file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), "Credentials"). Only secrets have one, and a second form of
    /// their key, `<key>_file`.
    pub(super) credential: Option<&'static str>,
    /// What the example says of it; `{range}` stands for the ends of a number's range.
    pub(super) about: &'static str,
}

/// The type of a key, with its default or an example.
pub(super) enum KeyValue {
    Text(&'static str),
    Number { value: i64, min: i64, max: i64 },
    Flag,
    List(&'static [&'static str]),
}

/// A text with a default.
pub(super) const fn text(name: &'static str, default: &'static str) -> ConfigKey {
    key(name, KeyValue::Text(default), true)
}

/// A whole number with a default, and its least and its greatest value.
pub(super) const fn number(name: &'static str, value: i64, (min, max): (i64, i64)) -> ConfigKey {
    key(name, KeyValue::Number { value, min, max }, true)
}

/// True or false; false if nobody says.
pub(super) const fn flag(name: &'static str) -> ConfigKey {
    key(name, KeyValue::Flag, true)
}

/// Texts; in a variable they are separated by commas.
pub(super) const fn list(name: &'static str, default: &'static [&'static str]) -> ConfigKey {
    key(name, KeyValue::List(default), true)
}

/// One secret.
pub(super) const fn secret(name: &'static str, example: &'static str, credential: &'static str) -> ConfigKey {
    ConfigKey { credential: Some(credential), ..key(name, KeyValue::Text(example), false) }
}

/// Several secrets.
pub(super) const fn secrets(
    name: &'static str,
    example: &'static [&'static str],
    credential: &'static str,
) -> ConfigKey {
    ConfigKey { credential: Some(credential), ..key(name, KeyValue::List(example), false) }
}

const fn key(name: &'static str, value: KeyValue, is_default: bool) -> ConfigKey {
    ConfigKey { name, value, is_default, env: &[], credential: None, about: "" }
}

impl ConfigKey {
    /// Its value is an example; without one given there is none.
    pub(super) const fn no_default(self) -> Self {
        Self { is_default: false, ..self }
    }

    pub(super) const fn env(self, env: &'static [&'static str]) -> Self {
        Self { env, ..self }
    }

    pub(super) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }
}

impl Section {
    pub(super) const fn once(name: &'static str, about: &'static str, keys: &'static [ConfigKey]) -> Self {
        Self { name, form: KeyForm::Once, about, keys }
    }

    /// The line that opens it.
    pub(super) fn header(&self) -> String {
        match self.form {
            KeyForm::Once => format!("[{}]", self.name),
            KeyForm::Repeated | KeyForm::RepeatedOrNone => format!("[[{}]]", self.name),
        }
    }
}

/// Sets all plans at once: `pro:price_a,price_b;team:price_c`.
pub(super) const PLANS_ENV: &str = "TILLD_PLANS";
/// How the names of all our variables begin.
const OUR_ENV: &str = "TILLD_";
/// Names the file; it is no key of it.
const CONFIG_ENV: &str = "TILLD_CONFIG";

/// All sections, in the order of the example.
#[derive(Clone, Copy)]
pub(super) struct KeyCatalog(pub(super) &'static [&'static Section]);

impl KeyCatalog {
    /// Every key there is.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static ConfigKey> {
        self.0.iter().flat_map(|section| section.keys)
    }

    /// The description of a key, with or without the numbers of its blocks.
    pub(super) fn find(self, key: &str) -> Option<&'static ConfigKey> {
        let name = without_numbers(key);
        self.keys().find(|known| known.name == name)
    }

    /// Is this a key of a file? `<key>_file` of a secret is one, too.
    pub(super) fn is_key(self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }

    /// Do keys stand under this name?
    pub(super) fn is_section(self, name: &str) -> bool {
        self.keys().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    /// How a section is opened in the file.
    pub(super) fn header(self, section: &str) -> String {
        let known = self.0.iter().find(|known| known.name == section);
        known.map_or_else(|| format!("[{section}]"), |known| known.header())
    }

    fn names(self) -> impl Iterator<Item = String> {
        self.keys().flat_map(|key| {
            let file = key.credential.map(|_| format!("{}_file", key.name));
            std::iter::once(key.name.to_owned()).chain(file)
        })
    }

    /// The key that was probably meant: the same name in another section, else the nearest spelling.
    pub(super) fn nearest(self, unknown: &str) -> Option<String> {
        let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
        self.names().find(|name| last(name) == last(unknown)).or_else(|| {
            self.names()
                .map(|name| (levenshtein(unknown, &name), name))
                .filter(|(edits, _)| *edits <= 3 && edits * 2 <= unknown.len())
                .min()
                .map(|(_, name)| name)
        })
    }

    /// For a variable that looks like one of ours and is not: the nearest that there is.
    pub(super) fn nearest_variable(self, unknown: &str) -> Option<&'static str> {
        let known = || self.keys().flat_map(|key| key.env).copied().chain([PLANS_ENV, CONFIG_ENV]);
        if !unknown.starts_with(OUR_ENV) || known().any(|name| name == unknown) {
            return None;
        }
        known().filter(|name| name.starts_with(OUR_ENV)).min_by_key(|name| levenshtein(unknown, name))
    }
}

/// A key as it stands in a file without the numbers of its blocks: `plan[1].tier` → `plan.tier`.
pub(super) fn without_numbers(key: &str) -> String {
    let mut outside = true;
    key.chars()
        .filter(|c| {
            let keep = outside && *c != '[';
            outside = *c == ']' || keep;
            keep
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_blocks_are_taken_out_of_a_key() {
        assert_eq!(without_numbers("a[0].b[12].c"), "a.b.c");
        assert_eq!(without_numbers("listen.public"), "listen.public");
    }
}
