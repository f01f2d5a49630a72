//! `[notify]`: what is refused, and what comes of it.

use super::*;

/// A sender and a server, which alone send nothing.
const MAIL: &str = "[notify]\nfrom = \"a@example.com\"\n[notify.smtp]\nhost = \"localhost\"\n";
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn endpoint(lines: &str) -> World {
    World::bare().file(&format!("[[notify.webhook]]\n{lines}"))
}

fn with_url(lines: &str) -> World {
    endpoint(&format!("url = \"https://app.example.com/hook\"\n{lines}"))
}

#[test]
fn without_the_section_nobody_is_told_of_anything() {
    let config = World::bare().tool();
    let notices = &config.notices;
    assert!(!notices.mail && !notices.invoice_finalized && notices.webhooks.is_empty());
    assert!(config.mail.is_none() && config.endpoints.is_empty());
    let named = World::bare().file(MAIL).tool();
    assert!(!named.notices.mail);
    let server = server(&named);
    assert_eq!((server.port, server.security, server.timeout.as_secs()), (587, SmtpSecurity::StartTls, 30));
}

#[test]
fn mail_needs_a_sender_and_a_server_and_says_so_at_once() {
    let faults = World::bare().file("[notify]\nmail = true\n").faults();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults[0].starts_with("notify.from: is missing, and notify.mail is true"), "{faults:#?}");
    assert!(faults[1].starts_with("notify.smtp.host: is missing, and notify.mail is true"), "{faults:#?}");
    let all = [
        ("TILLD_NOTIFY_MAIL", "true"),
        ("TILLD_NOTIFY_FROM", "Käse & Söhne <billing@example.com>"),
        ("TILLD_NOTIFY_OPERATOR", "ops@example.com"),
        ("TILLD_SMTP_HOST", "smtp.example.com"),
        ("TILLD_SMTP_SECURITY", "tls"),
        ("TILLD_SMTP_USERNAME", "billing"),
    ];
    let config = World::bare().env(&all).credential("smtp_password", "hush\n").tool();
    assert!(config.warnings.is_empty());
    assert!(config.notices.mail);
    let server = server(&config);
    assert_eq!((server.port, server.login.as_ref().unwrap().1.as_str()), (465, "hush"));
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn answers_to_mails_go_where_reply_to_says() {
    assert_eq!(World::bare().file(MAIL).tool().mail.unwrap().reply_to, None);
    let from_file =
        World::bare().file(&MAIL.replace("[notify.smtp]", "reply_to = \"Help <help@example.com>\"\n[notify.smtp]"));
    assert_eq!(from_file.tool().mail.unwrap().reply_to.as_deref(), Some("Help <help@example.com>"));
    let from_environment = World::bare().file(MAIL).env(&[("TILLD_NOTIFY_REPLY_TO", "help@example.com")]);
    assert_eq!(from_environment.tool().mail.unwrap().reply_to.as_deref(), Some("help@example.com"));
}

#[test]
fn what_is_wrong_about_mail_is_refused_in_words() {
    for (text, part) in [
        ("from = \"billing\"", "notify.from: \"billing\" is not a valid mail address"),
        ("from = \"a b@example.com\"", "notify.from: "),
        ("from = \"Shop <billing@>\"", "notify.from: "),
        ("operator = \"Ops <ops@example.com>\"", "notify.operator: "),
        ("reply_to = \"help\"", "notify.reply_to: \"help\" is not a valid mail address"),
        ("mail = \"yes\"", "notify.mail: must be true or false, not a text"),
        ("[notify.smtp]\nhost = \"smtp.example.com:587\"", "the port goes into notify.smtp.port"),
        ("[notify.smtp]\nsecurity = \"ssl\"", "must be \"starttls\", \"tls\" or \"none\", not \"ssl\""),
        (
            "[notify.smtp]\nhost = \"smtp.example.com\"\nsecurity = \"none\"",
            "notify.smtp.security: must not be \"none\"",
        ),
        ("[notify.smtp]\nport = 0", "notify.smtp.port: must be from 1 to 65535, not 0"),
        ("[notify.smtp]\nusername = \"me\"", "notify.smtp.password: is missing"),
        ("[notify.smtp]\npassword = \"hush\"", "notify.smtp.username: is missing"),
        ("[notify.smtp]\ntimeout_s = 0", "notify.smtp.timeout_s: "),
    ] {
        World::bare().file(&format!("[notify]\n{text}\n")).fault(&[part]);
    }
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let text = MAIL.replace("localhost", host) + "security = \"none\"\n";
        assert_eq!(server(&World::bare().file(&text).tool()).port, 25, "{host}");
    }
}

