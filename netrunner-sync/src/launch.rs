//! Where the shepherd's program comes from, and how its first process is started.
//!
//! Nothing is installed, and what runs is what this crate was built with; [`image`](crate::image) has it as a
//! file that can be executed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::capabilities::ShepherdSource;
use crate::error::{Error, Result};
use crate::image;
use crate::lane::{PATIENCE, above_stdio};
use crate::pidfd;

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
    for image in image::all(netrunner_shepherd::BYTES) {
        let started = image
            .map_err(Failure::Image)
            .and_then(|image| run(&image.path(), lane.try_clone().map_err(Failure::Image)?));
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
pub(crate) enum Failure {
    /// This form of the program can't be executed; another may.
    Image(io::Error),
    /// It was executed and failed. It may have taken the order out of the lane: nobody else would
    /// find it there.
    Program(io::Error),
}

impl Failure {
    pub(crate) fn cause(self) -> io::Error {
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

/// Runs the starter to its end.
pub(crate) fn run(program: &Path, lane: OwnedFd) -> Result<Option<Pid>, Failure> {
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
        Ok(Some(pidfd)) => pidfd::reap(&pidfd, pid, &orders).map_err(Failure::Program)?,
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

/// What the starter's end says.
pub(crate) fn judge(status: ExitStatus) -> io::Result<()> {
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
        // No call of the starter's fails with these numbers. A dynamic linker without its libraries, or a
        // shell, ends with them.
        Some(126 | 127) | None => Err(io::Error::other(status.to_string())),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_none_of_ours_is_told() {
        let lane = || crate::lane::pair().unwrap().1;
        let error = run("/no/such/program".as_ref(), lane()).unwrap_err().cause();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let ends = |line: &[u8]| {
            let (ours, theirs) = crate::lane::pair().unwrap();
            crate::lane::send(&ours, line, &[]).unwrap();
            drop(ours);
            run("/bin/sh".as_ref(), theirs).unwrap_err().cause()
        };
        // What a shepherd of another version ends with.
        assert_eq!(ends(b"exit 71\n").kind(), io::ErrorKind::Unsupported);
        // 127 is also an error number, which has nothing to do with this.
        assert_eq!(ends(b"no-such-program\n").to_string(), "exit status: 127");
        let error = run("/bin/false".as_ref(), lane()).unwrap_err().cause();
        assert_eq!(error.raw_os_error(), Some(1));
    }
}
