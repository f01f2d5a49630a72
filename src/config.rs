//! The configuration: defaults < file < environment < flags, checked as a whole at the start, all
//! faults at once. Reads files and the environment while it loads; must never write a file, open a
//! socket or log, and is not changed afterwards. Called by `main` and the commands; the values are
//! handed on from there.

mod address;
mod dev;
mod document;
mod fault;
mod keys;
mod kinds;
mod link;
mod notify;
mod plans;
mod reader;
mod secret;
mod sections;
mod surroundings;
#[cfg(test)]
mod tests;
mod words;

pub use crate::entitlement::{PausedCollection, Plan, WhenStale};
use crate::ownership::Rules;
pub use crate::retry::RetryPolicy as Retry;
pub use address::{Address, application_url};
pub use dev::dev_config_text;
pub use fault::{Fault, Faults};
pub use notify::{Notify, NotifyWebhook, Security, Smtp};
pub use secret::Secret;
pub use surroundings::{Flags, Surroundings};

use reader::Reader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything that can be configured. The meaning of each key is in `config.toml.example`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The SQLite file.
    pub database: PathBuf,
    /// The filter of `env_logger`: a level, or levels by module.
    pub log: String,
    /// The shape of log lines.
    pub log_format: LogFormat,
    /// Where requests come in.
    pub listen: Listen,
    /// How to talk with Stripe, and how Stripe talks with us.
    pub stripe: Stripe,
    /// Who may call the private listener.
    pub api: Api,
    /// From the lowest tier to the highest. None: every price buys the tier `default`.
    pub plans: Vec<Plan>,
    /// Whose word counts for whose customer it is.
    pub link: Rules,
    /// When failed work is tried again.
    pub retry: Retry,
    /// What to answer from old knowledge, and while nothing is collected.
    pub entitlement: Entitlement,
    /// How failed payments are chased.
    pub dunning: Dunning,
    /// Who is told of what, and how.
    pub notify: Notify,
    /// Where a checkout leads, and whether taxes are worked out.
    pub checkout: Checkout,
    /// Where the customer portal leads.
    pub portal: Portal,
    /// What a client may ask of the listeners.
    pub limits: Limits,
    /// The file that was read.
    pub source: Option<PathBuf>,
    /// What is allowed but unwise, one line each, for the log.
    pub warnings: Vec<String>,
}

/// The shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where requests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// For Stripe.
    pub public: Address,
    /// For the application and its operators.
    pub private: Address,
}

/// How to talk with Stripe.
#[derive(Debug, Clone)]
pub struct Stripe {
    /// None: no calls to Stripe.
    pub api_key: Option<Secret>,
    /// Handed to browsers.
    pub publishable_key: Option<String>,
    /// Without a slash at its end.
    pub api_base: String,
    /// Whose events this database keeps, if the configuration says it; see [`Stripe::mode`].
    pub mode_said: Option<Mode>,
    /// Our own account, if the configuration names it; else it is the key's.
    pub account: Option<String>,
    /// Sent as `Stripe-Version`.
    pub api_version: String,
    /// How long a request of the application's waits for Stripe, all attempts together, in seconds.
    pub timeout_s: u64,
    /// Calls per second at most, reads and writes together.
    pub calls_per_s: u32,
    /// Pull-only mode: how often Stripe is asked for events, in seconds. None: webhooks bring them.
    pub pull_interval_s: Option<i64>,
    /// Whether the copy is compared with Stripe at night.
    pub nightly_drift: NightlyDrift,
    /// At least one, unless events are pulled; their paths differ.
    pub webhooks: Vec<WebhookEndpoint>,
}

/// What is done at night about differences from Stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NightlyDrift {
    /// They are not looked for.
    Off,
    /// They are told.
    Check,
    /// They are repaired and told.
    Fix,
}

/// An endpoint that Stripe sends events to.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// Starts with a slash.
    pub path: String,
    /// Any of them may have signed. [`Purpose::Serve`] never gets an empty list.
    pub secrets: Vec<Secret>,
    /// How far a signature's time may be from ours, in seconds.
    pub tolerance_s: i64,
}

/// Who may call the private listener.
#[derive(Debug, Clone)]
pub struct Api {
    /// For the application.
    pub token: Option<Secret>,
    /// For operators.
    pub admin_token: Option<Secret>,
}

/// What to answer from old knowledge, and while nothing is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entitlement {
    /// How long after the end of its period an unrenewed subscription is believed, in seconds.
    pub stale_after_s: i64,
    /// What is answered after that.
    pub when_stale: WhenStale,
    /// What `pause_collection` means for access.
    pub paused_collection: PausedCollection,
}

/// How failed payments are chased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dunning {
    /// How long access lasts after the first failed payment.
    pub grace_period_days: i64,
    /// How long before the end of that the last warning goes out.
    pub warning_days: i64,
}

/// Where a checkout leads unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkout {
    /// After payment.
    pub success_url: Option<String>,
    /// After the customer gave up.
    pub cancel_url: Option<String>,
    /// Stripe works the taxes out.
    pub automatic_tax: bool,
}

