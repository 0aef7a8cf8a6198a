//! One face for the crates of the table: how each starts, feeds, limits and ends a shell's script.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    NetRunner,
    Std,
    Tokio,
    Duct,
    Subprocess,
    ProcessWrap,
}

/// How a command with a time limit came to its end.
pub(super) enum Ended {
    InTime,
    ByLimit,
}

impl Peer {
    /// In the order of the table's columns.
    pub(super) const ALL: [Peer; 6] =
        [Peer::NetRunner, Peer::Std, Peer::Tokio, Peer::Duct, Peer::Subprocess, Peer::ProcessWrap];

    /// As the head of its column says, and `Cargo.lock`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Peer::NetRunner => "NetRunner",
            Peer::Std => "std",
            Peer::Tokio => "tokio",
            Peer::Duct => "duct",
            Peer::Subprocess => "subprocess",
            Peer::ProcessWrap => "process-wrap",
        }
    }

    pub(super) fn spawn(self, script: &str) -> Handle {
        match self {
            Peer::NetRunner => {
                let mut command = netrunner_sync::Command::new("sh");
                // Little patience, so that the rows do not take five seconds.
                command.grace(Duration::from_millis(500));
                Handle::NetRunner(command.args(["-c", script]).spawn().unwrap())
            }
            Peer::Std => Handle::Std(by_std(script).spawn().unwrap()),
            Peer::Tokio => {
                let runtime = runtime();
                let child = runtime.block_on(async { by_tokio(script).spawn().unwrap() });
                Handle::Tokio(runtime, child)
            }
            Peer::Duct => Handle::Duct(duct::cmd!("sh", "-c", script).unchecked().start().unwrap()),
            Peer::Subprocess => Handle::Subprocess(by_subprocess(script).start().unwrap()),
            Peer::ProcessWrap => {
                use process_wrap::std::{ProcessGroup, StdCommandWrap};
                let mut command = StdCommandWrap::with_new("sh", |sh| {
                    sh.args(["-c", script]);
                });
                Handle::ProcessWrap(command.wrap(ProcessGroup::leader()).spawn().unwrap())
            }
        }
    }

    /// Runs a script with a time limit, in whatever way the crate has for that; what is still there is dropped
    /// at a moment when it has nothing more to say.
    pub(super) fn limited(self, script: &str, limit: Duration) -> Option<Ended> {
        let in_time = match self {
            Peer::NetRunner => {
                let mut command = netrunner_sync::Command::new("sh");
                command.args(["-c", script]).timeout(limit).grace(Duration::from_millis(500));
                !command.run().is_err_and(|error| error.is_timeout())
            }
            Peer::Std | Peer::ProcessWrap => return None,
            Peer::Tokio => runtime().block_on(async {
                let mut child = by_tokio(script).spawn().unwrap();
                tokio::time::timeout(limit, child.wait()).await.is_ok()
            }),
            Peer::Duct => {
                let handle = duct::cmd!("sh", "-c", script).unchecked().start().unwrap();
                handle.wait_timeout(limit).unwrap().is_some()
            }
            Peer::Subprocess => {
                let job = by_subprocess(script).detached().start().unwrap();
                job.wait_timeout(limit).unwrap().is_some()
            }
        };
        Some(if in_time { Ended::InTime } else { Ended::ByLimit })
    }

    /// What the crate says of a directory that is not there.
    pub(super) fn error_in(self, dir: &str) -> String {
        match self {
            Peer::NetRunner => {
                let mut command = netrunner_sync::Command::new("true");
                command.current_dir(dir).spawn().unwrap_err().to_string()
            }
            Peer::Std => {
                let mut command = std::process::Command::new("true");
                command.current_dir(dir).spawn().unwrap_err().to_string()
            }
            Peer::Tokio => runtime().block_on(async {
                let mut command = tokio::process::Command::new("true");
                command.current_dir(dir).spawn().unwrap_err().to_string()
            }),
            Peer::Duct => duct::cmd!("true").dir(dir).start().unwrap_err().to_string(),
            Peer::Subprocess => {
                subprocess::Exec::cmd("true").cwd(dir).start().map(drop).unwrap_err().to_string()
            }
            Peer::ProcessWrap => {
                use process_wrap::std::{ProcessGroup, StdCommandWrap};
                let mut command = StdCommandWrap::with_new("true", |command| {
                    command.current_dir(dir);
                });
                command.wrap(ProcessGroup::leader()).spawn().map(drop).unwrap_err().to_string()
            }
        }
    }

    /// Whether this script exits with 0.
    pub(super) fn succeeds(self, script: &str) -> bool {
        self.spawn(script).wait()
    }

    /// What `cat` makes of this input, by one call.
    pub(super) fn fed(self, input: &str) -> Option<String> {
        let bytes = match self {
            Peer::NetRunner => {
                let mut command = netrunner_sync::Command::new("cat");
                command.input(input.to_owned()).run().unwrap().stdout
            }
            Peer::Std | Peer::Tokio | Peer::ProcessWrap => return None,
            Peer::Duct => {
                let cat = duct::cmd!("cat").stdin_bytes(input).stdout_capture();
                cat.run().unwrap().stdout
            }
            Peer::Subprocess => {
                let cat = subprocess::Exec::cmd("cat").stdin(input.to_owned());
                return Some(cat.capture().unwrap().stdout_str());
            }
        };
        Some(String::from_utf8(bytes).unwrap())
    }

    /// The output of a pipeline.
    pub(super) fn piped(self) -> Option<String> {
        match self {
            Peer::NetRunner => {
                use netrunner_sync::{Command, Pipeline};
                let mut printf = Command::new("printf");
                printf.arg("pear\napple\n");
                let output = Pipeline::new(printf).pipe(Command::new("sort")).run().unwrap();
                Some(String::from_utf8_lossy(output.stdout()).into_owned())
            }
            Peer::Std | Peer::Tokio | Peer::ProcessWrap => None,
            Peer::Duct => {
                use duct::cmd;
                Some(cmd!("printf", "pear\napple\n").pipe(cmd!("sort")).read().unwrap())
            }
            Peer::Subprocess => {
                use subprocess::Exec;
                let pipeline = Exec::cmd("printf").arg("pear\napple\n") | Exec::cmd("sort");
                Some(pipeline.capture().unwrap().stdout_str())
            }
        }
    }
}

