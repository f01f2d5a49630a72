//! The last event of one second, by the chain of `previous_attributes`.
//!
//! An update says what it changed and what stood there before. So it can only follow an event that shows those old
//! values. Among all ways to line the events up (ranks never falling, each following the one before it), the last
//! event of the line is the answer if it is the same in all of them.

use serde_json::Value;

use super::{Candidate, rank};

/// Events of one second that are lined up at most; with more, ranks and ids decide alone.
const MAX_CHAIN: usize = 10;

/// How strictly one event must fit the one before it.
#[derive(Clone, Copy)]
enum Fit {
    /// Undoing its changes gives exactly the object before it.
    Whole,
    /// The old values it names are those of the object before it. Snapshots are not always exact elsewhere.
    Named,
}

/// Index of the last event of `second` (not empty), and whether that is certain. `base`: the object before it.
pub(super) fn last(candidates: &[Candidate], second: &[usize], base: Option<&Value>) -> (usize, bool) {
    let top = second.iter().map(|&index| rank(&candidates[index])).max();
    let leaders: Vec<usize> = second.iter().copied().filter(|&index| Some(rank(&candidates[index])) == top).collect();
    if let [only] = leaders[..] {
        return (only, true);
    }
    for fit in [Fit::Whole, Fit::Named] {
        let ends = chain_ends(candidates, second, base, fit);
        if let Some(&first) = ends.first() {
            let same = ends.iter().all(|&end| candidates[end].object == candidates[first].object);
            if same {
                return (smallest_id(candidates, &ends), true);
            }
        }
    }
    let same = leaders.iter().all(|&index| candidates[index].object == candidates[leaders[0]].object);
    (smallest_id(candidates, &leaders), same)
}

/// The last events of all lines that use every event once.
fn chain_ends(candidates: &[Candidate], second: &[usize], base: Option<&Value>, fit: Fit) -> Vec<usize> {
    let count = second.len();
    if count > MAX_CHAIN {
        return Vec::new();
    }
    let follows = follow_table(candidates, second, fit);
    // reached[set] has bit i when all events of `set` can be lined up with i last.
    let mut reached = vec![0_u32; 1 << count];
    for (place, &index) in second.iter().enumerate() {
        let begins = base.is_none_or(|base| fits(base, &candidates[index], fit));
        reached[1 << place] = u32::from(begins) << place;
    }
    for set in 1..reached.len() {
        let ends = reached[set];
        for end in (0..count).filter(|end| ends >> end & 1 == 1) {
            for next in (0..count).filter(|next| set >> next & 1 == 0 && follows[end][*next]) {
                reached[set | 1 << next] |= 1 << next;
            }
        }
    }
    let all = reached.last().copied().unwrap_or(0);
    (0..count).filter(|place| all >> place & 1 == 1).map(|place| second[place]).collect()
}

fn follow_table(candidates: &[Candidate], second: &[usize], fit: Fit) -> Vec<Vec<bool>> {
    let follows = |before: usize, after: usize| {
        before != after
            && rank(&candidates[before]) <= rank(&candidates[after])
            && fits(&candidates[before].object, &candidates[after], fit)
    };
    second.iter().map(|&before| second.iter().map(|&after| follows(before, after)).collect()).collect()
}

/// Whether `after` can directly follow on the object `before`.
fn fits(before: &Value, after: &Candidate, fit: Fit) -> bool {
    let Some(previous) = &after.previous else { return true };
    match fit {
        Fit::Named => names(previous, before),
        Fit::Whole => undone(&after.object, previous) == without_nulls(before),
    }
}

/// Whether every old value that is named stands in `object`; null and absent are the same.
fn names(previous: &Value, object: &Value) -> bool {
    match (previous, object) {
        (Value::Object(old), Value::Object(now)) => {
            old.iter().all(|(key, value)| names(value, now.get(key).unwrap_or(&Value::Null)))
        }
        _ => without_nulls(previous) == without_nulls(object),
    }
}

/// The object before a change: its old values put back.
fn undone(object: &Value, previous: &Value) -> Value {
    fn put_back(object: &mut Value, previous: &Value) {
        match (object, previous) {
            (Value::Object(now), Value::Object(old)) => {
                for (key, value) in old {
                    put_back(now.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (object, previous) => *object = previous.clone(),
        }
    }
    let mut before = object.clone();
    put_back(&mut before, previous);
    without_nulls(&before)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn smallest_id(candidates: &[Candidate], among: &[usize]) -> usize {
    let by_id = among.iter().copied().min_by_key(|&index| candidates[index].event_id.as_str());
    by_id.unwrap_or_default()
}
