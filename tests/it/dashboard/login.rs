//! Who gets in, how long, and what other sites and guessers can do: nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use tilld::base::secret::Secret;
use tilld::http::dashboard::{Dashboard, DashboardSettings, VALID_MINUTES};
use tilld::http::request::Method;

use super::{Browser, form, form_token, header, links, logged_in, text};
use crate::harness::{ADMIN, START_S, TOKEN, Till};
use crate::live::Live;
use crate::samples::event;

/// Every page that the bar of a page links to.
fn pages(browser: &Browser, till: &Till) -> Vec<String> {
    let page = browser.page(till, "events");
    let bar = page.split("<nav aria-label=\"Pages\">").nth(1).unwrap().split("</nav>").next().unwrap();
    links(bar).into_iter().filter(|link| link != "./").collect()
}

#[test]
fn without_a_session_no_page_shows_anything_and_the_login_leads_back_to_it() {
    let mut till = Till::new();
    till.feed(&[event("customer.created", "alice", START_S, &[])]);
    let browser = Browser::new();
    for name in ["events", "events?type=customer.created", "event?id=evt_1", "dead-letters", "event-body?id=evt_1"] {
        let response = browser.send(&till, Method::Get, name, &[], "");
        assert_eq!((response.status, text(&response)), (303, String::new()), "{name}");
        let login = header(&response, "Location").unwrap();
        let next = login.strip_prefix("login?next=").unwrap();
        let fields = [("token", ADMIN.to_owned()), ("next", percent_encoding_of(next))];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let back = browser.post(&till, "login", &fields);
        assert_eq!((back.status, header(&back, "Location")), (303, Some(name)));
    }
    for name in ["event-replay", "dead-letters-discard", "logout"] {
        let response = browser.post(&till, name, &[("id", "evt_1")]);
        assert_eq!((response.status, header(&response, "Location")), (303, Some("login")), "{name}");
    }
}

#[test]
fn an_address_longer_than_any_of_ours_leads_to_the_login_alone() {
    let till = Till::new();
    let location = |name: &str| {
        let response = Browser::new().send(&till, Method::Get, name, &[], "");
        assert_eq!(response.status, 303);
        header(&response, "Location").unwrap().to_owned()
    };
    for query in ["=".repeat(30_000), "x".repeat(2048)] {
        assert_eq!(location(&format!("events?{query}")), "login");
    }
    let longest = format!("events%3F{}", "x".repeat(2048 - 9));
    assert_eq!(location(&format!("events?{}", "x".repeat(2048 - 9))), format!("login?next={longest}"));
}

fn percent_encoding_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            decoded.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap()
}

#[test]
fn a_wrong_token_opens_nothing_and_the_right_one_does_after_any_number_of_wrong_ones() {
    let till = Till::new();
    let browser = Browser::new();
    for wrong in ["", " ", TOKEN, "tilld_admin_of_the_test", &format!("{ADMIN}x"), "é", "%00"] {
        let response = browser.post(&till, "login", &[("token", wrong)]);
        assert_eq!((response.status, header(&response, "Set-Cookie")), (401, None), "{wrong:?}");
        assert!(text(&response).contains("This is not the admin token"), "{wrong:?}");
        assert!(wrong.len() < 3 || !text(&response).contains(wrong), "{wrong:?} is shown");
    }
    for _ in 0..200 {
        assert_eq!(browser.post(&till, "login", &[("token", "guess")]).status, 401);
    }
    logged_in(&till).page(&till, "events");
}

