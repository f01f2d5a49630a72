//! `tilld user link`, `unlink` and `show`, and what `tilld check` and the log say of doubtful links.

use std::path::Path;

use serde_json::{Value, json};

use super::objects::{Session, customer, event, subscription};
use crate::fake_stripe::FakeStripe;
use crate::live::{Live, configure, tilld};

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
    let done = configure(tilld(dir).args(arguments)).envs(env.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

fn fed(dir: &Path, events: &[Value]) -> Live {
    let live = Live::start(dir);
    for event in events {
        assert_eq!(live.post(event.to_string().as_bytes()).unwrap().status, 200);
    }
    live.settle();
    live
}

fn words() -> Vec<Value> {
    let session = Session { made: 1, reference: "ref", customer: "cus_s", subscription: "sub_s", ..Session::default() };
    vec![
        event("customer.created", 0, customer("cus_a", "ann", 0)),
        event("customer.subscription.created", 1, subscription("sub_1", "cus_a", "", "active")),
        event("customer.subscription.created", 2, subscription("sub_2", "cus_a", "", "active")),
        event("customer.created", 1, customer("cus_s", "", 1)),
        session.completed(2),
        event("customer.subscription.created", 2, subscription("sub_s", "cus_s", "", "active")),
        event("customer.created", 0, customer("cus_w", "", 0)),
        event("customer.subscription.created", 2, subscription("sub_w1", "cus_w", "ws1", "active")),
        event("customer.subscription.created", 3, subscription("sub_w2", "cus_w", "ws2", "active")),
        event("customer.subscription.updated", 9, subscription("sub_w2", "cus_w", "", "active")),
    ]
}

#[test]
fn check_and_the_log_name_who_pays_twice_what_is_nobodys_and_what_a_reference_alone_links() {
    let dir = tempfile::tempdir().unwrap();
    let live = fed(dir.path(), &words());
    live.logged(&["2 subscriptions that run", "user_id=ann", "sub_1,sub_2"]);
    live.logged(&["belongs to nobody", "customer_id=cus_w"]);
    live.logged(&["client_reference_id alone", "subscription_id=sub_s"]);
    live.logged(&["took the user out of the metadata", "id=sub_w2", "user_id=ws2"]);
    let checked = run(dir.path(), &["check"], &[]);
    for words in [
        "two running subscriptions: 1 (the first: ann)",
        "without a user, because",
        "cus_w",
        "client_reference_id",
        "sub_s",
    ] {
        assert!(checked.out.contains(words), "{words}: {}", checked.out);
    }
}

#[test]
fn user_show_says_which_word_links_what_and_what_each_rule_found() {
    let dir = tempfile::tempdir().unwrap();
    let live = fed(dir.path(), &words());
    let shown = run(dir.path(), &["user", "show", "ann"], &[]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("cus_a (main)") && shown.out.contains("said: nobody · metadata: ann"), "{}", shown.out);
    let done = run(dir.path(), &["user", "unlink", "ann", "sub_2"], &[]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "unlinked: sub_2 from ann; it belongs to no user now\n"),
        "{}",
        done.err
    );
    assert_eq!(live.get("/api/v1/users/ann/subscriptions").1["data"].as_array().unwrap().len(), 1);
    let again = run(dir.path(), &["user", "unlink", "ann", "sub_2"], &[]);
    assert!(again.code == 1 && again.err.contains("not linked to user"), "{}", again.err);
    let json: Value = serde_json::from_str(&run(dir.path(), &["user", "show", "ann", "--json"], &[]).out).unwrap();
    assert_eq!(json["links"][0]["linked_by"], "metadata");
    assert_eq!(json["links"][1]["trace"][2], json!({"rule": "customer", "names": "ann"}));
}

