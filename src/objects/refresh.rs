//! Reading what is known of a user from Stripe once more, because an operator asks for it: the customers, the subscriptions
//! that have not ended and the invoices that are to be paid, each as a fetch in the outbox, as `thin` makes them. It must
//! never call Stripe itself. Called by `jobs::operator`.

use super::thin;
use crate::store::engine::row;
use crate::store::{StoreError, StoreReader, Tx};

/// The most objects that one act reads: about as many requests, which take from those that Stripe grants the application.
pub(crate) const MOST_OBJECTS: u32 = 100;

const LIST: &str = "SELECT 'customer', stripe_customer_id FROM
        (SELECT stripe_customer_id FROM stripe_customers WHERE owner_user_id = ?1 AND deleted = 0
         ORDER BY user_id IS NULL, stripe_customer_id LIMIT ?2)
    UNION ALL SELECT 'subscription', stripe_subscription_id FROM
        (SELECT stripe_subscription_id FROM stripe_subscriptions WHERE user_id = ?1 AND deleted = 0
         AND status NOT IN ('canceled', 'incomplete_expired') ORDER BY created DESC LIMIT ?2)
    UNION ALL SELECT 'invoice', stripe_invoice_id FROM
        (SELECT stripe_invoice_id FROM stripe_invoices WHERE user_id = ?1 AND status = 'open' AND deleted = 0
         ORDER BY created DESC LIMIT ?2)
    LIMIT ?2";

/// Kinds and ids of what would be read for a user.
pub(crate) fn list(reader: &StoreReader, user_id: &str) -> Result<Vec<(String, String)>, StoreError> {
    reader.list(LIST, (user_id, MOST_OBJECTS), row::tuple)
}

/// Has them read, as soon as the fetch thread looks. How many there are.
pub(crate) fn ask(tx: &Tx, user_id: &str, now_ms: i64) -> Result<usize, StoreError> {
    let objects = list(tx, user_id)?;
    for (object, id) in &objects {
        thin::fetch_asked(tx, (object, id), user_id, now_ms)?;
    }
    Ok(objects.len())
}
