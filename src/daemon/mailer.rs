//! Who writes mails, by the configuration. Called by `daemon` and by the commands that check or try mail.

use std::time::Duration;

use crate::config::{self, Notify};
use crate::delivery::mail::{Security, Server, Settings};

/// What a mailer is made from; `None` where no sender or no mail server is named. Whether mail is wanted
/// (`notify.mail`) is not asked here.
#[must_use]
pub fn settings(notify: &Notify) -> Option<Settings> {
    let smtp = &notify.smtp;
    let login = smtp.username.clone().zip(smtp.password.as_ref().map(|password| password.expose().to_owned()));
    Some(Settings {
        from: notify.from.clone()?,
        reply_to: None,
        product: notify.product.clone(),
        templates: notify.templates.clone(),
        server: Server {
            host: smtp.host.clone()?,
            port: smtp.port,
            security: match smtp.security {
                config::Security::StartTls => Security::StartTls,
                config::Security::Tls => Security::Tls,
                config::Security::None => Security::None,
            },
            login,
            ca_file: smtp.ca_file.clone(),
            timeout: Duration::from_secs(smtp.timeout_s),
        },
    })
}
