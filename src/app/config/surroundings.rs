//! What a configuration is made from besides its file: flags, environment, directories; and where the file is looked for.
//! Must never read the environment again after the start. Made by `app::cli`.

use super::fault::{ConfigFault, Faults};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file of a packaged installation.
const SYSTEM_CONFIG: &str = "/etc/tilld/config.toml";
/// Looked for in the working directory, in this order.
const LOCAL_CONFIGS: [&str; 2] = ["config.toml", DEV_CONFIG];
/// What `tilld dev` writes.
pub(super) const DEV_CONFIG: &str = "tilld-dev.toml";

/// The flags of the command line. They override everything else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the file to read.
    pub config: Option<PathBuf>,
    /// `--database`.
    pub database: Option<PathBuf>,
    /// `--log`.
    pub log: Option<String>,
    /// `--public-listen`.
    pub public_listen: Option<String>,
    /// `--private-listen`.
    pub private_listen: Option<String>,
}

impl Flags {
    /// The value of the flag that sets this key, and the flag's name.
    pub(super) fn value_of(&self, key: &str) -> Option<(String, &'static str)> {
        let (value, flag) = match key {
            "database" => (self.database.as_deref().map(|path| path.display().to_string()), "--database"),
            "log" => (self.log.clone(), "--log"),
            "listen.public" => (self.public_listen.clone(), "--public-listen"),
            "listen.private" => (self.private_listen.clone(), "--private-listen"),
            _ => return None,
        };
        value.map(|value| (value, flag))
    }
}

/// The environment of the process. A value, so that tests never touch the environment of their own
/// process. No `Debug`: it holds secrets.
#[derive(Clone)]
pub struct ConfigSources {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What relative paths are relative to.
    pub working_directory: PathBuf,
    /// The configuration file that is tried last.
    pub system_config: PathBuf,
}

impl ConfigSources {
    /// Those of this process, now. A variable that is not UTF-8 comes with its bad bytes replaced,
    /// so that it is refused where it is used instead of being overlooked.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Self {
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            working_directory: std::env::current_dir().unwrap_or_default(),
            system_config: PathBuf::from(SYSTEM_CONFIG),
        }
    }

    /// Turns a relative path into one from the working directory.
    pub(super) fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.working_directory.join(path)
    }

    /// A variable that is set and not blank. Compose files and units set blank ones for "none".
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.env.get(name)?;
        (!value.trim().is_empty()).then_some(value)
    }
}

/// A configuration file and its text.
pub(super) struct ValueSource {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Reads the first configuration file that there is. One that was asked for must be there.
pub(super) fn find(flags: &Flags, around: &ConfigSources) -> Result<Option<ValueSource>, Faults> {
    let flag = flags.config.clone().map(|path| (path, "--config"));
    let variable = around.variable("TILLD_CONFIG").map(PathBuf::from);
    if let Some((path, origin)) = flag.or(variable.map(|path| (path, "TILLD_CONFIG"))) {
        return read(around.absolute(path), Some(origin)).map(Some);
    }
    let local = LOCAL_CONFIGS.map(|name| around.absolute(name));
    let mut candidates = local.into_iter().chain([around.system_config.clone()]);
    // A file that cannot be examined does not count as missing: reading it gives the reason.
    let found = candidates.find(|path| path.try_exists().unwrap_or(true));
    found.map(|path| read(path, None)).transpose()
}

fn read(path: PathBuf, origin: Option<&str>) -> Result<ValueSource, Faults> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(ValueSource { path, text }),
        Err(error) => Err(Faults(vec![ConfigFault {
            key: "config".to_owned(),
            origin: origin.map(str::to_owned),
            message: format!("cannot read {}: {error}; correct the path or the rights of the file", path.display()),
        }])),
    }
}
