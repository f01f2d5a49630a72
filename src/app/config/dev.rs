//! The configuration that `tilld dev` generates. Must never write it: the command does. Called by `cli::dev`.

use std::path::Path;

/// A small configuration file: these secrets, a `pro` plan, and the listeners' loopback defaults.
/// The database's path should be absolute: a relative one depends on the working directory.
#[must_use]
pub(crate) fn dev_config_text(database: &Path, webhook_secret: &str, token: &str, admin_token: &str) -> String {
    format!(
        "# Written by `tilld dev`. These secrets are for this machine only.\n\
         database = {database}\n\
         \n\
         [[stripe.webhook]]\n\
         secrets = [{webhook_secret}]\n\
         \n\
         [api]\n\
         token = {token}\n\
         admin_token = {admin_token}\n\
         \n\
         [[plan]]\n\
         tier = \"pro\"\n\
         price_ids = [\"price_tilld_pro\"]\n",
        database = quoted(&database.to_string_lossy()),
        webhook_secret = quoted(webhook_secret),
        token = quoted(token),
        admin_token = quoted(admin_token),
    )
}

/// A basic string (toml.io, "String").
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
