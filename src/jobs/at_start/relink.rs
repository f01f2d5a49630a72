//! Finds every owner again when the rules of `[link]` have changed (which metadata keys name a user, what a reference
//! is worth): the names are read again from the rows and the log, and owners and answers follow by the new rules. It
//! works in pages, each one transaction; a process that dies begins again, since the rules are remembered last. It must
//! never make or withdraw a statement of the application. Called by `app::daemon::opening`; [`refresh_within`] by
//! `rebuild`.

use crate::base::ownership::LinkRules;
use crate::notify;
use crate::notify::NotifyContext;
use crate::objects::DerivationBasis;
use crate::objects::checkout_session;
use crate::objects::owner::rows::{self, OwnableKind};
use crate::objects::user;
use crate::objects::{ProjectionError, effective, owner};
use crate::store::{Store, StoreError, StoreReader, Tx, settings};

const KINDS: [OwnableKind; 4] =
    [OwnableKind::Customer, OwnableKind::Subscription, OwnableKind::Invoice, OwnableKind::PaymentIntent];
/// Rows in one transaction.
const PAGE: u32 = 500;

/// Finds all owners again if the rules differ from those of the last run.
pub fn if_rules_changed(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    let (keys, rules) = (format!("{:?}", context.projection.link.metadata_keys), fingerprint(context));
    let known = store.read(|reader| {
        Ok((settings::find(reader, settings::LINK_KEYS)?, settings::find(reader, settings::LINK_RULES)?))
    })?;
    if known == (Some(keys.clone()), Some(rules.clone())) {
        return Ok(());
    }
    // In a new file nothing was linked by other rules.
    if known.1.is_some() {
        log::info!("the rules of [link] have changed: all users are linked again");
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

fn fingerprint(context: &NotifyContext) -> String {
    format!("{:?}", context.projection.link)
}

/// Whether the owners were found by other rules; in a database that remembers none nothing was linked.
pub(crate) fn are_other_rules(reader: &StoreReader, context: &NotifyContext) -> Result<bool, StoreError> {
    Ok(settings::find(reader, settings::LINK_RULES)?.is_some_and(|known| known != fingerprint(context)))
}

/// Reads which user each object names, by the new keys: in its metadata or, where that names nobody, in the newest
/// event that did.
fn read_names_again(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    for named in KINDS {
        in_pages(String::new(), |after| {
            let rules = context.projection.link.clone();
            store.write(move |tx| {
                let page = rows::list_ids(tx, named, &after, PAGE)?;
                for id in &page {
                    read_name(tx, named, id, &rules, now_ms)?;
                }
                Ok(page.into_iter().next_back())
            })
        })?;
    }
    Ok(())
}

fn read_name(tx: &Tx, named: OwnableKind, id: &str, rules: &LinkRules, now_ms: i64) -> Result<(), ProjectionError> {
    let Some(row) = rows::find_naming(tx, rows::OwnableObject { kind: named, id })? else { return Ok(()) };
    let now = owner::in_metadata(&row.metadata, rules);
    let newest = match &now {
        Some(_) => None,
        None => [true, false].into_iter().try_fold(None, |found, livemode| {
            let in_log = owner::newest_name(tx, owner::NamingObject { named, id, livemode }, None, rules)?;
            Ok::<_, ProjectionError>(found.max(in_log))
        })?,
    };
    let user_id = now.as_deref().or_else(|| newest.as_deref().and_then(rows::user_of));
    if let Some(user_id) = user_id {
        user::ensure(tx, user_id, now_ms)?;
    }
    Ok(rows::set_last_named(tx, rows::OwnableObject { kind: named, id }, newest.as_deref())?)
}

/// Repeats `page` until it returns no position to continue from.
fn in_pages<P>(first: P, mut page: impl FnMut(P) -> Result<Option<P>, StoreError>) -> Result<(), StoreError> {
    let mut next = Some(first);
    while let Some(after) = next {
        next = page(after)?;
    }
    Ok(())
}

/// Creates the users that completed checkout sessions name by the new rules.
fn name_users_of_sessions(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    in_pages(String::new(), |after| {
        let rules = context.projection.link.clone();
        store.write(move |tx| {
            let page = checkout_session::list_after(tx, &after, PAGE)?;
            for row in &page {
                let session = owner::session(row.clone(), &rules);
                for user_id in [session.metadata_word(&rules), session.reference_word(&rules)].into_iter().flatten() {
                    user::ensure(tx, user_id, now_ms)?;
                }
            }
            Ok(page.last().map(|row| row.id.clone()))
        })
    })
}

fn refresh_all(store: &Store, context: &NotifyContext, now_ms: i64) -> Result<(), StoreError> {
    for named in KINDS {
        in_pages(String::new(), |after| {
            let context = context.clone();
            store.write(move |tx| {
                let page = rows::list_ids(tx, named, &after, PAGE)?;
                notify::with_notices(tx, &context, now_ms, |basis| {
                    page.iter().try_for_each(|id| refresh(tx, named, id, basis))
                })?;
                Ok(page.into_iter().next_back())
            })
        })?;
    }
    Ok(())
}

/// Finds all owners and computes all answers from the tables, within one transaction.
pub(crate) fn refresh_within(tx: &Tx, basis: DerivationBasis) -> Result<(), StoreError> {
    for named in KINDS {
        in_pages(String::new(), |after| {
            let page = rows::list_ids(tx, named, &after, PAGE)?;
            page.iter().try_for_each(|id| refresh(tx, named, id, basis))?;
            Ok(page.into_iter().next_back())
        })?;
    }
    in_pages(String::new(), |after| {
        let page = user::list_ids(tx, &after, PAGE)?;
        page.iter().try_for_each(|id| effective::refresh(tx, id, basis))?;
        Ok(page.into_iter().next_back())
    })
}

fn refresh(tx: &Tx, named: OwnableKind, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    match named {
        OwnableKind::Customer => owner::refresh_customer(tx, id, basis),
        OwnableKind::Subscription => owner::refresh_subscription(tx, id, basis).map(|_| ()),
        OwnableKind::Invoice => owner::refresh_invoice(tx, id, basis),
        OwnableKind::PaymentIntent => owner::refresh_payment_intent(tx, id, basis),
    }
}
