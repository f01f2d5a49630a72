//! Is the daemon that answers the one of this configuration? The private listener is asked, with the token, for the id of its
//! database; the public listener has no token and is believed as far as the private one is. Must never change anything. Called
//! by `check`.

use serde_json::Value;

use crate::app::cli::post;
use crate::app::cli::reach::{self, DaemonReach};
use crate::app::config::Config;
use crate::base::address::Address;
use crate::base::finding::{Finding, fail, ok, warn};
use crate::jobs::findings;

const CHECK: &str = "daemon";

/// The daemon at the private listener.
enum RunningDaemon {
    /// It works on our database.
    Ours(Value),
    /// It works on another, or does not take our token.
    Another(String),
    /// It could not be asked.
    Unasked(&'static str),
}

pub(super) fn lines(config: &Config, database_id: Option<&str>) -> Vec<Finding> {
    let (public, private) = (&config.listen.public, &config.listen.private);
    let known = matches!(reach::of(private), DaemonReach::Daemon).then(|| ask(config, database_id));
    let is_another = matches!(&known, Some(RunningDaemon::Another(_)));
    let mut lines = vec![match reach::of(public) {
        DaemonReach::Daemon if is_another => warn(
            CHECK,
            format!(
                "a daemon answers at public {public}, but the one at private {private} is another; stop one of them"
            ),
        ),
        found => plain("public", public, found),
    }];
    match known {
        None => lines.push(plain("private", private, reach::of(private))),
        Some(RunningDaemon::Ours(status)) => {
            lines.push(ok(CHECK, format!("answers at private {private}, with this database")));
            lines.extend(refused(&status));
        }
        Some(RunningDaemon::Another(why)) => lines.push(fail(
            CHECK,
            format!("another daemon answers at private {private}: {why}; stop it, or choose another address"),
        )),
        Some(RunningDaemon::Unasked(why)) => {
            lines.push(warn(
                CHECK,
                format!(
                    "a daemon answers at private {private}, but it is not known whether it has this database: {why}"
                ),
            ));
        }
    }
    lines
}

fn ask(config: &Config, database_id: Option<&str>) -> RunningDaemon {
    let Some(token) = config.tokens.api.as_ref().or(config.tokens.admin.as_ref()) else {
        return RunningDaemon::Unasked("api.token and api.admin_token are not set");
    };
    let authorization = format!("Bearer {}", token.expose());
    let url = reach::url(&config.listen.private, "/api/v1/status");
    let Ok(answer) = post::send("GET", &url, &[("Authorization", &authorization)], &[]) else {
        return RunningDaemon::Unasked("it did not answer");
    };
    if answer.status == 401 {
        return RunningDaemon::Another("it does not take the token of this configuration".to_owned());
    }
    let status: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match (status["database_id"].as_str(), database_id) {
        (Some(theirs), Some(ours)) if theirs == ours => RunningDaemon::Ours(status),
        (Some(_), _) => RunningDaemon::Another("it works on another database".to_owned()),
        (None, _) => RunningDaemon::Unasked("it does not say which database it has; restart it with this version"),
    }
}

fn plain(name: &str, address: &Address, found: DaemonReach) -> Finding {
    match found {
        DaemonReach::Daemon => ok(CHECK, format!("answers at {name} {address}")),
        DaemonReach::Nobody => warn(CHECK, format!("nobody answers at {name} {address}; start it with `tilld serve`")),
        DaemonReach::Unknown => {
            ok(CHECK, format!("{name} {address}: the system chooses the port, see the daemon's log"))
        }
        DaemonReach::Stranger(answer) => {
            fail(CHECK, format!("another program answers at {name} {address} ({answer}); choose another address"))
        }
    }
}

/// Webhooks that the daemon has refused since its start, by code.
fn refused(status: &Value) -> Option<Finding> {
    let count = |(code, count): (&String, &Value)| (code.clone(), count.as_u64().unwrap_or_default());
    Some(findings::refused(&status["refused_webhooks"].as_object()?.iter().map(count).collect()))
}
