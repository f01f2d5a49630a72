//! Catching up: events that no webhook brought, from `/v1/events` into the same inbox. One walk asks for everything from
//! the cursor on, newest first; only after its last page the cursor moves, to shortly before the walk began: events
//! become visible late, and `created` has a resolution of one second. Events come once, whatever the overlap: the inbox
//! knows their ids. Called by `scheduler` and by `tilld catch-up`.

use std::cell::Cell;

use serde_json::json;
use serde_json::value::RawValue;

use super::account;
use super::api::SyncPage;
use super::backfill::{self, BackfillOrder};
use super::too_long;
use super::{EVENTS_KEPT_S, KEPT_MARGIN_S, OVERLAP_S, SyncError, SyncTools};
use crate::store::audit::{self, NewEntry};
use crate::store::catch_up::{self as places, CatchUpWalk};
use crate::store::inbox::{self, AcceptOutcome, EventSource};
use crate::store::{StoreError, Tx};
use crate::stripe::event::{self, EventEnvelope};
use crate::stripe::form::FormBody;
use crate::stripe::list::{self, Pages};

const PATH: &str = "/v1/events";
/// Walks of one call: one that was left over, one from now, and one that another process took away.
const MAX_WALKS: u32 = 3;

/// A webhook that has not come for so long, in seconds, does not come.
pub const LATE_S: i64 = 900;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatchUpResult {
    /// Pages read.
    pub pages: u64,
    /// Events that were not in the log.
    pub new: u64,
    /// Those of them that are so old that a webhook should have brought them.
    pub late: u64,
    /// Events that were.
    pub known: u64,
    /// Events whose id the log knows for something else.
    pub conflicting: u64,
    /// Events that cannot be read; the log of the process names them.
    pub unreadable: u64,
    /// Whether a gap was closed by reading every object.
    pub resynced: bool,
    /// Types that Stripe refused then.
    pub refused: u64,
}

/// How a walk ended.
enum WalkEnd {
    Whole,
    /// Its place is no longer in Stripe's list, or another process has taken it over.
    Lost,
}

/// Brings the inbox up to date, and closes a gap in the events by reading every object, after the events that Stripe still
/// has are in the log: they tell what objects do not. `ring` is called after each page with something new.
///
/// # Errors
/// What kept it from its end; the next call goes on from there.
pub fn run(means: &SyncTools, ring: &dyn Fn()) -> Result<CatchUpResult, SyncError> {
    let mut caught = CatchUpResult::default();
    let walked = walk_all(means, &mut caught, ring);
    if let Err(error) = &walked
        && error.is_for_all()
    {
        return Err(error.clone());
    }
    close_gap(means, &mut caught)?;
    walked.map(|()| caught)
}

/// The events alone; a gap among them is noted.
///
/// # Errors
/// As [`run`].
pub fn events(means: &SyncTools, ring: &dyn Fn()) -> Result<CatchUpResult, SyncError> {
    let mut caught = CatchUpResult::default();
    walk_all(means, &mut caught, ring).map(|()| caught)
}

fn walk_all(means: &SyncTools, caught: &mut CatchUpResult, ring: &dyn Fn()) -> Result<(), SyncError> {
    let now = CatchUpNow::of(means, account::check(means)?);
    let forgotten = forget_future(means, now)?;
    find_gap(means, now)?;
    for _ in 0..MAX_WALKS {
        let state = means.store.read(places::get)?;
        let left_over = state.walk.is_some();
        if state.cursor_s.is_none() && !left_over && !forgotten {
            log::info!(
                "catching up for the first time: Stripe still has the events of the last 30 days; `tilld sync` copies what is older"
            );
        }
        // What is older than Stripe keeps is not in its list, whatever our clock says of it.
        let from_s = state.cursor_s.unwrap_or(0).min(now.earliest_s - OVERLAP_S).max(0);
        let ended = walk(means, state.walk, from_s, caught, ring)?;
        // A walk that was left over knows nothing of what came after its beginning.
        if matches!(ended, WalkEnd::Whole) && !left_over {
            break;
        }
    }
    log::log!(
        if caught.new > 0 { log::Level::Info } else { log::Level::Debug },
        "caught up pages={} new={} known={} unreadable={}",
        caught.pages,
        caught.new,
        caught.known,
        caught.unreadable
    );
    Ok(())
}

