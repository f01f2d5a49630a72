//! Backfill: every object of every type, from Stripe's lists into the tables. Types run side by side on a few threads,
//! so that a slow network still uses the rate; each page and the position after it are one commit. A type is complete
//! after its last page, the run after its last type, and only a run of all types closes a gap in the events. It must
//! never move the cursor of catching up: objects do not say what happened to them. Called by `catch_up` for a gap and by
//! `tilld sync`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::api::SyncPage;
use super::page::{self, PageBatch};
use super::{EVENTS_KEPT_S, KEPT_MARGIN_S, SyncError, SyncTools, account, api};
use crate::base::object_kind::ObjectKind;
use crate::base::thread;
use crate::objects::{customer, kinds};
use crate::store::audit::{self, NewEntry};
use crate::store::sync_runs::{self, SyncProgress, SyncRun};
use crate::store::{StoreError, Tx, catch_up};

/// Types read at once. A list is read page after page; at 300 ms a page these still make 20 calls a second.
const SIDE_BY_SIDE: usize = 6;
/// Customers asked about at once, where a list is one per customer.
const CUSTOMERS_AT_ONCE: usize = SIDE_BY_SIDE;
/// The type that must be read before the lists that are one per customer.
const CUSTOMERS: &str = "customers";
/// The scope of a run of all types.
pub const ALL: &str = "all";

/// What to read.
pub struct BackfillOrder {
    kinds: Vec<&'static ObjectKind>,
    restart: bool,
    /// A type that Stripe refuses is logged and skipped.
    skips_refused: bool,
}

impl BackfillOrder {
    /// All types; an unfinished run is resumed. Nobody is there to give the key a permission, so a type that Stripe refuses is
    /// logged and skipped: the run would never come to its end otherwise.
    #[must_use]
    pub fn everything() -> Self {
        Self { skips_refused: true, ..Self::of(&[], false) }
    }

    /// These types, or all that are read by default if there are none. `restart`: abandons an
    /// unfinished run of the same types.
    #[must_use]
    pub fn of(names: &[&'static ObjectKind], restart: bool) -> Self {
        let kinds = if names.is_empty() {
            kinds::by_default().collect()
        } else {
            kinds::all().filter(|kind| names.contains(kind)).collect()
        };
        Self { kinds, restart, skips_refused: false }
    }

    /// Whether it is for all types.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        kinds::by_default().all(|kind| self.kinds.contains(&kind))
    }

