//! The builder: what is to run, and how. It only remembers; `request` checks it and puts it into
//! words, `running` and `capture` do the rest.

use std::ffi::{OsStr, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use netrunner_cgroup::Cgroup;
use netrunner_core::namespace::{Need, Proc};
use netrunner_core::spawn;
use netrunner_pty::{Modes, WinSize};

use crate::capabilities::Containment;
use crate::child::Child;
use crate::environment::Environment;
use crate::error::Result;
use crate::ext::Setup;
use crate::input::Input;
use crate::limits::Limits;
use crate::report::{Leftovers, Output};
use crate::signal::Signal;
use crate::stdio::Stdio;

/// A command to run: `std::process::Command`, and what it lacks.
///
/// Everything has std's name and meaning where std has it. In addition nothing that a command
/// starts outlives its owner, whatever happens to either (see the crate's page), and a command can
/// have an [`input`](Command::input), a [`timeout`](Command::timeout) and a say about what it
/// leaves running ([`leftovers`](Command::leftovers)).
///
/// Only [`run`](Command::run) turns an outcome into an error; [`status`](Command::status),
/// [`output`](Command::output) and [`Child::wait`] give the true status of whatever ran.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::Command;
///
/// let output = Command::new("sort").input("b\na\n").timeout(Duration::from_secs(10)).run()?;
/// assert_eq!(output.stdout, b"a\nb\n");
/// # Ok::<(), netrunner_sync::Error>(())
/// ```
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) arg0: Option<OsString>,
    pub(crate) args: Vec<OsString>,
    pub(crate) environment: Environment,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stdin: Option<Stdin>,
    pub(crate) stdout: Option<Stdio>,
    pub(crate) stderr: Option<Stderr>,
    /// Descriptors to pass, each gone once a spawn took it.
    pub(crate) descriptors: Vec<(RawFd, Option<OwnedFd>)>,
    pub(crate) setup: Setup,
    pub(crate) terms: Terms,
    pub(crate) limits: Limits,
    pub(crate) pty: Option<WinSize>,
    pub(crate) pty_modes: Option<Modes>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) containment: Containment,
    pub(crate) need: Need,
    pub(crate) proc: Proc,
}

pub(crate) enum Stdin {
    Stdio(Stdio),
    Input(Input),
}

pub(crate) enum Stderr {
    Stdio(Stdio),
    /// Where the standard output goes.
    Merged,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) leftovers: Leftovers,
}

