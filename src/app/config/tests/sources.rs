//! Where values come from, and which source wins.

use super::*;
use crate::http::door::HeadRules;

fn one_secret(world: &World) -> String {
    client(&world.tool()).api_key.expose_to_tests().to_owned()
}

fn tier_of_prices(config: &Config) -> Vec<(&str, Vec<&str>)> {
    config
        .policy
        .plans
        .iter()
        .map(|plan| (plan.tier.as_str(), plan.price_ids.iter().map(String::as_str).collect()))
        .collect()
}

#[test]
fn without_file_and_environment_the_defaults_of_the_contract_hold() {
    let world = World::bare();
    let config = world.tool();
    assert_eq!(config.database, world.path("tilld.db"));
    assert_eq!(config.log, "info");
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.listen.public.to_string(), "127.0.0.1:4242");
    assert_eq!(config.listen.private.to_string(), "127.0.0.1:4243");
    assert!(config.stripe.client.is_none() && config.offers.publishable_key.is_none());
    let with_key = World::bare().env(&[KEY]).tool();
    assert_eq!(client(&with_key).api_base, "https://api.stripe.com");
    assert_eq!(client(&with_key).api_version, "2026-09-30.endive");
    let seconds = |duration: std::time::Duration| duration.as_secs();
    assert_eq!((seconds(client(&with_key).interactive_budget), client(&with_key).calls_per_s), (30, 20));
    assert_eq!((with_key.stripe.nightly_drift, config.stripe.nightly_drift), (Some(Nightly::Check), None));
    assert_eq!(config.stripe.webhooks.len(), 1);
    assert_eq!(config.stripe.webhooks[0].path, "/api/v1/webhooks/stripe");
    assert!(config.stripe.webhooks[0].secrets.is_empty());
    assert_eq!(config.stripe.webhooks[0].tolerance_s, 300);
    assert!(config.tokens.api.is_none() && config.tokens.admin.is_none());
    assert!(config.policy.plans.is_empty());
    let retry = RetryPolicy { max_attempts: 8, base_delay_s: 30, max_delay_s: 3600 };
    assert_eq!(config.retry, retry);
    let policy = EntitlementPolicy {
        plans: vec![],
        grace_period_s: 7 * 86_400,
        stale_after_s: 3600,
        when_stale: WhenStale::Keep,
        paused_collection: PausedCollection::Keep,
    };
    assert_eq!(config.policy, policy);
    assert_eq!(config.notices.warning_s, 2 * 86_400);
    assert_eq!(config.offers.checkout, Checkout::default());
    assert_eq!(config.offers.portal, Portal { return_url: None });
    let limits = DoorLimits {
        rules: HeadRules { body_bytes: 1_048_576, head_bytes: 16_384, length_required: false },
        connections: 512,
        buffered_bytes: 8_388_608,
        request_timeout: std::time::Duration::from_secs(10),
        idle_timeout: std::time::Duration::from_secs(75),
    };
    assert_eq!(config.limits, limits);
    assert!(config.source.is_none() && config.warnings.is_empty());
}