#[test]
fn the_cookie_is_for_this_site_alone_not_for_scripts_and_behind_https_for_https_only() {
    let till = Till::new();
    let browser = Browser::new();
    let cookie = |headers: &[(&str, &str)]| {
        let response = browser.send(&till, Method::Post, "login", headers, &form(&[("token", ADMIN)]));
        header(&response, "Set-Cookie").unwrap().to_owned()
    };
    let plain = cookie(&[]);
    for part in ["; HttpOnly", "; SameSite=Lax", "; Max-Age=43200"] {
        assert!(plain.contains(part), "{plain}");
    }
    assert!(!plain.contains("Secure") && !plain.contains("Path") && !plain.contains("Domain"), "{plain}");
    assert!(cookie(&[("X-Forwarded-Proto", "https")]).ends_with("; Secure"));
    assert!(cookie(&[("X-Forwarded-Proto", "HTTPS, http")]).ends_with("; Secure"));
    assert!(!cookie(&[("X-Forwarded-Proto", "http, https")]).contains("Secure"));
}

#[test]
fn a_session_ends_with_its_time_with_logout_and_with_another_admin_token() {
    let mut till = Till::new();
    let first = logged_in(&till);
    let second = logged_in(&till);
    first.page(&till, "events");
    assert_eq!(first.act(&till, "logout", &[]).status, 303);
    assert_eq!(first.get(&till, "events").0, 303, "after the logout");
    second.page(&till, "events");
    let token = till.api.tokens.admin.replace(Secret::new("tilld_another_admin_token"));
    assert_eq!(second.get(&till, "events").0, 303, "with another token in the configuration");
    till.api.tokens.admin = None;
    assert_eq!(second.get(&till, "events").0, 303, "without a token");
    till.api.tokens.admin = token;
    second.page(&till, "events");
    till.clock.advance(12 * 3_600_000);
    assert_eq!(second.get(&till, "events").0, 303, "after its time");
    logged_in(&till);
    assert_eq!(till.value("SELECT count(*) FROM dashboard_sessions"), json!(1), "those that are over are removed");
}

#[test]
fn neither_the_token_of_a_session_nor_that_of_its_forms_is_in_the_database() {
    let till = Till::new();
    let browser = logged_in(&till);
    let cookie = browser.cookie.clone().unwrap();
    let token = cookie.split_once('=').unwrap().1.to_owned();
    let form_token = form_token(&browser.page(&till, "events"));
    let kept = till.value("SELECT group_concat(token_hash) FROM dashboard_sessions");
    let kept = kept.as_str().unwrap();
    assert!(kept.len() == 64 && kept != token && kept != form_token);
}

#[test]
fn a_form_without_its_token_or_from_another_site_does_nothing() {
    let mut till = Till::new();
    let created = event("customer.created", "alice", START_S, &[]);
    let id = created["id"].as_str().unwrap();
    till.feed(std::slice::from_ref(&created));
    let (browser, other) = (logged_in(&till), logged_in(&till));
    let right = form_token(&browser.page(&till, "events"));
    let others = form_token(&other.page(&till, "events"));
    for wrong in ["", "x", &others, &right[1..], &format!("{right}0")] {
        let response = browser.post(&till, "event-replay", &[("id", id), ("form_token", wrong)]);
        assert_eq!(response.status, 403, "{wrong:?}");
    }
    let body = form(&[("id", id), ("form_token", &right)]);
    for site in ["cross-site", "same-site"] {
        for name in ["event-replay", "logout", "dead-letters-discard", "login"] {
            let response = browser.send(&till, Method::Post, name, &[("Sec-Fetch-Site", site)], &body);
            assert_eq!(response.status, 403, "{name} {site}");
        }
    }
    // By a method that changes nothing, with everything else right.
    for method in [Method::Get, Method::Head] {
        assert!(browser.send(&till, method, &format!("event-replay?{body}"), &[], &body).status < 400);
    }
    assert_eq!(till.value("SELECT status FROM stripe_webhooks_log"), json!("processed"));
    assert_eq!(till.value("SELECT count(*) FROM audit_log WHERE actor <> 'stripe'"), json!(0));
    browser.page(&till, "events");
    // A link in somebody's mail opens a page.
    assert_eq!(browser.send(&till, Method::Get, "events", &[("Sec-Fetch-Site", "cross-site")], "").status, 200);
    assert_eq!(browser.post(&till, "event-replay", &[("id", id), ("form_token", &right)]).status, 303);
    assert_eq!(till.value("SELECT status FROM stripe_webhooks_log"), json!("pending"));
    let actor = till.value("SELECT actor FROM audit_log WHERE action = 'event.replay'");
    assert_eq!(actor, json!("dashboard"));
}