#[test]
fn an_endpoint_has_a_url_that_others_cannot_listen_to() {
    for (url, part) in [
        ("http://app.example.com/", "plain http is allowed only to a loopback host or with allow_private"),
        ("ftp://app.example.com/", "is not a valid URL"),
        ("app.example.com", "is not a valid URL"),
        ("https://", "is not a valid URL"),
        ("https://a b.example.com/", "is not a valid URL"),
        ("https://app.example.com/#here", "is not a valid URL"),
        ("https://me:hush@app.example.com/", "has a user or password"),
    ] {
        let world = endpoint(&format!("url = \"{url}\"\nsecrets = [\"{KEY}\"]\n"));
        world.fault(&["notify.webhook[0].url: ", part]);
        assert!(!world.faults()[0].contains("hush"));
    }
    for (url, more) in [
        ("http://127.0.0.1:3000/hook?a=b", ""),
        ("http://localhost/", ""),
        ("http://app.internal/", "allow_private = true"),
        ("https://app.example.com", ""),
    ] {
        let world = endpoint(&format!("url = \"{url}\"\nsecrets = [\"{KEY}\"]\n{more}\n"));
        assert_eq!(world.tool().endpoints[0].url, url);
    }
    endpoint(&format!("secrets = [\"{KEY}\"]\n")).fault(&["notify.webhook[0].url: is missing"]);
    let twice = format!("[[notify.webhook]]\nurl = \"https://a.example/\"\nsecrets = [\"{KEY}\"]\n").repeat(2);
    World::bare().file(&twice).fault(&["notify.webhook[1].url: is the URL of two endpoints", "config.toml:5"]);
}

#[test]
fn a_signing_secret_is_long_enough_for_nobody_to_guess_and_is_never_shown() {
    let base64 = |bytes: usize| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, vec![7; bytes]);
    for bytes in [24, 32, 64] {
        let secret = format!("whsec_{}", base64(bytes));
        for secret in [secret.as_str(), secret.trim_end_matches('=')] {
            let config = with_url(&format!("secrets = [\"{secret}\"]\n")).tool();
            assert_eq!(config.endpoints[0].keys(), [vec![7; bytes]], "{bytes}");
        }
    }
    for wrong in [format!("whsec_{}", base64(23)), format!("whsec_{}", base64(65)), base64(32), "whsec_hu$h".to_owned()]
    {
        let world = with_url(&format!("secrets = [\"{wrong}\"]\n"));
        world.fault(&["notify.webhook[0].secrets: is not a valid signing secret: write whsec_"]);
        assert!(!world.faults()[0].contains(&wrong));
    }
    with_url("").fault(&["notify.webhook[0].secrets: has 0 secrets"]);
    let three = format!("secrets = [\"{KEY}\", \"{KEY}\", \"{KEY}\"]\n");
    with_url(&three).fault(&["notify.webhook[0].secrets: has 3 secrets"]);
}

#[test]
fn an_endpoint_asks_for_types_that_there_are() {
    for wanted in ["entitlement.changed", "payment.*", "stripe.*", "stripe.invoice.paid", "stripe.invoice.*", "*"] {
        let world = with_url(&format!("secrets = [\"{KEY}\"]\nevents = [\"{wanted}\"]\n"));
        assert_eq!(world.tool().notices.webhooks[0].events, [wanted]);
    }
    for wrong in ["entitlement", "invoice.paid", "stripe.", "sub*", "pay.*", "st*pe.*", ""] {
        let world = with_url(&format!("secrets = [\"{KEY}\"]\nevents = [\"{wrong}\"]\n"));
        world.fault(&["notify.webhook[0].events: ", "is not a valid type of event"]);
    }
    with_url(&format!("secrets = [\"{KEY}\"]\nevents = []\n")).fault(&["notify.webhook[0].events: is empty"]);
    let default = with_url(&format!("secrets = [\"{KEY}\"]\n")).tool();
    assert_eq!(default.endpoints[0].events, ["entitlement.changed"]);
    assert_eq!(default.notices.webhooks[0].events, ["entitlement.changed"]);
}

#[test]
fn an_endpoint_may_be_given_by_environment_and_credential_alone() {
    let url = [("TILLD_NOTIFY_WEBHOOK_URL", "https://app.example.com/hook")];
    let config = World::bare().env(&url).credential("notify_webhook_secrets", KEY).tool();
    assert_eq!((config.endpoints.len(), config.endpoints[0].keys().len()), (1, 1));
    World::bare().env(&url).fault(&["notify.webhook[0].secrets: has 0 secrets"]);
}

#[test]
fn mail_without_an_operator_is_allowed_and_warned_of() {
    let some = [
        ("TILLD_NOTIFY_MAIL", "true"),
        ("TILLD_NOTIFY_FROM", "a@example.com"),
        ("TILLD_SMTP_HOST", "smtp.example.com"),
    ];
    let warnings = World::bare().env(&some).tool().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("notify.operator is not set"), "{warnings:?}");
}
