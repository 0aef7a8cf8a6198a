//! How to meet each error that there is. What it must look like is `errors`' matter.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::process;
use std::sync::mpsc;
use std::time::Duration;

use netrunner_sync::{
    Cgroup, ChildHandle, Command, CommandExt as _, Containment, Error, Input, Jobs, Jobserver,
    Pipeline, PtyModes, Resource, Shepherds, Signal, Stdio, WinSize, wait_any,
};
use netrunner_tests::seccomp::{self, Handed, Only, Rule};
use netrunner_tests::sys;

use crate::harness::*;
use crate::told;

/// A row of the page, and how to meet it: what comes is the error in one line.
pub(crate) type Case = (&'static str, fn() -> String);

/// What `output` makes of a command.
fn output(command: &mut Command) -> String {
    told::line(&command.output().expect_err("an error"))
}

fn run(command: &mut Command) -> String {
    told::line(&command.run().expect_err("an error"))
}

/// What the last of the lines is when the command is ended meanwhile.
fn end_of_lines(end: fn(&ChildHandle)) -> String {
    let mut lines = puppet("sleep forever").lines().expect("lines");
    end(&lines.handle());
    told::line(&lines.next().expect("an item").expect_err("an error"))
}

/// What a job comes to.
fn of_job(mut jobs: Jobs, command: Command) -> String {
    jobs.push(command);
    told::line(&jobs.next().expect("told").result.expect_err("an error"))
}

/// `starts` after something was done to it that can't be.
fn refused(spoil: impl FnOnce(&mut Command) -> &mut Command) -> String {
    output(spoil(&mut puppet("exit 0")))
}

/// The line by which a client tells of its attempt.
pub(crate) fn attempt(script: &str) -> String {
    find(&run_client(script))
}

fn find(out: &str) -> String {
    let error = out.lines().find(|line| line.starts_with("error "));
    error.unwrap_or_else(|| panic!("no error: {out}")).to_owned()
}

/// The same for scripts that go from nothing free to enough, until one meets this step.
fn attempts(step: &str, script: impl Fn(u64) -> String) -> String {
    let lines = (0..40).map(|free| run_client(&script(free)));
    let mut found = lines.filter(|out| out.contains(step));
    find(&found.next().unwrap_or_else(|| panic!("never met: {step}")))
}

/// A client whose environment names another shepherd.
fn with_shepherd(path: &str) -> String {
    let mut command = process::Command::new(program(CLIENT));
    command.env("NETRUNNER_SHEPHERD", path);
    find(&client_by(command, "attempt output [ exit 0 ]").finish())
}

/// An idle shepherd gets too few descriptors for a command with some, until this step is met.
fn with_few_descriptors(step: &str) -> String {
    let mut child = puppet("sleep forever").spawn().expect("spawn");
    let shepherd = shepherd_of(child.id());
    child.stop().expect("stop");
    for limit in 3..80 {
        sys::limit_descriptors_of(shepherd, limit).expect("take them away");
        let mut command = puppet("exit 0");
        for number in 3..23 {
            command.fd(number, File::open("/dev/null").expect("open"));
        }
        let error = command.output().err();
        sys::limit_descriptors_of(shepherd, 1_000).expect("give them back");
        if let Some(error) = error.filter(|error| error.to_string().contains(step)) {
            return told::line(&error);
        }
    }
    panic!("never met: {step}")
}

/// Does this while no descriptor can be opened.
pub(crate) fn without_descriptors<T>(work: impl FnOnce() -> T) -> T {
    // 0 to 2 are in use.
    sys::set_soft_limit(libc::RLIMIT_NOFILE, 3).expect("take them away");
    let result = work();
    sys::set_soft_limit(libc::RLIMIT_NOFILE, 1_000).expect("give them back");
    result
}

/// A call that is refused to processes of this name, by a sandbox around the spawning thread.
pub(crate) struct Sandbox {
    pub(crate) rule: Rule,
    pub(crate) errno: i32,
    pub(crate) process: &'static str,
}

impl Sandbox {
    pub(crate) fn run(
        self,
        work: impl FnOnce(&mut Command) -> Option<Error> + Send + 'static,
    ) -> String {
        let Sandbox { rule, errno, process } = self;
        // Not the guardian of the sandbox before.
        Shepherds::refresh();
        let (hand, taken) = mpsc::channel();
        // Outside the sandbox, and there before it. It answers until all inside have ended.
        std::thread::spawn(move || {
            let listener: OwnedFd = taken.recv().expect("the sandbox");
            let is_meant = |handed: &Handed| {
                let name = fs::read_to_string(format!("/proc/{}/comm", handed.pid));
                process.is_empty() || name.is_ok_and(|name| name.trim() == process)
            };
            while let Ok(handed) = seccomp::receive(&listener) {
                let Some(handed) = handed else { continue };
                seccomp::answer(&listener, &handed, is_meant(&handed).then_some(errno));
            }
        });
        let worker = std::thread::spawn(move || {
            hand.send(seccomp::install(&[rule]).expect("install a filter")).expect("hand it over");
            told::line(&work(&mut puppet("exit 0")).expect("an error"))
        });
        worker.join().expect("the sandbox")
    }

    fn output(self) -> String {
        self.run(|command| command.no_new_privs(true).output().err())
    }
}

pub(crate) fn call(call: libc::c_long) -> Rule {
    Rule { call, only: None }
}

/// prctl(2) with this option.
fn prctl(option: i32) -> Rule {
    let only = Only { argument: 0, mask: u32::MAX, value: option as u32 };
    Rule { call: libc::SYS_prctl, only: Some(only) }
}

fn in_shepherd(rule: Rule, errno: i32) -> String {
    Sandbox { rule, errno, process: "nr-shepherd" }.output()
}

/// How to meet each row that can be met at once.
pub(crate) const CASES: &[Case] = &[
    ("failed to start `…`: No such file or directory", || output(&mut Command::new("no-such"))),
    ("failed to start `…`: Permission denied", || output(&mut Command::new("/etc/passwd"))),
    ("failed to start `…`: Exec format error", || {
        fs::write("garbage", b"\x7fgarbage").expect("write");
        fs::set_permissions("garbage", Permissions::from_mode(0o755)).expect("mode");
        output(&mut Command::new("./garbage"))
    }),
    ("failed to start `…`: Argument list too long", || {
        refused(|command| command.arg("x".repeat(1 << 20)))
    }),
    ("failed to start `…`: …", || output(&mut Command::new("/etc/passwd/x"))),
    ("… contains a NUL byte", || refused(|command| command.arg("a\0b"))),
    ("`…` is no name of an environment variable", || refused(|command| command.env("A=B", "c"))),
    ("… was consumed by an earlier spawn", || {
        let mut command = puppet("exit 0");
        command.stdin(File::open("/dev/null").expect("open"));
        command.status().expect("the first");
        told::line(&command.status().expect_err("the second"))
    }),
    ("no descriptor can be passed as number …", || {
        refused(|command| command.fd(2, File::open("/dev/null").expect("open")))
    }),
    ("two descriptors are to be number …", || {
        let null = || File::open("/dev/null").expect("open");
        refused(|command| command.fd(3, null()).fd(3, null()))
    }),
    ("more than 253 descriptors are to be passed", || {
        refused(|command| {
            for number in 3..257 {
                command.fd(number, File::open("/dev/null").expect("open"));
            }
            command
        })
    }),
    ("unknown signal `…`", || told::line(&"NOSUCH".parse::<Signal>().expect_err("no signal"))),
    ("`…` can't be set for a command with a `pty` of its own", || {
        refused(|command| command.pty(WinSize::new(24, 80)).stdin(Stdio::null()))
    }),
    ("a terminal of … characters has no room", || {
        refused(|command| command.pty(WinSize::new(0, 80)))
    }),
    ("`pty_modes` needs a `pty`", || refused(|command| command.pty_modes(PtyModes::raw()))),
    ("`mount_proc` is for commands in a PID namespace (`contain`)", || {
        refused(|command| command.mount_proc(true))
    }),
    ("… a `std::process::Command` can't be read back from it", || {
        let mut theirs = process::Command::new("true");
        theirs.stdin(process::Stdio::null());
        told::line(&Command::try_from(&theirs).expect_err("refused"))
    }),
    ("a string of the `std::process::Command` had a NUL byte", || {
        let theirs = process::Command::new("a\0b");
        told::line(&Command::try_from(&theirs).expect_err("refused"))
    }),
    ("failed to change directory to `…`: …", || {
        refused(|command| command.current_dir("/no/such"))
    }),
    ("failed to change to the current directory for `…`: …", || {
        let rule = call(libc::SYS_fchdir);
        let sandbox = Sandbox { rule, errno: libc::EACCES, process: "nr-shepherd" };
        let line = sandbox.run(|command| {
            command.output().expect("in the guardian's directory");
            fs::create_dir("elsewhere").expect("a directory");
            std::env::set_current_dir("elsewhere").expect("chdir");
            command.output().err()
        });
        std::env::set_current_dir("..").expect("chdir");
        line
    }),
    ("failed to pass on the current directory `.`: …", || {
        fs::create_dir("closing").expect("a directory");
        fs::set_permissions("closing", Permissions::from_mode(0o777)).expect("open it");
        let here = std::env::current_dir().expect("here");
        let script = format!(
            "become 65534 output [ exit 0 ] chdir closing touch {here}/ready await {here}/closed \
             attempt output [ exit 0 ]",
            here = here.display()
        );
        let client = client(&script);
        wait_file("ready");
        fs::set_permissions("closing", Permissions::from_mode(0o000)).expect("close it");
        fs::write("closed", "").expect("go on");
        find(&client.finish())
    }),
    ("failed to pass the descriptors of `…`: …", || {
        with_few_descriptors("pass the descriptors")
    }),
    ("failed to set the limits of `…`: …", || {
        refused(|command| command.rlimit(Resource::NOFILE, 100, 50))
    }),
    ("failed to set the niceness of `…`: …", || {
        let sandbox = Sandbox {
            rule: call(libc::SYS_setpriority),
            errno: libc::EACCES,
            process: "nr-shepherd",
        };
        sandbox.run(|command| command.nice(-1).output().err())
    }),
    ("failed to set the supplementary groups of `…`: …", || {
        refused(|command| command.groups(&[u32::MAX]))
    }),
    ("failed to set the group of `…`: …", || refused(|command| command.gid(u32::MAX))),
    ("failed to set the user of `…`: …", || refused(|command| command.uid(u32::MAX))),
    ("failed to set `no_new_privs` for `…`: …", || {
        in_shepherd(prctl(libc::PR_SET_NO_NEW_PRIVS), libc::EPERM)
    }),
    ("failed to tie `…` to its shepherd: …", || {
        in_shepherd(prctl(libc::PR_SET_PDEATHSIG), libc::EPERM)
    }),
    ("failed to make a process group for `…`: …", || {
        in_shepherd(call(libc::SYS_setpgid), libc::EPERM)
    }),
    ("failed to make a session on a terminal for `…`: …", || {
        let value = libc::TIOCSCTTY as u32;
        let only = Some(Only { argument: 1, mask: u32::MAX, value });
        let rule = Rule { call: libc::SYS_ioctl, only };
        let sandbox = Sandbox { rule, errno: libc::EPERM, process: "nr-shepherd" };
        sandbox.run(|command| command.pty(WinSize::new(24, 80)).output().err())
    }),
    ("failed to make a PID namespace for `…`…: …", || {
        let rule = call(libc::SYS_unshare);
        let sandbox = Sandbox { rule, errno: libc::EPERM, process: "nr-shepherd" };
        sandbox.run(|command| command.contain(Containment::PidNamespace).output().err())
    }),
    ("failed to make a cgroup for `…`…: …", || {
        let group = Cgroup::auto().set("nosuch.max", "1").expect("a name");
        refused(|command| command.cgroup(group))
    }),
    ("failed to open a terminal for `…`: …", || {
        let mut command = puppet("exit 0");
        command.pty(WinSize::new(24, 80));
        told::line(&without_descriptors(|| command.output().expect_err("no room")))
    }),
    ("failed to make a pipe for the … of `…`: …", || {
        attempt("fill-fds 0 attempt output [ exit 0 ]")
    }),
    ("failed to duplicate a descriptor for `…`: …", || {
        let mut command = puppet("exit 0");
        command.stdout(File::create("out").expect("create")).stderr_to_stdout();
        told::line(&without_descriptors(|| command.status().expect_err("no room")))
    }),
    ("failed to start the threads that feed `…`: …", || {
        let rule = call(libc::SYS_clone3);
        let sandbox = Sandbox { rule, errno: libc::EAGAIN, process: "" };
        sandbox.run(|command| command.input(Input::reader(io::empty())).output().err())
    }),
    ("failed to start the watcher thread: …", || attempt("fill-fds 0 attempt status [ exit 0 ]")),
    ("failed to prepare a guardian: …", || {
        attempts("prepare a guardian", |free| format!("fill-fds {free} attempt status [ exit 0 ]"))
    }),
    ("failed to start a shepherd for `…`: …", || {
        attempt("spawn [ sleep forever ] fill-fds 0 attempt status [ exit 0 ] free-fds stop")
    }),
    ("failed to hand `…` to its shepherd: …", || with_few_descriptors("to its shepherd")),
    ("failed to make a process for `…`: …", || {
        let flag = libc::CLONE_CHILD_CLEARTID;
        let only = Only { argument: 0, mask: flag as u32, value: flag as u32 };
        in_shepherd(Rule { call: libc::SYS_clone, only: Some(only) }, libc::EAGAIN)
    }),
    ("failed to read the own credentials: …", || {
        let rule = call(libc::SYS_getgroups);
        Sandbox { rule, errno: libc::EPERM, process: "" }.output()
    }),
    ("failed to execute the shepherds' program from memory or a private file: …", || {
        attempts("from memory", |free| format!("fill-fds {free} attempt status [ exit 0 ]"))
    }),
    ("failed to start the shepherds' program `…`: it ended and left no guardian", || {
        with_shepherd("/bin/true")
    }),
    (
        "failed to start the shepherds' program `…`: it does not speak version … of the protocol",
        || {
            fs::write("other-version", "#!/bin/sh\nexit 71\n").expect("write");
            fs::set_permissions("other-version", Permissions::from_mode(0o755)).expect("mode");
            with_shepherd("./other-version")
        },
    ),
    ("failed to start the shepherds' program `…`: …", || with_shepherd("/etc/passwd")),
    ("failed to use the shepherds' program `…`: …", || {
        told::line(&Shepherds::binary("/no/such/program").expect_err("no program"))
    }),
    ("failed to send … to `…`: No such process", || {
        let mut child = puppet("exit 0").spawn().expect("spawn");
        child.wait().expect("wait");
        told::line(&child.signal(Signal::TERM).expect_err("it is over"))
    }),
    ("failed to resize the terminal of `…`: …", || {
        let child = puppet("exit 0").spawn().expect("spawn");
        told::line(&child.resize(WinSize::new(24, 80)).expect_err("it has none"))
    }),
    ("failed to wait for `…`, which was detached: No child processes", || {
        let child = puppet("sleep 0.1").spawn().expect("spawn");
        let handle = child.handle();
        child.detach();
        told::line(&handle.wait().expect_err("nobody knows"))
    }),
    (
        "failed to reach `…`, a command of the process that this one was forked from: No child \
         processes",
        || attempt("spawn [ sleep forever ] copy-wait stop"),
    ),
    ("failed to wait for `…`: …", || {
        // A bell is needed only where another thread was the first to read the lane.
        loop {
            let mut command = puppet("sleep 0.2");
            let child = command.stdout(Stdio::piped()).spawn().expect("spawn");
            let handle = child.handle();
            let reader = std::thread::spawn(move || handle.wait());
            // A head start, to win that race sooner or later.
            std::thread::sleep(Duration::from_millis(20));
            let result = without_descriptors(|| child.wait_with_output());
            reader.join().expect("join").expect("the other thread learns of the end");
            if let Err(error) = result {
                return told::line(&error);
            }
        }
    }),
    ("failed to poll the streams of …: …", || {
        let mut command = puppet("sleep forever");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawn");
        // poll(2) takes no more descriptors than may be open.
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 1).expect("take them away");
        let error = child.wait_with_output().expect_err("too many to poll");
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 1_000).expect("give them back");
        told::line(&error)
    }),
    ("failed to read the input of `…`: …", || {
        struct Broken;
        impl io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("the reader broke"))
            }
        }
        output(puppet("cat").input(Input::reader(Broken)))
    }),
    ("`…` exited with code …", || run(&mut puppet("exit 3"))),
    ("`…` was ended by …", || run(&mut puppet("die SEGV"))),
    ("`…` ran into its timeout and was stopped", || {
        run(puppet("sleep forever").timeout(Duration::from_millis(50)))
    }),
    ("`…` wrote nothing for too long and was stopped", || {
        run(puppet("sleep forever").idle_timeout(Duration::from_millis(50)))
    }),
    ("`…` wrote too much and was stopped", || run(puppet("print much").max_output(1))),
    ("`…` was stopped", || end_of_lines(|handle| drop(handle.stop()))),
    ("`…` was killed", || end_of_lines(|handle| drop(handle.kill()))),
    ("`…` needs an output that is a pipe", || {
        told::line(&puppet("exit 0").max_output(1).status().expect_err("an error"))
    }),
    ("`max_output` can't be held on a … that is no pipe", || {
        refused(|command| command.max_output(1).stdout(Stdio::inherit()))
    }),
    ("`…` was not started: the jobs were stopped", || {
        let jobs = Jobs::new(1);
        jobs.handle().stop_all();
        of_job(jobs, puppet("exit 0"))
    }),
    ("failed to write the output of `…` to a temporary file: …", || {
        let mut jobs = Jobs::new(1);
        jobs.spill(0);
        let before = std::env::var("TMPDIR").expect("the arena's");
        sys::set_var("TMPDIR", "/no/such/directory");
        let line = of_job(jobs, puppet("print much"));
        sys::set_var("TMPDIR", &before);
        line
    }),
    ("failed to make a poller: …", || {
        without_descriptors(|| of_job(Jobs::new(1), puppet("exit 0")))
    }),
    ("failed to use the jobserver `…`: …", || {
        sys::set_var("CARGO_MAKEFLAGS", "-j --jobserver-auth=998,999");
        let line = told::line(&Jobserver::from_env().expect_err("it is not open"));
        sys::set_var("CARGO_MAKEFLAGS", "");
        line
    }),
    ("failed to make a pipe for a jobserver: …", || {
        let mut jobs = Jobs::new(1);
        jobs.jobserver(Jobserver::new(1).expect("tokens"));
        without_descriptors(|| of_job(jobs, puppet("exit 0")))
    }),
    ("failed to make a pipe from `…` to `…`: …", || {
        let line = Pipeline::new(puppet("exit 0")).pipe(puppet("exit 0"));
        told::line(&without_descriptors(|| line.output().expect_err("no room")))
    }),
    ("`…` has another … than its place in the pipeline", || {
        let mut fed = puppet("exit 0");
        fed.input("text");
        told::line(&Pipeline::new(puppet("exit 0")).pipe(fed).output().expect_err("an error"))
    }),
    ("there is no child to wait for", || told::line(&wait_any(&mut []).expect_err("nobody"))),
    ("failed to poll the lanes of several commands: …", || {
        let spawn = || puppet("sleep forever").spawn().expect("spawn");
        let mut children = [spawn(), spawn()];
        // poll(2) takes no more descriptors than may be open.
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 1).expect("take them away");
        let error = wait_any(&mut children).expect_err("too many to poll");
        sys::set_soft_limit(libc::RLIMIT_NOFILE, 1_000).expect("give them back");
        told::line(&error)
    }),
    ("failed to read a line of `…` as UTF-8: …", || {
        let mut lines = puppet("cat").input(b"\xff").lines().expect("lines");
        told::line(&lines.next().expect("an item").expect_err("an error"))
    }),
    ("lost the shepherd of `…`: …", || {
        let mut child = puppet("sleep forever").spawn().expect("spawn");
        signal(shepherd_of(child.id()), libc::SIGKILL);
        told::line(&child.wait().expect_err("nobody knows"))
    }),
];

/// How to meet each row that is an error only after seconds.
pub(crate) const SLOW_CASES: &[Case] = &[
    ("failed to start the shepherds' program `…`: it does not read what it is sent", || {
        fs::write("rogue", "silent").expect("write the script");
        with_shepherd(ROGUE)
    }),
    ("failed to start the shepherds' program `…`: it is no guardian after 10 s", || {
        with_shepherd("/bin/cat")
    }),
    ("failed to end all processes of `…`: still alive are …", || {
        // A set-uid program of root's, run by a user whose shepherd may not touch it.
        fs::copy(PUPPET, "set-uid").expect("copy");
        fs::set_permissions("set-uid", Permissions::from_mode(0o4755)).expect("mode");
        let line = attempt(
            "become 65534 program ./set-uid timeout 100 attempt output [ become 0 ignore TERM sleep forever ]",
        );
        for puppet in others().iter().filter(|proc| proc.comm == "set-uid") {
            signal(puppet.pid, libc::SIGKILL);
        }
        line
    }),
];