impl Command {
    /// A command that runs `program` without arguments, in the client's environment and directory
    /// as they are when it is spawned.
    ///
    /// A program without a slash is looked up in the command's own `PATH`.
    ///
    /// ```
    /// let status = netrunner_sync::Command::new("true").status()?;
    /// assert!(status.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            arg0: None,
            args: Vec::new(),
            environment: Environment::default(),
            directory: None,
            stdin: None,
            stdout: None,
            stderr: None,
            descriptors: Vec::new(),
            setup: Setup::default(),
            terms: Terms {
                timeout: None,
                grace: spawn::Terms::DEFAULT.grace,
                stop_signal: None,
                leftovers: Leftovers::default(),
            },
            limits: Limits::default(),
            pty: None,
            pty_modes: None,
            cgroup: None,
            containment: Containment::default(),
            need: Need::Required,
            proc: Proc::Shared,
        }
    }

    /// Adds an argument.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("echo").arg("-n").arg("a b").output()?;
    /// assert_eq!(output.stdout, b"a b");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("printf").args(["%s-", "a", "b"]).output()?;
    /// assert_eq!(output.stdout, b"a-b-");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("sh");
    /// let output = command.args(["-c", "echo $GREETING"]).env("GREETING", "hello").output()?;
    /// assert_eq!(output.stdout, b"hello\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.environment.set(key.as_ref(), value.as_ref());
        self
    }

    /// Sets several environment variables.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("sh");
    /// command.args(["-c", "echo $A$B"]).envs([("A", "1"), ("B", "2")]);
    /// assert_eq!(command.output()?.stdout, b"12\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn envs<I, K, V>(&mut self, variables: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        for (key, value) in variables {
            self.env(key, value);
        }
        self
    }

    /// Takes a variable away, whether it was set here or would be inherited.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("sh");
    /// command.args(["-c", "echo ${HOME-none}"]).env_remove("HOME");
    /// assert_eq!(command.output()?.stdout, b"none\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.environment.remove(key.as_ref());
        self
    }

    /// Takes all variables away, those that were set here so far and those that would be
    /// inherited.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("/usr/bin/env").env_clear().env("A", "1").output()?;
    /// assert_eq!(output.stdout, b"A=1\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn env_clear(&mut self) -> &mut Command {
        self.environment.clear();
        self
    }

    /// The directory to run in; without it, the client's at the time of the spawn.
    ///
    /// As with std, it is not settled whether a relative program path is seen from the one
    /// directory or the other; here it is seen from the new one.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("pwd").current_dir("/").output()?;
    /// assert_eq!(output.stdout, b"/\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// The standard input: by default inherited by [`spawn`](Command::spawn) and
    /// [`status`](Command::status), and empty for [`output`](Command::output) and
    /// [`run`](Command::run). Replaces an [`input`](Command::input).
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let file = std::fs::File::open("/proc/self/comm").unwrap();
    /// let output = Command::new("wc").arg("-l").stdin(file).output()?;
    /// assert_eq!(output.stdout, b"1\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.stdin = Some(Stdin::Stdio(stdin.into()));
        self
    }

    /// The standard output: by default inherited by [`spawn`](Command::spawn) and
    /// [`status`](Command::status), and captured by [`output`](Command::output) and
    /// [`run`](Command::run).
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// Command::new("echo").arg("unseen").stdout(Stdio::null()).status()?;
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.stdout = Some(stdout.into());
        self
    }

    /// The standard error, with the same defaults as [`stdout`](Command::stdout).
    ///
    /// ```
    /// use netrunner_sync::{Command, Stdio};
    ///
    /// let output = Command::new("ls").arg("/no/such/file").stderr(Stdio::null()).output()?;
    /// assert!(output.stderr.is_empty());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.stderr = Some(Stderr::Stdio(stderr.into()));
        self
    }

    /// Sends the standard error wherever the standard output goes, in the order in which the
    /// command writes both.
    ///
    /// ```
    /// let mut command = netrunner_sync::Command::new("sh");
    /// let script = "echo one; echo two >&2; echo three";
    /// let output = command.args(["-c", script]).stderr_to_stdout().output()?;
    /// assert_eq!(output.stdout, b"one\ntwo\nthree\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stderr_to_stdout(&mut self) -> &mut Command {
        self.stderr = Some(Stderr::Merged);
        self
    }

    /// What the command reads from its standard input, followed by its end. Replaces a
    /// [`stdin`](Command::stdin).
    ///
    /// It is fed while the outputs are read, so nothing deadlocks however much it is.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("cat").input(vec![b'x'; 1 << 20]).output()?;
    /// assert_eq!(output.stdout.len(), 1 << 20);
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn input(&mut self, input: impl Into<Input>) -> &mut Command {
        self.stdin = Some(Stdin::Input(input.into()));
        self
    }

    /// Stops the command when it has run for so long, counted from its spawn and enforced by its
    /// shepherd, however busy the client is. By default there is none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use netrunner_sync::{Command, Reason};
    ///
    /// let output = Command::new("sh")
    ///     .args(["-c", "echo early; sleep 60; echo late"])
    ///     .timeout(Duration::from_millis(100))
    ///     .output()?;
    /// assert_eq!(output.report.reason, Reason::Timeout);
    /// assert_eq!(output.stdout, b"early\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn timeout(&mut self, timeout: Duration) -> &mut Command {
        self.terms.timeout = Some(timeout);
        self
    }

    /// The signal that asks the command to end when it is stopped: [`Signal::TERM`] by default, and
    /// [`Signal::HUP`] on a terminal of its own ([`pty`](Command::pty)), whose shells ignore SIGTERM.
    /// What outlives the command on such a terminal gets SIGTERM then: a job that was started by
    /// `nohup` is deaf to the hang-up. SIGCONT follows, so that a stopped process can obey.
    ///
    /// ```
    /// use netrunner_sync::{Command, Signal};
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("60").stop_signal(Signal::USR1).spawn()?;
    /// assert_eq!(child.stop()?.signal(), Some(Signal::USR1.as_raw()));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn stop_signal(&mut self, signal: Signal) -> &mut Command {
        self.terms.stop_signal = Some(signal);
        self
    }

    /// How long the command may take to end after the stop signal; then it is killed. 5 seconds by
    /// default.
    ///
    /// ```
    /// use std::{os::unix::process::ExitStatusExt, time::Duration};
    /// use netrunner_sync::{Command, Signal};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "trap '' TERM; echo; while :; do sleep 1; done"]);
    /// let mut child = command.grace(Duration::from_millis(50)).stdout(netrunner_sync::Stdio::piped()).spawn()?;
    /// std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap(); // it is deaf by now
    /// assert_eq!(child.stop()?.signal(), Some(Signal::KILL.as_raw()));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn grace(&mut self, grace: Duration) -> &mut Command {
        self.terms.grace = grace;
        self
    }

    /// What happens to descendants that live on when the command ends by itself: they are stopped,
    /// unless another choice is made here.
    ///
    /// ```
    /// use netrunner_sync::{Command, Leftovers};
    ///
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "(sleep 0.05; echo late) & echo early"]);
    /// assert_eq!(command.leftovers(Leftovers::Wait).output()?.stdout, b"early\nlate\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    pub fn leftovers(&mut self, leftovers: Leftovers) -> &mut Command {
        self.terms.leftovers = leftovers;
        self
    }

    /// Passes a descriptor, which becomes number `n` in the command, from 3 up.
    ///
    /// It is consumed by the first spawn, and closed in the client then. Nothing else that the
    /// client has open above 2 reaches the command.
    ///
    /// ```
    /// # use std::io::{Seek, Write};
    /// use netrunner_sync::Command;
    ///
    /// # let path = std::env::temp_dir().join(format!("netrunner-doc-{}", std::process::id()));
    /// # std::fs::write(&path, "passed\n").unwrap();
    /// let file = std::fs::File::open(&path).unwrap();
    /// # std::fs::remove_file(&path).unwrap();
    /// let output = Command::new("sh").args(["-c", "cat <&7"]).fd(7, file).output()?;
    /// assert_eq!(output.stdout, b"passed\n");
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The spawn fails with [`is_invalid_input`](crate::Error::is_invalid_input) where `n` is below 3, at
    /// the limit of open files, or given twice.
    pub fn fd(&mut self, n: RawFd, fd: impl Into<OwnedFd>) -> &mut Command {
        self.descriptors.push((n, Some(fd.into())));
        self
    }

    /// Starts the command and returns at once: it runs when this returns, and a program that
    /// can't be executed is an error here.
    ///
    /// The streams are inherited unless set otherwise. The [`Child`] owns the command: dropping it
    /// stops all of it.
    ///
    /// ```
    /// let mut child = netrunner_sync::Command::new("sleep").arg("0.01").spawn()?;
    /// assert!(child.wait()?.success());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The step that failed, its object and the system's error; nothing is left of the attempt.
    pub fn spawn(&mut self) -> Result<Child> {
        crate::engine::spawn(self)
    }

    /// Runs the command to its end and returns its status. The streams are inherited unless set
    /// otherwise.
    ///
    /// ```
    /// let status = netrunner_sync::Command::new("sh").args(["-c", "exit 3"]).status()?;
    /// assert_eq!(status.code(), Some(3));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`]; the status itself is never one.
    pub fn status(&mut self) -> Result<ExitStatus> {
        crate::engine::status(self)
    }

    /// Runs the command to its end and returns what it wrote. Its input is empty and both outputs
    /// are captured unless set otherwise.
    ///
    /// ```
    /// let output = netrunner_sync::Command::new("sh").args(["-c", "echo out; echo err >&2"]).output()?;
    /// assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`spawn`](Command::spawn) and [`Child::wait`]; the status itself is never one.
    pub fn output(&mut self) -> Result<Output> {
        crate::engine::output(self)
    }

    /// As [`output`](Command::output), but any other end than an exit by itself with code 0 is an
    /// error, whose [`output`](crate::Error::output) has all that was written and the report.
    ///
    /// ```
    /// use netrunner_sync::Command;
    ///
    /// assert_eq!(Command::new("echo").arg("fine").run()?.stdout, b"fine\n");
    /// let error = Command::new("ls").arg("/no/such/file").run().unwrap_err();
    /// assert!(error.is_failure());
    /// assert!(!error.output().unwrap().stderr.is_empty());
    /// # Ok::<(), netrunner_sync::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`output`](Command::output), and [`is_failure`](crate::Error::is_failure),
    /// [`is_timeout`](crate::Error::is_timeout) and the like for an outcome that is not a success.
    pub fn run(&mut self) -> Result<Output> {
        self.output()?.judge(&self.program)
    }
}
