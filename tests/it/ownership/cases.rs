//! The table of cases: what came, what was said, and whose everything is then. Each is run stepped in several orders of
//! its events, and once through the real binary; ids and users carry the case's name, so that one daemon serves all.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::http::request::Method;

use super::objects::{Session, customer, event, payment_intent, subscription};
use crate::harness::Till;
use crate::live::{self, Live};

/// What happens, and what is so afterwards.
pub struct Case {
    pub name: &'static str,
    pub events: Vec<Value>,
    /// After the events: user, customer, force, status of the answer.
    pub puts: Vec<(&'static str, &'static str, bool, u16)>,
    /// After that: user, customer, status.
    pub deletes: Vec<(&'static str, &'static str, u16)>,
    /// Instead, by `tilld user link`: user and subscription.
    pub links: Vec<(&'static str, &'static str)>,
    /// User, and the subscription that entitles; none if empty.
    pub entitled: Vec<(&'static str, &'static str)>,
    /// User and main customer; none if empty.
    pub main: Vec<(&'static str, &'static str)>,
    /// Users who must not exist.
    pub unknown: Vec<&'static str>,
    /// Payment intent and user; nobody if empty.
    pub payments: Vec<(&'static str, &'static str)>,
}

fn case(name: &'static str, events: Vec<Value>) -> Case {
    Case {
        name,
        events,
        puts: vec![],
        deletes: vec![],
        links: vec![],
        entitled: vec![],
        main: vec![],
        unknown: vec![],
        payments: vec![],
    }
}

fn new_customer(id: &str, user: &str, made: i64) -> Value {
    event("customer.created", made, customer(id, user, made))
}

fn new_subscription(id: &str, of: &str, user: &str) -> Value {
    event("customer.subscription.created", 2, subscription(id, of, user, "active"))
}

