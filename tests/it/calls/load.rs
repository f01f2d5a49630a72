//! Many at once: the bucket holds, nobody is refused, and what needs no Stripe does not wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_stripe::FakeStripe;
use crate::live::{Live, ask};

const USERS: usize = 200;
const PER_S: usize = 100;

fn path(user: usize, rest: &str) -> String {
    format!("/api/v1/users/user-{user}{rest}")
}

#[test]
fn two_hundred_users_at_once_keep_to_the_bucket_and_hinder_no_entitlement() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), FakeStripe::start());
    let live = Live::start_beside_with(dir.path(), &fake, &[("STRIPE_CALLS_PER_S", "100")]);
    for user in 0..USERS {
        assert_eq!(live.ask("PUT", &path(user, ""), &[], &json!({})).0, 201);
    }
    let before = fake.requests().len();
    let (address, began, done) = (&live.private, Instant::now(), AtomicBool::new(false));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let asking: Vec<_> = (0..USERS)
            .map(|user| scope.spawn(move || ask(address, "POST", &path(user, "/customer"), &[], &Value::Null)))
            .collect();
        #[allow(clippy::disallowed_methods)] // joined by the scope
        let watching = scope.spawn(|| {
            let mut answers = 0;
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                let asked = Instant::now();
                assert_eq!(ask(address, "GET", &path(0, "/entitlement"), &[], &Value::Null).0, 200);
                slowest = slowest.max(asked.elapsed());
                answers += 1;
                // Counted after the time was taken, so that what came meanwhile is allowed for.
                let sent = fake.requests().len() - before;
                let allowed = PER_S as f64 * (1.0 + began.elapsed().as_secs_f64()) + 1.0;
                assert!(sent as f64 <= allowed, "{sent} calls, {allowed} allowed");
            }
            (answers, slowest)
        });
        for one in asking {
            let (status, answer) = one.join().unwrap();
            assert_eq!(status, 200, "{answer}");
        }
        done.store(true, Ordering::SeqCst);
        let (answers, longest) = watching.join().unwrap();
        assert!(answers > 10, "only {answers} answers beside");
        slowest = longest;
    });
    assert_eq!(fake.effects("customer"), USERS);
    assert!(slowest < Duration::from_secs(1), "an entitlement took {slowest:?} meanwhile");
}