/// Whether an attribute would run a script, such as onclick.
fn has_handler(page: &str) -> bool {
    page.split(" on").skip(1).any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).starts_with('='))
}

#[test]
fn whatever_is_answered_tells_the_browser_to_run_frame_guess_and_keep_nothing() {
    let till = Till::new();
    let browser = logged_in(&till);
    for name in ["", "login", "events", "event?id=none", "nowhere", "style.css", "logout", "events?status=none"] {
        for browser in [&browser, &Browser::new()] {
            let response = browser.send(&till, Method::Get, name, &[], "");
            let policy = header(&response, "Content-Security-Policy").unwrap();
            for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"] {
                assert!(policy.contains(part), "{name}: {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains("data:") && !policy.contains('*'), "{policy}");
            assert_eq!(header(&response, "X-Content-Type-Options"), Some("nosniff"), "{name}");
            assert_eq!(header(&response, "Referrer-Policy"), Some("no-referrer"), "{name}");
            let kept = header(&response, "Cache-Control").unwrap();
            assert!(kept == "no-store" || name == "style.css" && kept == "no-cache", "{name}: {kept}");
            let page = text(&response);
            assert!(!page.contains(" style=") && !page.contains("<style") && !has_handler(&page), "{name}: {page}");
        }
    }
    assert_eq!(browser.send(&till, Method::Get, "nowhere", &[], "").status, 404);
    assert_eq!(browser.send(&till, Method::Put, "login", &[], "").status, 405);
    assert_eq!(browser.send(&till, Method::Post, "style.css", &[], "").status, 405);
}

#[test]
fn every_link_is_relative_so_that_any_prefix_stays() {
    let till = Till::new();
    let browser = logged_in(&till);
    let response =
        tilld::http::private::answer(&till.api, &crate::harness::request(Method::Get, "/dashboard", vec![], b""));
    assert_eq!((response.status, header(&response, "Location")), (303, Some("dashboard/")));
    for name in ["events", "dead-letters", "retries", "login"] {
        let page = browser.page(&till, name);
        let targets = page.split("href=\"").chain(page.split("action=\"")).chain(page.split("src=\"")).skip(1);
        for target in targets.filter(|rest| !rest.starts_with("<!doctype")) {
            let target = target.split('"').next().unwrap();
            assert!(!target.starts_with('/') && !target.contains("://") && !target.contains(".."), "{name}: {target}");
        }
    }
}

#[test]
fn a_login_leads_to_a_page_of_ours_or_to_the_overview() {
    let till = Till::new();
    let next = |next: &str| {
        let response = Browser::new().post(&till, "login", &[("token", ADMIN), ("next", next)]);
        header(&response, "Location").unwrap().to_owned()
    };
    assert_eq!(next("events?type=invoice.paid"), "events?type=invoice.paid");
    for foreign in
        ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "../x", "logout"]
    {
        assert_eq!(next(foreign), "./", "{foreign}");
    }
}

