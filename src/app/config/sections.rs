//! Every key, described and read: one file for each group, with a table of its keys (name, type, default, range, variables,
//! credential, words of the example) and, below it, the code that puts their values into the type of the room that uses
//! them. Must never look at more than one section; rules between sections are in the parent. Called by `config::load`.

mod access;
mod api;
mod dashboard;
mod endpoints;
mod limits;
mod link;
mod notify;
mod offers;
mod plans;
mod process;
mod proxy;
mod retry;
mod stripe;
#[cfg(test)]
pub(super) use link::RESERVED;

use super::Config;
use super::keys::KeyCatalog;
use super::reader::ConfigReader;
use crate::base::entitlement::EntitlementPolicy;
use crate::http::api::offers::Offers;
use crate::http::dashboard::DashboardSettings;

/// All sections, in the order of the example.
pub(super) const CATALOG: KeyCatalog = KeyCatalog(&[
    &process::TOP,
    &process::LISTEN,
    &stripe::STRIPE,
    &stripe::WEBHOOK,
    &api::API,
    &dashboard::DASHBOARD,
    &link::LINK,
    &plans::PLAN,
    &retry::RETRY,
    &access::ENTITLEMENT,
    &access::DUNNING,
    &notify::NOTIFY,
    &notify::SMTP,
    &endpoints::WEBHOOK,
    &offers::CHECKOUT,
    &offers::PORTAL,
    &limits::LIMITS,
]);

/// Reads every key. For one with a fault, the fault is noted and the default is used.
pub(super) fn read(reader: &mut ConfigReader<'_>) -> Config {
    let database = process::database(reader);
    let (log, log_format) = process::log(reader);
    let stripe = stripe::read(reader);
    let (when_stale, paused_collection) = access::choices(reader);
    let dunning = access::dunning(reader);
    let endpoints = endpoints::read(reader);
    let notices = notify::notices(reader, dunning.warning_s, &endpoints);
    let mail = notify::mail(reader, notices.mail);
    Config {
        database,
        log,
        log_format,
        listen: process::listen(reader),
        tokens: api::read(reader),
        dashboard: DashboardSettings { mail: mail.clone(), ..dashboard::read(reader) },
        policy: EntitlementPolicy {
            plans: plans::read(reader),
            grace_period_s: dunning.grace_period_s,
            stale_after_s: reader.number("entitlement.stale_after_s"),
            when_stale,
            paused_collection,
        },
        link: link::read(reader),
        retry: retry::read(reader),
        notices,
        silence_h: reader.optional_number("notify.silence_h"),
        mail,
        endpoints,
        offers: Offers {
            checkout: offers::checkout(reader),
            portal: offers::portal(reader),
            publishable_key: stripe::publishable_key(reader),
            mode: stripe.mode(),
        },
        stripe,
        limits: limits::read(reader),
        source: None,
        warnings: Vec::new(),
    }
}
