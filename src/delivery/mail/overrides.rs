//! Templates of the operator's own that stand in for ours: `<kind>.subject.txt`, `<kind>.txt`, `<kind>.html` in the folder
//! `notify.templates`. All are read and checked when the mailer is made, so a mistake shows at start and never in a mail.
//!
//! Their language is a hundred lines, not a library: `{{ name }}` is a fact, `{{ if name }}…{{ else }}…{{ end }}` (not one
//! inside the other) is there when the fact is known. No loops, no calls, no files: a template can do nothing but show
//! facts, and every name in it is known to be right before the first mail. Called by `mail`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use super::letter::Values;
use crate::notice_kind::NoticeKind;

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

/// A template is a mail, not a book.
const MAX_BYTES: u64 = 200_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(&'static str),
    If(&'static str),
    Else,
    End,
}

/// A checked template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

impl Template {
    /// Reads a template. The error begins with the line's number.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest, mut open) = (Vec::new(), text, false);
        let line = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
        while let Some((before, after)) = rest.split_once("{{") {
            let at = line(after);
            let Some((tag, behind)) = after.split_once("}}").filter(|(tag, _)| !tag.contains(['{', '\n'])) else {
                return Err(format!("{at}: \"{{{{\" has no \"}}}}\" on its line"));
            };
            pieces.push(Piece::Text(before.to_owned()));
            let piece = piece(tag.trim()).map_err(|message| format!("{at}: {message}"))?;
            open = match (&piece, open) {
                (Piece::If(_), true) => {
                    return Err(format!("{at}: an \"if\" inside another: end the first one before"));
                }
                (Piece::Else | Piece::End, false) => {
                    return Err(format!("{at}: \"{}\" without an \"if\" before it", tag.trim()));
                }
                (Piece::Else, _) if has_else(&pieces) => return Err(format!("{at}: a second \"else\"")),
                (Piece::If(_), _) => true,
                (Piece::End, _) => false,
                (_, open) => open,
            };
            pieces.push(piece);
            rest = behind;
        }
        if open {
            return Err(format!("{}: an \"if\" has no \"{{{{ end }}}}\"", line("")));
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Fills it in; `clean` makes a value harmless where it is going to stand.
    pub(super) fn fill(&self, values: &Values, clean: fn(&str) -> String) -> String {
        let (mut filled, mut shown) = (String::new(), true);
        for piece in &self.0 {
            match piece {
                Piece::If(name) => shown = values.contains_key(name),
                Piece::Else => shown = !shown,
                Piece::End => shown = true,
                Piece::Text(text) if shown => filled.push_str(text),
                Piece::Value(name) if shown => filled.extend(values.get(name).map(|value| clean(value))),
                Piece::Text(_) | Piece::Value(_) => {}
            }
        }
        filled
    }
}

fn has_else(pieces: &[Piece]) -> bool {
    let in_last_if = pieces.iter().rev().take_while(|piece| !matches!(piece, Piece::If(_)));
    in_last_if.into_iter().any(|piece| *piece == Piece::Else)
}

fn piece(tag: &str) -> Result<Piece, String> {
    let named = |name: &str| {
        let known = PLACEHOLDERS.iter().find(|known| **known == name).copied();
        known.ok_or_else(|| format!("there is no placeholder {name:?}; there are {}", PLACEHOLDERS.join(", ")))
    };
    match tag.split_once(char::is_whitespace) {
        None if tag == "else" => Ok(Piece::Else),
        None if tag == "end" => Ok(Piece::End),
        None => named(tag).map(Piece::Value),
        Some(("if", name)) => named(name.trim()).map(Piece::If),
        Some(_) => Err(format!("{tag:?} is neither a placeholder nor \"if\", \"else\" or \"end\"")),
    }
}

/// A value in HTML, in text and in attributes alike.
pub(super) fn escaped(value: &str) -> String {
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

/// The parts of a mail that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Subject,
    Text,
    Html,
}

const ENDINGS: [(Part, &str); 3] = [(Part::Subject, ".subject.txt"), (Part::Text, ".txt"), (Part::Html, ".html")];

/// The operator's own templates.
#[derive(Debug, Default)]
pub(super) struct Overrides(BTreeMap<(NoticeKind, Part), Template>);

impl Overrides {
    /// Reads a folder. Files that end neither in `.txt` nor in `.html` are left alone.
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
            match template(&path, &name) {
                Ok((key, template)) => drop(found.0.insert(key, template)),
                Err(message) => faults.push(format!("notify.templates: {}{message}", path.display())),
            }
        }
        faults.sort();
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }

    /// The template that stands in for ours.
    pub(super) fn find(&self, kind: NoticeKind, part: Part) -> Option<&Template> {
        self.0.get(&(kind, part))
    }
}

fn template(path: &Path, name: &str) -> Result<((NoticeKind, Part), Template), String> {
    let place = ENDINGS.iter().find_map(|(part, ending)| Some((NoticeKind::of(name.strip_suffix(ending)?)?, *part)));
    let Some((kind, part)) = place else {
        let kinds: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let kinds = kinds.join(", ");
        return Err(format!(" is no template: name it KIND.subject.txt, KIND.txt or KIND.html, where KIND is {kinds}"));
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
    if part == Part::Subject {
        text = text.trim().to_owned();
        if text.contains(['\n', '\r']) {
            return Err(":2: a subject is one line".to_owned());
        }
    }
    let template = Template::parse(&text).map_err(|message| format!(":{message}"))?;
    Ok(((kind, part), template))
}

#[cfg(test)]
mod tests;
