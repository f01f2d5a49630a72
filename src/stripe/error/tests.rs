use super::*;

fn read(status: u16, body: &str) -> StripeApiError {
    StripeApiError::read(status, AnswerHeaders::default(), body.as_bytes(), "sk_test_hush")
}

fn told(status: u16, should_retry: bool) -> StripeError {
    let facts = AnswerHeaders { should_retry: Some(should_retry), ..AnswerHeaders::default() };
    StripeError::Api(Box::new(StripeApiError::read(status, facts, b"{}", "")))
}

fn plain(status: u16) -> StripeError {
    StripeError::Api(Box::new(read(status, "{}")))
}

fn transport(reached: bool) -> StripeError {
    StripeError::Transport { limit: None, reached, reason: "connection reset".to_owned() }
}

#[test]
fn every_part_of_stripes_error_is_read() {
    let body = r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"insufficient_funds",
        "param":"payment_method","message":"Your card has insufficient funds.","payment_intent":{"id":"pi_1"}}}"#;
    let error = read(402, body);
    assert_eq!(error.kind.as_deref(), Some("card_error"));
    assert_eq!(error.code.as_deref(), Some("card_declined"));
    assert_eq!(error.decline_code.as_deref(), Some("insufficient_funds"));
    assert_eq!(error.param.as_deref(), Some("payment_method"));
    assert_eq!(error.message.as_deref(), Some("Your card has insufficient funds."));
    assert_eq!(error.payment_intent.as_deref(), Some("pi_1"));
    assert_eq!((error.verdict(), error.may_have_been_done()), (FailureVerdict::GiveUp, false));
}

