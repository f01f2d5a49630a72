//! The last event of one second, by the chain of `previous_attributes`.
//!
//! An update says what it changed and what was there before. So it can only follow a state that has those old
//! values. Among all ways to line the events up, the last one of the line is the answer if it is the same in all of them:
//! it is proved, whatever the ranks say. Where several remain, those lines count in which ranks never fall. A reading
//! from the API has its position in the line too: after all that it contains, a creation, and what shows less progress.

use serde_json::Value;

use super::paths::{self, Paths};
use super::{EventPhase, OrderCandidate, phase, progress, rank};
use crate::base::object_kind::ObjectKind;

/// Events of one second that are lined up at most; with more, ranks and ids decide alone.
const MAX_CHAIN: usize = 10;

/// How strictly one event must fit the state before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChainFit {
    /// Undoing an update gives exactly the object before it, and an event that names no old values has changed none
    /// that the updates of this second name.
    Exact,
    /// As before, but an event that names no old values may have changed anything.
    Silent,
    /// As before, and the object before this second need only agree where its updates changed something: the rest may
    /// have changed without an event.
    Base,
    /// Everything need only agree where the updates changed something. Snapshots are not always exact elsewhere.
    Touched,
    /// The old values that an update names are those of the object before it.
    Named,
}

impl ChainFit {
    const ALL: [Self; 5] = [Self::Exact, Self::Silent, Self::Base, Self::Touched, Self::Named];

    /// Whether a line that fits so beats the ranks.
    fn proves(self) -> bool {
        matches!(self, Self::Exact | Self::Silent | Self::Base)
    }
}

/// Index of the last event of `second` (not empty), and whether that is certain. `base`: the object before it.
pub(super) fn last(
    kind: &ObjectKind,
    candidates: &[OrderCandidate],
    second: &[usize],
    base: Option<&Value>,
) -> (usize, bool) {
    let is_evidence = |index: &usize| candidates[*index].previous.is_some() || candidates[*index].read;
    let mut possible = Vec::new();
    if (2..=MAX_CHAIN).contains(&second.len()) && second.iter().any(is_evidence) {
        let chain = Chain::new(kind, candidates, second, base);
        for fit in ChainFit::ALL {
            let any = chain.ends(fit, false);
            if fit.proves() && chain.all_show_the_same(&any) {
                return (chain.choose(&any), true);
            }
            let ranked = chain.ends(fit, true);
            if chain.all_show_the_same(&ranked) {
                return (chain.choose(&ranked), true);
            }
            if !any.is_empty() {
                possible = if ranked.is_empty() { any } else { ranked };
                break;
            }
        }
    }
    let rank_of = |index: usize| rank(kind, &candidates[index]);
    let top = second.iter().map(|&index| rank_of(index)).max();
    let leaders: Vec<usize> = second.iter().copied().filter(|&index| Some(rank_of(index)) == top).collect();
    if possible.is_empty() || leaders.len() == 1 {
        possible = leaders;
    }
    let same = possible.iter().all(|&index| candidates[index].object == candidates[possible[0]].object);
    (best(candidates, &possible), same)
}

/// Of what cannot be told apart: the reading, else the event of the smallest id.
fn best(candidates: &[OrderCandidate], among: &[usize]) -> usize {
    let key = |index: &usize| (!candidates[*index].read, candidates[*index].event_id.as_str());
    among.iter().copied().min_by(|a, b| key(a).cmp(&key(b))).unwrap_or_default()
}

/// The events of one second, made ready for comparing.
struct Chain<'a> {
    kind: &'a ObjectKind,
    candidates: &'a [OrderCandidate],
    second: &'a [usize],
    base: Option<Value>,
    /// Each object, without its nulls.
    shown: Vec<Value>,
    /// Each object with its old values put back, where it names them.
    undone: Vec<Option<Value>>,
    /// Where the updates changed something.
    touched: Paths,
}

