//! Making a group: the way down to it, its lock, the controllers that its limits need, and the limits.
//! Whatever fails on the way takes what was made with it.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::detect::{OWN_LEAF, Place};
use crate::error::{Error, Result, Unavailable};
use crate::group::{Group, Step};
use crate::limits::Cgroup;
use crate::remove::Grip;
use crate::{files, stale};

/// Others who remove what we walk through, or fork while we move them, are met this often.
const TRIES: u32 = 100;

impl Cgroup {
    /// Makes the group, empty and with its limits; `None` if it can't be had and need not be.
    ///
    /// ```
    /// use netrunner_cgroup::Cgroup;
    ///
    /// match Cgroup::auto().pids_max(64).if_available().create()? {
    ///     Some(group) => println!("made {}", group.path().display()),
    ///     None => println!("no groups here"),
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// With [`Error::Unavailable`] and a typed reason where it can't be had, [`Error::InUse`] if
    /// somebody has a group of this path, [`Error::Io`] for want of descriptors or memory.
    pub fn create(&self) -> Result<Option<Group>> {
        match Place::detect() {
            Ok(place) => self.create_in(&place).map(Some),
            Err(reason) => {
                let error = Error::from(reason);
                let fails = self.is_required() || error.unavailable().is_none();
                if fails { Err(error) } else { Ok(None) }
            }
        }
    }

    /// Makes it below this place.
    ///
    /// ```
    /// use netrunner_cgroup::{Cgroup, Place};
    ///
    /// if let Ok(place) = Place::detect() {
    ///     let group = Cgroup::auto().create_in(&place)?;
    ///     assert!(group.path().starts_with(&place.group));
    /// }
    /// # Ok::<(), netrunner_cgroup::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Cgroup::create`].
    pub fn create_in(&self, place: &Place) -> Result<Group> {
        let root = open(&place.group)?;
        let (wanted, missing) = self.controllers(place)?;
        let mut path = self.path().map_or_else(own_name, Path::to_owned);
        let mut tries = TRIES;
        let made = loop {
            match walk(&root, &path) {
                Ok(made) => break made,
                // Somebody removed a group of the way as we came through, or the sweep took ours.
                Err(Errno::NOENT | Errno::NODEV) if tries > 0 => {}
                // A number of another pid namespace, or a dead one's: another name is free.
                Err(Errno::BUSY | Errno::NOTEMPTY) if self.path().is_none() && tries > 0 => {
                    path = own_name();
                }
                Err(Errno::BUSY | Errno::NOTEMPTY) => {
                    return Err(Error::InUse { group: place.group.join(&path) });
                }
                Err(errno) => {
                    return Err(Error::io("make the cgroup", place.group.join(&path), errno));
                }
            }
            tries -= 1;
        };
        let full = place.group.join(&path);
        let group = Group::new(full, made.way, made.leaf, made.grip);
        enable(place, &root, &path, &wanted)?;
        for setting in self.settings() {
            if missing.iter().any(|controller| controller == setting.controller()) {
                continue;
            }
            match group.write(&setting.file, &setting.value) {
                // Some kernels lack a file of a controller they have (`memory.peak`, `cpu.idle`).
                Err(Error::Io { source, .. })
                    if !self.is_required() && source.kind() == std::io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(group)
    }

    /// The controllers that the limits need, and which of them are missing though not required.
    fn controllers(&self, place: &Place) -> Result<(Vec<String>, Vec<String>)> {
        let (mut wanted, mut missing) = (Vec::new(), Vec::new());
        for setting in self.settings() {
            let controller = setting.controller().to_owned();
            if place.controllers.contains(&controller) {
                wanted.push(controller);
            } else if self.is_required() {
                let (group, hybrid) = (place.group.clone(), place.hybrid);
                return Err(Unavailable::Controller { controller, group, hybrid }.into());
            } else {
                missing.push(controller);
            }
        }
        wanted.sort();
        wanted.dedup();
        Ok((wanted, missing))
    }
}

fn own_name() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    PathBuf::from(format!("{}{}-{next}", stale::PREFIX, std::process::id()))
}

pub(crate) fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .and_then(files::above_stdio)
        .map_err(|errno| Error::io("open the cgroup", path, errno))
}

fn c_name(name: &OsStr) -> std::result::Result<CString, Errno> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

/// A group that was made and locked, and what was made for it on the way.
struct Made {
    way: Vec<Step>,
    leaf: Step,
    grip: Grip<OwnedFd>,
}

/// Makes the way and the leaf, and locks the leaf. `BUSY`: somebody has it; `NODEV` and `NOENT`: it was
/// taken from us between two calls, try again.
fn walk(root: &OwnedFd, path: &Path) -> std::result::Result<Made, Errno> {
    let mut names = path.iter().map(c_name).collect::<std::result::Result<Vec<_>, _>>()?;
    let name = names.pop().ok_or(Errno::INVAL)?;
    let mut way = Vec::new();
    let mut leaf = Step { above: rustix::io::fcntl_dupfd_cloexec(root, 3)?, name };
    let grip =
        descend(names, &mut way, &mut leaf).inspect_err(|_| undo(&way, leaf.above.as_fd()))?;
    Ok(Made { way, leaf, grip })
}

fn descend(
    names: Vec<CString>,
    way: &mut Vec<Step>,
    leaf: &mut Step,
) -> std::result::Result<Grip<OwnedFd>, Errno> {
    for name in names {
        let (below, made) = make_dir(&leaf.above, &name)?;
        if made {
            stale::mark_way(&below);
        }
        let above = std::mem::replace(&mut leaf.above, below);
        way.push(Step { above, name });
    }
    leaf_of(leaf)
}

