//! What must hold of the form encoder, whatever the tree. The input is read as a tree (`Source`) and, as it is, by
//! the strict decoder below, which the tests' fake Stripe can use, too.
//!
//! On the wire a list and a map with the names 0, 1, 2… are the same; the decoder gives maps for both.

use serde_json::{Map, Value as Json};
use tilld::stripe::form::{self, FormBody, FormValue, Problem};

pub fn check(input: &[u8]) {
    let tree = Source(input).map(0);
    check_tree(tree);
    let text = String::from_utf8_lossy(input);
    if let Ok(read) = decode(&text) {
        // What the decoder takes, the encoder can have written: it is read again from what is written of it.
        let again = to_form(&read);
        if let Ok(bytes) = again.encode() {
            assert_eq!(decode(&bytes).as_ref(), Ok(&read));
        }
    }
}

fn check_tree(tree: FormBody) {
    let root = FormValue::Map(tree.clone());
    let facts = Facts::of(&root);
    let bytes = match tree.encode() {
        Ok(bytes) => bytes,
        Err(error) => {
            assert!(facts.allows(error.problem), "{error}");
            assert!(error.field.chars().count() <= 121 && !error.field.chars().any(char::is_control));
            return;
        }
    };
    assert!(!facts.must_be_refused(), "{bytes}");
    assert_eq!(Ok(&bytes), tree.encode().as_ref(), "the same parameters give the same bytes");
    assert!(bytes.len() <= form::MAX_BYTES);
    assert!(bytes.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%[]=&".contains(&byte)), "{bytes}");
    let pairs: Vec<&str> = bytes.split('&').filter(|pair| !pair.is_empty()).collect();
    assert_eq!(pairs.len(), facts.parameters);
    assert!(pairs.iter().all(|pair| pair.matches('=').count() == 1), "{bytes}");
    assert_eq!(decode(&bytes), Ok(canonical(&root)), "{bytes}");
    let mut expected = Vec::new();
    texts(&root, &mut expected);
    let written: Vec<_> = pairs.iter().map(|pair| percent_decoded(pair.split_once('=').expect("one").1)).collect();
    assert_eq!(written, expected.into_iter().map(Ok).collect::<Vec<_>>(), "in the order of putting");
}

/// The scalars of a tree in its order.
fn texts(value: &FormValue, found: &mut Vec<String>) {
    match value {
        FormValue::Text(text) => found.push(text.clone()),
        FormValue::Map(map) => map.entries().for_each(|(_, value)| texts(value, found)),
        FormValue::List(items) => items.iter().for_each(|value| texts(value, found)),
    }
}

fn leaves_no_trace(value: &FormValue) -> bool {
    match value {
        FormValue::Text(_) => false,
        FormValue::Map(map) => map.entries().all(|(_, value)| leaves_no_trace(value)),
        FormValue::List(items) => items.iter().all(leaves_no_trace),
    }
}

/// A tree as the wire shows it: lists are maps, and what is empty is not there.
fn canonical(value: &FormValue) -> Json {
    let entry = |name: String, value: &FormValue| match canonical(value) {
        Json::Object(map) if map.is_empty() => None,
        value => Some((name, value)),
    };
    match value {
        FormValue::Text(text) => Json::String(text.clone()),
        FormValue::Map(map) => {
            map.entries().filter_map(|(name, value)| entry(name.to_owned(), value)).collect::<Map<_, _>>().into()
        }
        FormValue::List(items) => {
            let items = items.iter().enumerate();
            items.filter_map(|(index, value)| entry(index.to_string(), value)).collect::<Map<_, _>>().into()
        }
    }
}

fn to_form(map: &Json) -> FormBody {
    let value = |value: &Json| match value {
        Json::Object(_) => FormValue::Map(to_form(value)),
        text => FormValue::Text(text.as_str().unwrap_or_default().to_owned()),
    };
    map.as_object().into_iter().flatten().map(|(name, inner)| (name.clone(), value(inner))).collect()
}

/// What is true of a tree, found out in another way than the encoder's.
#[derive(Default)]
struct Facts {
    depth: usize,
    parameters: usize,
    /// At most.
    bytes: usize,
    bad_name: bool,
    empty_name: bool,
    repeated: bool,
    empty_item: bool,
    metadata: bool,
}

impl Facts {
    fn of(value: &FormValue) -> Self {
        let mut facts = Self::default();
        facts.visit(value, 0, 0);
        facts
    }

    /// `above`: bytes of the path, at most.
    fn visit(&mut self, value: &FormValue, depth: usize, above: usize) {
        // An escape, brackets, an index.
        let path = |name: usize| above + 3 * name + 8;
        self.depth = self.depth.max(depth);
        match value {
            FormValue::Text(text) => {
                self.parameters += 1;
                self.bytes += path(text.len());
            }
            FormValue::Map(map) => {
                let mut seen = std::collections::HashSet::new();
                for (name, value) in map.entries() {
                    self.empty_name |= name.is_empty();
                    self.bad_name |= name.contains('[') || name.contains(']');
                    self.repeated |= !seen.insert(name);
                    self.metadata |= name == "metadata" && !is_metadata(value);
                    self.visit(value, depth + 1, path(name.len()));
                }
            }
            FormValue::List(items) => {
                for value in items {
                    self.empty_item |= leaves_no_trace(value);
                    self.visit(value, depth + 1, path(0));
                }
            }
        }
    }

    fn must_be_refused(&self) -> bool {
        let broken = self.bad_name || self.empty_name || self.repeated || self.empty_item || self.metadata;
        broken || self.depth > form::MAX_DEPTH || self.parameters > form::MAX_PARAMETERS
    }

    fn allows(&self, problem: Problem) -> bool {
        match problem {
            Problem::EmptyName => self.empty_name,
            Problem::Bracket => self.bad_name,
            Problem::Repeated => self.repeated,
            Problem::EmptyItem => self.empty_item,
            Problem::TooDeep => self.depth > form::MAX_DEPTH,
            Problem::TooMany => self.parameters > form::MAX_PARAMETERS,
            Problem::TooLong => self.bytes > form::MAX_BYTES,
            Problem::MetadataShape
            | Problem::MetadataKeys
            | Problem::MetadataKeyLength
            | Problem::MetadataValueLength => self.metadata,
        }
    }
}

fn is_metadata(value: &FormValue) -> bool {
    match value {
        FormValue::Text(text) => text.is_empty(),
        FormValue::List(_) => false,
        FormValue::Map(map) => {
            map.entries().count() <= form::MAX_METADATA_KEYS
                && map.entries().all(|(name, value)| {
                    let fits = |value: &FormValue| matches!(value, FormValue::Text(text) if text.chars().count() <= form::MAX_METADATA_VALUE_CHARS);
                    name.chars().count() <= form::MAX_METADATA_KEY_CHARS && fits(value)
                })
        }
    }
}

/// Bytes read as a tree: a byte says what comes, texts end with a newline, an odd byte ends a map or list.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        // Repetition reaches the limits from short inputs.
        match text.strip_prefix('*') {
            Some(text) if text.len() <= 16 => text.repeat(64),
            _ => text,
        }
    }

    /// At most so deep: beyond the limit, but no deeper than the stack.
    fn map(&mut self, depth: usize) -> FormBody {
        let mut map = FormBody::new();
        while let Some(kind) = self.byte().filter(|kind| *kind != b'}') {
            let name = self.text();
            map = map.put(name, self.value(kind, depth));
        }
        map
    }

    fn value(&mut self, kind: u8, depth: usize) -> FormValue {
        match kind {
            b'{' if depth < 12 => FormValue::Map(self.map(depth + 1)),
            b'[' if depth < 12 => {
                let mut items = Vec::new();
                while let Some(kind) = self.byte().filter(|kind| *kind != b']') {
                    items.push(self.value(kind, depth + 1));
                }
                FormValue::List(items)
            }
            // Seldom many: they reach the limit, and cost time.
            b'#' => {
                let count = self.byte().map_or(0, |byte| if byte > 0xF0 { byte } else { byte % 8 });
                FormValue::List(vec![FormValue::from("x"); usize::from(count)])
            }
            b'!' => FormValue::from(self.byte().unwrap_or_default() & 1 == 0),
            b'1' => FormValue::from(i64::from(self.byte().unwrap_or_default()) - 128),
            _ => FormValue::from(self.text()),
        }
    }
}

