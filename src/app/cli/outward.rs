//! What the commands that read from Stripe share: the client, at a rate that leaves half to a running daemon, and the display
//! of progress. It must never change anything at Stripe. Called by `sync`, `catch_up` and `drift`.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::app::cli::CommandError;
use crate::app::config::Config;
use crate::app::daemon;
use crate::base::clock::SystemClock;
use crate::base::thread::{Pulse, Stopper, stopper};
use crate::outward::sync::{SyncError, SyncTools};
use crate::store::Store;
use crate::store::engine::lock;
use crate::stripe::client::Client;

/// The client of a command. Beside a running daemon it uses half of `stripe.calls_per_s`.
///
/// # Errors
/// Without `stripe.api_key`, or when a key of `[stripe]` cannot be used.
pub(crate) fn client(config: &Config) -> Result<Client, CommandError> {
    let no_key = || {
        CommandError::wrong_use(
            "stripe.api_key is not set: set STRIPE_API_KEY, or api_key in [stripe]; without it Stripe cannot be asked",
        )
    };
    let mut settings = config.stripe.client.clone().ok_or_else(no_key)?;
    if lock::is_held(&config.database) {
        settings.calls_per_s = (settings.calls_per_s / 2).max(1);
        settings.burst = settings.calls_per_s;
        eprintln!(
            "a daemon works on {}: this command makes at most {} calls per second, half of stripe.calls_per_s",
            config.database.display(),
            settings.calls_per_s
        );
    }
    Client::new(settings).map_err(|error| CommandError::wrong_use(error.to_string()))
}

/// What `sync` works with. The stopper ends it when dropped.
#[must_use]
pub(crate) fn means(config: &Config, store: &Store, client: Client) -> (SyncTools, Stopper) {
    let (stopper, stop) = stopper();
    let means = SyncTools {
        store: store.clone(),
        client,
        clock: Arc::new(SystemClock),
        context: Arc::new(daemon::context(config)),
        stop,
        pulse: Pulse::default(),
    };
    (means, stopper)
}

impl From<SyncError> for CommandError {
    fn from(error: SyncError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Shows how far long work has come: a bar on a terminal, one line per page otherwise.
pub(crate) struct WorkProgress(Option<ProgressBar>);

impl WorkProgress {
    /// `total`: how much there is, where that can be estimated.
    #[must_use]
    pub(crate) fn new(total: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let form = match total {
            Some(_) => "{bar:30} {human_pos} of about {human_len} objects, {rate} per second, {eta} left  {msg}",
            None => "{spinner} {human_pos} objects, {rate} per second, {elapsed}  {msg}",
        };
        // A template that cannot be parsed leaves the default one.
        if let Ok(style) = ProgressStyle::with_template(form) {
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                // A rate that cannot be formatted is left out.
                let _ = write!(out, "{:.0}", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        Self(Some(bar))
    }

    /// A page of `kind` is done, with `objects`; `pages` and `total` of that type so far.
    pub(crate) fn page(&self, kind: &str, objects: u64, (pages, total): (u64, u64)) {
        match &self.0 {
            Some(bar) => {
                bar.inc(objects);
                bar.set_message(kind.to_owned());
            }
            None => eprintln!("{kind}: page {pages}, {total} objects"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
