//! The outbox: found, looked at, sent again, discarded.

use std::time::Duration;

use serde_json::{Value, json};
use tilld::base::clock::Clock;
use tilld::http::request::Method;
use tilld::jobs::operator::MAX_REASON_CHARS;
use tilld::notify::mail::{MailSettings, SmtpSecurity, SmtpServer};
use tilld::store::outbox::rows;

use super::Visitor;
use crate::harness::{START_S, Setup, Till, notify};
use crate::samples::{event, raw};

const HOOK: &str = "https://app.example/hooks/tilld";
const OTHER: &str = "https://other.example/hooks";

/// Alice pays and then does not: a mail, and events for two endpoints.
fn told() -> Till {
    let wishes = notify(&[(HOOK, &["entitlement.changed"]), (OTHER, &["entitlement.changed"])]);
    let mut till = Till::with(Setup { notify: wishes, ..Setup::default() });
    till.feed(&[
        event("customer.created", "alice", START_S, &[("email", json!("alice@example.com"))]),
        event("customer.subscription.created", "alice", START_S + 1, &[]),
        event("invoice.payment_failed", "alice", START_S + 2, &[]),
    ]);
    till.clock.advance(600_000);
    till
}

fn id_of(till: &Till, condition: &str) -> i64 {
    till.value(&format!("SELECT id FROM outbox WHERE {condition} ORDER BY id LIMIT 1")).as_i64().unwrap()
}

fn run(till: &Till, sql: &str) {
    till.connection().execute_batch(sql).unwrap();
}

fn fail_all(till: &Till) {
    let now_ms = till.clock.now_ms();
    run(
        till,
        &format!(
            "UPDATE outbox SET status = 'failed', attempts = 8, last_error = 'answered 500', finished_at_ms = {now_ms} - 3600000 * 30
             WHERE target = '{OTHER}';
             UPDATE outbox SET status = 'failed', attempts = 8, last_error = 'answered 502', finished_at_ms = {now_ms} - 60000
             WHERE target = '{HOOK}'"
        ),
    );
}

fn audit(till: &Till, action: &str) -> Value {
    let sql = format!(
        "SELECT actor || ' ' || coalesce(subject, '') || ' ' || detail FROM audit_log WHERE action = '{action}'"
    );
    till.value(&sql)
}

#[test]
fn rows_are_found_by_status_kind_target_and_user_and_say_where_they_stand() {
    let till = told();
    let visitor = Visitor::of(&till);
    let all = visitor.page(&till, "outbox");
    all.shows(&["mail payment_failed", "event entitlement.changed", "alice@example.com", HOOK, "user?id=alice"]);
    fail_all(&till);
    let failed = visitor
        .page(&till, "outbox?status=failed&kind=webhook&user=alice&target=https%3A%2F%2Fapp.example%2Fhooks%2Ftilld");
    failed.shows(&["answered 502", "8 attempts", "status failed", "Send again"]);
    failed.hides(&["answered 500", "mail payment_failed"]);
    visitor.page(&till, "outbox?user=nobody").shows(&["No rows match"]);
    assert_eq!(visitor.get(&till, "outbox?status=odd").status, 400);
    assert_eq!(visitor.get(&till, "outbox?before=odd").status, 404);
    assert_eq!(visitor.get(&till, "outbox-row?id=4711").status, 404);
    let row = visitor.page(&till, &format!("outbox-row?id={}", id_of(&till, "kind = 'webhook'")));
    row.shows(&["was given up", "entitlement.changed", "outbox-retry?id=", "outbox-discard?id=", "user_id"]);
    row.shows(&["Because of", "event?id=evt"]);
}

