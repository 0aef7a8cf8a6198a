//! The guardian's judgement: which shepherd it must end, and when it may go itself.
//!
//! A shepherd normally sees for itself that its client is gone, and ends its command within grace.
//! The guardian is there for the one that can't: stopped, wedged or killed.

use core::time::Duration;

use crate::Time;
use crate::supervise::Standing;

/// How long after its grace a shepherd may still be at work once the client is gone, or has dropped
/// the command.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::guard::{ALLOWANCE, Guardian, Verdict};
/// use netrunner_core::supervise::Standing;
///
/// let (mut guardian, gone) = (Guardian::new(), Time::from_nanos(0));
/// guardian.handle_client_gone(gone);
/// let due = gone.after(ALLOWANCE);
/// assert_eq!(guardian.judge(gone, Standing::Idle), Verdict::WaitUntil(due));
/// ```
pub const ALLOWANCE: Duration = Duration::from_secs(1);

/// What the guardian knows of its client.
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::Time;
/// use netrunner_core::guard::{ALLOWANCE, Guardian, Verdict};
/// use netrunner_core::supervise::Standing;
///
/// let busy = Standing::Busy(Duration::from_secs(5));
/// let (mut guardian, now) = (Guardian::new(), Time::from_nanos(0));
/// assert_eq!(guardian.judge(now, busy), Verdict::Leave);
///
/// // The client was killed, and this shepherd has been stopped by somebody.
/// guardian.handle_client_gone(now);
/// let due = now.after(Duration::from_secs(5)).after(ALLOWANCE);
/// assert_eq!(guardian.judge(now, busy), Verdict::WaitUntil(due));
/// assert_eq!(guardian.judge(due, busy), Verdict::Kill);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guardian {
    client: Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Here,
    /// It will ask for nothing more, and keeps the lane beside its commands, which run on.
    Retired,
    Gone {
        since: Time,
    },
}

/// What is to be done about one shepherd.
///
/// ```
/// use netrunner_core::Time;
/// use netrunner_core::guard::{Guardian, Verdict};
/// use netrunner_core::supervise::Standing;
///
/// // The shell asks this of each shepherd that it has.
/// match Guardian::new().judge(Time::from_nanos(0), Standing::Idle) {
///     Verdict::Leave => {}
///     Verdict::WaitUntil(_) | Verdict::Kill => unreachable!("the client is here"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, for all that is known now.
    Leave,
    /// Judge again at this time.
    WaitUntil(Time),
    /// Kill it; its tree falls to the guardian.
    Kill,
}

impl Default for Guardian {
    fn default() -> Self {
        Guardian::new()
    }
}

impl Guardian {
    /// A guardian whose client is there.
    ///
    /// ```
    /// use netrunner_core::guard::Guardian;
    /// assert!(!Guardian::new().is_client_gone());
    /// ```
    pub fn new() -> Guardian {
        Guardian { client: Client::Here }
    }

    /// The client said that it will ask for nothing more.
    ///
    /// ```
    /// use netrunner_core::guard::Guardian;
    ///
    /// let mut guardian = Guardian::new();
    /// guardian.handle_retire();
    /// // It stays for the commands that run on.
    /// assert!(!guardian.may_quit(true));
    /// assert!(guardian.may_quit(false));
    /// ```
    pub fn handle_retire(&mut self) {
        match self.client {
            Client::Here => self.client = Client::Retired,
            Client::Retired | Client::Gone { .. } => {}
        }
    }

    /// The lane is closed: the client has ended or executed another program, or has nothing here any
    /// more that could be ended wrongly. One that asks for nothing more keeps it until then, for an
    /// `execve(2)` is told by nothing else.
    ///
    /// ```
    /// use netrunner_core::{Time, guard::Guardian};
    ///
    /// let mut guardian = Guardian::new();
    /// guardian.handle_lane_closed(Time::from_nanos(0));
    /// assert!(guardian.is_client_gone());
    /// ```
    pub fn handle_lane_closed(&mut self, now: Time) {
        self.handle_client_gone(now);
    }

