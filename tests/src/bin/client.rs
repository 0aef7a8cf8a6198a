//! A scriptable program that uses `netrunner-sync`, for what cannot be done to the test itself: to
//! be killed, to exec, to fork, to lose its standard streams. Its arguments are a script.
//!
//! Commands are puppets with the script in the brackets.
//!
//! | words | |
//! |---|---|
//! | `grace MS` `timeout MS` `leftovers stop\|wait\|keep` `pipes` `quiet` `program FILE` `foreground yes\|no` `terminal` `as uid N\|gid N\|groups` | for all commands from here on |
//! | `spawn [ … ]` | the new child becomes the current one, on top of the earlier ones |
//! | `wait N` `wait-keep N` `wait-signal N` `stop` `kill` `drop` `detach` `lose` | the current child: must exit N, must die by N, …; `wait-keep` leaves it current, `lose` forgets the handle |
//! | `wait-stopped SIG` `other` | the current child must be stopped by SIG, and stay so; it goes below all others |
//! | `wait-any-error` | the current child has no honest status: the wait must fail |
//! | `pid FILE` | writes the current child's number |
//! | `output [ … ]` `output-to FILE [ … ]` `try-output [ … ]` | must exit 0; its stdout to our stdout or to the file; may fail, must return |
//! | `attempt WAY [ … ]` | `output`, `status`, `spawn` (and wait) or `pipes` (spawn with three): prints `ok`, or the error |
//! | `churn N [ … ]` `churn-spawn N [ … ]` | `output`, or spawn + wait, N times or `forever` |
//! | `jobs N [ … ]` | N at a time by `Jobs`, for ever: each that is over is followed by another |
//! | `threads N [ client script ]` `thread [ client script ]` | all joined; the children of `thread` come to us |
//! | `fork [ client script ]` | a raw copy of this process does the script and exits |
//! | `copy-wait` | such a copy waits for the current child, and prints the error; it has ended then |
//! | `exec PROGRAM …` `exec-client …` | takes all that is left |
//! | `reap-loop` | a thread that calls wait(-1) for ever |
//! | `ignore SIG` `default SIG` `block SIG` `subreaper` `group` `close N` `chdir DIR` `umask N` | about itself |
//! | `become ID` `no-new-privs` `refresh` | change what it may do; let go of the old guardian |
//! | the words of `scarce`, `rough` and `serving` | about descriptors and processes; for when anything may happen; about daemons |
//! | `shoot-guardian` | SIGKILL to the guardian of the living last child |
//! | `cgroup PATH[,FILE=VALUE…]` | the next commands run in a group of this path with these limits |
//! | `namespace` `namespace-if-available` `mount-proc` | the next commands run in a PID namespace; with a `/proc` of their own |
//! | `check-zombies` | this process may have no zombie |
//! | `take-pid SECONDS` | starts a process that gets the number of the last child (own pid namespace) |
//! | `touch FILE` `await FILE` `print T` `sleep S` `exit N` `abort` `panic` | |
//!
//! What must not happen is said in the file `client-failed` and ends it with code 70.

#![deny(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::time::Duration;

use netrunner_sync::{
    Cgroup, Child, Command, CommandExt as _, Containment, ExitStatus, Jobs, Leftovers, PtyModes,
    Shepherds, Stdio, WinSize,
};
use netrunner_tests::failed::{fail, must};
use netrunner_tests::lacks::{self, Lack, Lacks};
use netrunner_tests::script::Words;
use netrunner_tests::sys::{self, Forked, OnSignal, Waited};
use netrunner_tests::{procs, wait};

#[path = "../rough.rs"]
mod rough;
#[path = "../scarce.rs"]
mod scarce;
#[path = "../serving.rs"]
mod serving;
#[path = "../taken.rs"]
mod taken;
#[path = "../told.rs"]
mod told;

fn main() {
    sys::alarm(wait::scaled(Duration::from_secs(150)).as_secs() as u32);
    sys::no_core_files();
    if Lacks::of(lacks::LACKS).has(Lack::Reuse) {
        Shepherds::max_idle(0);
    }
    let script: Vec<OsString> = std::env::args_os().skip(1).collect();
    Client::default().perform(&script);
    sys::exit_now(0);
}

#[derive(Clone, Default)]
struct Settings {
    grace: Option<Duration>,
    timeout: Option<Duration>,
    leftovers: Option<Leftovers>,
    pipes: bool,
    quiet: bool,
    terminal: bool,
    program: Option<PathBuf>,
    foreground: Option<bool>,
    identity: Option<Identity>,
    cgroup: Option<String>,
    namespace: Option<fn(&mut Command, Containment) -> &mut Command>,
    mount_proc: bool,
    may_run_out: bool,
    may_keep: bool,
    no_child: bool,
}

