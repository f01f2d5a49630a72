//! `catch_up`: up to when the log has every event, and how far the walk through Stripe's list of events has come. Each
//! change names the walk that it belongs to, so that two processes that walk at once cannot move each other's place.

use super::{StoreError, StoreReader, Tx};
use crate::store::engine::row;

/// A walk from now back to a second, newest events first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUpWalk {
    /// It asks for events from this second on.
    pub from_s: i64,
    /// When its first request was sent, in Stripe's time.
    pub began_s: i64,
}

/// How far catching up is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUpState {
    /// Every event of an earlier second is in the log; `None`: nothing is known.
    pub cursor_s: Option<i64>,
    /// A cursor that got older than Stripe keeps events.
    pub gap_from_s: Option<i64>,
    /// The walk in hand, and the event that its last page ended with.
    pub walk: Option<(CatchUpWalk, String)>,
}

/// How far catching up is.
pub fn get(reader: &StoreReader) -> Result<CatchUpState, StoreError> {
    const SQL: &str = "SELECT cursor_s, gap_from_s, walk_from_s, walk_began_s, walk_after FROM catch_up";
    type Found = (Option<i64>, Option<i64>, Option<i64>, Option<i64>, Option<String>);
    let (cursor_s, gap_from_s, from_s, began_s, after): Found = reader.get(SQL, [], row::tuple)?;
    let walk = from_s.zip(began_s).map(|(from_s, began_s)| CatchUpWalk { from_s, began_s });
    Ok(CatchUpState { cursor_s, gap_from_s, walk: walk.zip(after) })
}

const BEGIN: &str =
    "UPDATE catch_up SET walk_from_s = ?1, walk_began_s = ?2, walk_after = ?3 WHERE walk_from_s IS NULL";
const ADVANCE: &str = "UPDATE catch_up SET walk_after = ?3 WHERE walk_from_s = ?1 AND walk_began_s = ?2";

/// A page that is not the last of its walk is in the log; it ended with the event `after`. `false`: the walk is not, or no
/// longer, the one in hand.
pub fn advance(tx: &Tx, walk: CatchUpWalk, is_first: bool, after: &str) -> Result<bool, StoreError> {
    let sql = if is_first { BEGIN } else { ADVANCE };
    Ok(tx.execute(sql, (walk.from_s, walk.began_s, after))? == 1)
}

const FINISH: &str = "UPDATE catch_up SET walk_from_s = NULL, walk_began_s = NULL, walk_after = NULL
    WHERE walk_from_s = ?1 AND walk_began_s = ?2";

/// The walk's last page is in the log: the cursor moves. It never moves back.
pub fn finish(tx: &Tx, walk: CatchUpWalk, cursor_s: i64) -> Result<(), StoreError> {
    tx.execute(FINISH, (walk.from_s, walk.began_s))?;
    move_cursor(tx, cursor_s)
}

/// A walk whose position is no longer in Stripe's list is given up.
pub(crate) fn give_up(tx: &Tx, walk: CatchUpWalk) -> Result<(), StoreError> {
    tx.execute(FINISH, (walk.from_s, walk.began_s)).map(|_| ())
}

fn move_cursor(tx: &Tx, cursor_s: i64) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE catch_up SET cursor_s = max(coalesce(cursor_s, ?1), ?1)";
    tx.execute(SQL, [cursor_s]).map(|_| ())
}

/// A cursor and a walk that lie after `latest_s` rest on a clock that was wrong: nothing is known.
pub(crate) fn forget_after(tx: &Tx, latest_s: i64) -> Result<(), StoreError> {
    const CURSOR: &str = "UPDATE catch_up SET cursor_s = NULL WHERE cursor_s > ?1";
    const WALK: &str = "UPDATE catch_up SET walk_from_s = NULL, walk_began_s = NULL, walk_after = NULL
        WHERE max(walk_from_s, walk_began_s) > ?1";
    tx.execute(CURSOR, [latest_s])?;
    tx.execute(WALK, [latest_s]).map(|_| ())
}

/// Remembers that events are lost for good from the cursor on, until a whole sync has closed the gap. `false`: it was
/// remembered already.
pub(crate) fn note_gap(tx: &Tx, from_s: i64) -> Result<bool, StoreError> {
    Ok(tx.execute("UPDATE catch_up SET gap_from_s = ?1 WHERE gap_from_s IS NULL", [from_s])? == 1)
}

/// Every object was read: what the lost events said is known.
pub(crate) fn close_gap(tx: &Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE catch_up SET gap_from_s = NULL", []).map(|_| ())
}
