//! Many commands at once, driven by the one thread that asks for their results.
//!
//! This file is the public face. `drive` is the order of things: what starts when, what is tried again,
//! what a failure means for the rest. `queue` knows who is next, `active` advances one job, `sources`
//! waits for all of them, `sink` takes their outputs, `finished` is what is told of them, `handle` lets other
//! threads end them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::error::Result;
use crate::report::Output;
use crate::time::deadline_in;
use crate::wiring::Streams;

mod active;
mod drive;
mod finished;
mod handle;
#[cfg_attr(netrunner_portable, path = "portable/loan.rs")]
mod loan;
mod makeflags;
mod queue;
mod retries;
mod sink;
mod sources;
mod tokens;

use active::{Active, Fate, Pending};
use finished::is_success;
use handle::Shared;
use queue::Queue;
use sources::Waits;
use tokens::Tokens;

pub use finished::{Finished, JobId, JobLine};
pub use handle::JobsHandle;
pub use retries::Retries;
pub(crate) use sink::Lines as LineCutter;
pub use sink::{OutputFile, OutputReader};
pub use tokens::Jobserver;

/// Many commands, at most so many of them running at a time; an iterator over their results, in the
/// order in which they end.
///
/// One thread drives them all, the one that iterates: a thousand running jobs take no thread more
/// than one. The other side of that is that they advance only while a result is asked for: between two
/// of them nothing is started, and what a job writes stays in its pipe. (Timeouts hold all the same, and
/// all that a job leaves running is ended, as with any [`Command`].)
///
/// Each job is run as by [`Command::output`]: without input and with both outputs captured, unless the
/// command says otherwise. Each that was pushed has exactly one result. Dropping the `Jobs` stops all
/// that run, without blocking.
///
/// ```
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(0); // as many at a time as there are CPUs
/// for n in 1..=5 {
///     let mut command = Command::new("sh");
///     command.args(["-c", "echo $((6 * $0))"]).arg(n.to_string());
///     jobs.push(command);
/// }
/// let mut sum = 0;
/// for finished in jobs {
///     let output = finished.result?;
///     sum += String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().unwrap();
/// }
/// assert_eq!(sum, 90);
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Jobs {
    at_most: usize,
    timeout: Option<Duration>,
    retries: Retries,
    fail_fast: bool,
    in_order: bool,
    fate: Fate,
    on_line: Option<Box<OnLine>>,
    on_start: Option<Box<OnStart>>,
    on_end: Option<Box<OnEnd>>,
    last: u64,
    queue: Queue<Pending>,
    active: HashMap<JobId, Active>,
    /// Those whose start is awaited.
    starting: usize,
    /// The system has no room for another one; how many run then.
    crowded: Option<usize>,
    waits: Option<Waits>,
    tokens: Option<Tokens>,
    looked: Instant,
    shared: Arc<Shared>,
    done: VecDeque<Finished>,
    /// What has ended before one that was pushed earlier.
    early: BTreeMap<JobId, Finished>,
    /// Whose result is still to be given out.
    owed: BTreeSet<JobId>,
}

