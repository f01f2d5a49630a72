//! What is done to the database between opening it and the first thread: it is brought in line with the configuration, and
//! warnings about it are logged. Must never run while another process works on the file. Called by `daemon`.

use super::DaemonError;
use crate::app::config::Config;
use crate::base::metrics::{MetricLabels, Metrics, MetricsError};
use crate::jobs::at_start::{mode, recompute, relink};
use crate::notify::NotifyContext;
use crate::objects::kinds;
use crate::store::engine::schema;
use crate::store::{Store, settings, sync_runs};
use crate::stripe::operation::OperationKind;

/// What this process counts, with the labels that its rooms and its configuration know.
pub(super) fn metrics(config: &Config) -> Result<Metrics, MetricsError> {
    Metrics::new(&MetricLabels {
        event_types: kinds::event_types().collect(),
        tiers: config.policy.plans.iter().map(|plan| plan.tier.clone()).collect(),
        operations: OperationKind::words().collect(),
    })
}

/// Brings the database in line with the configuration.
pub(super) fn settle(config: &Config, store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), DaemonError> {
    store.write(settings::ensure_id)?;
    mode::settle(store, context, config.stripe.mode_said.is_some(), now_ms)?;
    if store.read(schema::has_other_rules)? {
        log::warn!(
            "the tables were made by the rules of another version of tilld: stop the daemon and run `tilld rebuild`; `tilld \
             rebuild --check` shows what would change"
        );
    }
    relink::if_rules_changed(store, context, now_ms)?;
    recompute::if_policy_changed(store, context, now_ms)?;
    if config.stripe.client.is_some() && !store.read(sync_runs::is_any_complete)? {
        log::warn!(
            "no sync was completed yet: customers and payments from before the first webhook are not known; run `tilld sync`"
        );
    }
    Ok(())
}
