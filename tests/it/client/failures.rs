//! Each way to fail, what it is called, and what the caller may conclude from it.

use super::*;

/// One attempt against a server that does this.
fn once(act: Act, call: &Call) -> StripeError {
    once_with(act, call, |settings| settings)
}

fn once_with(act: Act, call: &Call, change: impl Fn(StripeSettings) -> StripeSettings) -> StripeError {
    let server = Server::new(vec![act]);
    let error = single(&change(settings(&server)), call);
    shown(&error);
    error
}

fn is_lost(error: &StripeError, limit: Option<RateLimitKind>, reached: bool) {
    let matches = matches!(error, StripeError::Transport { limit: l, reached: r, .. } if (*l, *r) == (limit, reached));
    assert!(matches, "{error:?}");
    assert_eq!((error.verdict(), error.may_have_been_done()), (FailureVerdict::Retry, reached));
}

fn is_unreadable(error: &StripeError, status: Option<u16>, reason: &str) {
    assert!(matches!(error, StripeError::Unreadable { status: found, .. } if *found == status), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(error.verdict(), FailureVerdict::Wait);
}

#[test]
fn each_status_comes_back_with_all_that_stripe_said() {
    let body = r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"lost_card","param":"source",
        "message":"Declined for hush@example.com","payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_hush"}}}"#;
    let headers =
        [("Request-Id", "req_9"), ("Stripe-Rate-Limited-Reason", "endpoint-rate"), ("Idempotent-Replayed", "true")];
    for status in [400, 401, 402, 403, 404, 409, 424, 429, 500, 502] {
        let error = once(json(status, &headers, body), &POST);
        let api = error.api().unwrap();
        assert_eq!((api.status, api.kind.as_deref()), (status, Some("card_error")));
        assert_eq!((api.code.as_deref(), api.decline_code.as_deref()), (Some("card_declined"), Some("lost_card")));
        assert_eq!((api.param.as_deref(), api.payment_intent.as_deref()), (Some("source"), Some("pi_1")));
        assert_eq!(api.message.as_deref(), Some("Declined for hush@example.com"));
        assert_eq!(api.facts.request_id.as_deref(), Some("req_9"));
        assert_eq!((api.facts.rate_limited.as_deref(), api.facts.replayed), (Some("endpoint-rate"), true));
    }
}