#[test]
fn an_endpoint_that_is_disabled_says_why_and_when_it_is_tried_again() {
    let till = told();
    let visitor = Visitor::of(&till);
    let now_ms = till.clock.now_ms();
    run(
        &till,
        &format!(
            "INSERT INTO webhook_endpoints (url, fingerprint, first_failure_ms, disabled_at_ms, disabled_reason, probe_at_ms)
             VALUES ('{HOOK}', 'x', {now_ms} - 1000, {now_ms}, 'it answered 410: it is gone', {now_ms} + 7200000)"
        ),
    );
    visitor.page(&till, "outbox").shows(&[
        "disabled",
        "it answered 410: it is gone",
        "in 2 h",
        "Endpoints that take nothing",
    ]);
    let row = visitor.page(&till, &format!("outbox-row?id={}", id_of(&till, &format!("target = '{HOOK}'"))));
    row.shows(&["The endpoint is disabled", "it answered 410"]);
}

#[test]
fn one_row_is_sent_again_only_after_the_question_and_its_endpoint_is_enabled() {
    let till = told();
    let visitor = Visitor::of(&till);
    fail_all(&till);
    let id = id_of(&till, &format!("target = '{HOOK}'"));
    let status = || till.value(&format!("SELECT status || attempts FROM outbox WHERE id = {id}"));
    run(
        &till,
        &format!(
            "INSERT INTO webhook_endpoints (url, fingerprint, disabled_at_ms, disabled_reason) VALUES ('{HOOK}', 'x', 1, 'gone')"
        ),
    );
    let ask = visitor.page(&till, &format!("outbox-retry?id={id}"));
    ask.shows(&["Send 1 again", HOOK, "enabled"]);
    assert_eq!(visitor.forge(&till, "outbox-retry", &format!("id={id}")).status, 403);
    assert_eq!(status(), "failed8", "neither the question nor a forged form does anything");

    visitor.yes(&till, "outbox-retry", &ask).shows(&["is sent again now", "waits and is due"]);
    assert_eq!(status(), "pending0");
    assert_eq!(till.value("SELECT count(*) FROM webhook_endpoints WHERE disabled_at_ms IS NOT NULL"), 0);
    assert!(audit(&till, "outbox.retry").as_str().unwrap().starts_with(&format!("dashboard {id} ")));
    run(&till, &format!("UPDATE outbox SET status = 'claimed' WHERE id = {id}"));
    assert_eq!(visitor.act(&till, "outbox-retry", &format!("id={id}")).status, 409);
    assert_eq!(visitor.get(&till, &format!("outbox-retry?id={id}")).status, 409);
}

#[test]
fn a_row_that_was_delivered_after_the_question_is_not_sent_twice_by_its_answer() {
    let till = told();
    let visitor = Visitor::of(&till);
    let id = id_of(&till, &format!("target = '{HOOK}'"));
    let ask = visitor.page(&till, &format!("outbox-retry?id={id}"));
    ask.hides(&["gets it twice"]);
    let now_ms = till.clock.now_ms();
    run(&till, &format!("UPDATE outbox SET status = 'done', attempts = 1, finished_at_ms = {now_ms} WHERE id = {id}"));
    let refused = visitor.yes(&till, "outbox-retry", &ask);
    assert_eq!(refused.status, 409);
    refused.shows(&["has changed since you were asked"]);
    assert_eq!(till.value(&format!("SELECT status FROM outbox WHERE id = {id}")), "done");
    assert_eq!(till.value("SELECT count(*) FROM audit_log WHERE action = 'outbox.retry'"), 0);
    let ask = visitor.page(&till, &format!("outbox-retry?id={id}"));
    ask.shows(&["gets it twice"]);
    visitor.yes(&till, "outbox-retry", &ask).shows(&["is sent again now"]);
}