/// Opens a group, and says whether it had to be made.
fn make_dir(above: &OwnedFd, name: &CStr) -> std::result::Result<(OwnedFd, bool), Errno> {
    let made = match rustix::fs::mkdirat(above, name, Mode::from(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    let dir = files::open_dir(above.as_fd(), name);
    if made && dir.is_err() {
        // Without a descriptor it can't be marked, and whoever finds it would not know whose it is.
        let _ = rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR);
    }
    Ok((dir?, made))
}

/// Removes what was made on the way, by whomever: whoever goes last takes it away. Somebody else may use it
/// still; then it stays, and is theirs. The marks are looked at now, when they have long been written, and
/// nothing is opened for that, as there may be no descriptor left.
pub(crate) fn undo(way: &[Step], innermost: BorrowedFd<'_>) {
    let mut dir = innermost;
    for Step { above, name } in way.iter().rev() {
        if !stale::is_way(dir) || !files::is_still(above.as_fd(), name, dir) {
            return;
        }
        let _ = rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR);
        dir = above.as_fd();
    }
}

fn leaf_of(leaf: &Step) -> std::result::Result<Grip<OwnedFd>, Errno> {
    let (dir, made) = make_dir(&leaf.above, &leaf.name)?;
    if !stale::lock(&dir)? {
        // A new one is locked by a sweep, which takes it from us.
        return Err(if made { Errno::NODEV } else { Errno::BUSY });
    }
    settle(leaf, &dir, made).inspect_err(|_| stale::unlock(&dir))?;
    Grip::new(dir).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(&leaf.above, &leaf.name, AtFlags::REMOVEDIR); // It is new, and ours.
    })
}

/// Sees to it that the locked directory is the leaf, and new.
fn settle(leaf: &Step, dir: &OwnedFd, made: bool) -> std::result::Result<(), Errno> {
    if !files::is_still(leaf.above.as_fd(), &leaf.name, dir.as_fd()) {
        return Err(Errno::NODEV);
    }
    if !made {
        // Nobody's, as the lock shows. With processes or groups in it, it is somebody's all the same;
        // empty, it is removed and made again: its counters, limits and kills were another's.
        rustix::fs::unlinkat(&leaf.above, &leaf.name, AtFlags::REMOVEDIR)?;
        return Err(Errno::NODEV);
    }
    stale::mark(dir);
    Ok(())
}

/// Has the controllers enabled in every group from the delegated one down to that above the leaf.
fn enable(place: &Place, root: &OwnedFd, path: &Path, wanted: &[String]) -> Result<()> {
    let mut dir = rustix::io::fcntl_dupfd_cloexec(root, 3)
        .map_err(|errno| Error::io("open the cgroup", &place.group, errno))?;
    let mut at = place.group.clone();
    for name in path.iter() {
        for controller in wanted {
            enable_one(place, &dir, &at, controller)?;
        }
        let failed = |errno| Error::io("open the cgroup", &at, errno);
        let below = files::open_dir(dir.as_fd(), c_name(name).map_err(failed)?).map_err(failed)?;
        dir = below;
        at.push(name);
    }
    Ok(())
}

fn enable_one(place: &Place, dir: &OwnedFd, at: &Path, controller: &str) -> Result<()> {
    const FILE: &str = "cgroup.subtree_control";
    let failed = |errno| Error::io("enable a controller in", at.join(FILE), errno);
    let enabled = files::read(dir, FILE).map_err(failed)?;
    if enabled.split_whitespace().any(|name| name == controller) {
        return Ok(());
    }
    let is_root = at == place.group && place.is_root();
    for _ in 0..TRIES {
        // A group with processes of its own may not hand controllers down. The kernel says so of some;
        // by others (`pids`, `cpu`, `cpuset`) it makes the group a threaded one, and those below invalid.
        if !is_root && !files::read(dir, "cgroup.procs").map_err(failed)?.is_empty() {
            if at != place.group {
                return Err(failed(Errno::BUSY));
            }
            if !place.is_delegated() {
                return Err(Unavailable::NotDelegated { group: place.group.clone() }.into());
            }
            step_aside(dir).map_err(failed)?;
        }
        match files::write(dir, FILE, &format!("+{controller}")) {
            Ok(()) if is_root || !is_threaded(dir) => return Ok(()),
            // Somebody has forked into it meanwhile. The next round finds them.
            Ok(()) => files::write(dir, FILE, &format!("-{controller}")).map_err(failed)?,
            Err(Errno::BUSY) => {}
            Err(Errno::NOENT) => {
                let (controller, group) = (controller.to_owned(), at.to_owned());
                return Err(
                    Unavailable::Controller { controller, group, hybrid: place.hybrid }.into()
                );
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
    Err(failed(Errno::BUSY))
}

/// The root of the hierarchy has no type, and is never one.
fn is_threaded(dir: &OwnedFd) -> bool {
    files::read(dir, "cgroup.type").is_ok_and(|text| text.contains("threaded"))
}

/// Moves everybody out of the delegated group into a leaf of it. Who forks meanwhile is met in the next
/// round.
fn step_aside(dir: &OwnedFd) -> std::result::Result<(), Errno> {
    match rustix::fs::mkdirat(dir, OWN_LEAF, Mode::from(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let leaf = files::open_dir(dir.as_fd(), OWN_LEAF)?;
    for process in files::read(dir, "cgroup.procs")?.lines() {
        match files::write(&leaf, "cgroup.procs", process) {
            // It has ended.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
