//! Drift: compares the mirror with Stripe's lists, page by page, and the typed rows with the mirror. Finds what differs,
//! what is missing here, what Stripe no longer has, and what is wrong in the tables, and repairs it if asked to. An object
//! that is newer in the mirror than on the page, or whose event is still waiting, is not drift. It must never hold more of a
//! type than the hashes of its ids. Called by `jobs::schedule` at night and by `tilld drift`.

mod findings;
mod record;
mod tables;

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::page::{self, PageBatch};
use super::{SyncError, SyncTools, account, api, compare};
use crate::base::object_kind::ObjectKind;
use crate::objects::customer;
use crate::objects::reading::{self, ApiObject, MirrorState, ReadingOutcome, RequestSent};
use crate::store::StoreError;
use crate::store::mirror::{self, ApiReading};
use crate::stripe::form::FormBody;
use crate::stripe::list;
pub use findings::{DriftFinding, DriftKind, DriftOutcome, DriftTally};
use record::DriftRecord;

/// Rows of the mirror looked at in one read.
const ROWS: u32 = 100;
/// Objects of a type that are compared a second time at most; beyond that a difference counts at once.
const MAX_SECOND_LOOKS: usize = 1000;
/// An object that is older than this, in seconds, is not missing because its event is still on its way.
const ON_ITS_WAY_S: i64 = 600;
/// How many names of fields the audit log gets at most.
const MAX_FIELDS: usize = 20;

