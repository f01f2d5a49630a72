//! All that the fake remembers, and the two ways to change an object: every change tells its event.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tilld::app::trigger::{ApiVersion, SampleEnvelope, envelope, render};
use tilld::base::clock::{Clock, ManualClock};

use super::fault::{Fault, Faults};
use super::mail::Mail;
use super::params::{Answer, Params, Refusal};
use super::store::{Objects, row};
use super::thin;
use super::view;
use super::wire::Outgoing;

/// A request as it was received.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    /// The form or the query, decoded; `null` if it could not be.
    pub params: Value,
    pub body: Vec<u8>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The fault it met.
    pub fault: Option<Fault>,
    /// Which connection brought it, counted from 0.
    pub connection: usize,
    /// By the fake's clock, unix seconds.
    pub at_s: i64,
    pub received: Instant,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is known under an idempotency key.
pub struct Kept {
    /// Method, path and parameters of the first use.
    pub of: (String, String, Params),
    pub at_s: i64,
    /// `None`: in flight.
    pub answer: Option<(String, Outgoing)>,
}

/// See above.
pub struct State {
    pub clock: Arc<ManualClock>,
    pub objects: Objects,
    pub effects: BTreeMap<&'static str, usize>,
    pub faults: Faults,
    pub records: Vec<Recorded>,
    pub keys: HashMap<String, Kept>,
    pub mail: Mail,
    /// The default version of the account, of which its events are.
    pub version: ApiVersion,
    /// Id and idempotency key of the request that is being served.
    pub request: Option<(String, Option<String>)>,
    /// Requests that are held, and how many of them may go.
    pub held: usize,
    pub released: usize,
    /// What the restricted key may not do, by pattern.
    pub forbidden: Vec<String>,
    /// The context of thin events.
    pub context: Option<String>,
}

impl State {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self {
            objects: Objects::new(clock.now_s()),
            clock,
            effects: BTreeMap::new(),
            faults: Faults::default(),
            records: Vec::new(),
            keys: HashMap::new(),
            mail: Mail::default(),
            version: ApiVersion::CURRENT,
            request: None,
            held: 0,
            released: 0,
            forbidden: Vec::new(),
            context: None,
        }
    }

    pub fn now_s(&self) -> i64 {
        self.clock.now_s()
    }

    pub fn request_id(&self) -> String {
        format!("req_F{:08}", self.records.len())
    }

    /// A template with a new id, made now.
    pub fn draft(&mut self, kind: &'static str) -> Value {
        let mut object = self.objects.template(kind);
        object["id"] = json!(self.objects.new_id(kind));
        if object.get("created").is_some() {
            object["created"] = json!(self.now_s());
        }
        if let Some(metadata) = object.get_mut("metadata") {
            *metadata = json!({});
        }
        object
    }

    /// The object exists from now on; counted, and told if its kind is.
    pub fn create(&mut self, kind: &str, object: Value) -> Value {
        self.create_quietly(kind, &object);
        if row(kind).3 != "-" {
            self.emit(row(kind).3, &object, None);
        }
        object
    }

    pub fn create_quietly(&mut self, kind: &str, object: &Value) {
        *self.effects.entry(row(kind).0).or_default() += 1;
        self.objects.insert(kind, object.clone());
    }

    /// It was never made.
    pub fn undo(&mut self, object: &Value) {
        let kind = row(object["object"].as_str().unwrap()).0;
        self.objects.remove(kind, object["id"].as_str().unwrap());
        *self.effects.entry(kind).or_default() -= 1;
    }

    /// Changes an object and tells it by `event`; `*.updated` carries what was before. Nothing changed, nothing told.
    pub fn change(&mut self, object: &Value, event: &str, change: impl FnOnce(&mut Value)) -> Value {
        let (kind, id) = (object["object"].as_str().unwrap(), object["id"].as_str().unwrap());
        let old = self.objects.get(kind, id).unwrap_or_else(|| object.clone());
        let mut new = old.clone();
        change(&mut new);
        if new != old {
            self.objects.insert(kind, new.clone());
            let previous = event.ends_with(".updated").then(|| difference(&old, &new));
            self.emit(event, &new, previous);
        }
        new
    }

    pub fn emit(&mut self, event_type: &str, object: &Value, previous: Option<Value>) {
        let id = self.objects.new_id("event");
        let created_s = self.now_s();
        let in_version = |version: ApiVersion, pending: usize| {
            let mut shown = render(object.clone(), version);
            view::cut(&mut shown);
            let of = SampleEnvelope {
                id: &id,
                event_type,
                created_s,
                version,
                livemode: false,
                previous_attributes: previous.clone().map(|previous| render(previous, version)),
            };
            let mut event = envelope(&of, shown);
            event["pending_webhooks"] = json!(pending);
            let (request, key) = self.request.clone().unzip();
            view::without_own(&mut event);
            event["request"] = json!({ "id": request, "idempotency_key": key.flatten() });
            event
        };
        let readers = self.mail.readers(event_type);
        let event = in_version(self.version, readers.len());
        let letter = |version: ApiVersion, is_thin: bool| match is_thin {
            true => thin::of(&event, self.context.as_deref(), false),
            false => in_version(version, readers.len()),
        };
        let letters: Vec<_> =
            readers.iter().map(|(place, version, thin)| (*place, letter(*version, *thin).to_string())).collect();
        self.objects.insert("event", event);
        for (place, body) in letters {
            self.mail.post(place, &id, body.into_bytes());
        }
    }

    /// An endpoint answered 2xx.
    pub fn delivered(&mut self, event_id: &str, endpoint: usize) {
        if let Some(mut event) = self.objects.get("event", event_id).filter(|_| self.mail.arrived(event_id, endpoint)) {
            event["pending_webhooks"] = json!(event["pending_webhooks"].as_u64().unwrap_or(0).saturating_sub(1));
            self.objects.insert("event", event);
        }
    }

    /// The object that a parameter or the path names.
    pub fn named(&mut self, kind: &str, id: &str, param: &str) -> Answer {
        self.objects.get(kind, id).ok_or_else(|| Refusal::missing(kind, id, param))
    }

    /// As [`Self::named`], not deleted.
    pub fn live(&mut self, kind: &str, id: &str, param: &str) -> Answer {
        let object = self.named(kind, id, param)?;
        if object["deleted"] == true { Err(Refusal::missing(kind, id, param)) } else { Ok(object) }
    }
}

/// The old values of what is new; of a key that was added, `null`; of a list that changed, the whole.
fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (old, new) else { return old.clone() };
    let mut changed = Map::new();
    for (key, value) in after {
        match before.get(key) {
            Some(was) if was == value => {}
            Some(was) => drop(changed.insert(key.clone(), difference(was, value))),
            None => drop(changed.insert(key.clone(), Value::Null)),
        }
    }
    for (key, was) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        changed.insert(key.clone(), was.clone());
    }
    changed.into()
}