#[test]
fn all_that_was_given_up_for_a_target_or_since_a_time_is_sent_again_and_counted_before() {
    let till = told();
    let visitor = Visitor::of(&till);
    assert_eq!(visitor.get(&till, "outbox-retry-all").status, 409, "there is nothing to send again");
    fail_all(&till);
    let failed = || till.value("SELECT count(*) FROM outbox WHERE status = 'failed'").as_i64().unwrap();
    let (all, recent) =
        (failed(), till.value(&format!("SELECT count(*) FROM outbox WHERE target = '{HOOK}'")).as_i64().unwrap());
    assert!(recent > 0 && all > recent);
    visitor.page(&till, "outbox-retry-all").shows(&[&format!("Send {all} again")]);
    visitor.page(&till, "outbox-retry-all?hours=24").shows(&[&format!("Send {recent} again"), "in the last 1 d"]);
    visitor.confirm(&till, "outbox-retry-all?hours=24").shows(&["sent again now"]);
    assert_eq!(failed(), all - recent);
    assert!(audit(&till, "outbox.retry_all").as_str().unwrap().starts_with("dashboard all "));
    assert_eq!(visitor.get(&till, "outbox-retry-all?hours=-1").status, 400);
    assert_eq!(visitor.act(&till, "outbox-retry-all", "target=").status, 400, "nothing was asked");
    visitor.confirm(&till, "outbox-retry-all?target=https%3A%2F%2Fother.example%2Fhooks");
    assert_eq!(failed(), 0);
}

#[test]
fn what_is_given_up_after_the_question_is_not_sent_again_by_its_answer() {
    let till = told();
    let visitor = Visitor::of(&till);
    fail_all(&till);
    let recent = id_of(&till, &format!("target = '{HOOK}'"));
    let now_ms = till.clock.now_ms();
    run(&till, &format!("UPDATE outbox SET status = 'pending', finished_at_ms = NULL WHERE id <> {recent}"));
    let ask = visitor.page(&till, "outbox-retry-all");
    ask.shows(&["Send 1 again"]);
    // The rest is given up meanwhile; an hour passes before the yes.
    let late = format!("UPDATE outbox SET status = 'failed', finished_at_ms = {now_ms} + 60000 WHERE id <> {recent}");
    run(&till, &late);
    let all = till.value("SELECT count(*) FROM outbox WHERE status = 'failed'").as_i64().unwrap();
    visitor.yes(&till, "outbox-retry-all", &ask).shows(&["1 mail or event is sent again now."]);
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status = 'failed'"), all - 1);
    assert_eq!(till.value(&format!("SELECT status FROM outbox WHERE id = {recent}")), "pending");
    let again = visitor.yes(&till, "outbox-retry-all", &ask);
    assert_eq!(again.status, 409, "{}", again.text);
    assert_eq!(till.value("SELECT count(*) FROM audit_log WHERE action = 'outbox.retry_all'"), 1);
}

#[test]
fn a_row_is_discarded_with_a_reason_that_is_kept_and_not_twice() {
    let till = told();
    let visitor = Visitor::of(&till);
    let id = id_of(&till, "kind = 'mail'");
    visitor.page(&till, &format!("outbox-discard?id={id}")).shows(&["Discard 1 row", "Reason"]);
    visitor.act(&till, "outbox-discard", &format!("id={id}&reason=sent+by+hand")).shows(&["was discarded"]);
    assert_eq!(till.value(&format!("SELECT status FROM outbox WHERE id = {id}")), "discarded");
    let row = audit(&till, "outbox.discard");
    assert!(row.as_str().unwrap().contains("sent by hand") && row.as_str().unwrap().starts_with("dashboard"), "{row}");
    assert_eq!(visitor.act(&till, "outbox-discard", &format!("id={id}")).status, 409);
}

fn mail_settings() -> MailSettings {
    MailSettings {
        from: "Shop <billing@shop.example>".to_owned(),
        reply_to: None,
        product: Some("Example".to_owned()),
        templates: None,
        server: SmtpServer {
            host: "127.0.0.1".to_owned(),
            port: 1,
            security: SmtpSecurity::None,
            login: Some(("user".to_owned(), "hush".to_owned())),
            ca_file: None,
            timeout: Duration::from_secs(1),
        },
    }
}

