//! What is refused, and in which words.

use super::*;

/// The only fault of a file.
fn of_file(text: &str, parts: &[&str]) {
    World::bare().file(text).fault(parts);
}

/// The only fault of an environment.
fn of_env(name: &str, value: &str, parts: &[&str]) {
    let world = World::bare().env(&[(name, value)]);
    world.fault(&[parts, &[&format!("({name})")]].concat());
}

#[test]
fn all_faults_are_reported_together_with_their_keys() {
    let text = "log_format = \"xml\"\ncolour = 1\n[limits]\nconnections = 0\n[stripe]\n\
                api_key = \"pk_test_1\"\n[[plan]]\ntier = \"free\"\nprice_ids = [\"price_a\"]\n";
    let world = World::bare().file(text).env(&[("TILLD_WARNING_DAYS", "soon")]);
    let faults = world.load(Purpose::Serve).unwrap_err();
    let mut keys: Vec<&str> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
    keys.sort_unstable();
    let expected = [
        "colour",
        "dunning.warning_days",
        "limits.connections",
        "log_format",
        "plan[0].tier",
        "stripe.api_key",
        "stripe.webhook[0].secrets",
    ];
    assert_eq!(keys, expected);
    assert_eq!(lines(&faults).len(), expected.len());
}

#[test]
fn a_fault_names_key_file_line_and_what_to_do() {
    let world = World::bare().file("log = \"info\"\n\n[limits]\nconnections = 0\n");
    let path = world.path("config.toml").display().to_string();
    let line = format!("limits.connections: must be from 1 to 65536, not 0 ({path}:4)");
    assert_eq!(world.faults(), [line]);
}

#[test]
fn a_syntax_error_is_one_fault_with_file_and_line_and_without_the_text() {
    let text = "[stripe]\napi_key = \"sk_live_hush\nlog = \n";
    of_file(text, &["config: not valid TOML", "config.toml:2)"]);
    assert!(!World::bare().file(text).faults()[0].contains("hush"));
}