#[test]
fn an_error_of_oauth_is_read_too() {
    let error = read(400, r#"{"error":"invalid_grant","error_description":"No such code"}"#);
    assert_eq!((error.kind.as_deref(), error.code.as_deref()), (None, Some("invalid_grant")));
    assert_eq!(error.message.as_deref(), Some("No such code"));
    assert_eq!(error.verdict(), FailureVerdict::GiveUp);
}

#[test]
fn a_body_that_is_none_of_stripes_leaves_only_the_status() {
    let deep = format!("{{\"error\":{}", "[".repeat(100_000));
    for body in
        ["", "<html>Bad Gateway</html>", "[]", "null", "{\"error\":7}", "{\"error\":{\"type\":{}}}", "\u{0}", &deep]
    {
        let error = read(502, body);
        assert_eq!((error.kind.clone(), error.code.clone(), error.message.clone()), (None, None, None), "{body:.40}");
        assert_eq!(error.verdict(), FailureVerdict::Retry);
        assert_eq!(error.to_string(), "Stripe answered with status 502");
        assert!(read(404, body).to_string().ends_with("check stripe.api_base"), "{body:.40}");
    }
    assert_eq!(StripeApiError::read(500, AnswerHeaders::default(), b"\xff\xfe", "").verdict(), FailureVerdict::Retry);
}

#[test]
fn the_status_decides_unless_stripe_says_whether_to_retry() {
    use FailureVerdict::{GiveUp, Retry, Wait};
    // (status, without the header, with true, with false)
    let table = [
        (400, GiveUp, Retry, GiveUp),
        (401, GiveUp, Retry, GiveUp),
        (402, GiveUp, Retry, GiveUp),
        (403, GiveUp, Retry, GiveUp),
        (404, GiveUp, Retry, GiveUp),
        (409, Retry, Retry, GiveUp),
        (424, Retry, Retry, Wait),
        (429, Retry, Retry, GiveUp),
        (500, Retry, Retry, Wait),
        (503, Retry, Retry, Wait),
        (599, Retry, Retry, Wait),
    ];
    for (status, without, yes, no) in table {
        assert_eq!(plain(status).verdict(), without, "{status}");
        assert_eq!(told(status, true).verdict(), yes, "{status} true");
        assert_eq!(told(status, false).verdict(), no, "{status} false");
    }
}

#[test]
fn what_may_have_been_done_is_never_final() {
    for status in 300..600 {
        for error in [plain(status), told(status, true), told(status, false)] {
            assert!(!(error.may_have_been_done() && error.verdict() == FailureVerdict::GiveUp), "{error}");
        }
    }
    let in_use = read(409, r#"{"error":{"type":"idempotency_error","code":"idempotency_key_in_use"}}"#);
    assert!(in_use.may_have_been_done());
}

#[test]
fn what_is_no_answer_of_stripe_is_asked_again_and_a_strange_answer_is_in_doubt() {
    assert_eq!((transport(false).verdict(), transport(false).may_have_been_done()), (FailureVerdict::Retry, false));
    assert_eq!((transport(true).verdict(), transport(true).may_have_been_done()), (FailureVerdict::Retry, true));
    let unreadable = StripeError::Unreadable { status: Some(302), reason: "a redirect", request_id: None };
    assert_eq!((unreadable.verdict(), unreadable.may_have_been_done()), (FailureVerdict::Wait, true));
    let in_doubt = StripeError::InDoubt { attempts: 3, last: Box::new(plain(429)) };
    assert_eq!((in_doubt.verdict(), in_doubt.may_have_been_done()), (FailureVerdict::Wait, true));
    assert_eq!(in_doubt.api().map(|error| error.status), Some(429));
    assert_eq!(StripeError::Unsendable("x").verdict(), FailureVerdict::GiveUp);
}

#[test]
fn only_an_answer_from_behind_the_comparison_of_keys_tells_about_earlier_attempts() {
    for status in [400, 402, 404] {
        assert!(plain(status).settles_earlier_attempts(), "{status}");
    }
    for status in [401, 403, 409, 424, 429, 500] {
        assert!(!plain(status).settles_earlier_attempts(), "{status}");
        assert!(!told(status, false).settles_earlier_attempts(), "{status}");
    }
    assert!(!transport(true).settles_earlier_attempts());
}

#[test]
fn a_rate_limit_is_told_from_a_locked_object() {
    let lock = read(429, r#"{"error":{"code":"lock_timeout"}}"#);
    assert!(!lock.is_rate_limit());
    assert!(read(429, r#"{"error":{"code":"rate_limit"}}"#).is_rate_limit());
    assert!(read(429, "").is_rate_limit());
    let facts = AnswerHeaders { rate_limited: Some("global-rate".to_owned()), ..AnswerHeaders::default() };
    assert!(StripeApiError { facts, ..lock }.is_rate_limit());
    assert!(!read(503, "").is_rate_limit());
}

#[test]
fn no_error_shows_the_key_the_message_or_anything_that_could_forge_a_log_line() {
    let body = r#"{"error":{"type":"bad\ntype","code":"c_sk_test_hush","param":"x y","decline_code":"",
        "message":"Invalid key sk\u005ftest_hush of ada@example.com\nERROR forged"}}"#;
    let error = read(401, body);
    let message = error.message.clone().unwrap();
    assert_eq!(message, "Invalid key [redacted] of ada@example.comERROR forged");
    assert_eq!(error.code.as_deref(), Some("c_[redacted]"));
    let error = StripeError::InDoubt { attempts: 2, last: Box::new(StripeError::Api(Box::new(error))) };
    for shown in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        for bad in ["hush", "ada@", "forged", "bad\n", "x y"] {
            assert!(!shown.contains(bad), "{shown}");
        }
        assert!(shown.contains("check stripe.api_key"), "{shown}");
    }
}

#[test]
fn a_message_has_an_end() {
    let body = format!("{{\"error\":{{\"message\":\"{}\",\"code\":\"{}\"}}}}", "ä".repeat(9000), "c".repeat(9000));
    let error = read(400, &body);
    assert_eq!(error.message.unwrap().chars().count(), MAX_MESSAGE_CHARS);
    assert_eq!(error.code, None);
}
