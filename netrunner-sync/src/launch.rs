//! Where the shepherd's program comes from, and how its first process is started.
//!
//! The program is executed from memory: nothing is installed, nothing touches the disk, and what
//! runs is what this crate was built with. Where memory files can't be executed, an unlinked file
//! in a private place stands in.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions};

use crate::capabilities::ShepherdSource;
use crate::error::{Error, Result};
use crate::lane::{PATIENCE, above_stdio};
use crate::pidfd;
use crate::time::until;

/// The variable that names another program, for trying one out.
const VARIABLE: &str = "NETRUNNER_SHEPHERD";

/// Starts the program of the shepherds with `lane` as its standard input, the far end of `ours`, and
/// reaps its first process, which ends once the guardian is there. Returns the guardian's process
/// group.
pub(crate) fn start(explicit: Option<&Path>, lane: OwnedFd, ours: &OwnedFd) -> Result<Option<Pid>> {
    let named = |path: &Path, lane| {
        let group = run(path, lane).map_err(|failure| failed(path, failure.cause()))?;
        // The far end is not ours any more, and a guardian would hold it.
        if crate::lane::is_hung_up(ours) {
            let text = "it ended and left no guardian";
            return Err(failed(path, io::Error::new(io::ErrorKind::ConnectionAborted, text)));
        }
        Ok(group)
    };
    match source(explicit.map(Path::to_owned)) {
        ShepherdSource::Explicit(path)
        | ShepherdSource::Variable(path)
        | ShepherdSource::Installed(path) => return named(&path, lane),
        ShepherdSource::Embedded => {}
    }
    let mut first = None;
    for image in images(netrunner_shepherd::BYTES) {
        let started = image.map_err(Failure::Image).and_then(|image| {
            let path = format!("/proc/self/fd/{}", image.as_raw_fd());
            run(path.as_ref(), lane.try_clone().map_err(Failure::Image)?)
        });
        match started {
            Ok(group) => return Ok(group),
            // The other forms would run out of the same.
            Err(Failure::Image(cause)) if !is_exhaustion(&cause) => {
                // The first form is the usual one, and its reason tells most.
                first.get_or_insert(cause);
            }
            Err(failure) => return Err(no_program(failure.cause())),
        }
    }
    Err(no_program(first.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
}

/// Where the program comes from, if `explicit` is what the client has asked for.
pub(crate) fn source(explicit: Option<PathBuf>) -> ShepherdSource {
    if let Some(path) = explicit {
        return ShepherdSource::Explicit(path);
    }
    // A set-uid program must not run what its caller's environment names.
    if !crate::sys::is_privileged_by_exec() {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return ShepherdSource::Variable(path.into());
        }
    }
    netrunner_shepherd::INSTALLED
        .map_or(ShepherdSource::Embedded, |path| ShepherdSource::Installed(path.into()))
}

/// Why there is no guardian.
#[derive(Debug)]
enum Failure {
    /// This form of the program can't be executed; another may.
    Image(io::Error),
    /// It was executed and failed. It may have taken the order out of the lane: nobody else would
    /// find it there.
    Program(io::Error),
}

impl Failure {
    fn cause(self) -> io::Error {
        match self {
            Failure::Image(cause) | Failure::Program(cause) => cause,
        }
    }
}

/// Whether something has run out that any other way needs as well.
fn is_exhaustion(cause: &io::Error) -> bool {
    let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN];
    cause.raw_os_error().is_some_and(|errno| exhausted.contains(&errno))
}

fn no_program(cause: io::Error) -> Error {
    Error::system("execute the shepherds' program from memory or a private file", cause)
}

fn failed(path: &Path, cause: io::Error) -> Error {
    Error::system(format!("start the shepherds' program `{}`", path.display()), cause)
}

/// The program as an executable file, in every form that may work, each made when it is needed.
fn images(bytes: &'static [u8]) -> impl Iterator<Item = io::Result<OwnedFd>> {
    let in_memory = std::iter::once_with(move || in_memory(bytes));
    in_memory.chain(private_places().map(move |place| unlinked(&place, bytes)))
}