    /// The client has ended.
    ///
    /// ```
    /// use netrunner_core::{Time, guard::Guardian};
    ///
    /// let mut guardian = Guardian::new();
    /// guardian.handle_client_gone(Time::from_nanos(0));
    /// assert!(guardian.is_client_gone());
    /// ```
    pub fn handle_client_gone(&mut self, now: Time) {
        match self.client {
            Client::Here | Client::Retired => self.client = Client::Gone { since: now },
            Client::Gone { .. } => {}
        }
    }

    /// Whether nobody is left who could ask for anything or give anything back: the client has ended, or
    /// executed another program.
    ///
    /// ```
    /// use netrunner_core::guard::Guardian;
    ///
    /// let mut guardian = Guardian::new();
    /// guardian.handle_retire();
    /// // It asks for nothing more, but it is there.
    /// assert!(!guardian.is_client_gone());
    /// ```
    pub fn is_client_gone(&self) -> bool {
        matches!(self.client, Client::Gone { .. })
    }

    /// What is to be done about a shepherd of this standing.
    ///
    /// ```
    /// use netrunner_core::Time;
    /// use netrunner_core::guard::{Guardian, Verdict};
    /// use netrunner_core::supervise::Standing;
    ///
    /// let mut guardian = Guardian::new();
    /// guardian.handle_client_gone(Time::from_nanos(0));
    /// // What was detached on purpose outlives its client, and so does its shepherd.
    /// assert_eq!(guardian.judge(Time::from_nanos(u64::MAX), Standing::Kept), Verdict::Leave);
    /// ```
    pub fn judge(&self, now: Time, standing: Standing) -> Verdict {
        let Client::Gone { since } = self.client else { return Verdict::Leave };
        let at = match standing {
            Standing::Kept => return Verdict::Leave,
            Standing::Idle => since.after(ALLOWANCE),
            Standing::Busy(grace) => since.after(grace).after(ALLOWANCE),
        };
        if at <= now { Verdict::Kill } else { Verdict::WaitUntil(at) }
    }

    /// Whether the guardian may go: nobody can ask it for a shepherd, and it watches over nothing.
    ///
    /// ```
    /// use netrunner_core::{Time, guard::Guardian};
    ///
    /// let mut guardian = Guardian::new();
    /// assert!(!guardian.may_quit(false), "the client may ask for a shepherd");
    /// guardian.handle_client_gone(Time::from_nanos(0));
    /// assert!(guardian.may_quit(false));
    /// ```
    pub fn may_quit(&self, children: bool) -> bool {
        self.client != Client::Here && !children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_nanos(1_000);
    const GRACE: Duration = Duration::from_secs(5);

    #[test]
    fn nothing_is_killed_while_the_client_lives() {
        let mut guardian = Guardian::new();
        assert_eq!(guardian.judge(NOW, Standing::Busy(GRACE)), Verdict::Leave);
        guardian.handle_retire();
        assert_eq!(guardian.judge(NOW.after(GRACE * 9), Standing::Busy(GRACE)), Verdict::Leave);
        assert!(!guardian.may_quit(true));
        assert!(guardian.may_quit(false));
        assert!(!guardian.is_client_gone());
        guardian.handle_client_gone(NOW);
        assert!(guardian.is_client_gone());
    }

    #[test]
    fn a_late_shepherd_is_killed_and_a_kept_one_is_not() {
        let mut guardian = Guardian::new();
        guardian.handle_lane_closed(NOW);
        let due = NOW.after(GRACE).after(ALLOWANCE);
        assert_eq!(guardian.judge(NOW, Standing::Busy(GRACE)), Verdict::WaitUntil(due));
        assert_eq!(guardian.judge(due, Standing::Busy(GRACE)), Verdict::Kill);
        assert_eq!(guardian.judge(NOW.after(ALLOWANCE), Standing::Idle), Verdict::Kill);
        assert_eq!(guardian.judge(due, Standing::Kept), Verdict::Leave);
    }

    #[test]
    fn a_retired_client_that_ends_or_executes_something_else_is_gone() {
        for ends in [Guardian::handle_client_gone, Guardian::handle_lane_closed] {
            let mut guardian = Guardian::new();
            guardian.handle_retire();
            ends(&mut guardian, NOW);
            assert_eq!(guardian.judge(NOW.after(ALLOWANCE), Standing::Idle), Verdict::Kill);
        }
    }
}
