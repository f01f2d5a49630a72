//! The configuration in force: each key with its value, where that comes from, and what it means. The rows are made by
//! `app::config`, which knows the sources. It must never hold a secret or a part of one. Called through the table in
//! `dashboard`.

use askama::Template;

use super::page::{self, Frame, Page, PageResult};
use super::{PageRoute, on};
use crate::http::request::Method::Get;

pub(super) const ROUTES: &[PageRoute] = &[on(Get, "settings", show)];

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
    fn is_default(&self) -> bool {
        matches!(self.source.as_str(), "" | "default")
    }
}

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
