//! Projects a page of objects and stores the position after it, in one commit. An object that cannot be projected is
//! logged, counted and skipped; the rest of the page is kept. Called by `backfill` and `drift`.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{SyncError, SyncTools, nested};
use crate::base::object_kind::ObjectKind;
use crate::base::verdict::FailureVerdict;
use crate::notify;
use crate::objects::ProjectionError;
use crate::objects::reading::{ApiObject, ReadingOutcome};
use crate::store::mirror::ApiReading;
use crate::store::{StoreError, Tx, in_savepoint};
use crate::stripe::list::{self, ListPage};

/// Objects of a page, read.
#[derive(Default)]
pub(super) struct PageBatch {
    pub(super) objects: Vec<ApiObject>,
    pub(super) failed: u32,
}

impl PageBatch {
    /// Adds an object, its nested list read to the end.
    pub(super) fn add(
        &mut self,
        tools: &SyncTools,
        kind: &ObjectKind,
        raw: &RawValue,
        reading: ApiReading,
    ) -> Result<(), SyncError> {
        let mut ask = |path: &str, form, after: Option<&str>| {
            tools.page(path, form, after).map(|page| ListPage { items: page.items, next: page.next, read: () })
        };
        let text = match nested::complete(kind, raw.get(), &mut ask) {
            Ok(text) => text,
            // It was deleted between two pages, so what was read of it is out of date.
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error),
        };
        match ApiObject::new(&text, reading) {
            Ok(object) => self.objects.push(object),
            Err(error) => self.skip(kind, &list::id_of(raw).unwrap_or_default(), &error.to_string()),
        }
        Ok(())
    }

    fn skip(&mut self, kind: &ObjectKind, id: &str, error: &str) {
        self.failed += 1;
        log::warn!(
            "type" = kind.name, id;
            "an object that was read from Stripe cannot be projected and is skipped: {error}"
        );
    }
}

/// Projects the batch, and calls `mark` in the same commit with the number of objects that could not be projected.
///
/// The batch is projected as one first; if an object fails, all is undone, and each is projected on its own.
pub(super) fn take<T: Send + 'static>(
    tools: &SyncTools,
    kind: &ObjectKind,
    mut batch: PageBatch,
    mark: impl Fn(&Tx, u32) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, SyncError> {
    let (context, now_ms, mark) = (Arc::clone(&tools.context), tools.clock.now_ms(), Arc::new(mark));
    let objects = Arc::new(std::mem::take(&mut batch.objects));
    let failed = batch.failed;
    let outcome = {
        let (objects, mark, context) = (Arc::clone(&objects), Arc::clone(&mark), Arc::clone(&context));
        tools.store.write(move |tx| {
            for object in objects.iter() {
                notify::absorb(tx, object, &context, now_ms)?;
            }
            mark(tx, failed)
        })
    };
    match outcome {
        Err(error) if is_objects_fault(&error) => {}
        outcome => return Ok(outcome?),
    }
    for index in 0..objects.len() {
        tools.pulse.beat();
        if let PageObjectOutcome::Refused(error) = absorb_one(tools, &objects, index)? {
            let id = objects[index].object()["id"].as_str().unwrap_or_default().to_owned();
            batch.skip(kind, &id, &error);
        }
    }
    let failed = batch.failed;
    Ok(tools.store.write(move |tx| mark(tx, failed))?)
}

/// What became of one object.
pub(super) enum PageObjectOutcome {
    /// It was projected, or was known.
    Absorbed(ReadingOutcome),
    /// It cannot be projected, and why.
    Refused(String),
}

/// Projects one object in a commit of its own.
pub(super) fn absorb_one(
    tools: &SyncTools,
    objects: &Arc<Vec<ApiObject>>,
    index: usize,
) -> Result<PageObjectOutcome, StoreError> {
    let (context, now_ms, objects) = (Arc::clone(&tools.context), tools.clock.now_ms(), Arc::clone(objects));
    let outcome = tools.store.write(move |tx| {
        let taken = in_savepoint(tx, |tx| notify::absorb(tx, &objects[index], &context, now_ms));
        match taken {
            Ok(absorbed) => Ok(PageObjectOutcome::Absorbed(absorbed)),
            Err(ProjectionError::Store(error)) => Err(error),
            Err(error) => Ok(PageObjectOutcome::Refused(error.to_string())),
        }
    });
    match outcome {
        Err(error) if is_objects_fault(&error) => Ok(PageObjectOutcome::Refused(error.to_string())),
        outcome => outcome,
    }
}

/// Whether the page may succeed object by object: neither the disk nor the file is at fault.
fn is_objects_fault(error: &StoreError) -> bool {
    error.verdict() == FailureVerdict::Retry
}