/// Where the customer portal leads unless the call says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portal {
    /// Behind its back button.
    pub return_url: Option<String>,
}

/// What a client may ask of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest body.
    pub body_bytes: usize,
    /// The longest request line with headers.
    pub head_bytes: usize,
    /// Connections at once.
    pub connections: usize,
    /// Bytes of all large bodies that come at once.
    pub buffered_bytes: usize,
    /// How long a client may take to send a request, in seconds.
    pub request_timeout_s: u64,
}

/// Which of Stripe's two worlds a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Play money.
    Test,
}

impl Stripe {
    /// Events are asked for, so that no webhook need come.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        self.pull_interval_s.is_some() && self.api_key.is_some()
    }

    /// The mode of the database: what the configuration says, else the key's. None: it shows by the events that come.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode_said.or_else(|| self.key_mode())
    }

    /// The mode of the API key, by its prefix (docs.stripe.com/keys). None: no key, or one that
    /// does not say, as those of organizations.
    #[must_use]
    pub fn key_mode(&self) -> Option<Mode> {
        let key = self.api_key.as_ref()?.expose();
        let starts_with = |prefixes: [&str; 2]| prefixes.iter().any(|p| key.starts_with(p));
        if starts_with(["sk_live_", "rk_live_"]) {
            Some(Mode::Live)
        } else if starts_with(["sk_test_", "rk_test_"]) {
            Some(Mode::Test)
        } else {
            None
        }
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
pub fn load(flags: &Flags, around: &Surroundings, purpose: Purpose) -> Result<Config, Faults> {
    let source = surroundings::find(flags, around)?;
    let mut reader = Reader::new(flags, around, source.as_ref())?;
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
        let nearest = keys::nearest_variable(name)?;
        Some(format!("the environment variable {name} is none of tilld's and changes nothing; did you mean {nearest}?"))
    }));
    config.source = source.map(|source| source.path);
    let secret_source = config.source.as_deref().filter(|_| reader.holds_secrets());
    config.warnings.extend(secret_source.and_then(readable_by_others));
    if config.notify.mail && config.notify.operator.is_none() {
        config.warnings.push("notify.operator is not set: disputes and dead letters are mailed to nobody".to_owned());
    }
    if reader.faults.is_empty() {
        return Ok(config);
    }
    Err(Faults(reader.faults))
}

/// What would let anyone in: endpoints that cannot check signatures, and a private listener that
/// others reach and no token guards.
fn refuse_open_doors(config: &Config, reader: &mut Reader<'_>) {
    for (number, endpoint) in config.stripe.webhooks.iter().enumerate() {
        let key = format!("stripe.webhook[{number}].secrets");
        if endpoint.secrets.is_empty() && !reader.has_fault(&key) {
            let message = format!(
                "no webhook secret for {}: set STRIPE_WEBHOOK_SECRET, or secrets = [\"whsec_…\"] \
                 in [[stripe.webhook]]; Stripe's dashboard and `stripe listen` show it; or, without \
                 webhooks, have Stripe asked for events: set stripe.api_key and stripe.pull_interval_s",
                endpoint.path
            );
            reader.fault(&key, message);
        }
    }
    let private = &config.listen.private;
    let guarded = config.api.token.is_some() && config.api.admin_token.is_some();
    if !private.is_local() && !guarded {
        let message = format!(
            "{private} can be reached from other machines: set api.token and api.admin_token, or \
             listen on a loopback address or unix:/path"
        );
        reader.fault("listen.private", message);
    }
}

/// One token for both would let the application do what only operators may.
fn refuse_equal_tokens(config: &Config, reader: &mut Reader<'_>) {
    let (Some(token), Some(admin)) = (&config.api.token, &config.api.admin_token) else { return };
    if token.expose() == admin.expose() && !reader.is_dev() {
        let message = "is the same as api.token: give operators one of their own; `openssl rand -hex 32` makes one";
        reader.fault("api.admin_token", message);
    }
}

/// A key of the other mode would read its objects into this database.
fn refuse_other_mode(config: &Config, reader: &mut Reader<'_>) {
    let stripe = &config.stripe;
    if let (Some(said), Some(key)) = (stripe.mode_said, stripe.key_mode())
        && said != key
    {
        let message = "is not the mode of stripe.api_key: correct one of them; each mode has a database of its own";
        reader.fault("stripe.mode", message);
    }
}

/// Without a key nobody can be asked.
fn refuse_idle_pulling(config: &Config, reader: &mut Reader<'_>) {
    let stripe = &config.stripe;
    if stripe.api_key.is_some() || reader.has_fault("stripe.api_key") {
        return;
    }
    if stripe.pull_interval_s.is_some() {
        reader.fault("stripe.pull_interval_s", "needs stripe.api_key: without it Stripe cannot be asked for events");
    }
    if stripe.nightly_drift != NightlyDrift::Off {
        reader.fault("stripe.nightly_drift", "needs stripe.api_key: without it there is nothing to compare with");
    }
}

fn readable_by_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o077 != 0)
        .then(|| format!("{path} holds secrets and others than its owner have rights on it: chmod 600 {path}"))
}
