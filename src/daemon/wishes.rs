//! Who wants to hear of what, as the configuration says it. Called by `daemon`.

use super::SECONDS_PER_DAY;
use crate::config::{Config, NotifyWebhook};
use crate::projection::notify::{Notify, Subscriber};

/// Who wants to hear of what.
pub(super) fn notify(config: &Config) -> Notify {
    let wishes = &config.notify;
    let subscriber = |webhook: &NotifyWebhook| Subscriber { url: webhook.url.clone(), events: webhook.events.clone() };
    Notify {
        mail: wishes.mail,
        operator: wishes.operator.clone(),
        invoice_finalized: wishes.invoice_finalized,
        warning_s: config.dunning.warning_days.saturating_mul(SECONDS_PER_DAY),
        webhooks: wishes.webhooks.iter().map(subscriber).collect(),
    }
}
