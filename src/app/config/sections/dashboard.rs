//! `[dashboard]`: the pages for operators. Called by `sections`.

use crate::app::config::keys::{Section, number};
use crate::app::config::reader::ConfigReader;
use crate::http::dashboard::DashboardSettings;

const MS_PER_HOUR: i64 = 3_600_000;

pub(super) const DASHBOARD: Section = Section::once(
    "dashboard",
    "The pages under /dashboard on the private listener, opened with api.admin_token.",
    &[number("dashboard.session_h", 12, (1, 720)).about("Hours ({range}) after which one logs in again.")],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> DashboardSettings {
    let session_ms = reader.number::<i64>("dashboard.session_h").saturating_mul(MS_PER_HOUR);
    DashboardSettings { session_ms, ..DashboardSettings::default() }
}
