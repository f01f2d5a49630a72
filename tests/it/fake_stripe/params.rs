//! Parameters as Stripe reads them: decoded strictly, unknown ones refused, each mistake answered in Stripe's words.

use serde_json::{Map, Value, json};

/// An error answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub error: Value,
    /// The endpoint had begun: the answer is kept under the idempotency key.
    pub executed: bool,
}

pub type Answer = Result<Value, Refusal>;

impl Refusal {
    /// The parameters are at fault.
    pub fn invalid(code: &str, param: &str, message: &str) -> Self {
        let error = json!({ "type": "invalid_request_error", "code": code, "param": param, "message": message });
        Self { status: 400, error, executed: false }
    }

    /// The parameters are fine, what they speak of is not.
    pub fn state(code: &str, message: &str) -> Self {
        let error = json!({ "type": "invalid_request_error", "code": code, "message": message });
        Self { status: 400, error, executed: true }
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// 404 where the id stands in the path, 400 where it is a parameter.
    pub fn missing(kind: &str, id: &str, param: &str) -> Self {
        let status = if param == "id" { 404 } else { 400 };
        Self::invalid("resource_missing", param, &format!("No such {kind}: '{id}'")).with_status(status)
    }
}

/// A decoded form or query: maps with texts at the ends. Lists are maps named 0, 1, 2….
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Params(pub Value);

impl Params {
    /// Takes what Stripe takes and no more: `a[b][0]=c`, and `a[]=c` for the next of a list.
    pub fn decode(text: &str) -> Result<Self, String> {
        let mut root = Map::new();
        for pair in text.split('&').filter(|_| !text.is_empty()) {
            let (path, value) = pair.split_once('=').ok_or("a parameter without an equals sign")?;
            let names = names(path)?;
            let (last, parents) = names.split_last().ok_or("a parameter without a name")?;
            let mut place = &mut root;
            for name in parents {
                let inner = place.entry(name_in(place, name)).or_insert_with(|| Map::new().into());
                place = inner.as_object_mut().ok_or("a parameter is text and map")?;
            }
            if place.insert(name_in(place, last), percent_decoded(value)?.into()).is_some() {
                return Err(format!("{path} comes twice"));
            }
        }
        Ok(Self(root.into()))
    }

    fn at(&self, path: &str) -> Option<&Value> {
        path.split(['[', ']']).filter(|part| !part.is_empty()).try_fold(&self.0, |value, part| value.get(part))
    }

    pub fn has(&self, path: &str) -> bool {
        self.at(path).is_some()
    }

    /// A text that is not empty.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Given, but empty: to be unset.
    pub fn unset(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_str) == Some("")
    }

    pub fn int(&self, path: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(path) else { return Ok(None) };
        let wrong = || Refusal::invalid("parameter_invalid_integer", path, &format!("Invalid integer: {text}"));
        text.parse().map(Some).map_err(|_| wrong())
    }

