//! What a restricted key may do: each resource that tilld reads is asked for, each that it changes is sent a change of
//! nothing to an id that does not exist. Stripe looks at the permission first: 403 without it, 404 with it.

use super::{Asking, KEYS_PAGE};
use crate::cli::check::{Line, fail, ok, warn};
use crate::ids;
use crate::stripe::call::{Call, Priority, Verb};
use crate::stripe::operation::{OperationKind, Permission};

const CHECK: &str = "stripe permissions";

/// Name on the page of the key, path, parameters.
type Probe = (&'static str, &'static str, &'static str);

/// What is read. Webhook endpoints are not among them: they are asked for
/// by this command alone.
const READS: &[Probe] = &[
    ("Customers", "/v1/customers", "limit=1"),
    ("Subscriptions", "/v1/subscriptions", "limit=1"),
    ("Invoices", "/v1/invoices", "limit=1"),
    ("Payment Intents", "/v1/payment_intents", "limit=1"),
    ("Payment Methods", "/v1/payment_methods/pm_tilldcheck", ""),
    ("Charges", "/v1/charges", "limit=1"),
    ("Refunds", "/v1/refunds", "limit=1"),
    ("Disputes", "/v1/disputes", "limit=1"),
    ("Products", "/v1/products", "limit=1"),
    ("Prices", "/v1/prices", "limit=1"),
    ("Coupons", "/v1/coupons", "limit=1"),
    ("Promotion Codes", "/v1/promotion_codes", "limit=1"),
    ("Checkout Sessions", "/v1/checkout/sessions", "limit=1"),
    ("Events", "/v1/events", "limit=1"),
];

/// What is changed: each resource that an operation changes, once.
fn writable() -> Vec<Probe> {
    let mut probes = Vec::new();
    for kind in OperationKind::ALL {
        let Permission::Write(of) = kind.row().permission else { continue };
        let probe = (of.name, of.probe_path, of.probe_form);
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    probes
}

pub(super) fn line(asking: &mut Asking) -> Line {
    match missing(asking) {
        Err(problem) => warn(CHECK, format!("could not be asked for: {problem}")),
        Ok(missing) if missing.is_empty() => ok(CHECK, "all that tilld uses"),
        Ok(missing) => fail(CHECK, format!("the key lacks {}; give it these at {KEYS_PAGE}", missing.join(", "))),
    }
}

/// The permissions that are not given; an error when Stripe stopped to answer.
fn missing(asking: &mut Asking) -> Result<Vec<String>, String> {
    let key = ids::random_token("tilld-check-").map_err(|error| error.to_string())?;
    let mut missing = Vec::new();
    let writes = writable();
    for (verb, list) in [(Verb::Get, READS), (Verb::Post, writes.as_slice())] {
        for (number, (name, path, form)) in list.iter().enumerate() {
            let key = format!("{key}-{number}");
            let idempotency_key = (verb == Verb::Post).then_some(key.as_str());
            let call = Call { verb, path, form, idempotency_key, priority: Priority::Interactive, context: None };
            let Err(error) = asking.send(call) else { continue };
            match error.api().map(|error| error.status) {
                Some(403) => missing.push(format!("{name} ({})", if verb == Verb::Get { "read" } else { "write" })),
                Some(400 | 404) => {}
                _ => return Err(error.to_string()),
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operation_reads_or_changes_is_asked_for() {
        for kind in OperationKind::ALL {
            let is_asked = match kind.row().permission {
                Permission::Read(name) => READS.iter().any(|(read, ..)| *read == name),
                Permission::Write(of) => writable().iter().any(|(written, ..)| *written == of.name),
                Permission::None => true,
            };
            assert!(is_asked, "{}", kind.word());
        }
        assert_eq!(writable().len(), 6);
    }
}
