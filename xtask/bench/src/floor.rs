//! The floor: what a spawn costs at least. Raw clone(2) with CLONE_VM and CLONE_VFORK, execve(2),
//! wait4(2), everything else prepared before. It gives none of the promises that any library gives:
//! no search in PATH, no word about a failed exec, no care for signals.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

/// Enough for the few calls between clone and exec.
const STACK: usize = 32 * 1024;

/// A command whose strings and stack are ready.
pub(crate) struct Floor {
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    stack: Vec<u8>,
}

/// What the child needs of the memory that it shares with us.
struct Start {
    argv: *const *const c_char,
    envp: *const *const c_char,
    /// What becomes 0, 1 and 2; negative: left as it is.
    files: [RawFd; 3],
}

impl Floor {
    pub(crate) fn new(program: &Path, args: &[String]) -> io::Result<Floor> {
        let mut strings = vec![CString::new(program.as_os_str().as_bytes())?];
        for arg in args {
            strings.push(CString::new(arg.as_str())?);
        }
        let arguments = strings.len();
        for (name, value) in std::env::vars_os() {
            let variable = [name.as_bytes(), b"=", value.as_bytes()].concat();
            strings.push(CString::new(variable)?);
        }
        let pointers = |strings: &[CString]| {
            let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
            pointers.push(ptr::null());
            pointers
        };
        let (argv, envp) = (pointers(&strings[..arguments]), pointers(&strings[arguments..]));
        Ok(Floor { _strings: strings, argv, envp, stack: vec![0; STACK] })
    }

    /// Runs it on our own streams.
    pub(crate) fn status(&mut self) -> io::Result<ExitStatus> {
        wait(self.start([-1; 3])?)
    }

    /// Runs it on an empty input and captures both outputs. Reads one to its end and then the other,
    /// which is right only for little output.
    pub(crate) fn output(&mut self) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
        let null = File::open("/dev/null")?;
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let pid = self.start([null.as_raw_fd(), stdout_end.as_raw_fd(), stderr_end.as_raw_fd()])?;
        drop((null, stdout_end, stderr_end));
        let (stdout, stderr) = (to_end(stdout)?, to_end(stderr)?);
        Ok((wait(pid)?, stdout, stderr))
    }

    fn start(&mut self, files: [RawFd; 3]) -> io::Result<libc::pid_t> {
        let start = Start { argv: self.argv.as_ptr(), envp: self.envp.as_ptr(), files };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: clone wants a stack that nobody else uses while the child runs on it, aligned to
        // 16, and an argument that outlives that time. CLONE_VFORK suspends this thread until the
        // child has executed its program or ended, and `self` is borrowed mutably, so both hold.
        let pid = unsafe {
            let top = self.stack.as_mut_ptr().add(STACK);
            let top = top.sub(top.addr() % 16);
            libc::clone(child, top.cast(), flags, ptr::from_ref(&start).cast_mut().cast())
        };
        if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }
}

/// The child, in our memory: straight-line, no allocation, only async-signal-safe calls.
extern "C" fn child(start: *mut c_void) -> c_int {
    // SAFETY: `start` is the `Start` of `Floor::start`, whose thread waits meanwhile; its pointers
    // lead to arrays that end with null, of strings that the `Floor` owns.
    unsafe {
        let start = &*start.cast::<Start>();
        for (number, file) in (0..).zip(start.files) {
            if file >= 0 {
                libc::dup2(file, number);
            }
        }
        libc::execve(*start.argv, start.argv, start.envp);
        libc::_exit(127)
    }
}

fn to_end(pipe: OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::from(pipe).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn wait(pid: libc::pid_t) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: the status is ours, and null asks for no usage.
        let result = unsafe { libc::wait4(pid, &mut status, 0, ptr::null_mut()) };
        if result == pid {
            return Ok(ExitStatus::from_raw(status));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
