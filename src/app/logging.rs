//! The log: one line for each message on standard error, for people or as a JSON object for programs. What a message is about
//! (an event, a user, a client) stands apart from its words, as fields: ` event_id=…` after the words, or keys of the object.
//! It must never let a text from outside break a line or move the cursor. Called by every command that runs something.

use std::fmt::Write as _;
use std::io::Write as _;

use env_logger::fmt::Formatter;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use serde_json::Value as Json;

use crate::app::config::{Config, LogFormat};
use crate::base::invisible::is_invisible;
use crate::store::{Store, StoreError, settings};
use crate::stripe::settings::Mode;

/// Keys of a JSON line that no field may take.
const OWN_KEYS: [&str; 4] = ["time", "level", "target", "message"];

/// Starts logging. `RUST_LOG` has already been taken into account by the configuration.
pub(crate) fn start(config: &Config) {
    let mut builder = env_logger::Builder::new();
    // The daemon logs a migration itself, in one line.
    builder.filter_module("refinery_core", log::LevelFilter::Warn).parse_filters(&config.log);
    // Below that level it logs the URLs of calls to Stripe, whatever the filter asks for.
    builder.filter_module("ureq", log::LevelFilter::Warn);
    match config.log_format {
        LogFormat::Text => builder.format(text),
        LogFormat::Json => builder.format(|out, record| {
            let time = out.timestamp_millis().to_string();
            writeln!(out, "{}", json_line(&time, record))
        }),
    };
    // A second logger in one process, as in tests, is not a fault.
    let _ = builder.try_init();
    config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
}

/// Says at start what runs: the version, its configuration, its database and mode, and its two addresses.
pub(crate) fn listening(config: &Config, store: &Store, (public, private): (&str, &str)) -> Result<(), StoreError> {
    let configured = config.stripe.mode().and_then(|mode| Mode::WORDS.iter().find(|(_, known)| *known == mode));
    let kept = store.read(|reader| settings::find(reader, settings::STRIPE_MODE))?;
    let mode = configured.map_or(kept.as_deref().unwrap_or("undecided"), |(word, _)| word);
    let file = config.source.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let database = config.database.display().to_string();
    let version = env!("CARGO_PKG_VERSION");
    log::info!(public, private, version, config = file, database, mode; "listening");
    Ok(())
}

fn text(out: &mut Formatter, record: &Record) -> std::io::Result<()> {
    let (time, level) = (out.timestamp_millis(), record.level());
    let style = out.default_level_style(level);
    writeln!(out, "[{time} {style}{level:<5}{style:#} {}] {}", record.target(), text_line(record))
}

/// The words and the fields of a message, for people.
fn text_line(record: &Record) -> String {
    let mut line = escaped(&record.args().to_string(), |c| !c.is_control() && !is_invisible(c));
    for (key, value) in fields(record) {
        let value = match value {
            Json::String(text) => quoted(text),
            other => other.to_string(),
        };
        let _ = write!(line, " {key}={value}");
    }
    line
}

/// A field's text: in quotes where one could not see where it ends.
fn quoted(text: String) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !is_invisible(c) && c != '"';
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!("\"{}\"", escaped(&text, |c| is_plain(c) || c == ' '))
}

fn escaped(text: &str, is_plain: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

/// A message as one line of JSON.
fn json_line(time: &str, record: &Record) -> String {
    let own = [time.to_owned(), record.level().to_string(), record.target().to_owned(), record.args().to_string()];
    let own = OWN_KEYS.iter().map(|key| (*key).to_owned()).zip(own.map(Json::String));
    let pairs: Vec<String> =
        own.chain(fields(record)).map(|(key, value)| format!("{}:{value}", Json::String(key))).collect();
    let line = format!("{{{}}}", pairs.join(","));
    // Such characters stand within strings alone. Some programs break lines at them, and some terminals turn what follows.
    line.chars().fold(String::with_capacity(line.len()), |mut out, c| {
        if c.is_control() || is_invisible(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// What a message is about. Of two fields of one name the first is kept; one that is called as a key of ours gets a line after
/// its name.
fn fields(record: &Record) -> Vec<(String, Json)> {
    let mut fields = Fields(Vec::new());
    // A field that cannot be read is left out; the message counts more.
    let _ = record.key_values().visit(&mut fields);
    fields.0
}

struct Fields(Vec<(String, Json)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut name = key.as_str().to_owned();
        if OWN_KEYS.contains(&name.as_str()) {
            name.push('_');
        }
        if self.0.iter().all(|(known, _)| *known != name) {
            let mut read = FieldValue(Json::Null);
            value.visit(&mut read)?;
            self.0.push((name, read.0));
        }
        Ok(())
    }
}

struct FieldValue(Json);

impl VisitValue<'_> for FieldValue {
    fn visit_any(&mut self, value: Value) -> Result<(), Error> {
        self.0 = Json::String(value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = Json::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Breaks lines, closes strings, turns the direction, colours a terminal.
    const HOSTILE: &str = "a\r\nb\"}\\\u{1b}[31m\u{7f}\u{85}\u{2028}\u{202e}é";

    fn with_record<T>(message: &str, fields: &[(&str, &str)], use_it: impl FnOnce(&Record) -> T) -> T {
        let level = log::Level::Warn;
        use_it(
            &Record::builder()
                .level(level)
                .target("tilld::x")
                .key_values(&fields)
                .args(format_args!("{message}"))
                .build(),
        )
    }

    #[test]
    fn a_json_line_has_time_level_target_message_and_the_fields() {
        let line = with_record("event failed", &[("event_id", "evt_1"), ("type", "a.b")], |record| {
            json_line("2026-11-30T14:00:00.123Z", record)
        });
        assert_eq!(
            line,
            "{\"time\":\"2026-11-30T14:00:00.123Z\",\"level\":\"WARN\",\"target\":\"tilld::x\",\
             \"message\":\"event failed\",\"event_id\":\"evt_1\",\"type\":\"a.b\"}"
        );
    }

    #[test]
    fn a_hostile_text_neither_breaks_a_json_line_nor_gets_lost() {
        let line = with_record(HOSTILE, &[("client", HOSTILE), ("message", HOSTILE)], |record| json_line("", record));
        let read: Json = serde_json::from_str(&line).unwrap();
        for key in ["message", "client", "message_"] {
            assert_eq!(read[key], HOSTILE, "{line}");
        }
        assert!(!line.contains(|c: char| c.is_control() || is_invisible(c)), "{line:?}");
    }

    #[test]
    fn fields_follow_the_words_of_a_text_line_and_are_quoted_where_they_must_be() {
        let line = with_record("refused", &[("code", "bad"), ("why", "no \"x\""), ("path", "")], text_line);
        assert_eq!(line, "refused code=bad why=\"no \\\"x\\\"\" path=\"\"");
        let hostile = with_record(HOSTILE, &[("client", HOSTILE)], text_line);
        assert!(!hostile.contains(|c: char| c.is_control() || is_invisible(c)), "{hostile:?}");
    }

    #[test]
    fn numbers_and_words_keep_their_kind() {
        let fields: [(&str, Value); 3] = [("count", 3_u64.into()), ("ok", true.into()), ("left", (-1_i64).into())];
        let record = Record::builder().key_values(&fields).args(format_args!("x")).build();
        assert!(json_line("", &record).ends_with("\"count\":3,\"ok\":true,\"left\":-1}"));
        assert_eq!(text_line(&record), "x count=3 ok=true left=-1");
    }
}
