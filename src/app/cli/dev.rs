//! `tilld dev`: the daemon with generated secrets, for the first hour. It must never listen beyond this machine, nor touch the
//! files of a real installation: its two files lie next to each other and are reused. Called by the command line.

mod banner;
mod forward;

use std::path::{Path, PathBuf};

use crate::app::cli::serve;
use crate::app::cli::{CommandError, init};
use crate::app::config::{self, Config, ConfigSources, Flags, Purpose, dev_config_text};
use crate::app::daemon;
use crate::app::logging;
use crate::base::ids::random_token;

const DATABASE: &str = "tilld-dev.db";
const CONFIG: &str = "tilld-dev.toml";

/// Flags of `tilld dev`.
#[derive(Debug, clap::Args)]
#[group(id = "dev")]
pub(crate) struct DevArguments {
    /// Forward every event to an application on this machine, signed as Stripe signs, and print its answers
    #[arg(long, value_name = "URL")]
    forward_to: Option<String>,
    /// The flags of `tilld serve`
    #[command(flatten)]
    serve: serve::ServeArguments,
}

/// Runs the daemon with a generated configuration until a signal ends it.
///
/// # Errors
/// The files cannot be written, a listener is not loopback; or the daemon did not start, or ended badly.
pub(crate) fn run(arguments: DevArguments, flags: &Flags, out: &mut dyn std::io::Write) -> Result<(), CommandError> {
    if let Some(path) = &flags.config {
        let path = path.display();
        let message = format!(
            "--config {path}: tilld dev writes a configuration of its own; run `tilld serve --config {path}` instead"
        );
        return Err(CommandError::wrong_use(message));
    }
    let database = flags.database.clone().unwrap_or_else(|| PathBuf::from(DATABASE));
    let database = std::path::absolute(&database)
        .map_err(|error| CommandError::wrong_use(format!("--database {}: {error}", database.display())))?;
    let file = database.with_file_name(CONFIG);
    let written = write_once(&file, &database)?;
    let flags = Flags { config: Some(file), database: Some(database), ..arguments.serve.onto(flags) };
    let config = config::load(&flags, &ConfigSources::of_process(), Purpose::Serve)?;
    refuse_reachable(&config)?;
    let forward = arguments.forward_to.as_deref().map(|url| forward::to(url, &config)).transpose()?;
    let secret = forward.as_ref().map(|forward| forward.secret.clone());
    logging::start(&config);
    // A browser reaches a port, not a Unix socket.
    let once = random_token("")?;
    Ok(daemon::run_with(&config, (forward, Some(once.clone())), |running| {
        let mut text = banner::text(&config, running, (written, &once));
        if let (Some(url), Some(secret)) = (&arguments.forward_to, &secret) {
            text.push_str(&forward::banner(url, secret));
        }
        // An output that was closed is no reason to stop.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    })?)
}

/// Whether the configuration file was written now, or existed before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WrittenConfig {
    Now,
    Before,
}

fn write_once(file: &Path, database: &Path) -> Result<WrittenConfig, CommandError> {
    if file.exists() {
        return Ok(WrittenConfig::Before);
    }
    let (secret, token, admin) = (random_token("whsec_")?, random_token("tilld_")?, random_token("tilld_")?);
    init::write_new(file, &dev_config_text(database, &secret, &token, &admin))?;
    Ok(WrittenConfig::Now)
}

fn refuse_reachable(config: &Config) -> Result<(), CommandError> {
    let listeners = [("listen.public", &config.listen.public), ("listen.private", &config.listen.private)];
    let open: Vec<String> = listeners
        .into_iter()
        .filter(|(_, address)| !address.is_local())
        .map(|(key, address)| {
            format!("{key}: {address} can be reached from other machines; tilld dev listens on 127.0.0.1 or unix:/path")
        })
        .collect();
    if open.is_empty() { Ok(()) } else { Err(CommandError::wrong_use(open.join("\n"))) }
}
