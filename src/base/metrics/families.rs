//! Makes families of metrics, with every series of a closed set at 0 from the start: a series that appears with its first
//! fault raises no alert. It must never make a series later. Called by `metrics` and `levels`.

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::{Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use strum::VariantArray;

use super::OTHER;

/// A family that cannot be made: its name or its labels are wrong, or it is there already.
#[derive(Debug, thiserror::Error)]
#[error("a family of metrics cannot be made or shown: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// A word of a closed set of labels.
pub(super) trait Word: VariantArray + Copy + PartialEq + Into<&'static str> {}
impl<W: VariantArray + Copy + PartialEq + Into<&'static str>> Word for W {}

/// One series for each word of a closed set, found without hashing.
pub(super) struct ByWord<W: 'static, S>(Vec<(W, S)>);

impl<W: Word, S> ByWord<W, S> {
    fn made(series: impl Fn(&'static str) -> Result<S, MetricsError>) -> Result<Self, MetricsError> {
        W::VARIANTS.iter().map(|word| Ok((*word, series((*word).into())?))).collect::<Result<_, _>>().map(Self)
    }

    /// The series of a word.
    pub(super) fn of(&self, word: W) -> Option<&S> {
        self.0.iter().find(|(known, _)| *known == word).map(|(_, series)| series)
    }
}

impl<W: Word> ByWord<W, IntCounter> {
    /// Counts one.
    pub(super) fn count(&self, word: W) {
        self.of(word).into_iter().for_each(IntCounter::inc);
    }
}

/// A family of two labels: counters by the first one, which is looked up, and the word of the second.
pub(super) struct Table<W: 'static>(HashMap<&'static str, ByWord<W, IntCounter>>);

impl<W: Word> Table<W> {
    /// Counts one; under [`OTHER`] where the first label has no such value.
    pub(super) fn count(&self, first: &str, word: W) {
        let row = self.0.get(first).or_else(|| self.0.get(OTHER));
        row.into_iter().for_each(|row| row.count(word));
    }
}

/// Where families are registered.
#[derive(Default)]
pub(super) struct Families {
    pub(super) registry: Registry,
}

impl Families {
    fn registered<C: Collector + Clone + 'static>(&self, family: C) -> Result<C, MetricsError> {
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Result<Histogram, MetricsError> {
        let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        self.registered(Histogram::with_opts(options)?)
    }

    /// A counter of seconds, which are no whole number.
    pub(super) fn seconds(&self, name: &str, help: &str) -> Result<Counter, MetricsError> {
        self.registered(Counter::new(name, help)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.registered(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, MetricsError> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge_by<W: Word>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<ByWord<W, IntGauge>, MetricsError> {
        let family = self.gauges(name, help, &[label])?;
        ByWord::made(|word| Ok(family.get_metric_with_label_values(&[word])?))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, MetricsError> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// `firsts`: every value of the first label.
    pub(super) fn counter_table<W: Word>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
        firsts: impl Iterator<Item = &'static str>,
    ) -> Result<Table<W>, MetricsError> {
        let family = self.counters(name, help, &labels)?;
        let row = |first| ByWord::made(|word| Ok(family.get_metric_with_label_values(&[first, word])?));
        firsts.map(|first| Ok((first, row(first)?))).collect::<Result<_, _>>().map(Table)
    }

    pub(super) fn counter_by<W: Word>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<ByWord<W, IntCounter>, MetricsError> {
        let family = self.counters(name, help, &[label])?;
        ByWord::made(|word| Ok(family.get_metric_with_label_values(&[word])?))
    }
}
