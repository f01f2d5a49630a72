//! Mails, as a real SMTP server gets them: read back by a parser that is not ours.

pub mod server;
mod tls;

use std::time::{Duration, Instant};

use mail_parser::{Message, MessageParser, MimeHeaders};
use serde_json::{Value, json};
use tilld::base::verdict::FailureVerdict;
use tilld::notify::mail::{MailError, MailSent, MailSettings, Mailer, SmtpSecurity, SmtpServer};
use tilld::notify::notice::MailKind;

use server::{MailServer, Manners, Taken};

/// 24 November 2026, noon.
const NOW: i64 = 1_795_521_600;
const DAY: i64 = 86_400;
const SEED: &str = "mail:payment_failed:in_1:1";

fn settings(port: u16) -> MailSettings {
    MailSettings {
        from: "Exämple Shop <billing@shop.example>".to_owned(),
        reply_to: Some("Help <help@shop.example>".to_owned()),
        product: Some("Example".to_owned()),
        templates: None,
        server: SmtpServer {
            host: "127.0.0.1".to_owned(),
            port,
            security: SmtpSecurity::None,
            login: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
        },
    }
}

fn mailer(port: u16) -> Mailer {
    Mailer::new(settings(port)).unwrap()
}

fn payload(kind: &str, (amount, currency): (i64, &str)) -> Value {
    json!({
        "notice": kind, "to": "jane@example.com", "user": {"id": "user_1", "name": "Jane Doe"},
        "facts": {
            "invoice_id": "in_1", "amount": amount, "currency": currency, "failure_code": "card_declined", "attempt": 1,
            "next_attempt_at": NOW + 3 * DAY, "failed_at": NOW, "settled_at": NOW + DAY,
            "grace_period_end": NOW + 7 * DAY, "invoice_number": "INV-0042",
            "hosted_invoice_url": "https://invoice.stripe.example/i/acct_1/in_1?s=ap&x=1",
            "invoice_pdf": "https://invoice.stripe.example/i/acct_1/in_1/pdf", "tier": "pro", "tier_now": "free",
            "period_start": NOW, "period_end": NOW + 30 * DAY, "trial_end": NOW + 3 * DAY, "interval": "month",
            "interval_count": 1, "dispute_id": "dp_1", "charge_id": "ch_1", "payment_intent_id": "pi_1",
            "reason": "fraudulent", "evidence_due_by": NOW + 9 * DAY, "event_id": "evt_1Pgc7B2eZvKYlo2C",
            "event_type": "invoice.paid", "attempts": 8, "error": "invoice in_1 has no customer", "received_at": NOW,
            "url": "https://app.example.com/hooks/tilld", "disabled_at": NOW,
        },
    })
}

fn failed() -> Value {
    payload("payment_failed", (1200, "usd"))
}

/// Sends to a server with these manners: what came of it, and the server.
fn sent(manners: Manners, payload: &Value) -> (Result<MailSent, MailError>, MailServer) {
    let server = MailServer::start(manners);
    let outcome = mailer(server.port).send(payload, SEED);
    (outcome, server)
}

fn taken(payload: &Value) -> Taken {
    let (outcome, server) = sent(Manners::default(), payload);
    outcome.unwrap();
    let mut mails = server.mails();
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

fn read(taken: &Taken) -> Message<'_> {
    MessageParser::default().parse(&taken.mail).unwrap()
}

