//! The operator's own templates, which replace ours: `<kind>.subject.txt`, `<kind>.txt`, `<kind>.html` in the folder
//! `notify.templates`. All are read and checked when the mailer is made, so a mistake is found at start and never in a mail.
//!
//! Their language is Jinja's, by `minijinja`, with nothing but facts in it: no filters, no functions, no other files. A name
//! that is not a placeholder is refused at start wherever it is used; and since a condition may hide a fault, each template
//! is filled in once with all facts, once with none, and with each of them alone and left out. A value is always escaped in
//! `.html`.
//! Called by `mail`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Output, State, Value};

use crate::notify::notice::MailKind;
use crate::notify::notice::letter::LetterValues;

/// What a template may show. `docs/notices.md` says what each is.
pub const PLACEHOLDERS: [&str; 30] = [
    "amount",
    "attempt",
    "currency",
    "date",
    "dispute_id",
    "due_date",
    "endpoint",
    "error",
    "event_id",
    "event_type",
    "evidence_due_by",
    "failed_at",
    "grace_period_end",
    "greeting",
    "heading",
    "interval",
    "invoice_id",
    "invoice_number",
    "invoice_pdf",
    "next_attempt",
    "product",
    "reason",
    "settled_at",
    "subject",
    "tier",
    "tier_now",
    "trial_end",
    "url",
    "user_id",
    "user_name",
];

/// The longest template.
const MAX_BYTES: u64 = 200_000;
/// Steps in which a mail is filled in at most, so that loops within loops hold nobody up.
const MAX_STEPS: u64 = 500_000;

/// The parts of a mail that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TemplatePart {
    Subject,
    Text,
    Html,
}

const ENDINGS: [(TemplatePart, &str); 3] =
    [(TemplatePart::Subject, ".subject.txt"), (TemplatePart::Text, ".txt"), (TemplatePart::Html, ".html")];

/// The operator's own templates.
#[derive(Debug)]
pub(super) struct MailOverrides {
    templates: Environment<'static>,
    found: BTreeSet<(MailKind, TemplatePart)>,
}

impl Default for MailOverrides {
    fn default() -> Self {
        let mut templates = Environment::empty();
        templates.set_formatter(format);
        templates.set_fuel(Some(MAX_STEPS));
        if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
            templates.set_syntax(syntax);
        }
        Self { templates, found: BTreeSet::new() }
    }
}

impl MailOverrides {
    /// Reads a folder. Files that end neither in `.txt` nor in `.html` are ignored.
    ///
    /// # Errors
    /// All that is wrong with it, each with its file.
    pub(super) fn read(folder: &Path) -> Result<Self, Vec<String>> {
        let unreadable =
            |error: std::io::Error| vec![format!("notify.templates: {} cannot be read: {error}", folder.display())];
        let (mut found, mut faults) = (Self::default(), Vec::new());
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_template = name.ends_with(".txt") || name.ends_with(".html");
            if !is_template || name.starts_with('.') {
                continue;
            }
            if let Err(message) = template(&path, &name).and_then(|(key, text)| found.add(key, text)) {
                faults.push(format!("notify.templates: {}{message}", path.display()));
            }
        }
        faults.sort();
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }

    /// Adds a template, checked. The error begins with the line's number.
    fn add(&mut self, (kind, part): (MailKind, TemplatePart), text: String) -> Result<(), String> {
        let unknown = |(line, name): (usize, String)| {
            format!(":{line}: there is no placeholder {name:?}; there are {}", PLACEHOLDERS.join(", "))
        };
        let name = file_name(kind, part);
        self.templates.add_template_owned(name.clone(), text.clone()).map_err(|error| fault(&error))?;
        let template = self.templates.get_template(&name).map_err(|error| fault(&error))?;
        let mut names = template.undeclared_variables(false);
        names.retain(|name| !PLACEHOLDERS.contains(&name.as_str()));
        if let Some(first) = names.into_iter().map(|name| (line_of(&text, &name), name)).min() {
            return Err(unknown(first));
        }
        for values in samples() {
            template.render(context(&values)).map_err(|error| fault(&error))?;
        }
        self.found.insert((kind, part));
        Ok(())
    }

    /// A part of a mail by the operator's own template; `None`: there is no such template, or it has failed in spite of all
    /// checks, so ours is used.
    pub(super) fn fill(&self, kind: MailKind, part: TemplatePart, values: &LetterValues) -> Option<String> {
        if !self.found.contains(&(kind, part)) {
            return None;
        }
        let name = file_name(kind, part);
        let template = self.templates.get_template(&name);
        match template.and_then(|template| template.render(context(values))) {
            Ok(text) => Some(text),
            Err(error) => {
                log::error!(
                    template = name;
                    "a template of your own failed, tilld's own words are sent{}",
                    fault(&error)
                );
                None
            }
        }
    }
}

