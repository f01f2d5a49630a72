//! The charts of the first page, from the figures of a range. docs/figures.md defines each figure. Pure: it must never read a
//! table. Called by `dashboard::overview`.

use std::collections::BTreeMap;

use super::range::{At, Range, greatest, last, sums};
use crate::http::dashboard::chart::{Buckets, Chart, ChartKind, ChartUnit, Series};
use crate::objects::figures::{Figures, LevelFigures};

/// States of subscriptions, as figures have them, and as people say them.
const STATES: [(&str, &str); 4] =
    [("active", "active"), ("past_due", "past due"), ("trialing", "on trial"), ("paused", "paused")];

/// Figures of a range, with the buckets of its charts.
struct Drawing<'a> {
    figures: &'a Figures,
    range: Range,
    buckets: Buckets,
}

/// Every chart of the page, in its order; that of money is of one currency.
pub(super) fn all(figures: &Figures, range: Range, currency: Option<&str>, now_s: i64) -> Vec<Chart> {
    let drawing = Drawing { figures, range, buckets: range.buckets(now_s) };
    let mut charts = vec![
        drawing.webhooks(),
        drawing.lag(),
        drawing.attempts(),
        drawing.success(),
        drawing.subscriptions(),
        drawing.delinquent(),
    ];
    charts.extend(currency.map(|currency| drawing.money(currency)));
    charts.push(drawing.outbox());
    charts
}

impl Drawing<'_> {
    fn chart(&self, title: impl Into<String>, unit: ChartUnit, kind: ChartKind) -> Chart {
        Chart {
            title: title.into(),
            note: String::new(),
            unit,
            kind,
            buckets: self.buckets,
            series: Vec::new(),
            empty: "Nothing was counted in this time.",
        }
    }

    /// Levels of a name, all labels or one, added up.
    fn level(&self, name: &str, label: Option<&str>) -> Vec<Option<i64>> {
        let is_wanted = |level: &&LevelFigures| level.name == name && label.is_none_or(|label| level.label == label);
        let levels = self.figures.levels.iter().filter(is_wanted);
        last(&self.buckets, levels.map(|level| (level.start, level.value)))
    }

    fn webhooks(&self) -> Chart {
        let of = |name: &str, value: fn(&crate::objects::figures::WebhookFigures) -> i64| {
            let values = self.figures.webhooks.iter().map(|one| (one.start, value(one)));
            series(name, sums(&self.buckets, values).into_iter().map(Some))
        };
        let mut chart =
            self.chart(format!("Webhooks {}", self.range.each), ChartUnit::Count("events"), ChartKind::Bars);
        chart.series =
            vec![of("processed", |one| one.processed), of("ignored", |one| one.ignored), of("dead", |one| one.dead)];
        "By when they came and what became of them until now; ignored: of a type without a table."
            .clone_into(&mut chart.note);
        chart.empty = "No event came in this time.";
        chart
    }

    fn lag(&self) -> Chart {
        let of = |name: &str, value: fn(&crate::objects::figures::WebhookFigures) -> Option<i64>| {
            let values = self.figures.webhooks.iter().map(|one| (one.start, value(one)));
            series(name, greatest(&self.buckets, values))
        };
        let mut chart = self.chart("Processing lag", ChartUnit::Milliseconds, ChartKind::Lines);
        chart.series = vec![of("p50", |one| one.lag_p50_ms), of("p99", |one| one.lag_p99_ms)];
        chart.note = match self.range.name {
            "7d" => "From received to in the tables: half (p50) and 99 % (p99) of events within; of 6 hours the slowest one.",
            "90d" => "From received to in the tables: half (p50) and 99 % (p99) of events within; of 3 days the slowest one.",
            _ => "From received to in the tables: half (p50) and 99 % (p99) of events within.",
        }
        .to_owned();
        chart.empty = "No event was processed in this time.";
        chart
    }

    /// Attempts that succeeded and failed, of all currencies.
    fn counted_attempts(&self) -> (Vec<i64>, Vec<i64>) {
        let attempts = || self.figures.payment_attempts.iter();
        let succeeded = sums(&self.buckets, attempts().map(|one| (one.start, one.succeeded)));
        (succeeded, sums(&self.buckets, attempts().map(|one| (one.start, one.failed))))
    }

    fn attempts(&self) -> Chart {
        let (succeeded, failed) = self.counted_attempts();
        let title = format!("Payment attempts {}", self.range.each);
        let mut chart = self.chart(title, ChartUnit::Count("attempts"), ChartKind::Bars);
        chart.series =
            vec![series("succeeded", succeeded.into_iter().map(Some)), series("failed", failed.into_iter().map(Some))];
        chart.empty = "Nobody was charged in this time.";
        chart
    }

    fn success(&self) -> Chart {
        let mut chart = self.chart("Payment success", ChartUnit::Percent, ChartKind::Lines);
        let (succeeded, failed) = self.counted_attempts();
        chart.series = vec![rates("attempts", &succeeded, &failed)];
        "Of attempts: succeeded / (succeeded + failed).".clone_into(&mut chart.note);
        if self.range.is_by_day() {
            let intents = || self.figures.payment_intents.iter();
            let succeeded = sums(&self.buckets, intents().map(|one| (one.start, one.succeeded)));
            let failed = sums(&self.buckets, intents().map(|one| (one.start, one.failed)));
            chart.series.push(rates("payments", &succeeded, &failed));
            chart.note.push_str(" Of payments: by the day they were made, failed for good alone.");
        }
        chart.empty = "Nobody was charged in this time.";
        chart
    }

    fn subscriptions(&self) -> Chart {
        let mut chart = self.chart("Subscriptions", ChartUnit::Count("at the last look"), ChartKind::Lines);
        chart.series =
            STATES.iter().map(|(state, words)| series(words, self.level("subscriptions", Some(state)))).collect();
        chart.empty = NOT_LOOKED;
        chart
    }

    fn delinquent(&self) -> Chart {
        let mut chart = self.chart("Users who owe", ChartUnit::Count("users"), ChartKind::Lines);
        chart.series = vec![series("users", self.level("delinquent_users", None))];
        "Users of a subscription for which a payment is missing.".clone_into(&mut chart.note);
        chart.empty = NOT_LOOKED;
        chart
    }

    fn money(&self, currency: &str) -> Chart {
        let unit = ChartUnit::Money(currency.to_owned());
        let mut chart = self.chart("MRR and money at risk", unit, ChartKind::Lines);
        let mrr = mrr_of(self.figures, currency);
        chart.series = vec![
            series("MRR", last(&self.buckets, mrr)),
            series("at risk", self.level("money_at_risk", Some(currency))),
        ];
        "MRR: what running subscriptions bring a month. At risk: owed on invoices whose payment failed."
            .clone_into(&mut chart.note);
        chart.empty = NOT_LOOKED;
        chart
    }

    fn outbox(&self) -> Chart {
        let mut chart = self.chart("Outbox", ChartUnit::Count("messages"), ChartKind::Lines);
        let waiting = series("waiting", self.level("outbox_pending", None));
        chart.series = vec![waiting, series("failed", self.level("outbox_failed", None))];
        chart.empty = NOT_LOOKED;
        chart
    }
}

