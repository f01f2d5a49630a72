//! Settings: every key, where its value comes from, and no part of any secret.

use std::collections::BTreeMap;

use tempfile::TempDir;
use tilld::app::config::{self, ConfigSources, Flags, Purpose};

use super::Visitor;
use crate::harness::Till;

/// Every secret there is; each has `hush` in it.
const FILE: &str = r#"
log_format = "json"
[stripe]
api_key = "sk_test_hush1hush1hush1"
proxy = "http://user:hush2@proxy.example.com:3128"
[[stripe.webhook]]
secrets = ["whsec_hush3", "whsec_hush4"]
[[stripe.webhook]]
path = "/second"
secrets = ["whsec_hush5"]
[api]
token = "tilld_hush6hush6hush6"
admin_token = "tilld_hush7hush7hush7"
[[plan]]
tier = "pro"
price_ids = ["price_a", "price_b"]
[notify]
mail = true
from = "Shop <billing@example.com>"
[notify.smtp]
host = "mail.example.com"
username = "billing"
password = "hush8"
[[notify.webhook]]
url = "https://app.example.com/hush9?token=hush9"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
[portal]
return_url = "https://example.com/account"
"#;

/// A till whose pages show this configuration.
fn till(file: &str, env: &[(&str, &str)], flags: Flags) -> (Till, TempDir) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("config.toml"), file).unwrap();
    let env: BTreeMap<String, String> = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let around =
        ConfigSources { env, working_directory: dir.path().to_owned(), system_config: dir.path().join("none.toml") };
    let config = config::load(&flags, &around, Purpose::Serve).unwrap_or_else(|faults| panic!("{faults}"));
    let mut till = Till::new();
    till.api.dashboard.settings = config.dashboard;
    (till, dir)
}

#[test]
fn no_secret_of_a_configuration_in_which_every_secret_is_set_is_on_the_page() {
    let (mut till, _dir) = till(FILE, &[], Flags::default());
    // Only what the page is made from; the harness logs in with its own token.
    let seen = Visitor::of(&till).page(&till, "settings");
    seen.hides(&["hush", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "sk_test_"]);
    assert_eq!(seen.text.matches("<code>set</code>").count(), 8, "{}", seen.text);
    seen.shows(&["https://app.example.com/…", "https://example.com/account", "billing@example.com"]);
    till.api.dashboard.settings.sections.clear();
    Visitor::of(&till).page(&till, "settings");
}

#[test]
fn every_key_of_the_example_is_shown_with_what_the_example_says_of_it() {
    let (till, _dir) = till(FILE, &[], Flags::default());
    let text = Visitor::of(&till).page(&till, "settings").text;
    let example = include_str!("../../../config.toml.example");
    let keys = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once(" = ")).map(|(key, _)| key);
    let keys: Vec<&str> =
        keys.filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect();
    assert!(keys.len() > 50, "{keys:?}");
    for key in keys {
        assert!(text.contains(&format!("<dt><code>{key}</code></dt>")), "{key} is missing");
    }
    assert!(text.contains("Days (0 to 365) of access after the first failed payment"), "{text}");
    assert!(text.contains("[[stripe.webhook]] 2") && text.contains("price_a, price_b"), "{text}");
}

#[test]
fn each_value_says_where_it_comes_from() {
    let flags = Flags { log: Some("debug".to_owned()), ..Flags::default() };
    let env = [
        ("TILLD_GRACE_PERIOD_DAYS", "9"),
        ("TILLD_PLANS", "team:price_x"),
        ("HTTPS_PROXY", "http://u:hush@p.example:1"),
    ];
    let file = FILE.replace("proxy = \"http://user:hush2@proxy.example.com:3128\"\n", "");
    let (till, dir) = till(&file, &env, flags);
    let seen = Visitor::of(&till).page(&till, "settings");
    let line = |value: &str, source: &str| format!("<code>{value}</code> <span class=\"note\">{source}</span>");
    let path = dir.path().join("config.toml");
    seen.shows(&[
        &line("debug", "flag --log"),
        &line("9", "variable TILLD_GRACE_PERIOD_DAYS"),
        &line("price_x", "variable TILLD_PLANS"),
        &line("set", "variable HTTPS_PROXY"),
        &line("json", &format!("{}:2", path.display())),
        &line("check", "default"),
        &line("587", "default"),
        &path.display().to_string(),
    ]);
    seen.hides(&["hush", "<code>price_a, price_b</code>"]);
}
