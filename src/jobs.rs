//! jobs

pub mod lane;
pub mod mode_at_start;
pub mod operator;
pub mod rebuild;
pub mod retrier;
pub mod schedule;
pub mod silence;
pub mod step;
pub mod tick;
pub mod waiting;
pub mod worker;