/// What is reported during a comparison.
pub enum DriftReport<'a> {
    /// A page is done: type, pages, objects on this page.
    Page(&'static str, u64, u64),
    /// Something is not the same.
    Found(&'a DriftFinding),
}

/// Compares these types; `fix`: repairs what is not the same. The result goes into the audit log in `actor`'s name.
///
/// # Errors
/// What kept it from its end for all types.
pub fn run(
    tools: &SyncTools,
    kinds: &[&'static ObjectKind],
    fix: bool,
    actor: &'static str,
    report: &mut dyn FnMut(DriftReport),
) -> Result<DriftOutcome, SyncError> {
    account::check(tools)?;
    let record = DriftRecord::begin(tools, actor, kinds, fix)?;
    let compared = compare_all(tools, kinds, (fix, &record), report);
    record.finish(tools, actor, &compared)?;
    compared.1.map(|()| compared.0)
}

/// The outcome so far, and what kept it from its end for all types.
fn compare_all(
    tools: &SyncTools,
    kinds: &[&'static ObjectKind],
    (fix, record): (bool, &DriftRecord),
    report: &mut dyn FnMut(DriftReport),
) -> (DriftOutcome, Result<(), SyncError>) {
    let mut outcome = DriftOutcome::default();
    for kind in kinds {
        let tally = DriftTally { kind: kind.name, ..DriftTally::default() };
        let (seen, hasher) = (HashSet::new(), RandomState::new());
        let (fields, recognised) = (&mut outcome.fields, outcome.recognised);
        let (again, level) = (Some(Vec::new()), Vec::new());
        let mut check =
            DriftCheck { tools, record, kind, fix, tally, seen, hasher, again, level, fields, recognised, report };
        let ended = check.compare_listed().and_then(|()| check.compare_again()).and_then(|()| check.ask_for_unlisted());
        let (recognised, tally) = (check.recognised, check.tally);
        outcome.recognised = recognised;
        outcome.tallies.push(tally);
        match ended {
            Ok(()) => {}
            Err(error) if error.is_for_all() => return (outcome, Err(error)),
            Err(error) => outcome.refused.push(format!("{}: {error}", kind.name)),
        }
    }
    (outcome, Ok(()))
}

/// The comparison of one type.
struct DriftCheck<'a, 't> {
    tools: &'a SyncTools,
    record: &'a DriftRecord,
    kind: &'static ObjectKind,
    fix: bool,
    tally: DriftTally,
    /// Hashes of the ids on the pages.
    seen: HashSet<u64>,
    hasher: RandomState,
    /// Ids to be compared a second time, with their modes; `None`: what is found now counts.
    again: Option<Vec<(String, bool)>>,
    /// Ids of mirrored objects that are the same as at Stripe, with their modes; their typed rows are not compared yet.
    level: Vec<(String, bool)>,
    fields: &'a mut BTreeMap<String, u64>,
    recognised: bool,
    report: &'a mut (dyn FnMut(DriftReport) + 't),
}

impl DriftCheck<'_, '_> {
    /// Compares what Stripe lists.
    fn compare_listed(&mut self) -> Result<(), SyncError> {
        let mut pages = 0;
        if !self.kind.is_per_customer() {
            return self.list(self.kind.path, &mut pages);
        }
        let mut after = 0;
        loop {
            let some = usize::try_from(ROWS).unwrap_or(usize::MAX);
            let known = self.tools.store.read(|reader| customer::list_after(reader, after, some))?;
            let Some((last, _)) = known.last() else { return Ok(()) };
            after = *last;
            for (_, customer_id) in &known {
                match self.list(&self.kind.list_path(Some(customer_id)), &mut pages) {
                    Err(error) if error.is_missing() => {}
                    done => done?,
                }
            }
        }
    }

    fn list(&mut self, path: &str, pages: &mut u64) -> Result<(), SyncError> {
        for page in self.tools.pages(path, api::form_of(self.kind)) {
            let page = page?;
            for raw in &page.items {
                if let Some(id) = list::id_of(raw) {
                    self.seen.insert(self.hasher.hash_one(&id));
                }
                self.compare(raw, page.read)?;
            }
            self.check_tables()?;
            *pages += 1;
            (self.report)(DriftReport::Page(self.kind.name, *pages, u64::try_from(page.items.len()).unwrap_or(0)));
        }
        Ok(())
    }

    /// Asks once more for each object that was not the same on its page: its event may have been on its way.
    fn compare_again(&mut self) -> Result<(), SyncError> {
        for (id, livemode) in self.again.take().unwrap_or_default() {
            self.ask(&id, livemode)?;
        }
        self.check_tables()
    }

    /// Whether it is left to the second comparison.
    fn is_put_off(&mut self, what: &DriftKind, id: &str, object: &Value, reading: ApiReading) -> bool {
        let created_s = object["created"].as_i64();
        let may_be_on_its_way = match what {
            DriftKind::Differs(_) => true,
            DriftKind::MissingHere => created_s.is_some_and(|at_s| at_s >= reading.at_s - ON_ITS_WAY_S),
            DriftKind::MissingThere | DriftKind::TablesWrong(_) => false,
        };
        let Some(again) = self.again.as_mut().filter(|again| may_be_on_its_way && again.len() < MAX_SECOND_LOOKS)
        else {
            return false;
        };
        again.push((id.to_owned(), mode_of(object, self.tools)));
        true
    }

    /// Asks for each object that the mirror has and Stripe did not list.
    fn ask_for_unlisted(&mut self) -> Result<(), SyncError> {
        let (object, livemode) = (self.kind.object, self.tools.context.projection.livemode);
        let mut after = String::new();
        loop {
            let rows = self.tools.store.read(|reader| mirror::list_present(reader, object, livemode, &after, ROWS))?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (id, livemode) in rows {
                if !self.seen.contains(&self.hasher.hash_one(&id)) {
                    self.ask(&id, livemode)?;
                }
            }
        }
    }

    fn ask(&mut self, id: &str, livemode: bool) -> Result<(), SyncError> {
        let now_ms = self.tools.clock.now_ms();
        let sent = self.tools.store.read(|reader| RequestSent::now(reader, now_ms))?;
        let gone = match self.tools.get(&self.kind.path_of(id), &FormBody::new()) {
            Err(error) if error.is_missing() => Some(sent.reading(None, self.tools.clock.now_ms())),
            Err(error) => return Err(error),
            Ok((answer, reading)) => {
                let raw: Box<RawValue> = serde_json::from_str(&answer.text).map_err(|_| self.unreadable())?;
                if !is_deleted(&raw) {
                    return self.compare(&raw, reading);
                }
                Some(reading)
            }
        };
        let Some(reading) = gone else { return Ok(()) };
        let tombstone = json!({ "id": id, "object": self.kind.object, "deleted": true, "livemode": livemode });
        let shown = ApiObject::new(&tombstone.to_string(), reading).map_err(|_| self.unreadable())?;
        let context = Arc::clone(&self.tools.context);
        match self.tools.store.read(|reader| reading::mirror_state(reader, &shown, &context.projection))? {
            Some(MirrorState::Ahead) => self.tally.ahead += 1,
            // It was created and deleted between the two comparisons.
            Some(MirrorState::Unknown) => {}
            _ => self.found(id.to_owned(), DriftKind::MissingThere, DriftRepair::Object(Box::new(shown)))?,
        }
        Ok(())
    }

    fn unreadable(&self) -> SyncError {
        SyncError::Unreadable { path: self.kind.path.to_owned(), reason: "it is not an object" }
    }

    /// Compares one object with its row.
    fn compare(&mut self, raw: &RawValue, reading: ApiReading) -> Result<(), SyncError> {
        let Ok(object) = ApiObject::new(raw.get(), reading) else {
            self.tally.failed += 1;
            return Ok(());
        };
        let context = Arc::clone(&self.tools.context);
        let state = self.tools.store.read(|reader| reading::mirror_state(reader, &object, &context.projection))?;
        let id = object.object()["id"].as_str().unwrap_or_default().to_owned();
        self.recognised |= matches!(state, Some(MirrorState::Ahead | MirrorState::Level(_)));
        let what = match state {
            None => return Ok(()),
            Some(MirrorState::Ahead) => {
                self.tally.ahead += 1;
                return Ok(());
            }
            Some(MirrorState::Unknown) => DriftKind::MissingHere,
            Some(MirrorState::Level(row)) => {
                let here = serde_json::from_str(&row.data).unwrap_or(Value::Null);
                let mut fields = compare::differing(&here, object.object());
                // What has ended exists for ever, and whether it counts as deleted is only our name for that.
                let has_ended = self.kind.is_terminal(object.object());
                if row.deleted && !has_ended {
                    fields.push("deleted".to_owned());
                }
                if fields.is_empty() {
                    self.level.push((id, mode_of(object.object(), self.tools)));
                    return Ok(());
                }
                DriftKind::Differs(fields)
            }
        };
        if self.is_put_off(&what, &id, object.object(), reading) {
            return Ok(());
        }
        // The repair takes the whole object, its nested list included.
        let mut batch = PageBatch::default();
        if self.fix {
            batch.add(self.tools, self.kind, raw, reading)?;
        }
        let object = batch.objects.pop().unwrap_or(object);
        self.found(id, what, DriftRepair::Object(Box::new(object)))
    }

    /// Counts, repairs and reports.
    fn found(&mut self, id: String, what: DriftKind, repair: DriftRepair) -> Result<(), SyncError> {
        match &what {
            DriftKind::Differs(fields) => {
                self.tally.differing += 1;
                self.count(fields);
            }
            DriftKind::TablesWrong(columns) => {
                self.tally.tables_wrong += 1;
                self.count(columns);
            }
            DriftKind::MissingHere => self.tally.missing_here += 1,
            DriftKind::MissingThere => self.tally.missing_there += 1,
        }
        // With the key of another account everything would be marked as deleted.
        let is_of_ours = self.recognised || what != DriftKind::MissingThere;
        if self.fix && !is_of_ours {
            log::warn!(
                "type" = self.kind.name, id;
                "an object that Stripe does not know is not marked as deleted, since nothing that it has is known here: is stripe.api_key that of another account? If not, compare all types at once"
            );
        }
        let fixed = self.fix && is_of_ours && self.repair(&id, repair)?;
        self.tally.fixed += u64::from(fixed);
        let finding = DriftFinding { kind: self.kind.name, id, what, fixed };
        self.record.add(self.tools, &finding)?;
        (self.report)(DriftReport::Found(&finding));
        Ok(())
    }

    fn count(&mut self, fields: &[String]) {
        for field in fields {
            let name = format!("{}.{field}", self.kind.name);
            if self.fields.len() < MAX_FIELDS || self.fields.contains_key(&name) {
                *self.fields.entry(name).or_default() += 1;
            }
        }
    }

    fn repair(&self, id: &str, repair: DriftRepair) -> Result<bool, StoreError> {
        let repaired = match repair {
            DriftRepair::Object(object) => match page::absorb_one(self.tools, &Arc::new(vec![*object]), 0)? {
                page::PageObjectOutcome::Absorbed(ReadingOutcome::Taken) => RepairResult::Yes,
                page::PageObjectOutcome::Absorbed(_) => RepairResult::No,
                page::PageObjectOutcome::Refused(error) => RepairResult::Failed(error),
            },
            DriftRepair::Tables(livemode) => self.project_again(id, livemode)?,
        };
        match repaired {
            RepairResult::Yes => Ok(true),
            RepairResult::No => Ok(false),
            RepairResult::Failed(error) => {
                log::warn!("type" = self.kind.name, id; "an object could not be repaired: {error}");
                Ok(false)
            }
        }
    }
}

/// Whether a repair changed anything.
enum RepairResult {
    Yes,
    /// What is here is as new.
    No,
    /// It does not fit the tables, and why.
    Failed(String),
}

/// How a finding is repaired.
enum DriftRepair {
    /// With the object as Stripe has it.
    Object(Box<ApiObject>),
    /// From the mirror, of this mode.
    Tables(bool),
}

/// The mode of an object; some do not say.
fn mode_of(object: &Value, tools: &SyncTools) -> bool {
    object["livemode"].as_bool().or(tools.context.projection.livemode).unwrap_or(false)
}

fn is_deleted(raw: &RawValue) -> bool {
    serde_json::from_str::<Value>(raw.get()).is_ok_and(|object| object["deleted"] == true)
}
