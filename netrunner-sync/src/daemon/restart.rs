//! When a daemon that has ended is started again, and after which pause. Pure: the supervisor acts on it.

use std::time::Duration;

use crate::jobs::Retries;

/// When a [`Daemon`](crate::Daemon) that has ended by itself is started again.
///
/// After a pause, which is twice as long after each run that was short, and not for ever: after so many
/// short runs in a row it is given up. A run that was ready and then went on for
/// [`steady`](Restart::steady) is not short, and begins the row anew. One that is
/// [stopped](crate::Daemon::stop) or killed through the daemon is never started again.
///
/// By default: pauses from 100 ms up to 30 s, 5 restarts in a row, steady after 10 s.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::Restart;
///
/// let policy = Restart::on_failure()
///     .pause(Duration::from_millis(50))
///     .longest(Duration::from_secs(5))
///     .give_up_after(10);
/// assert_ne!(policy, Restart::never());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    when: When,
    times: u32,
    pause: Duration,
    longest: Duration,
    steady: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    OnFailure,
    Always,
}

/// A run that is over, as far as the policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// It exited with code 0 by itself, after it was ready.
    pub(super) well: bool,
    /// For how long it was ready; nothing if it never was.
    pub(super) ready_for: Option<Duration>,
    pub(super) traces: Traces,
}

/// What may be left of a run that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traces {
    Nothing,
    /// Its shepherd was lost: its processes are being killed, and nobody tells when they are gone.
    Perhaps,
}

/// How long they are given to be gone before a new run may meet them.
const FOR_TRACES: Duration = Duration::from_secs(1);

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It has ended, and that was to be.
    End,
    /// It has been started again too often.
    GiveUp,
    /// It is started again after this pause.
    After(Duration),
}

impl Restart {
    /// Its first end is the end. This is the default.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Restart};
    ///
    /// let daemon = Daemon::builder(Command::new("false")).restart(Restart::never()).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.health().run, 1);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn never() -> Restart {
        Restart {
            when: When::Never,
            times: 5,
            pause: Duration::from_millis(100),
            longest: Duration::from_secs(30),
            steady: Duration::from_secs(10),
        }
    }

    /// It is started again unless it exits with code 0. An end before it was ready is a failure
    /// whatever the code, and so is a limit that it ran into.
    ///
    /// ```
    /// use netrunner_sync::{Command, Daemon, Restart};
    ///
    /// let daemon = Daemon::builder(Command::new("true")).restart(Restart::on_failure()).start()?;
    /// assert!(daemon.wait()?.success()); // no failure: it stays over
    /// assert_eq!(daemon.health().run, 1);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn on_failure() -> Restart {
        Restart { when: When::OnFailure, ..Restart::never() }
    }

    /// It is started again however it ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Daemon, Restart};
    ///
    /// let restart = Restart::always().pause(Duration::from_millis(1)).give_up_after(2);
    /// let daemon = Daemon::builder(Command::new("true")).restart(restart).start()?;
    /// daemon.wait()?;
    /// assert_eq!(daemon.health().run, 3);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn always() -> Restart {
        Restart { when: When::Always, ..Restart::never() }
    }

    /// The pause before the first restart in a row.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::Restart;
    ///
    /// let policy = Restart::on_failure().pause(Duration::from_secs(1)); // then 2 s, 4 s, …
    /// assert_ne!(policy, Restart::on_failure());
    /// ```
    #[must_use]
    pub fn pause(self, pause: Duration) -> Restart {
        Restart { pause, ..self }
    }

    /// No pause is longer.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::Restart;
    ///
    /// let policy = Restart::on_failure().pause(Duration::from_secs(1)).longest(Duration::from_secs(60));
    /// assert_ne!(policy, Restart::on_failure());
    /// ```
    #[must_use]
    pub fn longest(self, longest: Duration) -> Restart {
        Restart { longest, ..self }
    }

    /// It is given up when the run after so many restarts in a row was short as well;
    /// [`u32::MAX`] is never.
    ///
    /// ```
    /// use netrunner_sync::Restart;
    ///
    /// let for_ever = Restart::always().give_up_after(u32::MAX);
    /// assert_ne!(for_ever, Restart::always());
    /// ```
    #[must_use]
    pub fn give_up_after(self, restarts: u32) -> Restart {
        Restart { times: restarts, ..self }
    }

    /// A run that has been ready for so long is not short.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::Restart;
    ///
    /// let policy = Restart::on_failure().steady(Duration::from_secs(60));
    /// assert_ne!(policy, Restart::on_failure());
    /// ```
    #[must_use]
    pub fn steady(self, steady: Duration) -> Restart {
        Restart { steady, ..self }
    }

    /// Whether it may be started more than once.
    pub(super) fn may_restart(&self) -> bool {
        self.when != When::Never
    }

    /// How many restarts in a row there were before a run that is over now, which had `before`.
    pub(super) fn in_a_row(&self, ended: Ended, before: u32) -> u32 {
        if ended.ready_for.is_some_and(|time| time >= self.steady) { 0 } else { before }
    }

    /// What comes after a run that is over, with so many restarts in a row before it.
    pub(super) fn next(&self, ended: Ended, in_a_row: u32) -> Next {
        let again = match self.when {
            When::Never => false,
            When::OnFailure => !ended.well,
            When::Always => true,
        };
        if !again {
            return Next::End;
        }
        let pauses = Retries::new(self.times).pause(self.pause).longest(self.longest);
        let least = match ended.traces {
            Traces::Nothing => Duration::ZERO,
            Traces::Perhaps => FOR_TRACES,
        };
        let pause = pauses.after(in_a_row.saturating_add(1));
        pause.map_or(Next::GiveUp, |pause| Next::After(pause.max(least)))
    }
}

