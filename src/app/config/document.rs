//! The text of a configuration file as a flat map from dotted key to value and line. Must never
//! know which keys there are, and never quote the text: it may hold secrets. Called by the reader.

use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// By dotted key; a block of an array of tables has its number in the key, as in `plan[0].tier`.
pub(super) type Entries = BTreeMap<String, DocumentEntry>;

/// A value and the line that it starts on, counted from 1.
pub(super) struct DocumentEntry {
    pub(super) line: usize,
    pub(super) value: DocumentValue,
}

/// What a value can be here.
pub(super) enum DocumentValue {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<DocumentValue>),
    /// A section or block without keys.
    Empty,
    /// Of a type that no key has, by its name.
    Other(&'static str),
}

impl DocumentValue {
    /// Is it a section without content? A blank text is not.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The type with its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Empty => "a section",
            Self::Other(kind) => kind,
        }
    }
}

/// The file is not TOML.
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Reads TOML.
pub(super) fn parse(text: &str) -> Result<Entries, SyntaxError> {
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| SyntaxError {
        line: line_of(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', " "),
    })?;
    let mut entries = Entries::new();
    flatten("", table.get_ref(), &line_of, &mut entries);
    Ok(entries)
}

fn flatten(prefix: &str, table: &DeTable<'_>, line_of: &impl Fn(usize) -> usize, into: &mut Entries) {
    for (name, value) in table {
        let key = format!("{prefix}{}", quoted_if_needed(name.get_ref()));
        let line = line_of(name.span().start);
        match value.get_ref() {
            DeValue::Table(table) => flatten_section(key, line, table, line_of, into),
            DeValue::Array(blocks) if blocks.iter().any(|block| block.get_ref().is_table()) => {
                for (number, block) in blocks.iter().enumerate() {
                    let key = format!("{key}[{number}]");
                    let line = line_of(block.span().start);
                    match block.get_ref() {
                        DeValue::Table(table) => flatten_section(key, line, table, line_of, into),
                        other => drop(into.insert(key, DocumentEntry { line, value: value_of(other) })),
                    }
                }
            }
            other => drop(into.insert(key, DocumentEntry { line, value: value_of(other) })),
        }
    }
}

fn flatten_section(
    key: String,
    line: usize,
    table: &DeTable<'_>,
    line_of: &impl Fn(usize) -> usize,
    into: &mut Entries,
) {
    if table.is_empty() {
        into.insert(key, DocumentEntry { line, value: DocumentValue::Empty });
    } else {
        flatten(&format!("{key}."), table, line_of, into);
    }
}

/// A quoted key with a dot or bracket in it must not pass for a path.
fn quoted_if_needed(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("{name:?}")
}

fn value_of(value: &DeValue<'_>) -> DocumentValue {
    match value {
        DeValue::String(text) => DocumentValue::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(DocumentValue::Other("a number beyond 64 bits"), DocumentValue::Integer),
        DeValue::Array(items) => DocumentValue::List(items.iter().map(|item| value_of(item.get_ref())).collect()),
        DeValue::Float(_) => DocumentValue::Other("a number with a fraction"),
        DeValue::Boolean(flag) => DocumentValue::Flag(*flag),
        DeValue::Datetime(_) => DocumentValue::Other("a date"),
        DeValue::Table(_) => DocumentValue::Other("a section"),
    }
}
