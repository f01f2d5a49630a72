//! Who gets which notices and events, by the configuration. It must never know how a mail or a request is sent. Made by
//! `app::config`, read by whatever writes notices and events into the outbox.

use crate::base::entitlement::EntitlementPolicy;
use crate::notify::NotifyContext;

/// Which notices and events operator, customers and application get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoticeSettings {
    /// Customers and operator get mails.
    pub mail: bool,
    /// The operator's mail address.
    pub operator: Option<String>,
    /// Customers get a mail about every final invoice.
    pub invoice_finalized: bool,
    /// How long before the end of a grace period the warning is due, in seconds.
    pub warning_s: i64,
    /// The application's endpoints.
    pub webhooks: Vec<Subscriber>,
}

/// An endpoint of the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// Where events go.
    pub url: String,
    /// Types: exactly this one, all that begin so (`stripe.*`), or all (`*`).
    pub events: Vec<String>,
}

impl Subscriber {
    /// Whether it wants events of this type.
    #[must_use]
    pub fn wants(&self, event_type: &str) -> bool {
        self.events.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => event_type.starts_with(beginning),
            None => pattern == event_type,
        })
    }
}

impl NoticeSettings {
    /// The endpoints that want events of this type.
    pub(crate) fn subscribers<'a>(&'a self, event_type: &'a str) -> impl Iterator<Item = &'a Subscriber> {
        self.webhooks.iter().filter(move |subscriber| subscriber.wants(event_type))
    }

    /// Whether anybody wants events of this type.
    #[must_use]
    pub(crate) fn is_wanted(&self, event_type: &str) -> bool {
        self.webhooks.iter().any(|subscriber| subscriber.wants(event_type))
    }
}

/// What notices depend on besides the tables.
#[derive(Clone, Copy)]
pub struct NotifyBasis<'a> {
    /// Plans and periods.
    pub policy: &'a EntitlementPolicy,
    /// Who gets which notices.
    pub notify: &'a NoticeSettings,
    /// The event that brings them about, where one does.
    pub cause: Option<&'a str>,
    /// Unix milliseconds.
    pub now_ms: i64,
}

impl<'a> NotifyBasis<'a> {
    /// By the configuration, now.
    #[must_use]
    pub fn of(context: &'a NotifyContext, now_ms: i64) -> Self {
        Self { policy: &context.projection.policy, notify: &context.notices, cause: None, now_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_type_a_beginning_or_everything() {
        let wants = |pattern: &str, event_type: &str| {
            Subscriber { url: String::new(), events: vec![pattern.to_owned()] }.wants(event_type)
        };
        assert!(wants("entitlement.changed", "entitlement.changed"));
        assert!(!wants("entitlement.changed", "entitlement.changed.twice"));
        assert!(wants("stripe.*", "stripe.invoice.paid"));
        assert!(!wants("stripe.*", "stripeling"));
        assert!(wants("*", "stripe.invoice.paid"));
        assert!(!wants("invoice", "invoice.finalized"));
    }
}
