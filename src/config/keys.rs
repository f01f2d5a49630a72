//! The table of all keys: their names, environment variables and systemd credentials. Must never
//! read a value. Used by the reader; what a key means is said in `config.toml.example`.

use strsim::levenshtein;

/// One key of the configuration.
pub(super) struct Key {
    /// Dotted, without the numbers of blocks.
    pub(super) name: &'static str,
    /// Environment variables, the stronger first. Those of keys in `[[stripe.webhook]]` speak of its
    /// first block.
    pub(super) env: &'static [&'static str],
    /// The file in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), "Credentials"). Only secrets have one,
    /// and a second form of their key, `<key>_file`.
    pub(super) credential: Option<&'static str>,
}

const fn key(name: &'static str, env: &'static [&'static str]) -> Key {
    Key { name, env, credential: None }
}

const fn secret(name: &'static str, env: &'static [&'static str], credential: &'static str) -> Key {
    Key { name, env, credential: Some(credential) }
}

/// Sets all plans at once: `pro:price_a,price_b;team:price_c`.
pub(super) const PLANS_ENV: &str = "TILLD_PLANS";

/// The sections that may stand several times in a file, as arrays of tables.
const REPEATED: [&str; 3] = ["stripe.webhook", "plan", "notify.webhook"];

/// Every key there is.
pub(super) const KEYS: &[Key] = &[
    key("database", &["TILLD_DATABASE"]),
    key("log", &["RUST_LOG", "TILLD_LOG"]),
    key("log_format", &["TILLD_LOG_FORMAT"]),
    key("listen.public", &["TILLD_PUBLIC_LISTEN"]),
    key("listen.private", &["TILLD_PRIVATE_LISTEN"]),
    secret("stripe.api_key", &["STRIPE_API_KEY"], "stripe_api_key"),
    key("stripe.publishable_key", &["STRIPE_PUBLIC_KEY"]),
    key("stripe.api_base", &["STRIPE_API_BASE"]),
    key("stripe.api_version", &["STRIPE_API_VERSION"]),
    key("stripe.mode", &["TILLD_STRIPE_MODE"]),
    key("stripe.account", &["TILLD_STRIPE_ACCOUNT"]),
    key("stripe.timeout_s", &["STRIPE_TIMEOUT_S"]),
    key("stripe.calls_per_s", &["STRIPE_CALLS_PER_S"]),
    key("stripe.pull_interval_s", &["TILLD_PULL_INTERVAL_S"]),
    key("stripe.nightly_drift", &["TILLD_NIGHTLY_DRIFT"]),
    key("stripe.webhook.path", &["STRIPE_WEBHOOK_ENDPOINT"]),
    secret("stripe.webhook.secrets", &["STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRETS"], "stripe_webhook_secrets"),
    key("stripe.webhook.tolerance_s", &[]),
    secret("api.token", &["TILLD_API_TOKEN"], "api_token"),
    secret("api.admin_token", &["TILLD_ADMIN_TOKEN"], "admin_token"),
    key("link.metadata_keys", &["TILLD_LINK_METADATA_KEYS"]),
    key("link.client_reference_id", &["TILLD_LINK_CLIENT_REFERENCE_ID"]),
    key("plan.tier", &[]),
    key("plan.price_ids", &[]),
    key("retry.max_attempts", &["TILLD_RETRY_MAX_ATTEMPTS"]),
    key("retry.base_delay_s", &["TILLD_RETRY_BASE_DELAY_S"]),
    key("retry.max_delay_s", &["TILLD_RETRY_MAX_DELAY_S"]),
    key("entitlement.stale_after_s", &["TILLD_STALE_AFTER_S"]),
    key("entitlement.when_stale", &["TILLD_WHEN_STALE"]),
    key("entitlement.paused_collection", &["TILLD_PAUSED_COLLECTION"]),
    key("dunning.grace_period_days", &["TILLD_GRACE_PERIOD_DAYS"]),
    key("dunning.warning_days", &["TILLD_WARNING_DAYS"]),
    key("notify.mail", &["TILLD_NOTIFY_MAIL"]),
    key("notify.from", &["TILLD_NOTIFY_FROM"]),
    key("notify.operator", &["TILLD_NOTIFY_OPERATOR"]),
    key("notify.product", &["TILLD_NOTIFY_PRODUCT"]),
    key("notify.invoice_finalized", &["TILLD_NOTIFY_INVOICE_FINALIZED"]),
    key("notify.silence_h", &["TILLD_NOTIFY_SILENCE_H"]),
    key("notify.templates", &["TILLD_NOTIFY_TEMPLATES"]),
    key("notify.smtp.ca_file", &["TILLD_SMTP_CA_FILE"]),
    key("notify.smtp.host", &["TILLD_SMTP_HOST"]),
    key("notify.smtp.port", &["TILLD_SMTP_PORT"]),
    key("notify.smtp.security", &["TILLD_SMTP_SECURITY"]),
    key("notify.smtp.username", &["TILLD_SMTP_USERNAME"]),
    secret("notify.smtp.password", &["TILLD_SMTP_PASSWORD"], "smtp_password"),
    key("notify.smtp.timeout_s", &[]),
    key("notify.webhook.url", &["TILLD_NOTIFY_WEBHOOK_URL"]),
    secret("notify.webhook.secrets", &["TILLD_NOTIFY_WEBHOOK_SECRETS"], "notify_webhook_secrets"),
    key("notify.webhook.events", &[]),
    key("notify.webhook.allow_private", &[]),
    key("checkout.success_url", &["TILLD_CHECKOUT_SUCCESS_URL"]),
    key("checkout.cancel_url", &["TILLD_CHECKOUT_CANCEL_URL"]),
    key("checkout.automatic_tax", &["TILLD_CHECKOUT_AUTOMATIC_TAX"]),
    key("portal.return_url", &["TILLD_PORTAL_RETURN_URL"]),
    key("limits.body_bytes", &[]),
    key("limits.head_bytes", &[]),
    key("limits.connections", &[]),
    key("limits.buffered_bytes", &[]),
    key("limits.request_timeout_s", &[]),
];

/// A key as it stands in a file without the numbers of its blocks: `plan[1].tier` → `plan.tier`.
pub(super) fn without_numbers(key: &str) -> String {
    let mut outside = true;
    key.chars()
        .filter(|c| {
            let keep = outside && *c != '[';
            outside = *c == ']' || keep;
            keep
        })
        .collect()
}

/// The row of a key, with or without the numbers of its blocks.
pub(super) fn find(key: &str) -> Option<&'static Key> {
    let name = without_numbers(key);
    KEYS.iter().find(|known| known.name == name)
}

/// Is this a key of a file? `<key>_file` of a secret is one, too.
pub(super) fn is_key(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Do keys stand under this name?
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// How a section is opened in the file.
pub(super) fn header(section: &str) -> String {
    match section {
        _ if REPEATED.contains(&section) => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    }
}

fn names() -> impl Iterator<Item = String> {
    KEYS.iter().flat_map(|key| {
        let file = key.credential.map(|_| format!("{}_file", key.name));
        std::iter::once(key.name.to_owned()).chain(file)
    })
}

/// The key that was probably meant: the same name in another section, else the nearest spelling.
pub(super) fn nearest(unknown: &str) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    names().find(|name| last(name) == last(unknown)).or_else(|| {
        names()
            .map(|name| (levenshtein(unknown, &name), name))
            .filter(|(edits, _)| *edits <= 3 && edits * 2 <= unknown.len())
            .min()
            .map(|(_, name)| name)
    })
}

/// Beginning of all our variables.
const OUR_ENV: &str = "TILLD_";
/// Names the file; it is no key of it.
const CONFIG_ENV: &str = "TILLD_CONFIG";

/// For a variable that looks like one of ours and is none: the nearest that there is.
pub(super) fn nearest_variable(unknown: &str) -> Option<&'static str> {
    let known = || KEYS.iter().flat_map(|key| key.env).copied().chain([PLANS_ENV, CONFIG_ENV]);
    if !unknown.starts_with(OUR_ENV) || known().any(|name| name == unknown) {
        return None;
    }
    known().filter(|name| name.starts_with(OUR_ENV)).min_by_key(|name| levenshtein(unknown, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_blocks_are_taken_out_of_a_key() {
        assert_eq!(without_numbers("a[0].b[12].c"), "a.b.c");
        assert_eq!(without_numbers("listen.public"), "listen.public");
    }
}
