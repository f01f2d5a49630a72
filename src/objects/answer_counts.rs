//! `answer_counts`: how many users have which answer, kept by triggers on `subscriptions`, so that nobody counts rows. It
//! must never be written here. Called by `http::metrics`.

use crate::base::metrics::AnswerCount;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader};

/// The statement that reads all of it: a row for each answer that some user has, a few dozen at most.
pub const ALL: &str = "SELECT tier, reason, entitled, users FROM answer_counts";

/// Users by answer.
pub(crate) fn list(reader: &StoreReader) -> Result<Vec<AnswerCount>, StoreError> {
    let rows: Vec<(String, String, bool, i64)> = reader.list(ALL, [], row::tuple)?;
    let count = |(tier, reason, entitled, users)| AnswerCount { tier, reason, entitled, users };
    Ok(rows.into_iter().map(count).collect())
}
