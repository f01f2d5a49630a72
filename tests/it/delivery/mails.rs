//! What becomes of a mail is noted with the notice that it tells.

use tilld::delivery::{Books, Lane, MAIL, Outcome};
use tilld::store::outbox::Effect;

use super::Stepper;
use crate::dunning::{failed, told_till};
use crate::harness::START_S;

#[test]
fn a_notice_knows_whether_its_mail_was_sent_refused_or_waits() {
    let mut till = told_till();
    for user in ["alice", "bob", "carol"] {
        till.feed(&[crate::samples::event("customer.created", user, START_S, &[]), failed(user, START_S, 1)]);
    }
    let attempt = Box::new(|effect: &Effect, _| match effect.user_id.as_deref() {
        Some("alice") => Outcome::Done(Some("250 ok".to_owned())),
        Some("bob") => Outcome::Refused("550 no such mailbox".to_owned()),
        _ => Outcome::TryAgain { why: "no connection".to_owned(), after_s: None },
    });
    let mut lane = Stepper::over(&till, Lane::new(till.store.clone(), MAIL, Books::Mail, attempt));
    assert_eq!(lane.settle(), 3);
    let of = |user: &str, column: &str| {
        till.value(&format!("SELECT {column} FROM dunning_attempts WHERE user_id = '{user}' AND outbox_id IS NOT NULL"))
    };
    assert_eq!((of("alice", "email_sent"), of("alice", "outcome")), (1.into(), "sent".into()));
    assert_eq!(of("alice", "email_sent_at_ms"), START_S * 1000);
    assert_eq!((of("bob", "email_sent"), of("bob", "outcome")), (0.into(), "failed: 550 no such mailbox".into()));
    assert_eq!((of("carol", "email_sent"), of("carol", "outcome")), (0.into(), serde_json::Value::Null));
    let standing = "SELECT group_concat(status, ' ') FROM (SELECT status FROM outbox WHERE kind = 'mail' ORDER BY id)";
    assert_eq!(till.value(standing), "done failed pending");
}