#[test]
fn a_mail_is_looked_at_at_an_address_of_its_own_in_which_nothing_runs_and_nothing_is_loaded() {
    let mut till = told();
    let id = id_of(&till, "kind = 'mail'");
    run(
        &till,
        &format!(
            "UPDATE outbox SET payload = json_set(payload, '$.user.name', '<script>alert(1)</script>', '$.facts.invoice_number', '<img src=x>') WHERE id = {id}"
        ),
    );
    let visitor = Visitor::of(&till);
    visitor.page(&till, &format!("outbox-row?id={id}")).shows(&["It cannot be shown", "notify.smtp.host"]);
    assert_eq!(visitor.get(&till, &format!("outbox-mail?id={id}")).status, 409);

    till.api.dashboard.settings.mail = Some(mail_settings());
    let row = visitor.page(&till, &format!("outbox-row?id={id}"));
    row.shows(&["<iframe class=\"mail\" sandbox src=\"outbox-mail?id=", "Subject:"]);
    row.hides(&["<script>alert", "<img", "hush"]);
    assert!(row.header("Content-Security-Policy").contains("script-src 'self'"));
    let mail = visitor.page(&till, &format!("outbox-mail?id={id}"));
    mail.hides(&["<script", "<img src=x"]);
    let policy = mail.header("Content-Security-Policy");
    assert!(policy.starts_with("sandbox; default-src 'none'") && policy.contains("form-action 'none'"), "{policy}");
    assert!(!policy.contains("allow-") && !policy.contains("script-src"), "{policy}");
    assert_eq!(visitor.get(&till, &format!("outbox-mail?id={}", id_of(&till, "kind = 'webhook'"))).status, 404);
}

#[test]
fn rows_in_hand_and_rows_that_wait_are_found_whatever_lies_between() {
    let till = told();
    let visitor = Visitor::of(&till);
    let (first, second) = (id_of(&till, &format!("target = '{HOOK}'")), id_of(&till, &format!("target = '{OTHER}'")));
    run(
        &till,
        &format!(
            "UPDATE outbox SET status = 'done', finished_at_ms = 1;
             UPDATE outbox SET status = 'claimed', finished_at_ms = NULL WHERE id = {first};
             UPDATE outbox SET status = 'pending', finished_at_ms = NULL WHERE id = {second}"
        ),
    );
    let row = |id: i64| format!("\"outbox-row?id={id}\"");
    for (query, shown, hidden) in [
        ("status=claimed".to_owned(), first, second),
        ("status=claimed&kind=webhook&target=https%3A%2F%2Fapp.example%2Fhooks%2Ftilld".to_owned(), first, second),
        ("status=pending".to_owned(), second, first),
        (format!("status=pending&kind=webhook&before={}", second + 1), second, first),
        ("status=pending&target=https%3A%2F%2Fother.example%2Fhooks".to_owned(), second, first),
    ] {
        let page = visitor.page(&till, &format!("outbox?{query}"));
        page.shows(&[&row(shown)]);
        page.hides(&[&row(hidden)]);
    }
    for query in ["status=claimed&kind=mail".to_owned(), format!("status=pending&before={second}")] {
        visitor.page(&till, &format!("outbox?{query}")).shows(&["No rows match"]);
    }
}

#[test]
fn what_is_open_is_found_by_an_index_that_has_nothing_else() {
    let till = told();
    let connection = till.connection();
    for (sql, index) in rows::OPEN.into_iter().zip(["INDEX outbox_claimed", "COVERING INDEX outbox_waiting"]) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![&rusqlite::types::Null as &dyn rusqlite::ToSql; statement.parameter_count()];
        let plan: Vec<String> =
            statement.query_map(&nulls[..], |row| row.get::<_, String>(3)).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        assert!(plan.iter().all(|step| step != "SCAN outbox"), "{plan:?}");
    }
}