/// The time, by our clock and by Stripe's. One of them may be wrong.
#[derive(Clone, Copy)]
struct CatchUpNow {
    earliest_s: i64,
    latest_s: i64,
}

impl CatchUpNow {
    fn of(means: &SyncTools, there_s: Option<i64>) -> Self {
        let here_s = means.clock.now_s();
        let there_s = there_s.unwrap_or(here_s);
        Self { earliest_s: here_s.min(there_s), latest_s: here_s.max(there_s) }
    }
}

/// A place ahead of both clocks would hide every event until that time. What it should have been is not known, so that
/// all events that Stripe still has are asked for. `true`: there was one.
fn forget_future(means: &SyncTools, now: CatchUpNow) -> Result<bool, SyncError> {
    let state = means.store.read(places::get)?;
    let walk_s = state.walk.map(|(walk, _)| walk.from_s.max(walk.began_s));
    let latest_s = now.latest_s.saturating_add(OVERLAP_S);
    let Some(reached_s) = state.cursor_s.max(walk_s).filter(|reached_s| *reached_s > latest_s) else {
        return Ok(false);
    };
    log::warn!(
        "the place up to which events are known lies {} s ahead of our clock and of Stripe's, since one of them was wrong; all events that Stripe still has are asked for again",
        reached_s.saturating_sub(now.latest_s)
    );
    means.store.write(move |tx| places::forget_after(tx, latest_s))?;
    Ok(true)
}

/// Events that Stripe no longer has are lost for good: that is noted before the walk over what it has moves the cursor.
fn find_gap(means: &SyncTools, now: CatchUpNow) -> Result<(), SyncError> {
    let state = means.store.read(places::get)?;
    let now_s = now.earliest_s;
    // A first walk that never came to its end has no cursor yet; up to its beginning nothing is known to be missing.
    let reached = state.cursor_s.or(state.walk.map(|(walk, _)| walk.began_s));
    let too_old = |reached_s: &i64| now_s - reached_s > EVENTS_KEPT_S - KEPT_MARGIN_S;
    let Some(from_s) = reached.filter(too_old) else { return Ok(()) };
    let now_ms = means.clock.now_ms();
    if means.store.write(move |tx| note_gap(tx, from_s, now_ms))? {
        let days = (now_s - from_s) / 86_400;
        log::warn!(
            "events are missing that Stripe no longer has: the newest that are known are {days} days old, and it keeps them for 30; every object is read instead"
        );
    }
    Ok(())
}

/// Where events were lost for good, every object is read. A type that Stripe refuses is passed over; if one fails
/// otherwise, the others are read all the same, and the gap stays noted.
fn close_gap(means: &SyncTools, caught: &mut CatchUpResult) -> Result<(), SyncError> {
    if means.store.read(places::get)?.gap_from_s.is_none() {
        return Ok(());
    }
    log::info!("there is a gap in the events; every object is read");
    match backfill::run(means, &BackfillOrder::everything(), &|_| ()) {
        Ok(done) => {
            caught.resynced = true;
            caught.refused = u64::try_from(done.refused.len()).unwrap_or(u64::MAX);
            Ok(())
        }
        Err(error) if error.is_for_all() => Err(error),
        Err(error) => {
            log::warn!("the gap in the events is not closed: {error}; the next turn tries again");
            Ok(())
        }
    }
}

/// `true`: it is news.
fn note_gap(tx: &Tx, from_s: i64, now_ms: i64) -> Result<bool, StoreError> {
    if !places::note_gap(tx, from_s)? {
        return Ok(false);
    }
    let detail = json!({ "events_known_until": from_s, "done": "every object is read from the API" }).to_string();
    audit::add(tx, &NewEntry::new("tilld", "catch_up.gap", now_ms, &detail))?;
    Ok(true)
}

