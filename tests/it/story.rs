//! Tells what happened at Stripe, step by step, and gives it as events of any API version. The newest state of every
//! object is kept, so that an update knows its `previous_attributes`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tilld::app::trigger::{self, ApiVersion, SampleEnvelope, Spec};

use crate::harness::{DAY_S, START_S};

/// When stories begin: ten days before the harness' clock.
pub const T0: i64 = START_S - 10 * DAY_S;

#[derive(Clone)]
pub struct Step {
    pub id: String,
    pub event_type: &'static str,
    pub at_s: i64,
    pub before: Option<Value>,
    pub object: Value,
}

pub struct Story {
    user: Option<&'static str>,
    now_s: i64,
    objects: BTreeMap<&'static str, Value>,
    pub steps: Vec<Step>,
}

impl Story {
    /// A story in which objects name `user` where an application would.
    pub fn of(user: Option<&'static str>) -> Self {
        Self { user, now_s: T0, objects: BTreeMap::new(), steps: Vec::new() }
    }

    /// Moves the time to `offset_s` after [`T0`].
    pub fn at(&mut self, offset_s: i64) -> &mut Self {
        self.now_s = T0 + offset_s;
        self
    }

    /// A new object, as the factory makes it, with `patch` laid over it.
    pub fn make(&mut self, event_type: &'static str, name: &'static str, patch: Value) -> &mut Self {
        let spec = Spec {
            event_type,
            version: ApiVersion::CURRENT,
            user: self.user,
            price_id: "price_pro",
            now_s: self.now_s,
            nonce: "",
            set: &[],
        };
        self.objects.remove(name);
        self.tell(event_type, name, trigger::object(&spec).unwrap(), patch)
    }

    /// An object of before, changed.
    pub fn then(&mut self, event_type: &'static str, name: &'static str, patch: Value) -> &mut Self {
        let object = self.objects[name].clone();
        self.tell(event_type, name, object, patch)
    }

    fn tell(&mut self, event_type: &'static str, name: &'static str, mut object: Value, patch: Value) -> &mut Self {
        merge(&mut object, patch);
        let before = self.objects.insert(name, object.clone());
        // Ids in no order, so that none is right by chance.
        let number = u32::try_from(self.steps.len()).unwrap() + 1;
        let id = format!("evt_{:08x}", number.wrapping_mul(2_654_435_761));
        self.steps.push(Step { id, event_type, at_s: self.now_s, before, object });
        self
    }
}

/// The event as a webhook of `version` would carry it.
pub fn event(step: &Step, version: ApiVersion) -> Value {
    let object = trigger::render(step.object.clone(), version);
    let says_what_was = step.event_type.ends_with(".updated") || step.event_type == "charge.refunded";
    let before = step.before.clone().filter(|_| says_what_was).map(|before| trigger::render(before, version));
    let envelope = SampleEnvelope {
        id: &step.id,
        event_type: step.event_type,
        created_s: step.at_s,
        version,
        livemode: false,
        previous_attributes: before.map(|before| old_values(&before, &object)),
    };
    trigger::envelope(&envelope, object)
}

/// Lays `patch` over `target`: objects are merged, elements of a list are named by their index.
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, new) in patch {
                merge(object.entry(key).or_insert(Value::Null), new);
            }
        }
        (Value::Array(list), Value::Object(patch)) => {
            for (key, new) in patch {
                merge(&mut list[key.parse::<usize>().unwrap()], new);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// The old values of what differs, as Stripe gives them: lists whole, what was absent as null.
fn old_values(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return before.clone() };
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let changed = keys.filter(|key| old.get(*key) != new.get(*key)).map(|key| {
        let was = old.get(key).unwrap_or(&Value::Null);
        (key.clone(), new.get(key).map_or_else(|| was.clone(), |new| old_values(was, new)))
    });
    Value::Object(changed.collect::<Map<_, _>>())
}

pub fn invoice_failed(attempt: i64, next_attempt_s: Option<i64>) -> Value {
    json!({
        "attempt_count": attempt, "attempted": true, "next_payment_attempt": next_attempt_s,
        "payments": {"data": {"0": {"payment": {"payment_intent": {"latest_charge": format!("ch_failed_{attempt}")}}}}},
    })
}

pub fn invoice_paid(attempt: i64, charge: &str, paid_at_s: i64) -> Value {
    json!({
        "attempt_count": attempt, "attempted": true, "auto_advance": false, "next_payment_attempt": null,
        "amount_paid": 2000, "amount_remaining": 0, "status": "paid", "status_transitions": {"paid_at": paid_at_s},
        "payments": {"data": {"0": {
            "amount_paid": 2000, "status": "paid", "payment": {"payment_intent": {"latest_charge": charge}},
            "status_transitions": {"paid_at": paid_at_s},
        }}},
    })
}

pub fn intent_failed(attempt: i64, code: &str) -> Value {
    let charge = format!("ch_failed_{attempt}");
    json!({
        "latest_charge": charge,
        "last_payment_error": {"code": "card_declined", "decline_code": code, "charge": charge,
            "message": "Your card was declined.", "type": "card_error",
            "payment_method": {"id": "pm_1", "object": "payment_method", "type": "card"}},
    })
}

pub fn intent_succeeded(charge: &str) -> Value {
    json!({"status": "succeeded", "amount_received": 2000, "latest_charge": charge, "last_payment_error": null})
}