    fn scope(&self) -> String {
        if self.kinds.iter().copied().eq(kinds::by_default()) {
            return ALL.to_owned();
        }
        self.kinds.iter().map(|kind| kind.name).collect::<Vec<_>>().join(",")
    }
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillDone {
    /// Each type, with pages and objects of earlier, interrupted attempts.
    pub progress: Vec<SyncProgress>,
    /// All types: a gap in the events is closed.
    pub whole: bool,
    /// Types that were skipped, and why.
    pub refused: Vec<String>,
}

/// A type that was not read to its end.
struct BackfillFailure {
    kind: &'static str,
    text: String,
    /// Asking again does not help.
    refused: bool,
}

/// Reads what is not read yet. `report` is called for each page, from several threads.
///
/// # Errors
/// What kept it from its end; the next call resumes there.
pub fn run(
    tools: &SyncTools,
    order: &BackfillOrder,
    report: &(dyn Fn(&SyncProgress) + Sync),
) -> Result<BackfillDone, SyncError> {
    account::check(tools)?;
    let run = begin(tools, order)?;
    let mut left = tools.store.read(|reader| sync_runs::list_progress(reader, run.id))?;
    left.retain(|progress| !progress.finished);
    let work = |progress: SyncProgress| {
        let kind = order.kinds.iter().find(|kind| kind.name == progress.kind);
        kind.map(|kind| PageReader { tools, run_id: run.id, kind, report, progress })
    };
    let (per_customer, others): (Vec<_>, Vec<_>) =
        left.into_iter().filter_map(work).partition(|reader| reader.kind.is_per_customer());
    let mut failures = side_by_side(others)?;
    for reader in per_customer {
        let name = reader.kind.name;
        // They are asked for customer by customer, so the customers must be there.
        failures.extend(match failures.iter().find(|failure| failure.kind == CUSTOMERS) {
            Some(of) => {
                let text = format!("{name}: not read, since the customers were not");
                Some(BackfillFailure { kind: name, text, refused: of.refused })
            }
            None => collect(name, reader.of_customers())?,
        });
    }
    let may_skip = order.skips_refused && failures.iter().all(|failure| failure.refused);
    if !failures.is_empty() && !may_skip {
        return Err(SyncError::Incomplete(failures.into_iter().map(|failure| failure.text).collect()));
    }
    let whole = order.is_whole();
    let end = RunEnd { run_id: run.id, whole, now_ms: tools.clock.now_ms() };
    let kinds: Vec<&'static str> = failures.iter().map(|failure| failure.kind).collect();
    let refused: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
    warn_of_refused(&refused);
    let texts = refused.clone();
    let complete = tools.store.write(move |tx| finish(tx, &end, &kinds, &texts))?;
    let progress = tools.store.read(|reader| sync_runs::list_progress(reader, run.id))?;
    if complete { Ok(BackfillDone { progress, whole, refused }) } else { Err(SyncError::GivenUp) }
}

fn warn_of_refused(refused: &[String]) {
    if !refused.is_empty() {
        log::warn!(
            "read without these types, which Stripe refused: {}; once the key has the permission, `tilld sync` with their names reads them",
            refused.join("; ")
        );
    }
}

/// The run that is under way, or a new one.
fn begin(tools: &SyncTools, order: &BackfillOrder) -> Result<SyncRun, SyncError> {
    let (scope, restart, now_ms) = (order.scope(), order.restart, tools.clock.now_ms());
    let names: Vec<&'static str> = order.kinds.iter().map(|kind| kind.name).collect();
    let run = tools.store.write(move |tx| {
        if let Some(running) = sync_runs::find_running(tx, &scope)? {
            let age_s = (now_ms - running.began_at_ms) / 1000;
            // Stripe no longer has the events of what its first types have missed since.
            if !restart && age_s < EVENTS_KEPT_S - KEPT_MARGIN_S {
                return Ok(running);
            }
            sync_runs::abandon(tx, running.id, now_ms)?;
        }
        sync_runs::begin(tx, &scope, &names, now_ms)
    })?;
    Ok(run)
}

/// How a run ends.
struct RunEnd {
    run_id: i64,
    whole: bool,
    now_ms: i64,
}

/// `kinds` were skipped, for the reasons `refused`. They are marked in the same commit: before that, a run that somebody
/// begins by hand would take them for read.
fn finish(tx: &Tx, end: &RunEnd, kinds: &[&'static str], refused: &[String]) -> Result<bool, StoreError> {
    for kind in kinds {
        sync_runs::pass_over(tx, end.run_id, kind, end.now_ms)?;
    }
    if sync_runs::finish(tx, end.run_id, end.now_ms)?.is_none() {
        return Ok(false);
    }
    if !refused.is_empty() {
        let detail = json!({ "not_read": refused }).to_string();
        audit::add(tx, &NewEntry::new("tilld", "sync.passed_over", end.now_ms, &detail))?;
    }
    if end.whole {
        catch_up::close_gap(tx)?;
    }
    Ok(true)
}

/// Reads types on a few threads, the next when one is done. Returns what failed for one type alone.
fn side_by_side(readers: Vec<PageReader>) -> Result<Vec<BackfillFailure>, SyncError> {
    let threads = SIDE_BY_SIDE.min(readers.len());
    let waiting = Mutex::new(VecDeque::from(readers));
    let take = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = |_| {
        let mut failures = Vec::new();
        while let Some(reader) = take() {
            let name = reader.kind.name;
            match collect(name, reader.whole_list()) {
                Ok(failure) => failures.extend(failure),
                Err(error) => {
                    // Everything else would fail as well.
                    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Err(error);
                }
            }
        }
        Ok(failures)
    };
    let done = thread::side_by_side("sync", threads, work).map_err(|error| SyncError::Thread(error.to_string()))?;
    let mut failures = Vec::new();
    for outcome in done {
        failures.extend(outcome.map_err(SyncError::Thread)??);
    }
    Ok(failures)
}

/// A type's failure, unless everything else would fail as well.
fn collect(name: &'static str, outcome: Result<(), SyncError>) -> Result<Option<BackfillFailure>, SyncError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(error) if error.is_for_all() => Err(error),
        Err(error) => {
            let (text, refused) = (format!("{name}: {error}"), error.is_refusal());
            Ok(Some(BackfillFailure { kind: name, text, refused }))
        }
    }
}

/// Reads one type.
struct PageReader<'a> {
    tools: &'a SyncTools,
    run_id: i64,
    kind: &'static ObjectKind,
    report: &'a (dyn Fn(&SyncProgress) + Sync),
    progress: SyncProgress,
}

