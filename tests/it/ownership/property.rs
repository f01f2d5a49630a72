//! Any mix of words: events in any order, some late, some twice; statements and retractions between them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tilld::http::request::Method;

use super::objects::{Session, customer, event_with_id, failed_invoice, subscription};
use crate::harness::{Setup, Till, notify};

const USERS: [&str; 3] = ["ann", "bob", "victim"];
/// The subscription's place, and its customer's: two of them share one.
const SUBSCRIPTIONS: [(&str, &str); 3] = [("sub_1", "cus_1"), ("sub_2", "cus_1"), ("sub_3", "cus_2")];
const CUSTOMERS: [&str; 2] = ["cus_1", "cus_2"];

/// One thing that reaches the program.
#[derive(Debug, Clone)]
enum Word {
    Customer { which: usize, user: Option<usize> },
    Subscription { which: usize, user: Option<usize>, status: usize },
    Session { which: usize, user: Option<usize>, reference: Option<usize>, status: usize },
    Failed { which: usize },
    Deleted { which: usize },
}

const STATUSES: [&str; 4] = ["active", "active", "past_due", "canceled"];
const SESSIONS: [(&str, &str); 4] =
    [("complete", "paid"), ("complete", "unpaid"), ("expired", "unpaid"), ("open", "unpaid")];

fn user() -> impl Strategy<Value = Option<usize>> {
    prop::option::of(0..USERS.len())
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        3 => (0..CUSTOMERS.len(), user()).prop_map(|(which, user)| Word::Customer { which, user }),
        5 => (0..SUBSCRIPTIONS.len(), user(), 0..STATUSES.len())
            .prop_map(|(which, user, status)| Word::Subscription { which, user, status }),
        4 => (0..SUBSCRIPTIONS.len(), user(), user(), 0..SESSIONS.len())
            .prop_map(|(which, user, reference, status)| Word::Session { which, user, reference, status }),
        2 => (0..SUBSCRIPTIONS.len()).prop_map(|which| Word::Failed { which }),
        1 => (0..CUSTOMERS.len()).prop_map(|which| Word::Deleted { which }),
    ]
}

/// What the application says: user, customer, and whether it takes it back.
#[derive(Debug, Clone)]
struct Statement {
    user: usize,
    customer: usize,
    back: bool,
    /// Before which of the events.
    before: usize,
}

fn statement() -> impl Strategy<Value = Statement> {
    (0..USERS.len(), 0..CUSTOMERS.len(), any::<bool>(), 0..20_usize)
        .prop_map(|(user, customer, back, before)| Statement { user, customer, back, before })
}

fn name(user: Option<usize>) -> &'static str {
    user.map_or("", |user| USERS[user])
}

/// The event of a word; each is of its own second. `referring`: references are left in.
fn event_of(word: &Word, number: usize, referring: bool) -> Value {
    let at = i64::try_from(number).unwrap() * 10;
    let event = |event_type: &str, object: Value| event_with_id(&format!("evt_{number:03}"), event_type, at, object);
    match word {
        Word::Customer { which, user } => event("customer.updated", customer(CUSTOMERS[*which], name(*user), 0)),
        Word::Deleted { which } => event("customer.deleted", customer(CUSTOMERS[*which], "", 0)),
        Word::Subscription { which, user, status } => {
            let (id, of) = SUBSCRIPTIONS[*which];
            let status = STATUSES[*status];
            let kind =
                if status == "canceled" { "customer.subscription.deleted" } else { "customer.subscription.updated" };
            event(kind, subscription(id, of, name(*user), status))
        }
        Word::Session { which, user, reference, status } => {
            let (id, of) = SUBSCRIPTIONS[*which];
            let (status, payment_status) = SESSIONS[*status];
            // Each subscription is made by one session.
            let session = Session {
                id: &format!("cs_{id}"),
                made: -5,
                status,
                payment_status,
                reference: if referring { name(*reference) } else { "" },
                user: name(*user),
                customer: of,
                subscription: id,
                payment_intent: "",
            };
            event("checkout.session.completed", session.object())
        }
        Word::Failed { which } => {
            let (id, of) = SUBSCRIPTIONS[*which];
            event("invoice.payment_failed", failed_invoice(&format!("in_{number}"), of, id))
        }
    }
}

