//! The face of a running command that does not own it: `ChildHandle`.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netrunner_pty::WinSize;

use crate::error::Result;
use crate::report::Report;
use crate::running::Running;
use crate::signal::Signal;
use crate::time::deadline_in;

/// A handle that does not own: it can be cloned and sent to any thread, and the command ends when
/// its [`Child`](crate::Child) is dropped, not when this is.
///
/// ```
/// use netrunner_sync::{Command, Signal};
/// use std::os::unix::process::ExitStatusExt;
///
/// let mut child = Command::new("sleep").arg("60").spawn()?;
/// let handle = child.handle();
/// std::thread::spawn(move || handle.signal(Signal::TERM));
/// assert_eq!(child.wait()?.signal(), Some(Signal::TERM.as_raw()));
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
#[derive(Clone)]
pub struct ChildHandle(pub(crate) Arc<Running>);

impl ChildHandle {
    /// The process id of the child.
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("true").spawn()?;
    /// assert_eq!(child.handle().id(), child.id());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.pid()
    }

    /// Waits until the command is over, as [`Child::wait`](crate::Child::wait) does, but leaves the standard input to
    /// the `Child`.
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("true").spawn()?;
    /// let handle = child.handle();
    /// let waiter = std::thread::spawn(move || handle.wait());
    /// assert!(waiter.join().unwrap()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait(&self) -> Result<ExitStatus> {
        self.0.wait()
    }

    /// The status, if the command is over.
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.handle().try_wait()?.is_none()); // it runs
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for at most so long.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// assert!(child.handle().wait_timeout(Duration::from_millis(10))?.is_none());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>> {
        self.0.wait_until(deadline_in(timeout))
    }

    /// Waits until a point in time.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// let deadline = Instant::now() + Duration::from_millis(10);
    /// assert!(child.handle().wait_deadline(deadline)?.is_none());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::wait`](crate::Child::wait).
    pub fn wait_deadline(&self, deadline: Instant) -> Result<Option<ExitStatus>> {
        self.0.wait_until(Some(deadline))
    }

    /// As [`Child::kill`](crate::Child::kill).
    ///
    /// ```
    /// let mut child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// let handle = child.handle();
    /// std::thread::spawn(move || handle.kill());
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::kill`](crate::Child::kill).
    pub fn kill(&self) -> Result<()> {
        self.0.kill()
    }

    /// As [`Child::stop`](crate::Child::stop).
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("sleep").arg("60").spawn()?;
    /// assert!(!child.handle().stop()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::stop`](crate::Child::stop).
    pub fn stop(&self) -> Result<ExitStatus> {
        self.0.stop()
    }

    /// As [`Child::signal`](crate::Child::signal).
    ///
    /// ```
    /// use netrunner_sync::{Command, Signal};
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.handle().signal(Signal::TERM)?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::signal`](crate::Child::signal).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.0.signal(signal)
    }

    /// As [`Child::resize`](crate::Child::resize).
    ///
    /// ```
    /// use netrunner_sync::{Command, WinSize};
    ///
    /// let mut child = Command::new("cat").pty(WinSize::new(24, 80)).spawn()?;
    /// child.handle().resize(WinSize::new(50, 132))?;
    /// assert_eq!(child.pty.take().unwrap().size().unwrap(), WinSize::new(50, 132));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Child::resize`](crate::Child::resize).
    pub fn resize(&self, size: WinSize) -> Result<()> {
        self.0.resize(size)
    }

    /// As [`Child::stopped`](crate::Child::stopped).
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("true").spawn()?;
    /// assert_eq!(child.handle().stopped(), None);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn stopped(&self) -> Option<Signal> {
        self.0.stopped()
    }

    /// How the command ended, once a wait has seen it.
    ///
    /// ```
    /// let child = netrunner_sync::Command::new("true").spawn()?;
    /// let handle = child.handle();
    /// handle.wait()?;
    /// assert_eq!(handle.report().unwrap().pid, child.id());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.0.report().cloned()
    }
}

impl fmt::Debug for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ChildHandle").field(&self.0).finish()
    }
}