    pub fn bool(&self, path: &str) -> Result<Option<bool>, Refusal> {
        match self.text(path) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(Refusal::invalid("parameter_invalid", path, &format!("Invalid boolean: {other}"))),
        }
    }

    /// One of the words, separated by `|`.
    pub fn word(&self, path: &str, words: &str) -> Result<Option<&str>, Refusal> {
        match self.text(path) {
            Some(word) if !words.split('|').any(|known| known == word) => {
                let message = format!("Invalid {path}: must be one of {words}");
                Err(Refusal::invalid("parameter_invalid", path, &message))
            }
            word => Ok(word),
        }
    }

    /// The members of a list, in order.
    pub fn list(&self, path: &str) -> Vec<Params> {
        let Some(Value::Object(map)) = self.at(path) else { return Vec::new() };
        let mut items: Vec<_> =
            map.iter().filter_map(|(name, item)| Some((name.parse::<usize>().ok()?, item))).collect();
        items.sort_by_key(|(index, _)| *index);
        items.into_iter().map(|(_, item)| Params(item.clone())).collect()
    }

    /// The texts of a list.
    pub fn texts(&self, path: &str) -> Vec<String> {
        self.list(path).iter().filter_map(|item| item.0.as_str().map(str::to_owned)).collect()
    }

    /// A map below.
    pub fn inner(&self, path: &str) -> Params {
        Params(self.at(path).cloned().unwrap_or_else(|| json!({})))
    }

    /// Nothing but these.
    pub fn only(&self, names: &[&str]) -> bool {
        self.0.as_object().into_iter().flatten().all(|(name, _)| names.contains(&name.as_str()))
    }

    /// The same with another.
    pub fn with(&self, name: &str, value: &str) -> Params {
        let mut params = self.0.clone();
        params[name] = json!(value);
        Params(params)
    }

    /// Refuses what is not in `known`: names with `#` for an index and `[*]` for anything below. `expand` always is.
    pub fn allow(&self, known: &str) -> Result<(), Refusal> {
        let mut leaves = Vec::new();
        leaves_of(&self.0, "", &mut leaves);
        for (path, empty) in leaves {
            let generic = generic(&path);
            let fits = |pattern: &str| match pattern.strip_suffix("[*]") {
                Some(start) => generic.strip_prefix(start).is_some_and(|rest| rest.starts_with('[')),
                None => generic == pattern,
            };
            let unset =
                |pattern: &str| empty && pattern.strip_prefix(&generic).is_some_and(|rest| rest.starts_with('['));
            if !known.split_whitespace().chain(["expand[#]"]).any(|pattern| fits(pattern) || unset(pattern)) {
                let message = format!("Received unknown parameter: {path}");
                return Err(Refusal::invalid("parameter_unknown", &path, &message));
            }
        }
        Ok(())
    }

    pub fn require(&self, names: &[&str]) -> Result<(), Refusal> {
        match names.iter().find(|name| !self.has(name) || self.unset(name)) {
            Some(name) => Err(Refusal::invalid("parameter_missing", name, &format!("Missing required param: {name}."))),
            None => Ok(()),
        }
    }

    pub fn exclusive(&self, names: &[&str]) -> Result<(), Refusal> {
        let given: Vec<_> = names.iter().filter(|name| self.has(name)).collect();
        if given.len() < 2 {
            return Ok(());
        }
        let message = format!("You may only specify one of these parameters: {}.", names.join(", "));
        Err(Refusal::invalid("parameters_exclusive", given[1], &message))
    }

    /// Lays `metadata` over that of an object; an empty value takes the key away, an empty `metadata` all.
    pub fn metadata(&self, path: &str, target: &mut Value) -> Result<(), Refusal> {
        if self.unset(path) || !target.is_object() {
            *target = json!({});
        }
        let Some(Value::Object(given)) = self.at(path) else { return Ok(()) };
        let Value::Object(kept) = target else { return Ok(()) };
        for (name, value) in given {
            let text = value.as_str().filter(|text| text.chars().count() <= 500 && name.chars().count() <= 40);
            let wrong = || Refusal::invalid("parameter_invalid", path, "Metadata: 40 characters a key, 500 a value");
            match text.ok_or_else(wrong)? {
                "" => kept.remove(name),
                text => kept.insert(name.clone(), text.into()),
            };
        }
        if kept.len() > 50 {
            return Err(Refusal::invalid("parameter_invalid", path, "Metadata can have 50 keys"));
        }
        Ok(())
    }
}

fn leaves_of(value: &Value, path: &str, found: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let inner_path = if path.is_empty() { name.clone() } else { format!("{path}[{name}]") };
                leaves_of(inner, &inner_path, found);
            }
        }
        text => found.push((path.to_owned(), text == "")),
    }
}

/// `items[3][price]` → `items[#][price]`.
fn generic(path: &str) -> String {
    let parts = path.split('[').map(|part| match part.strip_suffix(']') {
        Some(index) if index.bytes().all(|byte| byte.is_ascii_digit()) => "#]",
        _ => part,
    });
    parts.collect::<Vec<_>>().join("[")
}

fn name_in(place: &Map<String, Value>, name: &str) -> String {
    if name.is_empty() { place.len().to_string() } else { name.to_owned() }
}

/// `a[b][0]` → a, b, 0; `a[]` → a and an empty name. Brackets may be escaped.
fn names(path: &str) -> Result<Vec<String>, String> {
    let path = percent_decoded(&path.replace('[', "%5B").replace(']', "%5D"))?;
    let (first, rest) = path.split_at(path.find('[').unwrap_or(path.len()));
    let mut names = vec![first];
    if !rest.is_empty() {
        let inner = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or("an open bracket")?;
        names.extend(inner.split("]["));
    }
    if first.is_empty() || names.iter().any(|name| name.contains(['[', ']'])) {
        return Err(format!("the name {path:?}"));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Unreserved characters and upper-case escapes, nothing else.
fn percent_decoded(text: &str) -> Result<String, String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_lowercase());
                let byte = digit(*high).zip(digit(*low)).ok_or("a wrong escape")?;
                bytes.push(u8::try_from(byte.0 * 16 + byte.1).map_err(|_| "a wrong escape")?);
                rest = after;
            }
            (byte, _) if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => bytes.push(*byte),
            _ => return Err("a character that has to be escaped".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}
