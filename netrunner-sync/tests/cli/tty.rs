//! A terminal of the test's own: a session whose keyboard is [`Tty::type_in`] and whose screen is
//! what is read from the manager's end.
//!
//! The oracle for the end is the hang-up: once nothing has the subsidiary end open any more, reading
//! the manager's fails with EIO. Everything waits with a deadline.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcgetpgrp, tcsetwinsize};

use crate::harness::{NETRUNNER, PATIENCE, signal, until};

/// A session on a terminal of its own.
pub(crate) struct Tty {
    manager: File,
    leader: Child,
    screen: Arc<Screen>,
    /// How much of the screen's text was expected already.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    text: Mutex<Text>,
    more: Condvar,
}

#[derive(Default)]
struct Text {
    text: String,
    hung_up: bool,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, Text> {
        // A failed expectation panics with the lock.
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prompt of [`Tty::shell`].
pub(crate) const PROMPT: &str = "ready> ";

pub(crate) const CTRL_Z: &str = "\x1a";

impl Tty {
    /// Starts a program as the leader of the session, its group in the foreground.
    #[track_caller]
    pub(crate) fn start(words: &[&str]) -> Tty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let manager = openpt(flags).expect("a terminal");
        grantpt(&manager).and_then(|()| unlockpt(&manager)).expect("a terminal that can be opened");
        let name = ptsname(&manager, Vec::new()).expect("a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = rustix::fs::open(name, flags, Mode::empty()).expect("the subsidiary end");
        let copy = |end: &OwnedFd| Stdio::from(end.try_clone().expect("a copy"));
        let leader = Command::new("env")
            .args(["--default-signal", "setsid", "--ctty"])
            .args(words)
            .env("NETRUNNER", NETRUNNER)
            .env("NETRUNNER_TEST", mark())
            .env("PS1", PROMPT)
            .env("TERM", "dumb")
            .env_remove("ENV")
            .stdin(copy(&end))
            .stdout(copy(&end))
            .stderr(copy(&end))
            .spawn()
            .expect("setsid(1) starts");
        drop(end);
        let screen = Arc::new(Screen::default());
        let manager = File::from(manager);
        let (reader, to) = (manager.try_clone().expect("a copy"), Arc::clone(&screen));
        thread::spawn(move || read(reader, &to));
        Tty { manager, leader, screen, seen: 0 }
    }

    /// Starts a shell with job control, and waits for its prompt. `$NETRUNNER` is the command.
    #[track_caller]
    pub(crate) fn shell() -> Tty {
        let mut tty = Tty::start(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        tty.expect(PROMPT);
        tty
    }

    /// Types this.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.manager.write_all(text.as_bytes()).expect("a terminal that is there");
    }

    /// Types a line of a shell, and waits for the terminal's echo of it, so that it is not taken for
    /// what the command writes.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) {
        self.type_in(&format!("{text}\n"));
        self.expect(&format!("{text}\r\n"));
    }

    /// Suspends the job in the foreground, and waits for the shell's word and prompt.
    #[track_caller]
    pub(crate) fn suspend(&mut self) {
        self.type_in(CTRL_Z);
        self.expect("Stopped");
        self.expect(PROMPT);
    }

    /// Waits until this has appeared after all that was expected before.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.screen.lock();
        loop {
            if let Some(at) = text.text[self.seen..].find(what) {
                self.seen += at + what.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let rest = &text.text[self.seen..];
            assert!(!left.is_zero() && !text.hung_up, "no {what:?} on the terminal: {rest:?}");
            text = self.screen.more.wait_timeout(text, left).unwrap().0;
        }
    }

    /// Waits until the shell has told this about its jobs, which it does before a prompt only.
    #[track_caller]
    pub(crate) fn expect_notice(&mut self, what: &str) {
        until(what, || {
            self.type_in("\n");
            self.expect(PROMPT);
            self.screen.lock().text[..self.seen].contains(what)
        });
    }

    /// The line of the screen that ends with what was expected last.
    pub(crate) fn seen_line(&self) -> String {
        let text = self.screen.lock();
        let seen = text.text[..self.seen].trim_end();
        seen.rsplit('\n').next().unwrap_or(seen).to_owned()
    }

    /// Changes the window's size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.manager, size).expect("a terminal that is there");
    }

