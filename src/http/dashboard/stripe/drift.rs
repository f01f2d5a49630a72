//! Comparisons with Stripe, and what each found. It must never compare anything. Called through the table in `stripe`.

use askama::Template;

use super::words;
use crate::http::dashboard::list::{Links, Pager, fetch};
use crate::http::dashboard::page::{self, Frame, Page, PageError, PageResult};
use crate::http::dashboard::view::{self, Id, When};
use crate::store::drift_runs::{self, DriftFindingRow, DriftRun, KEPT_FINDINGS};

/// A comparison in a list.
pub(super) struct RunView {
    pub(super) id: i64,
    pub(super) status: String,
    pub(super) class: &'static str,
    /// What came of it.
    pub(super) outcome: String,
    pub(super) actor: String,
    pub(super) began: When,
    pub(super) error: String,
}

/// An object that was not the same.
pub(super) struct FindingView {
    pub(super) kind: String,
    pub(super) object: Id,
    pub(super) what: &'static str,
    pub(super) fields: String,
    pub(super) fixed: bool,
}

#[derive(Template)]
#[template(path = "drift.html", config = "src/http/dashboard/askama.toml")]
struct DriftPage {
    frame: Frame,
    run: RunView,
    types: String,
    ended: Option<When>,
    kept: i64,
    is_cut: bool,
    rows: Vec<FindingView>,
    pager: Pager,
}

pub(super) fn show(page: &Page<'_>) -> PageResult {
    let id = page.parameter("run").unwrap_or_default();
    let unknown = || PageError::not_found(format!("There is no comparison {id:?}; the oldest are forgotten."));
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let before = page.parameter("before");
    let after = before.as_deref().map(|text| text.parse().map_err(|_| unknown())).transpose()?;
    let (run, mut rows) = page.api.store.read(|reader| {
        Ok((drift_runs::find(reader, number)?, drift_runs::list_findings(reader, number, after, fetch())?))
    })?;
    let run = run.ok_or_else(unknown)?;
    let pager =
        Links::new("drift", &[("run", Some(&id))]).pager(&mut rows, before.as_deref(), |row| row.id.to_string());
    page::html(
        200,
        &DriftPage {
            frame: page.frame("stripe", format!("Comparison {}", run.id))?,
            types: run.types.clone(),
            ended: run.finished_at_ms.map(|ms| When::ms(ms, page.now_ms)),
            kept: KEPT_FINDINGS,
            is_cut: run.found > KEPT_FINDINGS,
            run: run_view(&run, page.now_ms),
            rows: rows.into_iter().map(finding_view).collect(),
            pager,
        },
    )
}

pub(super) fn run_view(run: &DriftRun, now_ms: i64) -> RunView {
    let counted = match (run.found, run.left()) {
        (0, _) if run.status == "running" => "no differences so far".to_owned(),
        (0, _) => format!("no differences in {} objects", run.same),
        (found, 0) => format!("{found} different, all repaired"),
        (found, left) if run.fix => format!("{found} different, {left} could not be repaired"),
        (found, _) => format!("{found} different"),
    };
    let unreadable = if run.unreadable > 0 { format!(", {} unreadable", run.unreadable) } else { String::new() };
    RunView {
        id: run.id,
        status: run.status.clone(),
        class: if run.status == "complete" && run.left() > 0 { "failed" } else { words::class(&run.status) },
        outcome: format!("{counted}{unreadable}"),
        actor: run.actor.clone(),
        began: When::ms(run.began_at_ms, now_ms),
        error: view::cut(run.error.as_deref().unwrap_or_default()),
    }
}

pub(super) fn finding_view(row: DriftFindingRow) -> FindingView {
    FindingView {
        what: words::drift(&row.drift),
        kind: view::cut(&row.kind),
        object: Id::new(&row.object_id),
        fields: view::cut(&row.fields),
        fixed: row.fixed,
    }
}
