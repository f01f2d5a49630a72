//! What tests do at the fake that no API call does: objects from nowhere, customers who pay, time, the post.

use serde_json::{Value, json};
use tilld::app::trigger::ApiVersion;

use super::calls::{checkout, payments, resumed, subscriptions};
use super::mail::{Delivery, Endpoint, Rule};
use super::store::{KINDS, row, seeded_id};
use super::thin;
use super::{FakeStripe, Ordering};

impl FakeStripe {
    /// So many objects of this kind, a second apart, the newest made now. They take no memory; their ids are
    /// [`Self::seeded_id`]s, and the nth belongs to the nth seeded customer. Events: `customer.created`.
    pub fn seed(&self, kind: &str, count: u64) {
        let mut state = self.state();
        let now_s = state.now_s();
        state.objects.seed(row(kind).0, count, now_s);
    }

    /// Counted from 0, the oldest.
    pub fn seeded_id(kind: &str, place: u64) -> String {
        seeded_id(kind, place)
    }

    /// How many objects of this kind take memory.
    pub fn kept(&self, kind: &str) -> usize {
        self.state().objects.kept(kind)
    }

    /// An object with these members, without event and without effect; its id.
    pub fn add(&self, kind: &str, members: &Value) -> String {
        let mut state = self.state();
        let mut object = state.draft(row(kind).0);
        for (name, value) in members.as_object().into_iter().flatten() {
            object[name.as_str()] = value.clone();
        }
        state.objects.insert(kind, object.clone());
        object["id"].as_str().unwrap().to_owned()
    }

    /// An event with these members and hardly any other.
    pub fn add_odd_event(&self, id: &str, members: &Value) {
        let mut state = self.state();
        let mut event = json!({ "id": id, "object": "event", "created": state.now_s() });
        for (name, value) in members.as_object().into_iter().flatten() {
            event[name.as_str()] = value.clone();
        }
        state.objects.insert("event", event);
    }

    /// As [`Self::add`], told by its event and counted as an effect.
    pub fn create(&self, kind: &str, members: &Value) -> String {
        let mut state = self.state();
        let mut object = state.draft(row(kind).0);
        for (name, value) in members.as_object().into_iter().flatten() {
            object[name.as_str()] = value.clone();
        }
        state.create(kind, object)["id"].as_str().unwrap().to_owned()
    }

    /// Changes members of an object and tells it by this event.
    pub fn change(&self, id: &str, event: &str, members: &Value) {
        let mut state = self.state();
        let object = state.objects.find(id).unwrap();
        state.change(&object, event, |object| {
            for (name, value) in members.as_object().into_iter().flatten() {
                object[name.as_str()] = value.clone();
            }
        });
    }

    /// Changes members of an object; nobody is told.
    pub fn alter(&self, id: &str, members: &Value) {
        let mut state = self.state();
        let mut object = state.objects.find(id).unwrap();
        for (name, value) in members.as_object().into_iter().flatten() {
            object[name.as_str()] = value.clone();
        }
        let kind = row(object["object"].as_str().unwrap()).0;
        state.objects.insert(kind, object);
    }

    /// An object that is not there any more, not even as deleted; nobody is told.
    pub fn forget(&self, kind: &str, id: &str) {
        self.state().objects.remove(kind, id);
    }

    /// A price in USD; `interval` is empty for one that is paid once.
    pub fn add_price(&self, id: &str, unit_amount: i64, interval: &str) {
        let recurring = json!({ "interval": interval, "interval_count": 1, "usage_type": "licensed", "meter": null });
        let recurring = if interval.is_empty() { Value::Null } else { recurring };
        let product = self.add("product", &json!({ "id": format!("prod_of_{id}") }));
        self.add("price", &json!({ "id": id, "unit_amount": unit_amount, "recurring": recurring, "product": product }));
    }

    /// A customer with this card (a test token, like `pm_card_visa`) as the default; its id.
    pub fn add_customer(&self, email: &str, card: &str) -> String {
        let customer = self.add("customer", &json!({ "email": email, "address": null }));
        let mut state = self.state();
        let mut card = payments::method(&mut state, card, None).unwrap();
        card["customer"] = json!(customer);
        let mut object = state.objects.get("customer", &customer).unwrap();
        object["invoice_settings"]["default_payment_method"] = card["id"].clone();
        state.objects.insert("payment_method", card);
        state.objects.insert("customer", object);
        customer
    }

    /// The customer completes a Checkout session with this card; `None` if it was declined.
    pub fn complete(&self, session: &str, card: &str) -> Option<Value> {
        let mut state = self.state();
        let session = state.objects.get("checkout.session", session).unwrap();
        checkout::complete(&mut state, &session, card, "jenny@example.com")
    }

    /// The next period of a subscription begins, and this card is charged.
    pub fn renew(&self, subscription: &str, card: &str) -> Value {
        let mut state = self.state();
        let card = payments::method(&mut state, card, None).unwrap();
        let subscription = state.objects.get("subscription", subscription).unwrap();
        subscriptions::renew(&mut state, &subscription, Some(card))
    }

    /// The customer ends a subscription in the portal: since flexible billing that is `cancel_at` alone.
    pub fn cancel_in_portal(&self, subscription: &str) -> Value {
        let mut state = self.state();
        let now_s = state.now_s();
        let subscription = state.objects.get("subscription", subscription).unwrap();
        state.change(&subscription, "customer.subscription.updated", |subscription| {
            subscription["cancel_at"] = subscription["items"]["data"][0]["current_period_end"].clone();
            subscription["canceled_at"] = json!(now_s);
            subscription["cancellation_details"]["reason"] = json!("cancellation_requested");
        })
    }

