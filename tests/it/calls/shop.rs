//! A shop: the real binary beside the fake, with two prices and users who buy.

use serde_json::{Value, json};
use tempfile::TempDir;
use tilld::app::trigger::ApiVersion;

use crate::fake_stripe::FakeStripe;
use crate::harness::{PATH, SECRET};
use crate::live::{Live, url_of};

pub struct Shop {
    pub live: Live,
    pub fake: FakeStripe,
    dir: TempDir,
}

pub const URLS: [(&str, &str); 3] = [
    ("TILLD_CHECKOUT_SUCCESS_URL", "https://app.example/ok?s={CHECKOUT_SESSION_ID}"),
    ("TILLD_CHECKOUT_CANCEL_URL", "https://app.example/no"),
    ("TILLD_PORTAL_RETURN_URL", "https://app.example/account"),
];

impl Shop {
    pub fn open(more: &[(&str, &str)]) -> Self {
        let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
        for (price, amount, interval) in
            [("price_pro", 2000, "month"), ("price_team", 5000, "month"), ("price_team_year", 50_000, "year")]
        {
            fake.add_price(price, amount, interval);
        }
        fake.add_price("price_once", 900, "");
        let url = fake.url();
        let plans = "pro:price_pro,price_once;team:price_team,price_team_year";
        let mut env = vec![("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", &url), ("TILLD_PLANS", plans)];
        env.extend_from_slice(more);
        let live = Live::start_with(dir.path(), &env);
        fake.deliver_to(&url_of(&live.public, PATH), SECRET, ApiVersion::CURRENT);
        Self { live, fake, dir }
    }

    /// The file of its database.
    pub fn live_database(&self) -> std::path::PathBuf {
        crate::live::database(self.dir.path())
    }

    /// Makes a user.
    pub fn user(&self, id: &str) {
        let user = json!({"email": format!("{id}@example.com")});
        assert_eq!(self.live.ask("PUT", &path(id, ""), &[], &user).0, 201);
    }

    /// A call for a user, which succeeds.
    pub fn done(&self, user: &str, call: &str, body: &Value) -> Value {
        let (status, answer) = self.post(user, call, body);
        assert_eq!(status, 200, "{call}: {answer}");
        answer
    }

    pub fn post(&self, user: &str, call: &str, body: &Value) -> (u16, Value) {
        self.live.ask("POST", &path(user, call), &[], body)
    }

    /// Status, code and param of a call that fails.
    pub fn fault(&self, user: &str, call: &str, body: &Value) -> (u16, String, String) {
        fault(&self.post(user, call, body))
    }

    pub fn get(&self, user: &str, what: &str) -> Value {
        let (status, answer) = self.live.get(&path(user, what));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub fn tier(&self, user: &str) -> String {
        self.get(user, "/entitlement")["tier"].as_str().unwrap().to_owned()
    }

    /// The body or query of the newest request to `pattern`, the key and ids that differ each time masked.
    pub fn sent(&self, pattern: &str) -> String {
        let requests = self.fake.requests_to(pattern);
        let form = String::from_utf8(requests.last().unwrap().body.clone()).unwrap();
        form.split('&').map(masked).collect::<Vec<_>>().join("&")
    }

    /// All webhooks that wait are delivered and projected.
    pub fn deliver(&self) {
        assert!(self.fake.flush().iter().all(|one| one.status == Some(200)));
        self.live.settle();
    }

    /// A user with a subscription that Stripe has told of; its id.
    pub fn subscriber(&self, id: &str, price: &str) -> String {
        self.user(id);
        let session = self.done(id, "/checkout-session", &json!({"price_id": price, "quantity": 3}));
        let session = self.fake.complete(session["session_id"].as_str().unwrap(), "pm_card_visa").unwrap();
        self.deliver();
        session["subscription"].as_str().unwrap().to_owned()
    }
}

fn masked(pair: &str) -> String {
    let (name, value) = pair.split_once('=').unwrap();
    let random = ["customer", "subscription", "payment_intent"].contains(&name)
        || ["[tilld_key]", "[id]", "[subscription]", "proration_date", "[proration_date]"]
            .iter()
            .any(|end| name.ends_with(end));
    if random && !value.is_empty() { format!("{name}=*") } else { pair.to_owned() }
}

pub fn path(user: &str, call: &str) -> String {
    format!("/api/v1/users/{user}{call}")
}

pub fn fault((status, answer): &(u16, Value)) -> (u16, String, String) {
    let word = |name: &str| answer["error"][name].as_str().unwrap_or_default().to_owned();
    assert!(!word("message").is_empty(), "{status} {answer}");
    (*status, word("code"), word("param"))
}

pub fn is(status: u16, code: &str, param: &str) -> (u16, String, String) {
    (status, code.to_owned(), param.to_owned())
}
