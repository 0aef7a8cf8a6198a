//! Features of the kernel, and one of NetRunner's own, that a test's arena can do without, forced from
//! outside: NetRunner has no switch for it, so none can be thrown by accident.
//!
//! `NETRUNNER_TEST_WITHOUT=pidfd,close_range` names them. The arena then answers the calls in
//! question in place of the kernel, for everything that the test runs, and writes down each call
//! that it refused and who made it, so that a test can prove that the fallback was taken.
//! `eperm` among the names makes the answer EPERM, as careless sandboxes do, and not what a kernel
//! says that has never heard of the call.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command};
use std::sync::mpsc;

use crate::seccomp::{self, Handed, Only, Rule};
use crate::sys;

/// What the arena is asked to do without.
pub const WITHOUT: &str = "NETRUNNER_TEST_WITHOUT";

/// What it has taken away, for the test inside.
pub const LACKS: &str = "NETRUNNER_TEST_LACKS";

/// The file of refused calls: a line each, with the call and the name of the process.
pub const REFUSALS: &str = "NETRUNNER_TEST_REFUSALS";

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// `memfd_create`.
    Memfd,
    /// `pidfd_open`, `pidfd_send_signal`, `waitid(P_PIDFD)` and `CLONE_PIDFD`.
    Pidfd,
    /// `clone3`, and `clone` with shared memory as the shepherd uses it. The form of std's and
    /// libc's `posix_spawn` has to stay: without that neither std nor this suite runs anything.
    Clone,
    /// `close_range`.
    CloseRange,
    /// The `children` files in `/proc` (`CONFIG_PROC_CHILDREN`).
    Children,
    /// `unshare`, by which PID namespaces and user namespaces are made.
    Namespaces,
    /// `mount`.
    Mount,
    /// `F_SETPIPE_SZ`, refused as to a user whose pipes have had all the memory that they may have.
    PipeSize,
    /// Shepherds that are used again, and with them all that a shepherd remembers: nothing that the
    /// kernel has. Test and client ask for it themselves, by `Shepherds::max_idle`.
    Reuse,
}

/// Each by its name.
pub const ALL: [(&str, Lack); 9] = [
    ("memfd", Lack::Memfd),
    ("pidfd", Lack::Pidfd),
    ("clone", Lack::Clone),
    ("close_range", Lack::CloseRange),
    ("children", Lack::Children),
    ("namespaces", Lack::Namespaces),
    ("mount", Lack::Mount),
    ("pipe_size", Lack::PipeSize),
    ("reuse", Lack::Reuse),
];

/// Some of them, and how the calls are refused.
#[derive(Debug, Clone)]
pub struct Lacks {
    names: String,
    lacks: Vec<Lack>,
    /// EPERM where a kernel would say that it knows no such thing.
    denies: bool,
}

impl Lacks {
    /// What this variable names; panics over a name that is none.
    pub fn of(variable: &str) -> Lacks {
        Lacks::named(&std::env::var(variable).unwrap_or_default())
    }

