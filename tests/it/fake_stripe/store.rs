//! The objects of the account, by kind, in the order of their making. Seeded ones are made up when they are looked at,
//! so that a hundred thousand cost nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tilld::app::trigger::{self, ApiVersion, SampleEnvelope, Spec};

/// Kind, path of its list, start of its ids, event that tells of a new one (`-`: none).
pub const KINDS: &[(&str, &str, &str, &str)] = &[
    ("customer", "customers", "cus_F", "customer.created"),
    ("product", "products", "prod_F", "product.created"),
    ("price", "prices", "price_F", "price.created"),
    ("coupon", "coupons", "CPN", "coupon.created"),
    ("promotion_code", "promotion_codes", "promo_F", "promotion_code.created"),
    ("checkout.session", "checkout/sessions", "cs_test_F", "-"),
    ("billing_portal.session", "billing_portal/sessions", "bps_F", "billing_portal.session.created"),
    ("subscription", "subscriptions", "sub_F", "customer.subscription.created"),
    ("subscription_item", "subscription_items", "si_F", "-"),
    ("subscription_schedule", "subscription_schedules", "sub_sched_F", "subscription_schedule.created"),
    ("invoice", "invoices", "in_F", "invoice.created"),
    ("invoice_payment", "invoice_payments", "inpay_F", "-"),
    ("payment_intent", "payment_intents", "pi_F", "payment_intent.created"),
    ("charge", "charges", "ch_F", "-"),
    ("refund", "refunds", "re_F", "refund.created"),
    ("dispute", "disputes", "du_F", "charge.dispute.created"),
    ("payment_method", "payment_methods", "pm_F", "-"),
    ("setup_intent", "setup_intents", "seti_F", "setup_intent.created"),
    ("credit_note", "credit_notes", "cn_F", "credit_note.created"),
    ("tax_rate", "tax_rates", "txr_F", "tax_rate.created"),
    ("entitlements.feature", "entitlements/features", "feat_F", "-"),
    ("webhook_endpoint", "webhook_endpoints", "we_F", "-"),
    ("discount", "discounts", "di_F", "-"),
    ("event", "events", "evt_F", "-"),
];

/// Made objects stand behind all seeded ones.
const FIRST_MADE: u64 = 1 << 32;
const SEED: &str = "seed";

/// Of what tilld has no kind for.
static OTHERS: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("objects.json")).unwrap());

#[derive(Default)]
struct Kind {
    /// What was made, and what was seeded and then changed.
    objects: BTreeMap<u64, Value>,
    by_id: HashMap<String, u64>,
    seeded: u64,
    /// `created` of the newest seeded one.
    seeded_at_s: i64,
}

impl Kind {
    /// Of a seeded object.
    fn created_s(&self, place: u64) -> i64 {
        self.seeded_at_s - i64::try_from(self.seeded - 1 - place).unwrap_or(0)
    }
}

/// See above.
#[derive(Default)]
pub struct Objects {
    kinds: HashMap<&'static str, Kind>,
    templates: HashMap<&'static str, Value>,
    made: u64,
    /// The time that templates speak of.
    now_s: i64,
}

/// The row of [`KINDS`].
pub fn row(kind: &str) -> &'static (&'static str, &'static str, &'static str, &'static str) {
    KINDS.iter().find(|(known, ..)| *known == kind).unwrap_or_else(|| unreachable!("no kind {kind}"))
}

impl Objects {
    pub fn new(now_s: i64) -> Self {
        Self { now_s, ..Self::default() }
    }