#[test]
fn a_repeated_key_is_a_fault() {
    of_file("log = \"info\"\nlog = \"warn\"\n", &["not valid TOML", "config.toml:2)"]);
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_named() {
    let table = [
        ("databse = \"x\"", "databse: unknown key; did you mean database?"),
        ("[stripe]\napikey = \"x\"", "stripe.apikey: unknown key; did you mean stripe.api_key?"),
        ("api_key_file = \"x\"", "api_key_file: unknown key; did you mean stripe.api_key_file?"),
        ("[listen]\ndatabase = \"x\"", "listen.database: unknown key; did you mean database?"),
        (
            "[[stripe.webhook]]\nsecret = \"whsec_1\"",
            "stripe.webhook[0].secret: unknown key; did you mean stripe.webhook.secrets?",
        ),
        ("[[plans]]\ntier = \"x\"", "plans[0].tier: unknown key; did you mean plan.tier?"),
        ("[lisetn]", "lisetn: unknown key"),
        ("colour = 1", "colour: unknown key: remove it"),
        ("[limits]\nworkers = 1", "limits.workers: unknown key"),
        ("\"listen.public\" = \"x\"", "unknown key"),
        ("log_file = \"x\"", "log_file: unknown key"),
    ];
    for (text, part) in table {
        of_file(text, &[part, "config.toml:"]);
    }
}

#[test]
fn a_section_in_the_wrong_brackets_or_without_any_is_refused() {
    let webhook = "[stripe.webhook]\ntolerance_s = 5";
    of_file(webhook, &["stripe.webhook.tolerance_s: ", "[[stripe.webhook]]", "brackets"]);
    of_file("[plan]\ntier = \"x\"", &["plan.tier: ", "[[plan]]", "brackets"]);
    of_file("[[limits]]\nconnections = 5", &["limits[0].connections: ", "a [limits] line"]);
    of_file("listen = \"127.0.0.1:1\"", &["listen: is a section", "[listen]"]);
    of_file("plan = \"pro\"", &["plan: is a section", "[[plan]]"]);
}

#[test]
fn an_empty_section_is_no_fault() {
    World::bare().file("plan = []\n[listen]\n[stripe]\n[[stripe.webhook]]\n").tool();
}

#[test]
fn a_value_of_the_wrong_type_is_refused() {
    let table = [
        ("log = 1", "log: must be a text in \"quotes\", not a whole number"),
        ("log = true", "not true or false"),
        ("[checkout]\nautomatic_tax = 1", "true or false, not a whole number"),
        ("[stripe]\napi_key = 1", "stripe.api_key: must be a text"),
        ("[stripe]\napi_key_file = []", "stripe.api_key_file: must be a text"),
        ("[limits]\nconnections = \"5\"", "limits.connections: must be a whole number, not a text"),
        ("[limits]\nconnections = 5.5", "not a number with a fraction"),
        ("[limits]\nconnections = 99999999999999999999", "not a number beyond 64 bits"),
        ("[limits]\nconnections = [5]", "not a list"),
        ("[limits]\nconnections = 2026-01-01", "not a date"),
        ("[[stripe.webhook]]\nsecrets = \"whsec_1\"", "secrets: must be a list of texts"),
        ("[[stripe.webhook]]\nsecrets = [1]", "secrets: must be a list of texts"),
        ("[[plan]]\ntier = \"x\"\nprice_ids = \"price_1\"", "plan[0].price_ids: must be a list"),
    ];
    for (text, part) in table {
        of_file(text, &[part, "config.toml:"]);
    }
}

#[test]
fn a_number_out_of_its_range_is_refused_and_its_ends_are_not() {
    let table = [
        ("retry", "max_attempts", 1, 100),
        ("retry", "base_delay_s", 0, 86_400),
        ("retry", "max_delay_s", 0, 604_800),
        ("entitlement", "stale_after_s", 0, 31_536_000),
        ("dunning", "grace_period_days", 0, 365),
        ("dunning", "warning_days", 0, 365),
        ("limits", "body_bytes", 1000, 67_108_864),
        ("limits", "head_bytes", 1000, 1_048_576),
        ("limits", "connections", 1, 65_536),
        ("limits", "buffered_bytes", 65_536, 1_073_741_824),
        ("limits", "request_timeout_s", 1, 600),
        ("[stripe.webhook]", "tolerance_s", 1, 86_400),
    ];
    for (section, key, min, max) in table {
        let text = |value: i64| format!("[{section}]\n{key} = {value}\n");
        World::bare().file(&text(min)).tool();
        World::bare().file(&text(max)).tool();
        for value in [min - 1, max + 1, i64::MIN, i64::MAX] {
            let range = format!("{key}: must be from {min} to {max}, not {value}");
            of_file(&text(value), &[&range]);
        }
    }
}

#[test]
fn a_bad_number_in_the_environment_is_named_by_its_variable() {
    let part = "retry.max_attempts: must be a whole number, not \"many\"";
    of_env("TILLD_RETRY_MAX_ATTEMPTS", "many", &[part]);
    of_env("TILLD_RETRY_MAX_ATTEMPTS", "0", &["retry.max_attempts: must be from 1 to 100"]);
}

#[test]
fn a_word_that_is_no_choice_is_refused() {
    of_env("TILLD_LOG_FORMAT", "xml", &["log_format: must be \"text\" or \"json\""]);
    of_env("TILLD_PAUSED_COLLECTION", "deny", &["entitlement.paused_collection: must be \"keep\" or \"until_paid\""]);
    of_env("TILLD_WHEN_STALE", "maybe", &["entitlement.when_stale: must be \"keep\" or \"deny\""]);
}

#[test]
fn a_blank_text_is_refused() {
    of_file("log = \" \"", &["log: is blank"]);
    let flags = Flags { database: Some("".into()), ..Flags::default() };
    World::bare().flags(flags).fault(&["database: is blank", "(--database)"]);
}

#[test]
fn a_blank_secret_is_refused_whatever_its_source() {
    of_file("[stripe]\napi_key = \"\"", &["stripe.api_key: is blank", "config.toml:2"]);
    of_file("[api]\ntoken = \" \"", &["api.token: is blank"]);
    of_file("[[stripe.webhook]]\nsecrets = [\"whsec_1\", \"\"]", &["[0].secrets: is blank"]);
    of_env("STRIPE_API_KEY", "", &["stripe.api_key: is blank"]);
    of_env("STRIPE_WEBHOOK_SECRET", " ", &["stripe.webhook[0].secrets: is blank"]);
    of_env("STRIPE_WEBHOOK_SECRETS", " , ", &["stripe.webhook[0].secrets: is blank"]);
    let world = World::bare().file("[api]\nadmin_token_file = \"t\"").other_file("t", "\n");
    world.fault(&["api.admin_token: is blank", "/t)"]);
    let world = World::bare().credential("api_token", "");
    world.fault(&["api.token: is blank", "(credential ", "/credentials/api_token)"]);
}

#[test]
fn a_blank_webhook_secret_is_one_fault_for_the_daemon_too() {
    let world = World::bare().env(&[("STRIPE_WEBHOOK_SECRET", "")]);
    world.serve_fault(&["is blank", "(STRIPE_WEBHOOK_SECRET)"]);
}

#[test]
fn a_secret_with_something_strange_inside_is_refused_and_not_shown() {
    for text in ["hush hush", "hush\nhush", "hush\u{200b}"] {
        let world = World::bare().env(&[("TILLD_API_TOKEN", text)]);
        world.fault(&["api.token: has a space", "(TILLD_API_TOKEN)"]);
        assert!(!world.faults()[0].contains("hush"));
    }
}

#[test]
fn a_secret_of_the_wrong_kind_is_refused_and_not_shown() {
    let table = [
        ("STRIPE_WEBHOOK_SECRET", "sk_live_hush", "stripe.webhook[0].secrets: is an API key"),
        ("STRIPE_WEBHOOK_SECRET", "we_hush", "stripe.webhook[0].secrets: is the id of an endpoint"),
        ("STRIPE_WEBHOOK_SECRET", "\"whsec_hush\"", "stripe.webhook[0].secrets: has quotes around it"),
        ("STRIPE_API_KEY", "whsec_hush", "stripe.api_key: is no API key"),
        ("STRIPE_API_KEY", "'sk_live_hush'", "stripe.api_key: has quotes around it"),
        ("TILLD_API_TOKEN", "sk_live_hush_hush_hush", "api.token: is a secret of Stripe's"),
        ("TILLD_API_TOKEN", "hush_hush_hush_", "api.token: is shorter than 16 characters"),
        ("TILLD_ADMIN_TOKEN", "hush", "api.admin_token: is shorter than 16 characters"),
        ("STRIPE_PUBLIC_KEY", "whsec_hush", "stripe.publishable_key: is a secret key"),
        ("TILLD_SMTP_HOST", "smtps://user:hush@mail.example.com", "notify.smtp.host: "),
        ("TILLD_NOTIFY_OPERATOR", "whsec_hush", "notify.operator: "),
        ("TILLD_PUBLIC_LISTEN", "whsec_hush", "listen.public: "),
        ("TILLD_LOG", "whsec_hush", "log: "),
        ("TILLD_WARNING_DAYS", "sk_live_hush", "dunning.warning_days: "),
        ("TILLD_CHECKOUT_SUCCESS_URL", "whsec_hush", "checkout.success_url: "),
        ("STRIPE_API_BASE", "ftp://api.example.com/hush", "stripe.api_base: "),
    ];
    for (name, value, part) in table {
        of_env(name, value, &[part]);
        let world = World::bare().env(&[(name, value)]);
        assert!(!world.faults()[0].contains("hush"), "{:?}", world.faults());
    }
    let endpoint = "[[notify.webhook]]\nurl = \"ftp://hooks.example.com/services/hush\"\n\
                    secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";
    of_file(endpoint, &["notify.webhook[0].url: \"ftp://hooks.example.com/…\""]);
    assert!(!World::bare().file(endpoint).faults()[0].contains("hush"));
}

#[test]
fn two_equal_tokens_are_refused_except_in_dev() {
    let text = "[api]\ntoken = \"0123456789abcdef\"\nadmin_token = \"0123456789abcdef\"\n";
    of_file(text, &["api.admin_token: is the same as api.token", "config.toml:3"]);
    World::bare().other_file("tilld-dev.toml", &text.replace("0123456789abcdef", "dev")).tool();
}

#[test]
fn a_product_among_the_prices_is_refused() {
    of_file("[[plan]]\ntier = \"pro\"\nprice_ids = [\"prod_1\"]\n", &["plan[0].price_ids: prod_1 is a product"]);
    of_env("TILLD_PLANS", "pro:price_1,prod_1", &["plan.price_ids: prod_1 is a product"]);
}

#[test]
fn a_log_filter_or_an_api_version_that_means_nothing_is_refused() {
    for (name, wrong) in [("TILLD_LOG", "infoo"), ("RUST_LOG", "info,tilld=loud"), ("TILLD_LOG", "a=b=c")] {
        of_env(name, wrong, &["log: ", "is no level"]);
    }
    for fine in
        ["info", "WARN", "off", "info,tilld::jobs::worker=debug", "tilld", "tilld::http,ureq=warn", "info/webhook"]
    {
        assert_eq!(World::bare().env(&[("TILLD_LOG", fine)]).tool().log, fine);
    }
    for wrong in ["latest", "2026", "2026-13-01", "2026-02-30.endive", "2026-09-30.", "endive", "2026-9-30"] {
        of_env("STRIPE_API_VERSION", wrong, &["stripe.api_version: ", "is no API version"]);
    }
    for fine in ["2020-08-27", "2026-09-30.endive", "2026-09-30.preview"] {
        assert_eq!(client(&World::bare().env(&[KEY, ("STRIPE_API_VERSION", fine)]).tool()).api_version, fine);
    }
}

#[test]
fn an_unknown_variable_of_ours_is_warned_of_with_the_nearest() {
    let world = World::bare().env(&[("TILLD_ADMIN_TOKN", "hush"), ("TILLD_CONFIGURATION", "x"), ("OTHER", "x")]);
    let warnings = world.tool().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("TILLD_ADMIN_TOKN is none of tilld's") && warnings[0].contains("TILLD_ADMIN_TOKEN?"));
    assert!(warnings[1].contains("TILLD_CONFIG?"), "{warnings:?}");
    assert!(!warnings.concat().contains("hush"));
}

