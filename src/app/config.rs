//! The configuration: defaults < file < environment < flags, checked as a whole at the start, with all faults reported at
//! once. Reads files and the environment while it loads; must never write a file, open a socket or log, and is not changed
//! afterwards. Called by the commands of `app::cli`, which hand the values on.

mod dev;
mod document;
mod example;
mod fault;
mod in_force;
mod keys;
mod reader;
mod sections;
mod surroundings;
#[cfg(test)]
mod tests;
mod urls;

use crate::base::address::Address;
use crate::base::entitlement::EntitlementPolicy;
use crate::base::ownership::LinkRules;
use crate::base::retry::RetryPolicy;
use crate::http::api::offers::Offers;
use crate::http::dashboard::DashboardSettings;
use crate::http::door::DoorLimits;
use crate::http::public::WebhookEndpoint;
use crate::http::route::Tokens;
use crate::jobs::schedule::Nightly;
use crate::notify::endpoints::EndpointSettings;
use crate::notify::mail;
use crate::notify::settings::NoticeSettings;
use crate::stripe::settings::{Mode, StripeSettings};
pub(crate) use dev::dev_config_text;
pub(crate) use example::example;
pub(crate) use fault::ConfigFault;
pub use fault::Faults;
pub use surroundings::{ConfigSources, Flags};

use reader::ConfigReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything that can be configured, in the types that the rooms own: nothing is copied from one into another. The meaning
/// of each key is in `config.toml.example`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The SQLite file.
    pub(crate) database: PathBuf,
    /// The filter of `env_logger`: a level, or levels by module.
    pub(crate) log: String,
    /// The shape of log lines.
    pub(crate) log_format: LogFormat,
    /// Where requests come in.
    pub listen: Listen,
    /// Calls to Stripe, and Stripe's webhooks.
    pub stripe: Stripe,
    /// Who may call the private listener.
    pub(crate) tokens: Tokens,
    /// The pages for operators.
    pub dashboard: DashboardSettings,
    /// Which prices buy which tier, what a stale subscription gives, and how long access outlasts a failed payment.
    pub(crate) policy: EntitlementPolicy,
    /// What links a customer to a user.
    pub(crate) link: LinkRules,
    /// When failed work is tried again.
    pub(crate) retry: RetryPolicy,
    /// Who gets which notices.
    pub(crate) notices: NoticeSettings,
    /// After so many hours without a webhook the operator is notified.
    pub(crate) silence_h: Option<i64>,
    /// The settings of mail. None: no sender or no mail server is named, and no mail is sent.
    pub(crate) mail: Option<mail::MailSettings>,
    /// The application's endpoints; their URLs differ.
    pub(crate) endpoints: Vec<EndpointSettings>,
    /// URLs of checkout and portal, and what browsers get.
    pub(crate) offers: Offers,
    /// What a client may ask of the listeners.
    pub(crate) limits: DoorLimits,
    /// The file that was read.
    pub(crate) source: Option<PathBuf>,
    /// What is allowed but unwise, one line each, for the log.
    pub(crate) warnings: Vec<String>,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// As the configuration writes them.
    const WORDS: [(&str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// Where requests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// For Stripe.
    pub public: Address,
    /// For the application and its operators.
    pub(crate) private: Address,
}

/// Calls to Stripe, and Stripe's webhooks.
#[derive(Debug, Clone)]
pub struct Stripe {
    /// The settings of the client. None: no key, so no calls to Stripe.
    pub(crate) client: Option<StripeSettings>,
    /// The mode whose events this database keeps, if the configuration names it; see [`Stripe::mode`].
    pub(crate) mode_said: Option<Mode>,
    /// Our own account, if the configuration names it; otherwise that of the key.
    pub(crate) account: Option<String>,
    /// Pull-only mode: how often Stripe is asked for events, in seconds. None: webhooks bring them.
    pub(crate) pull_interval_s: Option<i64>,
    /// Whether the nightly comparison with Stripe repairs differences. None: it does not run.
    pub(crate) nightly_drift: Option<Nightly>,
    /// At least one, unless events are pulled; their paths differ. [`Purpose::Serve`] leaves none without a secret.
    pub webhooks: Vec<WebhookEndpoint>,
}

impl Stripe {
    /// Pull-only mode: no webhook is needed.
    pub(crate) fn is_pulled(&self) -> bool {
        self.pull_interval_s.is_some() && self.client.is_some()
    }

    /// The mode of the database: what the configuration says, else the key's. None: the first events decide it.
    pub(crate) fn mode(&self) -> Option<Mode> {
        self.mode_said.or_else(|| self.key_mode())
    }

    /// None: there is no key, or its prefix does not show the mode.
    pub(crate) fn key_mode(&self) -> Option<Mode> {
        self.client.as_ref()?.api_key.mode()
    }
}

/// What the configuration is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon: endpoints need secrets, a reachable private listener needs tokens.
    Serve,
    /// Any other command; it may need no more than the database.
    Tool,
}

