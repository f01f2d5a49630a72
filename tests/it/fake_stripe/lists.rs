//! Lists: pages by cursor, newest first, and their filters.

use serde_json::{Value, json};

use super::params::{Answer, Params, Refusal};
use super::state::State;
use super::store::{row, seeded_email, seeded_id};
use super::view;

const PAGING: &str = "limit starting_after ending_before created created[gt] created[gte] created[lt] created[lte]";
/// Stripe keeps events so long.
pub const EVENT_DAYS_S: i64 = 30 * 86_400;

/// Names of the filters of each kind; where the value stands under another name, `name:/pointer`.
fn filters(kind: &str) -> &'static str {
    match kind {
        "customer" => "email",
        "subscription" => "customer price status collection_method",
        "subscription_item" => "subscription",
        "invoice" => "customer subscription:/parent/subscription_details/subscription status collection_method",
        "invoice_payment" => {
            "invoice status payment[type]:/payment/type payment[payment_intent]:/payment/payment_intent"
        }
        "payment_intent" | "setup_intent" | "subscription_schedule" => "customer",
        "charge" => "customer payment_intent",
        "refund" | "dispute" => "charge payment_intent",
        "checkout.session" => "customer subscription payment_intent status",
        "price" => "product active type currency",
        "product" => "active",
        "promotion_code" => "active code coupon:/promotion/coupon",
        "payment_method" => "customer type",
        "credit_note" => "customer invoice",
        "tax_rate" => "active inclusive",
        "entitlements.feature" => "lookup_key",
        "event" => "type types[#] delivery_success",
        _ => "",
    }
}

/// `GET` of a collection.
pub fn list(state: &mut State, kind: &'static str, params: &Params) -> Answer {
    let names: Vec<&str> = filters(kind).split(' ').map(|filter| filter.split(':').next().unwrap()).collect();
    params.allow(&format!("{PAGING} {}", names.join(" ")))?;
    if kind == "payment_method" {
        params.require(&["customer"])?;
    }
    if kind == "subscription_item" {
        params.require(&["subscription"])?;
        return items_of(state, params);
    }
    params.exclusive(&["type", "types"])?;
    let oldest = if kind == "event" { state.now_s() - EVENT_DAYS_S } else { i64::MIN };
    let fits = |object: &Value| object["deleted"] != true && passes(kind, object, params);
    let url = format!("/v1/{}", row(kind).1);
    page(state, kind, params, oldest, fits)
        .map(|(data, more)| json!({ "object": "list", "data": data, "has_more": more, "url": url }))
}

type Page = Result<(Vec<Value>, bool), Refusal>;

fn page(state: &mut State, kind: &'static str, params: &Params, oldest: i64, fits: impl Fn(&Value) -> bool) -> Page {
    let limit = limit(params)?;
    let window = Window::read(params, oldest)?;
    let newer = params.has("ending_before");
    let name = if newer { "ending_before" } else { "starting_after" };
    let from = match params.text(name) {
        Some(id) => Some(state.objects.place(kind, id).ok_or_else(|| Refusal::missing(kind, id, name))?),
        None => None,
    };
    let mut found = Vec::new();
    for place in state.objects.places(kind, from, newer) {
        let untouched = state.objects.untouched(kind, place);
        if untouched.is_some_and(|created| created > window.to)
            || untouched.is_some() && cannot_fit(kind, place, params)
        {
            continue;
        }
        let object = state.objects.at(kind, place);
        let created = object["created"].as_i64().unwrap_or_default();
        if window.holds(created) && fits(&object) {
            found.push(object);
        }
        // Seeded objects stand in the order of their times: no other will fit.
        if found.len() > limit || (!newer && place < u64::from(u32::MAX) && created < window.from) {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    if newer {
        found.reverse();
    }
    Ok((found, more))
}

/// Told without making the object up: there may be a hundred thousand of them.
fn cannot_fit(kind: &str, place: u64, params: &Params) -> bool {
    let differs = |name: &str, own: String| params.text(name).is_some_and(|wanted| wanted != own);
    match kind {
        "customer" => differs("email", seeded_email(place)),
        _ => differs("customer", seeded_id("customer", place)),
    }
}

fn limit(params: &Params) -> Result<usize, Refusal> {
    params.exclusive(&["starting_after", "ending_before"])?;
    let limit = params.int("limit")?.unwrap_or(10);
    let wrong = || Refusal::invalid("parameter_invalid_integer", "limit", "Limit must be between 1 and 100.");
    usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit)).ok_or_else(wrong)
}

