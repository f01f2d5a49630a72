//! Takes a page of objects and the place after it into the tables, in one commit. An object that cannot be taken is
//! logged, counted and passed over; it does not take the page with it. Called by `backfill` and `drift`.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{SyncError, SyncTools, nested};
use crate::base::object_kind::ObjectKind;
use crate::base::verdict::FailureVerdict;
use crate::notify;
use crate::objects::ProjectionError;
use crate::objects::read::{ApiObject, ReadingOutcome};
use crate::store::mirror::ApiReading;
use crate::store::{StoreError, Tx, in_savepoint};
use crate::stripe::list::{self, ListPage};

/// Objects of a page, read.
#[derive(Default)]
pub(super) struct PageBatch {
    pub(super) shown: Vec<ApiObject>,
    pub(super) failed: u32,
}

impl PageBatch {
    /// Reads one more object, its nested list completed.
    ///
    /// # Errors
    /// Stripe's, where a nested list could not be read on.
    pub(super) fn add(
        &mut self,
        means: &SyncTools,
        kind: &ObjectKind,
        raw: &RawValue,
        reading: ApiReading,
    ) -> Result<(), SyncError> {
        let mut ask = |path: &str, form, after: Option<&str>| {
            means.page(path, form, after).map(|page| ListPage { items: page.items, next: page.next, read: () })
        };
        let text = match nested::complete(kind, raw.get(), &mut ask) {
            Ok(text) => text,
            // It was deleted between two pages; what was seen of it is no longer so.
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error),
        };
        match ApiObject::new(&text, reading) {
            Ok(shown) => self.shown.push(shown),
            Err(error) => self.pass_over(kind, &list::id_of(raw).unwrap_or_default(), &error.to_string()),
        }
        Ok(())
    }

    fn pass_over(&mut self, kind: &ObjectKind, id: &str, error: &str) {
        self.failed += 1;
        log::warn!(
            "an object that was read from Stripe cannot be taken and is passed over type={} id={id}: {error}",
            kind.name
        );
    }
}

/// Takes the batch, and does `mark` in the same commit, which is told how many objects could not be taken.
///
/// It is taken as one first; if an object fails, all is undone, and each is taken on its own.
///
/// # Errors
/// The database's.
pub(super) fn take<T: Send + 'static>(
    means: &SyncTools,
    kind: &ObjectKind,
    mut batch: PageBatch,
    mark: impl Fn(&Tx, u32) -> Result<T, StoreError> + Send + Sync + 'static,
) -> Result<T, SyncError> {
    let (context, now_ms, mark) = (Arc::clone(&means.context), means.clock.now_ms(), Arc::new(mark));
    let shown = Arc::new(std::mem::take(&mut batch.shown));
    let failed = batch.failed;
    let outcome = {
        let (shown, mark, context) = (Arc::clone(&shown), Arc::clone(&mark), Arc::clone(&context));
        means.store.write(move |tx| {
            for object in shown.iter() {
                notify::absorb(tx, object, &context, now_ms)?;
            }
            mark(tx, failed)
        })
    };
    match outcome {
        Err(error) if is_objects_fault(&error) => {}
        outcome => return Ok(outcome?),
    }
    for place in 0..shown.len() {
        means.pulse.beat();
        if let PageObjectOutcome::Refused(error) = absorb_one(means, &shown, place)? {
            let id = shown[place].object()["id"].as_str().unwrap_or_default().to_owned();
            batch.pass_over(kind, &id, &error);
        }
    }
    let failed = batch.failed;
    Ok(means.store.write(move |tx| mark(tx, failed))?)
}

/// What became of one object.
pub(super) enum PageObjectOutcome {
    /// It was taken, or was known.
    Absorbed(ReadingOutcome),
    /// It cannot be taken, and why.
    Refused(String),
}

/// Takes one object in a commit of its own.
pub(super) fn absorb_one(
    means: &SyncTools,
    shown: &Arc<Vec<ApiObject>>,
    place: usize,
) -> Result<PageObjectOutcome, StoreError> {
    let (context, now_ms, shown) = (Arc::clone(&means.context), means.clock.now_ms(), Arc::clone(shown));
    let outcome = means.store.write(move |tx| {
        let taken = in_savepoint(tx, |tx| notify::absorb(tx, &shown[place], &context, now_ms));
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

/// Whether a page may go better object by object: the disk and the file are not at fault.
fn is_objects_fault(error: &StoreError) -> bool {
    error.verdict() == FailureVerdict::Retry
}
