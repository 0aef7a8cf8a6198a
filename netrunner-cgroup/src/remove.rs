//! The end of a group: everybody in it killed, however fast they fork, and the directories removed from
//! the innermost outwards.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::process::Pid;

use crate::files;
use crate::kernel;
use crate::stats::value;

/// A group, and what is needed to end it. That is opened when the group is made: at its end there may be no
/// descriptor left to be had, and nobody else to end it.
#[derive(Debug)]
pub(crate) struct Grip<D> {
    dir: D,
    events: OwnedFd,
    /// Before Linux 5.14 there is none.
    kill: Option<OwnedFd>,
}

/// Groups below groups: nobody makes more levels than this for a good reason, and the walk must end.
const DEEPEST: u32 = 128;

/// How long one round of killing may take; a fork storm that is killed one by one needs another.
const ROUND: Duration = Duration::from_millis(500);

impl<D: AsFd> Grip<D> {
    pub(crate) fn new(dir: D) -> Result<Self, Errno> {
        let events = files::open(&dir, c"cgroup.events", OFlags::RDONLY)?;
        let kill = match files::open(&dir, c"cgroup.kill", OFlags::WRONLY) {
            Err(Errno::NOENT) => None,
            opened => Some(opened?),
        };
        Ok(Self { dir, events, kill })
    }

    /// Kills everybody in the group and below it. Who is killed need not be gone yet: see
    /// [`Grip::wait_empty`].
    pub(crate) fn kill(&self) -> Result<(), Errno> {
        let written = self.kill.as_ref().map(|kill| rustix::io::write(kill, b"1"));
        match written {
            // A threaded group has a file that does not work.
            None | Some(Err(Errno::OPNOTSUPP)) => kill_one_by_one(self),
            Some(written) => written.map(drop),
        }
    }

    /// Whether a process is left in the group or below it. Zombies do not count.
    pub(crate) fn is_populated(&self) -> Result<bool, Errno> {
        let mut text = [0u8; 256];
        let length = rustix::io::pread(&self.events, &mut text, 0)?;
        Ok(value(&String::from_utf8_lossy(&text[..length]), "populated") != Some(0))
    }

