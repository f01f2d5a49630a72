//! `tilld init`: the first configuration file. Must never overwrite a file, nor leave one behind
//! that others may read. Called by the command line; [`write_new`] by the `dev` command, too.

use crate::app::config;
use crate::base::ids::{RandomError, random_token};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Shows in a leaked token what it is for.
const TOKEN_PREFIX: &str = "tilld_";
/// Only the owner may read it.
const PRIVATE_MODE: u32 = 0o600;

/// Why there is no new file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// The file exists; its secrets may be in use.
    #[error("{0} exists and is not overwritten: edit it, or move it away")]
    Exists(PathBuf),
    /// The disk, or the rights of the directory.
    #[error("cannot write {path}: {source}; check the directory and its rights")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Writes a commented configuration file with fresh tokens. Returns what to print.
///
/// # Errors
/// The file exists, or cannot be written.
pub(crate) fn run(path: &Path) -> Result<String, InitError> {
    let text = with_tokens(&random_token(TOKEN_PREFIX)?, &random_token(TOKEN_PREFIX)?);
    write_new(path, &text)?;
    let path = path.display();
    Ok(format!(
        "wrote {path} (mode 0600) with fresh api.token and api.admin_token\n\
         next:\n\
         1. put the webhook secret (whsec_…) into secrets of [[stripe.webhook]], and the API key into \
         api_key of [stripe]\n\
         2. name your plans in [[plan]]\n\
         3. tilld check --config {path}\n\
         4. tilld serve --config {path}\n"
    ))
}

/// Writes a new file that only its owner may read.
///
/// # Errors
/// The file exists, or cannot be written.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), InitError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => InitError::Exists(path.to_owned()),
        _ => InitError::Write { path: path.to_owned(), source },
    };
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(PRIVATE_MODE);
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a file would be read as a complete one. If it cannot be removed, the first error is the one to report.
        let _ = std::fs::remove_file(path);
    }
    written.map_err(failed)
}

fn with_tokens(token: &str, admin_token: &str) -> String {
    let line = |line: &str| match line.split_once(" = ").map(|(key, _)| key) {
        Some("#token") => format!("token = \"{token}\"\n"),
        Some("#admin_token") => format!("admin_token = \"{admin_token}\"\n"),
        _ => format!("{line}\n"),
    };
    config::example().lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::app::config::{Config, ConfigSources, Flags, Purpose, load};
    use std::os::unix::fs::PermissionsExt;

    fn loaded(path: &Path) -> Config {
        let flags = Flags { config: Some(path.to_owned()), ..Flags::default() };
        let around = ConfigSources {
            env: [("STRIPE_WEBHOOK_SECRET".to_owned(), "whsec_x".to_owned())].into(),
            working_directory: path.parent().unwrap().to_owned(),
            system_config: path.to_owned(),
        };
        load(&flags, &around, Purpose::Serve).unwrap()
    }

    #[test]
    fn init_writes_a_private_file_that_loads_with_two_fresh_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let told = run(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let config = loaded(&path);
        let (token, admin) = (config.tokens.api.unwrap(), config.tokens.admin.unwrap());
        for token in [&token, &admin] {
            assert_eq!(token.expose().len(), TOKEN_PREFIX.len() + 43);
            assert!(token.expose().starts_with(TOKEN_PREFIX));
            assert!(!told.contains(token.expose()));
        }
        assert_ne!(token.expose(), admin.expose());
        assert!(config.warnings.is_empty());
        assert!(told.contains("config.toml"));
    }

    #[test]
    fn two_inits_make_different_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| {
            run(&dir.path().join(name)).unwrap();
            loaded(&dir.path().join(name)).tokens.api.unwrap()
        });
        assert_ne!(a.expose(), b.expose());
    }

    #[test]
    fn init_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, "mine").unwrap();
        let error = run(&path).unwrap_err();
        assert!(matches!(error, InitError::Exists(_)));
        assert!(error.to_string().contains("config.toml exists"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn init_names_the_file_that_it_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let error = run(&dir.path().join("missing/config.toml")).unwrap_err();
        assert!(matches!(error, InitError::Write { .. }));
        assert!(error.to_string().contains("missing/config.toml"), "{error}");
    }
}
