//! The user that an object's metadata named last, kept while they name nobody: by the newest event that named one. It is a
//! function of the set of the object's events and must never depend on the order in which they arrived. Called by the kinds
//! and by `jobs::relink`.

use super::rows::{self, OwnableKind, OwnableObject};
use super::{in_metadata, statements};
use crate::base::order::{self, OrderCandidate};
use crate::base::ownership::LinkRules;
use crate::objects::{ProjectionError, ProjectionStep, READING_PREFIX, WinningState, kinds};
use crate::store::inbox::{self, SiblingKey};
use crate::store::{StoreError, Tx};
use crate::stripe::event::{self, EventContent, Snapshot};
use crate::stripe::object;

/// Events of one object that are looked at for names.
const MAX_SIBLINGS: u32 = 1000;

/// Whether the metadata of the object that a row rests on name a user.
pub(in crate::objects) fn is_named(winner: &WinningState, rules: &LinkRules) -> bool {
    object::named_user(&winner.object, &rules.metadata_keys).is_some()
}

/// The user that an object's metadata name and are about to lose, as `last_named` keeps it. An update without a name takes
/// nothing away; but whoever rewrote the metadata should know. To be called before the row is replaced.
pub(in crate::objects) fn lost_name(
    tx: &Tx,
    winner: &WinningState,
    object: OwnableObject,
    rules: &LinkRules,
) -> Result<Option<String>, StoreError> {
    if is_named(winner, rules) {
        return Ok(None);
    }
    let Some(row) = rows::find_naming(tx, object)? else { return Ok(None) };
    let Some(user_id) = in_metadata(&row.metadata, rules) else { return Ok(None) };
    log::warn!(
        id = object.id, user_id;
        "an update took the user out of the metadata; it stays that user's until another one is named, or \
         `tilld user unlink` says so"
    );
    Ok(Some(rows::naming(row.event_created, &row.event_id, &user_id)))
}

/// Keeps the newest name of an object whose own metadata, as they are now, name nobody: that of the newest event that named a
/// user, by the log and `order`, or that of a newer reading. `lost`: see [`lost_name`]. Returns whether the name may have
/// changed. To be called after the row is written.
pub(in crate::objects) fn keep_name(
    step: &ProjectionStep,
    winner: Option<&WinningState>,
    object: OwnableObject,
    lost: Option<String>,
) -> Result<bool, ProjectionError> {
    let rules = &step.context.link;
    let user_id = object::named_user(&step.snapshot.object, &rules.metadata_keys);
    if let Some(user_id) = user_id {
        statements::supersede(step.tx, object.id, user_id, step.event.created)?;
    }
    // The row's own metadata name a user, so no earlier name counts.
    if winner.is_some_and(|winner| is_named(winner, rules)) {
        return Ok(false);
    }
    let Some(row) = rows::find_naming(step.tx, object)? else { return Ok(false) };
    let second = rows::naming(step.event.created, "", "");
    let of_second = |word: &str| word.get(..SECOND_DIGITS) == second.get(..SECOND_DIGITS);
    let may_change = lost.is_some() || user_id.is_some() || row.last_named.as_deref().is_some_and(of_second);
    if !may_change || in_metadata(&row.metadata, rules).is_some() {
        return Ok(false);
    }
    let livemode = step.event.livemode.unwrap_or(false);
    let naming = NamingObject { named: object.kind, id: object.id, livemode };
    let in_log = newest_name(step.tx, naming, Some(step), rules)?;
    let is_read = |word: &String| word.get(SECOND_DIGITS + 1..).is_some_and(|rest| rest.starts_with(READING_PREFIX));
    let newest = [lost, row.last_named].into_iter().flatten().filter(is_read).chain(in_log).max();
    rows::set_last_named(step.tx, object, newest.as_deref())?;
    Ok(true)
}

/// How many digits `last_named` begins with: the second.
const SECOND_DIGITS: usize = 12;

/// An object that may name a user.
#[derive(Clone, Copy)]
pub(crate) struct NamingObject<'a> {
    pub(crate) named: OwnableKind,
    pub(crate) id: &'a str,
    pub(crate) livemode: bool,
}

/// The newest name of an object in its events, as `last_named` keeps it; of several in one second the last, by `order`.
/// `arriving`: an event that is not among the projected ones yet.
pub(crate) fn newest_name(
    tx: &Tx,
    object: NamingObject,
    arriving: Option<&ProjectionStep>,
    rules: &LinkRules,
) -> Result<Option<String>, ProjectionError> {
    let events = events_of(tx, object, arriving)?;
    let kind = kinds::of(object.named.object());
    fn named<'a>(event: &'a OrderCandidate, rules: &LinkRules) -> Option<&'a str> {
        object::named_user(&event.object, &rules.metadata_keys)
    }
    let names = |event: &OrderCandidate| named(event, rules).is_some();
    let Some(second) = events.iter().filter(|event| names(event)).map(|event| event.created).max() else {
        return Ok(None);
    };
    let last = |keep: &dyn Fn(&OrderCandidate) -> bool| {
        let kept: Vec<OrderCandidate> = events.iter().filter(|event| keep(event)).cloned().collect();
        let winner = order::decide(kind, &kept).map(|decision| kept[decision.winner].clone());
        winner.filter(|event| event.created == second && names(event))
    };
    let winner = last(&|event| event.created <= second)
        .or_else(|| last(&|event| event.created < second || (event.created == second && names(event))))
        .or_else(|| last(&|event| event.created == second && names(event)));
    Ok(winner.and_then(|event| Some(rows::naming(second, &event.event_id, named(&event, rules)?))))
}

fn events_of(
    tx: &Tx,
    object: NamingObject,
    arriving: Option<&ProjectionStep>,
) -> Result<Vec<OrderCandidate>, ProjectionError> {
    let candidate = |event_id: String, event_type: String, created: i64, snapshot: Snapshot| OrderCandidate {
        event_id,
        event_type,
        created,
        object: snapshot.object,
        previous: snapshot.previous_attributes,
        read: false,
        contained: false,
    };
    // A reading is not in the log.
    let arriving = arriving.filter(|step| !step.is_reading()).map(|step| step.event);
    let (object_id, object_type, livemode) = (object.id, object.named.object(), object.livemode);
    let key = SiblingKey { object_id, object_type, livemode, account: None };
    let siblings = inbox::list_siblings(tx, &key, arriving.map_or("", |event| event.id.as_str()), MAX_SIBLINGS)?;
    let mut events = Vec::with_capacity(siblings.len());
    if let Some(event) = arriving
        && let EventContent::Snapshot(snapshot) = &event.content
    {
        events.push(candidate(event.id.clone(), event.event_type.clone(), event.created, snapshot.clone()));
    }
    for sibling in siblings {
        if let EventContent::Snapshot(snapshot) = event::content(&sibling.data)? {
            events.push(candidate(sibling.event_id, sibling.event_type, sibling.event_created, snapshot));
        }
    }
    Ok(events)
}
