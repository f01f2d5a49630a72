//! Other rules of `[link]`: which keys of metadata name a user, and what a reference is worth. Every name is read again
//! from the log and the mirror, and everybody gets what is theirs by the rules of today. In pages, each one transaction; a
//! process that dies begins again, since the rules are remembered last. Called at start.

use serde_json::Value;

use super::derived::Basis;
use super::{Context, ProjectionError, owner, read};
use crate::ownership::Rules;
use crate::store::owners::{self, Named, Seen};
use crate::store::{Store, StoreError, Tx, checkout_sessions, inbox, objects, settings, user_links, users};
use crate::stripe::event::{self, Content};
use crate::stripe::object;

/// Rows in one transaction.
const PAGE: u32 = 500;

/// Has all that is somebody's find its owner again if the rules are not those of the last run.
///
/// # Errors
/// When the database cannot take it.
pub fn if_rules_changed(store: &Store, context: &Context, now_ms: i64) -> Result<(), StoreError> {
    let (keys, rules) = (format!("{:?}", context.link.metadata_keys), format!("{:?}", context.link));
    let known = store.read(|reader| {
        Ok((settings::find(reader, settings::LINK_KEYS)?, settings::find(reader, settings::LINK_RULES)?))
    })?;
    if known == (Some(keys.clone()), Some(rules.clone())) {
        return Ok(());
    }
    // A new file holds nothing that other rules could have linked.
    if known.1.is_some() {
        log::info!("the rules of [link] have changed: everybody is linked anew");
        if known.0.as_ref() != Some(&keys) {
            read_names_again(store, context, now_ms)?;
        }
        name_users_of_sessions(store, context, now_ms)?;
        refresh_all(store, context, now_ms)?;
    }
    store.write(move |tx| {
        settings::put(tx, settings::LINK_KEYS, &keys)?;
        settings::put(tx, settings::LINK_RULES, &rules)
    })
}

fn read_names_again(store: &Store, context: &Context, now_ms: i64) -> Result<(), StoreError> {
    store.write(owners::forget_names)?;
    let rules = &context.link;
    in_pages(0, |after| {
        let rules = rules.clone();
        store.write(move |tx| {
            let page = inbox::list_projected(tx, after, PAGE)?;
            for event in &page {
                // An event that cannot be read has named nobody.
                if let Ok(Content::Snapshot(snapshot)) = event::content(&event.data) {
                    read_name(tx, (&event.seen(), event.livemode), &snapshot.object, &rules, now_ms)?;
                }
            }
            Ok(page.last().map(|event| event.log_id))
        })
    })?;
    // What was read from the API is in no event; the mirror has the newest of it.
    in_pages(0, |after| {
        let rules = rules.clone();
        store.write(move |tx| {
            let page = objects::list_read(tx, after, PAGE)?;
            for row in &page {
                let object = serde_json::from_str(&row.data).unwrap_or(Value::Null);
                read_name(tx, (&row.seen(), false), &object, &rules, now_ms)?;
            }
            Ok(page.last().map(|row| row.place))
        })
    })
}

/// Goes on until a page is empty; a page tells where it ended.
fn in_pages<P>(first: P, mut page: impl FnMut(P) -> Result<Option<P>, StoreError>) -> Result<(), StoreError> {
    let mut next = Some(first);
    while let Some(after) = next {
        next = page(after)?;
    }
    Ok(())
}

/// The user that an object names exists, and is kept as the newest word of the object.
fn read_name(
    tx: &Tx,
    (seen, livemode): (&Seen, bool),
    object: &Value,
    rules: &Rules,
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some(user_id) = object::named_user(object, &rules.metadata_keys) else { return Ok(()) };
    let (id, named) = match seen.object {
        "customer" => (seen.id, Named::Customer),
        "subscription" => (seen.id, Named::Subscription),
        "invoice" => (seen.id, Named::Invoice),
        "payment_intent" => (seen.id, Named::PaymentIntent),
        _ => return Ok(()),
    };
    users::ensure(tx, user_id, now_ms)?;
    user_links::supersede(tx, id, user_id, seen.event_created)?;
    let known = owners::find_last_named(tx, named, id)?;
    if known.is_some_and(|known| owner::is_of_second(&known, seen.event_created))
        && !seen.event_id.starts_with(read::PREFIX)
    {
        let object = owner::Object { named, id, livemode };
        // An event that cannot be read was not projected.
        return owner::last_of_second(tx, object, seen.event_created, None, rules).map_err(of_projection);
    }
    owners::remember(tx, named, id, &owners::naming(seen.event_created, seen.event_id, user_id))
}

fn of_projection(error: ProjectionError) -> StoreError {
    match error {
        ProjectionError::Store(error) => error,
        error => StoreError::Sql(error.to_string()),
    }
}

/// Whom completed sessions name, by the rules of today.
fn name_users_of_sessions(store: &Store, context: &Context, now_ms: i64) -> Result<(), StoreError> {
    in_pages(String::new(), |after| {
        let rules = context.link.clone();
        store.write(move |tx| {
            let page = checkout_sessions::list_after(tx, &after, PAGE)?;
            for row in &page {
                let session = owner::session(row.clone(), &rules);
                for user_id in [session.metadata_word(&rules), session.reference_word(&rules)].into_iter().flatten() {
                    users::ensure(tx, user_id, now_ms)?;
                }
            }
            Ok(page.last().map(|row| row.id.clone()))
        })
    })
}

fn refresh_all(store: &Store, context: &Context, now_ms: i64) -> Result<(), StoreError> {
    for named in [Named::Customer, Named::Subscription, Named::Invoice, Named::PaymentIntent] {
        in_pages(String::new(), |after| {
            let context = context.clone();
            store.write(move |tx| {
                let page = owners::list_ids(tx, named, &after, PAGE)?;
                for id in &page {
                    refresh(tx, named, id, context.basis(now_ms))?;
                }
                Ok(page.into_iter().next_back())
            })
        })?;
    }
    Ok(())
}

fn refresh(tx: &Tx, named: Named, id: &str, basis: Basis) -> Result<(), StoreError> {
    match named {
        Named::Customer => owner::refresh_customer(tx, id, basis),
        Named::Subscription => owner::refresh_subscription(tx, id, basis).map(|_| ()),
        Named::Invoice => owner::refresh_invoice(tx, id, basis),
        Named::PaymentIntent => owner::refresh_payment_intent(tx, id, basis),
    }
}
