//! Whose customers, subscriptions, invoices and payments are: collects from the tables what names a user (its words), has
//! `base::ownership` decide, stores the decision and computes anew what depends on it. Each function computes from rows
//! alone, so that any order of events, statements and retractions ends in the same owners. It must never decide by a rule of
//! its own. Called by the kinds, by `links`, and at start when the rules changed.

mod doubtful;
mod names;
pub(crate) mod rows;
pub(crate) mod statements;

use serde_json::Value;

use super::checkout_session::{self, NamingSession, SessionSubject, SessionSubjects};
use super::{DerivationBasis, customer, effective, subscription};
use crate::base::ownership::{self, LinkRules, LinkedBy, OwnedBy, OwnershipEvidence, Session, SubscriptionFacts};
use crate::store::{StoreError, StoreReader, Tx, audit};
use crate::stripe::object;
pub(crate) use doubtful::{Doubtful, DoubtfulGroup, doubtful};
pub(crate) use names::{NamingObject, newest_name};
pub(super) use names::{is_named, keep_name, lost_name};

/// The user that a row's metadata name, or else the last one that they named: an update without a name takes nothing away.
fn named(metadata: &str, last_named: Option<&str>, rules: &LinkRules) -> Option<String> {
    let now = in_metadata(metadata, rules);
    now.or_else(|| last_named.and_then(rows::user_of).map(str::to_owned))
}

/// The user that metadata, as JSON text, name.
pub(crate) fn in_metadata(metadata: &str, rules: &LinkRules) -> Option<String> {
    if metadata == "{}" {
        return None;
    }
    let fields: Value = serde_json::from_str(metadata).ok()?;
    object::user_in_metadata(&fields, &rules.metadata_keys).map(str::to_owned)
}

/// A session as `ownership` judges it.
pub(crate) fn session(row: NamingSession, rules: &LinkRules) -> Session {
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
    let rows = checkout_session::list_about(reader, about)?;
    Ok(rows.into_iter().map(|row| session(row, rules)).collect())
}

/// Everything that names a user of a customer.
pub(crate) fn words_of_customer(
    reader: &StoreReader,
    id: &str,
    rules: &LinkRules,
) -> Result<OwnershipEvidence, StoreError> {
    let Some(row) = rows::find_customer(reader, id)? else { return Ok(OwnershipEvidence::default()) };
    let mut words = strong_words(reader, id, &row.metadata, row.last_named.as_deref(), rules)?;
    words.created = row.created;
    add_weak_words_of_customer(reader, id, &mut words, rules)?;
    Ok(words)
}

/// The statements about an object, and its own metadata: mostly they decide.
fn strong_words(
    reader: &StoreReader,
    id: &str,
    metadata: &str,
    last_named: Option<&str>,
    rules: &LinkRules,
) -> Result<OwnershipEvidence, StoreError> {
    let said = statements::list(reader, id)?;
    Ok(OwnershipEvidence { said, named: named(metadata, last_named, rules), ..OwnershipEvidence::default() })
}

fn add_weak_words_of_customer(
    reader: &StoreReader,
    id: &str,
    words: &mut OwnershipEvidence,
    rules: &LinkRules,
) -> Result<(), StoreError> {
    let rows = checkout_session::list_about(reader, SessionSubject::Customer(id))?;
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

/// Gives a customer to the user that its words name, and computes anew what depends on that.
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
            customer_id = id;
            "a customer belongs to nobody, because its subscriptions name several users: `tilld user link ID {id}` says \
             whose it is"
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

/// Chooses the main customer of a user anew.
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

/// The same for the owner of a customer that was deleted or has come back at Stripe, or of which the age is known now.
/// Returns the owner.
pub(super) fn refresh_main(tx: &Tx, customer_id: &str) -> Result<Option<String>, StoreError> {
    let owner = customer::find_owner(tx, customer_id)?;
    owner.as_deref().map_or(Ok(()), |user_id| choose_main(tx, user_id))?;
    Ok(owner)
}

/// Everything that names a user of a subscription.
pub(crate) fn words_of_subscription(
    reader: &StoreReader,
    id: &str,
    rules: &LinkRules,
) -> Result<OwnershipEvidence, StoreError> {
    let Some(row) = rows::find_subscription(reader, id)? else { return Ok(OwnershipEvidence::default()) };
    let mut words = strong_words(reader, id, &row.metadata, row.last_named.as_deref(), rules)?;
    let sources = WeakSources { about: SessionSubject::Subscription(id), customer_id: row.customer_id.as_deref() };
    add_weak_words(reader, &mut words, sources, rules)?;
    Ok(words)
}

/// Where the weak words about an object are found.
struct WeakSources<'a> {
    about: SessionSubject<'a>,
    customer_id: Option<&'a str>,
}

