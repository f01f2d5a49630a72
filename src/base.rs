//! What everything rests on: pure decisions (entitlement, ownership, dunning, order, retry, clock leaps) and values (money, ids,
//! secrets, addresses, kinds of objects and notices). It must never know a socket, a database or another room. Used by all.

pub mod address;
pub mod ago;
pub mod clock;
pub(crate) mod decline_code;
pub mod dunning;
pub mod entitlement;
pub mod figure_range;
pub mod finding;
pub mod histogram;
pub(crate) mod host;
pub mod ids;
pub(crate) mod invisible;
pub mod leap;
pub mod metrics;
pub mod money;
pub mod mrr;
pub mod notice_kind;
pub mod object_kind;
pub mod order;
pub mod ownership;
pub mod retry;
pub mod secret;
pub mod thread;
pub mod verdict;
