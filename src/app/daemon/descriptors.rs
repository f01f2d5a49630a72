//! Open files: raises the soft limit to the hard one at start, and limits connections so that the rest of the program has the
//! descriptors it needs. Must never allow more than the limit holds. Called by `daemon::doors`.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the daemon itself holds open: standard streams, listeners, the pools between guard and server, the database
/// with its log and readers, connections that are closing; and some to spare.
const OWN: u64 = 416;
/// A request that waits for Stripe holds a connection between guard and server, open at one end here and twice at the other.
const PER_CALL: u64 = 3;
/// The least number of requests that may wait for Stripe.
const FEWEST_CALLS: usize = 4;
/// A connection is open once.
const PER_CONNECTION: u64 = 1;
/// What macOS grants (its OPEN_MAX); it says that it has no hard limit, and refuses to raise the soft one to that.
const GRANTED: u64 = 10_240;
/// The least number of connections of a listener.
const FEWEST: u64 = 4;

/// How many files this process may hold open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// `None`: as many as the system has.
    limit: Option<u64>,
}

impl Descriptors {
    /// Raises the soft limit to the hard one. Where the system does not allow that, the soft one stays.
    #[must_use]
    pub fn raise() -> Self {
        let before = getrlimit(Resource::Nofile);
        if before.current == before.maximum {
            return Self { limit: before.current };
        }
        let raise = |to| setrlimit(Resource::Nofile, Rlimit { current: to, maximum: before.maximum }).map(|()| to);
        let granted = Some(GRANTED).filter(|granted| before.current.is_some_and(|current| current < *granted));
        match raise(before.maximum).or_else(|error| granted.map_or(Err(error), |_| raise(granted))) {
            Ok(limit) => {
                log::debug!("limit of open files raised from={:?} to={limit:?}", before.current);
                Self { limit }
            }
            Err(error) => {
                log::info!("the limit of open files stays at {:?}: {error}", before.current);
                Self { limit: before.current }
            }
        }
    }

    /// How many of the `wanted` requests may wait for Stripe: half of what the daemon does not need itself is for them.
    #[must_use]
    pub fn calls(self, wanted: usize) -> usize {
        let Some(limit) = self.limit else { return wanted };
        let possible = limit.saturating_sub(OWN) / 2 / PER_CALL;
        usize::try_from(possible).unwrap_or(usize::MAX).clamp(FEWEST_CALLS, wanted.max(FEWEST_CALLS))
    }

    /// How many of the `wanted` connections each of `listeners` can have beside so many `calls` that wait for Stripe.
    ///
    /// # Errors
    /// When there are too few for the daemon to work at all.
    pub fn connections(self, wanted: usize, listeners: u64, calls: usize) -> io::Result<usize> {
        let own = OWN.saturating_add(u64::try_from(calls).unwrap_or(u64::MAX).saturating_mul(PER_CALL));
        let Some(limit) = self.limit else { return Ok(wanted) };
        let possible = limit.saturating_sub(own) / (PER_CONNECTION * listeners.max(1));
        let advice = "raise the hard limit: LimitNOFILE= in the systemd unit, `ulimit -Hn` in a shell";
        if possible < FEWEST {
            let least = own + PER_CONNECTION * listeners * FEWEST;
            return Err(io::Error::other(format!(
                "{limit} open files are too few, at least {least} are needed: {advice}"
            )));
        }
        let possible = usize::try_from(possible).unwrap_or(usize::MAX);
        if possible < wanted {
            log::warn!(
                "limits.connections = {wanted} is too many: with {limit} open files each listener serves {possible}; {advice}"
            );
        }
        Ok(possible.min(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_daemon_what_it_needs() {
        let of = |limit: u64, wanted| Descriptors { limit: Some(limit) }.connections(wanted, 2, 0);
        assert_eq!(of(20_000, 512).unwrap(), 512);
        assert_eq!(of(1024, 512).unwrap(), 304);
        assert_eq!(of(1024, 100).unwrap(), 100);
        assert_eq!(of(424, 512).unwrap(), 4);
        let refused = of(64, 512).unwrap_err().to_string();
        assert!(refused.contains("64 open files are too few, at least 424 are needed: raise"), "{refused}");
        assert_eq!(Descriptors { limit: Some(1024) }.connections(512, 2, 100).unwrap(), 154);
        assert_eq!(Descriptors { limit: Some(1024) }.calls(216), 101);
        assert_eq!(Descriptors { limit: Some(460) }.calls(216), 7);
        assert_eq!(Descriptors { limit: None }.calls(216), 216);
        assert_eq!(Descriptors { limit: None }.connections(512, 2, 0).unwrap(), 512);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let raised = Descriptors::raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!((now.current, raised.limit), (now.maximum, now.maximum));
    }
}
