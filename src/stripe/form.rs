//! Parameters of a call to Stripe as `application/x-www-form-urlencoded`, in the bracket notation of Stripe's own
//! libraries: `items[0][price]=price_1&metadata[user_id]=7`. Pure; must never sort, hash or draw anything: the same
//! parameters give the same bytes, for a repeated call carries the same bytes under the same idempotency key. For
//! bodies and, since GET and DELETE take their parameters there, for query strings. Called by `client`.
//!
//! Lists are always indexed, structural brackets stand as they are, a space is `%20`, and everything else outside
//! RFC 3986's unreserved set is percent-encoded, brackets within a value too. A key with an empty value unsets it.
//! Source: stripe-python 16.1 and stripe-node 23.1, run (reference/stripe-facts.md §5).

/// Deepest path: `flow_data[subscription_update_confirm][items][0][price]` has 5 parts, and Stripe has none over 6.
pub const MAX_DEPTH: usize = 8;
/// Parameters at most. Full metadata has 50, and nothing else comes near it.
pub const MAX_PARAMETERS: usize = 512;
/// Longest encoded form, in bytes. Full metadata, each character of four bytes encoded as twelve, has 324,000.
pub const MAX_BYTES: usize = 512 * 1024;
/// Keys of one `metadata` (Stripe's limit).
pub const MAX_METADATA_KEYS: usize = 50;
/// Characters of a key of `metadata` (Stripe's limit).
pub const MAX_METADATA_KEY_CHARS: usize = 40;
/// Characters of a value of `metadata` (Stripe's limit).
pub const MAX_METADATA_VALUE_CHARS: usize = 500;

/// Characters of a path that an error quotes.
const SHOWN_CHARS: usize = 120;
const METADATA: &str = "metadata";

/// Why parameters cannot be sent. The text names the field and never quotes a value: it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {field} {problem}")]
pub struct FormError {
    /// Path of the parameter, as Stripe's errors write it in `param`: `items[0][price]`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A name without a character.
    #[error("has an empty name")]
    EmptyName,
    /// A name that would be read as structure.
    #[error("has a bracket in its name, which would be read as nesting")]
    Bracket,
    /// Which of two would count is Stripe's guess.
    #[error("is given twice")]
    Repeated,
    /// A list item that would leave no trace and shift its neighbours.
    #[error("is an empty map or list within a list; leave it out")]
    EmptyItem,
    /// Over [`MAX_DEPTH`].
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Over [`MAX_PARAMETERS`].
    #[error("is one too many; {MAX_PARAMETERS} can be sent at once")]
    TooMany,
    /// Over [`MAX_BYTES`].
    #[error("makes the request longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Metadata is a flat map of texts, or empty to remove all of it.
    #[error("must be a flat map of texts (or empty, to remove all of it)")]
    MetadataShape,
    /// Over [`MAX_METADATA_KEYS`].
    #[error("has more than {MAX_METADATA_KEYS} keys, which Stripe does not take")]
    MetadataKeys,
    /// Over [`MAX_METADATA_KEY_CHARS`].
    #[error("has a name of more than {MAX_METADATA_KEY_CHARS} characters, which Stripe does not take in metadata")]
    MetadataKeyLength,
    /// Over [`MAX_METADATA_VALUE_CHARS`].
    #[error("has more than {MAX_METADATA_VALUE_CHARS} characters, which Stripe does not take in metadata")]
    MetadataValueLength,
}

/// A map of parameters, in the order in which they were put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormBody(Vec<(String, FormValue)>);

/// What a parameter can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormValue {
    /// A scalar as it is written; an empty one unsets the parameter.
    Text(String),
    /// Named parameters. An empty map writes nothing.
    Map(FormBody),
    /// Indexed from 0. An empty list writes nothing; to empty one at Stripe, [`FormBody::unset`] it.
    List(Vec<FormValue>),
}