type OnLine = dyn FnMut(JobLine<'_>) + Send;
type OnStart = dyn FnMut(JobId, u32) + Send;
type OnEnd = dyn FnMut(JobId, u32, &Result<Output>) + Send;

impl Jobs {
    /// Jobs of which at most so many run at a time; 0: as many as there are CPUs.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(4);
    /// jobs.push(Command::new("true"));
    /// assert_eq!(jobs.count(), 1);
    /// ```
    #[must_use]
    pub fn new(at_most: usize) -> Jobs {
        let cpus = || std::thread::available_parallelism().map_or(1, NonZero::get);
        Jobs {
            at_most: if at_most == 0 { cpus() } else { at_most },
            timeout: None,
            retries: Retries::new(0),
            fail_fast: false,
            in_order: false,
            fate: Fate { streams: Streams::Capture, by_line: false, spill: None },
            on_line: None,
            on_start: None,
            on_end: None,
            last: 0,
            queue: Queue::new(),
            active: HashMap::new(),
            starting: 0,
            crowded: None,
            waits: None,
            tokens: None,
            looked: Instant::now(),
            shared: Arc::default(),
            done: VecDeque::new(),
            early: BTreeMap::new(),
            owed: BTreeSet::new(),
        }
    }

    /// Whether the first job that fails for good stops all others: what runs is stopped, each with all
    /// its descendants, and nothing more is started. By default the others go on.
    ///
    /// Failed is what [`run`](Command::run) would give an error for.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.fail_fast(true);
    /// jobs.push(Command::new("false"));
    /// jobs.push(Command::new("true"));
    /// let ends: Vec<_> = jobs.collect();
    /// assert!(ends[1].result.as_ref().unwrap_err().is_not_run());
    /// ```
    pub fn fail_fast(&mut self, yes: bool) -> &mut Jobs {
        self.fail_fast = yes;
        self
    }

    /// The [`timeout`](Command::timeout) of each job that is pushed from now on and has none of its own. It
    /// counts from the start of each try.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Jobs, Reason};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.timeout(Duration::from_millis(20));
    /// let mut command = Command::new("sleep");
    /// command.arg("60");
    /// jobs.push(command);
    /// assert_eq!(jobs.next().unwrap().result?.report.reason, Reason::Timeout);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn timeout(&mut self, timeout: Duration) -> &mut Jobs {
        self.timeout = Some(timeout);
        self
    }

    /// How often a job that has failed is tried again, and after which pauses; by default never.
    ///
    /// Only the result of the last try is given. Not tried again is what was stopped, what can't be
    /// executed or asked for at all, and a command whose descriptors the first try has consumed.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let script = "echo try >> log; [ $(wc -l < log) = 3 ]";
    /// # let place = std::env::temp_dir().join(format!("netrunner-doc-retry-{}", std::process::id()));
    /// # std::fs::create_dir_all(&place).unwrap();
    /// let mut jobs = Jobs::new(1);
    /// jobs.retries(2);
    /// let mut command = Command::new("sh");
    /// command.args(["-c", script]);
    /// # command.current_dir(&place);
    /// jobs.push(command);
    /// assert!(jobs.next().unwrap().is_success());
    /// # std::fs::remove_dir_all(&place).unwrap();
    /// ```
    pub fn retries(&mut self, retries: impl Into<Retries>) -> &mut Jobs {
        self.retries = retries.into();
        self
    }

    /// Whether results are given in the order of the pushes. One that ends early is kept meanwhile, with
    /// its output. By default each is given when it ends.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(2);
    /// jobs.in_order(true);
    /// for pause in ["0.05", "0"] {
    ///     let mut command = Command::new("sleep");
    ///     command.arg(pause);
    ///     jobs.push(command);
    /// }
    /// assert_eq!(jobs.map(|finished| finished.id.index()).collect::<Vec<_>>(), [0, 1]);
    /// ```
    pub fn in_order(&mut self, yes: bool) -> &mut Jobs {
        self.in_order = yes;
        self
    }

    /// An output that is longer than this goes to a temporary file without a name, and is found in
    /// [`stdout_file`](crate::Output::stdout_file) or [`stderr_file`](crate::Output::stderr_file). By
    /// default all is kept in memory, as much as [`max_output`](Command::max_output) allows.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.spill(10);
    /// let mut command = Command::new("seq");
    /// command.arg("1000");
    /// jobs.push(command);
    /// assert_eq!(jobs.next().unwrap().result?.stdout_file.unwrap().len(), 3893);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn spill(&mut self, bytes: u64) -> &mut Jobs {
        self.fate.spill = Some(bytes);
        self
    }

    /// Whether the jobs write where this process does, as they come, mixed. By default their outputs are
    /// captured.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.pass_through(true);
    /// jobs.push(Command::new("pwd")); // shown at once
    /// assert!(jobs.next().unwrap().result?.stdout.is_empty());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn pass_through(&mut self, yes: bool) -> &mut Jobs {
        self.fate.streams = if yes { Streams::PassThrough } else { Streams::Capture };
        self
    }

    /// Gives each line that a job writes to `callback`, as soon as it is whole, instead of keeping it. It
    /// is called in the thread that iterates.
    ///
    /// A line has its end (`\n`), but for the last if that has none, and one of more than a MiB, which
    /// comes in pieces.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let (sender, lines) = channel();
    /// let mut jobs = Jobs::new(2);
    /// jobs.on_line(move |line| sender.send(line.line.to_vec()).unwrap());
    /// let mut command = Command::new("printf");
    /// command.arg("one\ntwo");
    /// jobs.push(command);
    /// assert!(jobs.next().unwrap().is_success());
    /// assert_eq!(lines.try_iter().collect::<Vec<_>>(), [&b"one\n"[..], b"two"]);
    /// ```
    pub fn on_line(&mut self, callback: impl FnMut(JobLine<'_>) + Send + 'static) -> &mut Jobs {
        self.on_line = Some(Box::new(callback));
        self.fate.by_line = true;
        self
    }

    /// Lets each job have a token of this while it runs, and tells it where there are more. By default
    /// only their number is limited.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Jobserver};
    ///
    /// let mut jobs = Jobs::new(64);
    /// jobs.jobserver(Jobserver::new(4)?); // four at a time, and what they start counts as well
    /// jobs.push(Command::new("true"));
    /// assert!(jobs.next().unwrap().is_success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn jobserver(&mut self, jobserver: Jobserver) -> &mut Jobs {
        self.tokens = Some(Tokens::new(jobserver));
        self
    }

    /// Calls `callback` each time that a job is started, with the number of the try, from 1. It is
    /// called in the thread that iterates.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let mut jobs = Jobs::new(1);
    /// jobs.on_start(move |id, attempt| tell.send((id.index(), attempt)).unwrap());
    /// jobs.push(Command::new("true"));
    /// assert!(jobs.next().unwrap().is_success());
    /// assert_eq!(told.recv().unwrap(), (0, 1));
    /// ```
    pub fn on_start(&mut self, callback: impl FnMut(JobId, u32) + Send + 'static) -> &mut Jobs {
        self.on_start = Some(Box::new(callback));
        self
    }

    /// Calls `callback` each time that a try is over which [`on_start`](Jobs::on_start) was told of, with its number
    /// and what it came to: also where another follows, and before anything is started in its place. It is called
    /// in the thread that iterates.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.retries(1).on_end(|_, attempt, result| {
    ///     assert!(attempt <= 2 && !result.as_ref().unwrap().status.success());
    /// });
    /// jobs.push(Command::new("false"));
    /// assert!(!jobs.next().unwrap().is_success());
    /// ```
    pub fn on_end(
        &mut self,
        callback: impl FnMut(JobId, u32, &Result<Output>) + Send + 'static,
    ) -> &mut Jobs {
        self.on_end = Some(Box::new(callback));
        self
    }

    /// Adds a command to those that wait. It starts when its turn comes and a result is asked for.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// let id = jobs.push(Command::new("true"));
    /// assert_eq!(jobs.next().unwrap().id, id);
    /// ```
    pub fn push(&mut self, command: Command) -> JobId {
        self.push_with_priority(command, 0)
    }

    /// As [`push`](Jobs::push); a command of a higher priority starts before those of a lower one.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("true"));
    /// let urgent = jobs.push_with_priority(Command::new("true"), 1);
    /// assert_eq!(jobs.next().unwrap().id, urgent);
    /// ```
    pub fn push_with_priority(&mut self, mut command: Command, priority: i32) -> JobId {
        let id = JobId(self.last);
        self.last += 1;
        command.terms.timeout = command.terms.timeout.or(self.timeout);
        self.owed.insert(id);
        let pending = Pending { command: Box::new(command), tries: 0, last: None };
        self.queue.push(id, priority, pending);
        id
    }

    /// How many run now.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("cat"));
    /// assert_eq!(jobs.running(), 0); // it starts when a result is asked for
    /// ```
    #[must_use]
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// How many wait for their turn.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("true"));
    /// assert_eq!(jobs.waiting(), 1);
    /// ```
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A handle, to end them from anywhere.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("true"));
    /// jobs.handle().stop_all();
    /// assert!(jobs.next().unwrap().result.unwrap_err().is_not_run());
    /// ```
    #[must_use]
    pub fn handle(&self) -> JobsHandle {
        JobsHandle(Arc::clone(&self.shared))
    }

    /// Starts as many as may run, and waits until each of these executes its program or has failed to.
    /// Returns how many run then. Nobody needs to call this: [`next`](Iterator::next) starts them as well.
    ///
    /// All are asked for before the first answer is waited for, so that a thousand start in a fraction of
    /// the time that they would take one after the other.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(2);
    /// for _ in 0..3 {
    ///     jobs.push(Command::new("yes"));
    /// }
    /// assert_eq!((jobs.start(), jobs.waiting()), (2, 1));
    /// ```
    pub fn start(&mut self) -> usize {
        self.start_all()
    }

    /// The next result, if there is one until `deadline`: [`Poll::Pending`] says that there was not, and
    /// `Ready(None)` that all have been given. A deadline in the past does not wait.
    ///
    /// ```
    /// use std::time::Instant;
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("yes"));
    /// assert!(jobs.next_deadline(Instant::now()).is_pending()); // it runs
    /// ```
    pub fn next_deadline(&mut self, deadline: Instant) -> Poll<Option<Finished>> {
        self.step(Some(deadline))
    }

    /// As [`next_deadline`](Jobs::next_deadline), for at most so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Jobs};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.push(Command::new("yes"));
    /// assert!(jobs.next_timeout(Duration::from_millis(10)).is_pending());
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Poll<Option<Finished>> {
        self.step(deadline_in(timeout))
    }
}

impl Iterator for Jobs {
    type Item = Finished;

    /// The next result; waits until there is one. None once all that were pushed have been given; more
    /// can be pushed then.
    fn next(&mut self) -> Option<Finished> {
        loop {
            // Without a deadline nothing is ever late.
            if let Poll::Ready(finished) = self.step(None) {
                return finished;
            }
        }
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("at_most", &self.at_most)
            .field("running", &self.active.len())
            .field("waiting", &self.queue.len())
            .field("done", &self.done.len())
            .finish_non_exhaustive()
    }
}
