//! How the copy stands beside Stripe: what was asked for here and what came of it, catching up, reading everything, comparing.
//! Its buttons write down what is wanted; the daemon does it, and the page shows how far it is. It must never ask Stripe
//! itself. Called through the table in `dashboard`.

mod acts;
mod drift;
mod words;

use askama::Template;

use super::overview::{Part, parts};
use super::page::{self, Frame, Page, PageResult};
use super::view::{self, Id, When};
use super::{PageRoute, on};
use crate::base::finding::Finding;
use crate::http::request::Method::{Get, Post};
use crate::jobs::findings::{self, FindingsOf, Remembered};
use crate::store::drift_runs;
use crate::store::settings;
use crate::store::sync_runs::{self, SyncProgress, SyncRunEntry};
use crate::store::task_requests::{self, TaskRequest};
use crate::store::{StoreError, StoreReader, catch_up};
use drift::{FindingView, RunView};

pub(super) const ROUTES: &[PageRoute] = &[
    on(Get, "stripe", show),
    on(Get, "drift", drift::show),
    on(Post, "stripe-catch-up", acts::catch_up),
    on(Post, "stripe-compare", acts::compare),
    on(Get, "stripe-sync", acts::ask_sync),
    on(Post, "stripe-sync", acts::sync),
    on(Get, "stripe-fix", acts::ask_fix),
    on(Post, "stripe-fix", acts::fix),
];

/// Rows of each kind that the page shows.
const SHOWN: u32 = 10;
/// Findings of the newest comparison that the page shows.
const SHOWN_FINDINGS: u32 = 20;
/// While something runs, a browser loads the page again after so many seconds.
const RELOAD_S: u32 = 5;

#[derive(Template)]
#[template(path = "stripe.html", config = "src/http/dashboard/askama.toml")]
struct StripePage {
    frame: Frame,
    has_key: bool,
    account: Option<Id>,
    is_busy: bool,
    requests: Vec<RequestView>,
    catch_up: Vec<String>,
    syncs: Vec<SyncView>,
    /// How far each type of the run that is under way has come.
    progress: Vec<SyncProgress>,
    runs: Vec<RunView>,
    findings: Vec<FindingView>,
    has_more: bool,
    /// What Stripe said of endpoints and permissions when it was last asked, and when that was.
    checks: Vec<CheckView>,
    checked: Option<When>,
}

/// What Stripe said of one thing.
struct CheckView {
    check: String,
    state: &'static str,
    message: Vec<Part>,
}

/// Something that was asked for.
struct RequestView {
    what: &'static str,
    status: String,
    class: &'static str,
    actor: String,
    asked: When,
    outcome: String,
}

/// A run of reading everything.
struct SyncView {
    scope: String,
    status: String,
    class: &'static str,
    objects: i64,
    failed: i64,
    began: When,
    ended: Option<When>,
}

fn show(page: &Page<'_>) -> PageResult {
    let found = page.api.store.read(Found::read)?;
    let (now_ms, has_key) = (page.now_ms, page.api.calls.is_some());
    let is_busy = found.requests.iter().any(|request| matches!(request.status.as_str(), "waiting" | "running"));
    let has_more = found.findings.len() > usize::try_from(SHOWN_FINDINGS).unwrap_or(usize::MAX);
    let shown = StripePage {
        frame: page.frame("stripe", "Stripe")?,
        has_key,
        account: found.account.as_deref().map(Id::new),
        is_busy,
        requests: found.requests.iter().map(|request| request_view(request, now_ms)).collect(),
        catch_up: words::catch_up(&found.catch_up, (has_key, now_ms)),
        syncs: found.syncs.iter().map(|run| sync_view(run, now_ms)).collect(),
        progress: found.progress,
        runs: found.runs.iter().map(|run| drift::run_view(run, now_ms)).collect(),
        findings: found.findings.into_iter().take(page_size()).map(drift::finding_view).collect(),
        has_more,
        checked: found.checks.as_ref().map(|of| When::ms(of.at_ms, now_ms)),
        checks: found.checks.iter().flat_map(|of| &of.findings).map(check_view).collect(),
    };
    let mut response = page::html(200, &shown)?;
    if is_busy && has_key {
        response.headers.push(("Refresh", RELOAD_S.to_string()));
    }
    Ok(response)
}

fn page_size() -> usize {
    usize::try_from(SHOWN_FINDINGS).unwrap_or(usize::MAX)
}

/// What the page shows, from one look at the database.
struct Found {
    account: Option<String>,
    requests: Vec<TaskRequest>,
    catch_up: catch_up::CatchUpState,
    syncs: Vec<SyncRunEntry>,
    progress: Vec<SyncProgress>,
    runs: Vec<drift_runs::DriftRun>,
    findings: Vec<drift_runs::DriftFindingRow>,
    checks: Option<FindingsOf>,
}

impl Found {
    fn read(reader: &StoreReader) -> Result<Self, StoreError> {
        let syncs = sync_runs::list(reader, SHOWN)?;
        let progress = match syncs.iter().find(|run| run.status == "running") {
            Some(run) => sync_runs::list_progress(reader, run.id)?,
            None => Vec::new(),
        };
        let runs = drift_runs::list(reader, SHOWN)?;
        let found = match runs.first() {
            Some(run) => drift_runs::list_findings(reader, run.id, None, SHOWN_FINDINGS.saturating_add(1))?,
            None => Vec::new(),
        };
        Ok(Self {
            account: settings::find(reader, settings::STRIPE_ACCOUNT)?,
            requests: task_requests::list(reader, SHOWN)?,
            catch_up: catch_up::get(reader)?,
            syncs,
            progress,
            runs,
            findings: found,
            checks: findings::recall(reader, Remembered::Stripe)?,
        })
    }
}

fn request_view(request: &TaskRequest, now_ms: i64) -> RequestView {
    RequestView {
        what: words::task(request.task),
        status: request.status.clone(),
        class: words::class(&request.status),
        actor: request.actor.clone(),
        asked: When::ms(request.asked_at_ms, now_ms),
        outcome: view::cut(request.outcome.as_deref().unwrap_or_default()),
    }
}

fn check_view(finding: &Finding) -> CheckView {
    CheckView { check: view::cut(&finding.check), state: finding.verdict.as_str(), message: parts(&finding.message) }
}

fn sync_view(run: &SyncRunEntry, now_ms: i64) -> SyncView {
    SyncView {
        scope: if run.scope == "all" { "all types".to_owned() } else { view::cut(&run.scope) },
        status: if run.status == "running" { "not at its end".to_owned() } else { run.status.clone() },
        class: words::class(&run.status),
        objects: run.objects,
        failed: run.failed,
        began: When::ms(run.began_at_ms, now_ms),
        ended: run.finished_at_ms.map(|ms| When::ms(ms, now_ms)),
    }
}
