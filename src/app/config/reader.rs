//! Reads one key after the other from flags, environment and file, and collects the faults. Must never put a secret into a
//! fault, nor know what a key means. Called by `sections`.

mod secrets;

use super::document::{self, DocumentValue, Entries};
use super::fault::{ConfigFault, Faults};
use super::keys::{self, ConfigKey, KeyCatalog};
use super::surroundings::{ConfigSources, DEV_CONFIG, Flags, ValueSource};
use crate::base::secret::shown;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) use secrets::SET;

/// The sources of a configuration, and the faults so far.
pub(super) struct ConfigReader<'a> {
    flags: &'a Flags,
    around: &'a ConfigSources,
    catalog: KeyCatalog,
    /// The name of the file, printed before a line number.
    file: String,
    entries: Entries,
    /// Where the value of a key was found, for faults that are found later.
    origins: BTreeMap<String, String>,
    /// What was read of each key, for people; of a secret only that it is set.
    noted: BTreeMap<String, String>,
    holds_secrets: bool,
    pub(super) faults: Vec<ConfigFault>,
}

impl<'a> ConfigReader<'a> {
    /// # Errors
    /// When the file is not TOML; then no other fault can be found.
    pub(super) fn new(
        flags: &'a Flags,
        around: &'a ConfigSources,
        source: Option<&ValueSource>,
        catalog: KeyCatalog,
    ) -> Result<Self, Faults> {
        let file = source.map_or_else(String::new, |source| source.path.display().to_string());
        let text = source.map_or("", |source| &source.text);
        let entries = document::parse(text).map_err(|error| {
            Faults(vec![ConfigFault {
                key: "config".to_owned(),
                origin: Some(format!("{file}:{}", error.line)),
                message: format!("not valid TOML: {}", error.message),
            }])
        })?;
        Ok(Self {
            flags,
            around,
            catalog,
            file,
            entries,
            origins: BTreeMap::new(),
            noted: BTreeMap::new(),
            holds_secrets: false,
            faults: Vec::new(),
        })
    }

