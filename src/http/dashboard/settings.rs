//! The configuration in force: each key with its value, where that comes from, and what it means. The rows are made by
//! `app::config`, which knows the sources. It must never hold a secret or a part of one. Called through the table in
//! `dashboard`.

use askama::Template;

use super::page::{self, Frame, Page, PageResult};
use super::{PageRoute, on};
use crate::http::dashboard_state::SettingSection;
use crate::http::request::Method::Get;

pub(super) const ROUTES: &[PageRoute] = &[on(Get, "settings", show)];

#[derive(Template)]
#[template(path = "settings.html", config = "src/http/dashboard/askama.toml")]
struct SettingsPage<'a> {
    frame: Frame,
    version: &'static str,
    database: String,
    source: Option<&'a str>,
    warnings: &'a [String],
    sections: &'a [SettingSection],
}

fn show(page: &Page<'_>) -> PageResult {
    let settings = &page.api.dashboard.settings;
    page::html(
        200,
        &SettingsPage {
            frame: page.frame("settings", "Settings")?,
            version: env!("CARGO_PKG_VERSION"),
            database: page.api.store.path().display().to_string(),
            source: settings.source.as_deref(),
            warnings: &settings.warnings,
            sections: &settings.sections,
        },
    )
}