#[test]
fn every_variable_of_the_contract_sets_its_key() {
    let world = World::bare().env(&[
        ("TILLD_DATABASE", "/var/lib/x.db"),
        ("TILLD_LOG", "warn"),
        ("TILLD_LOG_FORMAT", "json"),
        ("TILLD_PUBLIC_LISTEN", "0.0.0.0:80"),
        ("TILLD_PRIVATE_LISTEN", "unix:/run/x"),
        ("STRIPE_API_KEY", "sk_test_1"),
        ("STRIPE_PUBLIC_KEY", "pk_test_1"),
        ("STRIPE_API_BASE", "http://127.0.0.1:12111/"),
        ("STRIPE_API_VERSION", "2025-03-31.basil"),
        ("STRIPE_WEBHOOK_ENDPOINT", "/hooks"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_2, whsec_3,"),
        ("TILLD_API_TOKEN", "t1-0123456789abcdef"),
        ("TILLD_ADMIN_TOKEN", "t2-0123456789abcdef"),
        ("TILLD_PLANS", "pro:price_a,price_b;team:price_c"),
        ("TILLD_RETRY_MAX_ATTEMPTS", "3"),
        ("TILLD_RETRY_BASE_DELAY_S", "1"),
        ("TILLD_RETRY_MAX_DELAY_S", "9"),
        ("TILLD_STALE_AFTER_S", "60"),
        ("TILLD_WHEN_STALE", "deny"),
        ("TILLD_PAUSED_COLLECTION", "until_paid"),
        ("TILLD_GRACE_PERIOD_DAYS", "14"),
        ("TILLD_WARNING_DAYS", "3"),
        ("TILLD_CHECKOUT_SUCCESS_URL", "https://a.example/ok?id={CHECKOUT_SESSION_ID}"),
        ("TILLD_CHECKOUT_CANCEL_URL", "https://a.example/no"),
        ("TILLD_PORTAL_RETURN_URL", "app://back"),
    ]);
    let config = world.tool();
    assert_eq!(config.database, Path::new("/var/lib/x.db"));
    assert_eq!((config.log.as_str(), config.log_format), ("warn", LogFormat::Json));
    assert_eq!(config.listen.public, Address::Tcp("0.0.0.0:80".into()));
    assert_eq!(config.listen.private, Address::Unix("/run/x".into()));
    assert_eq!(client(&config).api_key.expose_to_tests(), "sk_test_1");
    assert_eq!(config.offers.publishable_key.as_deref(), Some("pk_test_1"));
    assert_eq!(client(&config).api_base, "http://127.0.0.1:12111");
    assert_eq!(client(&config).api_version, "2025-03-31.basil");
    let [endpoint] = config.stripe.webhooks.as_slice() else { panic!("one endpoint") };
    assert_eq!(endpoint.path, "/hooks");
    assert_eq!(exposed(&endpoint.secrets), ["whsec_1", "whsec_2", "whsec_3"]);
    assert_eq!(config.tokens.api.as_ref().unwrap().expose(), "t1-0123456789abcdef");
    assert_eq!(config.tokens.admin.as_ref().unwrap().expose(), "t2-0123456789abcdef");
    let plans = [("pro", vec!["price_a", "price_b"]), ("team", vec!["price_c"])];
    assert_eq!(tier_of_prices(&config), plans);
    assert_eq!(config.retry, RetryPolicy { max_attempts: 3, base_delay_s: 1, max_delay_s: 9 });
    let policy = &config.policy;
    assert_eq!((policy.stale_after_s, policy.when_stale), (60, WhenStale::Deny));
    assert_eq!(policy.paused_collection, PausedCollection::UntilPaid);
    assert_eq!((policy.grace_period_s, config.notices.warning_s), (14 * 86_400, 3 * 86_400));
    let success = config.offers.checkout.success_url.as_deref();
    assert_eq!(success, Some("https://a.example/ok?id={CHECKOUT_SESSION_ID}"));
    assert_eq!(config.offers.checkout.cancel_url.as_deref(), Some("https://a.example/no"));
    assert_eq!(config.offers.portal.return_url.as_deref(), Some("app://back"));
}

#[test]
fn file_beats_default_environment_beats_file_and_flag_beats_environment() {
    let text = "log = \"warn\"\ndatabase = \"f.db\"\n[listen]\npublic = \"127.0.0.1:1\"\n\
                private = \"127.0.0.1:2\"\n[retry]\nmax_attempts = 5\n";
    let world = World::bare().file(text);
    let config = world.tool();
    assert_eq!((config.log.as_str(), config.retry.max_attempts), ("warn", 5));
    let world = world.env(&[
        ("TILLD_LOG", "debug"),
        ("TILLD_DATABASE", "e.db"),
        ("TILLD_PUBLIC_LISTEN", "127.0.0.1:3"),
        ("TILLD_PRIVATE_LISTEN", "127.0.0.1:4"),
        ("TILLD_RETRY_MAX_ATTEMPTS", "6"),
    ]);
    let config = world.tool();
    assert_eq!((config.log.as_str(), config.retry.max_attempts), ("debug", 6));
    assert_eq!(config.database, world.path("e.db"));
    assert_eq!(config.listen.public.to_string(), "127.0.0.1:3");
    let world = world.flags(Flags {
        config: None,
        database: Some("g.db".into()),
        log: Some("trace".into()),
        public_listen: Some("127.0.0.1:0".into()),
        private_listen: Some("[::1]:0".into()),
    });
    let config = world.tool();
    assert_eq!(config.log, "trace");
    assert_eq!(config.database, world.path("g.db"));
    assert_eq!(config.listen.public.to_string(), "127.0.0.1:0");
    assert_eq!(config.listen.private.to_string(), "[::1]:0");
}

#[test]
fn rust_log_beats_tilld_log() {
    let world = World::bare().env(&[("TILLD_LOG", "warn"), ("RUST_LOG", "tilld=trace")]);
    assert_eq!(world.tool().log, "tilld=trace");
}

#[test]
fn a_blank_variable_that_is_no_secret_counts_as_not_set() {
    let world = World::bare().env(&[
        ("RUST_LOG", ""),
        ("TILLD_LOG", "warn"),
        ("TILLD_CONFIG", " "),
        ("TILLD_PLANS", ""),
        ("TILLD_RETRY_MAX_ATTEMPTS", ""),
        ("STRIPE_PUBLIC_KEY", ""),
    ]);
    let config = world.tool();
    assert_eq!((config.log.as_str(), config.retry.max_attempts), ("warn", 8));
    assert_eq!(config.offers.publishable_key, None);
}

#[test]
fn a_relative_database_is_relative_to_the_working_directory_not_to_the_file() {
    let world = World::bare().other_file("etc/config.toml", "database = \"data/x.db\"\n");
    assert_eq!(world.tool().database, world.path("data/x.db"));
}

#[test]
fn the_first_file_of_the_search_order_is_read() {
    let log = |name: &str| format!("log = \"tilld::{name}\"\n");
    let mut world = World::bare();
    for name in ["etc/config.toml", "tilld-dev.toml", "config.toml"] {
        world = world.other_file(name, &log(name));
        let config = world.tool();
        assert_eq!(config.log, format!("tilld::{name}"));
        assert_eq!(config.source, Some(world.path(name)));
    }
    let world = world.other_file("env.toml", &log("env")).env(&[("TILLD_CONFIG", "env.toml")]);
    assert_eq!(world.tool().log, "tilld::env");
    let config = Some("flag.toml".into());
    let world = world.other_file("flag.toml", &log("flag")).flags(Flags { config, ..Flags::default() });
    assert_eq!(world.tool().log, "tilld::flag");
}

#[test]
fn a_file_that_was_asked_for_and_is_missing_is_a_fault() {
    let world = World::bare().file("").env(&[("TILLD_CONFIG", "gone.toml")]);
    world.fault(&["config: ", "gone.toml", "(TILLD_CONFIG)"]);
    let config = Some("gone-too.toml".into());
    let world = world.flags(Flags { config, ..Flags::default() });
    world.fault(&["config: ", "gone-too.toml", "(--config)"]);
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own_and_is_trimmed() {
    let text = "[stripe]\napi_key_file = \"key\"\n[api]\ntoken_file = \"token\"\n\
                admin_token_file = \"admin\"\n[[stripe.webhook]]\nsecrets_file = \"hooks\"\n";
    let world = World::bare()
        .file(text)
        .other_file("key", " sk_live_1\r\n")
        .other_file("token", "t1-0123456789abcdef\n")
        .other_file("admin", "t2-0123456789abcdef")
        .other_file("hooks", "whsec_1\n\nwhsec_2, whsec_3\r\n");
    let config = world.serve();
    assert_eq!(client(&config).api_key.expose_to_tests(), "sk_live_1");
    assert_eq!(config.tokens.api.as_ref().unwrap().expose(), "t1-0123456789abcdef");
    assert_eq!(config.tokens.admin.as_ref().unwrap().expose(), "t2-0123456789abcdef");
    let secrets = exposed(&config.stripe.webhooks[0].secrets);
    assert_eq!(secrets, ["whsec_1", "whsec_2", "whsec_3"]);
}

#[test]
fn a_secret_may_be_a_systemd_credential() {
    let world = World::bare()
        .credential("stripe_api_key", "sk_test_c\n")
        .credential("stripe_webhook_secrets", "whsec_a\nwhsec_b\n")
        .credential("api_token", "t1-0123456789abcdef")
        .credential("admin_token", "t2-0123456789abcdef");
    let config = world.serve();
    assert_eq!(client(&config).api_key.expose_to_tests(), "sk_test_c");
    assert_eq!(exposed(&config.stripe.webhooks[0].secrets), ["whsec_a", "whsec_b"]);
    assert_eq!(config.tokens.api.as_ref().unwrap().expose(), "t1-0123456789abcdef");
    assert_eq!(config.tokens.admin.as_ref().unwrap().expose(), "t2-0123456789abcdef");
}

#[test]
fn environment_beats_file_and_file_beats_credential() {
    let world = World::bare().credential("stripe_api_key", "sk_test_credential");
    assert_eq!(one_secret(&world), "sk_test_credential");
    let world = world.other_file("key", "sk_test_other").file("[stripe]\napi_key_file = \"key\"\n");
    assert_eq!(one_secret(&world), "sk_test_other");
    let world = world.file("[stripe]\napi_key = \" sk_test_file \"\n");
    assert_eq!(one_secret(&world), "sk_test_file");
    let world = world.env(&[("STRIPE_API_KEY", " sk_test_env\n")]);
    assert_eq!(one_secret(&world), "sk_test_env");
}

#[test]
fn environment_and_credential_speak_of_the_first_webhook_block_only() {
    let blocks = "[[stripe.webhook]]\npath = \"/a\"\nsecrets = [\"whsec_a\"]\n\
                  [[stripe.webhook]]\npath = \"/b\"\nsecrets = [\"whsec_b\"]\ntolerance_s = 60\n";
    let world = World::bare().file(blocks).env(&[
        ("STRIPE_WEBHOOK_ENDPOINT", "https://pay.example.com/hooks?x=1#y"),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_1,whsec_2"),
    ]);
    let endpoints = world.serve().stripe.webhooks;
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0].path, "/hooks");
    assert_eq!(exposed(&endpoints[0].secrets), ["whsec_1", "whsec_2"]);
    assert_eq!(endpoints[1].path, "/b");
    assert_eq!(exposed(&endpoints[1].secrets), ["whsec_b"]);
    assert_eq!((endpoints[0].tolerance_s, endpoints[1].tolerance_s), (300, 60));

    let blocks = "[[stripe.webhook]]\nsecrets = []\n[[stripe.webhook]]\npath = \"/b\"\n";
    let world = World::bare().file(blocks).credential("stripe_webhook_secrets", "whsec_c");
    let endpoints = world.tool().stripe.webhooks;
    assert_eq!(exposed(&endpoints[0].secrets), ["whsec_c"]);
    assert!(endpoints[1].secrets.is_empty());
}