/// A Payment Link's session, with whatever its visitor wrote into the URL.
fn link_session(reference: &'static str, status: &'static str, payment_status: &'static str) -> Session<'static> {
    Session {
        made: 1,
        status,
        payment_status,
        reference,
        customer: "cus_s",
        subscription: "sub_s",
        ..Session::default()
    }
}

/// A stranger pays by a Payment Link, and what Stripe makes of that.
fn stranger(reference: &'static str) -> Vec<Value> {
    vec![
        new_customer("cus_s", "", 1),
        link_session(reference, "complete", "paid").completed(2),
        new_subscription("sub_s", "cus_s", ""),
    ]
}

fn victim() -> Vec<Value> {
    vec![new_customer("cus_v", "victim", 0), new_subscription("sub_v", "cus_v", "victim")]
}

fn references() -> Vec<Case> {
    let unpaid = |status: &'static str, payment_status: &'static str| {
        vec![new_customer("cus_s", "", 1), link_session("buyer", status, payment_status).completed(2)]
    };
    vec![
        Case {
            entitled: vec![("buyer", "sub_s")],
            main: vec![("buyer", "")],
            ..case("a paid Payment Link gives access, and no customer", stranger("buyer"))
        },
        Case { unknown: vec!["buyer"], ..case("an unpaid Payment Link gives nothing", unpaid("complete", "unpaid")) },
        Case { unknown: vec!["buyer"], ..case("an open session gives nothing", unpaid("open", "unpaid")) },
        Case { unknown: vec!["buyer"], ..case("an expired session gives nothing", unpaid("expired", "unpaid")) },
        Case {
            main: vec![("buyer", "")],
            entitled: vec![("buyer", "")],
            ..case(
                "a session that only saves a card gives nothing and takes no customer",
                vec![
                    new_customer("cus_s", "", 1),
                    Session {
                        made: 1,
                        reference: "buyer",
                        payment_status: "no_payment_required",
                        customer: "cus_s",
                        ..Session::default()
                    }
                    .completed(2),
                ],
            )
        },
        Case {
            entitled: vec![("payer", "sub_s")],
            unknown: vec!["other"],
            ..case("an expired session does not take what a paid one gave", {
                let mut events = stranger("payer");
                let late = Session {
                    id: "cs_2",
                    made: 9,
                    status: "expired",
                    payment_status: "unpaid",
                    reference: "other",
                    customer: "cus_s",
                    ..Session::default()
                };
                events.push(event("checkout.session.expired", 9, late.object()));
                events
            })
        },
        Case {
            entitled: vec![("victim", "sub_v")],
            main: vec![("victim", "cus_v")],
            ..case(
                "a stranger who names a subscriber changes nothing for him",
                victim().into_iter().chain(stranger("victim")).collect(),
            )
        },
        Case {
            entitled: vec![("victim", "sub_s")],
            main: vec![("victim", "cus_v")],
            ..case(
                "a stranger who names somebody without a subscription gives him access, and the customer stays",
                std::iter::once(new_customer("cus_v", "victim", 5)).chain(stranger("victim")).collect(),
            )
        },
        Case {
            entitled: vec![("owner", "sub_s")],
            unknown: vec!["foreign"],
            main: vec![("owner", "cus_s")],
            ..case(
                "a pricing table with a customer session: the customer counts before a foreign reference",
                vec![
                    new_customer("cus_s", "owner", 0),
                    link_session("", "complete", "paid").completed(2),
                    new_subscription("sub_s", "cus_s", ""),
                ],
            )
        },
        Case {
            entitled: vec![("cart-77", "sub_s"), ("owner", "")],
            main: vec![("owner", "cus_other")],
            ..case(
                "own checkout code with the cart's id as reference: the cart is nobody the application knows",
                std::iter::once(new_customer("cus_other", "owner", 0)).chain(stranger("cart-77")).collect(),
            )
        },
        Case {
            payments: vec![("pi_g", "guest")],
            ..case(
                "a guest's payment belongs to the reference",
                vec![
                    event("payment_intent.succeeded", 2, payment_intent("pi_g", "", "")),
                    Session { made: 1, reference: "guest", payment_intent: "pi_g", ..Session::default() }.completed(2),
                ],
            )
        },
    ]
}

fn metadata_words() -> Vec<Case> {
    let session = |user: &'static str, payment_status: &'static str| Session {
        made: 1,
        payment_status,
        user,
        customer: "cus_s",
        subscription: "sub_s",
        ..Session::default()
    };
    vec![
        Case {
            entitled: vec![("buyer", "sub_s")],
            main: vec![("buyer", "cus_s")],
            ..case(
                "metadata of a session that is complete and not yet paid (SEPA)",
                vec![
                    new_customer("cus_s", "", 1),
                    session("buyer", "unpaid").completed(2),
                    new_subscription("sub_s", "cus_s", ""),
                ],
            )
        },
        Case {
            entitled: vec![("recipient", "sub_s"), ("buyer", "")],
            main: vec![("buyer", "cus_s"), ("recipient", "")],
            ..case(
                "the buyer in the session's metadata and the recipient in the subscription's",
                vec![
                    new_customer("cus_s", "", 1),
                    session("buyer", "paid").completed(2),
                    new_subscription("sub_s", "cus_s", "recipient"),
                ],
            )
        },
        Case {
            entitled: vec![("recipient", "sub_g"), ("buyer", "")],
            main: vec![("buyer", "cus_g"), ("recipient", "")],
            ..case("a gift", vec![new_customer("cus_g", "buyer", 0), new_subscription("sub_g", "cus_g", "recipient")])
        },
        Case {
            entitled: vec![("ws1", "sub_1"), ("ws2", "sub_2")],
            main: vec![("ws1", ""), ("ws2", "")],
            ..case(
                "two workspaces under one customer without a name",
                vec![
                    new_customer("cus_w", "", 0),
                    new_subscription("sub_1", "cus_w", "ws1"),
                    new_subscription("sub_2", "cus_w", "ws2"),
                ],
            )
        },
        Case {
            entitled: vec![("ws1", "sub_1"), ("ws2", "sub_2"), ("admin", "")],
            main: vec![("admin", "cus_w"), ("ws1", "")],
            ..case(
                "two workspaces under a customer that names the admin",
                vec![
                    new_customer("cus_w", "admin", 0),
                    new_subscription("sub_1", "cus_w", "ws1"),
                    new_subscription("sub_2", "cus_w", "ws2"),
                ],
            )
        },
        Case {
            entitled: vec![("a", "sub_1")],
            main: vec![("a", "cus_w")],
            ..case(
                "only subscriptions carry metadata, and one of them has ended",
                vec![
                    new_customer("cus_w", "", 0),
                    new_subscription("sub_1", "cus_w", "a"),
                    event("customer.subscription.deleted", 3, subscription("sub_2", "cus_w", "b", "canceled")),
                ],
            )
        },
        Case {
            entitled: vec![("b", "sub_1"), ("a", "")],
            main: vec![("b", "cus_w"), ("a", "")],
            ..case(
                "a subscription's metadata changed from one user to another",
                vec![
                    new_customer("cus_w", "", 0),
                    new_subscription("sub_1", "cus_w", "a"),
                    event("customer.subscription.updated", 5, subscription("sub_1", "cus_w", "b", "active")),
                ],
            )
        },
        Case {
            entitled: vec![("a", "sub_1")],
            main: vec![("a", "cus_w")],
            ..case(
                "an update without metadata takes nothing away",
                vec![
                    new_customer("cus_w", "", 0),
                    new_subscription("sub_1", "cus_w", "a"),
                    event("customer.subscription.updated", 5, subscription("sub_1", "cus_w", "", "active")),
                ],
            )
        },
        Case {
            entitled: vec![("b", "sub_1"), ("a", "")],
            main: vec![("b", "cus_w"), ("a", "")],
            ..case(
                "a customer's metadata changed",
                vec![
                    new_customer("cus_w", "a", 0),
                    new_subscription("sub_1", "cus_w", ""),
                    event("customer.updated", 5, customer("cus_w", "b", 0)),
                ],
            )
        },
        Case {
            entitled: vec![("a", "sub_2")],
            main: vec![("a", "cus_2")],
            ..case(
                "a customer deleted and made anew",
                vec![
                    new_customer("cus_1", "a", 0),
                    new_subscription("sub_1", "cus_1", ""),
                    event("customer.deleted", 4, customer("cus_1", "a", 0)),
                    new_customer("cus_2", "a", 5),
                    event("customer.subscription.created", 6, subscription("sub_2", "cus_2", "", "active")),
                ],
            )
        },
        Case {
            payments: vec![("pi_m", "named"), ("pi_c", "owner")],
            ..case(
                "payments belong to whom they name, else to their customer's user",
                vec![
                    new_customer("cus_p", "owner", 0),
                    event("payment_intent.succeeded", 1, payment_intent("pi_m", "cus_p", "named")),
                    event("payment_intent.succeeded", 1, payment_intent("pi_c", "cus_p", "")),
                ],
            )
        },
    ]
}

fn said() -> Vec<Case> {
    let named = || vec![new_customer("cus_w", "m", 0), new_subscription("sub_1", "cus_w", "")];
    vec![
        Case {
            puts: vec![("a", "cus_w", false, 200)],
            entitled: vec![("a", "sub_1"), ("m", "")],
            main: vec![("a", "cus_w"), ("m", "")],
            ..case("what is said counts before metadata", named())
        },
        Case {
            puts: vec![("a", "cus_w", false, 200), ("a", "cus_w", false, 200)],
            entitled: vec![("a", "sub_1")],
            ..case("said twice", named())
        },
        Case {
            puts: vec![("a", "cus_w", false, 200), ("b", "cus_w", false, 409), ("b", "cus_w", true, 200)],
            entitled: vec![("b", "sub_1"), ("a", "")],
            main: vec![("b", "cus_w"), ("a", "")],
            ..case("another user's customer is given away only by force", named())
        },
        Case {
            puts: vec![("a", "cus_w", false, 200), ("b", "cus_w", true, 200)],
            deletes: vec![("b", "cus_w", 200), ("b", "cus_w", 404)],
            entitled: vec![("a", "sub_1"), ("b", "")],
            main: vec![("a", "cus_w"), ("b", "")],
            ..case("taken back, what was said before counts", named())
        },
        Case {
            puts: vec![("a", "cus_w", false, 200)],
            deletes: vec![("a", "cus_w", 200)],
            entitled: vec![("m", "sub_1"), ("a", "")],
            main: vec![("m", "cus_w")],
            ..case("taken back, metadata count again", named())
        },
        Case {
            deletes: vec![("m", "cus_w", 200)],
            entitled: vec![("m", "")],
            main: vec![("m", "")],
            ..case("said not to be whom metadata name", named())
        },
        Case {
            links: vec![("b", "sub_1")],
            entitled: vec![("b", "sub_1"), ("m", "")],
            main: vec![("m", "cus_w"), ("b", "")],
            ..case("merged accounts: a subscription is said to be another user's", named())
        },
        Case {
            puts: vec![("a", "cus_old", false, 200), ("a", "cus_new", false, 200)],
            main: vec![("a", "cus_new")],
            ..case(
                "the customer said last is the main one",
                vec![
                    new_customer("cus_old", "a", 0),
                    new_customer("cus_new", "", 9),
                    new_customer("cus_oldest", "a", -9),
                ],
            )
        },
        Case {
            puts: vec![("a", "cus_1", false, 200), ("a", "cus_2", false, 200), ("a", "cus_1", false, 200)],
            main: vec![("a", "cus_1")],
            ..case(
                "a customer said again is the one said last",
                vec![new_customer("cus_1", "", 0), new_customer("cus_2", "", 0)],
            )
        },
        Case {
            deletes: vec![("ws1", "cus_w", 200)],
            entitled: vec![("ws1", "sub_1"), ("ws2", "sub_2")],
            main: vec![("ws2", "cus_w"), ("ws1", "")],
            ..case(
                "a customer that two users are named for is the one's of whom it was not said that it is not",
                vec![
                    new_customer("cus_w", "", 0),
                    new_subscription("sub_1", "cus_w", "ws1"),
                    new_subscription("sub_2", "cus_w", "ws2"),
                ],
            )
        },
        Case {
            puts: vec![("victim", "cus_s", false, 200)],
            entitled: vec![("victim", "sub_s")],
            main: vec![("victim", "cus_s")],
            ..case("a customer that a reference named is adopted by saying so", stranger("victim"))
        },
    ]
}

pub fn all() -> Vec<Case> {
    references().into_iter().chain(metadata_words()).chain(said()).collect()
}

/// What the program answers about a case, however it is asked.
trait Program {
    fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value);
    fn link(&self, user: &str, subscription: &str);
    fn payment_user(&self, id: &str) -> Value;
}