#[test]
fn a_reason_is_kept_up_to_a_length_and_the_api_refuses_a_longer_one() {
    let till = told();
    let visitor = Visitor::of(&till);
    let [id, other] = [HOOK, OTHER].map(|target| id_of(&till, &format!("target = '{target}'")));
    let reason = "é".repeat(MAX_REASON_CHARS + 1);
    visitor.act(&till, "outbox-discard", &format!("id={id}&reason={reason}")).shows(&["was discarded"]);
    let kept = "SELECT length(detail ->> 'reason') FROM audit_log WHERE action = 'outbox.discard'";
    assert_eq!(till.value(kept), MAX_REASON_CHARS);
    let path = format!("/api/v1/admin/outbox/{other}");
    let refused = till.call(Method::Delete, &path, &json!({"reason": reason}));
    assert_eq!(refused.0, 400, "{}", refused.1);
    let (status, _) = till.call(Method::Delete, &path, &json!({"reason": "x".repeat(MAX_REASON_CHARS)}));
    assert_eq!(status, 200);
}

#[test]
fn no_page_and_no_answer_shows_the_query_of_an_endpoint_or_what_opens_something() {
    const SECRET: &str = "https://app.example/hooks?key=hush";
    let mut till = Till::with(Setup { notify: notify(&[(SECRET, &["entitlement.changed"])]), ..Setup::default() });
    till.feed(&[
        event("customer.created", "alice", START_S, &[("email", json!("alice@example.com"))]),
        event("customer.subscription.created", "alice", START_S + 1, &[]),
        event("invoice.payment_failed", "alice", START_S + 2, &[]),
    ]);
    let now_ms = till.clock.now_ms();
    run(
        &till,
        &format!(
            "UPDATE outbox SET status = 'failed', finished_at_ms = {now_ms}, payload = json_set(payload, '$.client_secret', 'hush')
                 WHERE target = '{SECRET}';
             INSERT OR REPLACE INTO webhook_endpoints (url, fingerprint, disabled_at_ms, disabled_reason)
                 VALUES ('{SECRET}', 'x', 1, 'gone')"
        ),
    );
    let visitor = Visitor::of(&till);
    let id = id_of(&till, &format!("target = '{SECRET}'"));
    let list = visitor.page(&till, "outbox");
    list.shows(&["https://app.example/hooks?…"]);
    // The name that is shown finds its rows.
    let link = list.text.split("href=\"outbox?target=").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let found = visitor.page(&till, &format!("outbox?target={link}"));
    found.shows(&[&format!("outbox-row?id={id}\"")]);
    let many = visitor.page(&till, &format!("outbox-retry-all?target={link}"));
    many.shows(&["for https://app.example/hooks?…"]);
    for seen in [
        &list,
        &found,
        &many,
        &visitor.page(&till, "outbox?target=https%3A%2F%2Fapp.example%2Fhooks%3Fkey%3Dhush"),
        &visitor.page(&till, &format!("outbox-row?id={id}")),
        &visitor.page(&till, &format!("outbox-retry?id={id}")),
        &visitor.page(&till, &format!("outbox-discard?id={id}")),
    ] {
        seen.hides(&["hush"]);
    }
    let (status, listed) = till.get("/api/v1/admin/outbox");
    assert!(status == 200 && !listed.to_string().contains("hush"), "{listed}");
    let (status, of_target) = till.get(&format!("/api/v1/admin/outbox?target={link}"));
    assert!(status == 200 && of_target.to_string().contains("https://app.example/hooks?…"), "{of_target}");
    visitor.yes(&till, "outbox-retry-all", &many).shows(&["sent again now"]);
    assert_eq!(till.value("SELECT count(*) FROM outbox WHERE status = 'failed'"), 0);
    assert!(!audit(&till, "outbox.retry_all").as_str().unwrap().contains("hush"));
}

#[test]
fn an_event_shows_nothing_that_opens_a_payment_or_a_page() {
    let mut till = Till::new();
    let object = json!({
        "object": "checkout.session", "id": "cs_1", "client_secret": "hush", "url": "https://checkout.stripe.com/hush",
        "customer": "cus_shown",
    });
    till.feed(&[raw("evt_secret", "checkout.session.created", START_S, object)]);
    let visitor = Visitor::of(&till);
    for name in ["event?id=evt_secret", "event-body?id=evt_secret"] {
        let page = visitor.page(&till, name);
        page.shows(&["cus_shown", "(not shown)"]);
        page.hides(&["hush"]);
    }
}
