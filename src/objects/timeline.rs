//! All that happened about a user, newest first, as one list: the audit log (what Stripe said, what was done by hand), the
//! outbox (mails, what the application was told, what was fetched), calls to Stripe, and notices without a mail. Each table
//! is read by an index over its user and time, a page of rows each, and the pages are merged. It must never read a whole
//! table, nor a payload. Called by the dashboard.

use super::dunning_attempts::{self, UnsentNotice};
use crate::store::audit::{self, AuditEntry};
use crate::store::outbox::rows::{self, OutboxRowOfUser};
use crate::store::stripe_operations::{self, OperationOfUser};
use crate::store::{StoreError, StoreReader};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimelineEntry {
    /// Stripe said it, or somebody did it.
    Audit(AuditEntry),
    /// A mail, an event for the application, or a fetch.
    Effect(OutboxRowOfUser),
    /// A call to Stripe.
    Operation(OperationOfUser),
    /// A notice that no mail carries.
    Unsent(UnsentNotice),
}

/// A place in the list: the greatest comes first. Rows of one time are ordered by their table, then by number, so that no
/// two have the same place, and a page ends between any two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimelinePlace {
    at_ms: i64,
    table: u8,
    id: i64,
}

impl TimelinePlace {
    /// Before everything.
    const TOP: Self = Self { at_ms: i64::MAX, table: u8::MAX, id: i64::MAX };

    /// When it happened, unix milliseconds.
    pub(crate) fn at_ms(self) -> i64 {
        self.at_ms
    }

    /// As a link has it.
    pub(crate) fn text(self) -> String {
        format!("{}.{}.{}", self.at_ms, self.table, self.id)
    }

    /// The place of that text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let at_ms = parts.next()?.parse().ok()?;
        let table = parts.next()?.parse().ok()?;
        Some(Self { at_ms, table, id: parts.next()?.parse().ok()? })
    }

    /// Where the rows of a table begin that come after this place.
    fn bound(self, table: u8) -> (i64, i64) {
        match table.cmp(&self.table) {
            std::cmp::Ordering::Less => (self.at_ms, i64::MAX),
            std::cmp::Ordering::Equal => (self.at_ms, self.id),
            std::cmp::Ordering::Greater => (self.at_ms, i64::MIN),
        }
    }
}

/// Something that happened, and its place.
pub(crate) type TimelineItem = (TimelinePlace, TimelineEntry);

/// At most `limit` of what happened about a user, newest first, after the place `after`.
pub(crate) fn list(
    reader: &StoreReader,
    user_id: &str,
    after: Option<TimelinePlace>,
    limit: u32,
) -> Result<Vec<TimelineItem>, StoreError> {
    let after = after.unwrap_or(TimelinePlace::TOP);
    let place = |at_ms: i64, table: u8, id: i64| TimelinePlace { at_ms, table, id };
    let mut all: Vec<TimelineItem> = Vec::new();
    let audit = audit::list_of_user_before(reader, user_id, after.bound(3), limit)?;
    all.extend(audit.into_iter().map(|row| (place(row.at_ms, 3, row.id), TimelineEntry::Audit(row))));
    let operations = stripe_operations::list_of_user_before(reader, user_id, after.bound(2), limit)?;
    all.extend(operations.into_iter().map(|row| (place(row.created_at_ms, 2, row.id), TimelineEntry::Operation(row))));
    let effects = rows::list_of_user_before(reader, user_id, after.bound(1), limit)?;
    all.extend(effects.into_iter().map(|row| (place(row.created_at_ms, 1, row.id), TimelineEntry::Effect(row))));
    let unsent = dunning_attempts::list_unsent_before(reader, user_id, after.bound(0), limit)?;
    all.extend(unsent.into_iter().map(|row| (place(row.created_at_ms, 0, row.id), TimelineEntry::Unsent(row))));
    all.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_from_its_text_and_nothing_else_is_one() {
        let place = TimelinePlace { at_ms: 1_767_225_600_000, table: 3, id: 17 };
        assert_eq!(TimelinePlace::parse(&place.text()), Some(place));
        for text in ["", "1", "1.2", "1.2.x", "1.300.4", "a.1.2", "1.2.3.4"] {
            assert_eq!(TimelinePlace::parse(text), None, "{text}");
        }
    }
}
