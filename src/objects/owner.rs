//! Whose customers, subscriptions, invoices and payments are: collects the words from the tables, has `ownership` decide,
//! writes the decision down and lets follow what follows. Each function computes from rows alone, so that any order of
//! events, statements and retractions ends in the same owners. Called by the families, by `links`, and at start when the
//! rules changed.

mod doubtful;
mod names;
pub(crate) mod rows;
pub(crate) mod said;

use serde_json::Value;

use super::derived::{self, DerivationBasis};
use super::{customer, subscription};
use crate::base::ownership::{self, LinkRules, LinkedBy, OwnedBy, OwnershipWords, Session, SubscriptionFacts};
use crate::objects::checkout_session as sessions;
use crate::objects::checkout_session::{SessionOwners, SessionSubject};
use crate::store::{StoreError, StoreReader, Tx, audit};
use crate::stripe::object;
pub(crate) use doubtful::{Doubtful, DoubtfulGroup, doubtful};
pub(crate) use names::{NamingObject, newest_name};
pub(super) use names::{is_named, keep_name, lost_name};

/// The user that a row's metadata name, as the object last had it: an update without a name takes nothing away.
fn named(metadata: &str, last_named: Option<&str>, rules: &LinkRules) -> Option<String> {
    let now = in_metadata(metadata, rules);
    now.or_else(|| last_named.and_then(rows::user_of).map(str::to_owned))
}

/// The user that a text of metadata names.
pub(crate) fn in_metadata(metadata: &str, rules: &LinkRules) -> Option<String> {
    if metadata == "{}" {
        return None;
    }
    let fields: Value = serde_json::from_str(metadata).ok()?;
    object::user_in_metadata(&fields, &rules.metadata_keys).map(str::to_owned)
}

/// A session as `ownership` judges it.
pub(crate) fn session(row: sessions::NamingSession, rules: &LinkRules) -> Session {
    Session {
        named: in_metadata(&row.metadata, rules),
        reference: row.client_reference_id.filter(|id| object::is_user_id(id)),
        id: row.id,
        status: row.status,
        payment_status: row.payment_status,
        created: row.created,
    }
}

fn sessions_about(reader: &StoreReader, about: SessionSubject, rules: &LinkRules) -> Result<Vec<Session>, StoreError> {
    let rows = sessions::list_about(reader, about)?;
    Ok(rows.into_iter().map(|row| session(row, rules)).collect())
}

/// Every word about a customer.
pub(crate) fn words_of_customer(
    reader: &StoreReader,
    id: &str,
    rules: &LinkRules,
) -> Result<OwnershipWords, StoreError> {
    let Some(row) = rows::find_customer(reader, id)? else { return Ok(OwnershipWords::default()) };
    let mut words = strong_words(reader, id, &row.metadata, row.last_named.as_deref(), rules)?;
    words.created = row.created;
    add_weak_words_of_customer(reader, id, &mut words, rules)?;
    Ok(words)
}

/// What was said of an object, and its own metadata: mostly they decide.
fn strong_words(
    reader: &StoreReader,
    id: &str,
    metadata: &str,
    last_named: Option<&str>,
    rules: &LinkRules,
) -> Result<OwnershipWords, StoreError> {
    let said = said::list(reader, id)?;
    Ok(OwnershipWords { said, named: named(metadata, last_named, rules), ..OwnershipWords::default() })
}

fn add_weak_words_of_customer(
    reader: &StoreReader,
    id: &str,
    words: &mut OwnershipWords,
    rules: &LinkRules,
) -> Result<(), StoreError> {
    let rows = sessions::list_about(reader, SessionSubject::Customer(id))?;
    words.subscriptions = rows::list_subscribed(reader, id)?
        .into_iter()
        .map(|row| {
            let own = named(&row.metadata, row.last_named.as_deref(), rules);
            let of_session = || {
                let made = rows.iter().filter(|session| session.subscription_id.as_deref() == Some(row.id.as_str()));
                made.cloned().find_map(|made| session(made, rules).metadata_word(rules).map(str::to_owned))
            };
            SubscriptionFacts {
                named: own.or_else(of_session),
                runs: row.status.as_deref().is_some_and(ownership::runs),
            }
        })
        .collect();
    words.sessions = rows.into_iter().map(|row| session(row, rules)).collect();
    Ok(())
}

