//! The way out to Stripe, by the configuration: one client for the whole process, so that all of its calls share one
//! bucket. Called by `daemon` and by the commands that call Stripe themselves.

use std::time::Duration;

use crate::config::Config;
use crate::stripe::client::Client;
use crate::stripe::error::StripeError;
use crate::stripe::settings::{ApiKey, Settings};

/// The client; `None` without `stripe.api_key`.
///
/// # Errors
/// When a key of `[stripe]` cannot be used for calls.
pub fn client(config: &Config) -> Result<Option<Client>, StripeError> {
    settings(config).map(Client::new).transpose()
}

/// What the client is made from; `None` without `stripe.api_key`.
#[must_use]
pub fn settings(config: &Config) -> Option<Settings> {
    let stripe = &config.stripe;
    let key = ApiKey::new(stripe.api_key.as_ref()?.expose());
    let (calls_per_s, burst) = (stripe.calls_per_s, stripe.calls_per_s);
    let usual = Settings::new(key, &stripe.api_base, &stripe.api_version);
    let budget = Duration::from_secs(stripe.timeout_s);
    Some(Settings {
        calls_per_s,
        burst,
        interactive_budget: budget,
        // One silence must not take longer than all attempts may.
        connect_timeout: usual.connect_timeout.min(budget),
        read_timeout: usual.read_timeout.min(budget),
        ..usual
    })
}