/// Walks to the end of the list, page by page.
fn walk(
    means: &SyncTools,
    place: Option<(CatchUpWalk, String)>,
    from_s: i64,
    caught: &mut CatchUpResult,
    ring: &dyn Fn(),
) -> Result<WalkEnd, SyncError> {
    let (mut walk, after) = place.unzip();
    let from_s = walk.map_or(from_s, |walk| walk.from_s);
    let only = FormBody::new().map("created", FormBody::new().put("gte", from_s));
    let passed_over = Cell::new(0);
    let ask = |after: Option<&str>| match means.page(PATH, only.clone(), after) {
        Err(error) if error.is_too_long() => {
            passed_over.set(passed_over.get() + 1);
            too_long::page_past(means, PATH, from_s, after)
        }
        page => page,
    };
    for page in Pages::new(ask).after(after) {
        caught.unreadable += passed_over.take();
        let page = match (page, walk) {
            (Err(error), Some(walk)) if error.is_missing() => {
                log::info!("the place in Stripe's list of events is gone; the walk begins anew");
                means.store.write(move |tx| places::give_up(tx, walk))?;
                return Ok(WalkEnd::Lost);
            }
            (page, _) => page?,
        };
        let is_last = page.next.is_none();
        let this = walk.unwrap_or(CatchUpWalk { from_s, began_s: page.began_s() });
        let mark = CatchUpMark { walk: this, is_first: walk.is_none(), next: page.next.clone() };
        let stored = store(means, page, mark, caught)?;
        if stored.new > 0 {
            ring();
        }
        if !is_last && !stored.ours {
            return Ok(WalkEnd::Lost);
        }
        walk = Some(this);
    }
    Ok(WalkEnd::Whole)
}

/// Where a walk stands after a page.
struct CatchUpMark {
    walk: CatchUpWalk,
    is_first: bool,
    next: Option<String>,
}

struct StoredPage {
    new: u64,
    /// The walk is still ours.
    ours: bool,
}

/// Puts a page into the inbox and moves the walk's place, in one commit.
fn store(
    means: &SyncTools,
    page: SyncPage,
    mark: CatchUpMark,
    caught: &mut CatchUpResult,
) -> Result<StoredPage, SyncError> {
    let mut events = Vec::with_capacity(page.items.len());
    // Oldest first: the order of projecting is the order of the log.
    for raw in page.items.into_iter().rev() {
        match event::envelope(raw.get().as_bytes()) {
            Ok(envelope) => {
                event::tell_version(&envelope);
                events.push((envelope, raw));
            }
            Err(error) => {
                caught.unreadable += 1;
                let id = list::id_of(&raw).unwrap_or_else(|| "unknown".to_owned());
                log::warn!("an event in Stripe's list cannot be read and is passed over event_id={id}: {error}");
            }
        }
    }
    let now_ms = means.clock.now_ms();
    let latest_s = now_ms.div_euclid(1000).saturating_sub(LATE_S);
    let is_late: Vec<bool> = events.iter().map(|(envelope, _)| envelope.created < latest_s).collect();
    let (seen, ours) = means.store.write(move |tx| append(tx, &events, &mark, now_ms))?;
    caught.pages += 1;
    for accepted in &seen {
        match accepted {
            AcceptOutcome::New => caught.new += 1,
            AcceptOutcome::Duplicate => caught.known += 1,
            AcceptOutcome::Conflicting => caught.conflicting += 1,
        }
    }
    let late = seen.iter().zip(is_late).filter(|(accepted, is_late)| **accepted == AcceptOutcome::New && *is_late);
    caught.late += u64::try_from(late.count()).unwrap_or(u64::MAX);
    let new = seen.iter().filter(|accepted| **accepted == AcceptOutcome::New).count();
    Ok(StoredPage { new: u64::try_from(new).unwrap_or(u64::MAX), ours })
}

type ListedEvent = (EventEnvelope, Box<RawValue>);

fn append(
    tx: &Tx,
    events: &[ListedEvent],
    mark: &CatchUpMark,
    now_ms: i64,
) -> Result<(Vec<AcceptOutcome>, bool), StoreError> {
    let mut seen = Vec::with_capacity(events.len());
    for (envelope, raw) in events {
        let accepted = inbox::accept(tx, envelope, raw.get(), EventSource::Api, now_ms)?;
        if accepted == AcceptOutcome::Conflicting {
            log::warn!("an event in Stripe's list differs from the one in the log event_id={}", envelope.id);
        }
        seen.push(accepted);
    }
    let ours = match &mark.next {
        Some(after) => places::advance(tx, mark.walk, mark.is_first, after)?,
        None => {
            places::finish(tx, mark.walk, mark.walk.began_s.saturating_sub(OVERLAP_S))?;
            true
        }
    };
    Ok((seen, ours))
}