#[test]
fn a_file_of_links_is_read_as_a_whole_foreseen_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let live = fed(dir.path(), &words());
    let file = |text: &str| {
        std::fs::write(dir.path().join("links.csv"), text).unwrap();
        dir.path().join("links.csv").display().to_string()
    };
    let bad = file("user,stripe\nann,cus_s\nbob,in_1\n,cus_a\n");
    let refused = run(dir.path(), &["user", "link", "--from", &bad], &[]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("links.csv:3: \"in_1\" is not a valid id") && refused.err.contains("links.csv:4:"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("nothing was linked"), "{}", refused.err);

    let twice = file("user_id,stripe_customer_id\nbob,cus_9\ncarl,cus_9\nbob,cus_9\n");
    let foreseen = run(dir.path(), &["user", "link", "--from", &twice, "--dry-run"], &[]);
    assert!(foreseen.out.contains("not linked: cus_9 to carl: it is linked to user \"bob\""), "{}", foreseen.out);
    assert!(foreseen.out.contains("1 would be linked, 1 already linked, 1 not linked"), "{}", foreseen.out);

    let good = file("user,stripe\nbob,cus_s\n\"carol, inc\",sub_2\n\n");
    let foreseen = run(dir.path(), &["user", "link", "--from", &good, "--dry-run"], &[]);
    assert_eq!(
        (foreseen.code, foreseen.out.as_str()),
        (0, "2 would be linked, 0 already linked, 0 not linked\n"),
        "{}",
        foreseen.err
    );
    assert_eq!(live.get("/api/v1/users/bob").0, 404, "nothing was written");
    let linked = run(dir.path(), &["user", "link", "--from", &good], &[]);
    assert_eq!((linked.code, linked.out.as_str()), (0, "2 linked, 0 already linked, 0 not linked\n"), "{}", linked.err);
    assert_eq!(live.get("/api/v1/users/bob/entitlement").1["subscription_id"], "sub_s");
    assert_eq!(live.get("/api/v1/users/carol%2C%20inc/entitlement").1["subscription_id"], "sub_2");

    let other = file("dora,cus_s\nbob,cus_s\n");
    let taken = run(dir.path(), &["user", "link", "--from", &other], &[]);
    assert_eq!(taken.code, 1);
    assert!(taken.out.contains("not linked: cus_s to dora: it is linked to user \"bob\""), "{}", taken.out);
    assert!(taken.out.contains("0 linked, 1 already linked, 1 not linked"), "{}", taken.out);
    let forced = run(dir.path(), &["user", "link", "dora", "cus_s", "--force", "--json"], &[]);
    let line: Value = serde_json::from_str(forced.out.trim()).unwrap();
    assert_eq!((line["outcome"].as_str(), line["object"].as_str()), (Some("linked"), Some("customer")));
    let audit = live.get("/api/v1/users/dora/audit").1;
    let action = audit["data"].as_array().unwrap().iter().find(|row| row["action"] == "customer.link").unwrap();
    assert_eq!((&action["actor"], &action["detail"]), (&json!("cli"), &json!({"before": "bob", "after": "dora"})));
}

#[test]
fn with_a_key_what_stripe_does_not_know_is_not_linked_and_what_is_older_than_tilld_is_read() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    drop(fed(dir.path(), &[]));
    let url = fake.url();
    let env = [("STRIPE_API_KEY", fake.key()), ("STRIPE_API_BASE", url.as_str())];
    let old = fake.add("customer", &json!({"email": "old@example.com", "metadata": {}}));
    let gone = fake.add("customer", &json!({"deleted": true}));
    let link = |arguments: &[&str]| run(dir.path(), &[&["user", "link"], arguments].concat(), &env);
    let unknown = link(&["ann", "cus_none"]);
    assert!(
        unknown.code == 1 && unknown.out.contains("Stripe does not know this id"),
        "{}{}",
        unknown.out,
        unknown.err
    );
    let deleted = link(&["ann", &gone]);
    assert!(deleted.code == 1 && deleted.out.contains("deleted at Stripe"), "{}{}", deleted.out, deleted.err);
    assert_eq!(link(&["ann", &old, "--dry-run"]).out, format!("would be linked: {old} to ann\n"));
    let linked = link(&["ann", &old]);
    assert_eq!(linked.out, format!("linked: {old} to ann\n"), "{}", linked.err);
    let shown: Value = serde_json::from_str(&run(dir.path(), &["user", "show", "ann", "--json"], &[]).out).unwrap();
    assert_eq!(shown["user"]["stripe_customer_id"], json!(old));
    let odd = link(&["ann", "price_1"]);
    assert!(odd.code == 2 && odd.err.contains("is not a valid id"), "{}", odd.err);
}
