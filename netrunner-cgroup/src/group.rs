//! A group that was made: who may come in, what it says of itself, and its end. It is removed when the
//! value is dropped, and swept by the next NetRunner if its owner is killed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::limits::check_setting;
use crate::remove::Grip;
use crate::stats::CgroupStats;
use crate::{files, make, stale};

/// How long a dropped group may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// A directory, by the one above and its name there.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) above: OwnedFd,
    pub(crate) name: CString,
}

/// A group that is ours: locked, with its limits, and removed when this is dropped.
///
/// ```
/// use std::time::Duration;
/// use netrunner_cgroup::Cgroup;
///
/// if let Some(group) = Cgroup::auto().if_available().create()? {
///     let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
///     group.add(child.id())?;
///     group.end(Duration::from_secs(30))?; // kills it
///     assert!(!child.wait().unwrap().success());
/// }
/// # Ok::<(), netrunner_cgroup::Error>(())
/// ```
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    way: Vec<Step>,
    leaf: Step,
    grip: Grip<OwnedFd>,
    /// Nothing is left to do for us.
    done: AtomicBool,
    /// A forked copy of the process must not end what is not its own.
    owner: u32,
}

impl Group {
    pub(crate) fn new(path: PathBuf, way: Vec<Step>, leaf: Step, grip: Grip<OwnedFd>) -> Self {
        Self { path, way, leaf, grip, done: AtomicBool::new(false), owner: std::process::id() }
    }

    #[cfg(test)]
    pub(crate) fn grip(&self) -> &Grip<OwnedFd> {
        &self.grip
    }

    /// Where it is, from the root of the file system.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert!(group.path().is_dir());
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process in. What it starts from then on is in the group too; what it started before is not.
    ///
    /// ```
    /// use netrunner_cgroup::Cgroup;
    ///
    /// if let Some(group) = Cgroup::auto().if_available().create()? {
    ///     let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    ///     group.add(child.id())?;
    ///     assert!(group.is_populated()?);
    ///     group.kill()?;
    ///     child.wait().unwrap();
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no such process, or it may not be moved.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Changes a limit: the file (`memory.max`) and what to write into it.
    ///
    /// ```no_run
    /// let group = netrunner_cgroup::Cgroup::auto().memory_max(1 << 30).create()?.unwrap();
    /// group.set("memory.max", "max")?; // no limit any more
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the file is not a controller's, is not there, or the kernel refuses the value.
    pub fn set(&self, file: &str, value: &str) -> Result<()> {
        check_setting(file, value)?;
        self.write(file, value)
    }

