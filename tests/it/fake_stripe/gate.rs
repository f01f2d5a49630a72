//! What every request passes: the record, the fault, the key, the version, the idempotency key; then it is acted on.

use serde_json::json;
use tilld::app::trigger::ApiVersion;

use super::Shared;
use super::calls;
use super::fault::{Fault, matches, server_error};
use super::params::{Params, Refusal};
use super::state::{Kept, Recorded, State};
use super::view;
use super::wire::{Incoming, Outgoing, Reply};

/// The fake's key that may do everything.
pub const KEY: &str = "sk_test_fake_stripe";
/// The fake's restricted key: it may do what is not in `State::forbidden`.
pub const RESTRICTED_KEY: &str = "rk_test_fake_stripe";
/// Stripe keeps idempotency keys so long.
const KEY_LIFE_S: i64 = 86_400;
const MAX_KEY_CHARS: usize = 255;

/// A request that may be acted on.
pub struct Call {
    pub method: String,
    pub path: String,
    pub params: Params,
    pub version: ApiVersion,
    /// Of a POST.
    pub key: Option<String>,
    pub id: String,
}

/// The reply, with the time of its making in it.
pub fn answer(shared: &Shared, incoming: &Incoming, connection: usize) -> Reply {
    let mut reply = reply(shared, incoming, connection);
    if let Reply::Send(answer) | Reply::Half(answer) | Reply::Slow(answer, _) = &mut reply {
        let now = jiff::Timestamp::from_second(shared.lock().now_s()).unwrap();
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        answer.headers.push(("Date", date));
    }
    reply
}

fn reply(shared: &Shared, incoming: &Incoming, connection: usize) -> Reply {
    let mut state = shared.lock();
    let posted = incoming.method == "POST";
    let text = if posted { String::from_utf8_lossy(&incoming.body).into_owned() } else { incoming.query.clone() };
    let params = Params::decode(&text);
    let fault = state.faults.take(&incoming.method, &incoming.path);
    let recorded = record(&state, incoming, &params, fault.clone(), connection);
    state.records.push(recorded);
    if let Some(reply) = fault.as_ref().and_then(Fault::before) {
        return reply;
    }
    let id = state.request_id();
    let call = match check(incoming, params, id.clone()).and_then(|call| permitted(&state, incoming, call)) {
        Ok(call) => call,
        Err(refusal) => return Reply::Send(refused(&refusal, &id)),
    };
    match claim(&mut state, &call) {
        Ok(None) => {}
        Ok(Some(kept)) => return Reply::Send(kept),
        Err(refusal) => return Reply::Send(refused(&refusal, &id)),
    }
    if fault == Some(Fault::Hold) {
        state = shared.hold(state);
    }
    let mut answer = act(&mut state, &call, fault == Some(Fault::ActThen500));
    let now = jiff::Timestamp::from_second(state.now_s()).unwrap_or_default();
    answer.headers.push(("Date", now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()));
    shared.changed.notify_all();
    fault.map_or_else(|| Reply::Send(answer.clone()), |fault| fault.after(answer.clone()))
}

fn record(
    state: &State,
    incoming: &Incoming,
    params: &Result<Params, String>,
    fault: Option<Fault>,
    connection: usize,
) -> Recorded {
    Recorded {
        method: incoming.method.clone(),
        path: incoming.path.clone(),
        params: params.as_ref().map(|params| params.0.clone()).unwrap_or_default(),
        body: incoming.body.clone(),
        headers: incoming.headers.clone(),
        fault,
        connection,
        at_s: state.now_s(),
        received: std::time::Instant::now(),
    }
}

fn check(incoming: &Incoming, params: Result<Params, String>, id: String) -> Result<Call, Refusal> {
    let posted = incoming.method == "POST";
    match incoming.header("authorization").map(|value| value.strip_prefix("Bearer ")) {
        Some(Some(KEY | RESTRICTED_KEY)) => {}
        None => return Err(unauthorized("You did not provide an API key.")),
        _ => return Err(unauthorized("Invalid API Key provided")),
    }
    let bad = |message: &str| Refusal::invalid("parameter_invalid", "", message);
    if !["GET", "POST", "DELETE"].contains(&incoming.method.as_str()) {
        return Err(bad("Unrecognized method").with_status(405));
    }
    let is_form =
        incoming.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if posted && (!incoming.query.is_empty() || !incoming.body.is_empty() && !is_form) {
        return Err(bad("Parameters of a POST stand in a form in its body"));
    }
    if !posted && !incoming.body.is_empty() {
        return Err(bad("Parameters of GET and DELETE stand in the query"));
    }
    let params = params.map_err(|reason| bad(&format!("Invalid request: {reason}")))?;
    let key = incoming.header("idempotency-key").filter(|_| posted).map(str::to_owned);
    if key.as_ref().is_some_and(|key| key.is_empty() || key.chars().count() > MAX_KEY_CHARS) {
        return Err(bad("Idempotency keys have 1 to 255 characters"));
    }
    let version = version(incoming.header("stripe-version"))?;
    Ok(Call { method: incoming.method.clone(), path: incoming.path.clone(), params, version, key, id })
}

