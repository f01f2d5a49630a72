//! Compares the typed rows with the mirror, and makes them again from it. Called by `drift`.

use std::sync::Arc;

use super::{DriftCheck, DriftKind, DriftRepair, RepairResult};
use crate::notify;
use crate::objects::{ProjectionError, again, kinds};
use crate::outward::sync::SyncError;
use crate::store::mirror::ObjectKey;
use crate::store::{StoreError, in_savepoint};

impl DriftCheck<'_, '_> {
    /// Compares the typed rows of the objects that are the same as at Stripe.
    pub(super) fn check_tables(&mut self) -> Result<(), SyncError> {
        let level = std::mem::take(&mut self.level);
        if !kinds::has_table(self.kind.object) {
            self.tally.same += u64::try_from(level.len()).unwrap_or(u64::MAX);
            return Ok(());
        }
        let (object, context, now_ms) = (self.kind.object, Arc::clone(&self.tools.context), self.tools.clock.now_ms());
        let compared = self.tools.store.write(move |tx| {
            let compared = level.into_iter().map(|(id, livemode)| {
                let key = ObjectKey { object, id: &id, livemode, account: "" };
                match again::differing(tx, key, &context.projection, now_ms) {
                    Err(ProjectionError::Store(error)) => Err(error),
                    outcome => Ok((id, livemode, outcome.map_err(|error| error.to_string()))),
                }
            });
            compared.collect::<Result<Vec<_>, StoreError>>()
        })?;
        for (id, livemode, outcome) in compared {
            match outcome {
                Ok(columns) if columns.is_empty() => self.tally.same += 1,
                Ok(columns) => self.found(id, DriftKind::TablesWrong(columns), DriftRepair::Tables(livemode))?,
                Err(error) => {
                    self.tally.failed += 1;
                    log::warn!("type" = self.kind.name, id; "an object does not fit the tables: {error}");
                }
            }
        }
        Ok(())
    }

    pub(super) fn project_again(&self, id: &str, livemode: bool) -> Result<RepairResult, StoreError> {
        let (object, id, now_ms) = (self.kind.object, id.to_owned(), self.tools.clock.now_ms());
        let context = Arc::clone(&self.tools.context);
        self.tools.store.write(move |tx| {
            let key = ObjectKey { object, id: &id, livemode, account: "" };
            match in_savepoint(tx, |tx| {
                notify::with_notices(tx, &context, now_ms, |basis| again::project(tx, key, &context.projection, basis))
            }) {
                Ok(()) => Ok(RepairResult::Yes),
                Err(ProjectionError::Store(error)) => Err(error),
                Err(error) => Ok(RepairResult::Failed(error.to_string())),
            }
        })
    }
}
