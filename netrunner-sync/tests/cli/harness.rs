//! Starts `netrunner` and waits for its end and for that of everything below it.
//!
//! The oracle is the end of file: stdout and stderr are pipes that all descendants inherit, so
//! reading them to the end proves that none of those that kept them is left. Everything waits
//! with a deadline, after which `netrunner` is killed and the test fails.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far above what anything here takes, so that a loaded machine does not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NETRUNNER: &str = env!("CARGO_BIN_EXE_netrunner");

/// How a `netrunner` ended, and what it and its descendants wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit code; a death by a signal fails the test.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("netrunner died: {self:?}"))
    }

    /// Holds it to this exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code(), code, "{self:?}");
        self
    }

    /// Holds stderr to one message of `netrunner`, which says all of this.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Ended {
        let begins = self.stderr.starts_with("netrunner: ");
        assert!(
            begins && words.iter().all(|word| self.stderr.contains(word)),
            "{words:?}: {self:?}"
        );
        self
    }
}

/// This program, with the signals as after a login. A shell that starts the tests with `&` has them
/// ignore INT and QUIT, and so would the command.
pub(crate) fn fresh(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", program]);
    command
}

/// `netrunner` with these words.
pub(crate) fn netrunner<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut command = fresh(NETRUNNER);
    command.args(words);
    command
}

/// `netrunner run OPTIONS -- sh -c SCRIPT`.
pub(crate) fn script(options: &[&str], script: &str) -> Command {
    let mut command = netrunner(["run"]);
    command.args(options).args(["--", "sh", "-c", script]);
    command
}

/// Replaces a shell that has run `before` (redirections, traps) by `netrunner run WORDS`.
pub(crate) fn after(before: &str, words: &[&str]) -> Command {
    let mut command = fresh("sh");
    command.args(["-c", &format!("{before}\nexec \"$@\""), "sh", NETRUNNER, "run"]).args(words);
    command
}

/// Runs it to its end.
#[track_caller]
pub(crate) fn end(command: Command) -> Ended {
    Live::start(command).end()
}

/// A running `netrunner`.
pub(crate) struct Live {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    deadline: Instant,
}

impl Live {
    /// Starts it with /dev/null as stdin, unless the command says otherwise before.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Live {
        command.stdin(Stdio::null());
        Live::start_with_stdin(command)
    }

    #[track_caller]
    pub(crate) fn start_with_stdin(mut command: Command) -> Live {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netrunner starts");
        let stdout = lines(child.stdout.take().unwrap());
        let stderr = lines(child.stderr.take().unwrap());
        Live { child, stdout, stderr, deadline: Instant::now() + PATIENCE }
    }

    /// For what takes longer than the rest, from now on.
    pub(crate) fn patient_for(mut self, patience: Duration) -> Live {
        self.deadline = Instant::now() + patience;
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stdout, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(left(self.deadline)) {
            Ok(line) => line.trim_end_matches('\n').to_owned(),
            Err(error) => panic!(
                "no line on stdout ({error}); stderr: {:?}",
                self.stderr.try_iter().collect::<String>()
            ),
        }
    }

    /// Holds the next line of stdout to this.
    #[track_caller]
    pub(crate) fn expect_line(&mut self, expected: &str) {
        assert_eq!(self.line(), expected);
    }

    /// Sends a signal to `netrunner` alone.
    pub(crate) fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// The same, for one that may have ended.
    pub(crate) fn signal_if_alive(&mut self, number: i32) {
        if !self.has_ended() {
            self.signal(number); // Not reaped, so the number is still its own.
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end and that of all that holds its stdout or stderr.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let stdout = self.rest_of(true);
        let stderr = self.rest_of(false);
        // Both ends of file: only a process that has closed its streams could still be running.
        until("netrunner ends", || self.child.try_wait().unwrap().is_some());
        Ended { status: self.child.wait().unwrap(), stdout, stderr }
    }

    #[track_caller]
    fn rest_of(&mut self, out: bool) -> String {
        let mut text = String::new();
        loop {
            let lines = if out { &self.stdout } else { &self.stderr };
            match lines.recv_timeout(left(self.deadline)) {
                Ok(line) => text.push_str(&line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return text,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the end did not come; so far: {text:?}");
                }
            }
        }
    }
}

impl Drop for Live {
    /// A test that fails leaves nothing; what netrunner ran is the shepherd's to end.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// Sends a signal, by number: real-time ones have no portable name.
pub(crate) fn signal(pid: u32, number: i32) {
    let kill = format!("kill -{number} {pid}");
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success(), "{kill}");
}

/// Waits until this holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds);
}

#[track_caller]
pub(crate) fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The state letter of a process in `/proc/PID/stat`; `None` if there is no such process.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A folder of the test's own, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netrunner-cli-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
