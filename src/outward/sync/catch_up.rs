//! Catching up: events that no webhook brought, from `/v1/events` into the same inbox. One walk asks for everything from
//! the cursor on, newest first; only after its last page does the cursor move, to shortly before the walk began: events
//! become visible late, and `created` has a resolution of one second. The overlap adds no event twice: the inbox knows their
//! ids. It must never project an event. Called by `jobs::schedule` and by `tilld catch-up`.

use std::cell::Cell;

use serde_json::json;
use serde_json::value::RawValue;

use super::account;
use super::api::SyncPage;
use super::backfill::{self, BackfillOrder};
use super::too_long;
use super::{EVENTS_KEPT_S, KEPT_MARGIN_S, OVERLAP_S, SyncError, SyncTools};
use crate::store::audit::{self, NewEntry};
use crate::store::catch_up::{self, CatchUpWalk};
use crate::store::inbox::{self, AcceptOutcome, EventSource};
use crate::store::{StoreError, Tx};
use crate::stripe::event::{self, EventEnvelope};
use crate::stripe::form::FormBody;
use crate::stripe::list::{self, Pages};

const PATH: &str = "/v1/events";
/// Walks of one call: one that an earlier call has left, one from now, and one more if another process took over.
const MAX_WALKS: u32 = 3;

/// An event that is older than this, in seconds, should have come by webhook.
pub(crate) const LATE_S: i64 = 900;

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
    /// Its position is no longer in Stripe's list, or another process has taken it over.
    Lost,
}

/// Brings the inbox up to date, and closes a gap in the events by reading every object, after the events that Stripe still
/// has are in the log: they say what objects do not. `ring` is called after each page with something new.
///
/// # Errors
/// What kept it from its end; the next call resumes there.
pub fn run(tools: &SyncTools, ring: &dyn Fn()) -> Result<CatchUpResult, SyncError> {
    let mut caught = CatchUpResult::default();
    let walked = walk_all(tools, &mut caught, ring);
    if let Err(error) = &walked
        && error.is_for_all()
    {
        return Err(error.clone());
    }
    close_gap(tools, &mut caught)?;
    walked.map(|()| caught)
}

/// The events alone; a gap among them is noted.
pub fn events(tools: &SyncTools, ring: &dyn Fn()) -> Result<CatchUpResult, SyncError> {
    let mut caught = CatchUpResult::default();
    walk_all(tools, &mut caught, ring).map(|()| caught)
}

fn walk_all(tools: &SyncTools, caught: &mut CatchUpResult, ring: &dyn Fn()) -> Result<(), SyncError> {
    let now = TwoClocks::of(tools, account::check(tools)?);
    let was_ahead = forget_future(tools, now)?;
    find_gap(tools, now)?;
    for _ in 0..MAX_WALKS {
        let state = tools.store.read(catch_up::get)?;
        let left_over = state.walk.is_some();
        if state.cursor_s.is_none() && !left_over && !was_ahead {
            log::info!(
                "catching up for the first time: Stripe still has the events of the last 30 days; `tilld sync` copies what is older"
            );
        }
        // Stripe's list does not have what is older than it keeps, whatever our clock says.
        let from_s = state.cursor_s.unwrap_or(0).min(now.earliest_s - OVERLAP_S).max(0);
        let ended = walk(tools, state.walk, from_s, caught, ring)?;
        // A walk that an earlier call has left does not have what came after it began.
        if matches!(ended, WalkEnd::Whole) && !left_over {
            break;
        }
    }
    let level = if caught.new > 0 { log::Level::Info } else { log::Level::Debug };
    let CatchUpResult { pages, new, known, unreadable, .. } = *caught;
    log::log!(level, pages, new, known, unreadable; "caught up");
    Ok(())
}

/// The time, by our clock and by Stripe's. One of them may be wrong.
#[derive(Clone, Copy)]
struct TwoClocks {
    earliest_s: i64,
    latest_s: i64,
}

