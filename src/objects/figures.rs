//! The figures of a range, as the operator's API and the overview show them: webhooks and how long they waited, payments, and how
//! things stood. docs/figures.md defines each. It reads what is kept by the hour, never the log, and must never write. Called
//! by `http`.

mod payments;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::levels;
use crate::base::figure_range::{FigureBucket, FigureRange};
use crate::base::histogram::{self, HistogramBucket};
use crate::store::figures as kept;
use crate::store::figures::LevelAt;
use crate::store::{StoreError, StoreReader};
pub use payments::{AttemptFigures, CodeFigures, IntentFigures};

/// The most types of events in an answer; those with the most events are shown.
const MAX_TYPES: u32 = 100;

/// What happened in a range of time, and how things stood.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Figures {
    /// Always `analytics`.
    #[schemars(example = &"analytics")]
    pub object: &'static str,
    /// Beginning of the first bucket, unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub from: i64,
    /// End of the last bucket, unix seconds.
    #[schemars(example = 1_769_817_600)]
    pub to: i64,
    /// What figures are added up by: an hour, or a day by UTC.
    pub bucket: FigureBucket,
    /// Events that were received in each bucket, oldest first; every bucket is there.
    pub webhooks: Vec<WebhookFigures>,
    /// The same events by type over the whole range, those with the most first; 100 types at most.
    pub event_types: Vec<TypeFigures>,
    /// Attempts to pay in each bucket, by currency; of each currency that is there, every bucket.
    pub payment_attempts: Vec<AttemptFigures>,
    /// Payment intents by the day on which they were made, by currency, as they are now; a day without any is left out.
    pub payment_intents: Vec<IntentFigures>,
    /// Why attempts failed, over the whole range, the most frequent first.
    pub failure_codes: Vec<CodeFigures>,
    /// How things stood at the last look in each bucket; a bucket in which nobody looked is left out.
    pub levels: Vec<LevelFigures>,
    /// What subscriptions brought a month at the last look in each bucket; a bucket in which nobody looked is left out.
    pub mrr: Vec<MrrFigures>,
    /// What they bring a month now.
    pub mrr_now: Vec<MrrNow>,
}

/// Events that were received in one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WebhookFigures {
    /// Beginning of the bucket, unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub start: i64,
    /// Events whose facts are in the tables now.
    #[schemars(example = 1200)]
    pub processed: i64,
    /// Events that are kept and mirrored and no more.
    #[schemars(example = 14)]
    pub ignored: i64,
    /// Events that were given up, and wait for an operator.
    #[schemars(example = 0)]
    pub dead: i64,
    /// Half of the events were projected or ignored first within so many milliseconds after they had been received; null: there
    /// were none.
    #[schemars(example = 18)]
    pub lag_p50_ms: Option<i64>,
    /// The same of 99 of 100 events, milliseconds.
    #[schemars(example = 240)]
    pub lag_p99_ms: Option<i64>,
}

/// Events of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TypeFigures {
    /// Stripe's type; `other` for any with more than 100 characters.
    #[serde(rename = "type")]
    #[schemars(example = &"invoice.paid")]
    pub event_type: String,
    /// Events whose facts are in the tables now.
    #[schemars(example = 1200)]
    pub processed: i64,
    /// Events that are kept and mirrored and no more.
    #[schemars(example = 14)]
    pub ignored: i64,
    /// Events that were given up, and wait for an operator.
    #[schemars(example = 0)]
    pub dead: i64,
}

/// How one thing stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LevelFigures {
    /// Beginning of the bucket, unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub start: i64,
    /// What was counted: `subscriptions` by state, `delinquent_users`, `money_at_risk` by currency in minor units,
    /// `outbox_pending` and `outbox_failed` by kind.
    #[schemars(example = &"subscriptions")]
    pub name: String,
    /// Of which state, currency or kind; empty where there is one alone.
    #[schemars(example = &"active")]
    pub label: String,
    /// How many, or how much.
    #[schemars(example = 312)]
    pub value: i64,
}

/// What subscriptions brought a month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MrrFigures {
    /// Beginning of the bucket, unix seconds.
    #[schemars(example = 1_767_225_600)]
    pub start: i64,
    /// ISO 4217 code in lower case.
    #[schemars(example = &"usd")]
    pub currency: String,
    /// `active`, `past_due`, `trialing` or `paused`; MRR is the first two together.
    #[schemars(example = &"active")]
    pub state: String,
    /// Minor units of the currency, a month.
    #[schemars(example = 1_240_000)]
    pub amount: i64,
}

