//! The record of a comparison: that it runs, what it finds while it finds it, and how it ended, for whoever looks at it later;
//! and its row in the audit log, which has no ids. It must never decide what counts as a difference. Called by `drift`.

use super::{DriftFinding, DriftOutcome, DriftTally};
use crate::base::object_kind::ObjectKind;
use crate::outward::sync::{SyncError, SyncTools};
use crate::store::audit::{self, NewEntry};
use crate::store::drift_runs::{self, DriftEnd, NewFinding};
use crate::store::{StoreError, settings};

/// A comparison that was written down.
pub(super) struct DriftRecord(i64);

impl DriftRecord {
    /// Writes down that it begins.
    pub(super) fn begin(
        tools: &SyncTools,
        actor: &'static str,
        kinds: &[&'static ObjectKind],
        fix: bool,
    ) -> Result<Self, StoreError> {
        let types: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
        let (types, now_ms) = (types.join(", "), tools.clock.now_ms());
        Ok(Self(tools.store.write(move |tx| drift_runs::begin(tx, actor, (&types, fix), now_ms))?))
    }

    /// Writes a finding down.
    pub(super) fn add(&self, tools: &SyncTools, finding: &DriftFinding) -> Result<(), StoreError> {
        let (run_id, finding, fields) = (self.0, finding.clone(), finding.fields().join(", "));
        tools.store.write(move |tx| {
            let (kind, object_id, fixed) = (finding.kind, finding.id.as_str(), finding.fixed);
            drift_runs::add(tx, run_id, &NewFinding { kind, object_id, drift: finding.word(), fields: &fields, fixed })
        })
    }

    /// Writes down how it ended. Only one that came to its end is in the audit log.
    pub(super) fn finish(
        self,
        tools: &SyncTools,
        actor: &'static str,
        (outcome, ended): &(DriftOutcome, Result<(), SyncError>),
    ) -> Result<(), StoreError> {
        let sum = |of: fn(&DriftTally) -> u64| outcome.tallies.iter().map(of).sum();
        let mut errors = outcome.refused.clone();
        errors.extend(ended.as_ref().err().map(ToString::to_string));
        let end = DriftEnd {
            same: sum(|tally| tally.same),
            unreadable: sum(|tally| tally.failed),
            is_complete: ended.is_ok(),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        };
        let left = outcome.left().to_string();
        let (run_id, detail, at_ms) = (self.0, outcome.detail().to_string(), tools.clock.now_ms());
        tools.store.write(move |tx| {
            drift_runs::finish(tx, run_id, &end, at_ms)?;
            if end.is_complete {
                settings::put(tx, settings::DRIFT_LEFT, &left)?;
                audit::add(tx, &NewEntry::new(actor, "drift.checked", at_ms, &detail))?;
            }
            Ok(())
        })
    }
}
