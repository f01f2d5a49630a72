#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::super::letter;
use super::*;
use crate::notify::notice::NoticeMail;

const KIND: MailKind = MailKind::PaymentFailed;

/// What an `.html` of one's own makes of these values.
fn filled(text: &str, values: &[(&'static str, &str)]) -> String {
    let values: LetterValues = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let mut own = MailOverrides::default();
    own.add((KIND, TemplatePart::Html), text.to_owned()).unwrap();
    own.fill(KIND, TemplatePart::Html, &values).unwrap()
}

fn mistake(text: &str) -> String {
    MailOverrides::default().add((KIND, TemplatePart::Text), text.to_owned()).unwrap_err()
}

#[test]
fn placeholders_are_filled_escaped_and_those_without_a_fact_are_blank() {
    let known = [("user_name", "<b>&\"'"), ("amount", "$12.00")];
    assert_eq!(filled("{{user_name}} {{ amount }}{{ url }}!\n", &known), "&lt;b&gt;&amp;&quot;&#39; $12.00!\n");
}

#[test]
fn nothing_in_a_template_turns_escaping_off() {
    let known = [("user_name", "<b>")];
    assert_eq!(filled("{% autoescape false %}{{ user_name }}{% endautoescape %}", &known), "&lt;b&gt;");
    assert_eq!(filled("{% set name = user_name %}{{ name }}", &known), "&lt;b&gt;");
    let error = mistake("\n{{ user_name|safe }}");
    assert!(error.starts_with(":2: unknown filter"), "{error}");
}

#[test]
fn a_value_is_never_read_as_a_template() {
    assert_eq!(filled("{{ user_name }}", &[("user_name", "{{ amount }}"), ("amount", "1")]), "{{ amount }}");
}

#[test]
fn what_stands_in_an_if_is_there_when_the_fact_is() {
    let text = "a{% if url %}[{{ url }}]{% else %}none{% endif %}z";
    assert_eq!(filled(text, &[("url", "u")]), "a[u]z");
    assert_eq!(filled(text, &[]), "anonez");
    assert_eq!(filled("{% if tier %}x{% endif %}{% if url %}y{% endif %}", &[("url", "u")]), "y");
    assert_eq!(filled("{% if tier == \"pro\" %}x{% if url %}y{% endif %}{% endif %}", &[("tier", "pro")]), "x");
}

#[test]
fn mistakes_are_told_with_their_line() {
    let wrong = [
        ("ok\n{{ amuont }}", ":2: there is no placeholder \"amuont\"; there are amount,"),
        ("amuont\n\n{{ url }}{% if amuont %}{% endif %}", ":3: there is no placeholder \"amuont\""),
        ("{% if url %}{% if tier %}\n{{ cvc }}{% endif %}{% endif %}", ":2: there is no placeholder \"cvc\""),
        ("{{ amount", ":1: syntax error"),
        ("{% if amount %}", ":1: syntax error"),
        ("\n{% endif %}", ":2: syntax error"),
        ("{% else %}", ":1: syntax error"),
        ("{% if url %}{% else %}{% else %}{% endif %}", ":1: syntax error"),
        ("{% if nothing %}{% endif %}", ":1: there is no placeholder \"nothing\""),
        ("{{ if amount }}x{{ end }}", ":1: syntax error"),
        ("{% include \"/etc/passwd\" %}", ":1: syntax error"),
        ("{{ }}", ":1: syntax error"),
        ("{% if tier and url %}\n{{ amount|upper }}{% endif %}", ":2: unknown filter"),
        ("{% if not tier %}{{ range(9) }}{% endif %}", ":1: there is no placeholder \"range\""),
        ("{{ amount.currency.code }}", ":1: undefined value"),
    ];
    for (text, expected) in wrong {
        let error = mistake(text);
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
}

#[test]
fn a_folder_is_read_whole_and_all_its_faults_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
    put("payment_failed.html", b"<p>{{ amount }}</p>");
    put("payment_failed.subject.txt", b"{{ product }}\n");
    put("README.md", b"{{ left alone }}");
    let read = MailOverrides::read(folder.path()).unwrap();
    let none = LetterValues::new();
    assert!(read.fill(MailKind::PaymentFailed, TemplatePart::Html, &none).is_some());
    assert!(read.fill(MailKind::PaymentFailed, TemplatePart::Subject, &none).is_some());
    assert!(read.fill(MailKind::PaymentFailed, TemplatePart::Text, &none).is_none());
    put("payment_faild.html", b"x");
    put("test.txt", b"{{ amount }}\n{{ cvc }}");
    put("test.subject.txt", b"one\ntwo");
    put("trial_will_end.txt", b" \n");
    put("trial_will_end.html", b"\xff");
    put("payment_retry.html", &vec![b'a'; 200_001]);
    let faults = MailOverrides::read(folder.path()).unwrap_err();
    let expected = [
        ("payment_faild.html is not a template: name it KIND.subject.txt"),
        ("payment_retry.html is longer than"),
        ("test.subject.txt:2: a subject is one line"),
        ("test.txt:2: there is no placeholder \"cvc\""),
        ("trial_will_end.html cannot be read"),
        ("trial_will_end.txt is empty"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.contains(expected), "{expected} is not in {fault}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let faults = MailOverrides::read(Path::new("/nonexistent/templates")).unwrap_err();
    assert!(faults[0].contains("/nonexistent/templates cannot be read"), "{faults:?}");
}

#[test]
fn every_placeholder_has_a_value_when_its_fact_is_known() {
    let facts = serde_json::json!({
        "amount": 1, "currency": "usd", "attempt": 1, "attempts": 1, "dispute_id": "dp_1", "due_date": 1,
        "url": "https://a.example", "error": "e", "event_id": "evt_1", "event_type": "a.b", "evidence_due_by": 1,
        "failed_at": 1, "grace_period_end": 1, "interval": "month", "invoice_id": "in_1", "invoice_number": "1",
        "invoice_pdf": "https://a.example/1", "hosted_invoice_url": "https://a.example/2", "next_attempt_at": 1,
        "failure_code": "expired_card", "settled_at": 1, "reason": "gone", "tier": "pro", "tier_now": "free",
        "trial_end": 1, "disabled_at": 1,
    });
    let mut found = BTreeSet::new();
    for kind in MailKind::ALL {
        let mail: NoticeMail = serde_json::from_value(serde_json::json!({
            "notice": kind.as_str(), "to": "a@b.example", "user": {"id": "u1", "name": "Jane"}, "facts": facts,
        }))
        .unwrap();
        let letter = mail.notice.letter("Example");
        found.extend(letter::values(&mail, &letter, "Example").into_keys());
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), PLACEHOLDERS);
}

#[test]
fn loops_within_loops_are_refused_at_start_and_hold_nobody_up() {
    let (begin, end) = ("{% for one in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] %}", "{% endfor %}");
    let error = mistake(&format!("{}.{}", begin.repeat(9), end.repeat(9)));
    assert!(error.contains("steps to fill in; look for loops within loops"), "{error}");
    assert_eq!(filled(&format!("{}.{}", begin.repeat(3), end.repeat(3)), &[]).len(), 1000);
}