#[test]
fn a_secret_given_as_text_and_as_file_is_refused() {
    let text = "[api]\ntoken = \"a-0123456789abcdef\"\ntoken_file = \"t\"\n";
    World::bare().file(text).other_file("t", "b").fault(&["api.token: is given twice", "token_file"]);
    let text = "[[stripe.webhook]]\nsecrets = [\"a\"]\nsecrets_file = \"t\"\n";
    World::bare().file(text).other_file("t", "b").fault(&["[0].secrets: is given twice"]);
}

#[test]
fn a_secret_file_that_cannot_be_read_is_refused() {
    let text = "[[stripe.webhook]]\nsecrets_file = \"gone\"\n";
    let world = World::bare().file(text);
    world.serve_fault(&["stripe.webhook[0].secrets_file: cannot read ", "gone", "config.toml:2"]);
}

#[test]
fn a_publishable_key_as_api_key_is_refused_and_not_shown() {
    let world = World::bare().env(&[("STRIPE_API_KEY", "pk_live_hush")]);
    world.fault(&["stripe.api_key: is a publishable key", "sk_", "(STRIPE_API_KEY)"]);
    assert!(!world.faults()[0].contains("hush"));
}

#[test]
fn a_secret_key_as_publishable_key_is_refused_and_not_shown() {
    for key in ["sk_live_hush", "rk_test_hush"] {
        let world = World::bare().env(&[("STRIPE_PUBLIC_KEY", key)]);
        world.fault(&["stripe.publishable_key: is a secret key", "(STRIPE_PUBLIC_KEY)"]);
        assert!(!world.faults()[0].contains("hush"));
    }
}

