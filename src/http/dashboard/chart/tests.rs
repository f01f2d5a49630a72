//! The geometry of charts.
#![allow(clippy::unwrap_used)]

use super::*;

fn chart(kind: ChartKind, series: &[(&str, &[Option<f64>])]) -> Chart {
    let count = series.iter().map(|(_, values)| values.len()).max().unwrap();
    let of = |(name, values): &(&str, &[Option<f64>])| Series { name: (*name).to_owned(), values: values.to_vec() };
    Chart {
        title: "Webhooks".to_owned(),
        note: String::new(),
        unit: ChartUnit::Count("events"),
        kind,
        // 2026-01-01.
        buckets: Buckets { first_s: 1_767_225_600, each_s: 3600, count },
        series: series.iter().map(of).collect(),
        empty: "Nothing came.",
    }
}

fn picture(html: &str) -> &str {
    let start = html.find("<svg viewBox=\"0 0 720").unwrap();
    &html[start..start + html[start..].find("</svg>").unwrap()]
}

#[test]
fn bars_stand_on_the_zero_line_one_upon_the_other() {
    let html = chart(ChartKind::Bars, &[("processed", &[Some(4.0)]), ("failed", &[Some(2.0)])]).html().unwrap();
    let picture = picture(&html);
    // The scale ends at 6: four of six from 100 up, then two of six.
    assert!(picture.contains(r#"<path class="series-1" d="M72 67h576v133h-576z"/>"#), "{picture}");
    assert!(picture.contains(r#"<path class="series-2" d="M72 0h576v67h-576z"/>"#), "{picture}");
    assert!(picture.contains("<title>1 Jan 00:00: processed 4, failed 2</title>"), "{picture}");
}

#[test]
fn one_failure_among_thousands_is_seen() {
    let html = chart(ChartKind::Bars, &[("processed", &[Some(9000.0)]), ("failed", &[Some(1.0)])]).html().unwrap();
    assert!(picture(&html).contains(r#"<path class="series-2" d="M72 17h576v3h-576z"/>"#), "{html}");
}

#[test]
fn where_there_is_no_data_a_line_has_a_gap_and_no_zero() {
    let values = [Some(8.0), Some(4.0), None, None, Some(0.0)];
    let html = chart(ChartKind::Lines, &[("lag", &values)]).html().unwrap();
    let picture = picture(&html);
    assert!(picture.contains(r#"d="M72 0L216 100M648 200""#), "{picture}");
    assert!(picture.contains(r#"<path class="gap" d="M288 0H576v200H288z">"#), "{picture}");
    assert!(picture.contains("<title>1 Jan 02:00 to 1 Jan 03:00: no data</title>"), "{picture}");
    assert!(picture.contains(r#"<g class="dots"><path class="series-1" d="M648 200h0"/></g>"#), "alone: {picture}");
    assert_eq!(picture.matches("<title>").count(), 4, "{picture}");
    assert_eq!(html.matches("no data</td>").count(), 2, "{html}");
}

#[test]
fn a_chart_without_any_data_says_so() {
    for values in [[None, None], [Some(0.0), Some(0.0)]] {
        let html = chart(ChartKind::Bars, &[("processed", &values)]).html().unwrap();
        assert!(html.contains("Nothing came.") && !html.contains("<svg"), "{html}");
    }
}

#[test]
fn a_name_that_is_html_stays_text() {
    let mut hostile = chart(ChartKind::Lines, &[("</title><script>alert(1)</script>", &[Some(1.0)]), ("b", &[None])]);
    hostile.title = "\"><script>alert(2)</script>".to_owned();
    let html = hostile.html().unwrap();
    assert!(!html.contains("<script"), "{html}");
    assert!(html.contains("alert(1)") && html.contains("alert(2)"));
}

#[test]
fn no_chart_needs_a_style_or_a_script() {
    for kind in [ChartKind::Bars, ChartKind::Lines] {
        let html = chart(kind, &[("a", &[Some(1.0), None])]).html().unwrap();
        assert!(!html.contains("style=") && !html.contains("onclick") && !html.contains("<script"), "{html}");
    }
}

#[test]
fn days_are_named_as_days_and_the_axis_has_three_labels() {
    let day = Buckets { first_s: 1_767_225_600, each_s: 86_400, count: 30 };
    assert_eq!(day.name(0), "1 Jan");
    assert_eq!(day.labels(), ["1 Jan", "16 Jan", "31 Jan"]);
    let three_days = Buckets { each_s: 3 * 86_400, ..day };
    assert_eq!(three_days.name(1), "4–6 Jan");
    assert_eq!(three_days.name(10), "31 Jan–2 Feb");
    let hours = Buckets { each_s: 3600, count: 24, ..day };
    assert_eq!(hours.labels(), ["00:00", "12:00", "00:00"]);
}
