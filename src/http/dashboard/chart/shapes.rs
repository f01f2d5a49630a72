//! The marks of a chart as coordinates: stacked bars, lines with dots, what is pointed at, and gaps where there is no data. Pure; the
//! template writes them. Called by `dashboard::chart`.

use super::scale::{HEIGHT, Scale, WIDTH, number};
use super::{Buckets, Chart, Series};

/// The part of a bucket's width that its bar takes.
const BAR_SHARE: f64 = 0.8;
/// The least height of a bar that is not zero: one failure among thousands is seen.
const LEAST_HEIGHT: f64 = 3.0;

/// Buckets in a row without data.
pub(super) struct Gap {
    pub(super) path: String,
    pub(super) words: String,
}

/// All marks of a series as one path, and the class of its colour.
pub(super) struct Marks {
    pub(super) class: usize,
    pub(super) path: String,
}

/// The whole height of a bucket, for whoever points at it: what its marks say.
pub(super) struct Hit {
    pub(super) path: String,
    pub(super) words: String,
}

/// How wide a bucket is.
pub(super) fn width(buckets: &Buckets) -> f64 {
    WIDTH / of(buckets.count.max(1))
}

#[allow(clippy::cast_precision_loss)] // some dozens
fn of(count: usize) -> f64 {
    count as f64
}

/// The middle of a bucket.
fn middle(buckets: &Buckets, index: usize) -> f64 {
    (of(index) + 0.5) * width(buckets)
}

fn has_data(chart: &Chart, index: usize) -> bool {
    chart.series.iter().any(|series| matches!(series.values.get(index), Some(Some(_))))
}

pub(super) fn gaps(chart: &Chart) -> Vec<Gap> {
    let (mut found, mut from) = (Vec::new(), None);
    for index in 0..=chart.buckets.count {
        let is_gap = index < chart.buckets.count && !has_data(chart, index);
        match (is_gap, from) {
            (true, None) => from = Some(index),
            (false, Some(first)) => {
                found.push(gap(&chart.buckets, first, index));
                from = None;
            }
            _ => {}
        }
    }
    found
}

fn gap(buckets: &Buckets, first: usize, end: usize) -> Gap {
    let words = if end - first == 1 {
        format!("{}: no data", buckets.name(first))
    } else {
        format!("{} to {}: no data", buckets.name(first), buckets.name(end - 1))
    };
    let (left, right) = edges(buckets, first, end);
    Gap { path: format!("M{left} 0H{right}v{HEIGHT}H{left}z"), words }
}

/// A line down the middle of each bucket with data, as wide as the bucket.
pub(super) fn hits(chart: &Chart, drawn: &[Series]) -> Vec<Hit> {
    let hit = |index| {
        let path = format!("M{} 0v{HEIGHT}", number(middle(&chart.buckets, index)));
        Hit { path, words: chart.words(index, drawn) }
    };
    (0..chart.buckets.count).filter(|index| has_data(chart, *index)).map(hit).collect()
}

/// From where to where buckets reach.
fn edges(buckets: &Buckets, first: usize, end: usize) -> (f64, f64) {
    ((of(first) * width(buckets)).round(), (of(end) * width(buckets)).round())
}

pub(super) fn bars(chart: &Chart, drawn: &[Series], scale: &Scale) -> Vec<Marks> {
    let each = width(&chart.buckets);
    let wide = number(each * BAR_SHARE);
    let mut bottoms = vec![HEIGHT; chart.buckets.count];
    let mut found = Vec::new();
    for (at, series) in drawn.iter().enumerate() {
        let mut path = String::new();
        for (index, bottom) in bottoms.iter_mut().enumerate() {
            let value = series.values.get(index).copied().flatten().unwrap_or(0.0);
            if value > 0.0 {
                let height = (HEIGHT - scale.y(value)).max(LEAST_HEIGHT).min(*bottom);
                *bottom -= height;
                let left = number(middle(&chart.buckets, index) - each * BAR_SHARE / 2.0);
                path.push_str(&format!("M{left} {}h{wide}v{}h-{wide}z", number(*bottom), number(height)));
            }
        }
        found.push(Marks { class: at + 1, path });
    }
    found
}

/// A new part of a line begins after each gap.
pub(super) fn lines(chart: &Chart, drawn: &[Series], scale: &Scale) -> Vec<Marks> {
    let line = |(at, series): (usize, &Series)| {
        let (mut path, mut is_drawing) = (String::new(), false);
        for index in 0..chart.buckets.count {
            let value = series.values.get(index).copied().flatten();
            if let Some(value) = value {
                let letter = if is_drawing { 'L' } else { 'M' };
                path.push_str(&format!("{letter}{}", point(chart, index, value, scale)));
            }
            is_drawing = value.is_some();
        }
        Marks { class: at + 1, path }
    };
    drawn.iter().enumerate().map(line).collect()
}

/// Values between two gaps, of which a line shows nothing. Each is a line without length, which a round cap makes a dot
/// whatever the picture is stretched to.
pub(super) fn dots(chart: &Chart, drawn: &[Series], scale: &Scale) -> Vec<Marks> {
    let dots = |(at, series): (usize, &Series)| {
        let value = |index: usize| series.values.get(index).copied().flatten();
        let is_alone = |index: &usize| index.checked_sub(1).and_then(value).is_none() && value(*index + 1).is_none();
        let dot = |index| Some(format!("M{}h0", point(chart, index, value(index)?, scale)));
        Marks { class: at + 1, path: (0..chart.buckets.count).filter(is_alone).filter_map(dot).collect() }
    };
    drawn.iter().enumerate().map(dots).filter(|marks| !marks.path.is_empty()).collect()
}

fn point(chart: &Chart, index: usize, value: f64, scale: &Scale) -> String {
    format!("{} {}", number(middle(&chart.buckets, index)), number(scale.y(value)))
}