/// Reads and checks the configuration.
///
/// # Errors
/// Everything that is wrong with it. A file that cannot be read, or is not TOML, is the only fault
/// reported.
pub fn load(flags: &Flags, around: &ConfigSources, purpose: Purpose) -> Result<Config, Faults> {
    let source = surroundings::find(flags, around)?;
    let mut reader = ConfigReader::new(flags, around, source.as_ref(), sections::CATALOG)?;
    let mut config = sections::read(&mut reader);
    if purpose == Purpose::Serve {
        if config.stripe.is_pulled() {
            config.stripe.webhooks.retain(|endpoint| !endpoint.secrets.is_empty());
        }
        refuse_open_doors(&config, &mut reader);
        refuse_idle_pulling(&config, &mut reader);
    }
    refuse_equal_tokens(&config, &mut reader);
    refuse_other_mode(&config, &mut reader);
    reader.refuse_leftovers();
    config.warnings.extend(around.env.keys().filter_map(|name| {
        let nearest = sections::CATALOG.nearest_variable(name)?;
        Some(format!(
            "the environment variable {name} is not one of tilld's and has no effect: did you mean {nearest}?"
        ))
    }));
    config.source = source.map(|source| source.path);
    let secret_source = config.source.as_deref().filter(|_| reader.holds_secrets());
    config.warnings.extend(secret_source.and_then(readable_by_others));
    if !config.listen.private.is_local() {
        config.warnings.push(format!(
            "listen.private: {} is plain HTTP, and other machines can reach it: tokens and customers' data can be read on the \
             way; listen on a loopback address or unix:/path, or put a proxy with TLS in front",
            config.listen.private
        ));
    }
    if config.notices.mail && config.notices.operator.is_none() {
        config.warnings.push("notify.operator is not set: disputes and dead letters are mailed to nobody".to_owned());
    }
    config.dashboard.sections = in_force::sections(&reader);
    config.dashboard.source = config.source.as_ref().map(|path| path.display().to_string());
    config.dashboard.warnings.clone_from(&config.warnings);
    if reader.faults.is_empty() {
        return Ok(config);
    }
    Err(Faults(reader.faults))
}

/// Refuses what would let anyone in: endpoints that cannot check signatures, and a private listener that others can reach
/// and that no token guards.
fn refuse_open_doors(config: &Config, reader: &mut ConfigReader<'_>) {
    for (number, endpoint) in config.stripe.webhooks.iter().enumerate() {
        let key = format!("stripe.webhook[{number}].secrets");
        if endpoint.secrets.is_empty() && !reader.has_fault(&key) {
            let message = format!(
                "no webhook secret for {}: set STRIPE_WEBHOOK_SECRET, or secrets = [\"whsec_…\"] \
                 in [[stripe.webhook]]; Stripe's dashboard and `stripe listen` show it; or, without \
                 webhooks, let tilld ask Stripe for events: set stripe.api_key and stripe.pull_interval_s",
                endpoint.path
            );
            reader.fault(&key, message);
        }
    }
    let private = &config.listen.private;
    let guarded = config.tokens.are_both_set();
    if !private.is_local() && !guarded {
        let message = format!(
            "{private} can be reached from other machines: set api.token and api.admin_token, or \
             listen on a loopback address or unix:/path"
        );
        reader.fault("listen.private", message);
    }
}

/// Refuses one token for both: it would let the application do what only operators may.
fn refuse_equal_tokens(config: &Config, reader: &mut ConfigReader<'_>) {
    let (Some(token), Some(admin)) = (&config.tokens.api, &config.tokens.admin) else { return };
    if token.expose() == admin.expose() && !reader.is_dev() {
        let message = "is the same as api.token: give operators a token of their own; `openssl rand -hex 32` makes one";
        reader.fault("api.admin_token", message);
    }
}

/// Refuses a key of the other mode, which would read its objects into this database.
fn refuse_other_mode(config: &Config, reader: &mut ConfigReader<'_>) {
    let stripe = &config.stripe;
    if let (Some(said), Some(key)) = (stripe.mode_said, stripe.key_mode())
        && said != key
    {
        let message = "is not the mode of stripe.api_key: correct one of them; each mode needs a database of its own";
        reader.fault("stripe.mode", message);
    }
}

/// Refuses settings that have no effect without a key.
fn refuse_idle_pulling(config: &Config, reader: &mut ConfigReader<'_>) {
    let stripe = &config.stripe;
    if stripe.client.is_some() || reader.has_fault("stripe.api_key") {
        return;
    }
    if stripe.pull_interval_s.is_some() {
        reader.fault("stripe.pull_interval_s", "needs stripe.api_key: without it Stripe cannot be asked for events");
    }
    if stripe.nightly_drift.is_some() {
        reader.fault("stripe.nightly_drift", "needs stripe.api_key: without it there is nothing to compare with");
    }
}

fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("{path} holds secrets, and users other than its owner have rights on it: chmod 600 {path}"))
}