/// A whole story: what comes, in the order it happened and in the order it arrives, and what is said between.
#[derive(Debug, Clone)]
struct Story {
    words: Vec<Word>,
    order: Vec<usize>,
    statements: Vec<Statement>,
}

fn story() -> impl Strategy<Value = Story> {
    (prop::collection::vec(word(), 3..10), prop::collection::vec(statement(), 0..4)).prop_flat_map(
        |(words, statements)| {
            let places: Vec<usize> = (0..words.len()).chain(0..words.len() / 3).collect();
            Just(places).prop_shuffle().prop_map(move |order| Story {
                words: words.clone(),
                order,
                statements: statements.clone(),
            })
        },
    )
}

fn till() -> Till {
    Till::with(Setup { notify: notify(&[]), ..Setup::default() })
}

/// Says what is said before this place. What is taken back was said: so it does not depend on what has come so far.
fn say(till: &Till, story: &Story, place: usize) {
    for statement in story.statements.iter().filter(|one| one.before == place) {
        let path = format!("/api/v1/users/{}/customer", USERS[statement.user]);
        let customer = CUSTOMERS[statement.customer];
        let body = json!({"stripe_customer_id": customer, "force": true});
        let (status, answer) = till.call(Method::Put, &path, &body);
        assert!(status == 200 || answer["error"]["code"] == "customer_deleted", "{answer}");
        if statement.back && status == 200 {
            let path = format!("{path}?stripe_customer_id={customer}");
            assert_eq!(till.call(Method::Delete, &path, &Value::Null).0, 200);
        }
    }
}

/// Everything in the order in which it happened, statements where they were made.
fn told(story: &Story, referring: bool) -> Till {
    let mut till = till();
    for (place, word) in story.words.iter().enumerate() {
        say(&till, story, place);
        till.feed(&[event_of(word, place, referring)]);
    }
    (story.words.len()..20).for_each(|place| say(&till, story, place));
    till
}

/// The same events in another order, some twice; the statements in theirs.
fn shuffled(story: &Story) -> Till {
    let mut till = till();
    // Whether a customer was deleted when something was said of it is not the same in every order.
    let statements_first = story.words.iter().any(|word| matches!(word, Word::Deleted { .. }));
    if statements_first {
        (0..20).for_each(|place| say(&till, story, place));
    }
    for (step, place) in story.order.iter().enumerate() {
        if !statements_first {
            say(&till, story, step);
        }
        till.feed(&[event_of(&story.words[*place], *place, true)]);
    }
    if !statements_first {
        (story.order.len()..20).for_each(|step| say(&till, story, step));
    }
    till
}

fn rows(till: &Till, sql: &str) -> BTreeMap<String, String> {
    let connection = till.connection();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())));
    rows.unwrap().map(Result::unwrap).collect()
}

fn owners(till: &Till) -> Vec<BTreeMap<String, String>> {
    vec![
        rows(till, "SELECT stripe_customer_id, owner_user_id || ' ' || linked_by FROM stripe_customers"),
        rows(till, "SELECT stripe_customer_id, user_id FROM stripe_customers"),
        rows(till, "SELECT stripe_subscription_id, user_id || ' ' || linked_by FROM stripe_subscriptions"),
        rows(till, "SELECT stripe_invoice_id, user_id FROM stripe_invoices"),
        rows(till, "SELECT user_id, stripe_subscription_id || ' ' || reason FROM subscriptions"),
    ]
}

fn run(cases: u32, property: impl Fn(Story) -> Result<(), TestCaseError>) {
    let config = Config { cases: crate::harness::cases(cases), failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&story(), property).unwrap();
}

#[test]
fn any_order_of_words_statements_and_retractions_ends_in_the_same_owners() {
    run(60, |story| {
        // Statements that a deletion may have refused are made where it cannot: before it.
        let deletes = story.words.iter().any(|word| matches!(word, Word::Deleted { .. }));
        let straight = if deletes {
            let first = Story {
                statements: story.statements.iter().map(|s| Statement { before: 0, ..s.clone() }).collect(),
                ..story.clone()
            };
            let ordered = Story { statements: in_order(&story), ..first };
            told(&ordered, true)
        } else {
            told(&story, true)
        };
        prop_assert_eq!(owners(&straight), owners(&shuffled(&story)));
        Ok(())
    });
}