/// A sealed memory file.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let name = "netrunner-shepherd";
    // MFD_EXEC is needed where `vm.memfd_noexec` is 1, and unknown before Linux 6.3.
    // <https://docs.kernel.org/userspace-api/mfd_noexec.html>
    let fd = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        result => result?,
    };
    let mut file = File::from(above_stdio(fd)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// Where an executable file may be allowed.
fn private_places() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let trusted = !crate::sys::is_privileged_by_exec();
    let named = ["XDG_RUNTIME_DIR", "TMPDIR", "XDG_CACHE_HOME", "HOME"].map(variable);
    let fixed = ["/tmp", "/var/tmp", "/dev/shm"].map(|place| Some(OsString::from(place)));
    let named = named.into_iter().filter(move |_| trusted);
    named.chain(fixed).flatten().map(PathBuf::from)
}

/// Whether one of these places takes files without a name and lets them be executed.
pub(crate) fn has_private_place() -> bool {
    private_places().any(|place| {
        let Ok(file) = rustix::fs::open(&place, UNLINKED, Mode::RUSR | Mode::XUSR) else {
            return false;
        };
        rustix::fs::fstatvfs(&file)
            .is_ok_and(|stat| !stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
    })
}

/// O_EXCL: it can't get a name later either.
const UNLINKED: OFlags =
    OFlags::TMPFILE.union(OFlags::EXCL).union(OFlags::RDWR).union(OFlags::CLOEXEC);

/// A file without a name, open for reading alone: one that is open for writing can't be executed.
fn unlinked(place: &Path, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::open(place, UNLINKED, Mode::RUSR | Mode::XUSR)?;
    let mut writer = File::from(above_stdio(fd)?);
    writer.write_all(bytes)?;
    let reader = File::open(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
    drop(writer);
    above_stdio(reader.into())
}

/// Runs the starter to its end.
fn run(program: &Path, lane: OwnedFd) -> Result<Option<Pid>, Failure> {
    // Theirs, to see whether it is read.
    let orders = lane.try_clone().and_then(above_stdio).map_err(Failure::Image)?;
    // Nothing here makes std leave posix_spawn for fork, which takes long in a large client.
    let mut starter = Command::new(program)
        .arg0("netrunner-shepherd")
        .env_clear()
        .stdin(lane)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Failure::Image)?;
    let Some(pid) = i32::try_from(starter.id()).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let pidfd = pidfd::open(pid).and_then(|pidfd| pidfd.map(above_stdio).transpose());
    match pidfd {
        Ok(Some(pidfd)) => reap(&pidfd, pid, &orders).map_err(Failure::Program)?,
        Ok(None) => reap_by_number(&mut starter).map_err(Failure::Program)?,
        // A client that waits for all its children has been quicker, or ignores SIGCHLD.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
        Err(cause) => {
            // It can't be waited for with a deadline, and must not stay as a zombie.
            let _ = starter.kill();
            let _ = starter.wait();
            return Err(Failure::Program(cause));
        }
    }
    Ok(Some(pid))
}

/// The longest pause before the starter is looked at again where there are no pidfds. It takes less
/// than a millisecond.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// Waits for the starter without a pidfd. As with std's own `wait`, a client that reaps children of
/// others in between is the only risk to the number.
fn reap_by_number(starter: &mut Child) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        match starter.try_wait() {
            Ok(Some(status)) => return judge(status),
            Ok(None) if Instant::now() >= deadline => {
                // As in `reap`.
                let _ = starter.kill();
                let _ = starter.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(None) => std::thread::sleep(pause),
            // Somebody else reaped it.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
            Err(error) => return Err(error),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The pause between looks at a starter that takes long.
const LOOK: Duration = Duration::from_secs(1);

/// How often in a row a program is found asleep with its orders unread until it is none of ours.
const LOOKS: u32 = 2;

/// Waits for the starter, which says by its exit code what failed.
fn reap(starter: &OwnedFd, pid: Pid, orders: &OwnedFd) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut asleep = 0;
    loop {
        let mut fds = [PollFd::new(starter, PollFlags::IN)];
        match poll(&mut fds, until(Some(deadline.min(Instant::now() + LOOK))).as_ref()) {
            Ok(0) => {
                asleep = if sleeps_over(pid, orders) { asleep + 1 } else { 0 };
                let text = if asleep == LOOKS {
                    "it does not read what it is sent".to_owned()
                } else if Instant::now() >= deadline {
                    format!("it is no guardian after {} s", PATIENCE.as_secs())
                } else {
                    continue;
                };
                // It is no program of ours, whatever it is, nor is what it may have started. The wait
                // below can't be long.
                crate::sys::kill_group_of(starter.as_fd());
                let _ = wait(starter);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    // If not, somebody else reaped it.
    wait(starter)?.map_or(Ok(()), judge)
}

/// What the starter's end says.
fn judge(status: ExitStatus) -> io::Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(libc::EPROTO) => {
            let version = netrunner_core::wire::VERSION;
            let text = format!("it does not speak version {version} of the protocol");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        Some(libc::EXDEV) => {
            let text = "`/proc` shows the numbers of another PID namespace than that of the commands \
                        to come, and a signal to such a number would hit a stranger: mount a `/proc` \
                        of this one (`mount -t proc proc /proc`, `Command::mount_proc`)";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other(status.to_string())),
    }
}

/// Whether a process sleeps although it has been sent something. The starter waits for nothing else;
/// on a machine that is too busy to run it, it is runnable and does not sleep.
fn sleeps_over(pid: Pid, orders: &OwnedFd) -> bool {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let name_end = stat.iter().rposition(|&byte| byte == b')');
    let state = name_end.and_then(|at| stat.get(at + 2));
    state == Some(&b'S') && rustix::io::ioctl_fionread(orders).is_ok_and(|unread| unread > 0)
}

/// Reaps the process behind a pidfd, if it is a child of ours and has ended.
pub(crate) fn wait(pidfd: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    loop {
        let options = WaitIdOptions::EXITED;
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(Some(status)) => {
                let raw = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code << 8,
                    (None, signal) => signal.unwrap_or(0),
                };
                return Ok(Some(ExitStatus::from_raw(raw)));
            }
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each form is executed, with a program that is known to work.
    #[test]
    fn every_image_can_be_executed() {
        let bytes: &'static [u8] = std::fs::read("/bin/true").unwrap().leak();
        let mut worked = 0;
        for image in images(bytes).flatten() {
            let path = format!("/proc/self/fd/{}", image.as_raw_fd());
            worked += i32::from(Command::new(path).status().is_ok_and(|status| status.success()));
        }
        // In memory, and at least one of /tmp, /var/tmp and /dev/shm.
        assert!(worked >= 2, "{worked}");
    }

    #[test]
    fn the_memory_file_is_sealed() {
        let mut file = File::from(in_memory(b"program").unwrap());
        assert_eq!(file.write(b"x").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(1).is_err());
    }

    #[test]
    fn a_program_that_is_none_of_ours_is_told() {
        let lane = || crate::lane::pair().unwrap().1;
        let error = run("/no/such/program".as_ref(), lane()).unwrap_err().cause();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let other = run("/bin/sh".as_ref(), {
            // What a shepherd of another version ends with.
            let (ours, theirs) = crate::lane::pair().unwrap();
            crate::lane::send(&ours, b"exit 71\n", &[]).unwrap();
            theirs
        });
        assert_eq!(other.unwrap_err().cause().kind(), io::ErrorKind::Unsupported);
        let error = run("/bin/false".as_ref(), lane()).unwrap_err().cause();
        assert_eq!(error.raw_os_error(), Some(1));
    }

    #[test]
    fn a_program_that_never_reads_is_found_out_soon_and_ends_with_what_it_started() {
        let place = std::env::temp_dir().join(format!("netrunner-sleeper-{}", std::process::id()));
        // By another process: a thread that forks meanwhile would hold the file open for writing.
        let script = "printf '#!/bin/sh\\nsleep 1000 & sleep 1000\\n' >$0 && chmod 700 $0";
        let made = Command::new("sh").args(["-c", script]).arg(&place).status().unwrap();
        assert!(made.success());
        let (ours, theirs) = crate::lane::pair().unwrap();
        crate::lane::send(&ours, b"orders", &[]).unwrap();
        let began = Instant::now();
        let error = run(&place, theirs).unwrap_err().cause();
        std::fs::remove_file(&place).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        // Each had the lane as its standard input.
        let mut fds = [PollFd::new(&ours, PollFlags::HUP)];
        assert_eq!(poll(&mut fds, until(Some(Instant::now() + PATIENCE)).as_ref()), Ok(1));
    }
}
