//! The oracle for death: a file that a process has locked is free again only when that process is
//! truly gone.
//!
//! These are POSIX record locks: they belong to the process, so that a forked child never holds its
//! origin's lock by accident, and the kernel says who holds one. Locking is in [`crate::sys`].

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::procs;
use crate::sys;
use crate::wait::{PATIENCE, reached_within};

/// A file that some process locks, or will lock, or had locked.
#[derive(Debug, Clone)]
pub struct Lock {
    path: PathBuf,
}

impl Lock {
    /// The lock file at `path`; it need not be there yet.
    pub fn at(path: impl AsRef<Path>) -> Lock {
        Lock { path: path.as_ref().to_path_buf() }
    }

    /// Who holds it now.
    pub fn holder(&self) -> Option<u32> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => panic!("cannot look at the lock {}: {error}", self.path.display()),
        };
        sys::lock_holder(&file)
            .unwrap_or_else(|error| panic!("F_GETLK on {}: {error}", self.path.display()))
    }

    /// True when it was locked once and is free now.
    pub fn is_free(&self) -> bool {
        self.path.exists() && self.holder().is_none()
    }

    /// Waits until a process holds it, and names that process.
    #[track_caller]
    pub fn wait_held(&self) -> u32 {
        let mut holder = None;
        let held = reached_within(PATIENCE, || {
            holder = self.holder();
            holder.is_some()
        });
        assert!(held, "nobody took the lock {}", self.path.display());
        holder.expect("held")
    }

    /// Waits until its holder is gone.
    #[track_caller]
    pub fn wait_free(&self, limit: Duration) {
        assert!(self.path.exists(), "nobody ever took the lock {}", self.path.display());
        if !reached_within(limit, || self.is_free()) {
            panic!("the lock {} is still held: {}", self.path.display(), self.describe_holder());
        }
    }

    /// Its holder must be gone at this moment.
    #[track_caller]
    pub fn assert_free(&self) {
        assert!(self.path.exists(), "nobody ever took the lock {}", self.path.display());
        if self.holder().is_some() {
            panic!("the lock {} is still held: {}", self.path.display(), self.describe_holder());
        }
    }

    /// Its holder must be alive at this moment.
    #[track_caller]
    pub fn assert_held(&self) {
        assert!(self.holder().is_some(), "the holder of the lock {} is gone", self.path.display());
    }

    fn describe_holder(&self) -> String {
        match self.holder() {
            None => "nobody, just now".to_string(),
            Some(pid) => procs::describe(pid),
        }
    }
}

/// All the lock files in a directory, for processes that nobody counted beforehand.
#[derive(Debug, Clone)]
pub struct Locks {
    dir: PathBuf,
}

impl Locks {
    /// Makes the directory.
    pub fn new(dir: impl AsRef<Path>) -> Locks {
        let dir = dir.as_ref().to_path_buf();
        std::fs::create_dir_all(&dir).expect("make the directory of locks");
        Locks { dir }
    }

    /// Every lock that was ever taken in it.
    pub fn all(&self) -> Vec<Lock> {
        std::fs::read_dir(&self.dir)
            .expect("read the directory of locks")
            .map(|entry| Lock::at(entry.expect("an entry").path()))
            .collect()
    }

    /// Waits until `count` locks are held at the same time.
    #[track_caller]
    pub fn wait_held(&self, count: usize) {
        let held = || self.all().iter().filter(|lock| lock.holder().is_some()).count();
        assert!(
            reached_within(PATIENCE, || held() >= count),
            "only {} of {count} locks are held",
            held()
        );
    }

    /// Waits until none is held any more.
    #[track_caller]
    pub fn wait_free(&self, limit: Duration) {
        if !reached_within(limit, || self.all().iter().all(Lock::is_free)) {
            self.assert_free();
        }
    }

    /// None may be held at this moment.
    #[track_caller]
    pub fn assert_free(&self) {
        for lock in self.all() {
            lock.assert_free();
        }
    }
}