    pub fn new_id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{}{:08}", row(kind).2, self.made)
    }

    /// A whole object of this kind in the newest shape, of nobody in particular.
    pub fn template(&mut self, kind: &'static str) -> Value {
        let now_s = self.now_s;
        self.templates.entry(kind).or_insert_with(|| template(kind, now_s)).clone()
    }

    pub fn insert(&mut self, kind: &str, object: Value) {
        let id = object["id"].as_str().unwrap().to_owned();
        let place = match self.place(kind, &id) {
            Some(place) => place,
            None => {
                self.made += 1;
                FIRST_MADE + self.made
            }
        };
        let kind = self.kinds.entry(row(kind).0).or_default();
        kind.by_id.insert(id, place);
        kind.objects.insert(place, object);
    }

    pub fn remove(&mut self, kind: &str, id: &str) {
        if let (Some(place), Some(kind)) = (self.place(kind, id), self.kinds.get_mut(kind)) {
            kind.objects.remove(&place);
            kind.by_id.remove(id);
        }
    }

    pub fn seed(&mut self, kind: &'static str, count: u64, newest_at_s: i64) {
        let kind = self.kinds.entry(kind).or_default();
        (kind.seeded, kind.seeded_at_s) = (count, newest_at_s);
    }

    pub fn get(&mut self, kind: &str, id: &str) -> Option<Value> {
        let place = self.place(kind, id)?;
        Some(self.at(row(kind).0, place))
    }

    /// Of any kind.
    pub fn find(&mut self, id: &str) -> Option<Value> {
        KINDS.iter().find_map(|(kind, ..)| self.get(kind, id))
    }

    /// The objects after this one, newest first, or before it, the nearest first.
    pub fn places(&self, kind: &str, from: Option<u64>, newer: bool) -> Box<dyn Iterator<Item = u64>> {
        let Some(kind) = self.kinds.get(kind) else { return Box::new(std::iter::empty()) };
        let made: Vec<u64> = kind.objects.keys().copied().filter(|place| *place >= FIRST_MADE).collect();
        let all = (0..kind.seeded).chain(made);
        match (from, newer) {
            (Some(from), true) => Box::new(all.filter(move |place| *place > from)),
            (from, _) => {
                let end = from.unwrap_or(u64::MAX);
                let made: Vec<u64> = all.clone().filter(|place| *place >= FIRST_MADE && *place < end).collect();
                Box::new(made.into_iter().rev().chain((0..kind.seeded.min(end)).rev()))
            }
        }
    }

    pub fn place(&self, kind: &str, id: &str) -> Option<u64> {
        let kind_name = row(kind).0;
        let kind = self.kinds.get(kind)?;
        let seeded = || {
            let number = id.strip_prefix(row(kind_name).2)?.strip_prefix(SEED)?.parse().ok()?;
            (number < kind.seeded).then_some(number)
        };
        kind.by_id.get(id).copied().or_else(seeded)
    }

    pub fn at(&mut self, kind: &'static str, place: u64) -> Value {
        let of_kind = &self.kinds[kind];
        if let Some(object) = of_kind.objects.get(&place) {
            return object.clone();
        }
        let created = of_kind.created_s(place);
        let mut object = if kind == "event" { self.seeded_event(place, created) } else { self.template(kind) };
        object["id"] = json!(seeded_id(kind, place));
        if object["object"] != "customer" && object.get("customer").is_some() {
            object["customer"] = json!(seeded_id("customer", place));
        }
        if object.get("email").is_some() {
            object["email"] = json!(seeded_email(place));
        }
        object["created"] = json!(created);
        object
    }

    /// When it was made, if it is a seeded object that nobody has changed.
    pub fn untouched(&self, kind: &str, place: u64) -> Option<i64> {
        let kind = self.kinds.get(kind).filter(|kind| place < kind.seeded && !kind.objects.contains_key(&place))?;
        Some(kind.created_s(place))
    }

    /// How many are really kept.
    pub fn kept(&self, kind: &str) -> usize {
        self.kinds.get(kind).map_or(0, |kind| kind.objects.len())
    }

    fn seeded_event(&mut self, place: u64, created: i64) -> Value {
        let mut customer = self.template("customer");
        customer["id"] = json!(seeded_id("customer", place));
        customer["created"] = json!(created);
        let of = SampleEnvelope {
            id: "",
            event_type: "customer.created",
            created_s: created,
            version: ApiVersion::CURRENT,
            livemode: false,
            previous_attributes: None,
        };
        let mut event = trigger::envelope(&of, customer);
        event["pending_webhooks"] = json!(0);
        event
    }
}

/// The id of the `place`th seeded object of this kind.
pub fn seeded_id(kind: &str, place: u64) -> String {
    format!("{}{SEED}{place:07}", row(kind).2)
}

/// The address of the `place`th seeded customer.
pub fn seeded_email(place: u64) -> String {
    format!("seed{place}@example.com")
}

/// The program's own example, in the state of the first event that tells of one that is kept; else the fake's own.
fn template(kind: &'static str, now_s: i64) -> Value {
    let Some(example) = trigger::example(kind, now_s) else {
        return OTHERS.get(kind).unwrap_or_else(|| unreachable!("no template {kind}")).clone();
    };
    let event_type = match kind {
        "invoice" => Some("invoice.finalized"),
        _ => trigger::event_types_of(kind).next(),
    };
    let spec = |event_type| Spec {
        event_type,
        version: ApiVersion::CURRENT,
        user: None,
        price_id: "price_pro",
        now_s,
        nonce: "",
        set: &[],
    };
    event_type.map_or(example, |event_type| trigger::object(&spec(event_type)).unwrap())
}
