//! What `tilld dev` prints once it runs: its settings, and three commands to try. Each must work when pasted into a shell in
//! the same folder, so it has the flags that this folder and these addresses need. Called by `dev`.

use std::path::Path;

use super::WrittenConfig;
use crate::app::cli::reach;
use crate::app::config::{self, Config, ConfigSources, Flags, Purpose};
use crate::app::daemon::Running;
use crate::base::secret::Secret;
use crate::http::dashboard::VALID_MINUTES;

/// The whole text.
pub(super) fn text(config: &Config, running: &Running, (written, once): (WrittenConfig, &str)) -> String {
    let source = config.source.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let how = if written == WrittenConfig::Now { "written just now" } else { "as found" };
    let plans: Vec<String> =
        config.policy.plans.iter().map(|plan| format!("{} = {}", plan.tier, plan.price_ids.join(", "))).collect();
    format!(
        "tilld dev\n\
         \n\
         configuration  {source} ({how}; the webhook secret is in it)\n\
         database       {database}\n\
         public         {public}\n\
         private        {private}\n\
         api token      {token}\n\
         admin token    {admin}\n\
         plan           {plans}\n\
         dashboard      {dashboard}\n\
         \n\
         Try, in another terminal, in this folder:\n\
         \n  {created}\n  {ask}\n  {deleted}\n\n{note}",
        database = config.database.display(),
        public = running.public,
        private = running.private,
        token = shown(config.tokens.api.as_ref()),
        admin = shown(config.tokens.admin.as_ref()),
        dashboard = dashboard(&running.private, once),
        plans =
            if plans.is_empty() { "none: every price buys the tier \"default\"".to_owned() } else { plans.join("; ") },
        created = trigger("customer.subscription.created", config, running),
        ask = ask(config, running),
        deleted = trigger("customer.subscription.deleted", config, running),
        note = other_database(config),
    )
}

/// Where a browser finds the pages, with the link that logs in once. A Unix socket is nothing for a browser.
fn dashboard(private: &str, once: &str) -> String {
    match private.strip_prefix("unix:") {
        Some(_) => "behind a proxy only, since browsers do not open Unix sockets".to_owned(),
        None => format!("http://{private}/dashboard/login?once={once}  (logs in once, within {VALID_MINUTES} minutes)"),
    }
}

fn shown(token: Option<&Secret>) -> &str {
    token.map_or("none", Secret::expose)
}

/// The configuration that a command without flags finds here.
fn found() -> Option<Config> {
    config::load(&Flags::default(), &ConfigSources::of_process(), Purpose::Tool).ok()
}

fn trigger(event: &str, config: &Config, running: &Running) -> String {
    let mut command = format!("{} trigger {event} --user alice", program());
    if found().and_then(|found| found.source) != config.source {
        let source = config.source.as_deref().unwrap_or(Path::new(super::CONFIG));
        command.push_str(&format!(" --config {}", quoted(&source.to_string_lossy())));
    }
    if running.public != found().map(|found| found.listen.public.to_string()).unwrap_or_default() {
        let path = config.stripe.webhooks.first().map_or("/", |endpoint| endpoint.path.as_str());
        command.push_str(&format!(" --url {}", quoted(&reach::url(&running.public, path))));
    }
    command
}

fn ask(config: &Config, running: &Running) -> String {
    let token = shown(config.tokens.api.as_ref());
    let (flag, base) = match running.private.strip_prefix("unix:") {
        Some(socket) => (format!(" --unix-socket {}", quoted(socket)), "http://localhost".to_owned()),
        None => (String::new(), format!("http://{}", running.private)),
    };
    format!("curl{flag} -H \"Authorization: Bearer {token}\" {base}/api/v1/users/alice/entitlement")
}

/// The file keeps the database of its first run.
fn other_database(config: &Config) -> String {
    let found = config.source.clone().and_then(|source| {
        let flags = Flags { config: Some(source), ..Flags::default() };
        config::load(&flags, &ConfigSources::of_process(), Purpose::Tool).ok()
    });
    match found {
        Some(found) if found.database != config.database => format!(
            "Other commands open {}, as configured: give them --database {}\n",
            found.database.display(),
            quoted(&config.database.to_string_lossy()),
        ),
        _ => String::new(),
    }
}

/// How to call this program: by its name if the shell finds it under that name, else by its path.
fn program() -> String {
    let Ok(myself) = std::env::current_exe() else { return "tilld".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|folder| folder.join("tilld")).find(|file| file.is_file());
    let same = |file: &Path| file.canonicalize().ok() == myself.canonicalize().ok();
    match first {
        Some(file) if same(&file) => "tilld".to_owned(),
        _ => quoted(&myself.to_string_lossy()),
    }
}

/// A word for the shell (POSIX sh, 2.2.2: nothing is special between single quotes but the quote itself).
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_shell() {
        assert_eq!(quoted("/usr/bin/tilld"), "/usr/bin/tilld");
        assert_eq!(quoted("/my files/it's"), "'/my files/it'\\''s'");
    }
}
