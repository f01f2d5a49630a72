//! What this process counts for `/metrics`: every instrument, made once at start and handed to those who count. Counting is
//! an addition to a number that is at hand; only the shown type of an event is looked up. A label has values of a closed
//! set, `other` for the rest, and every series is there from the start. It must never read a database: what is not counted
//! here comes as [`Levels`] when somebody looks. Made by `app::daemon`, carried by the store and the client of Stripe.

mod families;
mod levels;
mod text;
mod words;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};
use strum::VariantArray as _;

pub use families::MetricsError;
use families::{ByWord, Families, Table};
use levels::LevelGauges;
pub use levels::{AnswerCount, Levels, ProcessLevels};
pub use text::TextFormat;
pub use words::{
    CallOutcome, DatabaseFileKind, DeliveryKind, DeliveryResult, EventOutcome, PaymentStatus, WebhookOutcome,
};

/// The value of a label for whatever is not in its set.
pub const OTHER: &str = "other";
/// The operation of whatever is only read.
pub const READ: &str = "read";

const WEBHOOK_S: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const LAG_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
const ANSWER_S: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];
const COMMIT_S: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const CALL_S: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0];

/// The values of labels that other rooms know.
#[derive(Debug, Clone, Default)]
pub struct MetricLabels {
    /// Types of events that have a series of their own.
    pub event_types: BTreeSet<&'static str>,
    /// Tiers of the configuration.
    pub tiers: BTreeSet<String>,
    /// Words of operations at Stripe.
    pub operations: BTreeSet<&'static str>,
}

/// Every instrument.
pub struct Metrics {
    counted: Families,
    levels: LevelGauges,
    /// Held while somebody looks, so that no two set the levels at once.
    shown: Mutex<()>,
    database_readable: IntGauge,
    webhooks: ByWord<WebhookOutcome, IntCounter>,
    webhook_s: Histogram,
    events: Table<EventOutcome>,
    event_lag_s: Histogram,
    payments: ByWord<PaymentStatus, IntCounter>,
    deliveries: Table<DeliveryResult>,
    calls: Table<CallOutcome>,
    call_s: Histogram,
    entitlement_s: Histogram,
    commit_s: Histogram,
}

impl Metrics {
    /// Every series of the closed sets, at 0.
    ///
    /// # Errors
    /// When a label cannot stand in a series.
    pub fn new(labels: &MetricLabels) -> Result<Self, MetricsError> {
        let of = Families::default();
        let build = of.gauges("tilld_build_info", "Always 1; the label says which version runs.", &["version"])?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        let types = labels.event_types.iter().copied().chain([OTHER]);
        let operations = labels.operations.iter().copied().chain([READ, OTHER]);
        let kinds = DeliveryKind::VARIANTS.iter().map(|kind| (*kind).into());
        Ok(Self {
            levels: LevelGauges::new(labels)?,
            shown: Mutex::default(),
            database_readable: of.gauge(
                "tilld_database_readable",
                "1: what is read from the database is shown here; 0: it could not be read, and is left out.",
            )?,
            webhooks: of.counter_by(
                "tilld_webhooks_received_total",
                "Requests to a webhook endpoint, by outcome; all that are signed or were sent to its path.",
                "outcome",
            )?,
            webhook_s: of.histogram(
                "tilld_webhook_duration_seconds",
                "From the complete request of a webhook to its answer, the commit included.",
                WEBHOOK_S,
            )?,
            events: of.counter_table(
                "tilld_events_processed_total",
                "Attempts to project an event, by its type and outcome; a replay counts again.",
                ["type", "outcome"],
                types,
            )?,
            event_lag_s: of.histogram(
                "tilld_event_lag_seconds",
                "From the reception of an event to the commit that has its facts, retries included, replays not.",
                LAG_S,
            )?,
            payments: of.counter_by(
                "tilld_payment_intents_total",
                "Projected events that tell of a payment intent, by what it came to; failed: one attempt failed.",
                "status",
            )?,
            deliveries: of.counter_table(
                "tilld_outbox_deliveries_total",
                "Attempts to perform a row of the outbox, by kind and outcome.",
                ["kind", "outcome"],
                kinds,
            )?,
            calls: of.counter_table(
                "tilld_stripe_calls_total",
                "Calls to Stripe, each with its repetitions, by operation and outcome; operation read: nothing is changed.",
                ["operation", "outcome"],
                operations,
            )?,
            call_s: of.histogram(
                "tilld_stripe_call_duration_seconds",
                "From asking for a call to Stripe to its outcome, waiting for a turn and repetitions included.",
                CALL_S,
            )?,
            entitlement_s: of.histogram(
                "tilld_entitlement_duration_seconds",
                "Time to answer GET /api/v1/users/{user_id}/entitlement.",
                ANSWER_S,
            )?,
            commit_s: of.histogram(
                "tilld_commit_duration_seconds",
                "Time of a commit, after which a group of writes is on disk.",
                COMMIT_S,
            )?,
            counted: of,
        })
    }

    /// A webhook was answered.
    pub fn webhook(&self, outcome: WebhookOutcome, took: Duration) {
        self.webhooks.count(outcome);
        self.webhook_s.observe(took.as_secs_f64());
    }

    /// An attempt at an event is committed. `lag`: since its reception, where it is no replay.
    pub fn event(&self, event_type: &str, outcome: EventOutcome, lag: Option<Duration>) {
        self.events.count(event_type, outcome);
        let is_settled = !matches!(outcome, EventOutcome::Retried | EventOutcome::Dead);
        if let Some(lag) = lag.filter(|_| is_settled) {
            self.event_lag_s.observe(lag.as_secs_f64());
        }
        if outcome == EventOutcome::Processed
            && let Some(status) = PaymentStatus::of_event(event_type)
        {
            self.payments.count(status);
        }
    }

    /// An attempt at a row of the outbox is recorded.
    pub fn delivery(&self, kind: DeliveryKind, outcome: DeliveryResult) {
        self.deliveries.count(kind.into(), outcome);
    }

    /// A call to Stripe has ended.
    pub fn stripe_call(&self, operation: &str, outcome: CallOutcome, took: Duration) {
        self.calls.count(operation, outcome);
        self.call_s.observe(took.as_secs_f64());
    }

    /// An entitlement was answered.
    pub fn entitlement(&self, took: Duration) {
        self.entitlement_s.observe(took.as_secs_f64());
    }

    /// A transaction was committed.
    pub fn commit(&self, took: Duration) {
        self.commit_s.observe(took.as_secs_f64());
    }

    /// All of it as text. `levels`: what was read for it; `None`: the database could not be read.
    ///
    /// # Errors
    /// When it cannot be written as text.
    pub fn text(
        &self,
        levels: Option<&Levels>,
        process: &ProcessLevels,
        format: TextFormat,
    ) -> Result<String, MetricsError> {
        let _one_at_a_time = self.shown.lock();
        self.database_readable.set(i64::from(levels.is_some()));
        self.levels.process.set(process);
        let mut families = self.counted.registry.gather();
        families.extend(self.levels.process.families.registry.gather());
        if let Some(levels) = levels {
            self.levels.set(levels);
            families.extend(self.levels.families.registry.gather());
        }
        families.sort_by(|left, right| left.name().cmp(right.name()));
        format.write(&families)
    }
}