const NOT_LOOKED: &str = "Nobody looked in this time: the daemon looks once an hour.";

/// MRR by bucket: what runs, paid or not.
fn mrr_of<'a>(figures: &'a Figures, currency: &'a str) -> impl Iterator<Item = At<i64>> + 'a {
    let runs = |state: &str| state == "active" || state == "past_due";
    let of_currency = figures.mrr.iter().filter(move |one| one.currency == currency && runs(&one.state));
    of_currency.map(|one| (one.start, one.amount))
}

/// Currencies that anything is known of, those of the most subscriptions first.
pub(super) fn currencies(figures: &Figures) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for one in &figures.mrr_now {
        *counts.entry(&one.currency).or_default() += one.subscriptions;
    }
    let at_risk = figures.levels.iter().filter(|level| level.name == "money_at_risk" && level.value > 0);
    at_risk.for_each(|level| {
        counts.entry(&level.label).or_default();
    });
    let mut sorted: Vec<(&str, i64)> = counts.into_iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.into_iter().map(|(currency, _)| currency.to_owned()).collect()
}

#[allow(clippy::cast_precision_loss)] // counts and amounts are far from 2^52
fn series(name: &str, values: impl IntoIterator<Item = Option<i64>>) -> Series {
    let values = values.into_iter().map(|value| value.map(|value| value as f64)).collect();
    Series { name: name.to_owned(), values }
}

/// In percent; where nothing was tried, there is none.
#[allow(clippy::cast_precision_loss)]
fn rates(name: &str, succeeded: &[i64], failed: &[i64]) -> Series {
    let rate = |(succeeded, failed): (&i64, &i64)| {
        let all = succeeded.saturating_add(*failed);
        (all > 0).then(|| *succeeded as f64 / all as f64 * 100.0)
    };
    Series { name: name.to_owned(), values: succeeded.iter().zip(failed).map(rate).collect() }
}

#[cfg(test)]
mod tests;