#[test]
fn a_link_of_dev_logs_in_once_by_its_button_and_looking_at_it_does_not_use_it_up() {
    let mut till = Till::new();
    let settings = || DashboardSettings { session_ms: 3_600_000, ..DashboardSettings::default() };
    till.api.dashboard = Dashboard::new(settings()).with_link("the-token", START_S * 1000);
    let mut browser = Browser::new();
    for _ in 0..3 {
        let page = browser.page(&till, "login?once=the-token");
        assert!(page.contains("name=\"once\" value=\"the-token\""), "{page}");
        assert_eq!(browser.send(&till, Method::Head, "login?once=the-token", &[], "").status, 200);
    }
    assert_eq!(browser.post(&till, "login", &[("once", "another")]).status, 401);
    let response = browser.post(&till, "login", &[("once", "the-token")]);
    assert_eq!(response.status, 303);
    browser.keep(&response);
    browser.page(&till, "events");
    let again = Browser::new().post(&till, "login", &[("once", "the-token")]);
    assert!(again.status == 401 && text(&again).contains("has been used"), "{}", text(&again));
    till.api.dashboard = Dashboard::new(settings()).with_link("late", START_S * 1000);
    till.clock.advance(VALID_MINUTES * 60_000);
    assert_eq!(Browser::new().post(&till, "login", &[("once", "late")]).status, 401);
    till.api.dashboard = Dashboard::new(settings());
    assert_eq!(Browser::new().post(&till, "login", &[("once", "")]).status, 401, "where there is no link");
}

#[test]
fn without_an_admin_token_the_login_says_how_to_get_one() {
    let mut till = Till::new();
    till.api.tokens.admin = None;
    let page = Browser::new().page(&till, "login");
    assert!(page.contains("api.admin_token") && page.contains("tilld init") && !page.contains("<form"), "{page}");
    assert_eq!(Browser::new().post(&till, "login", &[("token", "")]).status, 401);
}

#[test]
fn what_an_act_brought_about_is_told_once_and_not_to_who_looks_at_the_head_alone() {
    let mut till = Till::new();
    let created = event("customer.created", "alice", START_S, &[]);
    till.feed(std::slice::from_ref(&created));
    let browser = logged_in(&till);
    let id = created["id"].as_str().unwrap();
    assert_eq!(browser.act(&till, "event-replay", &[("id", id)]).status, 303);
    browser.send(&till, Method::Head, "events", &[], "");
    assert!(browser.page(&till, "events").contains("Replayed 1 event."));
    assert!(!browser.page(&till, "events").contains("Replayed"));
    assert!(!pages(&browser, &till).is_empty());
}

/// Status and seconds of a login, over a connection of its own.
fn log_in(address: &str, token: &str) -> (u16, f64) {
    let body = form(&[("token", token)]);
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /dashboard/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), began.elapsed().as_secs_f64())
}

#[test]
#[allow(clippy::disallowed_methods)] // not part of the program
fn wrong_tokens_wait_and_neither_the_right_one_nor_anybody_else_waits_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let live = Live::start(dir.path());
    let (status, first) = log_in(&live.private, "wrong-1");
    assert!(status == 401 && first >= 0.25, "{status} after {first} s");
    let (status, second) = log_in(&live.private, "wrong-2");
    assert!(status == 401 && second >= 0.5, "{status} after {second} s");
    let flood: Vec<_> = (0..40)
        .map(|number| {
            let address = live.private.clone();
            #[allow(clippy::disallowed_methods)] // a test's own helpers, joined below
            std::thread::spawn(move || log_in(&address, &format!("flood-{number}")))
        })
        .collect();
    live.logged(&["wrong admin token", "in_a_row=10"]);
    let began = Instant::now();
    let (status, right) = log_in(&live.private, ADMIN);
    assert_eq!(status, 303);
    assert_eq!(live.get("/healthz").0, 200);
    // Each wrong one of the flood is held back for seconds.
    assert!(right < 0.9 && began.elapsed() < Duration::from_secs(2), "{right} s, all {:?}", began.elapsed());
    let answers: Vec<(u16, f64)> = flood.into_iter().map(|one| one.join().unwrap()).collect();
    let held = answers.iter().filter(|(status, _)| *status == 401).count();
    let refused = answers.iter().filter(|(status, _)| *status == 429).count();
    assert!(held >= 8 && held + refused == 40 && refused > 0, "{answers:?}");
    let said = live.said();
    assert!(!said.contains("flood-") && !said.contains("wrong-1"), "a token is in the log");
    assert!(said.matches("wrong admin token").count() <= 10, "each is in the log");
}
