//! Which call a request is. Kinds without rules of their own are served from the store.

mod catalog;
pub mod checkout;
mod customers;
pub mod invoices;
mod items;
pub mod payments;
pub mod resumed;
pub mod subscriptions;

use serde_json::{Value, json};

use super::gate::Call;
use super::lists::{self, EVENT_DAYS_S};
use super::params::{Answer, Params, Refusal};
use super::state::State;
use super::thin;
use super::view;

pub fn act(state: &mut State, call: &Call) -> Answer {
    if let Some(id) = call.path.strip_prefix("/v2/core/events/") {
        return thin_event(state, id);
    }
    let path = call.path.strip_prefix("/v1/").unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let params = &call.params;
    match call.method.as_str() {
        "POST" => post(state, &parts, params),
        "DELETE" => delete(state, &parts, params),
        _ => get(state, &parts, params),
    }
}

fn post(state: &mut State, parts: &[&str], params: &Params) -> Answer {
    match parts {
        ["customers"] => customers::create(state, params),
        ["customers", id] => customers::update(state, id, params),
        ["payment_methods", id, "attach"] => payments::attach_call(state, id, params),
        ["payment_intents"] => payments::create(state, params),
        ["payment_intents", id, "confirm"] => payments::confirm(state, id, params),
        ["payment_intents", id, "cancel"] => payments::cancel(state, id, params),
        ["refunds"] => payments::refund(state, params),
        ["checkout", "sessions"] => checkout::create(state, params),
        ["checkout", "sessions", id, "expire"] => checkout::expire(state, id, params),
        ["billing_portal", "sessions"] => checkout::portal(state, params),
        ["subscriptions"] => subscriptions::create(state, params),
        ["subscriptions", id] => subscriptions::update(state, id, params),
        ["subscriptions", id, "resume"] => resumed::resume(state, id, params),
        ["subscription_schedules", id, "release"] => resumed::release(state, id, params),
        ["invoices", "create_preview"] => invoices::preview(state, params),
        [.., id] => match view::kind_at(&parts.join("/")) {
            Some(kind) => catalog::create(state, kind, params),
            None => catalog::update(state, kind_of(&parts[..parts.len() - 1])?, id, params),
        },
        [] => Err(unknown()),
    }
}

fn delete(state: &mut State, parts: &[&str], params: &Params) -> Answer {
    match parts {
        ["customers", id] => customers::delete(state, id, params),
        ["subscriptions", id] => subscriptions::delete(state, id, params),
        [collection, id] => catalog::delete(state, kind_of(&[collection])?, id, params),
        _ => Err(unknown()),
    }
}

fn get(state: &mut State, parts: &[&str], params: &Params) -> Answer {
    match parts {
        ["account"] => Ok(account()),
        ["balance"] => Ok(json!({ "object": "balance", "available": [], "pending": [], "livemode": false })),
        ["customers", id, "payment_methods"] => {
            state.live("customer", id, "id")?;
            lists::list(state, "payment_method", &params.with("customer", id))
        }
        ["charges", id, "refunds"] => lists::list(state, "refund", &params.with("charge", id)),
        ["invoices", id, "lines"] => {
            let invoice = state.named("invoice", id, "id")?;
            lists::slice(&invoice["lines"]["data"], params, &format!("/v1/invoices/{id}/lines"))
        }
        ["credit_notes", id, "lines"] => {
            let note = state.named("credit_note", id, "id")?;
            lists::slice(&note["lines"]["data"], params, &format!("/v1/credit_notes/{id}/lines"))
        }
        ["checkout", "sessions", id, "line_items"] => {
            let session = state.named("checkout.session", id, "id")?;
            lists::slice(&session["fake_line_items"], params, &format!("/v1/checkout/sessions/{id}/line_items"))
        }
        [.., id] => match view::kind_at(&parts.join("/")) {
            Some(kind) => lists::list(state, kind, params),
            None => {
                params.allow("")?;
                retrieve(state, kind_of(&parts[..parts.len() - 1])?, id)
            }
        },
        [] => Err(unknown()),
    }
}

fn retrieve(state: &mut State, kind: &'static str, id: &str) -> Answer {
    let object = state.named(kind, id, "id")?;
    let too_old = kind == "event" && object["created"].as_i64() < Some(state.now_s() - EVENT_DAYS_S);
    if too_old { Err(Refusal::missing(kind, id, "id")) } else { Ok(object) }
}

fn kind_of(parts: &[&str]) -> Result<&'static str, Refusal> {
    view::kind_at(&parts.join("/")).ok_or_else(unknown)
}

fn unknown() -> Refusal {
    Refusal::invalid("", "", "Unrecognized request URL").with_status(404)
}

fn account() -> Value {
    json!({
        "id": "acct_FakeStripe", "object": "account", "country": "US", "default_currency": "usd",
        "charges_enabled": true, "payouts_enabled": true, "details_submitted": true, "metadata": {},
    })
}

/// The thin twin of a snapshot event, with all that it says.
fn thin_event(state: &mut State, id: &str) -> Answer {
    let missing = || Refusal::missing("event", id, "id");
    let event = retrieve(state, "event", &thin::snapshot_id(id).ok_or_else(missing)?)?;
    Ok(thin::of(&event, state.context.as_deref(), true))
}