impl Default for Restart {
    fn default() -> Restart {
        Restart::never()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn ended(well: bool, ready_for: Option<u64>) -> Ended {
        Ended { well, ready_for: ready_for.map(MS), traces: Traces::Nothing }
    }

    #[test]
    fn the_policy_says_which_ends_are_final() {
        let (good, bad) = (ended(true, Some(1)), ended(false, None));
        let first = Next::After(MS(100));
        let decide = |policy: Restart| [policy.next(good, 0), policy.next(bad, 0)];
        assert_eq!(decide(Restart::default()), [Next::End, Next::End]);
        assert_eq!(decide(Restart::on_failure()), [Next::End, first]);
        assert_eq!(decide(Restart::always()), [first, first]);
        assert!(!Restart::never().may_restart());
        assert!(Restart::always().may_restart());
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_is_given_up() {
        let policy = Restart::on_failure().pause(MS(10)).longest(MS(35)).give_up_after(4);
        let next: Vec<_> = (0..6).map(|row| policy.next(ended(false, None), row)).collect();
        let pauses = [MS(10), MS(20), MS(35), MS(35)].map(Next::After);
        assert_eq!(next[..4], pauses);
        assert_eq!(next[4..], [Next::GiveUp, Next::GiveUp]);
        let patient = Restart::always().give_up_after(u32::MAX);
        assert_eq!(patient.next(ended(true, None), 1_000_000), Next::After(MS(30_000)));
        let bold = Restart::always().give_up_after(0);
        assert_eq!(bold.next(ended(true, None), 0), Next::GiveUp);
    }

    #[test]
    fn what_may_be_left_of_a_run_has_time_to_go() {
        let ended = Ended { traces: Traces::Perhaps, ..ended(false, None) };
        let policy = Restart::on_failure().pause(MS(10)).longest(MS(20)).give_up_after(2);
        let next = [0, 1, 2].map(|row| policy.next(ended, row));
        assert_eq!(next, [Next::After(FOR_TRACES), Next::After(FOR_TRACES), Next::GiveUp]);
        let slow = Restart::on_failure().pause(MS(5_000));
        assert_eq!(slow.next(ended, 0), Next::After(MS(5_000)));
    }

    #[test]
    fn a_steady_run_begins_the_row_anew() {
        let policy = Restart::on_failure().steady(MS(50));
        assert_eq!(policy.in_a_row(ended(false, Some(50)), 4), 0);
        assert_eq!(policy.in_a_row(ended(false, Some(49)), 4), 4);
        assert_eq!(policy.in_a_row(ended(false, None), 4), 4);
    }
}
