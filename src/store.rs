//! The database: the engine (one writer thread with group commit, read-only connections, the file), the log and the mirror, and
//! one file for each table of our own. Tables of objects stand beside their objects. It must never decide anything about
//! billing. Called by every room above it.

pub mod audit;
pub mod catch_up;
pub(crate) mod dashboard_sessions;
pub mod dead_letters;
pub mod drift_runs;
pub mod engine;
pub mod figures;
pub mod inbox;
pub mod levels;
pub mod mirror;
pub mod modes;
pub mod outbox;
pub mod readings;
pub mod retries;
pub mod settings;
pub mod stripe_operations;
pub mod sync_runs;
pub mod task_requests;
pub mod webhook_endpoints;

pub(crate) use engine::BegunWrite;
pub use engine::error::{OpenError, StoreError};
pub(crate) use engine::writer::in_savepoint;
pub use engine::{Store, StoreReader, Tx};
