//! Stopping jobs from another thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::JobId;
use crate::poll::Waker;
use crate::running::{End, Running};

/// A handle on [`Jobs`](super::Jobs), for any thread. It owns nothing: the jobs end when the `Jobs` is
/// dropped.
///
/// ```
/// use netrunner_sync::{Command, Jobs, Reason};
///
/// let mut jobs = Jobs::new(1);
/// for _ in 0..2 {
///     let mut command = Command::new("sleep");
///     command.arg("60");
///     jobs.push(command);
/// }
/// jobs.start();
/// let handle = jobs.handle();
/// std::thread::spawn(move || handle.stop_all());
/// let mut jobs = jobs.in_order(true);
/// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Stopped);
/// assert!(jobs.next().unwrap().result.unwrap_err().is_not_run());
/// assert!(jobs.next().is_none());
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone)]
pub struct JobsHandle(pub(super) Arc<Shared>);

impl JobsHandle {
    /// Stops what runs, each job with all its descendants, and starts nothing more. Does not wait.
    ///
    /// Those that ran end with [`Reason::Stopped`](crate::Reason::Stopped), those that did not with an
    /// error that says [`is_not_run`](crate::Error::is_not_run), also those that are pushed later.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Reason};
    ///
    /// let mut jobs = Jobs::new(1);
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// jobs.push(command);
    /// jobs.start();
    /// jobs.handle().stop_all();
    /// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Stopped);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stop_all(&self) {
        self.0.end_all(End::Stop);
    }

    /// As [`stop_all`](JobsHandle::stop_all), but by SIGKILL.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Reason};
    ///
    /// let mut jobs = Jobs::new(1);
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// jobs.push(command);
    /// jobs.start();
    /// jobs.handle().kill_all();
    /// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Killed);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn kill_all(&self) {
        self.0.end_all(End::Kill);
    }

    /// Lets a [`next_deadline`](super::Jobs::next_deadline) that waits for a result return at once, with
    /// `Pending`: for who has more to push. It is remembered where nobody waits.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(2);
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// jobs.push(command);
    /// jobs.handle().nudge(); // from another thread, which has put a command somewhere
    /// assert!(jobs.next_deadline(Instant::now() + Duration::from_secs(30)).is_pending());
    /// ```
    pub fn nudge(&self) {
        self.0.lock().nudged = true;
        self.0.wake();
    }

    /// Stops one job, or takes it out of those that wait. Nothing happens if it is over.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Reason};
    ///
    /// let mut jobs = Jobs::new(1);
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let id = jobs.push(command);
    /// jobs.start();
    /// jobs.handle().stop(id);
    /// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Stopped);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stop(&self, id: JobId) {
        self.0.end(id, End::Stop);
    }

    /// As [`stop`](JobsHandle::stop), but by SIGKILL.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Reason};
    ///
    /// let mut jobs = Jobs::new(1);
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// let id = jobs.push(command);
    /// jobs.start();
    /// jobs.handle().kill(id);
    /// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Killed);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn kill(&self, id: JobId) {
        self.0.end(id, End::Kill);
    }
}

impl fmt::Debug for JobsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.lock();
        f.debug_struct("JobsHandle")
            .field("running", &words.running.len())
            .field("all", &words.all)
            .finish_non_exhaustive()
    }
}

/// What the thread that drives the jobs and the handles have in common.
#[derive(Default)]
pub(super) struct Shared {
    words: Mutex<Words>,
    waker: OnceLock<Waker>,
}

#[derive(Default)]
struct Words {
    /// All are to end.
    all: Option<End>,
    /// These as well, and the driver has not heard of it.
    these: HashMap<JobId, End>,
    /// The driver is to come back to its caller.
    nudged: bool,
    /// Each from when its request was sent as a whole: two writers would mix their words.
    running: HashMap<JobId, Weak<Running>>,
}

/// What the driver has to know.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) all: Option<End>,
    pub(super) these: Vec<JobId>,
    pub(super) nudged: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Words> {
        // Every change is whole before anything could panic.
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_by(&self, waker: Waker) {
        // The driver makes one poller.
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    pub(super) fn end_all(&self, end: End) {
        let mut words = self.lock();
        words.all = words.all.max(Some(end));
        let running: Vec<_> = words.running.values().filter_map(Weak::upgrade).collect();
        drop(words);
        running.iter().for_each(|running| end.ask(running));
        self.wake();
    }

    fn end(&self, id: JobId, end: End) {
        let mut words = self.lock();
        match words.running.get(&id).and_then(Weak::upgrade) {
            Some(running) => {
                drop(words);
                end.ask(&running);
            }
            // It waits, or is on its way to its shepherd, or is over: the driver knows.
            None => {
                words.these.insert(id, end);
                drop(words);
            }
        }
        self.wake();
    }

    /// The request was sent as a whole. What was said meanwhile is done now.
    pub(super) fn runs(&self, id: JobId, running: &Arc<Running>) {
        let mut words = self.lock();
        words.running.insert(id, Arc::downgrade(running));
        let end = words.these.remove(&id).max(words.all);
        drop(words);
        if let Some(end) = end {
            end.ask(running);
        }
    }

    pub(super) fn is_over(&self, id: JobId) {
        self.lock().running.remove(&id);
    }

    /// Whether everything is to end.
    pub(super) fn all(&self) -> Option<End> {
        self.lock().all
    }

    /// What was said since.
    pub(super) fn hear(&self) -> Heard {
        let mut words = self.lock();
        let these = std::mem::take(&mut words.these).into_keys().collect();
        let nudged = std::mem::take(&mut words.nudged);
        Heard { all: words.all, these, nudged }
    }
}