/// Gives a customer to the user that the words name, and lets everything of it follow.
pub(crate) fn refresh_customer(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let Some(row) = rows::find_customer(tx, id)? else { return Ok(()) };
    let mut words = strong_words(tx, id, &row.metadata, row.last_named.as_deref(), basis.link)?;
    words.created = row.created;
    let mut found = ownership::decide(ownership::trace_customer(&words, basis.link));
    let mut contested = false;
    if found.is_none() {
        add_weak_words_of_customer(tx, id, &mut words, basis.link)?;
        found = ownership::decide(ownership::trace_customer(&words, basis.link));
        contested = ownership::is_contested(ownership::trace_customer(&words, basis.link));
    }
    if found == row.owner && contested == row.contested {
        return Ok(());
    }
    if contested && !row.contested {
        log::warn!(
            "a customer belongs to nobody, because its subscriptions name several users: `tilld user link ID {id}` says \
             whose it is customer_id={id}"
        );
    }
    rows::set_customer(tx, id, found.as_ref(), contested)?;
    let (before, after) = (row.owner.map(|owner| owner.user_id), found.map(|owner| owner.user_id));
    for user_id in users_of(&before, &after) {
        choose_main(tx, user_id)?;
    }
    if before == after {
        return Ok(());
    }
    audit::link_customer(tx, id, after.as_deref())?;
    for subscription_id in rows::list_subscriptions(tx, id)? {
        refresh_subscription(tx, &subscription_id, basis)?;
    }
    for invoice_id in rows::list_loose_invoices(tx, id)? {
        refresh_invoice(tx, &invoice_id, basis)?;
    }
    for intent_id in rows::list_payment_intents(tx, id)? {
        refresh_payment_intent(tx, &intent_id, basis)?;
    }
    Ok(())
}

/// Both, each once.
fn users_of<'a>(before: &'a Option<String>, after: &'a Option<String>) -> impl Iterator<Item = &'a str> {
    let after = after.as_deref();
    before.as_deref().filter(move |before| Some(*before) != after).into_iter().chain(after)
}

/// Chooses a user's main customer anew.
pub(super) fn choose_main(tx: &Tx, user_id: &str) -> Result<(), StoreError> {
    let rows = rows::list_candidates(tx, user_id)?;
    let present = rows.iter().find(|(_, is_main)| *is_main).map(|(one, _)| one.customer_id.clone());
    let candidates: Vec<_> = rows.into_iter().map(|(candidate, _)| candidate).collect();
    let main = ownership::main_customer(&candidates).map(|one| one.customer_id.as_str());
    if main == present.as_deref() && main.is_some() {
        return Ok(());
    }
    rows::set_main(tx, user_id, main)
}

/// A customer was deleted at Stripe, or came back, or its age became known.
pub(super) fn refresh_main(tx: &Tx, customer_id: &str) -> Result<Option<String>, StoreError> {
    let owner = customer::find_owner(tx, customer_id)?;
    owner.as_deref().map_or(Ok(()), |user_id| choose_main(tx, user_id))?;
    Ok(owner)
}

/// Every word about a subscription.
pub(crate) fn words_of_subscription(
    reader: &StoreReader,
    id: &str,
    rules: &LinkRules,
) -> Result<OwnershipWords, StoreError> {
    let Some(row) = rows::find_subscription(reader, id)? else { return Ok(OwnershipWords::default()) };
    let mut words = strong_words(reader, id, &row.metadata, row.last_named.as_deref(), rules)?;
    add_weak_words(reader, &mut words, (SessionSubject::Subscription(id), row.customer_id.as_deref()), rules)?;
    Ok(words)
}

fn add_weak_words(
    reader: &StoreReader,
    words: &mut OwnershipWords,
    (about, customer_id): (SessionSubject, Option<&str>),
    rules: &LinkRules,
) -> Result<(), StoreError> {
    words.sessions = sessions_about(reader, about, rules)?;
    words.customers_user = customer_id.map_or(Ok(None), |id| customer::find_owner(reader, id))?;
    Ok(())
}

/// Whose a row is, by its words; the weak ones are read only where the strong ones are silent.
fn owner_of(
    tx: &Tx,
    row: &rows::OwnedObject,
    id: &str,
    about: SessionSubject,
    rules: &LinkRules,
) -> Result<Option<OwnedBy>, StoreError> {
    let mut words = strong_words(tx, id, &row.metadata, row.last_named.as_deref(), rules)?;
    let found = ownership::decide(ownership::trace_object(&words, rules));
    if found.is_some() {
        return Ok(found);
    }
    add_weak_words(tx, &mut words, (about, row.customer_id.as_deref()), rules)?;
    Ok(ownership::decide(ownership::trace_object(&words, rules)))
}

