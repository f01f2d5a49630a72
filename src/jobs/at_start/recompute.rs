//! Recomputes what depends on the policy when it has changed since the last run: every user's effective subscription
//! after other plans or periods, the open failure cases after those or another warning time. It works in pages, each
//! one transaction. It must never change what Stripe said. Called by `app::daemon::opening`.

use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::effective;
use crate::objects::{failure_case, user};
use crate::store::{Store, StoreError, StoreReader, settings};

/// Users in one transaction.
const PAGE: u32 = 500;

/// Recomputes every user's effective subscription if plans or periods differ from those of the last run, and makes all
/// open failure cases due if those or the warning time do.
pub fn if_policy_changed(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    let policy = fingerprint(context);
    let warning = context.notices.warning_s.to_string();
    let is_known = |name: &str, value: &String| {
        store.read(|reader| settings::find(reader, name)).map(|known| known.as_ref() == Some(value))
    };
    let same_policy = is_known(settings::POLICY, &policy)?;
    if same_policy && is_known(settings::WARNING, &warning)? {
        return Ok(());
    }
    if !same_policy {
        refresh_everyone(store, context, now_ms)?;
    }
    store.write(move |tx| {
        failure_case::set_all_due(tx)?;
        settings::put(tx, settings::WARNING, &warning)?;
        settings::put(tx, settings::POLICY, &policy)
    })
}

fn fingerprint(context: &NotifyContext) -> String {
    format!("{:?}", context.projection.policy)
}

/// Whether the answers were computed with other plans or periods; a database that remembers none has no such answers.
pub(crate) fn is_other_policy(reader: &StoreReader, context: &NotifyContext) -> Result<bool, StoreError> {
    Ok(settings::find(reader, settings::POLICY)?.is_some_and(|known| known != fingerprint(context)))
}

fn refresh_everyone(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    let mut last = String::new();
    loop {
        let (context, after) = (context.clone(), last);
        let ids = store.write(move |tx| {
            let ids = user::list_ids(tx, &after, PAGE)?;
            notify::with_notices(tx, &context, now_ms, |basis| {
                ids.iter().try_for_each(|id| effective::refresh(tx, id, basis))
            })?;
            Ok(ids)
        })?;
        match ids.into_iter().next_back() {
            Some(id) => last = id,
            None => return Ok(()),
        }
    }
}
