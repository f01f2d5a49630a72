//! The one loop of every thread that works by itself; ground for all jobs. A job does a step and says when the next one is due.
//! The loop waits for that time, a bell or the order to stop, whichever comes first, and pauses while the database is not
//! available. It also watches the clock: at start, and whenever the clock was set back, the job corrects what was dated by a
//! clock that was ahead, before its next step. It must never decide what is done. Called by `app::daemon` for each thread; tests
//! drive [`StepLoop::turn`].

use std::convert::Infallible;
use std::fmt::Display;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never, select};

use crate::base::clock::Clock;
use crate::base::leap::{ClockWatch, LeapCaution, LeapLook};
use crate::base::thread::{Pulse, Stop};
use crate::store::StoreError;

/// A thread sleeps no longer than this: the clock may be changed, and a watchdog watches the loop.
pub(crate) const NAP: Duration = Duration::from_secs(5);
/// Pause after a step failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The same where only an operator can help. Shorter than the watchdog's timeout.
const LONG_PAUSE: Duration = Duration::from_secs(20);
/// How often the clock is read while the loop waits whether a jump lasts.
const WAITING: Duration = Duration::from_secs(1);
/// After how long the same failure is logged again.
const REMIND_AFTER: Duration = Duration::from_secs(60);

/// When the next step is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// At once: there may be more to do.
    AtOnce,
    /// After that time, unless the bell rings first.
    After(Duration),
}

impl NextStep {
    /// At `due_ms` (unix milliseconds), but after `most` at the latest.
    #[must_use]
    pub fn due(due_ms: Option<i64>, now_ms: i64, most: Duration) -> Self {
        let left_ms = due_ms.map(|due_ms| u64::try_from(due_ms.saturating_sub(now_ms)).unwrap_or(0));
        Self::After(left_ms.map_or(most, Duration::from_millis).min(most))
    }
}

/// Why a job is asked to correct what depends on the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepCause {
    /// The thread starts: an earlier process may have died, or its clock may have been ahead.
    Start,
    /// The clock was set back by that many seconds.
    SetBack(i64),
}

/// What a failed step means for the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Try again soon.
    Soon,
    /// Try again now and then: only an operator can help.
    Rarely,
    /// End the thread: the process is stopping.
    End,
}

/// Why a step failed.
pub trait JobError: Display {
    /// What to do about it.
    fn reaction(&self) -> Reaction;
}

impl JobError for StoreError {
    fn reaction(&self) -> Reaction {
        match self {
            Self::Stopped => Reaction::End,
            error if error.is_damage() => Reaction::Rarely,
            _ => Reaction::Soon,
        }
    }
}

impl JobError for Infallible {
    fn reaction(&self) -> Reaction {
        match *self {}
    }
}

/// What a job may use besides the time of its step.
#[derive(Clone, Copy)]
pub struct LoopContext<'a> {
    /// The order to stop.
    pub stop: &'a Stop,
    /// For work that takes its time.
    pub clock: &'a dyn Clock,
    /// Tells the watchdog that the thread is alive; to be beaten during a long step.
    pub pulse: &'a Pulse,
}

/// The work of a thread.
pub trait StepJob {
    /// Why a step fails.
    type Error: JobError;

    /// How it reacts to jumps of the clock.
    const CAUTION: LeapCaution = LeapCaution::NONE;

    /// What is waiting while it fails, in the plural, for the log.
    fn name(&self) -> String;

    /// Corrects what a process that died, or a clock that was ahead, may have left behind. Repeated until it succeeds, before any
    /// step.
    fn correct(&mut self, _cause: StepCause, _now_ms: i64, _around: &LoopContext) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Called when the clock has jumped forward, by that many seconds.
    fn leapt(&self, _seconds: i64) {}

    /// Does one step.
    ///
    /// # Errors
    /// When it failed; it is repeated.
    fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, Self::Error>;
}

/// A job with the state of its loop.
pub struct StepLoop<J> {
    job: J,
    watch: ClockWatch,
    /// Why a correction is still due.
    correction: Option<StepCause>,
    /// When the next step is due; `None`: now.
    due: Option<Instant>,
}

impl<J: StepJob> StepLoop<J> {
    /// A loop that is about to start.
    #[must_use]
    pub fn new(job: J) -> Self {
        Self { job, watch: ClockWatch::new(J::CAUTION), correction: Some(StepCause::Start), due: None }
    }

    /// The job.
    pub fn job(&mut self) -> &mut J {
        &mut self.job
    }

    /// The bell has rung: the next turn does a step.
    pub fn ring(&mut self) {
        self.due = None;
    }

