//! What the dashboard keeps in memory: its settings, the configuration as it shows it, the brake on guessing, and the link that
//! logs in once. It must never see a request, nor hold a secret. Made by `app::daemon`, called by the pages.

mod brake;
mod once;

use crate::notify::mail::MailSettings;
use brake::Brake;
use once::OnceLogin;
pub use once::VALID_MINUTES;

/// What the configuration says of the pages.
#[derive(Debug, Clone, Default)]
pub struct DashboardSettings {
    /// How long a login lasts, in milliseconds.
    pub session_ms: i64,
    /// What mails are written with; `None`: none are sent.
    pub mail: Option<MailSettings>,
    /// The configuration in force, without secrets.
    pub sections: Vec<SettingSection>,
    /// The file that it was read from.
    pub source: Option<String>,
    /// What of it is allowed but unwise.
    pub warnings: Vec<String>,
}

/// A section of the configuration, or one block of it.
#[derive(Debug, Clone)]
pub struct SettingSection {
    /// As it stands in the file.
    pub header: String,
    /// What it is for.
    pub about: String,
    /// Its keys.
    pub rows: Vec<SettingRow>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct SettingRow {
    /// Its name within the section.
    pub key: String,
    /// Its value; of a secret only whether it is set.
    pub value: String,
    /// Where the value comes from: a line of a file, a variable, a flag, a credential, or the default.
    pub source: String,
    /// What it means.
    pub about: String,
}

impl SettingRow {
    pub(crate) fn is_default(&self) -> bool {
        matches!(self.source.as_str(), "" | "default")
    }
}

/// What the pages keep in memory.
#[derive(Debug)]
pub struct Dashboard {
    /// What the configuration says.
    pub settings: DashboardSettings,
    /// Counts wrong tokens.
    pub(crate) brake: Brake,
    /// The link that logs in once, if there is one.
    pub(crate) once: Option<OnceLogin>,
}

impl Dashboard {
    /// Pages that open with the admin token, and with nothing else.
    #[must_use]
    pub fn new(settings: DashboardSettings) -> Self {
        Self { settings, brake: Brake::default(), once: None }
    }

    /// The same, and once with the link `login?once=` and this token.
    #[must_use]
    pub fn with_link(self, token: &str, now_ms: i64) -> Self {
        Self { once: Some(OnceLogin::new(token, now_ms)), ..self }
    }
}