impl TwoClocks {
    fn of(tools: &SyncTools, stripe_s: Option<i64>) -> Self {
        let our_s = tools.clock.now_s();
        let stripe_s = stripe_s.unwrap_or(our_s);
        Self { earliest_s: our_s.min(stripe_s), latest_s: our_s.max(stripe_s) }
    }
}

/// A cursor ahead of both clocks would hide every event until that time. What it should have been is not known, so all
/// events that Stripe still has are asked for. Whether there was one.
fn forget_future(tools: &SyncTools, now: TwoClocks) -> Result<bool, SyncError> {
    let state = tools.store.read(catch_up::get)?;
    let walk_s = state.walk.map(|(walk, _)| walk.from_s.max(walk.began_s));
    let latest_s = now.latest_s.saturating_add(OVERLAP_S);
    let Some(reached_s) = state.cursor_s.max(walk_s).filter(|reached_s| *reached_s > latest_s) else {
        return Ok(false);
    };
    log::warn!(
        "the cursor of catching up is {} s ahead of our clock and of Stripe's, since one of them was wrong; all events that Stripe still has are asked for again",
        reached_s.saturating_sub(now.latest_s)
    );
    tools.store.write(move |tx| catch_up::forget_after(tx, latest_s))?;
    Ok(true)
}

/// Events that Stripe no longer has are lost for good: that is noted before the walk over what it has moves the cursor.
fn find_gap(tools: &SyncTools, now: TwoClocks) -> Result<(), SyncError> {
    let state = tools.store.read(catch_up::get)?;
    let now_s = now.earliest_s;
    // Before the first walk has come to its end there is no cursor; nothing is known to be missing up to its beginning.
    let reached = state.cursor_s.or(state.walk.map(|(walk, _)| walk.began_s));
    let too_old = |reached_s: &i64| now_s - reached_s > EVENTS_KEPT_S - KEPT_MARGIN_S;
    let Some(from_s) = reached.filter(too_old) else { return Ok(()) };
    let now_ms = tools.clock.now_ms();
    if tools.store.write(move |tx| note_gap(tx, from_s, now_ms))? {
        let days = (now_s - from_s) / 86_400;
        log::warn!(
            "events are missing that Stripe no longer has: the newest that are known are {days} days old, and it keeps them for 30; every object is read instead"
        );
    }
    Ok(())
}

/// Reads every object where events were lost for good. A type that Stripe refuses is skipped; if one fails otherwise, the
/// others are read all the same, and the gap stays noted.
fn close_gap(tools: &SyncTools, caught: &mut CatchUpResult) -> Result<(), SyncError> {
    if tools.store.read(catch_up::get)?.gap_from_s.is_none() {
        return Ok(());
    }
    log::info!("there is a gap in the events; every object is read");
    match backfill::run(tools, &BackfillOrder::everything(), &|_| ()) {
        Ok(done) => {
            caught.resynced = true;
            caught.refused = u64::try_from(done.refused.len()).unwrap_or(u64::MAX);
            Ok(())
        }
        Err(error) if error.is_for_all() => Err(error),
        Err(error) => {
            log::warn!("the gap in the events is not closed: {error}; the next run tries again");
            Ok(())
        }
    }
}

/// Whether the gap was not noted before.
fn note_gap(tx: &Tx, from_s: i64, now_ms: i64) -> Result<bool, StoreError> {
    if !catch_up::note_gap(tx, from_s)? {
        return Ok(false);
    }
    let detail = json!({ "events_known_until": from_s, "done": "every object is read from the API" }).to_string();
    audit::add(tx, &NewEntry::new("tilld", "catch_up.gap", now_ms, &detail))?;
    Ok(true)
}