    /// One turn of the loop: looks at the clock, and does a step if one is due.
    ///
    /// # Errors
    /// As the job's.
    pub fn turn(&mut self, now_ms: i64, at: Instant, around: &LoopContext) -> Result<NextStep, J::Error> {
        match self.watch.look(now_ms, at) {
            LeapLook::SetBack(seconds) => {
                self.correction.get_or_insert(StepCause::SetBack(seconds));
            }
            LeapLook::Leapt(seconds) => {
                self.job.leapt(seconds);
                self.due = None;
            }
            LeapLook::Steady | LeapLook::Waiting => {}
        }
        if self.watch.is_waiting(at) {
            return Ok(NextStep::After(WAITING));
        }
        if let Some(cause) = self.correction {
            self.job.correct(cause, now_ms, around)?;
            (self.correction, self.due) = (None, None);
        }
        if let Some(left) = self.due.and_then(|due| due.checked_duration_since(at)).filter(|left| !left.is_zero()) {
            return Ok(NextStep::After(left));
        }
        let next = self.job.work(now_ms, around)?;
        self.due = match next {
            NextStep::AtOnce => None,
            NextStep::After(wait) => at.checked_add(wait),
        };
        Ok(next)
    }
}

/// Runs the loop until the order to stop. Returns the job if it may still use the database.
pub fn run<J: StepJob, T>(job: J, bell: &Receiver<T>, around: &LoopContext) -> Option<J> {
    let (mut turning, mut bell, mut trouble) = (StepLoop::new(job), bell.clone(), StepTrouble::default());
    while !around.stop.is_given() {
        around.pulse.beat();
        let at = Instant::now();
        let wait = match turning.turn(around.clock.now_ms(), at, around) {
            Ok(next) => {
                trouble.is_over(&turning.job);
                match next {
                    NextStep::AtOnce => Duration::ZERO,
                    NextStep::After(wait) => wait.min(NAP),
                }
            }
            Err(error) => {
                let pause = match error.reaction() {
                    Reaction::Soon => PAUSE,
                    Reaction::Rarely => LONG_PAUSE,
                    Reaction::End => return None,
                };
                trouble.log(&turning.job, &error, pause, at);
                pause
            }
        };
        select! {
            recv(around.stop.signal()) -> _ => {},
            recv(bell) -> rung => match rung {
                Ok(_) => turning.ring(),
                // No sender is left.
                Err(_) => bell = never(),
            },
            default(wait) => {},
        }
    }
    Some(turning.job)
}

/// The failure that was last logged, so that an outage has a line for its beginning and one for its end.
#[derive(Default)]
struct StepTrouble(Option<(String, Instant)>);

impl StepTrouble {
    fn log<J: StepJob>(&mut self, job: &J, error: &J::Error, pause: Duration, at: Instant) {
        let text = error.to_string();
        let is_known = |(known, logged): &(String, Instant)| {
            *known == text && at.saturating_duration_since(*logged) < REMIND_AFTER
        };
        if !self.0.as_ref().is_some_and(is_known) {
            log::warn!("{} wait: {text}; tried again every {} s", job.name(), pause.as_secs());
            self.0 = Some((text, at));
        }
    }