fn context(values: &LetterValues) -> Value {
    Value::from_pairs(values.iter().map(|(name, value)| (*name, value.as_str())))
}

fn file_name(kind: MailKind, part: TemplatePart) -> String {
    let ending = ENDINGS.iter().find(|(of, _)| *of == part).map_or("", |(_, ending)| ending);
    format!("{}{ending}", kind.as_str())
}

/// How a value is written: left out if it is not known, and escaped in HTML, whatever the template says about escaping.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), minijinja::Error> {
    let text = match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None if value.is_undefined() || value.is_none() => return Ok(()),
        None => Cow::Owned(value.to_string()),
    };
    let is_html = state.name().ends_with(".html") && !value.is_safe();
    let written = if is_html { out.write_str(&escaped(&text)) } else { out.write_str(&text) };
    Ok(written?)
}

/// What is wrong with a template, after its line.
fn fault(error: &minijinja::Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return format!(": it takes more than {MAX_STEPS} steps to fill in; look for loops within loops");
    }
    let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{line}: {}{detail}", error.kind())
}

/// The first line with a name within a tag.
fn line_of(text: &str, name: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_in_tag = |at: usize| {
        let open = text[..at].rfind("{{").max(text[..at].rfind("{%"));
        let closed = text[..at].rfind("}}").max(text[..at].rfind("%}"));
        open.is_some() && open > closed
    };
    let stands_alone =
        |at: usize| !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part) && is_in_tag(at);
    let at = text.match_indices(name).map(|(at, _)| at).find(|at| stands_alone(*at)).unwrap_or(0);
    text[..at].matches('\n').count() + 1
}

/// Facts to try a template with.
fn samples() -> Vec<LetterValues> {
    let of = |names: &mut dyn Iterator<Item = &'static str>| names.map(|name| (name, name.to_owned())).collect();
    let mut samples: Vec<LetterValues> = vec![of(&mut PLACEHOLDERS.into_iter()), LetterValues::new()];
    for one in PLACEHOLDERS {
        samples.push(of(&mut std::iter::once(one)));
        samples.push(of(&mut PLACEHOLDERS.into_iter().filter(|name| *name != one)));
    }
    samples
}

/// A value in HTML, in text and in attributes alike.
fn escaped(value: &str) -> String {
    let mut safe = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn template(path: &Path, name: &str) -> Result<((MailKind, TemplatePart), String), String> {
    let found = ENDINGS.iter().find_map(|(part, ending)| Some((MailKind::of(name.strip_suffix(ending)?)?, *part)));
    let Some((kind, part)) = found else {
        let kinds: Vec<&str> = MailKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let kinds = kinds.join(", ");
        return Err(format!(
            " is not a template: name it KIND.subject.txt, KIND.txt or KIND.html, where KIND is {kinds}"
        ));
    };
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| format!(" cannot be read: {error}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!(" is longer than {MAX_BYTES} bytes"));
    }
    if text.trim().is_empty() {
        return Err(" is empty: remove it, and the built-in one is used".to_owned());
    }
    if part == TemplatePart::Subject {
        text = text.trim().to_owned();
        if text.contains(['\n', '\r']) {
            return Err(":2: a subject is one line".to_owned());
        }
    }
    Ok(((kind, part), text))
}

#[cfg(test)]
mod tests;
