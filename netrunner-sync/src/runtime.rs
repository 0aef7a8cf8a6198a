//! What this process has one of: pool, watcher, the thread for daemons and the numbers of commands. A
//! forked copy of the process gets its own.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use netrunner_core::Time;
use netrunner_core::message::CommandId;
use rustix::process::{Pid, getpid};

use crate::daemon::Supervisor;
use crate::pool::Pool;
use crate::sys::Published;
use crate::watcher::{Watcher, Word};

pub(crate) struct Runtime {
    /// The process that this belongs to.
    process: Pid,
    pool: Pool,
    watcher: OnceLock<Watcher>,
    supervisor: OnceLock<Supervisor>,
    starting: Mutex<()>,
    last_command: AtomicU32,
    epoch: Instant,
    /// Whether the watcher will look after the idle shepherds by itself.
    trimming: AtomicBool,
}

static CURRENT: Published<Runtime> = Published::nothing();

impl Runtime {
    /// The one of this process; a new one in the first call and in a forked copy, where the other
    /// threads, the watcher among them, do not exist, and any lock may be held for ever.
    pub(crate) fn current() -> &'static Runtime {
        let found = CURRENT.get();
        match found {
            Some(runtime) if runtime.is_here() => runtime,
            Some(original) => {
                let runtime = CURRENT.replace(found, Runtime::new());
                original.pool.close_in_copy();
                runtime
            }
            None => CURRENT.replace(None, Runtime::new()),
        }
    }

    fn new() -> Runtime {
        Runtime {
            process: getpid(),
            pool: Pool::new(),
            watcher: OnceLock::new(),
            supervisor: OnceLock::new(),
            starting: Mutex::new(()),
            last_command: AtomicU32::new(0),
            epoch: Instant::now(),
            trimming: AtomicBool::new(false),
        }
    }

    /// Whether the calling process is the one that this belongs to.
    pub(crate) fn is_here(&self) -> bool {
        self.process == getpid()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sees to it that there is a watcher.
    pub(crate) fn ensure_watcher(&'static self) -> io::Result<()> {
        if self.watcher.get().is_some() {
            return Ok(());
        }
        let _one_thread = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.watcher.get().is_none() {
            let watcher = Watcher::start(self)?;
            // The lock keeps others from having set it.
            let _ = self.watcher.set(watcher);
        }
        Ok(())
    }

    /// The thread that looks after daemons; started if there is none.
    pub(crate) fn ensure_supervisor(&'static self) -> io::Result<&'static Supervisor> {
        let _one_thread = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        match self.supervisor.get() {
            Some(supervisor) => Ok(supervisor),
            None => {
                let supervisor = Supervisor::start()?;
                Ok(self.supervisor.get_or_init(|| supervisor))
            }
        }
    }

    /// The same, if it was started.
    pub(crate) fn supervisor(&self) -> Option<&Supervisor> {
        self.supervisor.get()
    }

    /// Tells the watcher something. Never waits.
    pub(crate) fn tell(&self, word: Word) {
        // It was there before the first command that there could be a word about.
        if let Some(watcher) = self.watcher.get() {
            watcher.tell(word);
        }
    }

    /// There are idle shepherds; the watcher is told unless it knows.
    pub(crate) fn expect_trimming(&self) {
        if !self.trimming.load(Ordering::Relaxed) && !self.trimming.swap(true, Ordering::AcqRel) {
            self.tell(Word::Idle);
        }
    }

    /// The watcher finds nothing that it would have to come back for.
    pub(crate) fn trimming_is_over(&self) {
        self.trimming.store(false, Ordering::Release);
    }

    /// It will come back.
    pub(crate) fn trimming_goes_on(&self) {
        self.trimming.store(true, Ordering::Release);
    }

    pub(crate) fn next_command(&self) -> CommandId {
        CommandId(self.last_command.fetch_add(1, Ordering::Relaxed).wrapping_add(1))
    }

    /// The watcher's clock.
    pub(crate) fn now(&self) -> Time {
        let nanos = self.epoch.elapsed().as_nanos();
        Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("process", &self.process).finish_non_exhaustive()
    }
}