    fn is_over<J: StepJob>(&mut self, job: &J) {
        if self.0.take().is_some() {
            log::info!("{} continue", job.name());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::clock::ManualClock;
    use crate::base::thread::{Threads, stopper};
    use crossbeam_channel::bounded;

    const DAY_MS: i64 = 86_400_000;

    /// Records what it is asked to do.
    #[derive(Default)]
    struct Diary {
        entries: Vec<&'static str>,
        fails: bool,
    }

    impl StepJob for Diary {
        type Error = StoreError;

        fn name(&self) -> String {
            "tests".to_owned()
        }

        fn correct(&mut self, cause: StepCause, _: i64, _: &LoopContext) -> Result<(), StoreError> {
            self.entries.push(if cause == StepCause::Start { "start" } else { "set back" });
            if self.fails { Err(StoreError::Unavailable("on purpose".to_owned())) } else { Ok(()) }
        }

        fn work(&mut self, _: i64, _: &LoopContext) -> Result<NextStep, StoreError> {
            self.entries.push("work");
            Ok(NextStep::After(Duration::from_secs(30)))
        }
    }

    /// The same, and it waits whether a jump of the clock lasts.
    struct Careful(Diary);

    impl StepJob for Careful {
        type Error = StoreError;
        const CAUTION: LeapCaution = LeapCaution::PASSES_ON;

        fn name(&self) -> String {
            self.0.name()
        }

        fn correct(&mut self, cause: StepCause, now_ms: i64, around: &LoopContext) -> Result<(), StoreError> {
            self.0.correct(cause, now_ms, around)
        }

        fn work(&mut self, now_ms: i64, around: &LoopContext) -> Result<NextStep, StoreError> {
            self.0.work(now_ms, around)
        }
    }

    /// Turns a loop at these seconds of true time, with a clock that is that many milliseconds ahead.
    fn turn<J: StepJob<Error = StoreError>>(turning: &mut StepLoop<J>, start: Instant, turns: &[(u64, i64)]) {
        let (clock, pulse, (_stopper, stop)) = (ManualClock::new(0), Pulse::default(), stopper());
        let around = LoopContext { stop: &stop, clock: &clock, pulse: &pulse };
        for (seconds, ahead_ms) in turns {
            let passed = Duration::from_secs(*seconds);
            let now_ms = i64::try_from(passed.as_millis()).unwrap() + ahead_ms;
            let _ = turning.turn(now_ms, start + passed, &around);
        }
    }

    #[test]
    fn a_step_is_done_when_it_is_due_or_a_bell_rings_and_not_before() {
        let (mut turning, start) = (StepLoop::new(Diary::default()), Instant::now());
        turn(&mut turning, start, &[(0, 0), (5, 0), (29, 0)]);
        assert_eq!(turning.job.entries, ["start", "work"]);
        turn(&mut turning, start, &[(30, 0)]);
        assert_eq!(turning.job.entries, ["start", "work", "work"]);
        turning.ring();
        turn(&mut turning, start, &[(31, 0)]);
        assert_eq!(turning.job.entries.len(), 4);
    }

    #[test]
    fn what_the_clock_dated_is_corrected_at_start_and_after_each_step_back_until_it_succeeds() {
        let (mut turning, start) = (StepLoop::new(Diary { fails: true, ..Diary::default() }), Instant::now());
        turn(&mut turning, start, &[(0, DAY_MS), (1, DAY_MS)]);
        assert_eq!(turning.job.entries, ["start", "start"], "nothing is done before");
        turning.job.fails = false;
        turn(&mut turning, start, &[(2, DAY_MS), (3, 0), (4, 0)]);
        assert_eq!(turning.job.entries[2..], ["start", "work", "set back", "work"]);
    }

    #[test]
    fn a_careful_job_waits_whether_a_jump_lasts_and_lets_others_correct_first_after_a_step_back() {
        let (mut turning, start) = (StepLoop::new(Careful(Diary::default())), Instant::now());
        turn(&mut turning, start, &[(0, 0), (31, DAY_MS), (60, DAY_MS), (61, 0), (70, 0)]);
        assert_eq!(turning.job.0.entries, ["start", "work"]);
        turn(&mut turning, start, &[(77, 0)]);
        assert_eq!(turning.job.0.entries, ["start", "work", "set back", "work"]);
        turn(&mut turning, start, &[(80, DAY_MS), (169, DAY_MS)]);
        assert_eq!(turning.job.0.entries.len(), 4);
        turn(&mut turning, start, &[(171, DAY_MS)]);
        assert_eq!(turning.job.0.entries.len(), 5, "a jump that lasts is the truth");
    }

    #[test]
    fn a_stop_and_a_bell_wake_it_and_a_bell_without_senders_lets_it_sleep() {
        let (ring, bell) = bounded(1);
        let (stopper, stop) = stopper();
        let (done, ended) = bounded(1);
        let pulse = Pulse::default();
        let seen = pulse.clone();
        let work = move || {
            let clock = ManualClock::new(0);
            let around = LoopContext { stop: &stop, clock: &clock, pulse: &pulse };
            let job = run(Diary::default(), &bell, &around).unwrap();
            done.send(job.entries).unwrap();
        };
        let thread = Threads::default().spawn("test", work).unwrap();
        ring.send(()).unwrap();
        while seen.beats() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(ring);
        std::thread::sleep(Duration::from_millis(50));
        drop(stopper);
        assert_eq!(ended.recv_timeout(NAP).unwrap(), ["start", "work", "work"]);
        thread.join();
        assert!(seen.beats() < 10, "{} turns", seen.beats());
    }

    #[test]
    fn the_next_time_is_no_later_than_the_longest_pause_and_never_in_the_past() {
        let most = Duration::from_secs(5);
        for (due_ms, wait_ms) in [(None, 5000), (Some(1100), 100), (Some(900), 0), (Some(i64::MAX), 5000)] {
            assert_eq!(NextStep::due(due_ms, 1000, most), NextStep::After(Duration::from_millis(wait_ms)));
        }
    }
}
