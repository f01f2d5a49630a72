//! What a restricted key may do: each resource that tilld reads is asked for; each that it changes gets an empty change of an
//! id that does not exist. Stripe checks the permission first: 403 without it, 404 with it. Must never change an object. Called
//! by `outward::checks`.

use super::{KEYS_PAGE, StripeCheck};
use crate::base::finding::{Finding, fail, ok, warn};
use crate::base::ids;
use crate::objects::kinds;
use crate::stripe::call::{Call, Priority, Verb};
use crate::stripe::operation::{OperationKind, Permission};

/// Name of the check.
pub(crate) const CHECK: &str = "stripe permissions";

/// Name on the page of the key, path, parameters.
type Probe = (&'static str, String, &'static str);

/// What is read: the list of every kind, and the events. Webhook endpoints are not among them: they are asked for by
/// these checks alone.
fn readable() -> Vec<Probe> {
    let mut asked: Vec<Probe> = Vec::new();
    for kind in kinds::all() {
        if asked.iter().any(|(name, ..)| *name == kind.permission) {
            continue;
        }
        // Where there is no list of all, nobody's object is asked for.
        let (path, form) =
            if kind.is_per_customer() { (kind.path_of("tilldcheck"), "") } else { (kind.list_path(None), "limit=1") };
        asked.push((kind.permission, path, form));
    }
    asked.push(("Events", "/v1/events".to_owned(), "limit=1"));
    asked
}

/// What is changed: each resource that an operation changes, once.
fn writable() -> Vec<Probe> {
    let mut probes = Vec::new();
    for kind in OperationKind::ALL {
        let Permission::Write(of) = kind.row().permission else { continue };
        let probe = (of.name, of.probe_path.to_owned(), of.probe_form);
        if !probes.contains(&probe) {
            probes.push(probe);
        }
    }
    probes
}

pub(super) fn finding(asking: &mut StripeCheck) -> Finding {
    match missing(asking) {
        Err(problem) => warn(CHECK, format!("could not be checked: {problem}")),
        Ok(missing) if missing.is_empty() => ok(CHECK, "the key has all that tilld uses"),
        Ok(missing) => fail(CHECK, format!("the key lacks {}; add them at {KEYS_PAGE}", missing.join(", "))),
    }
}

/// The permissions that are not given; an error when Stripe stopped answering.
fn missing(asking: &mut StripeCheck) -> Result<Vec<String>, String> {
    let key = ids::random_token("tilld-check-").map_err(|error| error.to_string())?;
    let mut missing = Vec::new();
    for (verb, list) in [(Verb::Get, readable()), (Verb::Post, writable())] {
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
                Permission::Read(name) => readable().iter().any(|(read, ..)| *read == name),
                Permission::Write(of) => writable().iter().any(|(written, ..)| *written == of.name),
                Permission::None => true,
            };
            assert!(is_asked, "{}", kind.word());
        }
        assert_eq!(writable().len(), 6);
    }
}