    /// Takes the terminal away from under the session.
    pub(crate) fn hang_up(mut self) {
        // The last copies are closed here and by the reader.
        self.screen.lock().hung_up = true;
        self.manager = File::open("/dev/null").expect("/dev/null");
        until("the leader ends", || self.leader.try_wait().unwrap().is_some());
    }

    /// The group in the foreground.
    pub(crate) fn foreground(&self) -> u32 {
        let group = tcgetpgrp(&self.manager).expect("a terminal that is there");
        group.as_raw_nonzero().get().unsigned_abs()
    }

    /// The session's leader; of a shell also its group.
    pub(crate) fn leader(&self) -> u32 {
        self.leader.id()
    }

    /// Whether typed text is echoed and edited line by line, as a shell's command finds it.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.manager).expect("a terminal that is there").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// The processes of the session of this name (`/proc/PID/comm`).
    pub(crate) fn processes(&self, name: &str) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").expect("/proc");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let ours = |&pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((before, after)) = stat.rsplit_once(") ") else { return false };
            let fields: Vec<&str> = after.split(' ').collect();
            let named = before.split_once('(').is_some_and(|(_, comm)| comm == name);
            named && fields[0] != "Z" && fields[3].parse() == Ok(self.leader())
        };
        numbers.filter(ours).collect()
    }

    /// The one process of the session of this name.
    #[track_caller]
    pub(crate) fn process(&self, name: &str) -> u32 {
        let mut found = Vec::new();
        until(&format!("one {name}"), || {
            found = self.processes(name);
            found.len() == 1
        });
        found[0]
    }

    /// Sends a signal to the one process of this name.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str, number: i32) {
        signal(self.process(name), number);
    }

    /// Holds the exit code of the last command of the shell to this, once that has come back.
    #[track_caller]
    pub(crate) fn expect_code(&mut self, code: i32) {
        self.expect(PROMPT);
        // The echo has no number in it.
        self.line("echo code=$?.");
        self.expect(&format!("code={code}."));
        self.expect(PROMPT);
        assert_eq!(self.foreground(), self.leader(), "the shell has its terminal");
        assert!(self.is_cooked(), "the modes are the shell's");
    }

    /// Ends a shell, and waits until nothing has the terminal open any more.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.type_in("exit\n");
        self.wait_end();
    }

    /// Waits for the end of the leader and of all that has the terminal open.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) {
        until("the session's leader ends", || self.leader.try_wait().unwrap().is_some());
        until("the terminal is free", || self.screen.lock().hung_up);
    }

    /// How the leader ended.
    pub(crate) fn code(&mut self) -> Option<i32> {
        self.leader.wait().unwrap().code()
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        if thread::panicking() {
            let text = self.screen.lock();
            eprintln!("the terminal's text: {:?}", text.text);
        }
        // What a failed test leaves: the end of the leader hangs the terminal up, and what netrunner
        // runs ends with it.
        let _ = self.leader.kill();
        let _ = self.leader.wait();
    }
}

/// What tells the processes of one session apart from those of all other tests, in whatever session
/// they are.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn read(mut manager: File, screen: &Screen) {
    let mut bytes = [0; 4096];
    loop {
        // Comes back now and then, to look whether the test has hung up itself.
        let mut fds = [PollFd::new(&manager, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        if poll(&mut fds, Some(&pause)) == Ok(0) {
            if screen.lock().hung_up {
                return;
            }
            continue;
        }
        let read = manager.read(&mut bytes);
        let mut text = screen.lock();
        match read {
            // Nothing here writes more than ASCII.
            Ok(length @ 1..) => text.text.push_str(&String::from_utf8_lossy(&bytes[..length])),
            Ok(0) | Err(_) => text.hung_up = true,
        }
        screen.more.notify_all();
        if text.hung_up {
            return;
        }
    }
}
