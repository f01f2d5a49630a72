//! What is done to the database between opening it and the first thread: it is brought in line with the configuration, and
//! warnings about it are logged. Must never run while another process works on the file. Called by `daemon`.

use std::sync::Arc;

use super::DaemonError;
use crate::app::config::Config;
use crate::base::clock::Clock;
use crate::base::metrics::{MetricLabels, Metrics};
use crate::jobs::at_start::{mode, recompute, relink};
use crate::notify::NotifyContext;
use crate::objects::kinds;
use crate::outward::calls::Calls;
use crate::store::engine::schema;
use crate::store::{Store, settings, sync_runs};
use crate::stripe::client::Client;
use crate::stripe::operation::OperationKind;

/// What this process counts, with the labels that its rooms and its configuration know; and the client of Stripe, where
/// there is a key, whose calls are counted there.
pub(super) fn counted_client(config: &Config) -> Result<(Arc<Metrics>, Option<Client>), DaemonError> {
    let labels = MetricLabels {
        event_types: kinds::event_types().collect(),
        tiers: config.policy.plans.iter().map(|plan| plan.tier.clone()).collect(),
        operations: OperationKind::words().collect(),
    };
    let metrics = Arc::new(Metrics::new(&labels)?);
    let client = config.stripe.client.clone().map(Client::new).transpose()?;
    let client = client.map(|client| client.counted_by(Arc::clone(&metrics)));
    Ok((metrics, client))
}

/// Asks Stripe for the application, where there is a key.
pub(super) fn calls(
    client: Option<&Client>,
    store: &Store,
    clock: &Arc<dyn Clock>,
    context: &Arc<NotifyContext>,
) -> Option<Arc<Calls>> {
    let client = client?.clone();
    Some(Arc::new(Calls::new(store.clone(), client, Arc::clone(clock), Arc::clone(context))))
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
