//! Why what belongs to a user does: each customer and subscription with every rule and what it found. Called by `user
//! show`.

use std::io::Write;

use serde_json::{Value, json};

use crate::app::cli::table;
use crate::base::ownership::{self, Found, Rules, Step};
use crate::objects::owner;
use crate::objects::subscription::ShownSubscription;
use crate::store::{Reader, StoreError};

/// One thing of a user's, and why it is.
pub(super) struct Link {
    object: &'static str,
    id: String,
    is_main: bool,
    trace: Vec<Step>,
}

/// Everything of a user's.
pub(super) fn find(
    reader: &Reader,
    user_id: &str,
    all: &[ShownSubscription],
    rules: &Rules,
) -> Result<Vec<Link>, StoreError> {
    let mut links = Vec::new();
    for (id, is_main) in owner::rows::list_customers(reader, user_id)? {
        let words = owner::words_of_customer(reader, &id, rules)?;
        let trace = ownership::trace_customer(&words, rules).collect();
        links.push(Link { object: "customer", id, is_main, trace });
    }
    for shown in all {
        let id = shown.subscription.stripe_subscription_id.clone();
        let words = owner::words_of_subscription(reader, &id, rules)?;
        let trace = ownership::trace_object(&words, rules).collect();
        links.push(Link { object: "subscription", id, is_main: false, trace });
    }
    Ok(links)
}

/// What a rule found, in words.
fn words(found: &Found) -> String {
    match found {
        Found::Silent => "nobody".to_owned(),
        Found::Names(user_id) => user_id.clone(),
        Found::Denied(user_id) => format!("{user_id} (said not to be)"),
        Found::Several(users) => format!("several: {}", users.join(", ")),
    }
}

fn deciding(link: &Link) -> Option<&Step> {
    link.trace.iter().find(|step| matches!(step.found, Found::Names(_)))
}

pub(super) fn json(link: &Link) -> Value {
    let trace: Vec<Value> =
        link.trace.iter().map(|step| json!({"rule": step.rule.as_str(), "names": words(&step.found)})).collect();
    json!({
        "object": link.object, "id": link.id, "main": link.is_main,
        "linked_by": deciding(link).map(|step| step.rule.as_str()), "trace": trace,
    })
}

pub(super) fn print(links: &[Link], out: &mut dyn Write) -> std::io::Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let row = |link: &Link| {
        let trace: Vec<String> =
            link.trace.iter().map(|step| format!("{}: {}", step.rule.as_str(), words(&step.found))).collect();
        let id = if link.is_main { format!("{} (main)", link.id) } else { link.id.clone() };
        let by = deciding(link).map(|step| step.rule.as_str());
        vec![id, table::cell(by), trace.join(" · ")]
    };
    writeln!(out)?;
    table::columns(
        out,
        &["BELONGS TO THE USER", "LINKED BY", "WHAT EACH RULE FOUND"],
        &links.iter().map(row).collect::<Vec<_>>(),
    )
}
