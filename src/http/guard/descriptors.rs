//! Open files: every connection is one, and where they run out the database fails before the door does. So the cap on
//! connections follows from what the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Doors of the process, each with its own cap.
const DOORS: u64 = 2;
/// Files that everything else may have open: the database, the connections to tiny_http, those just turned away.
const OTHERS: u64 = 160;

/// Connections that a door may have: `wanted`, or fewer where the system allows too few open files. The limit that a
/// process may raise by itself is raised first.
pub(super) fn affordable(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_mul(DOORS).saturating_add(OTHERS);
    let mut allowed = limit.current.unwrap_or(u64::MAX);
    if allowed < needed {
        let raised = limit.maximum.map_or(needed, |maximum| needed.min(maximum));
        match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }) {
            Ok(()) => allowed = raised,
            Err(error) => log::warn!("the limit of open files stays at {allowed}: {error}"),
        }
    }
    let affordable = share(allowed).min(wanted);
    if affordable < wanted {
        log::warn!(
            "limits.connections is {wanted}, but {allowed} open files are allowed: a listener takes {affordable} \
             connections. Allow {needed} (ulimit -n, LimitNOFILE=)"
        );
    }
    affordable
}

fn share(allowed: u64) -> usize {
    usize::try_from(allowed.saturating_sub(OTHERS) / DOORS).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_has_half_of_what_the_rest_leaves_and_never_none() {
        assert_eq!(share(1184), 512);
        assert_eq!(share(200), 20);
        assert_eq!(share(10), 1);
        assert!(share(u64::MAX) > 1_000_000);
    }
}