/// Times from (included) to (included).
struct Window {
    from: i64,
    to: i64,
}

impl Window {
    fn read(params: &Params, oldest: i64) -> Result<Self, Refusal> {
        let mut window = Self { from: oldest, to: i64::MAX };
        if let Some(exact) = params.int("created")? {
            (window.from, window.to) = (exact, exact);
        }
        let bound = |name: &str| params.int(&format!("created[{name}]"));
        window.from = window.from.max(bound("gte")?.unwrap_or(i64::MIN));
        window.from = window.from.max(bound("gt")?.map_or(i64::MIN, |after| after + 1));
        window.to = window.to.min(bound("lte")?.unwrap_or(i64::MAX));
        window.to = window.to.min(bound("lt")?.map_or(i64::MAX, |before| before - 1));
        Ok(window)
    }

    fn holds(&self, time: i64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

fn passes(kind: &str, object: &Value, params: &Params) -> bool {
    if kind == "subscription" && !params.has("status") && object["status"] == "canceled" {
        return false;
    }
    filters(kind).split(' ').all(|filter| {
        let (name, pointer) =
            filter.split_once(':').map_or((filter, format!("/{filter}")), |(name, pointer)| (name, pointer.to_owned()));
        match (kind, name, params.text(name)) {
            ("event", "types[#]", _) => {
                let types = params.texts("types");
                types.is_empty() || types.iter().any(|wanted| is_type(object, wanted))
            }
            (_, _, None) => true,
            ("event", "type", Some(wanted)) => is_type(object, wanted),
            ("event", "delivery_success", Some(wanted)) => (object["pending_webhooks"] == 0) == (wanted == "true"),
            ("subscription", "status", Some("all")) => true,
            ("subscription", "status", Some("ended")) => {
                ["canceled", "incomplete_expired"].iter().any(|status| object["status"] == *status)
            }
            ("subscription", "price", Some(wanted)) => {
                object["items"]["data"].as_array().into_iter().flatten().any(|item| item["price"]["id"] == wanted)
            }
            (_, _, Some(wanted)) => match object.pointer(&pointer) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Bool(given)) => given.to_string() == wanted,
                _ => false,
            },
        }
    })
}

fn is_type(event: &Value, wanted: &str) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    wanted.strip_suffix('*').map_or(kind == wanted, |start| kind.starts_with(start))
}

fn items_of(state: &mut State, params: &Params) -> Answer {
    let id = params.text("subscription").unwrap_or_default();
    let subscription = state.named("subscription", id, "subscription")?;
    slice(&subscription["items"]["data"], params, "/v1/subscription_items")
}

/// A page of a list that lies within an object, in the object's order.
pub fn slice(all: &Value, params: &Params, url: &str) -> Answer {
    let all = all.as_array().map_or(&[][..], Vec::as_slice);
    let start = match params.text("starting_after") {
        Some(id) => {
            let place = all.iter().position(|member| member["id"] == id);
            place.ok_or_else(|| Refusal::missing("object", id, "starting_after"))? + 1
        }
        None => 0,
    };
    let limit = limit(params)?;
    let mut page = view::list_of(all[start..].iter().take(limit).cloned().collect(), url);
    page["has_more"] = json!(all.len() - start > limit);
    Ok(page)
}