fn header_names(taken: &Taken) -> Vec<String> {
    let text = String::from_utf8(taken.mail.clone()).expect("a mail is ASCII on the line");
    let head = text.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[test]
fn a_mail_arrives_with_both_parts_and_the_headers_of_an_automatic_one() {
    let mail = taken(&failed());
    assert!(mail.mail.is_ascii());
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("<billing@shop.example>", &["<jane@example.com>".to_owned()][..])
    );
    let message = read(&mail);
    assert_eq!(message.subject(), Some("Your payment of $12.00 to Example did not go through"));
    let from = message.from().unwrap().first().unwrap();
    assert_eq!((from.name(), from.address()), (Some("Exämple Shop"), Some("billing@shop.example")));
    let to = message.to().unwrap().first().unwrap();
    assert_eq!((to.name(), to.address()), (Some("Jane Doe"), Some("jane@example.com")));
    assert_eq!(message.reply_to().unwrap().first().unwrap().address(), Some("help@shop.example"));
    assert_eq!(message.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    assert!(message.date().is_some());
    assert!(!header_names(&mail).iter().any(|name| name.eq_ignore_ascii_case("List-Unsubscribe")));
    assert!(message.content_type().unwrap().subtype() == Some("alternative"), "{:?}", message.content_type());
    let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
    for (part, link) in [
        (&text, "https://invoice.stripe.example/i/acct_1/in_1?s=ap&x=1"),
        (&html, "href=\"https://invoice.stripe.example/i/acct_1/in_1?s=ap&#38;x=1\""),
    ] {
        for words in
            ["Hello Jane Doe,", "$12.00", "Pro plan", "your bank declined it", "27 November 2026", "1 December 2026"]
        {
            assert!(part.contains(words), "{words} is not in {part}");
        }
        assert!(part.contains(link), "{link} is not in {part}");
    }
    assert!(!text.contains('<'), "{text}");
}

#[test]
fn a_repeat_has_the_same_message_id_and_another_row_another() {
    let server = MailServer::start(Manners::default());
    let mailer = mailer(server.port);
    let ids: Vec<String> = [SEED, SEED, "mail:payment_retry:in_1:2"]
        .iter()
        .map(|seed| mailer.send(&failed(), seed).unwrap().message_id)
        .collect();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0], ids[2]);
    for (mail, id) in server.mails().iter().zip(&ids) {
        assert_eq!(format!("<{}>", read(mail).message_id().unwrap()), *id);
    }
}

#[test]
fn yen_have_no_decimals_and_dinars_three_in_both_parts() {
    for (amount, currency, words) in
        [(1_500, "jpy", "¥1,500"), (5_120, "kwd", "KWD\u{a0}5.120"), (199_900, "eur", "€1,999.00")]
    {
        let mail = taken(&payload("payment_failed", (amount, currency)));
        let message = read(&mail);
        assert!(message.subject().unwrap().contains(words), "{:?}", message.subject());
        for part in [message.body_text(0).unwrap(), message.body_html(0).unwrap()] {
            assert!(part.contains(words), "{words} is not in {part}");
        }
    }
}

#[test]
fn names_beyond_ascii_arrive_as_they_are() {
    for name in ["山田 太郎", "Zoë Müller-Lüdenscheidt", "Владимир", "O'Neill, \"Jim\" & Söhne", "محمد"]
    {
        let mut payload = failed();
        payload["user"]["name"] = json!(name);
        let mail = taken(&payload);
        assert!(mail.mail.is_ascii());
        let message = read(&mail);
        assert_eq!(message.to().unwrap().first().unwrap().name(), Some(name));
        assert!(message.body_text(0).unwrap().contains(&format!("Hello {name},")));
    }
}

#[test]
fn nothing_in_a_name_or_a_fact_becomes_a_header_a_recipient_or_markup() {
    let evil = "X\r\nBcc: evil@example.org\r\n\r\n<script>alert(1)</script>\r\n.\r\nMAIL FROM:<a@b.c>";
    let mut payload = failed();
    payload["user"]["name"] = json!("Jane\r\nBcc evil\r\n.\r\nRCPT");
    for fact in ["invoice_number", "tier", "failure_code", "event_type", "error"] {
        payload["facts"][fact] = json!(evil);
    }
    let plain = header_names(&taken(&failed()));
    for kind in ["payment_failed", "webhook_dead_letter", "subscription_downgraded", "invoice_finalized"] {
        payload["notice"] = json!(kind);
        let (outcome, server) = sent(Manners::default(), &payload);
        outcome.unwrap();
        let mails = server.mails();
        assert_eq!(mails.len(), 1, "{kind}");
        assert_eq!(mails[0].to, ["<jane@example.com>"], "{kind}");
        assert_eq!(header_names(&mails[0]), plain, "{kind}");
        let message = read(&mails[0]);
        assert!(message.bcc().is_none() && message.attachment_count() == 0, "{kind}");
        assert!(!message.body_html(0).unwrap().contains("<script"), "{kind}");
    }
}

#[test]
fn names_that_mail_programs_would_turn_into_links_greet_nobody() {
    let mut payload = failed();
    payload["user"]["name"] = json!("You won! See evil.example/win");
    let mail = taken(&payload);
    let message = read(&mail);
    assert!(message.body_text(0).unwrap().starts_with("Hello,"));
    assert!(!String::from_utf8_lossy(&mail.mail).contains("evil.example"));
}

