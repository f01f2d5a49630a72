//! Families as text: the format of Prometheus by its crate, OpenMetrics by the specification
//! (prometheus.io/docs/specs/om/open_metrics_spec). It must never leave a series out. Called by `metrics`.

use std::fmt::Write;

use prometheus::TextEncoder;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::MetricsError;

/// What a counter's series end with; in OpenMetrics its family does not.
const TOTAL: &str = "_total";

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus's own.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl TextFormat {
    /// The `Content-Type` of an answer in it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn write(self, families: &[MetricFamily]) -> Result<String, MetricsError> {
        match self {
            Self::Prometheus => Ok(TextEncoder::new().encode_to_string(families)?),
            Self::OpenMetrics => {
                let mut text = String::new();
                families.iter().for_each(|family| write_family(&mut text, family));
                text.push_str("# EOF\n");
                Ok(text)
            }
        }
    }
}

fn write_family(text: &mut String, family: &MetricFamily) {
    let (kind, name) = match family.get_field_type() {
        MetricType::COUNTER => ("counter", family.name().strip_suffix(TOTAL).unwrap_or(family.name())),
        MetricType::HISTOGRAM => ("histogram", family.name()),
        MetricType::GAUGE => ("gauge", family.name()),
        MetricType::SUMMARY | MetricType::UNTYPED => ("unknown", family.name()),
    };
    // Writing into a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escaped(family.help()));
    for metric in family.get_metric() {
        let mut sample = |ending: &str, bound: Option<f64>, value: f64| {
            let _ = writeln!(text, "{name}{ending}{} {}", labels(metric, bound), number(value));
        };
        match family.get_field_type() {
            MetricType::COUNTER => sample(TOTAL, None, metric.get_counter().get_value()),
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let count = histogram.get_sample_count();
                for bucket in histogram.get_bucket() {
                    sample("_bucket", Some(bucket.upper_bound()), whole(bucket.cumulative_count()));
                }
                sample("_bucket", Some(f64::INFINITY), whole(count));
                sample("_sum", None, histogram.get_sample_sum());
                sample("_count", None, whole(count));
            }
            _ => sample("", None, metric.get_gauge().get_value()),
        }
    }
}

/// A count; exact up to 2^53.
fn whole(count: u64) -> f64 {
    count as f64
}

fn labels(metric: &Metric, bound: Option<f64>) -> String {
    let own = metric.get_label().iter().map(|label| format!("{}=\"{}\"", label.name(), escaped(label.value())));
    // A bound is always written as a floating-point number.
    let bound = bound.map(|bound| match bound.is_infinite() {
        true => "le=\"+Inf\"".to_owned(),
        false => format!("le=\"{bound:?}\""),
    });
    let all: Vec<String> = own.chain(bound).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        value => value.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use prometheus::core::Collector;
    use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts};

    #[test]
    fn open_metrics_names_a_counters_family_without_total_and_ends_with_eof() {
        let counter = IntCounterVec::new(Opts::new("tilld_x_total", "With \"quotes\"."), &["word"]).unwrap();
        counter.with_label_values(&["a\"b\\c\nd"]).inc();
        let text = TextFormat::OpenMetrics.write(&counter.collect()).unwrap();
        assert_eq!(
            text,
            "# HELP tilld_x With \\\"quotes\\\".\n# TYPE tilld_x counter\ntilld_x_total{word=\"a\\\"b\\\\c\\nd\"} 1\n# EOF\n"
        );
    }

    #[test]
    fn bounds_of_a_histogram_are_floating_point_numbers_and_end_with_infinity() {
        let options = HistogramOpts::new("tilld_s", "Seconds.").buckets(vec![0.0005, 1.0, 10.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        histogram.observe(0.5);
        histogram.observe(99.0);
        let text = TextFormat::OpenMetrics.write(&histogram.collect()).unwrap();
        let samples: Vec<&str> = text.lines().skip(2).collect();
        let expected = [
            "tilld_s_bucket{le=\"0.0005\"} 0",
            "tilld_s_bucket{le=\"1.0\"} 1",
            "tilld_s_bucket{le=\"10.0\"} 1",
            "tilld_s_bucket{le=\"+Inf\"} 2",
            "tilld_s_sum 99.5",
            "tilld_s_count 2",
            "# EOF",
        ];
        assert_eq!(samples, expected);
    }
}
