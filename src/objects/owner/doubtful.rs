//! Links that an operator should look at. Finding all of them scans whole tables, so only `tilld check` does; `owner` asks
//! for the running subscriptions of one user, by an index. It must never change a row.

use crate::store::engine::row;
use crate::store::{StoreError, StoreReader};

/// What an operator should look at, each with how many there are and one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Doubtful {
    /// Users with several running subscriptions.
    pub(crate) users_paying_twice: DoubtfulGroup,
    /// Customers that belong to nobody because their subscriptions name several users.
    pub(crate) contested_customers: DoubtfulGroup,
    /// Running subscriptions that are linked by a reference alone.
    pub(crate) by_reference: DoubtfulGroup,
}

/// How many there are, and one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DoubtfulGroup {
    /// How many.
    pub(crate) count: i64,
    /// The first.
    pub(crate) first: Option<String>,
}

macro_rules! running {
    () => {
        "deleted = 0 AND status IN ('active', 'trialing', 'past_due', 'unpaid', 'paused')"
    };
}

const TWICE: &str = concat!(
    "SELECT count(*), min(user_id) FROM (SELECT user_id FROM stripe_subscriptions WHERE user_id IS NOT NULL AND ",
    running!(),
    " GROUP BY user_id HAVING count(*) > 1)"
);
const BY_REFERENCE: &str = concat!(
    "SELECT count(*), min(stripe_subscription_id) FROM stripe_subscriptions WHERE linked_by = 'reference' AND ",
    running!()
);

/// Scans whole tables; for `tilld check`.
pub(crate) fn doubtful(reader: &StoreReader) -> Result<Doubtful, StoreError> {
    const CONTESTED: &str = "SELECT count(*), min(stripe_customer_id) FROM stripe_customers WHERE contested = 1";
    let some = |sql| {
        let (count, first) = reader.get(sql, [], row::tuple)?;
        Ok::<_, StoreError>(DoubtfulGroup { count, first })
    };
    Ok(Doubtful {
        users_paying_twice: some(TWICE)?,
        contested_customers: some(CONTESTED)?,
        by_reference: some(BY_REFERENCE)?,
    })
}

const RUNNING_OF: &str = concat!(
    "SELECT stripe_subscription_id FROM stripe_subscriptions WHERE user_id = ?1 AND ",
    running!(),
    " ORDER BY stripe_subscription_id"
);

/// The running subscriptions of a user.
pub(crate) fn list_running(reader: &StoreReader, user_id: &str) -> Result<Vec<String>, StoreError> {
    reader.list(RUNNING_OF, [user_id], row::only)
}