#[test]
fn every_kind_of_notice_is_sent_with_both_parts() {
    for kind in MailKind::ALL.iter().map(|kind| kind.as_str()) {
        let mail = taken(&payload(kind, (1200, "usd")));
        let message = read(&mail);
        let (text, html) = (message.body_text(0).unwrap(), message.body_html(0).unwrap());
        assert!(text.contains("Example") && html.contains("</html>"), "{kind}");
        for part in [&text, &html] {
            assert!(!part.contains("{{") && !part.contains("{%"), "{kind}: {part}");
        }
    }
}

#[test]
fn a_server_that_is_down_is_tried_later() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = mailer(gone).send(&failed(), SEED).unwrap_err();
    assert_eq!(error.verdict(), FailureVerdict::Retry);
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

/// What a server answers at which step, and what is to become of the mail.
#[test]
fn a_refused_recipient_and_a_refused_mail_are_for_good_and_all_else_is_tried_later() {
    use FailureVerdict::{GiveUp, Retry};
    let answers = [
        ("EHLO", "421 too busy", Retry),
        ("MAIL", "451 try again", Retry),
        ("MAIL", "550 5.7.1 <billing@shop.example> is not yours", Retry),
        ("MAIL", "530 5.7.0 log in first", Retry),
        ("RCPT", "421 closing", Retry),
        ("RCPT", "450 4.2.0 <jane@example.com>: greylisted", Retry),
        ("RCPT", "530 5.7.0 log in first", Retry),
        ("RCPT", "550 5.1.1 <jane@example.com>: no such user jane here", GiveUp),
        ("RCPT", "553 5.1.3 bad", GiveUp),
        ("DATA", "451 not now", Retry),
        ("DATA", "554 no valid recipients", GiveUp),
        ("the mail", "452 disk full", Retry),
        ("the mail", "554 5.7.1 looks like spam", GiveUp),
        ("MAIL", "nonsense", Retry),
    ];
    for (step, answer, verdict) in answers {
        let (outcome, server) = sent(Manners { answer: Some((step, answer)), ..Manners::default() }, &failed());
        let error = outcome.expect_err(answer);
        let text = error.to_string();
        assert_eq!(error.verdict(), verdict, "{step}: {answer}: {text}");
        assert!(!text.contains('@') && !text.contains("jane"), "{text}");
        if answer.as_bytes()[0].is_ascii_digit() {
            assert!(text.contains(&answer[..3]), "{text}");
        }
        assert!(server.mails().is_empty(), "{step}: {answer}");
    }
}

#[test]
fn a_server_that_falls_silent_is_tried_later_within_the_timeout() {
    for step in ["", "EHLO", "RCPT", "DATA", "the mail"] {
        let server = MailServer::start(Manners { hangs_after: Some(step), ..Manners::default() });
        let mut settings = settings(server.port);
        settings.server.timeout = Duration::from_millis(300);
        let begun = Instant::now();
        let error = Mailer::new(settings).unwrap().send(&failed(), SEED).unwrap_err();
        assert_eq!(error.verdict(), FailureVerdict::Retry, "{step}");
        assert!(error.to_string().contains("did not answer in time"), "{step}: {error}");
        assert_eq!(error.to_string().contains("may have taken"), step == "the mail", "{step}: {error}");
        // Twice the timeout, a second of goodbye, and a slow machine.
        assert!(begun.elapsed() < Duration::from_secs(8), "{step}: {:?}", begun.elapsed());
    }
}

/// What a mail to a server comes to that says `first` over and over, pausing in between; and how long it took.
fn endlessly(first: &'static [u8], pause: Duration) -> (String, Duration) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    #[allow(clippy::disallowed_methods)] // a test's own helper
    let talking = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while std::io::Write::write_all(&mut stream, first).is_ok() {
            std::thread::sleep(pause);
        }
    });
    let mut settings = settings(port);
    settings.server.timeout = Duration::from_secs(1);
    let begun = Instant::now();
    let error = Mailer::new(settings).unwrap().send(&failed(), SEED).unwrap_err();
    assert_eq!(error.verdict(), FailureVerdict::Retry);
    let took = begun.elapsed();
    talking.join().unwrap();
    (error.to_string(), took)
}