#[test]
fn a_listen_address_that_is_none_is_refused() {
    let wrong = [
        "4242",
        ":4242",
        "localhost",
        "localhost:http",
        "127.0.0.1:65536",
        "::1:4242",
        "[::g]:1",
        "a b:1",
        "http://localhost:1",
        "127.0.0.1:-1",
    ];
    for text in wrong {
        of_env("TILLD_PUBLIC_LISTEN", text, &["listen.public: ", text, "unix:/path"]);
    }
    for text in ["unix:", "unix:run/x"] {
        of_env("TILLD_PRIVATE_LISTEN", text, &["listen.private: ", "start with /"]);
    }
}

#[test]
fn local_are_loopback_hosts_and_unix_sockets_only() {
    let is_local = |text| Address::parse(text).unwrap().is_local();
    for text in ["127.0.0.1:0", "127.8.8.8:1", "localhost:1", "LocalHost:1", "[::1]:1", "unix:/x"] {
        assert!(is_local(text), "{text}");
    }
    for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.com:1", "128.0.0.1:1"] {
        assert!(!is_local(text), "{text}");
    }
}

#[test]
fn an_address_is_shown_as_it_is_written() {
    for text in ["127.0.0.1:0", "[::1]:1", "unix:/run/tilld.sock"] {
        assert_eq!(Address::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn an_api_base_that_is_no_url_is_refused() {
    let wrong = [
        "api.stripe.com",
        "ftp://api.stripe.com",
        "https://",
        "https:///v1",
        "https://a b",
        "https://api.stripe.com?x",
        "https://api.stripe.com:x",
    ];
    for text in wrong {
        of_env("STRIPE_API_BASE", text, &["stripe.api_base: ", "https://"]);
    }
}

#[test]
fn an_api_base_with_a_password_is_refused_and_not_shown() {
    let world = World::bare().env(&[("STRIPE_API_BASE", "https://me:hush@api.stripe.com")]);
    world.fault(&["stripe.api_base: ", "password", "(STRIPE_API_BASE)"]);
    assert!(!world.faults()[0].contains("hush"));
}

#[test]
fn plain_http_is_for_loopback_hosts_only() {
    for text in ["http://localhost:12111", "http://127.0.0.1", "http://[::1]:1", "http://[::1]"] {
        let config = World::bare().env(&[KEY, ("STRIPE_API_BASE", text)]).tool();
        assert_eq!(client(&config).api_base, text);
    }
    for text in ["http://api.stripe.com", "http://localhost.example.com", "http://10.0.0.1:1"] {
        of_env("STRIPE_API_BASE", text, &["stripe.api_base: ", "loopback", "use https"]);
    }
}

#[test]
fn a_base_url_keeps_its_path_and_loses_its_last_slash() {
    let world = World::bare().env(&[KEY, ("STRIPE_API_BASE", "https://proxy.example.com:8443/stripe/")]);
    assert_eq!(client(&world.tool()).api_base, "https://proxy.example.com:8443/stripe");
}

#[test]
fn an_api_version_that_cannot_stand_in_a_header_is_refused() {
    of_env("STRIPE_API_VERSION", "2026 09", &["stripe.api_version: "]);
}

#[test]
fn an_application_url_that_is_not_whole_is_refused() {
    of_env("TILLD_CHECKOUT_SUCCESS_URL", "/welcome", &["checkout.success_url: ", "https://"]);
    of_env("TILLD_CHECKOUT_CANCEL_URL", "https://", &["checkout.cancel_url: "]);
    of_env("TILLD_PORTAL_RETURN_URL", "https://a b", &["portal.return_url: "]);
}

#[test]
fn a_webhook_path_must_start_with_a_slash_and_be_free() {
    for path in ["hooks", "/a b", "?x"] {
        let text = format!("[[stripe.webhook]]\npath = \"{path}\"\n");
        of_file(&text, &["stripe.webhook[0].path: ", "start with /", "config.toml:2"]);
    }
    of_env("STRIPE_WEBHOOK_ENDPOINT", "/healthz", &["stripe.webhook[0].path: ", "health check"]);
}

#[test]
fn two_endpoints_with_the_same_path_are_refused() {
    let text = "[[stripe.webhook]]\npath = \"/a\"\n[[stripe.webhook]]\npath = \"/a\"\n";
    of_file(text, &["stripe.webhook[1].path: \"/a\" is the path of two", "config.toml:4"]);
    let text = "[[stripe.webhook]]\n[[stripe.webhook]]\n";
    of_file(text, &["stripe.webhook[1].path: \"/api/v1/webhooks/stripe\""]);
}

#[test]
fn a_plan_needs_a_tier_and_prices() {
    of_file("[[plan]]\nprice_ids = [\"price_1\"]", &["plan[0].tier: is missing"]);
    of_file("[[plan]]\ntier = \"\"\nprice_ids = [\"price_1\"]", &["plan[0].tier: is blank"]);
    of_file("[[plan]]\ntier = \"pro\"", &["plan[0].price_ids: is missing"]);
    of_file("[[plan]]\ntier = \"pro\"\nprice_ids = []", &["plan[0].price_ids: ", "no price"]);
    of_file("[[plan]]\ntier = \"pro\"\nprice_ids = [\"\"]", &["plan[0].price_ids: ", "blank"]);
    assert_eq!(World::bare().file("[[plan]]\n").faults().len(), 2);
    of_env("TILLD_PLANS", ":price_a", &["plan.tier: is blank"]);
    of_env("TILLD_PLANS", "pro:", &["plan.price_ids: ", "\"pro\" has no price"]);
    of_env("TILLD_PLANS", "pro", &["plan: \"pro\" has no colon"]);
}

#[test]
fn the_tier_free_is_reserved() {
    of_env("TILLD_PLANS", "free:price_a", &["plan.tier: \"free\""]);
}

#[test]
fn a_tier_named_twice_is_refused() {
    let text = "[[plan]]\ntier = \"pro\"\nprice_ids = [\"price_1\"]\n\
                [[plan]]\ntier = \"pro\"\nprice_ids = [\"price_2\"]\n";
    of_file(text, &["plan[1].tier: \"pro\" is named twice", "config.toml:5"]);
    of_env("TILLD_PLANS", "pro:price_1;pro:price_2", &["plan.tier: \"pro\" is named twice"]);
}

#[test]
fn a_price_in_two_plans_is_refused() {
    let text = "[[plan]]\ntier = \"pro\"\nprice_ids = [\"price_1\"]\n\
                [[plan]]\ntier = \"team\"\nprice_ids = [\"price_1\"]\n";
    of_file(text, &["plan[1].price_ids: \"price_1\" is in plan", "\"pro\"", "\"team\"", "config.toml:6"]);
    of_env("TILLD_PLANS", "pro:price_1;team:price_1", &["plan.price_ids: \"price_1\" is in plan"]);
}

#[test]
fn the_daemon_needs_a_secret_for_each_endpoint_and_a_tool_does_not() {
    let world = World::bare();
    world.tool();
    world.serve_fault(&["stripe.webhook[0].secrets: no webhook secret", "STRIPE_WEBHOOK_SECRET"]);
    let world = World::bare().file("[[stripe.webhook]]\n[[stripe.webhook]]\npath = \"/b\"\n").env(&[SECRET]);
    world.serve_fault(&["stripe.webhook[1].secrets: no webhook secret for /b"]);
    World::bare().env(&[SECRET]).serve();
}

#[test]
fn the_daemon_needs_both_tokens_where_others_reach_the_private_listener() {
    let open = World::bare().env(&[SECRET, ("TILLD_PRIVATE_LISTEN", "0.0.0.0:4243")]);
    open.tool();
    let parts = ["listen.private: 0.0.0.0:4243", "api.admin_token", "(TILLD_PRIVATE_LISTEN)"];
    open.serve_fault(&parts);
    let half = open.env(&[("TILLD_API_TOKEN", "tilld_0123456789a")]);
    half.serve_fault(&parts);
    half.env(&[("TILLD_ADMIN_TOKEN", "tilld_0123456789b")]).serve();
    World::bare().env(&[SECRET, ("TILLD_PRIVATE_LISTEN", "unix:/run/x")]).serve();
    World::bare().env(&[SECRET, ("TILLD_PUBLIC_LISTEN", "0.0.0.0:80")]).serve();
}

#[test]
fn pulling_events_needs_a_key_and_no_webhook_secret() {
    let pulled = [("TILLD_PULL_INTERVAL_S", "5"), ("STRIPE_API_KEY", "sk_test_1")];
    let config = World::bare().env(&pulled).load(Purpose::Serve).unwrap();
    assert!(config.stripe.webhooks.is_empty());
    let config = World::bare().env(&pulled).env(&[SECRET]).load(Purpose::Serve).unwrap();
    assert_eq!(config.stripe.webhooks.len(), 1, "both ways at once");
    let keyless = World::bare().env(&pulled[..1]).env(&[SECRET]);
    assert!(
        keyless.load(Purpose::Serve).unwrap_err().to_string().contains("stripe.pull_interval_s: needs stripe.api_key")
    );
    let neither = World::bare().load(Purpose::Serve).unwrap_err().to_string();
    assert!(neither.contains("STRIPE_WEBHOOK_SECRET") && neither.contains("stripe.pull_interval_s"), "{neither}");
    of_env("TILLD_PULL_INTERVAL_S", "4", &["stripe.pull_interval_s: must be from 5 to 86400, not 4"]);
}

#[test]
fn the_nightly_comparison_is_one_of_three_and_needs_a_key() {
    of_env("TILLD_NIGHTLY_DRIFT", "yes", &["stripe.nightly_drift: must be \"off\", \"check\" or \"fix\", not \"yes\""]);
    let keyless = World::bare().env(&[("TILLD_NIGHTLY_DRIFT", "fix"), SECRET]);
    assert!(
        keyless.load(Purpose::Serve).unwrap_err().to_string().contains("stripe.nightly_drift: needs stripe.api_key")
    );
}