/// `names`: what the case calls things, and what they are called here.
fn check(case: &Case, program: &dyn Program, names: &dyn Fn(&str) -> String) {
    let path = |user: &str, rest: &str| format!("/api/v1/users/{}{rest}", names(user));
    let say = |method, user: &str, path: &str, body: &Value, status: u16| {
        let (answered, answer) = program.call(method, path, body);
        assert_eq!(answered, status, "{}: {user} {answer}", case.name);
    };
    for (user, customer, force, status) in &case.puts {
        let body = json!({"stripe_customer_id": names(customer), "force": force});
        say(Method::Put, user, &path(user, "/customer"), &body, *status);
    }
    for (user, customer, status) in &case.deletes {
        let path = path(user, &format!("/customer?stripe_customer_id={}", names(customer)));
        say(Method::Delete, user, &path, &Value::Null, *status);
    }
    for (user, subscription) in &case.links {
        program.link(&names(user), &names(subscription));
    }
    for (user, subscription) in &case.entitled {
        let (status, answer) = program.call(Method::Get, &path(user, "/entitlement"), &Value::Null);
        assert_eq!(status, 200, "{}: {user} {answer}", case.name);
        let expected = if subscription.is_empty() { Value::Null } else { json!(names(subscription)) };
        let found = if answer["entitled"] == true { answer["subscription_id"].clone() } else { Value::Null };
        assert_eq!(found, expected, "{}: {user} {answer}", case.name);
    }
    for (user, customer) in &case.main {
        let (_, answer) = program.call(Method::Get, &path(user, ""), &Value::Null);
        let expected = if customer.is_empty() { Value::Null } else { json!(names(customer)) };
        assert_eq!(answer["stripe_customer_id"], expected, "{}: {user} {answer}", case.name);
    }
    for user in &case.unknown {
        assert_eq!(program.call(Method::Get, &path(user, ""), &Value::Null).0, 404, "{}: {user}", case.name);
    }
    for (id, user) in &case.payments {
        let expected = if user.is_empty() { Value::Null } else { json!(names(user)) };
        assert_eq!(program.payment_user(&names(id)), expected, "{}: {id}", case.name);
    }
}