#[test]
fn a_webhook_url_without_a_path_means_the_root() {
    let world = World::bare().env(&[("STRIPE_WEBHOOK_ENDPOINT", "https://pay.example.com")]);
    assert_eq!(world.tool().stripe.webhooks[0].path, "/");
}

#[test]
fn plans_rank_in_the_order_of_the_file_and_the_environment_replaces_them() {
    let text = "[[plan]]\ntier = \"zebra\"\nprice_ids = [\"price_z\", \" price_y \"]\n\
                [[plan]]\ntier = \"ant\"\nprice_ids = [\"price_a\"]\n";
    let world = World::bare().file(text);
    let plans = [("zebra", vec!["price_z", "price_y"]), ("ant", vec!["price_a"])];
    assert_eq!(tier_of_prices(&world.tool()), plans);
    let world = world.env(&[("TILLD_PLANS", " solo : price_s , ;")]);
    assert_eq!(tier_of_prices(&world.tool()), [("solo", vec!["price_s"])]);
}

#[test]
fn the_mode_is_read_from_the_api_keys_prefix() {
    let table = [
        ("sk_live_1", Some(Mode::Live)),
        ("rk_live_1", Some(Mode::Live)),
        ("sk_test_1", Some(Mode::Test)),
        ("rk_test_1", Some(Mode::Test)),
        ("sk_org_1", None),
        ("anything", None),
    ];
    for (key, mode) in table {
        let config = World::bare().env(&[("STRIPE_API_KEY", key)]).tool();
        assert_eq!(config.stripe.mode(), mode, "{key}");
    }
    assert_eq!(World::bare().tool().stripe.mode(), None);
}

