//! `/metrics`: every series of a closed set is there at 0 from the first scrape, each cause moves its counter by one and no
//! other, no label grows with what comes from outside, and a scrape scans no table.

mod causes;
mod levels;
mod shown;

use std::collections::BTreeMap;

use tilld::http::private;
use tilld::http::request::Method;

use crate::harness::{Till, request};

/// Every series of a scrape with its value, in Prometheus's own format.
pub fn scrape(till: &Till) -> BTreeMap<String, f64> {
    let text = text(till, &[]).1;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// `Content-Type` and text of a scrape with these headers.
pub fn text(till: &Till, headers: &[(&str, &str)]) -> (String, String) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let answer = private::answer(&till.api, &request(Method::Get, "/metrics", headers, b""));
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let kind = answer.headers.into_iter().find(|(name, _)| *name == "Content-Type").unwrap().1;
    (kind, String::from_utf8(answer.body).unwrap())
}

/// What belongs to the process or the file as a whole and not to one cause.
fn is_of_the_whole(series: &str) -> bool {
    let whole = ["process_", "tilld_commit_", "tilld_database_", "tilld_build_info", "tilld_last_webhook_"];
    whole.iter().any(|start| series.starts_with(start))
}

/// The series that differ between two scrapes, by how much; of histograms the number of values alone.
pub fn moved(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let is_shown = |name: &&String| !is_of_the_whole(name) && !name.contains("_bucket{") && !name.ends_with("_sum");
    assert!(before.keys().eq(after.keys()), "series came or went");
    after
        .iter()
        .filter(|(name, value)| is_shown(name) && before[*name] != **value)
        .map(|(name, value)| (name.trim_start_matches("tilld_").to_owned(), value - before[name]))
        .collect()
}

/// Does something, and returns what moved.
pub fn moved_by(till: &mut Till, cause: impl FnOnce(&mut Till)) -> BTreeMap<String, f64> {
    let before = scrape(till);
    cause(till);
    moved(&before, &scrape(till))
}

pub fn changes(expected: &[(&str, f64)]) -> BTreeMap<String, f64> {
    expected.iter().map(|(name, by)| ((*name).to_owned(), *by)).collect()
}
