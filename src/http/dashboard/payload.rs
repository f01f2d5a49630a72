//! JSON as a tree for people: nested lists of names and values, bounded in depth and number, without a word that opens
//! something. A template goes through the steps in order and need not call itself. It must never show what
//! [`is_hidden`] names: whoever has it could act in somebody's name. Called by pages that show a payload or an answer.

use serde_json::Value;

use super::view;

/// Steps that a tree has at most; a payload of the outbox has some dozens.
const MAX_STEPS: usize = 2000;
/// Levels that are shown.
const MAX_DEPTH: usize = 12;
/// Values whose name ends like this open a page or an account for whoever knows them.
const HIDDEN_ENDINGS: [&str; 6] = ["secret", "url", "token", "password", "_pdf", "cvc"];
/// What stands in the place of such a value.
const HIDDEN: &str = "(not shown)";

/// One step through a tree.
pub(super) enum TreeStep {
    /// A name and its value.
    Value(String, String),
    /// A name with more below it.
    Open(String),
    /// The end of what is below.
    Close,
}

/// Which values are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TreeShows {
    /// All of them.
    Everything,
    /// Those that open nothing.
    NothingThatOpens,
}

/// A JSON text as a tree; a text that is no JSON is its only value.
pub(super) fn tree(text: &str, shows: TreeShows) -> Vec<TreeStep> {
    let mut steps = Vec::new();
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => below(&value, (shows, 0), &mut steps),
        Ok(value) => steps.push(TreeStep::Value("value".to_owned(), shown(&value))),
        Err(_) => steps.push(TreeStep::Value("text".to_owned(), view::cut(text))),
    }
    steps
}

/// Whether a value of that name would open something.
pub(super) fn is_hidden(name: &str) -> bool {
    let name = name.trim_end_matches(']').to_ascii_lowercase();
    HIDDEN_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What is shown of a value in the place of one that opens something.
pub(super) fn hidden() -> String {
    HIDDEN.to_owned()
}

fn below(value: &Value, (shows, depth): (TreeShows, usize), steps: &mut Vec<TreeStep>) {
    let named: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(place, value)| (place.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in named {
        if steps.len() >= MAX_STEPS {
            steps.push(TreeStep::Value("…".to_owned(), "more than is shown".to_owned()));
            return;
        }
        let is_hidden = shows == TreeShows::NothingThatOpens && !value.is_null() && is_hidden(&name);
        match value {
            _ if is_hidden => steps.push(TreeStep::Value(name, hidden())),
            Value::Object(fields) if !fields.is_empty() && depth < MAX_DEPTH => {
                open(name, value, (shows, depth), steps)
            }
            Value::Array(items) if !items.is_empty() && depth < MAX_DEPTH => open(name, value, (shows, depth), steps),
            value => steps.push(TreeStep::Value(name, shown(value))),
        }
    }
}

fn open(name: String, value: &Value, (shows, depth): (TreeShows, usize), steps: &mut Vec<TreeStep>) {
    steps.push(TreeStep::Open(name));
    below(value, (shows, depth + 1), steps);
    steps.push(TreeStep::Close);
}

fn shown(value: &Value) -> String {
    match value {
        // A client secret is known by its middle, whatever its field is called.
        Value::String(text) if text.contains("_secret_") => hidden(),
        Value::String(text) => view::cut(text),
        value => view::cut(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str, shows: TreeShows) -> Vec<String> {
        let step = |step: TreeStep| match step {
            TreeStep::Value(name, value) => format!("{name}={value}"),
            TreeStep::Open(name) => format!("{name}("),
            TreeStep::Close => ")".to_owned(),
        };
        tree(text, shows).into_iter().map(step).collect()
    }

    #[test]
    fn what_opens_is_shown_only_where_it_is_asked_for() {
        let text =
            r#"{"id":"cs_1","client_secret":"abc","a":{"hosted_invoice_url":"https://x","b":[1,null]},"url":null}"#;
        let hidden =
            ["a(", "b(", "0=1", "1=null", ")", "hosted_invoice_url=(not shown)", ")", "client_secret=(not shown)"];
        assert_eq!(flat(text, TreeShows::NothingThatOpens)[..8], hidden);
        assert!(flat(text, TreeShows::Everything).contains(&"client_secret=abc".to_owned()));
        assert!(is_hidden("payment_method_data[card][cvc]") && !is_hidden("metadata[user_id]"));
    }

    #[test]
    fn a_tree_is_bounded_in_depth_and_number() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(flat(&deep, TreeShows::Everything).len() <= 2 * MAX_DEPTH + 1);
        let wide = format!("[{}1]", "1,".repeat(10_000));
        assert_eq!(flat(&wide, TreeShows::Everything).len(), MAX_STEPS + 1);
        assert_eq!(flat("no json", TreeShows::Everything), ["text=no json"]);
    }
}