/// What the subscriptions of one currency and state bring a month now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MrrNow {
    /// ISO 4217 code in lower case.
    #[schemars(example = &"usd")]
    pub currency: String,
    /// `active`, `past_due`, `trialing` or `paused`; MRR is the first two together.
    #[schemars(example = &"active")]
    pub state: String,
    /// How many subscriptions.
    #[schemars(example = 312)]
    pub subscriptions: i64,
    /// Minor units of the currency, a month.
    #[schemars(example = 1_240_000)]
    pub amount: i64,
    /// Items that were left out because their price has tiers.
    #[schemars(example = 0)]
    pub tiered_items: i64,
    /// Items that were left out because their use is billed.
    #[schemars(example = 3)]
    pub metered_items: i64,
    /// Items that were left out because their price could not be read.
    #[schemars(example = 0)]
    pub other_items: i64,
    /// Discounts that were not taken off because their coupon is not known here.
    #[schemars(example = 0)]
    pub unknown_discounts: i64,
}

/// Reads the figures of a range.
pub fn read(reader: &StoreReader, range: FigureRange) -> Result<Figures, StoreError> {
    let (levels, mrr) = split(with_zeros(kept::list_levels(reader, range)?));
    Ok(Figures {
        object: "analytics",
        from: range.from_s,
        to: range.to_s,
        bucket: range.bucket,
        webhooks: webhooks(reader, range)?,
        event_types: kept::list_types(reader, range, MAX_TYPES)?.into_iter().map(TypeFigures::from).collect(),
        payment_attempts: payments::attempts(reader, range)?,
        payment_intents: payments::intents(reader, range)?,
        failure_codes: payments::codes(reader, range)?,
        levels,
        mrr,
        mrr_now: levels::list_mrr(reader)?.into_iter().map(MrrNow::from).collect(),
    })
}

fn webhooks(reader: &StoreReader, range: FigureRange) -> Result<Vec<WebhookFigures>, StoreError> {
    let none = |start| WebhookFigures { start, processed: 0, ignored: 0, dead: 0, lag_p50_ms: None, lag_p99_ms: None };
    let mut buckets: BTreeMap<i64, WebhookFigures> = range.starts().map(|start| (start, none(start))).collect();
    for (start, status, events) in kept::list_outcomes(reader, range)? {
        let Some(bucket) = buckets.get_mut(&start) else { continue };
        match status.as_str() {
            "processed" => bucket.processed = events,
            "ignored" => bucket.ignored = events,
            _ => bucket.dead = events,
        }
    }
    for lags in kept::list_lags(reader, range)?.chunk_by(|one, next| one.0 == next.0) {
        let histogram: Vec<_> = lags.iter().map(|(_, up_to, count)| lag_bucket(*up_to, *count)).collect();
        if let Some(bucket) = lags.first().and_then(|(start, ..)| buckets.get_mut(start)) {
            bucket.lag_p50_ms = histogram::percentile(&histogram, 50);
            bucket.lag_p99_ms = histogram::percentile(&histogram, 99);
        }
    }
    Ok(buckets.into_values().collect())
}

fn lag_bucket(up_to: i64, count: i64) -> HistogramBucket {
    let above = kept::LAG_BOUNDS_MS.into_iter().rfind(|bound| *bound < up_to).unwrap_or(0);
    HistogramBucket { up_to, above, count }
}

/// What was not counted at a look though it is counted at another in the range was 0 then.
fn with_zeros(found: Vec<LevelAt>) -> Vec<LevelFigures> {
    let series: BTreeMap<(String, String), ()> =
        found.iter().map(|at| ((at.level.name.clone(), at.level.label.clone()), ())).collect();
    let mut levels = Vec::new();
    for look in found.chunk_by(|one, next| one.start_s == next.start_s) {
        let Some(start) = look.first().map(|at| at.start_s) else { continue };
        levels.extend(series.keys().map(|(name, label)| {
            let of_series = look.iter().find(|at| at.level.name == *name && at.level.label == *label);
            let value = of_series.map_or(0, |at| at.level.value);
            LevelFigures { start, name: name.clone(), label: label.clone(), value }
        }));
    }
    levels
}

/// The levels of money that comes in each month have a list of their own.
fn split(levels: Vec<LevelFigures>) -> (Vec<LevelFigures>, Vec<MrrFigures>) {
    let (mrr, others): (Vec<_>, Vec<_>) = levels.into_iter().partition(|level| level.name == levels::MRR);
    let mrr = mrr.into_iter().map(|level| {
        let (currency, state) = level.label.split_once('/').unwrap_or((&level.label, ""));
        MrrFigures { start: level.start, currency: currency.to_owned(), state: state.to_owned(), amount: level.value }
    });
    (others, mrr.collect())
}

impl From<kept::TypeCount> for TypeFigures {
    fn from(count: kept::TypeCount) -> Self {
        let kept::TypeCount { event_type, processed, ignored, dead } = count;
        Self { event_type, processed, ignored, dead }
    }
}

impl From<levels::MrrTotal> for MrrNow {
    fn from(total: levels::MrrTotal) -> Self {
        let levels::MrrTotal {
            currency,
            state,
            subscriptions,
            amount,
            tiered_items,
            metered_items,
            other_items,
            unknown_discounts,
        } = total;
        Self { currency, state, subscriptions, amount, tiered_items, metered_items, other_items, unknown_discounts }
    }
}
