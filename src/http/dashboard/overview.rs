//! The first page: is all well, and if not, what is to be done and where; below, the figures of a range of time as charts. It
//! must never ask Stripe, nor scan a table: what takes long was looked at before and is shown with its age. Called through
//! the table in `dashboard`.

mod charts;
mod range;
mod totals;
mod words;

use askama::Template;

use super::chart::Chart;
use super::page::{self, Frame, Page, PageError, PageResult};
use super::view::{self, When};
use super::{PageRoute, on};
use crate::base::finding::{Finding, FindingVerdict};
use crate::http::request::Method::Get;
use crate::jobs::findings::{self, FindingsOf, Remembered};
use crate::objects::figures;
use crate::outward::checks;
use crate::store::inbox;
use range::{RANGES, Range};
use totals::{Fact, FailureCode};
pub(super) use words::{Part, parts};
use words::{place_of, sentence};

pub(super) const ROUTES: &[PageRoute] = &[on(Get, "", overview)];

#[derive(Template)]
#[template(path = "overview.html", config = "src/http/dashboard/askama.toml")]
struct OverviewPage {
    frame: Frame,
    /// Is all well?
    sentence: String,
    /// The word of its dot.
    state: &'static str,
    /// No event has come yet.
    is_fresh: bool,
    /// What is to be done, the worst first.
    todo: Vec<FindingRow>,
    /// Everything that was looked at.
    all: Vec<FindingRow>,
    /// Since when the tables have not been looked through.
    tables_at: Option<When>,
    /// Since when Stripe has not been asked.
    stripe_at: Option<When>,
    has_key: bool,
    ranges: [Range; 4],
    range: Range,
    /// None before the first event.
    figures: Option<ShownFigures>,
}

/// The figures of the range.
struct ShownFigures {
    now: Vec<Fact>,
    payments: Vec<Fact>,
    codes: Vec<FailureCode>,
    /// Each as HTML, from a template of its own.
    charts: Vec<String>,
    /// Of which there is money, each as a link has it and as it is; and the one that is drawn.
    currencies: Vec<(String, String)>,
    currency: String,
}

impl ShownFigures {
    fn read(page: &Page<'_>, range: Range) -> Result<Self, PageError> {
        let now_s = page.now_ms.div_euclid(1000);
        let figures = page.api.store.read(|reader| figures::read(reader, range.time(now_s)))?;
        let currencies = charts::currencies(&figures);
        let asked = page.parameter("currency");
        let currency = currencies.iter().find(|one| Some(*one) == asked.as_ref()).or(currencies.first()).cloned();
        let charts = charts::all(&figures, range, currency.as_deref(), now_s);
        Ok(Self {
            now: totals::now(&figures),
            payments: totals::payments(&figures),
            codes: totals::codes(&figures),
            charts: charts.iter().map(Chart::html).collect::<Result<_, _>>()?,
            currencies: currencies.into_iter().map(|code| (page::encoded(&code), code)).collect(),
            currency: currency.unwrap_or_default(),
        })
    }
}

/// A finding as it is shown.
struct FindingRow {
    check: String,
    state: &'static str,
    message: Vec<Part>,
    /// Where it can be mended.
    place: Option<(&'static str, &'static str)>,
}

impl FindingRow {
    fn of(finding: &Finding) -> Self {
        Self {
            check: finding.check.clone(),
            state: finding.verdict.as_str(),
            message: parts(&finding.message),
            place: place_of(&finding.check),
        }
    }
}

/// All that is known without waiting.
struct Known {
    findings: Vec<Finding>,
    tables: Option<FindingsOf>,
    stripe: Option<FindingsOf>,
}

impl Known {
    fn read(page: &Page<'_>) -> Result<Self, PageError> {
        let (api, context) = (page.api, &page.api.context);
        let tokens = findings::tokens(api.tokens.api.is_some(), api.tokens.admin.is_some());
        let mut found = vec![findings::plans(&context.projection.policy.plans), tokens];
        found.extend(findings::at_hand(&api.store, context, page.now_ms.div_euclid(1000))?);
        found.push(findings::refused(&api.refused.counts()));
        let recall = |what| api.store.read(|reader| findings::recall(reader, what));
        let tables = recall(Remembered::Tables)?;
        let stripe = recall(Remembered::Stripe)?.filter(|_| context.projection.fetches);
        found.extend([&tables, &stripe].into_iter().flatten().flat_map(|known| known.findings.clone()));
        if !context.projection.fetches {
            found.push(checks::without_key());
        }
        Ok(Self { findings: found, tables, stripe })
    }
}

fn overview(page: &Page<'_>) -> PageResult {
    let asked = page.parameter("range");
    let range = asked.as_deref().map_or(Some(RANGES[0]), Range::find);
    let no_range = || PageError::Refused(400, "There is no such range; take one of the links.".to_owned());
    let range = range.ok_or_else(no_range)?;
    let known = Known::read(page)?;
    let is_fresh = page.api.store.read(inbox::newest_log_id)? == 0;
    let mut todo: Vec<&Finding> = known.findings.iter().filter(|one| one.verdict != FindingVerdict::Ok).collect();
    todo.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    let when = |known: &Option<FindingsOf>| known.as_ref().map(|known| When::ms(known.at_ms, page.now_ms));
    let (sentence, state) = sentence(&todo, is_fresh);
    page::html(
        200,
        &OverviewPage {
            frame: page.frame("overview", "Overview")?,
            sentence,
            state,
            is_fresh,
            todo: todo.into_iter().map(FindingRow::of).collect(),
            all: known.findings.iter().map(FindingRow::of).collect(),
            tables_at: when(&known.tables),
            stripe_at: when(&known.stripe),
            has_key: page.api.context.projection.fetches,
            ranges: RANGES,
            range,
            figures: (!is_fresh).then(|| ShownFigures::read(page, range)).transpose()?,
        },
    )
}
