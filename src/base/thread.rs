//! Threads: the only place that starts them. Each has a name, is joined, and reports its end, so that the process can
//! stop when one of them ends unexpectedly. Called by `app::daemon`, `store::engine`, `http` and whatever needs a thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Ends reported but not yet read; more are dropped, since the first one already ends the process.
const REPORTS: usize = 64;

/// Stack of a thread that serves one connection; it calls nothing deep.
const PASSING_STACK_BYTES: usize = 256 * 1024;

/// The end of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadEnd {
    /// Its name.
    pub name: String,
    /// The message of its panic, if it panicked.
    pub panic: Option<String>,
}

/// Starts threads and collects the reports of their end.
#[derive(Clone)]
pub struct Threads {
    report: Sender<ThreadEnd>,
    reports: Receiver<ThreadEnd>,
}

impl Default for Threads {
    fn default() -> Self {
        let (report, reports) = bounded(REPORTS);
        Self { report, reports }
    }
}

/// A running thread.
pub struct Handle {
    name: String,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Starts a named thread.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Handle> {
        let report = self.report.clone();
        let reported = name.to_owned();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            let panic = outcome.err().map(|panic| panic_text(panic.as_ref()));
            if let Some(text) = &panic {
                log::error!("thread {reported} panicked: {text}");
            }
            let _ = report.try_send(ThreadEnd { name: reported, panic });
        })?;
        Ok(Handle { name: name.to_owned(), thread })
    }

    /// Starts a thread that ends on its own as a matter of course, with a small stack: one per connection.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(crate) fn spawn_passing(&self, name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let named = name.to_owned();
        std::thread::Builder::new().name(named.clone()).stack_size(PASSING_STACK_BYTES).spawn(move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                log::error!("thread {named} panicked: {}", panic_text(panic.as_ref()));
            }
        })?;
        Ok(())
    }

    /// Where the end of every thread is reported.
    #[must_use]
    pub(crate) fn reports(&self) -> &Receiver<ThreadEnd> {
        &self.reports
    }
}

/// Starts a thread that nobody joins, for one piece of work that may take long and that a stop need not wait for. Its
/// result goes back over a channel.
///
/// # Errors
/// When the system cannot start a thread.
pub fn detached(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let named = name.to_owned();
    std::thread::Builder::new().name(named.clone()).spawn(move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            log::error!("thread {named} panicked: {}", panic_text(panic.as_ref()));
        }
    })?;
    Ok(())
}

/// Does `work` on `count` threads at once, each handed its number, and returns when all are done. A panic is an `Err`
/// with its message.
///
/// # Errors
/// When the system cannot start a thread; those already started are still waited for.
pub(crate) fn side_by_side<T: Send>(
    name: &str,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> std::io::Result<Vec<Result<T, String>>> {
    let work = &work;
    std::thread::scope(|scope| {
        let start = |number: usize| {
            let caught =
                move || catch_unwind(AssertUnwindSafe(|| work(number))).map_err(|panic| panic_text(panic.as_ref()));
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn_scoped(scope, caught)
        };
        let started = (0..count).map(start).collect::<std::io::Result<Vec<_>>>()?;
        let join = |thread: std::thread::ScopedJoinHandle<Result<T, String>>| {
            thread.join().unwrap_or_else(|panic| Err(panic_text(panic.as_ref())))
        };
        Ok(started.into_iter().map(join).collect())
    })
}

impl Handle {
    /// Waits for the end.
    pub fn join(self) {
        if self.thread.join().is_err() {
            log::error!("thread {} could not be joined", self.name);
        }
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The message of a caught panic.
#[must_use]
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

/// The order to stop, given to many threads: a channel that nobody sends on. Dropping its sender wakes them all.
#[derive(Clone)]
pub struct Stop(Receiver<()>);

/// Keeps the threads running as long as it is kept.
pub struct Stopper(#[allow(dead_code)] Sender<()>);

/// A stopper and the order it gives when dropped.
#[must_use]
pub fn stopper() -> (Stopper, Stop) {
    let (sender, receiver) = bounded(0);
    (Stopper(sender), Stop(receiver))
}

impl Stop {
    /// To select on; it becomes ready when it is time to stop.
    #[must_use]
    pub fn signal(&self) -> &Receiver<()> {
        &self.0
    }

    /// Whether it is time to stop.
    #[must_use]
    pub(crate) fn is_given(&self) -> bool {
        matches!(self.0.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }
}

/// Counts the rounds of a thread's loop, so that another thread can see whether it still runs.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// One more round.
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Rounds so far.
    #[must_use]
    pub(crate) fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_end_of_a_thread_is_reported_by_name_with_its_panic() {
        let threads = Threads::default();
        threads.spawn("calm", || {}).unwrap().join();
        assert_eq!(threads.reports().recv().unwrap(), ThreadEnd { name: "calm".to_owned(), panic: None });
        threads.spawn("wild", || std::panic::panic_any("boom")).unwrap().join();
        assert_eq!(threads.reports().recv().unwrap().panic.as_deref(), Some("boom"));
    }

    #[test]
    fn work_side_by_side_comes_back_in_order_and_a_panic_is_an_error() {
        let done = side_by_side("test", 3, |number| if number == 1 { std::panic::panic_any("boom") } else { number });
        assert_eq!(done.unwrap(), [Ok(0), Err("boom".to_owned()), Ok(2)]);
    }

    #[test]
    fn dropping_the_stopper_wakes_every_waiting_thread() {
        let threads = Threads::default();
        let (stopper, stop) = stopper();
        let waiting: Vec<Handle> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                threads.spawn("waits", move || assert!(stop.signal().recv().is_err())).unwrap()
            })
            .collect();
        drop(stopper);
        waiting.into_iter().for_each(Handle::join);
    }
}