#[derive(Clone, Copy)]
enum Identity {
    User(u32),
    Group(u32),
    Groups,
}

impl Settings {
    fn command(&self, script: &[OsString]) -> Command {
        let program = self.program.clone().unwrap_or_else(|| beside_us("puppet"));
        let mut command = Command::new(program);
        command.args(script);
        match self.identity {
            Some(Identity::User(id)) => drop(command.uid(id)),
            Some(Identity::Group(id)) => drop(command.gid(id)),
            Some(Identity::Groups) => drop(command.groups(&[0])),
            None => {}
        }
        if let Some(grace) = self.grace {
            command.grace(grace);
        }
        if let Some(timeout) = self.timeout {
            command.timeout(timeout);
        }
        if let Some(leftovers) = self.leftovers {
            command.leftovers(leftovers);
        }
        if let Some(yes) = self.foreground {
            command.foreground(yes);
        }
        if let Some(path) = &self.cgroup {
            command.cgroup(group(path));
        }
        if let Some(contain) = self.namespace {
            contain(&mut command, Containment::PidNamespace).mount_proc(self.mount_proc);
        }
        if self.pipes {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        if self.terminal {
            let modes = PtyModes::new().echo(false).crlf(false);
            command.pty(WinSize::new(24, 80)).pty_modes(modes);
        } else if self.quiet {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        command
    }
}

fn group(words: &str) -> Cgroup {
    let (path, limits) = words.split_once(',').unwrap_or((words, ""));
    let limits = limits.split(',').filter_map(|limit| limit.split_once('='));
    limits.fold(must("cgroup", Cgroup::at(path)), |it, (k, v)| must("limit", it.set(k, v)))
}

fn beside_us(name: &str) -> PathBuf {
    must("the path of this program", std::env::current_exe()).with_file_name(name)
}

#[derive(Default)]
struct Client {
    settings: Settings,
    children: Vec<Child>,
    last_pid: u32,
    scarce: scarce::Scarce,
    serving: serving::Serving,
}

impl Client {
    fn perform(&mut self, script: &[OsString]) {
        let words = &mut Words::new(script);
        while let Some(verb) = words.next_word() {
            let verb = must("verbs are UTF-8", verb.to_str().ok_or("not this one"));
            let known = self.prepare(verb, words)
                || self.command(verb, words)
                || self.child(verb, words)
                || self.several(verb, words)
                || self.oneself(verb, words)
                || self.scarce.perform(verb, words)
                || self.rough(verb, words)
                || self.serving.perform(verb, words, |script| self.settings.command(script))
                || plain(verb, words);
            if !known {
                fail(format_args!("client does not know `{verb}`"));
            }
        }
    }

    fn prepare(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "grace" => self.settings.grace = Some(Duration::from_millis(words.number(verb))),
            "timeout" => self.settings.timeout = Some(Duration::from_millis(words.number(verb))),
            "leftovers" => {
                self.settings.leftovers = Some(match words.text(verb) {
                    "stop" => Leftovers::Stop,
                    "wait" => Leftovers::Wait,
                    "keep" => Leftovers::Keep,
                    other => fail(format_args!("`leftovers {other}`")),
                });
            }
            "foreground" => self.settings.foreground = Some(words.text(verb) == "yes"),
            "pipes" => self.settings.pipes = true,
            "cgroup" => self.settings.cgroup = Some(words.text(verb).to_owned()),
            "namespace" => self.settings.namespace = Some(Command::contain),
            "namespace-if-available" => {
                self.settings.namespace = Some(Command::contain_if_available)
            }
            "mount-proc" => self.settings.mount_proc = true,
            "quiet" => self.settings.quiet = true,
            "terminal" => self.settings.terminal = true,
            "as" => {
                self.settings.identity = Some(match words.text(verb) {
                    "uid" => Identity::User(words.number(verb) as u32),
                    "gid" => Identity::Group(words.number(verb) as u32),
                    "groups" => Identity::Groups,
                    other => fail(format_args!("`as {other}`")),
                });
            }
            "program" => self.settings.program = Some(words.raw(verb).into()),
            _ => return false,
        }
        true
    }

    fn command(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "spawn" => {
                let child = must(verb, self.settings.command(words.bracketed(verb)).spawn());
                self.last_pid = child.id();
                self.children.push(child);
            }
            "output" => {
                let output = self.output(words.bracketed(verb));
                must("print", std::io::stdout().write_all(&output));
            }
            "output-to" => {
                let path = words.raw(verb).clone();
                let output = self.output(words.bracketed(verb));
                must("write", std::fs::write(path, output));
            }
            "try-output" => {
                // Either is right; what counts is that it comes back.
                let _ = self.settings.command(words.bracketed(verb)).output();
            }
            "attempt" => {
                let way = words.text(verb);
                let mut command = self.settings.command(words.bracketed(verb));
                let told = match self.attempt(way, &mut command) {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => told::line(&error),
                };
                must("print", writeln!(std::io::stdout(), "{told}"));
            }
            "churn" | "churn-spawn" => {
                let times = match words.text(verb) {
                    "forever" => u64::MAX,
                    number => must(verb, number.parse()),
                };
                let script = words.bracketed(verb);
                for _ in 0..times {
                    let mut command = self.settings.command(script);
                    if verb == "churn" {
                        must(verb, command.output());
                    } else {
                        let mut child = must(verb, command.spawn());
                        must(verb, child.wait());
                    }
                }
            }
            "jobs" => {
                let count = words.number(verb) as usize;
                let script = words.bracketed(verb);
                let mut jobs = Jobs::new(count);
                for _ in 0..count {
                    jobs.push(self.settings.command(script));
                }
                jobs.start();
                while let Some(finished) = jobs.next() {
                    must(verb, finished.result);
                    jobs.push(self.settings.command(script));
                }
            }
            _ => return false,
        }
        true
    }

