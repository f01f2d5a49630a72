//! Another process holds the file.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{all_done, body, eventually};
use crate::live::{Live, database};

/// The writer waits 5 s for the lock; the rest is room for a slow machine.
const BOUND: Duration = Duration::from_secs(8);
/// Twice the number of threads that take webhooks, so that some wait behind others.
const SENDERS: usize = 32;

#[test]
fn a_file_locked_by_another_process_is_answered_with_503_in_time_and_goes_on_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let other = Connection::open(database(dir.path())).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|number| {
                let live = &live;
                scope.spawn(move || {
                    let began = Instant::now();
                    (live.post(&body(number)).unwrap().status, began.elapsed())
                })
            })
            .collect();
        for sender in senders {
            let (status, took) = sender.join().unwrap();
            assert_eq!(status, 503);
            assert!(took < BOUND, "answered after {took:?}");
        }
    });
    // It stays locked: nobody waits that long again.
    let began = Instant::now();
    assert_eq!(live.post(&body(0)).unwrap().status, 503);
    assert!(began.elapsed() < Duration::from_secs(3), "answered after {:?}", began.elapsed());
    assert_eq!(live.get("/readyz").0, 503);
    assert_eq!(live.get("/health/webhooks").1["status"], "blocked");
    // What is only read is answered all the while.
    assert_eq!(live.get("/api/v1/users/user_1/entitlement").0, 404);

    other.execute_batch("COMMIT").unwrap();
    for number in 0..SENDERS {
        eventually("the webhook is taken", || live.post(&body(number)).unwrap().status == 200);
    }
    live.settle();
    assert_eq!(live.get("/readyz").0, 200);
    assert_eq!(live.get("/health/webhooks").1["status"], "ok");
    drop(other);
    assert_eq!(live.terminate(), Some(0));
    all_done(&database(dir.path()), SENDERS);
}