impl Program for Till {
    fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        Till::call(self, method, path, body)
    }

    fn link(&self, user: &str, subscription: &str) {
        let (user, id, context, now_ms) =
            (user.to_owned(), subscription.to_owned(), std::sync::Arc::clone(&self.context), self.clock.now_s() * 1000);
        use tilld::objects::links::{LinkStatement, LinkTarget, link};
        let said = move |tx: &tilld::store::Tx| {
            let said = LinkStatement { kind: LinkTarget::Subscription, id: &id, user_id: &user, actor: "cli" };
            tilld::notify::with_notices(tx, &context, now_ms, |basis| link(tx, said, false, basis))
        };
        self.store.write(said).unwrap();
    }

    fn payment_user(&self, id: &str) -> Value {
        self.value(&format!("SELECT user_id FROM stripe_payment_intents WHERE stripe_intent_id = '{id}'"))
    }
}

struct Daemon<'a> {
    live: &'a Live,
    dir: &'a std::path::Path,
}

impl Program for Daemon<'_> {
    fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.live.ask(method.as_str(), path, &[], body)
    }

    fn link(&self, user: &str, subscription: &str) {
        let done = live::tilld(self.dir).args(["user", "link", user, subscription]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(String::from_utf8_lossy(&done.stdout), format!("linked: {subscription} to {user}\n"));
    }

    fn payment_user(&self, id: &str) -> Value {
        let file = Connection::open(live::database(self.dir)).unwrap();
        let sql = "SELECT user_id FROM stripe_payment_intents WHERE stripe_intent_id = ?1";
        file.query_row(sql, [id], |row| row.get::<_, Option<String>>(0)).unwrap().map_or(Value::Null, Value::String)
    }
}

