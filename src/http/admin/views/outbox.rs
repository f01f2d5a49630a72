//! The outbox and the operations at Stripe, as operators see them. It must never read the database. Used by the admin API.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use crate::store::outbox::rows::OutboxRow;
use crate::store::stripe_operations::list::OperationEntry;
use crate::store::webhook_endpoints::EndpointState;

/// A row of the outbox: something that is done outside, once, as often as it takes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OutboxRow")]
pub(in crate::http::admin) struct OutboxRowView {
    /// Its number, as a text.
    #[schemars(example = &"17")]
    id: String,
    /// `mail`, `webhook` (an event for the application) or `stripe_call` (something that Stripe is asked for).
    #[schemars(extend("enum" = ["mail", "webhook", "stripe_call"]), example = &"webhook")]
    kind: String,
    /// `pending`, `claimed` (in hand), `done`, `skipped` (there was no reason left), `failed` (given up) or `discarded`.
    #[schemars(
        extend("enum" = ["pending", "claimed", "done", "skipped", "failed", "discarded"]),
        example = &"pending"
    )]
    status: String,
    /// The type of the event, or the kind of the notice; null: it is neither.
    #[schemars(example = &"entitlement.changed")]
    what: Option<String>,
    /// Where it goes: `mail`, or the URL of an endpoint without its query, for which a tag stands; null: to Stripe.
    #[schemars(example = &"https://app.example.com/hooks/tilld")]
    target: Option<String>,
    /// Whom it concerns; null: nobody in particular.
    #[schemars(example = &"alice")]
    user_id: Option<String>,
    /// Attempts that were made.
    #[schemars(example = 0)]
    attempts: u32,
    /// When it is or was due, unix seconds.
    #[schemars(example = 1_767_225_600)]
    due: i64,
    /// Why the newest attempt failed, or why it was skipped; null: neither.
    #[schemars(example = &"the endpoint answered 500")]
    error: Option<String>,
    /// When it was written, unix seconds.
    #[schemars(example = 1_767_225_600)]
    created: i64,
    /// When it ended, unix seconds; null: it has not.
    #[schemars(example = 1_767_225_601)]
    finished_at: Option<i64>,
    /// Its key: of one key there is one row, however often its cause is seen.
    #[schemars(example = &"webhook:evt_1NG8Du2eZvKYlo2CUI79vXWy")]
    dedupe_key: String,
}

/// A row of the outbox with what it consists of, and how its endpoint fares.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OutboxDetails")]
pub(in crate::http::admin) struct OutboxDetailsView {
    /// The row.
    #[serde(flatten)]
    row: OutboxRowView,
    /// What it consists of.
    #[schemars(example = json!({"type": "entitlement.changed"}))]
    payload: Value,
    /// How its endpoint fares; null: it goes to none.
    endpoint: Option<EndpointView>,
}

/// How an endpoint of the application fares.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Endpoint")]
struct EndpointView {
    /// The first of the failures since its last success, unix seconds; null: there are none.
    #[schemars(example = 1_767_225_600)]
    failing_since: Option<i64>,
    /// Its last success, unix seconds; null: there was none.
    #[schemars(example = 1_767_222_000)]
    last_success_at: Option<i64>,
    /// Since when it gets nothing, unix seconds; null: it gets its events.
    #[schemars(example = 1_767_657_600)]
    disabled_at: Option<i64>,
    /// Why it gets nothing; null: it gets its events.
    #[schemars(example = &"it has failed for five days")]
    disabled_reason: Option<String>,
    /// When it is tried again while it gets nothing, unix seconds; null: it gets its events.
    #[schemars(example = 1_767_744_000)]
    tried_again_at: Option<i64>,
}

/// What is delivered again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OutboxRetried")]
pub(in crate::http::admin) struct OutboxRetriedView {
    /// How many rows are due again.
    #[schemars(example = 3)]
    pub retried: usize,
    /// Whether there are more: repeat the call.
    #[schemars(example = false)]
    pub has_more: bool,
}

