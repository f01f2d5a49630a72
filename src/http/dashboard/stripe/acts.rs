//! The buttons of the page about Stripe: each writes down what is wanted and goes back to the page, where the daemon's progress
//! is seen. What only looks acts at once; what changes the copy asks first. Called through the table in `stripe`.

use crate::http::dashboard::confirm::Confirmation;
use crate::http::dashboard::page::{Page, PageError, PageResult};
use crate::jobs::operator::{self, Operator};
use crate::store::task_requests::RequestedTask;

const BACK: &str = "stripe";

pub(super) fn catch_up(page: &Page<'_>) -> PageResult {
    ask(page, RequestedTask::CatchUp)
}

pub(super) fn compare(page: &Page<'_>) -> PageResult {
    ask(page, RequestedTask::Compare)
}

pub(super) fn ask_sync(page: &Page<'_>) -> PageResult {
    needs_key(page)?;
    Confirmation {
        frame: page.frame("stripe", "Sync")?,
        sentence: "tilld reads the events that did not come, and then every object of every type from Stripe's lists into its \
                   tables; an unfinished run is gone on with. Nothing is changed at Stripe. A million objects take about half an \
                   hour, in which webhooks and answers go on as usual."
            .to_owned(),
        verb: "Read everything from Stripe".to_owned(),
        fields: Vec::new(),
        asks_reason: false,
        back: BACK.to_owned(),
    }
    .page()
}

pub(super) fn sync(page: &Page<'_>) -> PageResult {
    ask(page, RequestedTask::Sync)
}

pub(super) fn ask_fix(page: &Page<'_>) -> PageResult {
    needs_key(page)?;
    Confirmation {
        frame: page.frame("stripe", "Compare and fix")?,
        sentence: "tilld compares every object with Stripe and repairs its own copy where they differ: what it has becomes what \
                   Stripe has, and answers of users change with it. Nothing is changed at Stripe."
            .to_owned(),
        verb: "Compare, and fix the copy".to_owned(),
        fields: Vec::new(),
        asks_reason: false,
        back: BACK.to_owned(),
    }
    .page()
}

pub(super) fn fix(page: &Page<'_>) -> PageResult {
    ask(page, RequestedTask::CompareAndFix)
}

/// Writes down what is wanted. The thread that does it runs only where there is a key.
fn ask(page: &Page<'_>, task: RequestedTask) -> PageResult {
    needs_key(page)?;
    let operator = Operator { actor: "dashboard", now_ms: page.now_ms };
    let is_new = page.api.store.write(move |tx| operator::ask(tx, task, operator))?;
    page.done(
        BACK,
        if is_new { "It was asked for, and begins in a moment." } else { "It was asked for before, and waits." },
    )
}

fn needs_key(page: &Page<'_>) -> Result<(), PageError> {
    if page.api.calls.is_some() {
        return Ok(());
    }
    let words = "There is no API key, so Stripe cannot be asked: set stripe.api_key (or STRIPE_API_KEY) and start the daemon again.";
    Err(PageError::Refused(409, words.to_owned()))
}