/// A running script.
pub(super) enum Handle {
    NetRunner(netrunner_sync::Child),
    Std(std::process::Child),
    Tokio(tokio::runtime::Runtime, tokio::process::Child),
    Duct(duct::Handle),
    Subprocess(subprocess::Job),
    ProcessWrap(Box<dyn process_wrap::std::StdChildWrapper>),
}

impl Handle {
    /// Ends it, and waits where the crate's own `kill` does not.
    pub(super) fn kill(&mut self) {
        match self {
            Handle::NetRunner(child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Handle::Std(child) => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Handle::Tokio(runtime, child) => runtime.block_on(child.kill()).unwrap(),
            Handle::Duct(handle) => handle.kill().unwrap(),
            Handle::Subprocess(job) => {
                job.kill().unwrap();
                job.wait().unwrap();
            }
            Handle::ProcessWrap(child) => child.kill().unwrap(),
        }
    }

    /// Waits for its end, and tells whether it was a success.
    pub(super) fn wait(&mut self) -> bool {
        match self {
            Handle::NetRunner(child) => child.wait().unwrap().success(),
            Handle::Std(child) => child.wait().unwrap().success(),
            Handle::Tokio(runtime, child) => runtime.block_on(child.wait()).unwrap().success(),
            Handle::Duct(handle) => handle.wait().unwrap().status.success(),
            Handle::Subprocess(job) => job.wait().unwrap().success(),
            // Not its `wait`, which waits for all of the group.
            Handle::ProcessWrap(child) => child.wait().unwrap().success(),
        }
    }
}

fn by_std(script: &str) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]);
    command
}

fn by_tokio(script: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(by_std(script));
    command.kill_on_drop(true);
    command
}

fn by_subprocess(script: &str) -> subprocess::Exec {
    subprocess::Exec::cmd("sh").args(["-c", script])
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
