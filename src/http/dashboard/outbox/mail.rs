//! A mail as its reader sees it. Its HTML holds words of other people and an operator's own templates, so it is shown at an
//! address of its own, where the browser runs no script, sends no form, loads nothing and belongs to no site. It must never
//! be put into a page of ours. Called through the table in `outbox` and by the page of a row.

use serde_json::Value;

use super::{find, id_of};
use crate::http::dashboard::page::{Page, PageError, PageResult};
use crate::http::response::Response;
use crate::notify::mail::{MailSettings, Mailer, RenderedMail};
use crate::store::outbox::rows::OutboxRow;

/// What a browser may do with the HTML of a mail: lay it out, inside a page of ours or alone. `sandbox` takes its origin
/// away, and with it cookies, scripts, forms and the window around it.
const MAIL_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; \
     frame-ancestors 'self'";

/// The page of a row shows the mail in a frame.
pub(super) const FRAMING_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A mail, written as it would be sent now. The error is for people.
pub(super) fn render(settings: Option<&MailSettings>, row: &OutboxRow) -> Result<RenderedMail, String> {
    let settings = settings.ok_or(
        "No sender and mail server are configured (notify.from, notify.smtp.host), so it is \
                                   not known what it would look like.",
    )?;
    let payload: Value = serde_json::from_str(&row.payload).map_err(|error| error.to_string())?;
    let mailer = Mailer::new(settings.clone()).map_err(|error| error.to_string())?;
    mailer.render(&payload).map_err(|error| error.to_string())
}

/// The HTML part alone.
pub(super) fn show(page: &Page<'_>) -> PageResult {
    let row = find(page, id_of(page.parameter("id"))?)?;
    if row.kind != "mail" {
        return Err(PageError::not_found("This row of the outbox is no mail."));
    }
    let mail =
        render(page.api.dashboard.settings.mail.as_ref(), &row).map_err(|words| PageError::Refused(409, words))?;
    let headers = vec![
        ("Content-Type", "text/html; charset=utf-8".to_owned()),
        ("Content-Security-Policy", MAIL_POLICY.to_owned()),
    ];
    Ok(Response { status: 200, headers, body: mail.html.into_bytes() })
}