/// Some orders of `count` things: as they are, backwards, and turned.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let forwards: Vec<usize> = (0..count).collect();
    let mut orders = vec![forwards.clone(), forwards.iter().rev().copied().collect()];
    orders.extend((1..count).map(|turn| {
        let mut turned = forwards.clone();
        turned.rotate_left(turn);
        turned
    }));
    orders
}

#[test]
fn everything_is_whose_it_is_in_any_order_of_events() {
    for case in all() {
        for order in orders(case.events.len()) {
            let mut till = Till::new();
            let events: Vec<Value> = order.iter().map(|place| case.events[*place].clone()).collect();
            till.feed(&events);
            check(&case, &till, &str::to_owned);
        }
    }
}

/// Ids and users of a case, told from those of the others.
fn renamed(event: &Value, number: usize) -> Value {
    const PREFIXES: [&str; 6] = ["cus_", "sub_", "cs_", "pi_", "evt_", "si_"];
    match event {
        Value::String(text) if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) => {
            json!(format!("{text}x{number}"))
        }
        Value::Array(list) => list.iter().map(|one| renamed(one, number)).collect(),
        Value::Object(fields) => {
            let renamed = fields.iter().map(|(key, value)| {
                let is_user = matches!(key.as_str(), "user_id" | "client_reference_id") && value.is_string();
                let value = if is_user {
                    json!(format!("{}x{number}", value.as_str().unwrap()))
                } else {
                    renamed(value, number)
                };
                (key.clone(), value)
            });
            Value::Object(renamed.collect())
        }
        other => other.clone(),
    }
}

#[test]
fn everything_is_whose_it_is_through_the_real_binary() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let cases = all();
    let mut delivered = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        for event in &case.events {
            let answer = live.post(renamed(event, number).to_string().as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{}: {}", case.name, answer.body);
            *delivered.entry(answer.body).or_insert(0) += 1;
        }
    }
    assert_eq!(delivered.len(), 1, "no two cases share an event: {delivered:?}");
    live.settle();
    let program = Daemon { live: &live, dir: dir.path() };
    for (number, case) in cases.iter().enumerate() {
        check(case, &program, &|name| format!("{name}x{number}"));
    }
}