impl<'a> Chain<'a> {
    fn new(kind: &'a ObjectKind, candidates: &'a [OrderCandidate], second: &'a [usize], base: Option<&Value>) -> Self {
        let (mut shown, mut undone, mut touched) = (Vec::new(), Vec::new(), Paths::default());
        for candidate in second.iter().map(|&index| &candidates[index]) {
            let now = paths::without_nulls(&candidate.object);
            let before = candidate.previous.as_ref().map(|previous| paths::undone(&candidate.object, previous));
            if let Some(before) = &before {
                touched.add_changes(before, &now);
            }
            shown.push(now);
            undone.push(before);
        }
        Self { kind, candidates, second, base: base.map(paths::without_nulls), shown, undone, touched }
    }

    fn of(&self, position: usize) -> &OrderCandidate {
        &self.candidates[self.second[position]]
    }

    fn all_show_the_same(&self, ends: &[usize]) -> bool {
        ends.first()
            .is_some_and(|&first| ends.iter().all(|&end| self.candidates[end].object == self.candidates[first].object))
    }

    fn choose(&self, ends: &[usize]) -> usize {
        best(self.candidates, ends)
    }

    /// The last events of all lines that use every event once.
    fn ends(&self, fit: ChainFit, ranked: bool) -> Vec<usize> {
        let count = self.second.len();
        let follows: Vec<Vec<bool>> = (0..count)
            .map(|before| (0..count).map(|after| self.follows(before, after, fit, ranked)).collect())
            .collect();
        let needed: Vec<usize> = (0..count).map(|position| self.needed_before(position)).collect();
        // reached[set] has bit i when all events of `set` can be lined up with i last.
        let mut reached = vec![0_u32; 1 << count];
        for position in (0..count).filter(|&position| needed[position] == 0 && self.begins(position, fit)) {
            reached[1 << position] = 1 << position;
        }
        for set in 1..reached.len() {
            let ends = reached[set];
            for end in (0..count).filter(|end| ends >> end & 1 == 1) {
                let fitting = |next: &usize| set >> next & 1 == 0 && set & needed[*next] == needed[*next];
                for next in (0..count).filter(fitting).filter(|next| follows[end][*next]) {
                    reached[set | 1 << next] |= 1 << next;
                }
            }
        }
        let all = reached.last().copied().unwrap_or(0);
        (0..count).filter(|position| all >> position & 1 == 1).map(|position| self.second[position]).collect()
    }

    /// The set of events that a reading comes after, whatever they show.
    fn needed_before(&self, position: usize) -> usize {
        let reading = self.of(position);
        if !reading.read {
            return 0;
        }
        let is_before = |event: &OrderCandidate| {
            !event.read
                && (event.contained
                    || phase(event) == EventPhase::Created
                    || progress(self.kind, event) < progress(self.kind, reading))
        };
        (0..self.second.len()).filter(|&other| is_before(self.of(other))).fold(0, |set, other| set | 1 << other)
    }

    fn begins(&self, position: usize, fit: ChainFit) -> bool {
        let Some(base) = &self.base else { return true };
        // A reading is rendered in a version of its own, as the object before may be.
        let whole = matches!(fit, ChainFit::Exact | ChainFit::Silent) && !self.of(position).read;
        self.fits(base, position, fit, whole)
    }

    fn follows(&self, before: usize, after: usize, fit: ChainFit, ranked: bool) -> bool {
        let (one, other) = (self.of(before), self.of(after));
        // Nothing comes before a creation but the end of what had its id.
        let made_last = phase(other) == EventPhase::Created && phase(one) != EventPhase::Deleted;
        if before == after || made_last || (ranked && rank(self.kind, one) > rank(self.kind, other)) {
            return false;
        }
        let whole = matches!(fit, ChainFit::Exact | ChainFit::Silent | ChainFit::Base) && !one.read && !other.read;
        self.fits(&self.shown[before], after, fit, whole)
    }

    /// Whether the event at `position` can follow directly on a state.
    fn fits(&self, state: &Value, position: usize, fit: ChainFit, whole: bool) -> bool {
        match (&self.undone[position], &self.of(position).previous) {
            (Some(before), Some(previous)) => match fit {
                ChainFit::Named => paths::names(previous, state),
                _ if whole => before == state,
                _ => self.touched.agree(before, state),
            },
            _ => fit != ChainFit::Exact || self.touched.agree(&self.shown[position], state),
        }
    }
}
