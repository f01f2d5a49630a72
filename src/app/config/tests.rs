//! What the configuration guarantees. Each test has a directory and an environment of its own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod documents;
mod faults;
mod link;
mod notify;
mod sources;

use super::*;
use crate::base::entitlement::{EntitlementPlan, PausedCollection, WhenStale};
use crate::base::secret::Secret;
use crate::http::api::offers::{Checkout, Portal};
use crate::notify::mail::{SmtpSecurity, SmtpServer};
use tempfile::TempDir;

const KEY: (&str, &str) = ("STRIPE_API_KEY", "sk_test_1");
const SECRET: (&str, &str) = ("STRIPE_WEBHOOK_SECRET", "whsec_env");

struct World {
    dir: TempDir,
    flags: Flags,
    around: ConfigSources,
}

impl World {
    /// A directory without any file, an empty environment, no flags.
    fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let around = ConfigSources {
            env: [].into(),
            working_directory: dir.path().to_owned(),
            system_config: dir.path().join("etc/config.toml"),
        };
        Self { dir, flags: Flags::default(), around }
    }

    /// Writes `config.toml`.
    fn file(self, text: &str) -> Self {
        self.other_file("config.toml", text)
    }

    fn other_file(self, name: &str, text: &str) -> Self {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        self.around.env.extend(owned);
        self
    }

    fn flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    /// Makes `name` a credential, as systemd does.
    fn credential(self, name: &str, text: &str) -> Self {
        let directory = self.dir.path().join("credentials").display().to_string();
        self.other_file(&format!("credentials/{name}"), text).env(&[("CREDENTIALS_DIRECTORY", &directory)])
    }

    fn load(&self, purpose: Purpose) -> Result<Config, Faults> {
        load(&self.flags, &self.around, purpose)
    }

    fn tool(&self) -> Config {
        self.load(Purpose::Tool).unwrap()
    }

    fn serve(&self) -> Config {
        self.load(Purpose::Serve).unwrap()
    }

    /// What is wrong for a command, one line each.
    fn faults(&self) -> Vec<String> {
        lines(&self.load(Purpose::Tool).expect_err("no fault"))
    }

    /// The only fault; its line must hold all these parts.
    fn fault(&self, parts: &[&str]) {
        has(&self.faults(), parts);
    }

    /// The same for the daemon.
    fn serve_fault(&self, parts: &[&str]) {
        has(&lines(&self.load(Purpose::Serve).expect_err("no fault")), parts);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// What the client is told.
fn client(config: &Config) -> &StripeSettings {
    config.stripe.client.as_ref().unwrap()
}

/// The mail server, of a configuration that names one and a sender.
fn server(config: &Config) -> &SmtpServer {
    &config.mail.as_ref().unwrap().server
}

fn lines(faults: &Faults) -> Vec<String> {
    faults.to_string().lines().map(str::to_owned).collect()
}

fn has(lines: &[String], parts: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:#?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in {:?}", lines[0]);
    }
}

fn exposed(secrets: &[Secret]) -> Vec<&str> {
    secrets.iter().map(Secret::expose).collect()
}
