//! What will happen to an operation whose outcome is not known, by the rules of `recover` and `without_key`. Pure: it must
//! never send or look for anything. Called by the dashboard, which puts it into words.

use super::{KEY_LIFE_MS, is_key_alive};
use crate::stripe::operation::{KeyRepeat, OperationKind, WithoutKey};

/// How its outcome is asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextQuestion {
    /// The same bytes under the same key: Stripe answers as it did the first time.
    UnderKey,
    /// As it was, without a key: doing it twice is doing it once.
    AsItIs,
    /// Without the key, and without sending it.
    Found(FoundBy),
    /// Not at all: this program does not know it.
    Never,
}

/// How an outcome is found out without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// What it made is searched for.
    Search,
    /// What it changed is looked at.
    Look,
    /// It leaves nothing that matters, and counts as not done.
    Nothing,
}

/// What will happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prospect {
    /// How it is asked for next.
    pub(crate) next: NextQuestion,
    /// When, unix milliseconds; `None`: at once.
    pub(crate) at_ms: Option<i64>,
    /// Until when Stripe certainly knows the key, unix milliseconds.
    pub(crate) key_until_ms: i64,
    /// How it is found out after that.
    pub(crate) then: Option<FoundBy>,
}

/// Of an open operation that was first sent at a time and is due again at another, if a time is set.
pub(crate) fn of(kind: Option<OperationKind>, (first_sent_ms, due_ms): (i64, Option<i64>), now_ms: i64) -> Prospect {
    let at_ms = due_ms.filter(|due_ms| *due_ms > now_ms);
    let key_until_ms = first_sent_ms.saturating_add(KEY_LIFE_MS);
    let Some(kind) = kind else {
        return Prospect { next: NextQuestion::Never, at_ms, key_until_ms, then: None };
    };
    let then = match kind.row().without_key {
        WithoutKey::Search(_) => FoundBy::Search,
        WithoutKey::LookAtSubject(..) => FoundBy::Look,
        WithoutKey::NotDone => FoundBy::Nothing,
    };
    let next = match (is_key_alive(first_sent_ms, at_ms.unwrap_or(now_ms)), kind.row().repeat) {
        (true, KeyRepeat::UnderKey) => NextQuestion::UnderKey,
        (true, KeyRepeat::AsItIs) => NextQuestion::AsItIs,
        (false, _) => NextQuestion::Found(then),
    };
    Prospect { next, at_ms, key_until_ms, then: Some(then) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn the_next_question_is_that_of_the_time_at_which_it_is_asked() {
        let next = |kind, due_ms| of(Some(kind), (0, due_ms), HOUR_MS).next;
        assert_eq!(next(OperationKind::CustomerCreate, None), NextQuestion::UnderKey);
        assert_eq!(next(OperationKind::SubscriptionCancel, Some(2 * HOUR_MS)), NextQuestion::AsItIs);
        assert_eq!(next(OperationKind::CustomerCreate, Some(24 * HOUR_MS)), NextQuestion::Found(FoundBy::Search));
        assert_eq!(next(OperationKind::SubscriptionCancel, Some(24 * HOUR_MS)), NextQuestion::Found(FoundBy::Look));
        assert_eq!(next(OperationKind::PortalSessionCreate, Some(24 * HOUR_MS)), NextQuestion::Found(FoundBy::Nothing));
    }

    #[test]
    fn what_is_due_has_no_time_and_what_is_not_known_is_never_asked_for() {
        assert_eq!(of(Some(OperationKind::RefundCreate), (0, Some(HOUR_MS)), HOUR_MS).at_ms, None);
        assert_eq!(of(Some(OperationKind::RefundCreate), (0, Some(HOUR_MS + 1)), HOUR_MS).at_ms, Some(HOUR_MS + 1));
        let unknown = of(None, (0, None), HOUR_MS);
        assert_eq!((unknown.next, unknown.then, unknown.key_until_ms), (NextQuestion::Never, None, 23 * HOUR_MS));
    }
}