    fn output(&self, script: &[OsString]) -> Vec<u8> {
        // Captured, whatever `quiet` says of the others.
        let mut command = self.settings.command(script);
        if !self.settings.terminal {
            command.stdout(Stdio::piped());
        }
        let output = must("output", command.output());
        if !output.status.success() {
            fail(format_args!(
                "output {script:?}: {}, {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        output.stdout
    }

    /// Runs a command in one of the ways that there are; it must exit 0 if it runs.
    fn attempt(&self, way: &str, command: &mut Command) -> Result<(), netrunner_sync::Error> {
        let status = match way {
            "output" => command.output()?.status,
            "status" => command.status()?,
            "spawn" => command.spawn()?.wait()?,
            "pipes" => {
                let stdio = Stdio::piped;
                let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn()?;
                child.wait_with_output()?.status
            }
            other => fail(format_args!("`attempt {other}`")),
        };
        expect(status, status.success(), 0);
        Ok(())
    }

    fn current(&mut self) -> Child {
        self.children.pop().unwrap_or_else(|| fail("there is no current child"))
    }

    fn child(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "wait" => {
                let wanted = words.number(verb) as i32;
                let status = must(verb, self.current().wait());
                expect(status, status.code() == Some(wanted), wanted);
            }
            "wait-keep" => {
                let wanted = words.number(verb) as i32;
                let mut child = self.current();
                let status = must(verb, child.wait());
                expect(status, status.code() == Some(wanted), wanted);
                self.children.push(child);
            }
            "wait-signal" => {
                let wanted = words.signal(verb);
                let status = must(verb, self.current().wait());
                expect(status, status.signal() == Some(wanted), wanted);
            }
            "wait-stopped" => {
                let wanted = words.signal(verb);
                let mut child = self.current();
                let stopped = [must(verb, child.wait_stopped()), child.stopped()];
                if stopped.iter().any(|it| it.map(|signal| signal.as_raw()) != Some(wanted)) {
                    fail(format_args!("stopped by {stopped:?} instead of {wanted}"));
                }
                self.children.push(child);
            }
            "other" => self.children.rotate_right(1),
            "wait-any-error" => {
                if let Ok(status) = self.current().wait() {
                    fail(format_args!("a made-up status: {status}"));
                }
            }
            "stop" => drop(must(verb, self.current().stop())),
            "kill" => {
                let mut child = self.current();
                must(verb, child.kill());
                must(verb, child.wait());
            }
            "drop" => drop(self.current()),
            "detach" => {
                self.current().detach();
            }
            "lose" => std::mem::forget(self.current()),
            "pid" => must(verb, std::fs::write(words.raw(verb), self.last_pid.to_string())),
            "take-pid" => self.take_pid(words.number(verb)),
            _ => return false,
        }
        true
    }

    fn several(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "threads" => {
                let count = words.number(verb);
                let script = words.bracketed(verb);
                std::thread::scope(|scope| {
                    for _ in 0..count {
                        let settings = self.settings.clone();
                        scope.spawn(|| Client { settings, ..Client::default() }.perform(script));
                    }
                });
            }
            "thread" => {
                let script = words.bracketed(verb).to_vec();
                let settings = self.settings.clone();
                let thread = std::thread::spawn(move || {
                    let mut client = Client { settings, ..Client::default() };
                    client.perform(&script);
                    client.children
                });
                let children = must(verb, thread.join().map_err(|_| "it panicked"));
                if let Some(last) = children.last() {
                    self.last_pid = last.id();
                }
                self.children.extend(children);
            }
            "fork" => {
                let script = words.bracketed(verb);
                if must(verb, sys::fork()) == Forked::Copy {
                    let settings = self.settings.clone();
                    Client { settings, ..Client::default() }.perform(script);
                    sys::exit_now(0);
                }
            }
            "copy-wait" => {
                let handle = self.children.last().map(Child::handle);
                if let Forked::Origin(copy) = must(verb, sys::fork()) {
                    while !matches!(sys::wait_any(true), Waited::Reaped(pid, _) if pid == copy) {}
                } else {
                    let error = handle.and_then(|handle| handle.wait().err());
                    let told = error.as_ref().map_or_else(|| "ok".to_owned(), told::line);
                    must("print", writeln!(std::io::stdout(), "{told}"));
                    sys::exit_now(0);
                }
            }
            "reap-loop" => {
                std::thread::spawn(|| {
                    loop {
                        if sys::wait_any(true) == Waited::NoChild {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            "exec" | "exec-client" => {
                let rest = words.remaining();
                let error = if verb == "exec" {
                    let Some((program, args)) = rest.split_first() else { fail("exec what?") };
                    std::process::Command::new(program).args(args).exec()
                } else {
                    std::process::Command::new(beside_us("client")).args(rest).exec()
                };
                fail(format_args!("exec {rest:?}: {error}"));
            }
            _ => return false,
        }
        true
    }

    fn oneself(&mut self, verb: &str, words: &mut Words<'_>) -> bool {
        match verb {
            "shoot-guardian" => {
                let shepherd = procs::Proc::get(self.last_pid).map(|child| child.ppid);
                let guardian = shepherd.and_then(procs::Proc::get).map(|shepherd| shepherd.ppid);
                let guardian = must(verb, guardian.ok_or("no guardian there"));
                must(verb, sys::kill(guardian as i32, libc::SIGKILL));
            }
            "check-zombies" => {
                let me = std::process::id();
                let zombies =
                    || procs::all().into_iter().filter(|p| p.ppid == me && p.is_zombie()).count();
                if !wait::reached_within(wait::PATIENCE, || zombies() == 0) {
                    fail(format_args!("{} zombies", zombies()));
                }
            }
            "become" => must(verb, sys::become_user(words.number(verb) as u32)),
            "no-new-privs" => must(verb, sys::no_new_privs()),
            "subreaper" => must(verb, sys::become_subreaper()),
            "refresh" => Shepherds::refresh(),
            _ => return false,
        }
        true
    }
}

fn expect(status: ExitStatus, right: bool, wanted: i32) {
    if !right {
        fail(format_args!("ended with {status} and not {wanted}"));
    }
}

fn plain(verb: &str, words: &mut Words<'_>) -> bool {
    match verb {
        "ignore" => sys::on_signal(words.signal(verb), OnSignal::Ignore),
        "default" => sys::on_signal(words.signal(verb), OnSignal::Default),
        "block" => sys::block(&[words.signal(verb)]),
        "group" => must(verb, sys::own_group()),
        "close" => sys::close(words.number(verb) as i32),
        "chdir" => must(verb, std::env::set_current_dir(words.raw(verb))),
        "umask" => drop(sys::umask(words.number(verb) as u32)),
        "touch" => drop(must(verb, File::create(words.raw(verb)))),
        "await" => {
            let path = PathBuf::from(words.raw(verb));
            while !path.exists() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        "print" => must(verb, writeln!(std::io::stdout(), "{}", words.text(verb))),
        "sleep" => match words.text(verb) {
            "forever" => sys::pause_for_ever(),
            seconds => std::thread::sleep(Duration::from_secs_f64(must(verb, seconds.parse()))),
        },
        "exit" => sys::exit_now(words.number(verb) as i32),
        "abort" => std::process::abort(),
        "panic" => panic!("as the script wants"),
        _ => return false,
    }
    true
}
