//! The secrets of a configuration: where each comes from (environment, file, file of its own, systemd credential), and
//! whether it is of the kind that its key wants. A pasted line too many, or one from another page of Stripe's dashboard, is
//! found at the start and not by refused webhooks. Must never quote a secret. Called by `sections`.

use std::path::Path;

use super::{ConfigReader, has_environment};
use crate::app::config::keys;
use crate::base::secret::Secret;

/// Fewer characters than this can be guessed.
const MIN_TOKEN_CHARS: usize = 16;
/// All that is said of a secret.
pub(in crate::app::config) const SET: &str = "set";
const QUOTES: [char; 3] = ['"', '\'', '`'];

impl ConfigReader<'_> {
    /// One secret.
    pub(in crate::app::config) fn secret(&mut self, key: &str) -> Option<Secret> {
        let in_file = self.text_in_file(key).map(|text| vec![text]);
        let (text, origin) = self.secret_texts(key, in_file).into_iter().next()?;
        self.found_in(key, origin);
        self.checked_secret(key, &text)
    }

    /// Several secrets, separated by commas or line ends where they do not come as a list.
    pub(in crate::app::config) fn secrets(&mut self, key: &str) -> Vec<Secret> {
        // An empty list counts as not given, so that a credential is still looked for.
        let in_file = self.texts(key).filter(|list| !list.is_empty());
        let mut secrets = Vec::new();
        for (text, origin) in self.secret_texts(key, in_file) {
            self.found_in(key, origin);
            let parts = text.split([',', '\n']).filter(|part| !part.trim().is_empty());
            let mut parts: Vec<&str> = parts.collect();
            if parts.is_empty() {
                // So that it is refused as blank.
                parts.push("");
            }
            secrets.extend(parts.into_iter().filter_map(|part| self.checked_secret(key, part)));
        }
        secrets
    }

    /// The texts that hold a secret, and their origins: environment, else file, else credential.
    /// Here a blank variable counts as given: a secret that was meant to be set must not be
    /// replaced by another without notice.
    fn secret_texts(&mut self, key: &str, in_file: Option<Vec<String>>) -> Vec<(String, String)> {
        let file_key = format!("{key}_file");
        let other_file = self.text_in_file(&file_key);
        self.holds_secrets |= in_file.is_some();
        if in_file.is_some() && other_file.is_some() {
            self.fault(key, format!("is given twice: remove it or {file_key}"));
        }
        let around = self.around;
        let variables: Vec<(String, String)> = self
            .variables_of(key)
            .iter()
            .filter_map(|name| Some((around.env.get(*name)?.clone(), (*name).to_owned())))
            .collect();
        if !variables.is_empty() {
            return variables;
        }
        if let Some(texts) = in_file {
            let origin = self.origins.get(key).cloned().unwrap_or_default();
            return texts.into_iter().map(|text| (text, origin.clone())).collect();
        }
        let found = match other_file {
            Some(path) => self.secret_file(&file_key, &path),
            None => self.credential(key),
        };
        found.into_iter().collect()
    }

    fn secret_file(&mut self, file_key: &str, path: &str) -> Option<(String, String)> {
        let path = self.around.absolute(path);
        let shown = path.display();
        match std::fs::read_to_string(&path) {
            Ok(text) => Some((text, shown.to_string())),
            Err(error) => {
                self.fault(
                    file_key,
                    format!("cannot read {shown}: {error}; correct the path or the rights of the file"),
                );
                None
            }
        }
    }

    /// The credential that systemd passed (systemd.exec(5), "Credentials"): a file in a directory of its own.
    fn credential(&mut self, key: &str) -> Option<(String, String)> {
        let known = self.catalog.find(key).filter(|_| has_environment(key))?;
        let directory = self.around.variable("CREDENTIALS_DIRECTORY")?;
        let path = Path::new(directory).join(known.credential?);
        let origin = format!("credential {}", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) => Some((text, origin)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                self.found_in(key, origin);
                self.fault(key, format!("cannot read the credential: {error}; check the file and its rights"));
                None
            }
        }
    }

    fn checked_secret(&mut self, key: &str, text: &str) -> Option<Secret> {
        let secret = Secret::new(text);
        self.note(key, SET);
        if secret.expose().is_empty() {
            self.fault(key, "is blank: give the secret or remove the key");
            return None;
        }
        if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            let message = "contains a space, a line end or an unprintable character: copy it again";
            self.fault(key, message);
            return None;
        }
        if let Some(message) = mismatch(&keys::without_numbers(key), secret.expose(), self.is_dev()) {
            self.fault(key, message);
            return None;
        }
        Some(secret)
    }
}

/// What is wrong with the secret of `key` (without the numbers of blocks). `is_dev`: the file is that of `tilld dev`, whose
/// tokens may be short enough to type.
fn mismatch(key: &str, secret: &str, is_dev: bool) -> Option<String> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| secret.starts_with(prefix));
    let is_api_key = begins(&["sk_", "rk_", "pk_"]);
    let said = match key {
        "notify.smtp.password" if !is_wrapped(secret) => return None,
        _ if secret.starts_with(QUOTES) => {
            "has quotes around it: remove them; a variable or a file of its own needs none"
        }
        "stripe.webhook.secrets" if is_api_key => {
            "is an API key: give the endpoint's signing secret (whsec_…), which Stripe's dashboard shows beside its URL"
        }
        "stripe.webhook.secrets" if begins(&["we_"]) => {
            "is the id of an endpoint (we_…): give its signing secret (whsec_…), which the dashboard shows on its page"
        }
        "stripe.api_key" if begins(&["whsec_", "we_"]) => {
            "is not an API key: a signing secret belongs in secrets of [[stripe.webhook]]; give a secret key (sk_…) or a \
             restricted one (rk_…)"
        }
        "api.token" | "api.admin_token" if is_api_key || begins(&["whsec_"]) => {
            "is a secret of Stripe's: make a token of your own; `openssl rand -hex 32` makes one"
        }
        "api.token" | "api.admin_token" if !is_dev && secret.chars().count() < MIN_TOKEN_CHARS => {
            return Some(format!(
                "is shorter than {MIN_TOKEN_CHARS} characters: it could be guessed; `openssl rand \
                 -hex 32` makes one"
            ));
        }
        _ => return None,
    };
    Some(said.to_owned())
}

fn is_wrapped(secret: &str) -> bool {
    secret.chars().count() > 1 && QUOTES.iter().any(|quote| secret.starts_with(*quote) && secret.ends_with(*quote))
}
