//! 26: nothing secret or personal in the log of the real binary, at the most talkative levels.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::{Value, json};
use tilld::app::cli::post;

use crate::harness::{ADMIN, PATH, SECRET, START_S, TOKEN};
use crate::live::{get_from, post_to, tilld};
use crate::samples::{event, everything, raw};

const API_KEY: &str = "sk_test_51TilldLessons";

/// `tilld serve` with its standard error in a file.
struct Logged {
    child: Child,
    log: PathBuf,
    public: String,
    private: String,
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Path, level: &str) -> Logged {
    let log = dir.join("log");
    let child = tilld(dir)
        .arg("serve")
        .env("TILLD_PUBLIC_LISTEN", "127.0.0.1:0")
        .env("TILLD_PRIVATE_LISTEN", "127.0.0.1:0")
        .env("STRIPE_WEBHOOK_SECRET", SECRET)
        .env("STRIPE_API_KEY", API_KEY)
        .env("TILLD_API_TOKEN", TOKEN)
        .env("TILLD_ADMIN_TOKEN", ADMIN)
        .env("TILLD_PLANS", "team:price_team")
        .env("TILLD_LOG", level)
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut logged = Logged { child, log, public: String::new(), private: String::new() };
    for _ in 0..200 {
        let text = std::fs::read_to_string(&logged.log).unwrap();
        if let Some((_, rest)) = text.split_once("listening public=").filter(|(_, rest)| rest.contains('\n')) {
            let (public, rest) = rest.lines().next().unwrap().split_once(" private=").unwrap();
            (logged.public, logged.private) = (public.to_owned(), rest.split(' ').next().unwrap().to_owned());
            return logged;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    unreachable!("tilld did not listen within 5 s");
}

/// Everything that an outsider, Stripe, the application and an operator do, right and wrong.
fn mixed_run(daemon: &Logged) {
    let hook = format!("http://{}{PATH}", daemon.public);
    let body = event("customer.created", "alice", START_S, &[]).to_string();
    let signed_by_another = tilld::stripe::signature::sign("whsec_other", START_S, body.as_bytes());
    let old = tilld::stripe::signature::sign(SECRET, START_S - 86_400 * 365, body.as_bytes());
    for header in ["", "t=1,v1=zz", &signed_by_another, &old] {
        assert_eq!(post::post(&hook, &[("Stripe-Signature", header)], body.as_bytes()).unwrap().status, 400);
    }
    for broken in [
        r#"{"object":"event","livemode":"alice@example.com"}"#,
        r#"{"id":"evt_1","object":"event","type":"a.b","created":1,"data":{"object":"alice@example.com"}}"#,
        "alice@example.com",
    ] {
        assert_eq!(post_to(&daemon.public, broken.as_bytes()).unwrap().status, 400);
    }
    let mut other_mode = event("customer.updated", "alice", START_S, &[]);
    other_mode["livemode"] = json!(true);
    let dead = json!({"object": "subscription", "id": "sub_x", "customer": "cus_x", "status": ["alice@example.com"]});
    let mut events = everything("alice", START_S);
    let unplanned = event("customer.subscription.created", "bob", START_S, &[]);
    events.extend([
        events[0].clone(),
        other_mode,
        unplanned,
        raw("evt_dead", "customer.subscription.updated", START_S, dead),
    ]);
    for one in &events {
        assert_eq!(post_to(&daemon.public, one.to_string().as_bytes()).unwrap().status, 200);
    }
    let get = |path: &str, token: &str| get_from(&daemon.private, path, token);
    while get("/health/webhooks", "").1["webhooks"]["pending"] != 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(get("/api/v1/users?email=alice%40example.com", TOKEN).0, 200);
    assert_eq!(get("/api/v1/users/alice/entitlement", TOKEN).0, 200);
    assert_eq!(get("/api/v1/admin/webhooks/dlq/evt_dead", ADMIN).0, 200);
    assert_eq!(get("/api/v1/admin/events", "tilld_wrong_token").0, 401);
    assert_eq!(get("/api/v1/users?limit=alice%40example.com", TOKEN).0, 400);
}

fn has(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "the log lacks {word}:\n{log}");
    }
}

#[test]
fn lesson_26_the_log_holds_no_secret_no_address_no_payload_and_no_payment_link() {
    let payload: Vec<Value> = everything("alice", START_S);
    let token = tilld::app::trigger::ids("alice").token;
    assert!(
        payload.iter().any(|one| one.to_string().contains(&format!("_secret_{token}"))),
        "there is something to leak"
    );
    let dir = tempfile::tempdir().unwrap();
    let daemon = serve(dir.path(), "trace");
    mixed_run(&daemon);
    let log = std::fs::read_to_string(&daemon.log).unwrap();
    let codes =
        ["code=signature_missing", "code=signature_malformed", "code=signature_mismatch", "code=signature_stale"];
    has(&log, &codes);
    has(&log, &["event received event_id=", "a paid subscription gives nothing", "of live mode", "event given up"]);
    for secret in [
        SECRET,
        "whsec_",
        API_KEY,
        "sk_test",
        TOKEN,
        ADMIN,
        "tilld_wrong_token",
        "Bearer",
        "v1=",
        "example.com",
        "alice@",
        "Fredrick",
        "97712",
        "_secret_",
        &token,
        "invoice.stripe.com",
        "pay.stripe.com",
        "hooks.stripe.com",
        "receipt",
        "\"object\"",
        "metadata",
        "insufficient",
    ] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret:?} is in the log");
    }
}
