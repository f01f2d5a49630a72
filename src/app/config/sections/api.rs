//! `[api]`: the tokens of the private listener. Called by `sections`.

use crate::app::config::keys::{Section, secret};
use crate::app::config::reader::ConfigReader;
use crate::http::route::Tokens;

pub(super) const API: Section = Section::once(
    "api",
    "",
    &[
        secret("api.token", "tilld_xxxxxxxxxxxxxxxx", "api_token").env(&["TILLD_API_TOKEN"]).about(
            "What your application sends as \"Authorization: Bearer ...\": at least 16 characters, and different \
             from admin_token. `tilld init` makes one.",
        ),
        secret("api.admin_token", "tilld_yyyyyyyyyyyyyyyy", "admin_token")
            .env(&["TILLD_ADMIN_TOKEN"])
            .about("The same for operators: it also opens /api/v1/admin and /dashboard."),
    ],
);

pub(super) fn read(reader: &mut ConfigReader<'_>) -> Tokens {
    Tokens { api: reader.secret("api.token"), admin: reader.secret("api.admin_token") }
}
