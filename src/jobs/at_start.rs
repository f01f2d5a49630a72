//! What is done once at start, after the database was opened and before any thread works on it: the mode and the account of the
//! database (`mode`), the owners when the rules of `[link]` have changed (`relink`), the answers when plans or periods have
//! (`recompute`). Each compares the configuration with what the database remembers of the last run, and does nothing where they
//! agree. It must never run beside the worker. Called by `app::daemon::opening`, in that order.

pub mod mode;
pub mod recompute;
pub mod relink;