impl FormBody {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    #[must_use]
    pub fn put(mut self, name: impl Into<String>, value: impl Into<FormValue>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// Adds a parameter if there is one.
    #[must_use]
    pub(crate) fn put_opt(self, name: impl Into<String>, value: Option<impl Into<FormValue>>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Adds a list: of scalars, of maps, of lists.
    #[must_use]
    pub fn list<V: Into<FormValue>>(self, name: impl Into<String>, items: impl IntoIterator<Item = V>) -> Self {
        self.put(name, FormValue::List(items.into_iter().map(Into::into).collect()))
    }

    /// Adds a map: `form.map("recurring", FormBody::new().put("interval", "month"))`.
    #[must_use]
    pub fn map(self, name: impl Into<String>, entries: FormBody) -> Self {
        self.put(name, entries)
    }

    /// Tells Stripe to remove a value (`pause_collection=`), as opposed to leaving it alone.
    #[must_use]
    pub fn unset(self, name: impl Into<String>) -> Self {
        self.put(name, "")
    }

    /// What was put, in its order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &FormValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// When Stripe would refuse or misread the parameters; the error names the first such field.
    pub fn encode(&self) -> Result<String, FormError> {
        let mut writer = Writer::default();
        writer.map(self)?;
        Ok(writer.out)
    }
}

impl<K: Into<String>, V: Into<FormValue>> FromIterator<(K, V)> for FormBody {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<FormBody> for FormValue {
    fn from(map: FormBody) -> Self {
        Self::Map(map)
    }
}

impl<V: Into<FormValue>> From<Vec<V>> for FormValue {
    fn from(items: Vec<V>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

macro_rules! scalars {
    ($($kind:ty),*) => {$(
        impl From<$kind> for FormValue {
            fn from(value: $kind) -> Self {
                Self::Text(value.to_string())
            }
        }
    )*};
}

// No floating point: Stripe takes money in whole minor units, and decimals as texts.
scalars!(&str, &String, String, bool, i32, i64, u32, u64);

impl FormValue {
    /// Whether nothing would be written for it.
    fn is_void(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Map(map) => map.0.iter().all(|(_, value)| value.is_void()),
            Self::List(items) => items.is_empty(),
        }
    }
}

/// Where in the tree, and what is written so far.
#[derive(Default)]
struct Writer<'a> {
    path: Vec<FormPart<'a>>,
    out: String,
    parameters: usize,
}

#[derive(Clone, Copy)]
enum FormPart<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Writer<'a> {
    fn map(&mut self, map: &'a FormBody) -> Result<(), FormError> {
        let mut names: Vec<&str> = map.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let repeated = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        for (name, value) in &map.0 {
            self.enter(FormPart::Name(name), value, |writer| match name.as_str() {
                "" => Err(writer.error(Problem::EmptyName)),
                name if name.contains(['[', ']']) => Err(writer.error(Problem::Bracket)),
                name if Some(name) == repeated => Err(writer.error(Problem::Repeated)),
                METADATA => writer.check_metadata(value),
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    fn list(&mut self, items: &'a [FormValue]) -> Result<(), FormError> {
        for (index, item) in items.iter().enumerate() {
            self.enter(FormPart::Index(index), item, |writer| {
                if item.is_void() { Err(writer.error(Problem::EmptyItem)) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    /// Writes what is at `part`, if it passes its check.
    fn enter(
        &mut self,
        part: FormPart<'a>,
        value: &'a FormValue,
        check: impl FnOnce(&mut Self) -> Result<(), FormError>,
    ) -> Result<(), FormError> {
        self.path.push(part);
        if self.path.len() > MAX_DEPTH {
            return Err(self.error(Problem::TooDeep));
        }
        check(self)?;
        match value {
            FormValue::Text(text) => self.parameter(text)?,
            FormValue::Map(map) => self.map(map)?,
            FormValue::List(items) => self.list(items)?,
        }
        self.path.pop();
        Ok(())
    }

    fn parameter(&mut self, text: &str) -> Result<(), FormError> {
        self.parameters += 1;
        if self.parameters > MAX_PARAMETERS {
            return Err(self.error(Problem::TooMany));
        }
        if !self.out.is_empty() {
            self.out.push('&');
        }
        write_path(&mut self.out, &self.path, write_encoded);
        self.out.push('=');
        write_encoded(&mut self.out, text);
        if self.out.len() > MAX_BYTES { Err(self.error(Problem::TooLong)) } else { Ok(()) }
    }

    /// Wherever Stripe takes `metadata`, its rules are the same.
    fn check_metadata(&mut self, value: &'a FormValue) -> Result<(), FormError> {
        let entries = match value {
            FormValue::Map(FormBody(entries)) => entries,
            FormValue::Text(text) if text.is_empty() => return Ok(()),
            _ => return Err(self.error(Problem::MetadataShape)),
        };
        if entries.len() > MAX_METADATA_KEYS {
            return Err(self.error(Problem::MetadataKeys));
        }
        for (name, value) in entries {
            self.path.push(FormPart::Name(name));
            let FormValue::Text(text) = value else { return Err(self.error(Problem::MetadataShape)) };
            if name.chars().count() > MAX_METADATA_KEY_CHARS {
                return Err(self.error(Problem::MetadataKeyLength));
            }
            if text.chars().count() > MAX_METADATA_VALUE_CHARS {
                return Err(self.error(Problem::MetadataValueLength));
            }
            self.path.pop();
        }
        Ok(())
    }

    fn error(&self, problem: Problem) -> FormError {
        let mut field = String::new();
        write_path(&mut field, &self.path, |out, name| out.extend(name.escape_debug()));
        // The beginning of a very long name is enough to find it by.
        let field = match field.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &field[..end]),
            None => field,
        };
        FormError { field, problem }
    }
}

/// `a[b][0]`, its names through `write_name`.
fn write_path(out: &mut String, path: &[FormPart], write_name: fn(&mut String, &str)) {
    for (depth, part) in path.iter().enumerate() {
        if depth > 0 {
            out.push('[');
        }
        match part {
            FormPart::Name(name) => write_name(out, name),
            FormPart::Index(index) => out.push_str(&index.to_string()),
        }
        if depth > 0 {
            out.push(']');
        }
    }
}

fn write_encoded(out: &mut String, text: &str) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let digits = [byte >> 4, byte & 0xF].map(|digit| DIGITS[usize::from(digit)]);
                out.extend(['%', digits[0], digits[1]]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