#[test]
fn an_error_that_quotes_our_key_does_not_show_it() {
    let body = format!(r#"{{"error":{{"type":"x_{KEY}","code":"{KEY}","param":"{KEY}","message":"Invalid {KEY}"}}}}"#);
    let error = once(json(401, &[("Request-Id", KEY)], &body), &POST);
    let message = error.api().unwrap().message.clone();
    assert_eq!(message.as_deref(), Some("Invalid [redacted]"));
}

#[test]
fn refusals_are_final_and_tried_once() {
    for status in [400, 401, 402, 403, 404] {
        let server = Server::new(vec![json(status, &[], r#"{"error":{"type":"invalid_request_error"}}"#)]);
        let error = client(&server).call(&POST).unwrap_err();
        assert_eq!(
            (error.verdict(), error.may_have_been_done(), server.seen().len()),
            (FailureVerdict::GiveUp, false, 1)
        );
    }
}

#[test]
fn a_server_that_is_not_there_was_not_reached() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api_base = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let server = Server::new(vec![]);
    let client = Client::new(StripeSettings { api_base, ..settings(&server) }).unwrap();
    for call in [POST, GET, Call { verb: Verb::Delete, ..GET }] {
        let error = client.call(&call).unwrap_err();
        is_lost(&error, None, false);
        assert!(shown(&error).contains("refused"), "{error}");
    }
}

#[test]
fn a_connection_lost_after_the_request_may_have_carried_it_out() {
    for act in [Act::ResetUnread, Act::CloseAfterReading, Act::CarryOutThenReset] {
        is_lost(&once(act, &POST), None, true);
    }
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\"".to_vec();
    is_lost(&once(Act::SayAndClose(half), &POST), None, true);
    is_lost(&once(Act::SayAndClose(b"HTTP/1.1 200 OK\r\ncont".to_vec()), &POST), None, true);
    is_lost(
        &once(Act::SayAndClose(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{".to_vec()), &POST),
        None,
        true,
    );
}

#[test]
fn a_lost_call_that_is_refused_before_the_keys_are_compared_stays_in_doubt() {
    let server = Server::new(vec![Act::CarryOutThenReset, json(401, &[], "{}")]);
    let error = client(&server).call(&POST).unwrap_err();
    assert!(matches!(error, StripeError::InDoubt { attempts: 2, .. }), "{}", shown(&error));
    assert_eq!(error.api().map(|error| error.status), Some(401));
    let server = Server::new(vec![Act::CarryOutThenReset, json(402, &[("Idempotent-Replayed", "true")], "{}")]);
    assert_eq!(client(&server).call(&POST).unwrap_err().verdict(), FailureVerdict::GiveUp);
}

#[test]
fn silence_and_slowness_hit_the_limit_that_is_named() {
    let short = Duration::from_millis(150);
    let silent = once_with(Act::Silence, &POST, |settings| StripeSettings { read_timeout: short, ..settings });
    is_lost(&silent, Some(RateLimitKind::Read), true);
    let silent = once_with(Act::Silence, &POST, |settings| StripeSettings { total_timeout: short, ..settings });
    is_lost(&silent, Some(RateLimitKind::Total), true);
    let slow = |settings| StripeSettings { total_timeout: short, read_timeout: Duration::from_secs(9), ..settings };
    is_lost(&once_with(Act::Trickle, &POST, slow), Some(RateLimitKind::Total), true);
}

#[test]
fn an_answer_has_an_end() {
    let limit = |settings| StripeSettings { max_answer_bytes: 1000, ..settings };
    let longest = format!("\"{}\"", "a".repeat(998));
    let server = Server::new(vec![json(200, &[], &longest)]);
    Client::new(limit(settings(&server))).unwrap().call(&POST).unwrap();
    let error = once_with(json(200, &[], &format!("{longest} ")), &POST, limit);
    is_unreadable(&error, Some(200), "longer");
    is_unreadable(&once_with(Act::Flood, &POST, limit), Some(200), "longer");
    is_unreadable(&once(Act::Flood, &POST), Some(200), "longer");
    let head = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'a'; 100_000]].concat();
    is_unreadable(&once(Act::SayAndClose(head), &POST), None, "head");
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Server::new(vec![]);
    let location = format!("{}/hush", elsewhere.base());
    for status in [301, 302, 303, 307, 308, 304, 300] {
        for call in [POST, GET] {
            let error = once(json(status, &[("Location", &location), ("Request-Id", "req_1")], ""), &call);
            is_unreadable(&error, Some(status), "redirect");
            assert!(error.to_string().contains("stripe.api_base"), "{error}");
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn what_is_not_json_is_no_answer() {
    let gzip = [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3];
    for body in [b"".as_slice(), b"<html>", b"{\"a\":", b"\xff\xfe", &gzip] {
        let error = once(Act::Say(bytes(200, &[("Content-Encoding", "gzip")], body)), &POST);
        is_unreadable(&error, Some(200), "not JSON");
    }
    is_unreadable(&once(json(204, &[], ""), &POST), Some(204), "not JSON");
}

#[test]
fn what_is_not_http_is_no_answer() {
    for bytes in [b"hush hush hush\r\n\r\n".as_slice(), b"\x15\x03\x03\0\x02\x02\x46", b"HTTP/9.9 hush\r\n\r\n"] {
        let error = once(Act::SayAndClose(bytes.to_vec()), &POST);
        assert!(error.may_have_been_done(), "{error:?}");
    }
}

#[test]
fn https_says_nothing_before_the_other_side_is_known() {
    // One server answers the greeting with plain HTTP, the other waits for a request that never comes.
    let plain = Act::SayUnread(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec());
    for (script, limit) in [(vec![plain], None), (vec![], Some(RateLimitKind::Connect))] {
        let server = Server::new(script);
        let api_base = format!("https://{}", server.address());
        let connect_timeout = if limit.is_some() { Duration::from_millis(300) } else { Duration::from_secs(10) };
        let error = single(&StripeSettings { api_base, connect_timeout, ..settings(&server) }, &POST);
        shown(&error);
        // The form was never handed over, so it is certain that nothing was done.
        is_lost(&error, limit, false);
        assert_eq!((server.seen(), server.connections()), (vec![], 1));
    }
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_does_not_see_the_key() {
    let proxy = Server::new(vec![Act::SayAndClose(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_vec())]);
    let server = Server::new(vec![]);
    let settings = StripeSettings { proxy: Some(ProxyUrl(proxy.base())), ..settings(&server) };
    let https = StripeSettings { api_base: "https://api.stripe.com".to_owned(), ..settings.clone() };
    let error = single(&https, &POST);
    is_lost(&error, None, false);
    assert!(shown(&error).contains("proxy"), "{error}");
    let seen = proxy.seen();
    assert_eq!((seen.len(), seen[0].line()), (1, "CONNECT api.stripe.com:443 HTTP/1.1"));
    assert!(!format!("{seen:?}").contains("hush"), "{seen:?}");
    // Plain http goes to this machine and needs no proxy.
    Client::new(settings.clone()).unwrap().call(&POST).unwrap();
    assert_eq!((proxy.seen().len(), server.seen().len()), (1, 1));
    let local = StripeSettings { api_base: format!("https://{}", server.address()), ..settings };
    Client::new(local).unwrap().call(&POST).unwrap_err();
    assert_eq!(proxy.seen().len(), 1);
}
