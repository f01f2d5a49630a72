//! Users with their answers as last computed, for lists: by id, by mail address, by answer. It must never be what the
//! entitlement call answers with. Called by the dashboard.

use super::User;
use crate::base::entitlement::EntitlementReason;
use crate::store::engine::row::{columns, select};
use crate::store::{StoreError, StoreReader};

columns! {
    /// A user of a list; without a subscription there is no answer.
    pub(crate) struct AnsweredUser {
        user: User = User::COLUMNS => User::take,
        entitled: Option<bool> = "s.entitled",
        tier: Option<String> = "s.tier",
        reason: Option<String> = "s.reason",
        /// Unix seconds.
        valid_until: Option<i64> = "s.valid_until",
    }
}

macro_rules! answered {
    ($which:literal) => {
        select!(
            AnsweredUser,
            concat!(
                "FROM users u LEFT JOIN stripe_customers c ON c.user_id = u.id
                 LEFT JOIN subscriptions s ON s.user_id = u.id ",
                $which
            )
        )
    };
}

/// Users whose id begins so, by id, after the id `after`. An empty beginning is that of all.
pub(crate) fn list_beginning(
    reader: &StoreReader,
    beginning: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<AnsweredUser>, StoreError> {
    const SQL: &str = answered!("WHERE u.id >= ?1 AND u.id < ?2 AND u.id > ?3 ORDER BY u.id LIMIT ?4");
    let end = format!("{beginning}{}", char::MAX);
    reader.list(SQL, (beginning, end, after.unwrap_or_default(), limit), AnsweredUser::read)
}

/// Users with a mail address, whatever its case, by id, after the id `after`: as the application gave it, or as a customer
/// of theirs has it at Stripe.
pub(crate) fn list_with_address(
    reader: &StoreReader,
    address: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<AnsweredUser>, StoreError> {
    const SQL: &str = answered!(
        "WHERE u.id IN (SELECT id FROM users WHERE email = ?1 COLLATE NOCASE
            UNION SELECT owner_user_id FROM stripe_customers WHERE email = ?1 COLLATE NOCASE)
         AND u.id > ?2 ORDER BY u.id LIMIT ?3"
    );
    reader.list(SQL, (address, after.unwrap_or_default(), limit), AnsweredUser::read)
}

/// A place in a list of users by answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerPlace {
    /// Which of the reasons that were asked for.
    pub(crate) reason: String,
    /// Within the reason.
    pub(crate) tier: String,
    /// Within the tier.
    pub(crate) user_id: String,
}

/// Users who have or had a subscription and whose answer has one of these reasons, and this tier if one is given: by
/// reason, tier and id, after the place `after`.
pub(crate) fn list_by_answer(
    reader: &StoreReader,
    reasons: &[EntitlementReason],
    tier: Option<&str>,
    after: Option<&AnswerPlace>,
    limit: u32,
) -> Result<Vec<AnsweredUser>, StoreError> {
    const OF_REASON: &str =
        answered!("WHERE s.reason = ?1 AND (s.tier, s.user_id) > (?2, ?3) ORDER BY s.tier, s.user_id LIMIT ?4");
    const OF_TIER: &str =
        answered!("WHERE s.reason = ?1 AND s.tier = ?2 AND s.user_id > ?3 ORDER BY s.user_id LIMIT ?4");
    let begins_at = after.and_then(|place| reasons.iter().position(|reason| reason.as_str() == place.reason));
    let mut found = Vec::new();
    for (index, reason) in reasons.iter().enumerate().skip(begins_at.unwrap_or(0)) {
        let place = after.filter(|_| Some(index) == begins_at);
        let missing = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        let user_id = place.map_or("", |place| &place.user_id);
        let (sql, tier) = match tier {
            Some(tier) => (OF_TIER, tier),
            None => (OF_REASON, place.map_or("", |place| &place.tier)),
        };
        found.extend(reader.list(sql, (reason.as_str(), tier, user_id, missing), AnsweredUser::read)?);
        if found.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            break;
        }
    }
    Ok(found)
}