/// The statements as `say` makes them place by place, all before the first event.
fn in_order(story: &Story) -> Vec<Statement> {
    let mut statements = story.statements.clone();
    statements.sort_by_key(|statement| statement.before);
    statements.into_iter().map(|statement| Statement { before: 0, ..statement }).collect()
}

/// What may not depend on a browser's word.
fn strong(till: &Till) -> Vec<BTreeMap<String, String>> {
    vec![
        rows(till, "SELECT stripe_customer_id, owner_user_id || ' ' || linked_by FROM stripe_customers"),
        rows(till, "SELECT stripe_customer_id, user_id FROM stripe_customers"),
        rows(
            till,
            "SELECT stripe_subscription_id, user_id FROM stripe_subscriptions WHERE linked_by IS NOT 'reference'
             AND linked_by IS NOT NULL",
        ),
        rows(till, "SELECT dedupe_key, json_extract(payload, '$.to') FROM outbox WHERE kind = 'mail'"),
        rows(till, "SELECT CAST(id AS TEXT), notification_type || ' ' || coalesce(user_id, '-') FROM dunning_attempts"),
    ]
}

#[test]
fn without_any_reference_no_customer_no_subject_of_a_call_and_no_mail_is_another() {
    run(60, |story| {
        prop_assert_eq!(strong(&told(&story, true)), strong(&told(&story, false)));
        Ok(())
    });
}

/// Whether the story goes on with a subscription, or with the session that made it, after its end, which cannot be left:
/// then its end is the last word.
fn outlives_its_end(story: &Story, which: usize) -> bool {
    let goes_on = |ended: Vec<bool>| ended.iter().rev().skip(1).any(|ended| *ended);
    let subscription = story.words.iter().filter_map(|word| match word {
        Word::Subscription { which: one, status, .. } if *one == which => Some(STATUSES[*status] == "canceled"),
        _ => None,
    });
    let session = story.words.iter().filter_map(|word| match word {
        Word::Session { which: one, status, .. } if *one == which => Some(SESSIONS[*status].0 == "expired"),
        _ => None,
    });
    goes_on(subscription.collect()) || goes_on(session.collect())
}

/// The user whom the strongest word about a subscription names, told from the words alone.
fn strongest<'a>(story: &Story, which: usize) -> Option<&'a str> {
    let of = SUBSCRIPTIONS[which].1;
    let newest = |pick: &dyn Fn(&Word) -> Option<Option<usize>>| story.words.iter().rev().find_map(|word| pick(word)?);
    let own = newest(&|word| match word {
        Word::Subscription { which: one, user, .. } if *one == which => Some(*user),
        _ => None,
    });
    let session = story.words.iter().rev().find_map(|word| match word {
        Word::Session { which: one, user, status, .. } if *one == which => Some((*user, SESSIONS[*status].0)),
        _ => None,
    });
    let session = session.filter(|(_, status)| *status == "complete").and_then(|(user, _)| user);
    let mut said: Vec<(usize, bool)> = Vec::new();
    for statement in in_order(story).iter().filter(|one| CUSTOMERS[one.customer] == of) {
        said.retain(|(user, _)| *user != statement.user || !statement.back);
        said.push((statement.user, statement.back));
    }
    let customers_said = said.iter().rev().find(|(_, back)| !back).map(|(user, _)| *user);
    let customers_own = newest(&|word| match word {
        Word::Customer { which: one, user } if CUSTOMERS[*one] == of => Some(*user),
        _ => None,
    });
    let denied = |user: &usize| said.contains(&(*user, true));
    let strongest = own.or(session).or(customers_said).or(customers_own.filter(|user| !denied(user)))?;
    Some(USERS[strongest])
}

#[test]
fn nobody_whom_the_strongest_word_about_a_subscription_names_is_without_one() {
    run(60, |story| {
        if story.words.iter().any(|word| matches!(word, Word::Deleted { .. })) {
            return Ok(());
        }
        let till = shuffled(&story);
        for (which, (id, _)) in SUBSCRIPTIONS.iter().enumerate() {
            let is_known =
                story.words.iter().any(|word| matches!(word, Word::Subscription { which: one, .. } if *one == which));
            let Some(user) = strongest(&story, which).filter(|_| is_known && !outlives_its_end(&story, which)) else {
                continue;
            };
            let answer = till.entitlement(user);
            prop_assert_ne!(&answer["reason"], "no_subscription", "{} of {}", id, user);
        }
        Ok(())
    });
}
