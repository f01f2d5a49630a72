//! One operation with what was sent and answered, for an operator's page, which hides what opens something. It must never be
//! used to decide anything. Called by the dashboard.

use super::KnownOperation;
use super::list::OperationEntry;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};

columns! {
    /// An operation, whole.
    pub(crate) struct OperationDetail {
        /// As lists show it.
        entry: OperationEntry = OperationEntry::COLUMNS => OperationEntry::take,
        /// What is done; `None`: this program does not know it, or not all of it.
        known: Option<KnownOperation> = "kind, verb, wanted" => KnownOperation::take,
        /// Of the request to Stripe.
        verb: String,
        /// Of the request to Stripe.
        path: String,
        /// Its encoded parameters.
        form: String,
        /// Stripe's answer or refusal, JSON.
        answer: Option<String>,
    }
}

/// The operation of this row number.
pub(crate) fn find(reader: &StoreReader, id: i64) -> Result<Option<OperationDetail>, StoreError> {
    const SQL: &str = select!(OperationDetail, "FROM stripe_operations WHERE id = ?1");
    reader.find(SQL, [id], OperationDetail::read)
}
