//! How lists are printed: aligned columns for people, JSON lines for programs; and the flags that all lists share. Called
//! by the commands. It must never let a text of the database move the cursor: control characters are printed as spaces.

use std::io::{IsTerminal, Write};

use serde_json::Value;

use crate::app::cli::CommandError;
use crate::base::ago;
use crate::base::clock::{Clock, SystemClock};

/// What stands between two columns.
const GAP: &str = "  ";
/// What stands in a cell without value.
const NOTHING: &str = "-";
/// What stands at the end of a line that was cut.
const CUT: char = '…';
/// Rows of a list unless asked for more or less.
const DEFAULT_LIMIT: u32 = 20;
/// Rows of a list at most; a list is held in memory.
const MAX_LIMIT: i64 = 100_000;

/// Flags that every list has.
#[derive(Debug, clap::Args)]
pub(crate) struct PageOptions {
    /// How many rows at most
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=MAX_LIMIT))]
    pub(crate) limit: u32,
    /// Continue after the row with this ID
    #[arg(long, value_name = "ID")]
    pub(crate) starting_after: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print times in full, as UTC, instead of "3 min ago"
    #[arg(long)]
    pub(crate) utc: bool,
}

/// How the times of a list are printed.
#[derive(Clone, Copy)]
pub(crate) struct TimeStyle {
    utc: bool,
    now_ms: i64,
}

impl TimeStyle {
    /// A time in unix milliseconds.
    pub(crate) fn ms(self, milliseconds: i64) -> String {
        if self.utc { time_ms(milliseconds) } else { ago::words(milliseconds, self.now_ms) }
    }

    /// A time in unix seconds.
    pub(crate) fn s(self, seconds: i64) -> String {
        if self.utc { time_s(seconds) } else { self.ms(seconds.saturating_mul(1000)) }
    }
}

/// A list for people and for programs.
pub(crate) struct ListOptions<'a, T> {
    /// What its rows are called, in the plural.
    pub(crate) what: &'a str,
    /// Names of the columns.
    pub(crate) head: &'a [&'a str],
    /// A row's cells.
    pub(crate) cells: fn(&T, TimeStyle) -> Vec<String>,
    /// A row as JSON.
    pub(crate) json: fn(&T) -> Value,
    /// The id to go on after.
    pub(crate) id: fn(&T) -> &str,
}

impl PageOptions {
    /// How many rows to read: one more than shown tells whether there are more.
    #[must_use]
    pub(crate) fn fetch(&self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// Prints at most [`PageOptions::limit`] of the rows, and on standard error how to see what follows.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub(crate) fn print<T>(&self, rows: &[T], list: &ListOptions<T>, out: &mut dyn Write) -> Result<(), CommandError> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let shown = rows.get(..limit).unwrap_or(rows);
        if self.json {
            shown.iter().try_for_each(|row| writeln!(out, "{}", (list.json)(row)))?;
        } else if shown.is_empty() {
            eprintln!("no {}", list.what);
        } else {
            let times = TimeStyle { utc: self.utc, now_ms: SystemClock.now_ms() };
            columns(out, list.head, &shown.iter().map(|row| (list.cells)(row, times)).collect::<Vec<_>>())?;
        }
        if let (true, Some(last)) = (rows.len() > limit, shown.last()) {
            out.flush()?;
            eprintln!("there are more {}: continue with --starting-after {}", list.what, (list.id)(last));
        }
        Ok(())
    }
}

/// How wide lines may be: as wide as the terminal; `None` in a pipe or a file, where nothing is cut.
fn width() -> Option<usize> {
    let out = std::io::stdout();
    let (width, _) = out.is_terminal().then(|| terminal_size::terminal_size_of(&out)).flatten()?;
    Some(usize::from(width.0))
}

/// Prints rows under the names of their columns, on a terminal cut to its width.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn columns(out: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    aligned_within(out, &std::iter::once(head).chain(rows.iter().cloned()).collect::<Vec<_>>(), width())
}

/// Prints rows in columns as wide as their widest cell.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn aligned(out: &mut dyn Write, rows: &[Vec<String>]) -> std::io::Result<()> {
    aligned_within(out, rows, None)
}

fn aligned_within(out: &mut dyn Write, rows: &[Vec<String>], width: Option<usize>) -> std::io::Result<()> {
    let lines: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let mut widths: Vec<usize> = Vec::new();
    for line in &lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        writeln!(out, "{}", cut(padded.join(GAP).trim_end(), width))?;
    }
    Ok(())
}

/// The beginning of a line that is longer than that.
fn cut(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain([CUT]).collect()
        }
        _ => line.to_owned(),
    }
}

/// Prints names and values, one pair per line.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn pairs(out: &mut dyn Write, pairs: &[(&str, String)]) -> std::io::Result<()> {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| writeln!(out, "{name:<width$}{GAP}{}", printable(value)))
}

/// A text on one line of its own, without what moves the cursor.
pub(crate) fn printable(cell: &str) -> String {
    if cell.is_empty() {
        return NOTHING.to_owned();
    }
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A cell that may have no value.
#[must_use]
pub(crate) fn cell(value: Option<&str>) -> String {
    value.unwrap_or(NOTHING).to_owned()
}

/// Unix seconds as UTC, like `2026-11-24 01:20:05`.
#[must_use]
pub(crate) fn time_s(seconds: i64) -> String {
    ago::utc_s(seconds)
}

/// Unix milliseconds as UTC, to the second.
#[must_use]
pub(crate) fn time_ms(milliseconds: i64) -> String {
    time_s(milliseconds.div_euclid(1000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut out = Vec::new();
        let rows = [vec!["evt_long".to_owned(), "x".to_owned()], vec!["é".to_owned(), String::new()]];
        columns(&mut out, &["ID", "ERROR"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "ID        ERROR\nevt_long  x\né         -\n");
    }

    #[test]
    fn lines_are_cut_to_the_width_of_a_terminal_and_whole_without_one() {
        let rows = [vec!["evt_1".to_owned(), "a long errör".to_owned()], vec!["evt_2".to_owned(), "short".to_owned()]];
        let printed = |width| {
            let mut out = Vec::new();
            aligned_within(&mut out, &rows, width).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(printed(None), "evt_1  a long errör\nevt_2  short\n");
        assert_eq!(printed(Some(19)), printed(None));
        assert_eq!(printed(Some(18)), "evt_1  a long err…\nevt_2  short\n");
    }

    #[test]
    fn times_of_a_list_are_words_or_in_full() {
        let style = |utc| TimeStyle { utc, now_ms: 1_795_483_205_999 };
        assert_eq!(
            (style(false).ms(1_795_483_025_999), style(false).s(1_795_483_205)),
            ("3 min ago".into(), "now".into())
        );
        assert_eq!(style(true).s(1_795_483_205), "2026-11-24 01:20:05");
    }

    #[test]
    fn a_text_cannot_break_its_line_or_send_escapes_to_the_terminal() {
        let mut out = Vec::new();
        pairs(&mut out, &[("error", "a\nb\u{1b}[31m".to_owned())]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "error  a b [31m\n");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(time_ms(1_795_483_205_999), "2026-11-24 01:20:05");
        assert_eq!(time_s(i64::MAX), i64::MAX.to_string());
    }
}
