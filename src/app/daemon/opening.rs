//! What is done to the database between opening it and the first thread: it is brought in line with the configuration, and
//! what an operator should know of it is said. Called by `daemon`.

use super::DaemonError;
use crate::app::config::Config;
use crate::jobs::at_start::{mode, recompute, relink};
use crate::notify::NotifyContext;
use crate::store::engine::schema;
use crate::store::{Store, settings, sync_runs};

/// Brings the database in line with the configuration.
pub(super) fn settle(config: &Config, store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), DaemonError> {
    store.write(settings::ensure_id)?;
    mode::settle(store, context, config.stripe.mode_said.is_some(), now_ms)?;
    if store.read(schema::has_other_rules)? {
        log::warn!(
            "the tables of this database were made by other rules than those of this tilld: stop it and run `tilld rebuild`, \
             or `tilld rebuild --check` to see what would be another"
        );
    }
    relink::if_rules_changed(store, context, now_ms)?;
    recompute::if_policy_changed(store, context, now_ms)?;
    if config.stripe.client.is_some() && !store.read(sync_runs::is_any_complete)? {
        log::warn!(
            "no sync has come to its end yet: what is at Stripe from before the first webhook is not known here, nor who has \
             paid then; run `tilld sync`"
        );
    }
    Ok(())
}
