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
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::error::{Error, Result};
use crate::lane::{PATIENCE, above_stdio};
use crate::time::until;

/// The variable that names another program, for trying one out.
const VARIABLE: &str = "NETRUNNER_SHEPHERD";

/// Starts the program of the shepherds with `lane` as its standard input, and reaps its first
/// process, which ends once the guardian is there. Returns the guardian's process group.
pub(crate) fn start(explicit: Option<&Path>, lane: OwnedFd) -> Result<Option<Pid>> {
    if let Some(path) = explicit {
        return run(path, lane).map_err(|cause| failed(path, cause));
    }
    // A set-uid program must not run what its caller's environment names.
    if !crate::sys::is_privileged_by_exec() {
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return run(path.as_ref(), lane).map_err(|cause| failed(path.as_ref(), cause));
        }
    }
    if let Some(path) = netrunner_shepherd::INSTALLED {
        return run(path.as_ref(), lane).map_err(|cause| failed(path.as_ref(), cause));
    }
    let mut last = None;
    for image in images(netrunner_shepherd::BYTES) {
        let started = image.and_then(|image| {
            let path = format!("/proc/self/fd/{}", image.as_raw_fd());
            run(path.as_ref(), lane.try_clone()?)
        });
        match started {
            Ok(group) => return Ok(group),
            Err(cause) => last = Some(cause),
        }
    }
    let cause = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(Error::system("execute the shepherds' program from memory or a private file", cause))
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

/// A file without a name, open for reading alone: one that is open for writing can't be executed.
fn unlinked(place: &Path, bytes: &[u8]) -> io::Result<OwnedFd> {
    // O_EXCL: it can't get a name later either.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(place, flags, Mode::RUSR | Mode::XUSR)?;
    let mut writer = File::from(above_stdio(fd)?);
    writer.write_all(bytes)?;
    let reader = File::open(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
    drop(writer);
    above_stdio(reader.into())
}

/// Runs the starter to its end.
fn run(program: &Path, lane: OwnedFd) -> io::Result<Option<Pid>> {
    // Nothing here makes std leave posix_spawn for fork, which takes long in a large client.
    let starter = Command::new(program)
        .arg0("netrunner-shepherd")
        .env_clear()
        .stdin(lane)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let Some(pid) = i32::try_from(starter.id()).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => reap(&above_stdio(pidfd)?)?,
        // A client that waits for all its children has been quicker, or ignores SIGCHLD.
        Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(Some(pid))
}

/// Waits for the starter, which says by its exit code what failed.
fn reap(starter: &OwnedFd) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut fds = [PollFd::new(starter, PollFlags::IN)];
        match poll(&mut fds, until(Some(deadline)).as_ref()) {
            Ok(0) if Instant::now() >= deadline => {
                // It is no program of ours, whatever it is. The wait below can't be long.
                let _ = rustix::process::pidfd_send_signal(starter, Signal::KILL);
                let _ = wait(starter);
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    match wait(starter)? {
        // Somebody else reaped it.
        None => Ok(()),
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(match status.code() {
            Some(libc::EPROTO) => {
                let version = netrunner_core::wire::VERSION;
                let text = format!("it does not speak version {version} of the protocol");
                io::Error::new(io::ErrorKind::Unsupported, text)
            }
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(status.to_string()),
        }),
    }
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
        let error = run("/no/such/program".as_ref(), lane()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let other = run("/bin/sh".as_ref(), {
            // What a shepherd of another version ends with.
            let (ours, theirs) = crate::lane::pair().unwrap();
            crate::lane::send(&ours, b"exit 71\n", &[]).unwrap();
            theirs
        });
        assert_eq!(other.unwrap_err().kind(), io::ErrorKind::Unsupported);
        let error = run("/bin/false".as_ref(), lane()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(1));
    }
}
