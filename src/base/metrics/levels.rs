//! What stands at a level and may fall: gauges, set from what was read when somebody looks. It must never read anything
//! itself. Called by `metrics`.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::{Counter, IntGauge};
use strum::VariantArray as _;

use super::families::{ByWord, Families, Word};
use super::{DatabaseFileKind, DeliveryKind, MetricLabels, MetricsError, OTHER};
use crate::base::entitlement::{DEFAULT_TIER, EntitlementReason, FREE_TIER};

/// How many users have an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCount {
    /// The tier that the answer gives.
    pub tier: String,
    /// Why.
    pub reason: String,
    /// Whether it lets the user in.
    pub entitled: bool,
    /// How many users.
    pub users: i64,
}

/// What the database says at the moment.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Events that wait for their projection.
    pub events_pending: i64,
    /// For how long the oldest of them has waited, in seconds; 0: none waits.
    pub oldest_pending_s: i64,
    /// Events that wait for a retry.
    pub retries_pending: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// Rows of the outbox that wait, by kind.
    pub outbox_pending: Vec<(DeliveryKind, i64)>,
    /// Operations at Stripe whose outcome is not known.
    pub operations_in_doubt: i64,
    /// Differences that the last comparison with Stripe left.
    pub drift_differences: i64,
    /// When the newest webhook came, unix seconds; 0: none is known.
    pub last_webhook_s: i64,
    /// Sizes of the database's files.
    pub database_bytes: Vec<(DatabaseFileKind, i64)>,
    /// Users by answer.
    pub answers: Vec<AnswerCount>,
}

/// What the system says of the process at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessLevels {
    /// When it started, unix seconds.
    pub started_s: i64,
    /// Time of processors that it has used, in seconds.
    pub cpu_s: f64,
    /// Memory that it holds.
    pub resident_bytes: i64,
    /// Open files.
    pub open_files: i64,
}

/// The gauges of [`Levels`].
pub(super) struct LevelGauges {
    pub(super) families: Families,
    pub(super) process: ProcessGauges,
    events_pending: IntGauge,
    oldest_pending: IntGauge,
    retries_pending: IntGauge,
    dead_letters: IntGauge,
    outbox_pending: ByWord<DeliveryKind, IntGauge>,
    operations_in_doubt: IntGauge,
    drift_differences: IntGauge,
    last_webhook: IntGauge,
    database_bytes: ByWord<DatabaseFileKind, IntGauge>,
    answers: AnswerGauges,
}

impl LevelGauges {
    pub(super) fn new(labels: &MetricLabels) -> Result<Self, MetricsError> {
        let of = Families::default();
        let gauge = |name: &str, help: &str| of.gauge(name, help);
        Ok(Self {
            process: ProcessGauges::new()?,
            events_pending: gauge("tilld_events_pending", "Stored events that wait for their projection.")?,
            oldest_pending: gauge(
                "tilld_events_oldest_pending_seconds",
                "For how long the oldest pending event has waited; 0: none waits.",
            )?,
            retries_pending: gauge("tilld_retries_pending", "Events that failed and wait for their next attempt.")?,
            dead_letters: gauge("tilld_dead_letters", "Events that were given up and wait for an operator.")?,
            outbox_pending: of.gauge_by(
                "tilld_outbox_pending",
                "Rows of the outbox that wait to be performed, by kind.",
                "kind",
            )?,
            operations_in_doubt: gauge(
                "tilld_operations_in_doubt",
                "Operations at Stripe whose outcome is not known yet.",
            )?,
            drift_differences: gauge(
                "tilld_drift_differences",
                "Objects that differed from Stripe in the last comparison and were not repaired by it.",
            )?,
            last_webhook: gauge(
                "tilld_last_webhook_timestamp_seconds",
                "When the newest webhook came, unix time; 0: none among the newest thousand events.",
            )?,
            database_bytes: of.gauge_by("tilld_database_bytes", "Sizes of the database's files, by file.", "file")?,
            answers: AnswerGauges::new(&of, labels)?,
            families: of,
        })
    }