    /// What these names stand for; panics over one that stands for nothing.
    pub fn named(names: &str) -> Lacks {
        let mut lacks = Lacks { names: names.to_owned(), lacks: Vec::new(), denies: false };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            match ALL.iter().find(|(known, _)| *known == name) {
                Some((_, lack)) => lacks.lacks.push(*lack),
                None if name == "eperm" => lacks.denies = true,
                None => panic!("`{name}` is none of {ALL:?}, eperm"),
            }
        }
        lacks
    }

    /// Whether this is among them.
    pub fn has(&self, lack: Lack) -> bool {
        self.lacks.contains(&lack)
    }

    /// Starts the command, without these for it and all that it starts.
    ///
    /// A filter belongs to a thread. So one that does nothing else installs it and starts the
    /// command, and another answers, whose own calls go through.
    pub fn start(&self, mut command: Command) -> io::Result<Child> {
        command.env_remove(WITHOUT).env(LACKS, &self.names);
        let rules = self.rules();
        if rules.is_empty() {
            return command.spawn();
        }
        let refusals = std::env::var_os(REFUSALS)
            .map(|path| File::options().create(true).append(true).open(path))
            .transpose()?;
        let (hand, taken) = mpsc::channel();
        let lacks = self.clone();
        std::thread::spawn(move || {
            // Those that the arena waits for must find the thread that waits.
            sys::block(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT]);
            if let Ok(listener) = taken.recv() {
                lacks.serve(&listener, refusals);
            }
        });
        let started = std::thread::spawn(move || {
            let listener = seccomp::install(&rules).map_err(|error| {
                // Not skipped: a run that takes nothing away would prove nothing.
                let text = format!("this machine lets no filter take calls away: {error}");
                io::Error::new(error.kind(), text)
            })?;
            hand.send(listener).map_err(|_| io::ErrorKind::BrokenPipe)?;
            command.spawn()
        });
        started.join().expect("the thread that starts the body")
    }

    fn rules(&self) -> Vec<Rule> {
        let every = |call| Rule { call, only: None };
        let by = |argument, call, mask: i32, value: i32| {
            let (mask, value) = (mask as u32, value as u32);
            Rule { call, only: Some(Only { argument, mask, value }) }
        };
        let only = |call, mask, value| by(0, call, mask, value);
        let mut rules = Vec::new();
        for lack in &self.lacks {
            match lack {
                Lack::Memfd => rules.push(every(libc::SYS_memfd_create)),
                Lack::Pidfd => rules.extend([
                    every(libc::SYS_pidfd_open),
                    every(libc::SYS_pidfd_send_signal),
                    only(libc::SYS_waitid, -1, libc::P_PIDFD as i32),
                    only(libc::SYS_clone, libc::CLONE_PIDFD, libc::CLONE_PIDFD),
                    every(libc::SYS_clone3),
                ]),
                Lack::Clone => {
                    let cleared = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID;
                    let mask = cleared | libc::CLONE_THREAD;
                    rules.extend([only(libc::SYS_clone, mask, cleared), every(libc::SYS_clone3)]);
                }
                Lack::Namespaces => rules.push(every(libc::SYS_unshare)),
                Lack::Mount => rules.push(every(libc::SYS_mount)),
                Lack::CloseRange => rules.push(every(libc::SYS_close_range)),
                Lack::PipeSize => rules.push(by(1, libc::SYS_fcntl, -1, libc::F_SETPIPE_SZ)),
                Lack::Reuse => {}
                // The shepherd reads these files with this flag, and looks at hundreds of others for
                // want of them: each that came this way would cost two switches of context, and so long
                // does a kill wait for its file in a storm that leaves us no processor.
                Lack::Children => {
                    let (mask, value) = (libc::O_NOFOLLOW | libc::O_ACCMODE, libc::O_NOFOLLOW);
                    rules.push(by(2, libc::SYS_openat, mask, value));
                    #[cfg(target_arch = "x86_64")]
                    rules.push(by(1, libc::SYS_open, mask, value));
                }
            }
        }
        rules
    }

    /// Answers until everything has ended that could ask.
    fn serve(&self, listener: &OwnedFd, mut refusals: Option<File>) {
        while let Ok(handed) = seccomp::receive(listener) {
            let Some(handed) = handed else { continue };
            let refusal = self.judge(&handed);
            if let (Some((call, _)), Some(refusals)) = (refusal, &mut refusals) {
                let name = std::fs::read_to_string(format!("/proc/{}/comm", handed.pid));
                let line = format!("{call} {}", name.unwrap_or_else(|_| "?\n".to_owned()));
                // In one write, before the caller goes on: it may read the file at once.
                refusals.write_all(line.as_bytes()).expect("write down a refusal");
            }
            seccomp::answer(listener, &handed, refusal.map(|(_, errno)| errno));
        }
    }

    /// The name of a call that is refused, and the error number.
    fn judge(&self, handed: &Handed) -> Option<(&'static str, i32)> {
        let unknown = |errno| if self.denies { libc::EPERM } else { errno };
        Some(match handed.call {
            libc::SYS_memfd_create => ("memfd_create", unknown(libc::ENOSYS)),
            libc::SYS_pidfd_open => ("pidfd_open", unknown(libc::ENOSYS)),
            libc::SYS_pidfd_send_signal => ("pidfd_send_signal", unknown(libc::ENOSYS)),
            libc::SYS_close_range => ("close_range", unknown(libc::ENOSYS)),
            libc::SYS_unshare => ("unshare", unknown(libc::ENOSYS)),
            libc::SYS_mount => ("mount", unknown(libc::ENOSYS)),
            libc::SYS_fcntl => ("fcntl", libc::EPERM),
            libc::SYS_waitid => ("waitid", unknown(libc::EINVAL)),
            libc::SYS_clone => ("clone", unknown(libc::EINVAL)),
            // libc takes nothing else for a reason to use clone instead.
            libc::SYS_clone3 => ("clone3", libc::ENOSYS),
            libc::SYS_openat if is_children_file(handed, 1) => ("openat", libc::ENOENT),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open if is_children_file(handed, 0) => ("open", libc::ENOENT),
            _ => return None,
        })
    }
}

/// Whether this opens `/proc/…/children`, the path being this argument.
fn is_children_file(handed: &Handed, argument: usize) -> bool {
    let mut path = [0; 64];
    let Ok(memory) = File::open(format!("/proc/{}/mem", handed.pid)) else { return false };
    // The longest that counts is shorter; what cannot be read, the kernel will refuse itself.
    let length = memory.read_at(&mut path, handed.arguments[argument]).unwrap_or(0);
    let path = path[..length].split(|&byte| byte == 0).next().unwrap_or_default();
    path.starts_with(b"/proc/") && path.ends_with(b"/children")
}

/// The calls that the arena has refused so far, each with the name of the process that made it.
pub fn refusals() -> Vec<String> {
    let path = std::env::var_os(REFUSALS).expect("called in an arena");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