#[test]
fn a_server_that_says_a_byte_at_a_time_holds_nobody_beyond_the_mails_time() {
    let (error, took) = endlessly(b"2", Duration::from_millis(100));
    assert!(error.contains("did not answer in time") && took < Duration::from_secs(4), "{error} {took:?}");
    let (error, took) = endlessly(b"220-and more\r\n", Duration::from_millis(100));
    assert!(error.contains("did not answer in time") && took < Duration::from_secs(4), "{error} {took:?}");
}

#[test]
fn a_line_or_an_answer_without_end_is_broken_off_and_not_kept() {
    let (error, _) = endlessly(&[b'x'; 65_536], Duration::ZERO);
    assert!(error.contains("a line of its answer has more than 2048 bytes"), "{error}");
    let (error, _) = endlessly(b"220-and more\r\n", Duration::ZERO);
    assert!(error.contains("its answer has more than 100 lines"), "{error}");
}

#[test]
fn what_a_server_says_before_tls_begins_is_not_taken_over() {
    let manners = Manners {
        offers: &["STARTTLS"],
        answer: Some(("STARTTLS", "220 go on\r\n250 and this is from somebody on the way")),
        ..Manners::default()
    };
    let server = MailServer::start(manners);
    let mut settings = settings(server.port);
    settings.server.security = SmtpSecurity::StartTls;
    settings.server.timeout = Duration::from_secs(2);
    let error = Mailer::new(settings).unwrap().send(&failed(), SEED).unwrap_err();
    assert!(error.to_string().contains("no secure connection"), "{error}");
}

#[test]
fn a_server_that_says_nothing_to_a_goodbye_has_taken_the_mail_all_the_same() {
    let (outcome, server) = sent(Manners { hangs_after: Some("QUIT"), ..Manners::default() }, &failed());
    assert_eq!(outcome.unwrap().answer, "ok");
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let server = MailServer::start(Manners { offers: &["AUTH PLAIN LOGIN"], ..Manners::default() });
    let mut settings = settings(server.port);
    settings.server.security = SmtpSecurity::StartTls;
    settings.server.login = Some(("billing".to_owned(), "s3cret".to_owned()));
    let error = Mailer::new(settings).unwrap().send(&failed(), SEED).unwrap_err();
    assert_eq!(error.verdict(), FailureVerdict::Retry);
    assert!(error.to_string().contains("STARTTLS"), "{error}");
    let commands = server.commands();
    assert!(!commands.iter().any(|command| command.starts_with("AUTH") || command.starts_with("MAIL")), "{commands:?}");
}

#[test]
fn a_server_that_cannot_do_tls_is_tried_later() {
    for (security, offers) in [(SmtpSecurity::Tls, &[][..]), (SmtpSecurity::StartTls, &["STARTTLS"][..])] {
        let server = MailServer::start(Manners { offers, ..Manners::default() });
        let mut settings = settings(server.port);
        settings.server.security = security;
        settings.server.timeout = Duration::from_secs(2);
        let error = Mailer::new(settings).unwrap().send(&failed(), SEED).unwrap_err();
        assert_eq!(error.verdict(), FailureVerdict::Retry, "{security:?}: {error}");
        assert!(server.mails().is_empty());
    }
}

