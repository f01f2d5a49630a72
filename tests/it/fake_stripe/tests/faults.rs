//! Faults on demand: what the client sees, and whether it was done.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{AUTH, FakeStripe, Fault, connect, get, post, post_keyed};

#[test]
fn a_reset_leaves_no_answer_whether_it_was_done_or_not() {
    let fake = FakeStripe::start();
    for (fault, done) in [(Fault::ResetBefore, 0), (Fault::ActThenReset, 1)] {
        fake.fail(fault.clone(), "/v1/customers", 1);
        let mut stream = connect(&fake);
        let form = "application/x-www-form-urlencoded";
        let head = format!("{}: {}\r\nContent-Type: {form}\r\nContent-Length: 6\r\n", AUTH.0, AUTH.1);
        stream.write_all(format!("POST /v1/customers HTTP/1.1\r\n{head}\r\nname=a").as_bytes()).unwrap();
        let ended = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset, "{fault:?}");
        assert_eq!(fake.effects("customer"), done);
        assert_eq!(fake.requests().last().unwrap().fault, Some(fault));
    }
}

#[test]
fn a_hanging_request_gets_nothing() {
    let fake = FakeStripe::start();
    for (fault, done) in [(Fault::Hang, 0), (Fault::ActThenHang, 1)] {
        fake.fail(fault, "/v1/customers", 1);
        let mut stream = connect(&fake);
        let form = "application/x-www-form-urlencoded";
        let head = format!("{}: {}\r\nContent-Type: {form}\r\nContent-Length: 6\r\n", AUTH.0, AUTH.1);
        stream.write_all(format!("POST /v1/customers HTTP/1.1\r\n{head}\r\nname=a").as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ended = stream.read(&mut [0; 1]).unwrap_err();
        assert_eq!(ended.kind(), std::io::ErrorKind::WouldBlock);
        // It is recorded and done at once, or not.
        while fake.requests().len() <= done {
            std::thread::yield_now();
        }
        assert_eq!(fake.effects("customer"), done);
    }
}

#[test]
fn errors_on_demand_have_stripes_headers_and_do_nothing() {
    let fake = FakeStripe::start();
    let see = |fault, header: &str| {
        fake.fail(fault, "/v1/customers", 1);
        let got = post(&fake, "/v1/customers", "name=a");
        (got.status, got.error().1.to_owned(), got.header(header).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let limited = see(Fault::RateLimited, "stripe-rate-limited-reason");
    assert_eq!(limited, (429, "rate_limit".to_owned(), some("global-rate")));
    assert_eq!(see(Fault::LockTimeout, "stripe-rate-limited-reason"), (429, "lock_timeout".to_owned(), None));
    assert_eq!(see(Fault::Status(500, Some(true)), "stripe-should-retry").2, some("true"));
    assert_eq!(see(Fault::Status(503, Some(false)), "stripe-should-retry").2, some("false"));
    assert_eq!(see(Fault::Html502, "content-type"), (502, String::new(), some("text/html")));
    assert_eq!(see(Fault::Redirect("http://x/".to_owned()), "location"), (302, String::new(), some("http://x/")));
    assert_eq!(see(Fault::Only500, "stripe-should-retry"), (500, String::new(), None));
    assert_eq!(fake.effects("customer"), 0);
}

#[test]
fn a_broken_or_slow_answer_is_one_to_something_done() {
    let fake = FakeStripe::start();
    fake.fail(Fault::Truncated, "/v1/customers", 1);
    let half = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    let length: usize = half.header("content-length").unwrap().parse().unwrap();
    assert_eq!((half.status, half.text.len()), (200, length / 2));
    let whole = post_keyed(&fake, "/v1/customers", "name=a", "k").unwrap();
    assert!(whole.text.starts_with(&half.text) && whole.text.len() == length);

    fake.fail(Fault::SlowBody(Duration::from_millis(10)), "/v1/customers", 1);
    let started = Instant::now();
    assert_eq!(post(&fake, "/v1/customers", "name=b").body["name"], "b");
    assert!(started.elapsed() >= Duration::from_millis(80));
    assert_eq!(fake.effects("customer"), 2);
}

#[test]
fn a_fault_meets_its_path_and_method_so_often_as_planned() {
    let fake = FakeStripe::start();
    fake.fail(Fault::Only500, "GET /v1/customers/*", 2);
    fake.fail(Fault::Html502, "/v1/events/**", 1);
    let customer = post(&fake, "/v1/customers", "").id();
    let path = format!("/v1/customers/{customer}");
    assert_eq!(post(&fake, &path, "name=a").status, 200);
    assert_eq!(get(&fake, "/v1/customers").status, 200);
    assert_eq!([(); 3].map(|()| get(&fake, &path).status), [500, 500, 200]);
    assert_eq!([(); 2].map(|()| get(&fake, "/v1/events/evt_1").status), [502, 404]);
}
