//! The files that this program hands out: the example and that of `tilld dev`.

use std::sync::LazyLock;

use super::*;
use crate::app::config::document;
use crate::app::config::keys::without_numbers;
use crate::app::config::sections::CATALOG;

static EXAMPLE: LazyLock<String> = LazyLock::new(crate::app::config::example);

/// The example with everything in it switched on. Prose has a space after its comment mark.
fn uncommented() -> String {
    let code = |line: &&str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
    let line = |line: &'static str| if code(&line) { &line[1..] } else { line };
    EXAMPLE.lines().map(|text| format!("{}\n", line(text))).collect()
}

#[test]
fn the_example_loads_as_it_is_and_changes_nothing() {
    let mut example = World::bare().file(&EXAMPLE).tool();
    example.dashboard.source = None;
    let default = World::bare().tool();
    assert_eq!(
        format!("{:?}", Config { source: None, database: default.database.clone(), ..example.clone() }),
        format!("{default:?}"),
    );
}

#[test]
fn the_example_with_everything_switched_on_has_every_key_and_no_fault() {
    World::bare().file(&uncommented()).load(Purpose::Serve).unwrap();
    let Ok(entries) = document::parse(&uncommented()) else { panic!("not TOML") };
    let names: Vec<String> = entries.keys().map(|key| without_numbers(key)).collect();
    for key in CATALOG.keys() {
        assert!(names.iter().any(|name| name == key.name), "{} is not in it", key.name);
    }
    assert_eq!(names.len(), CATALOG.keys().count());
}

#[test]
fn the_example_mentions_every_variable_credential_and_file_key() {
    for key in CATALOG.keys() {
        for variable in key.env {
            assert!(EXAMPLE.contains(variable), "{variable}");
        }
        if let Some(credential) = key.credential {
            let last = key.name.rsplit('.').next().unwrap();
            assert!(EXAMPLE.contains(&format!("credential {credential}]")), "{credential}");
            assert!(EXAMPLE.contains(&format!("{last}_file")), "{last}_file");
        }
    }
}

#[test]
fn the_example_shows_the_defaults() {
    let example = World::bare().file(&uncommented());
    let default = World::bare();
    let database = |world: &World| world.tool().database.strip_prefix(world.dir.path()).unwrap().to_owned();
    assert_eq!(database(&example), database(&default));
    let (example, default) = (example.tool(), default.tool());
    assert_eq!(example.log, default.log);
    assert_eq!(example.log_format, default.log_format);
    assert_eq!(example.listen, default.listen);
    let default_client = World::bare().env(&[KEY]).tool();
    assert_eq!(client(&example).api_base, client(&default_client).api_base);
    assert_eq!(client(&example).api_version, client(&default_client).api_version);
    assert_eq!(client(&example).calls_per_s, client(&default_client).calls_per_s);
    assert_eq!(client(&example).interactive_budget, client(&default_client).interactive_budget);
    assert_eq!(example.stripe.webhooks[0].path, default.stripe.webhooks[0].path);
    assert_eq!(example.stripe.webhooks[0].tolerance_s, default.stripe.webhooks[0].tolerance_s);
    assert_eq!(example.retry, default.retry);
    assert_eq!(example.policy, EntitlementPolicy { plans: example.policy.plans.clone(), ..default.policy });
    assert_eq!(example.notices.warning_s, default.notices.warning_s);
    assert_eq!(example.limits, default.limits);
    assert_eq!(example.offers.checkout.automatic_tax, default.offers.checkout.automatic_tax);
}

#[test]
fn the_configuration_of_dev_loads_with_what_was_given() {
    let database = Path::new("/tmp/a \"b\\c\n/tilld-dev.db");
    let text = dev_config_text(database, "whsec_dev", "tilld_a_0123456789", "tilld_b_0123456789");
    let config = World::bare().other_file("tilld-dev.toml", &text).serve();
    assert_eq!(config.database, database.to_owned());
    assert_eq!(exposed(&config.stripe.webhooks[0].secrets), ["whsec_dev"]);
    assert_eq!(config.tokens.api.unwrap().expose(), "tilld_a_0123456789");
    assert_eq!(config.tokens.admin.unwrap().expose(), "tilld_b_0123456789");
    let plan = EntitlementPlan { tier: "pro".into(), price_ids: vec!["price_tilld_pro".into()] };
    assert_eq!(config.policy.plans, [plan]);
    assert!(config.listen.public.is_local() && config.listen.private.is_local());
}
