//! What runs by itself: one loop (`step`) and the steps that it drives (worker, retrier, lanes, tick, schedule, recovery), what is
//! done once at start, and what an operator does by hand (`operator`, `rebuild`). It must never answer a request. The threads are
//! started by `app::daemon`; tests drive the steps.

pub mod lane;
pub mod mode_at_start;
pub mod operator;
pub mod rebuild;
pub mod recompute;
pub mod relink;
pub mod retrier;
pub mod schedule;
pub mod silence;
pub mod step;
pub mod tick;
pub mod waiting;
pub mod worker;
