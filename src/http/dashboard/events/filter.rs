//! The filter of the list of events, as its form sends it. It must never narrow a list silently: what cannot be understood
//! is refused. Called by `events`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::http::dashboard::page::{Page, PageError};
use crate::store::inbox::EventStatus;
use crate::store::inbox::search::EventSearch;

/// The fields of the form, as they were typed.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) event_type: Option<String>,
    pub(super) status: Option<String>,
    pub(super) object: Option<String>,
    pub(super) user: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

impl Fields {
    pub(super) fn of(page: &Page<'_>) -> Self {
        Self {
            event_type: page.parameter("type"),
            status: page.parameter("status"),
            object: page.parameter("object"),
            user: page.parameter("user"),
            from: page.parameter("from"),
            to: page.parameter("to"),
        }
    }

    /// With the names that they have in the address.
    pub(super) fn named(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("type", self.event_type.as_deref()),
            ("status", self.status.as_deref()),
            ("object", self.object.as_deref()),
            ("user", self.user.as_deref()),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
        ]
    }

    /// A field's value, or nothing.
    pub(super) fn value<'a>(&self, field: &'a Option<String>) -> &'a str {
        field.as_deref().unwrap_or_default()
    }

    /// What is searched for.
    pub(super) fn search(&self, before: Option<String>) -> Result<EventSearch, PageError> {
        Ok(EventSearch {
            event_type: self.event_type.clone(),
            status: self.status.as_deref().map(status).transpose()?,
            object_id: self.object.clone(),
            user_id: self.user.clone(),
            from_ms: self.from.as_deref().map(utc_ms).transpose()?,
            until_ms: self.to.as_deref().map(utc_ms).transpose()?,
            before,
        })
    }
}

fn status(text: &str) -> Result<EventStatus, PageError> {
    EventStatus::parse(text).ok_or_else(|| PageError::Refused(400, format!("There is no status {text:?}.")))
}

/// A time as the form sends it, in UTC: `2026-11-30T14:05`, with seconds, or a day alone.
fn utc_ms(text: &str) -> Result<i64, PageError> {
    let refused =
        || PageError::Refused(400, format!("{text:?} is not a time such as 2026-11-30T14:05 or 2026-11-30 (UTC)."));
    let time: DateTime = text.trim_end_matches('Z').parse().map_err(|_| refused())?;
    Ok(TimeZone::UTC.to_timestamp(time).map_err(|_| refused())?.as_millisecond())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_time_is_utc_to_the_day_the_minute_or_the_second() {
        assert_eq!(utc_ms("1970-01-02").unwrap(), 86_400_000);
        assert_eq!(utc_ms("1970-01-01T00:01").unwrap(), 60_000);
        assert_eq!(utc_ms("1970-01-01T00:01:01Z").unwrap(), 61_000);
        for text in ["yesterday", "2026-13-01", "2026-11-30T25:00", "1"] {
            assert!(utc_ms(text).unwrap_err().to_string().contains("is not a time such as"), "{text}");
        }
    }
}