#[test]
fn a_file_with_secrets_that_others_may_read_is_warned_about() {
    let chmod = |world: &World, mode| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(world.path("config.toml"), rights).unwrap();
    };
    let with_secret = World::bare().file("[api]\ntoken = \"t-0123456789abcdef\"\n");
    for mode in [0o640, 0o604] {
        chmod(&with_secret, mode);
        let warnings = with_secret.tool().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("config.toml") && warnings[0].contains("chmod 600"));
    }
    chmod(&with_secret, 0o600);
    assert!(with_secret.tool().warnings.is_empty());
    let without_secret = World::bare().file("[api]\ntoken_file = \"t\"\n").other_file("t", "t-0123456789abcdef");
    chmod(&without_secret, 0o644);
    assert!(without_secret.tool().warnings.is_empty());
}

#[test]
fn a_configuration_does_not_show_its_secrets() {
    let world = World::bare()
        .file("[api]\ntoken = \"hush-0123456789abcdef\"\n")
        .env(&[("STRIPE_API_KEY", "sk_test_hush"), ("STRIPE_WEBHOOK_SECRET", "whsec_hush")]);
    let shown = format!("{:?}", world.tool());
    assert!(shown.contains("[redacted]") && !shown.contains("hush"), "{shown}");
}

#[test]
fn the_surroundings_of_the_process_are_its_own() {
    let around = ConfigSources::of_process();
    assert_eq!(around.system_config, Path::new("/etc/tilld/config.toml"));
    assert_eq!(around.working_directory, std::env::current_dir().unwrap());
    assert!(around.env.contains_key("PATH"));
}