/// Gives a subscription to the user that the words name, and what was billed for it. `true`: it has another owner than
/// before, and the effective subscriptions of both have been computed.
pub(crate) fn refresh_subscription(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<bool, StoreError> {
    let Some(row) = rows::find_subscription(tx, id)? else { return Ok(false) };
    let found = owner_of(tx, &row, id, SessionSubject::Subscription(id), basis.link)?;
    if found == row.owner {
        return Ok(false);
    }
    rows::set_subscription(tx, id, found.as_ref())?;
    rows::set_billed(tx, id, found.as_ref())?;
    if found.as_ref().is_some_and(|owner| owner.linked_by == LinkedBy::Reference) {
        log::warn!(
            "a subscription is linked to its user by a client_reference_id alone, which gives access and nothing else: \
             `tilld user link ID {id}` says whose it is subscription_id={id}"
        );
    }
    let (before, user_id) = (row.owner.map(|owner| owner.user_id), found.map(|owner| owner.user_id));
    // Another word for the same user may change which of the user's subscriptions decides.
    audit::link_subscription(tx, id, user_id.as_deref())?;
    for user_id in users_of(&before, &user_id) {
        derived::refresh_effective(tx, user_id, basis)?;
    }
    Ok(true)
}

/// Says so where a user pays for two subscriptions, which is mostly one too many.
pub(super) fn warn_of_second(tx: &Tx, id: &str) -> Result<(), StoreError> {
    let Some(user_id) = subscription::find_user(tx, id)? else { return Ok(()) };
    let running = doubtful::list_running(tx, &user_id)?;
    if running.len() > 1 && running.iter().any(|one| one == id) {
        log::warn!(
            "a user has {} subscriptions that run, and may be paying twice user_id={user_id} subscriptions={}",
            running.len(),
            running.join(",")
        );
    }
    Ok(())
}

/// Gives an invoice to whom its subscription belongs; one of no subscription that is known, to whom its words name.
pub(crate) fn refresh_invoice(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let Some(row) = rows::find_invoice(tx, id)? else { return Ok(()) };
    let found = match subscribers(tx, row.part_of.as_deref())? {
        Some(owner) => owner,
        None => owner_of(tx, &row, id, SessionSubject::Invoice(id), basis.link)?,
    };
    if found == row.owner {
        return Ok(());
    }
    rows::set_invoice(tx, id, found.as_ref())
}

/// The owner of a subscription, which may be nobody; `None`: no such subscription is known.
fn subscribers(reader: &StoreReader, subscription_id: Option<&str>) -> Result<Option<Option<OwnedBy>>, StoreError> {
    let found = subscription_id.map_or(Ok(None), |id| rows::find_subscription(reader, id))?;
    Ok(found.map(|subscription| subscription.owner))
}

/// Gives a payment to whom the subscription that it pays for belongs; any other, to whom its words name.
pub(crate) fn refresh_payment_intent(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let Some(row) = rows::find_payment_intent(tx, id)? else { return Ok(()) };
    let invoice = row.part_of.as_deref().map_or(Ok(None), |invoice_id| rows::find_invoice(tx, invoice_id))?;
    let found = match subscribers(tx, invoice.and_then(|invoice| invoice.part_of).as_deref())? {
        Some(owner) => owner,
        None => owner_of(tx, &row, id, SessionSubject::PaymentIntent(id), basis.link)?,
    };
    if found == row.owner {
        return Ok(());
    }
    rows::set_payment_intent(tx, id, found.as_ref())
}

/// What a session is about may belong to another user now.
pub(super) fn refresh_concerned(tx: &Tx, concerned: &SessionOwners, basis: DerivationBasis) -> Result<(), StoreError> {
    if let Some(id) = &concerned.customer_id {
        refresh_customer(tx, id, basis)?;
    }
    if let Some(id) = &concerned.subscription_id {
        refresh_subscription(tx, id, basis)?;
        // What it says of the subscription may say whose the subscription's customer is.
        if let Some(customer_id) = subscription::find_customer(tx, id)? {
            refresh_customer(tx, &customer_id, basis)?;
        }
    }
    if let Some(id) = &concerned.invoice_id {
        refresh_invoice(tx, id, basis)?;
    }
    if let Some(id) = &concerned.payment_intent_id {
        refresh_payment_intent(tx, id, basis)?;
    }
    Ok(())
}