#[test]
fn a_login_is_given_where_there_is_one_and_a_refused_one_is_tried_later() {
    let login = |server: &MailServer| {
        let mut settings = settings(server.port);
        settings.server.login = Some(("billing".to_owned(), "s3cret".to_owned()));
        Mailer::new(settings).unwrap().send(&failed(), SEED)
    };
    let offers = &["AUTH PLAIN LOGIN"];
    let server = MailServer::start(Manners { offers, ..Manners::default() });
    login(&server).unwrap();
    // base64 of "\0billing\0s3cret".
    assert!(server.commands().contains(&"AUTH PLAIN AGJpbGxpbmcAczNjcmV0".to_owned()), "{:?}", server.commands());
    let refusing = Manners { offers, answer: Some(("AUTH", "535 5.7.8 wrong")), ..Manners::default() };
    let server = MailServer::start(refusing);
    let error = login(&server).unwrap_err();
    assert_eq!(error.verdict(), FailureVerdict::Retry);
    assert!(error.to_string().contains("refuses the login: 535"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn no_address_is_skipped_a_wrong_one_given_up_and_no_server_is_asked() {
    let (nobody, wrong) = (json!(null), ["jane", "jane@", "a@b.c, d@e.f", "jane@example.com\r\nDATA"]);
    let server = MailServer::start(Manners::default());
    let mailer = mailer(server.port);
    let mut payload = failed();
    for to in [nobody, json!("  ")] {
        payload["to"] = to;
        assert_eq!(mailer.send(&payload, SEED).unwrap_err(), MailError::NoAddress);
    }
    for to in wrong {
        payload["to"] = json!(to);
        let error = mailer.send(&payload, SEED).unwrap_err();
        assert_eq!(error.verdict(), FailureVerdict::GiveUp, "{to}");
        assert!(!error.to_string().contains("jane"), "{error}");
    }
    for (notice, to) in [("payment_lost", "jane@example.com"), ("", "jane@example.com")] {
        let payload = json!({"notice": notice, "to": to, "facts": {}});
        assert_eq!(mailer.send(&payload, SEED).unwrap_err().verdict(), FailureVerdict::GiveUp, "{notice}");
    }
    assert!(server.commands().is_empty());
}

#[test]
fn a_connection_in_the_clear_leads_to_this_machine_only() {
    for (host, allowed) in [
        ("127.0.0.1", true),
        ("localhost", true),
        ("[::1]", true),
        ("10.0.0.1", false),
        ("localhost.example.com", false),
    ] {
        let mut settings = settings(25);
        settings.server.host = host.to_owned();
        let made = Mailer::new(settings);
        assert_eq!(made.is_ok(), allowed, "{host}");
        if let Err(error) = made {
            assert!(error.to_string().contains("notify.smtp.security"), "{error}");
        }
    }
}

#[test]
fn a_file_of_an_authority_that_is_none_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("ca.pem");
    let error = |text: &str| {
        std::fs::write(&pem, text).unwrap();
        let mut settings = settings(465);
        settings.server.security = SmtpSecurity::Tls;
        settings.server.ca_file = Some(pem.clone());
        Mailer::new(settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error("nothing").contains("ca.pem has no certificate in it"));
    assert!(
        error("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").contains("ca.pem is not a certificate")
    );
}

#[test]
fn templates_of_the_operators_own_stand_in_for_ours() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("payment_failed.subject.txt", "{{ user_name }}: {{ amount }}\n");
    put("payment_failed.html", "<p>{{ user_name }} {{ amount }} <a href=\"{{ url }}\">{{ date }}</a></p>");
    let server = MailServer::start(Manners::default());
    let with_own = || Mailer::new(MailSettings { templates: Some(folder.path().to_owned()), ..settings(server.port) });
    let mut payload = failed();
    payload["user"]["name"] = json!("Jane\r\nBcc & Co");
    with_own().unwrap().send(&payload, SEED).unwrap();
    let mails = server.mails();
    let message = read(&mails[0]);
    assert_eq!(message.subject(), Some("Jane Bcc & Co: $12.00"));
    let expected = "<p>Jane Bcc &amp; Co $12.00 <a href=\"https://invoice.stripe.example/i/acct_1/in_1?s=ap&amp;x=1\">\
                    24 November 2026</a></p>";
    assert_eq!(message.body_html(0).unwrap().trim(), expected);
    assert!(message.body_text(0).unwrap().contains("Your payment did not go through"), "the text is still ours");
    put("payment_failed.txt", "Dear {{ name }}");
    let error = with_own().err().expect("a wrong template").to_string();
    assert!(error.contains("payment_failed.txt:1: there is no placeholder \"name\""), "{error}");
}

/// The mails as files, for the pictures: `MAILS=folder cargo test --test it mail::write -- --ignored`.
#[test]
#[ignore = "writes files"]
fn write_the_mails_as_files() {
    let folder = std::path::PathBuf::from(std::env::var("MAILS").expect("MAILS names a folder"));
    let mailer = mailer(25);
    for kind in MailKind::ALL.iter().map(|kind| kind.as_str()) {
        for (amount, currency) in [(1200, "usd"), (1500, "jpy"), (5120, "kwd")] {
            let mail = mailer.render(&payload(kind, (amount, currency))).unwrap();
            assert!(mail.html.contains("</html>"));
            std::fs::write(folder.join(format!("{kind}.{currency}.html")), mail.html).unwrap();
            std::fs::write(folder.join(format!("{kind}.{currency}.txt")), format!("{}\n\n{}", mail.subject, mail.text))
                .unwrap();
        }
    }
}