fn add_weak_words(
    reader: &StoreReader,
    words: &mut OwnershipEvidence,
    sources: WeakSources,
    rules: &LinkRules,
) -> Result<(), StoreError> {
    words.sessions = sessions_about(reader, sources.about, rules)?;
    words.customers_user = sources.customer_id.map_or(Ok(None), |id| customer::find_owner(reader, id))?;
    Ok(())
}

/// The owner of an object by its words; the weak ones are read only where the strong ones name nobody.
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
    add_weak_words(tx, &mut words, WeakSources { about, customer_id: row.customer_id.as_deref() }, rules)?;
    Ok(ownership::decide(ownership::trace_object(&words, rules)))
}

/// Gives a subscription, and what was billed for it, to the user that its words name. `true`: its owner has changed, and the
/// effective subscriptions of the old and the new one have been computed.
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
            subscription_id = id;
            "a subscription is linked to its user by a client_reference_id alone, which gives access and nothing else: \
             `tilld user link ID {id}` says whose it is"
        );
    }
    let (before, user_id) = (row.owner.map(|owner| owner.user_id), found.map(|owner| owner.user_id));
    // Even where the user stays the same, another word for him may change which of his subscriptions decides.
    audit::link_subscription(tx, id, user_id.as_deref())?;
    for user_id in users_of(&before, &user_id) {
        effective::refresh(tx, user_id, basis)?;
    }
    Ok(true)
}

/// Warns where a user pays for two subscriptions, which is mostly one too many.
pub(super) fn warn_of_second(tx: &Tx, id: &str) -> Result<(), StoreError> {
    let Some(user_id) = subscription::find_user(tx, id)? else { return Ok(()) };
    let running = doubtful::list_running(tx, &user_id)?;
    if running.len() > 1 && running.iter().any(|one| one == id) {
        log::warn!(
            user_id, subscriptions = running.join(",");
            "a user has {} subscriptions that run, and may be paying twice",
            running.len()
        );
    }
    Ok(())
}

/// Gives an invoice to the owner of its subscription; where no such subscription is known, to the user its words name.
pub(crate) fn refresh_invoice(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let Some(row) = rows::find_invoice(tx, id)? else { return Ok(()) };
    let found = match subscriber(tx, row.part_of.as_deref())? {
        Some(owner) => owner,
        None => owner_of(tx, &row, id, SessionSubject::Invoice(id), basis.link)?,
    };
    if found == row.owner {
        return Ok(());
    }
    rows::set_invoice(tx, id, found.as_ref())
}

/// The owner of a subscription, which may be nobody; `None`: no such subscription is known.
fn subscriber(reader: &StoreReader, subscription_id: Option<&str>) -> Result<Option<Option<OwnedBy>>, StoreError> {
    let found = subscription_id.map_or(Ok(None), |id| rows::find_subscription(reader, id))?;
    Ok(found.map(|subscription| subscription.owner))
}

/// Gives a payment to the owner of the subscription that it pays for; any other, to the user its words name.
pub(crate) fn refresh_payment_intent(tx: &Tx, id: &str, basis: DerivationBasis) -> Result<(), StoreError> {
    let Some(row) = rows::find_payment_intent(tx, id)? else { return Ok(()) };
    let invoice = row.part_of.as_deref().map_or(Ok(None), |invoice_id| rows::find_invoice(tx, invoice_id))?;
    let found = match subscriber(tx, invoice.and_then(|invoice| invoice.part_of).as_deref())? {
        Some(owner) => owner,
        None => owner_of(tx, &row, id, SessionSubject::PaymentIntent(id), basis.link)?,
    };
    if found == row.owner {
        return Ok(());
    }
    rows::set_payment_intent(tx, id, found.as_ref())
}

/// The objects that a session is about may belong to another user now.
pub(super) fn refresh_subjects(tx: &Tx, subjects: &SessionSubjects, basis: DerivationBasis) -> Result<(), StoreError> {
    if let Some(id) = &subjects.customer_id {
        refresh_customer(tx, id, basis)?;
    }
    if let Some(id) = &subjects.subscription_id {
        refresh_subscription(tx, id, basis)?;
        // Who owns the subscription may decide who owns its customer.
        if let Some(customer_id) = subscription::find_customer(tx, id)? {
            refresh_customer(tx, &customer_id, basis)?;
        }
    }
    if let Some(id) = &subjects.invoice_id {
        refresh_invoice(tx, id, basis)?;
    }
    if let Some(id) = &subjects.payment_intent_id {
        refresh_payment_intent(tx, id, basis)?;
    }
    Ok(())
}