/// Walks to the end of the list, page by page.
fn walk(
    tools: &SyncTools,
    resumed: Option<(CatchUpWalk, String)>,
    from_s: i64,
    caught: &mut CatchUpResult,
    ring: &dyn Fn(),
) -> Result<WalkEnd, SyncError> {
    let (mut walk, after) = resumed.unzip();
    let from_s = walk.map_or(from_s, |walk| walk.from_s);
    let only = FormBody::new().map("created", FormBody::new().put("gte", from_s));
    let skipped = Cell::new(0);
    let ask = |after: Option<&str>| match tools.page(PATH, only.clone(), after) {
        Err(error) if error.is_too_long() => {
            skipped.set(skipped.get() + 1);
            too_long::page_past(tools, PATH, from_s, after)
        }
        page => page,
    };
    for page in Pages::new(ask).after(after) {
        caught.unreadable += skipped.take();
        let page = match (page, walk) {
            (Err(error), Some(walk)) if error.is_missing() => {
                log::info!("the position in Stripe's list of events is gone; the walk begins again");
                tools.store.write(move |tx| catch_up::give_up(tx, walk))?;
                return Ok(WalkEnd::Lost);
            }
            (page, _) => page?,
        };
        let is_last = page.next.is_none();
        let this = walk.unwrap_or(CatchUpWalk { from_s, began_s: page.began_s() });
        let position = WalkPosition { walk: this, is_first: walk.is_none(), next: page.next.clone() };
        let stored = store(tools, page, position, caught)?;
        if stored.new > 0 {
            ring();
        }
        if !is_last && !stored.is_ours {
            return Ok(WalkEnd::Lost);
        }
        walk = Some(this);
    }
    Ok(WalkEnd::Whole)
}

/// The position of a walk after a page.
struct WalkPosition {
    walk: CatchUpWalk,
    is_first: bool,
    next: Option<String>,
}

struct StoredPage {
    new: u64,
    /// No other process has taken the walk over.
    is_ours: bool,
}

/// Puts a page into the inbox and moves the walk's position, in one commit.
fn store(
    tools: &SyncTools,
    page: SyncPage,
    position: WalkPosition,
    caught: &mut CatchUpResult,
) -> Result<StoredPage, SyncError> {
    let mut events = Vec::with_capacity(page.items.len());
    // Oldest first, since events are projected in the order of the log.
    for raw in page.items.into_iter().rev() {
        match event::envelope(raw.get().as_bytes()) {
            Ok(envelope) => {
                event::log_version(&envelope);
                events.push((envelope, raw));
            }
            Err(error) => {
                caught.unreadable += 1;
                let id = list::id_of(&raw).unwrap_or_else(|| "unknown".to_owned());
                log::warn!(event_id = id; "an event in Stripe's list cannot be read and is skipped: {error}");
            }
        }
    }
    let now_ms = tools.clock.now_ms();
    let latest_s = now_ms.div_euclid(1000).saturating_sub(LATE_S);
    let is_late: Vec<bool> = events.iter().map(|(envelope, _)| envelope.created < latest_s).collect();
    let (seen, ours) = tools.store.write(move |tx| append(tx, &events, &position, now_ms))?;
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
    Ok(StoredPage { new: u64::try_from(new).unwrap_or(u64::MAX), is_ours: ours })
}

type ListedEvent = (EventEnvelope, Box<RawValue>);

fn append(
    tx: &Tx,
    events: &[ListedEvent],
    position: &WalkPosition,
    now_ms: i64,
) -> Result<(Vec<AcceptOutcome>, bool), StoreError> {
    let mut seen = Vec::with_capacity(events.len());
    for (envelope, raw) in events {
        let accepted = inbox::accept(tx, envelope, raw.get(), EventSource::Api, now_ms)?;
        if accepted == AcceptOutcome::Conflicting {
            log::warn!(event_id = envelope.id; "an event in Stripe's list differs from the one in the log");
        }
        seen.push(accepted);
    }
    let ours = match &position.next {
        Some(after) => catch_up::advance(tx, position.walk, position.is_first, after)?,
        None => {
            catch_up::finish(tx, position.walk, position.walk.began_s.saturating_sub(OVERLAP_S))?;
            true
        }
    };
    Ok((seen, ours))
}
