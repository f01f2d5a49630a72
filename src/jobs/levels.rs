//! Looks once an hour how things stand, and keeps it: what subscriptions bring, who owes, what waits. What is older than 92 days
//! is thinned to the last look of each day. It must never count what happened: triggers do. Called by `tick` at each step, with
//! an API key or without.

use crate::base::figure_range::FigureBucket;
use crate::objects::levels;
use crate::store::{Store, StoreError, figures};

/// How long every hour is kept.
const HOURS_KEPT_S: i64 = 92 * 86_400;

/// Looks, unless somebody has looked in this hour. Whether it did.
///
/// # Errors
/// When the database cannot be read or written; the next step looks again.
pub fn look(store: &Store, now_ms: i64) -> Result<bool, StoreError> {
    let now_s = now_ms.div_euclid(1000);
    let hour_s = now_s.div_euclid(FigureBucket::Hour.seconds()).saturating_mul(FigureBucket::Hour.seconds());
    if store.read(|reader| figures::has_levels(reader, hour_s))? {
        return Ok(false);
    }
    let levels = store.read(levels::list)?;
    store.write(move |tx| {
        figures::put_levels(tx, hour_s, &levels)?;
        figures::thin_levels(tx, now_s.saturating_sub(HOURS_KEPT_S), now_s)
    })?;
    Ok(true)
}
