//! Why something belongs to a user: each customer and subscription with every rule and what it found. Must never decide.
//! Called by `tilld user show`.

use std::io::Write;

use serde_json::{Value, json};

use crate::app::cli::table;
use crate::base::ownership::{self, LinkRules, OwnershipTrace, TraceStep};
use crate::objects::owner;
use crate::objects::subscription::FoundSubscription;
use crate::store::{StoreError, StoreReader};

/// A customer or subscription of a user, and why it is theirs.
pub(super) struct LinkRow {
    object: &'static str,
    id: String,
    is_main: bool,
    trace: Vec<TraceStep>,
}

/// All that belong to a user.
pub(super) fn find(
    reader: &StoreReader,
    user_id: &str,
    all: &[FoundSubscription],
    rules: &LinkRules,
) -> Result<Vec<LinkRow>, StoreError> {
    let mut links = Vec::new();
    for (id, is_main) in owner::rows::list_customers(reader, user_id)? {
        let words = owner::words_of_customer(reader, &id, rules)?;
        let trace = ownership::trace_customer(&words, rules).collect();
        links.push(LinkRow { object: "customer", id, is_main, trace });
    }
    for shown in all {
        let id = shown.subscription.stripe_subscription_id.clone();
        let words = owner::words_of_subscription(reader, &id, rules)?;
        let trace = ownership::trace_object(&words, rules).collect();
        links.push(LinkRow { object: "subscription", id, is_main: false, trace });
    }
    Ok(links)
}

/// What a rule found, in words.
fn words(found: &OwnershipTrace) -> String {
    match found {
        OwnershipTrace::Silent => "nobody".to_owned(),
        OwnershipTrace::Names(user_id) => user_id.clone(),
        OwnershipTrace::Denied(user_id) => format!("{user_id} (said not to be)"),
        OwnershipTrace::Several(users) => format!("several: {}", users.join(", ")),
    }
}

fn deciding(link: &LinkRow) -> Option<&TraceStep> {
    link.trace.iter().find(|step| matches!(step.found, OwnershipTrace::Names(_)))
}

pub(super) fn json(link: &LinkRow) -> Value {
    let trace: Vec<Value> =
        link.trace.iter().map(|step| json!({"rule": step.rule.as_str(), "names": words(&step.found)})).collect();
    json!({
        "object": link.object, "id": link.id, "main": link.is_main,
        "linked_by": deciding(link).map(|step| step.rule.as_str()), "trace": trace,
    })
}

pub(super) fn print(links: &[LinkRow], out: &mut dyn Write) -> std::io::Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let row = |link: &LinkRow| {
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