    pub(super) fn set(&self, levels: &Levels) {
        self.events_pending.set(levels.events_pending);
        self.oldest_pending.set(levels.oldest_pending_s);
        self.retries_pending.set(levels.retries_pending);
        self.dead_letters.set(levels.dead_letters);
        set_each(&self.outbox_pending, &levels.outbox_pending);
        self.operations_in_doubt.set(levels.operations_in_doubt);
        self.drift_differences.set(levels.drift_differences);
        self.last_webhook.set(levels.last_webhook_s);
        set_each(&self.database_bytes, &levels.database_bytes);
        self.answers.set(&levels.answers);
    }
}

fn set_each<W: Word>(gauges: &ByWord<W, IntGauge>, values: &[(W, i64)]) {
    for (word, value) in values {
        gauges.of(*word).into_iter().for_each(|gauge| gauge.set(*value));
    }
}

/// Users by answer.
struct AnswerGauges {
    /// By tier and reason.
    entitled: BTreeMap<(String, &'static str), IntGauge>,
    /// By reason.
    without: BTreeMap<&'static str, IntGauge>,
}

impl AnswerGauges {
    fn new(of: &Families, labels: &MetricLabels) -> Result<Self, MetricsError> {
        let reasons: BTreeSet<&'static str> =
            EntitlementReason::VARIANTS.iter().map(|reason| reason.as_str()).chain([OTHER]).collect();
        let own = [DEFAULT_TIER, FREE_TIER, OTHER].map(str::to_owned);
        let tiers: BTreeSet<String> = labels.tiers.iter().cloned().chain(own).collect();
        let help = "Users whom a subscription lets in, by tier and reason, as last computed.";
        let family = of.gauges("tilld_entitled_users", help, &["tier", "reason"])?;
        let pairs = tiers.iter().flat_map(|tier| reasons.iter().map(move |reason| (tier.clone(), *reason)));
        let entitled = pairs.map(|(tier, reason)| {
            let gauge = family.get_metric_with_label_values(&[&tier, reason])?;
            Ok(((tier, reason), gauge))
        });
        let help = "Users with a subscription that does not let them in, by reason, as last computed.";
        let family = of.gauges("tilld_users_without_access", help, &["reason"])?;
        let without = reasons.iter().map(|reason| Ok((*reason, family.get_metric_with_label_values(&[*reason])?)));
        Ok(Self {
            entitled: entitled.collect::<Result<_, MetricsError>>()?,
            without: without.collect::<Result<_, MetricsError>>()?,
        })
    }

    fn set(&self, answers: &[AnswerCount]) {
        self.entitled.values().chain(self.without.values()).for_each(|gauge| gauge.set(0));
        for answer in answers {
            self.of(answer).into_iter().for_each(|gauge| gauge.add(answer.users));
        }
    }

    fn of(&self, answer: &AnswerCount) -> Option<&IntGauge> {
        let reason = self.without.keys().find(|known| **known == answer.reason).copied().unwrap_or(OTHER);
        if !answer.entitled {
            return self.without.get(reason);
        }
        let other = || self.entitled.get(&(OTHER.to_owned(), reason));
        self.entitled.get(&(answer.tier.clone(), reason)).or_else(other)
    }
}

/// The gauges of [`ProcessLevels`], by the names that Prometheus's own libraries give them.
pub(super) struct ProcessGauges {
    pub(super) families: Families,
    started: IntGauge,
    cpu: Counter,
    resident: IntGauge,
    open_files: IntGauge,
}

impl ProcessGauges {
    fn new() -> Result<Self, MetricsError> {
        let of = Families::default();
        Ok(Self {
            started: of.gauge("process_start_time_seconds", "When the process started, unix time.")?,
            cpu: of.seconds("process_cpu_seconds_total", "Time of processors that the process has used.")?,
            resident: of.gauge("process_resident_memory_bytes", "Memory that the process holds.")?,
            open_files: of.gauge("process_open_fds", "Open files and connections.")?,
            families: of,
        })
    }

    pub(super) fn set(&self, process: &ProcessLevels) {
        self.started.set(process.started_s);
        self.cpu.inc_by((process.cpu_s - self.cpu.get()).max(0.0));
        self.resident.set(process.resident_bytes);
        self.open_files.set(process.open_files);
    }
}