    /// A subscription is charged to this card from now on; nobody is told.
    pub fn use_card(&self, subscription: &str, card: &str) {
        let card = payments::method(&mut self.state(), card, None).unwrap()["id"].clone();
        self.alter(subscription, &json!({ "default_payment_method": card }));
    }

    /// The customer pays with this card what a pending update of a subscription waits for.
    pub fn pay_pending(&self, subscription: &str, card: &str) -> Value {
        let mut state = self.state();
        let card = payments::method(&mut state, card, None).unwrap();
        let subscription = state.objects.get("subscription", subscription).unwrap();
        resumed::pay_pending(&mut state, &subscription, &card)
    }

    /// Somebody makes a schedule of a subscription, in the dashboard; nobody is told. Its id.
    pub fn schedule(&self, subscription: &str) -> String {
        let id = self.add("subscription_schedule", &json!({ "subscription": subscription, "status": "active" }));
        self.alter(subscription, &json!({ "schedule": id }));
        id
    }

    /// All objects of a kind, the newest first.
    pub fn all(&self, kind: &str) -> Vec<Value> {
        let mut state = self.state();
        let places: Vec<u64> = state.objects.places(kind, None, false).collect();
        places.into_iter().map(|place| state.objects.at(row(kind).0, place)).collect()
    }

    /// Ids of the checkout sessions that can be paid.
    pub fn payable(&self) -> Vec<String> {
        let open = self.all("checkout.session").into_iter().filter(|session| session["status"] == "open");
        open.map(|session| session["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The bank disputes a charge.
    pub fn dispute(&self, charge: &str) -> Value {
        let mut state = self.state();
        let charge = state.objects.get("charge", charge).unwrap();
        let mut dispute = state.draft("dispute");
        for name in ["amount", "currency", "payment_intent"] {
            dispute[name] = charge[name].clone();
        }
        dispute["charge"] = charge["id"].clone();
        state.change(&charge, "charge.updated", |charge| charge["disputed"] = json!(true));
        state.create("dispute", dispute)
    }

    /// What is due by the clock: sessions expire, subscriptions end at `cancel_at`.
    pub fn tick(&self) {
        let mut state = self.state();
        let now_s = state.now_s();
        for kind in ["checkout.session", "subscription"] {
            let places: Vec<u64> = state.objects.places(kind, None, false).collect();
            for object in places.into_iter().map(|place| state.objects.at(kind, place)).collect::<Vec<_>>() {
                let due = |name: &str| object[name].as_i64().is_some_and(|at| at <= now_s);
                if object["status"] == "open" && due("expires_at") {
                    checkout::expired(&mut state, &object);
                } else if kind == "subscription" && object["status"] != "canceled" && due("cancel_at") {
                    subscriptions::end(&mut state, &object, Some("cancellation_requested"));
                }
            }
        }
    }

    /// The default API version of the account, in which its events are from now on.
    pub fn set_version(&self, version: ApiVersion) {
        self.state().version = version;
    }

    /// Events from now on are for this address, too, in this version.
    pub fn deliver_to(&self, url: &str, secret: &str, version: ApiVersion) {
        let id = self.add("webhook_endpoint", &json!({ "url": url, "api_version": version.as_str() }));
        let (url, secret) = (url.to_owned(), secret.to_owned());
        let (events, thin) = (vec!["*".to_owned()], false);
        self.state().mail.endpoints.push(Endpoint { id, url, secret, version, events, thin });
    }

    /// The thin twins of events from now on are for this address.
    pub fn deliver_thin_to(&self, url: &str, secret: &str) {
        let (id, url, secret) = ("ed_Fake".to_owned(), url.to_owned(), secret.to_owned());
        let (version, events, thin) = (ApiVersion::CURRENT, vec!["*".to_owned()], true);
        self.state().mail.endpoints.push(Endpoint { id, url, secret, version, events, thin });
    }

    /// The context of thin events from now on, which calls for them must send back.
    pub fn set_context(&self, context: &str) {
        self.state().context = Some(context.to_owned());
    }

    /// Letters are lost, doubled and shuffled by this rule from now on.
    pub fn mail_by(&self, rule: Rule) {
        self.state().mail.rule = rule;
    }

    /// Carries the webhooks that wait, once, and again those that did not get a 2xx.
    pub fn flush(&self) -> Vec<Delivery> {
        self.shared.flush()
    }

    /// From now on they are carried without being asked for.
    pub fn deliver_promptly(&self) {
        self.shared.prompt.store(true, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// Types of all events, the oldest first.
    pub fn event_types(&self) -> Vec<String> {
        self.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The thin twins of all events as they are sent, the oldest first.
    pub fn thin_events(&self) -> Vec<Value> {
        let context = self.state().context.clone();
        self.events().iter().map(|event| thin::of(event, context.as_deref(), false)).collect()
    }

    /// All events, the oldest first.
    pub fn events(&self) -> Vec<Value> {
        let mut state = self.state();
        let kind = KINDS.last().unwrap().0;
        let mut places: Vec<u64> = state.objects.places(kind, None, false).collect();
        places.reverse();
        places.into_iter().map(|place| state.objects.at(kind, place)).collect()
    }
}
