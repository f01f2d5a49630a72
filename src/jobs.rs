//! What runs by itself: one loop (`step`) and the jobs that it drives (worker, retrier, lanes, tick, schedule, fetch
//! and recovery); what is done once at start (`at_start`); what an operator does by hand (`operator`, `rebuild`); and what
//! he should know (`findings`).
//! It must never answer a request. The threads are started by `app::daemon`; tests drive the steps.

pub mod at_start;
pub mod fetch_and_recover;
pub mod findings;
pub mod lane;
pub mod levels;
pub mod operator;
pub mod rebuild;
pub mod requests;
pub mod retrier;
pub mod schedule;
pub mod silence;
pub mod step;
pub mod tick;
pub mod worker;