    /// Kills everybody and waits for their end; false if somebody is left at the deadline.
    pub(crate) fn empty(&self, deadline: Instant) -> Result<bool, Errno> {
        while self.is_populated()? {
            self.kill()?;
            let round = deadline.min(Instant::now() + ROUND);
            if !self.wait_empty(round)? && Instant::now() >= deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until nobody is left; false at the deadline.
    pub(crate) fn wait_empty(&self, deadline: Instant) -> Result<bool, Errno> {
        // Reading arms the notification. It is rate-limited by the kernel, so the wait is cut into pieces and
        // the file read again after each: 1 ms first, for most ends take less.
        let mut pause = Duration::from_millis(1);
        while self.is_populated()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let wait = Timespec::try_from(pause.min(left)).map_err(|_| Errno::INVAL)?;
            match rustix::event::poll(&mut [PollFd::new(&self.events, PollFlags::PRI)], Some(&wait))
            {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        Ok(true)
    }

    /// Removes the groups below and then the group itself, which was emptied. What has just died can keep a
    /// group busy for a moment, and so can somebody who makes another group in it at the same time. Who comes
    /// in only now is killed as well.
    pub(crate) fn remove(
        &self,
        above: BorrowedFd<'_>,
        name: impl Arg + Copy,
        deadline: Instant,
    ) -> Result<(), Errno> {
        let mut pause = Duration::from_micros(100);
        loop {
            match remove_once(above, name, DEEPEST) {
                Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => {}
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(errno),
            }
            if self.is_populated() == Ok(true) {
                let _ = self.kill(); // Somebody else may have removed it meanwhile: the next try tells.
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

impl<D: AsFd> AsFd for Grip<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn remove_once(above: BorrowedFd<'_>, name: impl Arg + Copy, depth: u32) -> Result<(), Errno> {
    match rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR) {
        // The kernel says "busy" of groups below as well.
        Err(Errno::BUSY | Errno::NOTEMPTY) if depth > 0 => {}
        done => return done,
    }
    let dir = files::open_dir(above, name)?;
    for below in files::groups_below(dir.as_fd())? {
        match remove_once(dir.as_fd(), below.as_c_str(), depth - 1) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR)
}

/// Kills without `cgroup.kill`. Frozen, a group can't fork away from us, and a frozen process dies of
/// SIGKILL all the same. One round therefore does, unless somebody thaws it: the caller looks and asks
/// again.
fn kill_one_by_one(group: &Grip<impl AsFd>) -> Result<(), Errno> {
    let dir = group.as_fd();
    // A kernel before 5.2 has no such file either; then the rounds must be quicker than the forks.
    let frozen = match files::write(dir, c"cgroup.freeze", "1") {
        Ok(()) => true,
        Err(Errno::NOENT | Errno::OPNOTSUPP) => false,
        Err(errno) => return Err(errno),
    };
    let rounds = if frozen { 2 } else { 50 };
    let mut outcome = Ok(());
    for _ in 0..rounds {
        outcome = kill_listed(dir, DEEPEST);
        if !group.is_populated()? {
            break;
        }
    }
    if frozen {
        // Who came in meanwhile must not stay frozen for ever.
        files::write(dir, c"cgroup.freeze", "0")?;
    }
    outcome
}

fn kill_listed(dir: BorrowedFd<'_>, depth: u32) -> Result<(), Errno> {
    // A threaded group does not list processes; its threads tell whose they are.
    let file = match files::read(dir, c"cgroup.procs") {
        Ok(_) => c"cgroup.procs",
        Err(Errno::OPNOTSUPP) => c"cgroup.threads",
        Err(errno) => return Err(errno),
    };
    let list = || files::read(dir, file);
    for number in list()?.lines().filter_map(|line| line.parse::<i32>().ok()) {
        // 0 is somebody who can't be named in this pid namespace.
        let Some(pid) = Pid::from_raw(number).and_then(process_of) else { continue };
        kernel::kill(pid, || Ok(list()?.lines().any(|line| line.parse() == Ok(number))))?;
    }
    if depth > 0 {
        for below in files::groups_below(dir)? {
            match files::open_dir(dir, below.as_c_str()) {
                Ok(below) => kill_listed(below.as_fd(), depth - 1)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

/// The process of a thread.
fn process_of(thread: Pid) -> Option<Pid> {
    let path = format!("/proc/{}/status", thread.as_raw_nonzero());
    let status = std::fs::read_to_string(path).ok()?;
    let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    Pid::from_raw(group.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A process that was on its way into a group while that was being ended.
    #[test]
    fn who_comes_in_after_the_last_look_is_killed_before_the_group_is_removed() {
        let Ok(place) = crate::Place::detect() else {
            eprintln!("SKIPPED: no cgroup v2 here");
            return;
        };
        let group = crate::Cgroup::auto().create_in(&place).expect("it may be made");
        let deadline = Instant::now() + Duration::from_secs(60);
        assert!(group.grip().empty(deadline).expect("ours"));
        let mut late = Command::new("sleep").arg("1000").spawn().expect("it is everywhere");
        group.add(late.id()).expect("it may be moved");
        let (above, name) = group.place();
        group.grip().remove(above, name, deadline).expect("it can be killed");
        assert!(!group.path().exists());
        assert!(!late.wait().expect("ours").success());
    }

    /// The way of kernels before 5.14, on the present one.
    #[test]
    fn a_fork_storm_in_nested_groups_is_killed_one_by_one() {
        let Ok(place) = crate::Place::detect() else {
            eprintln!("SKIPPED: no cgroup v2 here");
            return;
        };
        let group = crate::Cgroup::auto().create_in(&place).expect("it may be made");
        let storm = "mkdir $0/inner && echo $$ > $0/inner/cgroup.procs && f() { sleep 0.02; (f) & }; \
                     i=0; while [ $i -lt 20 ]; do (f) & i=$((i+1)); done; exec sleep 1000";
        let mut child = Command::new("sh")
            .args(["-c", storm])
            .arg(group.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh is everywhere");
        let long = Instant::now() + Duration::from_secs(60);
        let inside =
            || group.read("cgroup.stat").is_ok() && group.grip().is_populated() == Ok(true);
        while !inside() {
            assert!(Instant::now() < long, "the storm never began");
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut rounds = 0;
        let patience = || Instant::now() + Duration::from_millis(200);
        while !group.grip().wait_empty(patience()).expect("ours") {
            kill_one_by_one(group.grip()).expect("all can be killed");
            rounds += 1;
            assert!(Instant::now() < long, "the storm outran {rounds} rounds");
        }
        child.wait().expect("ours");
        group.end(Duration::from_secs(60)).expect("nobody is left");
    }
}
