//! A body as a tree of names and values that fold. Whatever somebody sent, it must never become a page that no browser can
//! show: levels, lines and lengths have limits, and what is left out is said. Called by pages that show a body, a payload or an answer.

use serde_json::Value;

/// Levels that are shown. serde_json reads 128.
const MOST_LEVELS: usize = 20;
/// Values that are shown.
const MOST_LINES: usize = 2_000;
/// Characters of a value or a name that are shown.
const MOST_CHARS: usize = 500;
/// Characters of a text that is no JSON.
const MOST_RAW_CHARS: usize = 16_000;
/// Names whose values are unfolded: what one looks for is in them.
const UNFOLDED: [&str; 3] = ["data", "object", "previous_attributes"];

/// A step of writing the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TreeStep {
    /// A value that has values begins.
    Open { name: String, about: String, is_unfolded: bool },
    /// It ends.
    Close,
    /// A value.
    Leaf { name: String, value: String },
}

/// A body.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) steps: Vec<TreeStep>,
    /// Its text, where it is no JSON that can be read.
    pub(super) raw: Option<String>,
    /// Whether something was left out.
    pub(super) is_cut: bool,
    lines: usize,
}

impl Tree {
    pub(super) fn of(body: &str) -> Self {
        let mut tree = Self::default();
        match serde_json::from_str(body) {
            Ok(Value::Object(fields)) => fields.iter().for_each(|(name, value)| tree.add(name, value, 1)),
            Ok(value) => tree.add("body", &value, 1),
            Err(_) => {
                tree.is_cut = body.chars().nth(MOST_RAW_CHARS).is_some();
                tree.raw = Some(body.chars().take(MOST_RAW_CHARS).collect());
            }
        }
        tree
    }

    fn add(&mut self, name: &str, value: &Value, level: usize) {
        if self.lines >= MOST_LINES {
            self.is_cut = true;
            return;
        }
        self.lines += 1;
        let name = self.cut(name);
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                let children = fields.iter().map(|(name, value)| (name.clone(), value));
                self.branch((name, plural(fields.len(), "field")), children, level);
            }
            Value::Array(values) if !values.is_empty() => {
                let children = values.iter().enumerate().map(|(place, value)| (place.to_string(), value));
                self.branch((name, plural(values.len(), "value")), children, level);
            }
            Value::String(text) => {
                let value = self.cut(text);
                self.steps.push(TreeStep::Leaf { name, value: format!("\"{value}\"") });
            }
            other => self.steps.push(TreeStep::Leaf { name, value: other.to_string() }),
        }
    }

    fn branch<'a>(
        &mut self,
        (name, about): (String, String),
        children: impl Iterator<Item = (String, &'a Value)>,
        level: usize,
    ) {
        if level >= MOST_LEVELS {
            self.is_cut = true;
            self.steps.push(TreeStep::Leaf { name, value: format!("… {about}") });
            return;
        }
        let is_unfolded = UNFOLDED.contains(&name.as_str());
        self.steps.push(TreeStep::Open { name, about, is_unfolded });
        children.for_each(|(name, value)| self.add(&name, value, level + 1));
        self.steps.push(TreeStep::Close);
    }

    fn cut(&mut self, text: &str) -> String {
        match text.char_indices().nth(MOST_CHARS) {
            Some((at, _)) => {
                self.is_cut = true;
                format!("{}…", text.get(..at).unwrap_or_default())
            }
            None => text.to_owned(),
        }
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(tree: &Tree) -> (usize, isize) {
        let (mut most, mut now) = (0, 0_isize);
        for step in &tree.steps {
            now += match step {
                TreeStep::Open { .. } => 1,
                TreeStep::Close => -1,
                TreeStep::Leaf { .. } => 0,
            };
            most = most.max(now.unsigned_abs());
        }
        (most, now)
    }

    #[test]
    fn an_event_is_unfolded_down_to_its_object() {
        let tree = Tree::of(r#"{"id":"evt_1","data":{"object":{"id":"sub_1","items":[1]}},"request":{"id":null}}"#);
        let unfolded: Vec<(&str, bool)> = tree
            .steps
            .iter()
            .filter_map(|step| match step {
                TreeStep::Open { name, is_unfolded, .. } => Some((name.as_str(), *is_unfolded)),
                _ => None,
            })
            .collect();
        assert_eq!(unfolded, [("data", true), ("object", true), ("items", false), ("request", false)]);
        assert!(!tree.is_cut && tree.raw.is_none());
        assert_eq!(depth(&tree), (3, 0));
    }

    #[test]
    fn wide_deep_and_long_bodies_are_cut_and_say_so() {
        let wide = format!("[{}]", vec!["1"; 50_000].join(","));
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let long = format!("{{\"{0}\":\"{0}\"}}", "x".repeat(100_000));
        for body in [wide, deep, long] {
            let tree = Tree::of(&body);
            assert!(tree.is_cut);
            assert!(tree.steps.len() <= 2 * MOST_LINES);
            assert!(depth(&tree).0 < MOST_LEVELS && depth(&tree).1 == 0);
        }
    }

    #[test]
    fn what_is_no_json_or_deeper_than_can_be_read_is_shown_as_text() {
        assert_eq!(Tree::of("no json").raw.as_deref(), Some("no json"));
        let deepest = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
        let tree = Tree::of(&deepest);
        assert!(tree.is_cut && tree.raw.is_some_and(|raw| raw.len() == MOST_RAW_CHARS));
    }
}