/// Permissions are looked at before anything else is.
fn permitted(state: &State, incoming: &Incoming, call: Call) -> Result<Call, Refusal> {
    let restricted = incoming.header("authorization").is_some_and(|value| value.ends_with(RESTRICTED_KEY));
    let forbidden = |pattern: &String| matches(pattern, &call.method, &call.path);
    if restricted && state.forbidden.iter().any(forbidden) {
        let message = "The provided key 'rk_test_*****' does not have the required permissions for this endpoint.";
        return Err(Refusal::invalid("", "", message).with_status(403));
    }
    if call.path.starts_with("/v2/core/events/") && state.context.as_deref() != incoming.header("stripe-context") {
        return Err(Refusal::invalid("", "", "No such event in this context.").with_status(404));
    }
    Ok(call)
}

fn unauthorized(message: &str) -> Refusal {
    let error = json!({ "type": "invalid_request_error", "message": message });
    Refusal { status: 401, error, executed: false }
}

/// The newest shape known that is not newer than the version asked for.
fn version(header: Option<&str>) -> Result<ApiVersion, Refusal> {
    let Some(asked) = header else { return Ok(ApiVersion::CURRENT) };
    let date = asked.get(..10).filter(|date| date.split('-').map(str::len).eq([4, 2, 2])).unwrap_or("");
    let known = ApiVersion::ALL.into_iter().rfind(|version| &version.as_str()[..10] <= date);
    known.ok_or_else(|| Refusal::invalid("parameter_invalid", "", &format!("Invalid Stripe API version: {asked}")))
}

/// Takes the idempotency key, or gives the answer that is kept under it.
fn claim(state: &mut State, call: &Call) -> Result<Option<Outgoing>, Refusal> {
    let Some(key) = &call.key else { return Ok(None) };
    let now_s = state.now_s();
    state.keys.retain(|_, kept| kept.answer.is_none() || now_s - kept.at_s < KEY_LIFE_S);
    let of = (call.method.clone(), call.path.clone(), call.params.clone());
    let error = |kind: &str, message: &str| {
        let error = json!({ "type": kind, "message": message });
        Refusal { status: 400, error, executed: false }
    };
    match state.keys.get(key) {
        None => {
            state.keys.insert(key.clone(), Kept { of, at_s: now_s, answer: None });
            Ok(None)
        }
        Some(kept) if kept.of != of => {
            Err(error("idempotency_error", "Keys for idempotent requests can only be used with the same parameters."))
        }
        Some(Kept { answer: None, .. }) => {
            let mut refusal = error("invalid_request_error", "Another request is in progress with this key.");
            refusal.error["code"] = json!("idempotency_key_in_use");
            Err(refusal.with_status(409))
        }
        Some(Kept { answer: Some((original, kept)), .. }) => {
            let mut replayed = kept.clone();
            replayed.headers.push(("Idempotent-Replayed", "true".to_owned()));
            replayed.headers.push(("Original-Request", original.clone()));
            Ok(Some(replayed))
        }
    }
}

fn act(state: &mut State, call: &Call, spoil: bool) -> Outgoing {
    state.request = Some((call.id.clone(), call.key.clone()));
    let expand = call.params.texts("expand");
    let result = view::check(&expand).and_then(|()| calls::act(state, call));
    state.request = None;
    let shown = |value| {
        // Whatever cannot be shown has been done.
        view::view(state, value, &expand, call.version).map_err(|refusal| Refusal { executed: true, ..refusal })
    };
    let result = result.and_then(shown);
    let (mut answer, executed) = match &result {
        Ok(value) => (outgoing(200, value.to_string(), &call.id), true),
        Err(refusal) => (refused(refusal, &call.id), refusal.executed),
    };
    if spoil {
        answer = outgoing(500, server_error(), &call.id);
    }
    answer.headers.push(("Stripe-Version", call.version.as_str().to_owned()));
    if let Some(key) = &call.key {
        answer.headers.push(("Idempotency-Key", key.clone()));
        match state.keys.get_mut(key) {
            Some(kept) if executed => kept.answer = Some((call.id.clone(), answer.clone())),
            _ => drop(state.keys.remove(key)),
        }
    }
    answer
}

fn refused(refusal: &Refusal, id: &str) -> Outgoing {
    outgoing(refusal.status, json!({ "error": refusal.error }).to_string(), id)
}

fn outgoing(status: u16, body: String, id: &str) -> Outgoing {
    let headers = vec![("Content-Type", "application/json".to_owned()), ("Request-Id", id.to_owned())];
    Outgoing { status, headers, body: body.into_bytes() }
}
