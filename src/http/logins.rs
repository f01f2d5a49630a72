//! What the login of the dashboard keeps in memory beside its settings: the brake on guessing, and the link that logs in once.
//! It must never see a request. Made by `app::daemon`, called by the login.

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