/// The proxy that the client is told.
fn proxy(world: &World) -> Option<String> {
    client(&world.tool()).proxy.as_ref().map(|proxy| proxy.0.clone())
}

#[test]
fn a_proxy_is_named_by_its_key_or_by_the_variables_that_all_programs_share() {
    let world = |variables: &[(&str, &str)]| World::bare().env(&[KEY]).env(variables);
    assert_eq!(proxy(&world(&[])), None);
    World::bare().env(&[("ALL_PROXY", "socks5://p.example")]).tool();
    for name in ["STRIPE_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        assert_eq!(
            proxy(&world(&[(name, "http://u:p@p.example:3128/")])).unwrap(),
            "http://u:p@p.example:3128/",
            "{name}"
        );
    }
    assert_eq!(proxy(&world(&[("HTTPS_PROXY", "p.example:3128")])).unwrap(), "http://p.example:3128");
    assert_eq!(proxy(&world(&[("HTTP_PROXY", "http://p.example:3128")])), None, "it is for plain http");
    let both = [("STRIPE_PROXY", "https://own.example"), ("HTTPS_PROXY", "http://p.example"), ("NO_PROXY", "*")];
    assert_eq!(proxy(&world(&both)).unwrap(), "https://own.example", "the key's own beats what all share");
    assert_eq!(proxy(&world(&[("STRIPE_PROXY", "off"), ("HTTPS_PROXY", "http://p.example")])), None);
    assert_eq!(proxy(&world(&[("HTTPS_PROXY", "http://p.example"), ("NO_PROXY", "x.example,stripe.com")])), None);
    let file = world(&[]).file("[stripe]\nproxy_file = \"p\"\n").other_file("p", "http://u:p@p.example:1\n");
    assert_eq!(proxy(&file).unwrap(), "http://u:p@p.example:1");
    assert!(!format!("{:?}", file.tool()).contains("u:p@"));
}

#[test]
fn a_loopback_host_is_called_past_every_proxy() {
    for base in ["http://127.0.0.1:1", "https://localhost:1/v", "http://[::1]:1", "https://app.localhost"] {
        let world = World::bare().env(&[KEY, ("STRIPE_API_BASE", base), ("STRIPE_PROXY", "http://p.example:1")]);
        assert_eq!(proxy(&world), None, "{base}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_and_not_shown() {
    for name in ["STRIPE_PROXY", "HTTPS_PROXY"] {
        for url in ["socks5://u:hush@p.example:1", "http://", "ftp://hush", "http://u:hush@", "http://hush/path/x"] {
            let world = World::bare().env(&[KEY, (name, url)]);
            world.fault(&["stripe.proxy: is not a valid proxy", &format!("({name})")]);
            assert!(!world.faults()[0].contains("hush"));
        }
    }
}