/// Reads a form back, taking nothing that the encoder does not write.
///
/// # Errors
/// What is wrong, for the test's message.
pub fn decode(text: &str) -> Result<Json, String> {
    let mut root = Map::new();
    if text.is_empty() {
        return Ok(root.into());
    }
    for pair in text.split('&') {
        let (path, value) = pair.split_once('=').ok_or("a parameter without an equals sign")?;
        let names = names(path)?;
        let (last, parents) = names.split_last().ok_or("a parameter without a name")?;
        let mut place = &mut root;
        for name in parents {
            let inner = place.entry(name.clone()).or_insert_with(|| Map::new().into());
            place = inner.as_object_mut().ok_or("a parameter is text and map")?;
        }
        if place.insert(last.clone(), percent_decoded(value)?.into()).is_some() {
            return Err(format!("{path} comes twice"));
        }
    }
    Ok(root.into())
}

/// `a[b][0]` → a, b, 0.
fn names(path: &str) -> Result<Vec<String>, String> {
    let (first, rest) = path.split_at(path.find('[').unwrap_or(path.len()));
    let mut names = vec![first];
    if !rest.is_empty() {
        let inner = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or("an open bracket")?;
        names.extend(inner.split("]["));
    }
    let read = |name: &str| match percent_decoded(name)? {
        name if name.is_empty() || name.contains(['[', ']']) => Err(format!("the name {name:?}")),
        name => Ok(name),
    };
    names.into_iter().map(read).collect()
}

/// Unreserved characters and upper-case escapes of others, nothing else.
fn percent_decoded(text: &str) -> Result<String, String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let lower = digits.iter().any(u8::is_ascii_lowercase);
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.starts_with('+'));
                let byte = digits.filter(|_| !lower).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.filter(|byte| !unreserved(byte)).ok_or("a wrong escape")?);
                rest = after;
            }
            (byte, _) if unreserved(byte) => bytes.push(*byte),
            _ => return Err("a character that has to be escaped".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}
