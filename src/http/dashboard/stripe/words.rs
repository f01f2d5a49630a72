//! The words for how the copy stands beside Stripe. Pure. Called by the pages of Stripe.

use crate::base::ago;
use crate::store::catch_up::CatchUpState;
use crate::store::task_requests::RequestedTask;

/// What was asked for.
pub(super) fn task(task: RequestedTask) -> &'static str {
    match task {
        RequestedTask::CatchUp => "Catch up",
        RequestedTask::Sync => "Sync",
        RequestedTask::Compare => "Compare",
        RequestedTask::CompareAndFix => "Compare and fix",
    }
}

/// The class of the dot of a state.
pub(super) fn class(status: &str) -> &'static str {
    match status {
        "done" | "complete" => "ok",
        "waiting" | "running" => "waiting",
        "failed" => "failed",
        _ => "quiet",
    }
}

/// How far catching up is, in sentences.
pub(super) fn catch_up(state: &CatchUpState, (has_key, now_ms): (bool, i64)) -> Vec<String> {
    let when = |at_s: i64| format!("{} UTC ({})", ago::utc_s(at_s), ago::words(at_s.saturating_mul(1000), now_ms));
    let mut said = vec![match state.cursor_s {
        Some(cursor_s) => format!("Every event up to {} is in the log.", when(cursor_s)),
        None if has_key => "Catching up has not come to its end yet, so it is not known what is missing.".to_owned(),
        None => "Stripe was never asked for events, so it is not known what is missing.".to_owned(),
    }];
    said.extend(state.gap_from_s.map(|from_s| {
        format!(
            "There is a gap: events after {} are lost for good, since Stripe keeps them for 30 days. A sync reads what they \
             left behind and closes it.",
            when(from_s)
        )
    }));
    said.extend(state.walk.as_ref().map(|(walk, _)| {
        format!(
            "A walk through Stripe's list is under way: it began {} and goes back to {}.",
            when(walk.began_s),
            when(walk.from_s)
        )
    }));
    said
}

/// How an object is not the same.
pub(super) fn drift(word: &str) -> &'static str {
    match word {
        "differs" => "differs from Stripe",
        "tables_wrong" => "our tables differ from what Stripe said",
        "missing_here" => "missing here",
        "missing_at_stripe" => "Stripe no longer has it",
        _ => "unknown",
    }
}