impl PageReader<'_> {
    fn whole_list(mut self) -> Result<(), SyncError> {
        while !self.progress.finished {
            let pages = self.tools.pages(self.kind.path, api::form_of(self.kind)).after(self.progress.after_id.clone());
            for page in pages {
                match page {
                    Err(error) if self.progress.after_id.is_some() && error.is_missing() => {
                        // The object that the last page ended with has been deleted: from the beginning, once more.
                        log::info!("the position in the list of {} is gone; the list is read again", self.kind.name);
                        self.progress.after_id = None;
                    }
                    page => self.take(page?)?,
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, page: SyncPage) -> Result<(), SyncError> {
        let mut batch = PageBatch::default();
        for raw in &page.items {
            batch.add(self.tools, self.kind, raw, page.read)?;
        }
        let (objects, began_s) = (page.items.len(), page.began_s());
        drop(page.items);
        self.progress.finished = page.next.is_none();
        self.progress.after_id = page.next;
        self.store(batch, objects, began_s)
    }

    /// One list per customer that is known here, several customers at once.
    fn of_customers(mut self) -> Result<(), SyncError> {
        while !self.progress.finished {
            let after = self.progress.after_row.unwrap_or(0);
            let customers = self.tools.store.read(|reader| customer::list_after(reader, after, CUSTOMERS_AT_ONCE))?;
            let (tools, kind) = (self.tools, self.kind);
            let ask = |index: usize| list_of(tools, kind, &customers[index].1);
            let asked = thread::side_by_side("sync", customers.len(), ask);
            let (mut batch, mut objects) = (PageBatch::default(), 0);
            let mut began_s = tools.clock.now_s();
            for listed in asked.map_err(|error| SyncError::Thread(error.to_string()))? {
                let Some(listed) = listed.map_err(SyncError::Thread)?? else { continue };
                objects += listed.objects;
                began_s = began_s.min(listed.began_s);
                batch.objects.extend(listed.batch.objects);
                batch.failed += listed.batch.failed;
            }
            self.progress.finished = customers.len() < CUSTOMERS_AT_ONCE;
            self.progress.after_row = customers.last().map_or(Some(after), |(row, _)| Some(*row));
            self.store(batch, objects, began_s)?;
        }
        Ok(())
    }

    /// Projects a page and stores the position after it.
    fn store(&mut self, batch: PageBatch, objects: usize, began_s: i64) -> Result<(), SyncError> {
        let (run_id, now_ms) = (self.run_id, self.tools.clock.now_ms());
        self.progress.pages += 1;
        self.progress.objects = self.progress.objects.saturating_add(u32::try_from(objects).unwrap_or(u32::MAX));
        let (before, now) = (self.progress.failed, self.progress.clone());
        let mark = move |tx: &Tx, failed: u32| {
            let now = SyncProgress { failed: before.saturating_add(failed), ..now.clone() };
            let ours = sync_runs::advance(tx, run_id, &now, (began_s, now_ms))?;
            Ok((ours, now.failed))
        };
        let (ours, failed) = page::take(self.tools, self.kind, batch, mark)?;
        if !ours {
            return Err(SyncError::GivenUp);
        }
        self.progress.failed = failed;
        (self.report)(&self.progress);
        Ok(())
    }
}

/// What one customer's list had.
struct CustomerList {
    batch: PageBatch,
    objects: usize,
    began_s: i64,
}

/// `None`: the customer is not there any more.
fn list_of(tools: &SyncTools, kind: &ObjectKind, customer_id: &str) -> Result<Option<CustomerList>, SyncError> {
    let path = kind.list_path(Some(customer_id));
    let mut listed = CustomerList { batch: PageBatch::default(), objects: 0, began_s: i64::MAX };
    for page in tools.pages(&path, api::form_of(kind)) {
        let page = match page {
            Err(error) if error.is_missing() => return Ok(None),
            page => page?,
        };
        for raw in &page.items {
            listed.batch.add(tools, kind, raw, page.read)?;
        }
        listed.objects += page.items.len();
        listed.began_s = listed.began_s.min(page.began_s());
    }
    Ok(Some(listed))
}