    /// The flags, for values that are not text.
    pub(super) fn flags(&self) -> &'a Flags {
        self.flags
    }

    /// The environment of the process.
    pub(super) fn around(&self) -> &'a ConfigSources {
        self.around
    }

    /// Is it the file that `tilld dev` writes?
    pub(super) fn is_dev(&self) -> bool {
        Path::new(&self.file).file_name().is_some_and(|name| name == DEV_CONFIG)
    }

    /// Does this file itself hold a secret, and not only another file that it names?
    pub(super) fn holds_secrets(&self) -> bool {
        self.holds_secrets
    }

    /// Notes what is wrong with the value of a key.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(ConfigFault {
            key: key.to_owned(),
            origin: self.origins.get(key).cloned(),
            message: message.into(),
        });
    }

    /// The description of a key. A key that is read but not described is a mistake in this program, which every start shows.
    fn described(&mut self, key: &str) -> Option<&'static ConfigKey> {
        let found = self.catalog.find(key);
        if found.is_none() {
            self.fault(key, "is read but not described in config/sections: this is a bug in tilld");
        }
        found
    }

    fn default_text(&mut self, key: &str) -> Option<String> {
        match self.described(key)? {
            ConfigKey { value: keys::KeyValue::Text(text), is_default: true, .. } => {
                self.note(key, *text);
                Some((*text).to_owned())
            }
            _ => None,
        }
    }

    fn given_text(&mut self, key: &str) -> Option<String> {
        let in_file = self.text_in_file(key);
        let text = self.override_of(key).or(in_file)?.trim().to_owned();
        if text.is_empty() {
            self.fault(key, "is blank: give a value or remove it");
            return None;
        }
        self.note(key, text.as_str());
        Some(text)
    }

    /// Notes where the value of a key was found.
    pub(super) fn found_in(&mut self, key: &str, origin: impl Into<String>) {
        self.origins.insert(key.to_owned(), origin.into());
    }

    /// Notes what was read of a key, for people. It must never be given a secret.
    pub(super) fn note(&mut self, key: &str, value: impl Into<String>) {
        self.noted.insert(key.to_owned(), value.into());
    }

    /// What was read of a key, and where that was found; no place: it is the default.
    pub(super) fn noted(&self, key: &str) -> Option<(&str, Option<&str>)> {
        let value = self.noted.get(key)?;
        Some((value, self.origins.get(key).map(String::as_str)))
    }

    /// Whether anything was read of a block.
    pub(super) fn has_noted(&self, block: &str) -> bool {
        let inside = format!("{block}.");
        self.noted.keys().any(|key| key.starts_with(&inside))
    }

    /// Was anything wrong with this key or its `_file`?
    pub(super) fn has_fault(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| fault.key.starts_with(key))
    }

    /// A text, trimmed; if none is given, the default.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.given_text(key).or_else(|| self.default_text(key))
    }

    /// A text that `parse` turns into a value or a fault. Never `None` where there is a default.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.given_text(key).map(|text| parse(&text).map_err(|message| self.fault(key, message)));
        match given {
            Some(Ok(value)) => Some(value),
            _ => self.default_text(key).and_then(|text| parse(&text).ok()),
        }
    }

    /// The value that one of several words stands for.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.parsed(key, |text| {
            let chosen = choices.iter().find(|(word, _)| *word == text);
            chosen.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<String> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
                let (last, first) = words.split_last().map_or(("", &[][..]), |(last, first)| (last.as_str(), first));
                format!("must be {} or {last}, not {shown}", first.join(", "), shown = shown(text))
            })
        })
    }

    /// A whole number within its range, if one is given or there is a default.
    pub(super) fn optional_number(&mut self, key: &str) -> Option<i64> {
        let Some(ConfigKey { value: keys::KeyValue::Number { value, min, max }, is_default, .. }) = self.described(key)
        else {
            return None;
        };
        let default = is_default.then_some(*value);
        let in_file = self.integer_in_file(key);
        let found = match self.override_of(key) {
            Some(text) => self.integer_of_text(key, &text),
            None => in_file,
        };
        let Some(found) = found.or(default) else { return None };
        if (*min..=*max).contains(&found) {
            self.note(key, found.to_string());
            return Some(found);
        }
        self.fault(key, format!("must be from {min} to {max}, not {found}"));
        default
    }

    /// A number with a default, in a type that holds its whole range.
    pub(super) fn number<T: TryFrom<i64> + Default>(&mut self, key: &str) -> T {
        self.optional_number(key).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
    }

    /// True or false; false unless given.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        let flag = self.flag_given(key);
        self.note(key, flag.to_string());
        flag
    }

    fn flag_given(&mut self, key: &str) -> bool {
        let in_file = self.take(key);
        if let Some(text) = self.override_of(key) {
            return text.trim().parse().unwrap_or_else(|_| {
                self.fault(key, format!("must be true or false, not {shown}", shown = shown(&text)));
                false
            });
        }
        match in_file {
            None => false,
            Some(DocumentValue::Flag(flag)) => flag,
            Some(other) => {
                self.fault(key, format!("must be true or false, not {}", other.kind()));
                false
            }
        }
    }

    /// A list of texts, only from the file.
    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let texts = match self.take(key)? {
            DocumentValue::List(items) => items.into_iter().map(text_of).collect(),
            _ => None,
        };
        if texts.is_none() {
            self.fault(key, "must be a list of texts, as in [\"a\", \"b\"]");
        }
        texts
    }

    /// Notes a list.
    pub(super) fn note_list(&mut self, key: &str, texts: &[String]) {
        self.note(key, texts.join(", "));
    }

    /// A list of texts, trimmed; in an environment variable they are separated by commas. If none is given, the default.
    pub(super) fn list(&mut self, key: &str) -> Vec<String> {
        let in_file = self.texts(key);
        let given = match self.override_of(key) {
            Some(text) => Some(text.split(',').map(str::to_owned).collect()),
            None => in_file,
        };
        let default = match self.described(key) {
            Some(ConfigKey { value: keys::KeyValue::List(texts), is_default: true, .. }) => *texts,
            _ => &[],
        };
        let texts = given.unwrap_or_else(|| default.iter().map(|text| (*text).to_owned()).collect());
        let texts: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        self.note_list(key, &texts);
        texts
    }

    /// How many blocks the file has of an array of tables.
    pub(super) fn blocks(&self, section: &str) -> usize {
        let is_there = |number: &usize| {
            let block = format!("{section}[{number}]");
            let inside = format!("{block}.");
            let mut keys = self.entries.keys();
            keys.any(|key| *key == block || key.starts_with(&inside))
        };
        (0..).take_while(is_there).count()
    }

    /// Refuses what is left in the file when all keys have been read.
    pub(super) fn refuse_leftovers(&mut self) {
        for (key, entry) in std::mem::take(&mut self.entries) {
            let name = keys::without_numbers(&key);
            let section = name.rsplit_once('.').map_or("", |(section, _)| section);
            let message = if self.catalog.is_section(&name) {
                if entry.value.is_empty() {
                    continue;
                }
                format!("is a section: write its keys below a line {}", self.catalog.header(&name))
            } else if self.catalog.is_key(&name) {
                format!("belongs below a line {}: check the brackets", self.catalog.header(section))
            } else if let Some(nearest) = self.catalog.nearest(&name) {
                format!("is not a known key: did you mean {nearest}?")
            } else {
                "is not a known key: remove it; config.toml.example lists all keys".to_owned()
            };
            self.found_in(&key, format!("{}:{}", self.file, entry.line));
            self.fault(&key, message);
        }
    }

    /// Takes a value out of the file.
    fn take(&mut self, key: &str) -> Option<DocumentValue> {
        let entry = self.entries.remove(key)?;
        self.found_in(key, format!("{}:{}", self.file, entry.line));
        Some(entry.value)
    }

    fn text_in_file(&mut self, key: &str) -> Option<String> {
        let value = self.take(key)?;
        let kind = value.kind();
        let text = text_of(value);
        if text.is_none() {
            self.fault(key, format!("must be a text in \"quotes\", not {kind}"));
        }
        text
    }

    fn integer_in_file(&mut self, key: &str) -> Option<i64> {
        let value = self.take(key)?;
        if let DocumentValue::Integer(number) = value {
            return Some(number);
        }
        self.fault(key, format!("must be a whole number, not {}", value.kind()));
        None
    }

    fn integer_of_text(&mut self, key: &str, text: &str) -> Option<i64> {
        let number = text.trim().parse();
        let message = |_| self.fault(key, format!("must be a whole number, not {shown}", shown = shown(text)));
        number.map_err(message).ok()
    }

    fn variables_of(&self, key: &str) -> &'static [&'static str] {
        let known = self.catalog.find(key).filter(|_| has_environment(key));
        known.map_or(&[], |key| key.env)
    }

    /// The value from a flag, else from the environment.
    fn override_of(&mut self, key: &str) -> Option<String> {
        let flag = self.flags.value_of(key);
        let variable = || {
            let mut names = self.variables_of(key).iter();
            names.find_map(|name| Some((self.around.variable(name)?.to_owned(), *name)))
        };
        let (text, origin) = flag.or_else(variable)?;
        self.found_in(key, origin);
        Some(text)
    }
}

fn text_of(value: DocumentValue) -> Option<String> {
    match value {
        DocumentValue::Text(text) => Some(text),
        _ => None,
    }
}

/// Environment and credentials apply to all keys but those in later blocks of an array of tables.
fn has_environment(key: &str) -> bool {
    !key.contains('[') || key.contains("[0]")
}
