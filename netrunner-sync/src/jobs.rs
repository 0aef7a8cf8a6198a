//! Many commands at once, driven by the one thread that asks for their results.
//!
//! This file is the public face. `drive` is the order of things: what starts when, what is tried again,
//! what a failure means for the rest. `queue` knows who is next, `active` advances one job, `sources`
//! waits for all of them, `sink` takes their outputs, `handle` lets other threads end them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::error::Result;
use crate::mover::Stream;
use crate::report::{Output, Reason};
use crate::time::deadline_in;
use crate::wiring::Streams;

mod active;
mod drive;
mod handle;
#[cfg_attr(netrunner_portable, path = "portable/loan.rs")]
mod loan;
mod queue;
mod retries;
mod sink;
mod sources;
mod tokens;

use active::{Active, Fate, Pending};
use handle::Shared;
use queue::Queue;
use sources::Waits;
use tokens::Tokens;

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

/// The name of a job; made by [`Jobs::push`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(u64);

impl JobId {
    /// How many were pushed before it.
    #[must_use]
    pub fn index(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A job that is over; an item of [`Jobs`].
///
/// ```
/// use netrunner_sync::{Command, Jobs};
///
/// let mut jobs = Jobs::new(2);
/// let id = jobs.push(Command::new("false"));
/// for finished in jobs {
///     assert_eq!(finished.id, id);
///     assert!(!finished.result?.status.success());
/// }
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Debug)]
pub struct Finished {
    /// Which one.
    pub id: JobId,
    /// What it came to, as [`Command::output`] gives it: a failure of the command is no error here. One
    /// that was stopped before it could start has an error that says
    /// [`is_not_run`](crate::Error::is_not_run).
    pub result: Result<Output>,
}

impl Finished {
    /// Whether the command ended by itself with code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        is_success(&self.result)
    }
}

fn is_success(result: &Result<Output>) -> bool {
    result
        .as_ref()
        .is_ok_and(|output| output.report.reason == Reason::Exited && output.status.success())
}

/// A line that a job has written; see [`Jobs::on_line`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct JobLine<'a> {
    /// Who wrote it.
    pub id: JobId,
    /// To which of its outputs.
    pub stream: Stream,
    /// The line, with its end.
    pub line: &'a [u8],
}

impl Jobs {
    /// Jobs of which at most so many run at a time; 0: as many as there are CPUs.
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
    pub fn fail_fast(&mut self, yes: bool) -> &mut Jobs {
        self.fail_fast = yes;
        self
    }

    /// The [`timeout`](Command::timeout) of each job that is pushed from now on and has none of its own. It
    /// counts from the start of each try.
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
    pub fn in_order(&mut self, yes: bool) -> &mut Jobs {
        self.in_order = yes;
        self
    }

    /// An output that is longer than this goes to a temporary file without a name, and is found in
    /// [`Output::stdout_file`] or [`Output::stderr_file`]. By default all is kept in memory, as much as
    /// [`max_output`](Command::max_output) allows.
    pub fn spill(&mut self, bytes: u64) -> &mut Jobs {
        self.fate.spill = Some(bytes);
        self
    }

    /// Whether the jobs write where this process does, as they come, mixed. By default their outputs are
    /// captured.
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
    pub fn jobserver(&mut self, jobserver: Jobserver) -> &mut Jobs {
        self.tokens = Some(Tokens::new(jobserver));
        self
    }

    /// Calls `callback` each time that a job is started, with the number of the try, from 1. It is
    /// called in the thread that iterates.
    pub fn on_start(&mut self, callback: impl FnMut(JobId, u32) + Send + 'static) -> &mut Jobs {
        self.on_start = Some(Box::new(callback));
        self
    }

    /// Adds a command to those that wait. It starts when its turn comes and a result is asked for.
    pub fn push(&mut self, command: Command) -> JobId {
        self.push_with_priority(command, 0)
    }

    /// As [`push`](Jobs::push); a command of a higher priority starts before those of a lower one.
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
    #[must_use]
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// How many wait for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A handle, to end them from anywhere.
    #[must_use]
    pub fn handle(&self) -> JobsHandle {
        JobsHandle(Arc::clone(&self.shared))
    }

    /// Starts as many as may run, and waits until each of these executes its program or has failed to.
    /// Returns how many run then. Nobody needs to call this: [`next`](Iterator::next) starts them as well.
    ///
    /// All are asked for before the first answer is waited for, so that a thousand start in a fraction of
    /// the time that they would take one after the other.
    pub fn start(&mut self) -> usize {
        self.start_all()
    }

    /// The next result, if there is one until `deadline`: [`Poll::Pending`] says that there was not, and
    /// `Ready(None)` that all have been given. A deadline in the past does not wait.
    pub fn next_deadline(&mut self, deadline: Instant) -> Poll<Option<Finished>> {
        self.step(Some(deadline))
    }

    /// As [`next_deadline`](Jobs::next_deadline), for at most so long.
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
