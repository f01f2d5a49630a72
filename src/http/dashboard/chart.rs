//! A chart, made on the server from plain data: bars that are stacked by outcome, or lines, with the same numbers as a
//! table below. Geometry alone: it knows no database and no meaning, and must never write text past the template, which
//! escapes it. Zero is at the bottom; a bucket without data is a gap and not a zero; colours come from the style sheet
//! by class. Labels are HTML beside the picture, so that they keep their size where the picture is stretched. Called by
//! `dashboard::overview`.

mod scale;
mod shapes;
mod unit;

use askama::Template;
use scale::Scale;
use shapes::{Gap, Hit, Marks};
pub(crate) use unit::ChartUnit;

/// Series that have a colour of their own; of more, the rest is not drawn but stands in the table.
pub(crate) const MAX_SERIES: usize = 4;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChartKind {
    /// Counts of a bucket, one upon the other.
    Bars,
    /// Rates, percentiles, levels.
    Lines,
}

/// The parts of time that values belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buckets {
    /// Where the first begins, unix seconds.
    pub(crate) first_s: i64,
    /// How long each is, in seconds.
    pub(crate) each_s: i64,
    /// How many.
    pub(crate) count: usize,
}

impl Buckets {
    /// Where one begins; the number after the last is where the last ends.
    fn start_s(&self, index: usize) -> i64 {
        self.first_s.saturating_add(self.each_s.saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    /// When it begins; of days, which.
    fn name(&self, index: usize) -> String {
        let (from_s, to_s) = (self.start_s(index), self.start_s(index + 1));
        if self.each_s % DAY_S != 0 {
            return unit::day_and_hour(from_s);
        }
        let (first, last) = (unit::day(from_s), unit::day(to_s - 1));
        match (first.split_once(' '), last.split_once(' ')) {
            _ if first == last => first,
            (Some((day, month)), Some((_, of_last))) if month == of_last => format!("{day}–{last}"),
            _ => format!("{first}–{last}"),
        }
    }

    /// Where it begins, the middle, and where it ends: more would overlap on a phone.
    fn labels(&self) -> [String; 3] {
        let (begin_s, end_s) = (self.first_s, self.start_s(self.count));
        let is_short = end_s.saturating_sub(begin_s) <= DAY_S;
        [begin_s, begin_s + (end_s - begin_s) / 2, end_s].map(|at_s| match at_s % DAY_S {
            _ if is_short => unit::hour(at_s),
            0 => unit::day(at_s),
            _ => unit::day_and_hour(at_s),
        })
    }
}

const DAY_S: i64 = 86_400;

/// Values that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// For the legend.
    pub(crate) name: String,
    /// One per bucket; `None`: there is no data.
    pub(crate) values: Vec<Option<f64>>,
}

/// What is to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    /// What it shows.
    pub(crate) title: String,
    /// One line below the title: what is counted and how. Empty: the title says it.
    pub(crate) note: String,
    /// How its values are written.
    pub(crate) unit: ChartUnit,
    /// How they are drawn.
    pub(crate) kind: ChartKind,
    /// When they were.
    pub(crate) buckets: Buckets,
    /// At least one.
    pub(crate) series: Vec<Series>,
    /// What is said where there is nothing to draw.
    pub(crate) empty: &'static str,
}

/// One name of the legend, with the class of its colour.
struct LegendEntry<'a> {
    class: usize,
    name: &'a str,
}

/// One row of the table.
struct TableRow {
    time: String,
    cells: Vec<String>,
}

#[derive(Template)]
#[template(path = "chart.html", config = "src/http/dashboard/askama.toml")]
struct ChartPage<'a> {
    chart: &'a Chart,
    /// What stands after the title.
    unit: String,
    /// From the top to zero.
    grid: Vec<String>,
    /// Where grid lines are drawn.
    lines: Vec<String>,
    labels: [String; 3],
    legend: Vec<LegendEntry<'a>>,
    gaps: Vec<Gap>,
    bars: Vec<Marks>,
    curves: Vec<Marks>,
    dots: Vec<Marks>,
    hits: Vec<Hit>,
    /// How wide what is pointed at is.
    hit_width: String,
    is_empty: bool,
    rows: Vec<TableRow>,
}

impl Chart {
    /// As HTML: title, legend, picture, table.
    ///
    /// # Errors
    /// When the template fails, which it does not.
    pub(crate) fn html(&self) -> Result<String, askama::Error> {
        let scale = Scale::of(&self.unit, self.top());
        let drawn = self.series.get(..MAX_SERIES).unwrap_or(&self.series);
        let mut page = ChartPage {
            chart: self,
            unit: self.unit.name(),
            grid: scale.values().map(|value| self.unit.short(value)).collect(),
            lines: scale.lines(),
            labels: self.buckets.labels(),
            legend: drawn.iter().enumerate().map(|(at, of)| LegendEntry { class: at + 1, name: &of.name }).collect(),
            gaps: shapes::gaps(self),
            bars: Vec::new(),
            curves: Vec::new(),
            dots: Vec::new(),
            hits: shapes::hits(self, drawn),
            hit_width: scale::number(shapes::width(&self.buckets)),
            is_empty: self.is_empty(),
            rows: self.rows(),
        };
        match self.kind {
            ChartKind::Bars => page.bars = shapes::bars(self, drawn, &scale),
            ChartKind::Lines => {
                page.curves = shapes::lines(self, drawn, &scale);
                page.dots = shapes::dots(self, drawn, &scale);
            }
        }
        page.render()
    }

    /// No data, or no bar that is higher than zero.
    fn is_empty(&self) -> bool {
        let is_drawn = |value: &f64| self.kind == ChartKind::Lines || *value > 0.0;
        !self.series.iter().flat_map(|series| &series.values).flatten().any(is_drawn)
    }

    /// The largest value that is drawn.
    fn top(&self) -> f64 {
        let of = |index: usize| {
            let values = self.series.iter().take(MAX_SERIES).filter_map(|series| *series.values.get(index)?);
            match self.kind {
                ChartKind::Bars => values.sum::<f64>(),
                ChartKind::Lines => values.fold(0.0, f64::max),
            }
        };
        (0..self.buckets.count).map(of).fold(0.0, f64::max)
    }

    /// Time and values of a bucket, for whoever points at it.
    fn words(&self, index: usize, drawn: &[Series]) -> String {
        let value = |series: &Series| {
            let value = (*series.values.get(index)?)?;
            let words = self.unit.words(value);
            Some(if drawn.len() > 1 { format!("{} {words}", series.name) } else { words })
        };
        let values: Vec<String> = drawn.iter().filter_map(value).collect();
        format!("{}: {}", self.buckets.name(index), values.join(", "))
    }

    fn rows(&self) -> Vec<TableRow> {
        let cell = |series: &Series, index: usize| match series.values.get(index) {
            Some(Some(value)) => self.unit.words(*value),
            _ => "no data".to_owned(),
        };
        let row = |index| TableRow {
            time: self.buckets.name(index),
            cells: self.series.iter().map(|series| cell(series, index)).collect(),
        };
        (0..self.buckets.count).rev().map(row).collect()
    }
}

#[cfg(test)]
mod tests;