    /// The text of one of its files.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert_eq!(group.read("cgroup.procs")?, ""); // nobody is in it yet
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn read(&self, file: &str) -> Result<String> {
        if file.contains('/') {
            return Err(Error::Limit { file: file.to_owned(), why: "this is no name of a file" });
        }
        files::read(self, file).map_err(|errno| Error::io("read", self.path.join(file), errno))
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<()> {
        files::write(self, file, value)
            .map_err(|errno| Error::io("write", self.path.join(file), errno))
    }

    /// What the group has used and met so far.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     println!("{:?}", group.stats().cpu.map(|cpu| cpu.usage));
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> CgroupStats {
        CgroupStats::from_files(|file| files::read(self, file).ok())
    }

    /// Stops everybody in it, without a signal and without their noticing, and waits until they stand
    /// still. False if they do not within the time; they are stopped as soon as they can be.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let group = netrunner_cgroup::Cgroup::auto().create()?.unwrap();
    /// if group.freeze(Duration::from_secs(1))? {
    ///     // … a look at what stands still …
    /// }
    /// group.thaw()?;
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the kernel can't freeze groups (before 5.2).
    pub fn freeze(&self, timeout: Duration) -> Result<bool> {
        self.write("cgroup.freeze", "1")?;
        let deadline = Instant::now() + timeout;
        loop {
            let events = self.read("cgroup.events")?;
            if crate::stats::value(&events, "frozen") == Some(1) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets everybody go on.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let group = netrunner_cgroup::Cgroup::auto().create()?.unwrap();
    /// group.freeze(Duration::from_secs(1))?;
    /// group.thaw()?;
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the kernel can't freeze groups (before 5.2).
    pub fn thaw(&self) -> Result<()> {
        self.write("cgroup.freeze", "0")
    }

    /// Whether a process is in it or in a group below it. Zombies do not count.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert!(!group.is_populated()?);
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If its files can't be read.
    pub fn is_populated(&self) -> Result<bool> {
        self.grip.is_populated().map_err(|errno| self.failed("look into", errno))
    }

    /// Kills everybody in it and below it at once, and returns at once. Processes moved in later are not
    /// concerned; but nothing should be cloned straight into the group any more (`CLONE_INTO_CGROUP`):
    /// kernels of today give birth to it killed.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    ///     group.add(child.id())?;
    ///     group.kill()?;
    ///     assert!(!child.wait().unwrap().success());
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If somebody may not be killed.
    pub fn kill(&self) -> Result<()> {
        self.grip.kill().map_err(|errno| self.failed("kill", errno))
    }

    /// Waits until nobody is left in it; false at the deadline.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert!(group.wait_empty_deadline(Instant::now())?); // nobody is in it
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If its files can't be read.
    pub fn wait_empty_deadline(&self, deadline: Instant) -> Result<bool> {
        self.grip.wait_empty(deadline).map_err(|errno| self.failed("wait for", errno))
    }

    /// [`Group::wait_empty_deadline`] with a time from now.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert!(group.wait_empty_timeout(Duration::ZERO)?); // nobody is in it
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If its files can't be read.
    pub fn wait_empty_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_empty_deadline(Instant::now() + timeout)
    }

    /// Kills who is left, waits for their end, reads what the group has used, and removes it with
    /// everything below.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     let stats = group.end(Duration::from_secs(30))?;
    ///     assert!(!stats.killed_for_memory() && !group.path().exists());
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Alive`] if somebody could not be ended in time; the group then stays for the sweep.
    pub fn end(&self, timeout: Duration) -> Result<CgroupStats> {
        let deadline = Instant::now() + timeout;
        self.release();
        let empty = self.grip.empty(deadline);
        if !empty.map_err(|errno| self.failed("kill", errno))? {
            return Err(Error::Alive { group: self.path.clone() });
        }
        let stats = self.stats();
        let (above, name) = self.place();
        let removed = self.grip.remove(above, name, deadline);
        removed.map_err(|errno| self.failed("remove", errno))?;
        make::undo(&self.way, above);
        Ok(stats)
    }

    /// Leaves the group to whoever else holds its directory, or to the sweep: it is not removed when this
    /// is dropped.
    ///
    /// ```no_run
    /// let group = netrunner_cgroup::Cgroup::auto().create()?.unwrap();
    /// group.release();
    /// drop(group); // its directory is still there
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    pub fn release(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// The directory above, and the name that the group has there: what is needed to remove it.
    ///
    /// ```
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     let (_above, name) = group.place();
    ///     assert_eq!(group.path().file_name().unwrap(), name.to_str().unwrap());
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    #[must_use]
    pub fn place(&self) -> (BorrowedFd<'_>, &CStr) {
        (self.leaf.above.as_fd(), &self.leaf.name)
    }

    /// The delegated directory, below which it was made.
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// if let Some(group) = netrunner_cgroup::Cgroup::auto().if_available().create()? {
    ///     assert!(group.root().as_raw_fd() > 2);
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.way.first().unwrap_or(&self.leaf).above.as_fd()
    }

    fn failed(&self, step: &'static str, errno: Errno) -> Error {
        Error::io(step, &self.path, io::Error::from(errno))
    }
}

impl AsFd for Group {
    /// The directory. The lock goes with it: whoever holds a duplicate of this descriptor keeps the group
    /// from being taken for stale.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.grip.as_fd()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.done.load(Ordering::Relaxed) && std::process::id() == self.owner {
            // There is nobody to tell; what stays is nobody's from here on, and the sweep's.
            let _ = self.end(PATIENCE);
        }
    }
}

/// Ends and removes every group below this place whose owner is gone.
///
/// ```
/// use netrunner_cgroup::{Place, sweep};
///
/// if let Ok(place) = Place::detect() {
///     let swept = sweep(&place)?;
///     println!("removed {} groups whose owners were killed", swept.removed.len());
/// }
/// # Ok::<(), netrunner_cgroup::Error>(())
/// ```
///
/// # Errors
///
/// If the place can't be looked through. What could not be removed is in the answer.
pub fn sweep(place: &crate::Place) -> Result<stale::Swept> {
    let dir = make::open(&place.group)?;
    stale::sweep(dir.as_fd())
}