fn seconds(ms: Option<i64>) -> Option<i64> {
    ms.map(|ms| ms.div_euclid(1000))
}

/// A row of the outbox.
pub(in crate::http::admin) fn outbox_row(row: &OutboxRow) -> OutboxRowView {
    OutboxRowView {
        id: row.id.clone(),
        kind: row.kind.clone(),
        status: row.status.clone(),
        what: row.what(),
        target: row.shown_target(),
        user_id: row.user_id.clone(),
        attempts: row.attempts,
        due: row.due_ms.div_euclid(1000),
        error: row.error.clone(),
        created: row.created_at_ms.div_euclid(1000),
        finished_at: seconds(row.finished_at_ms),
        dedupe_key: row.shown_key(),
    }
}

/// A row of the outbox with all that is known of it.
pub(in crate::http::admin) fn outbox_details(row: &OutboxRow, endpoint: Option<&EndpointState>) -> OutboxDetailsView {
    let endpoint = endpoint.map(|state| EndpointView {
        failing_since: seconds(state.first_failure_ms),
        last_success_at: seconds(state.last_success_ms),
        disabled_at: seconds(state.disabled_at_ms),
        disabled_reason: state.disabled_reason.clone(),
        tried_again_at: seconds(state.probe_at_ms),
    });
    OutboxDetailsView { row: outbox_row(row), payload: super::payload(&row.payload), endpoint }
}

/// Something that Stripe was asked to do.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Operation")]
pub(in crate::http::admin) struct OperationView {
    /// Its number, as a text.
    #[schemars(example = &"42")]
    id: String,
    /// What is done.
    #[schemars(example = &"subscription.cancel")]
    kind: String,
    /// `in_doubt` (sent, and the outcome is not known), `sending`, `done`, `refused` (by Stripe, for good) or `not_done`.
    #[schemars(extend("enum" = ["in_doubt", "sending", "done", "refused", "not_done"]), example = &"done")]
    status: String,
    /// For whom; null: nobody that is known.
    #[schemars(example = &"alice")]
    user_id: Option<String>,
    /// Stripe's id of what it is done to; null: it makes something.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    subject: Option<String>,
    /// Stripe's id of what came of it; null: nothing that is known.
    #[schemars(example = &"sub_1MowQVLkdIwHu7ixeRlqHVzs")]
    object_id: Option<String>,
    /// The key under which it is sent, however often.
    #[schemars(example = &"tilld_9f86d081884c7d65")]
    idempotency_key: String,
    /// Attempts that were made.
    #[schemars(example = 1)]
    attempts: u32,
    /// When it was sent first, unix seconds.
    #[schemars(example = 1_767_225_600)]
    created: i64,
    /// When its outcome is asked for again, unix seconds; null: it is known, or the request is still in hand.
    #[schemars(example = 1_767_225_660)]
    next_attempt_at: Option<i64>,
    /// When its outcome was known, unix seconds; null: it is not.
    #[schemars(example = 1_767_225_601)]
    finished_at: Option<i64>,
    /// Stripe's id of the request that settled it; null: none has, or Stripe gave none.
    #[schemars(example = &"req_fbwW3Gv2bHkWkP")]
    request_id: Option<String>,
    /// Why the newest attempt settled nothing; null: it did.
    #[schemars(example = &"the connection was lost")]
    error: Option<String>,
}

/// An operation.
pub(in crate::http::admin) fn operation(entry: &OperationEntry) -> OperationView {
    OperationView {
        id: entry.id.clone(),
        kind: entry.kind.clone(),
        status: entry.status.clone(),
        user_id: entry.user_id.clone(),
        subject: entry.subject.clone(),
        object_id: entry.object_id.clone(),
        idempotency_key: entry.idempotency_key.clone(),
        attempts: entry.attempts,
        created: entry.first_sent_ms.div_euclid(1000),
        next_attempt_at: seconds(entry.next_attempt_at_ms),
        finished_at: seconds(entry.finished_at_ms),
        request_id: entry.request_id.clone(),
        error: entry.error.clone(),
    }
}
