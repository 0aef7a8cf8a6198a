//! The real guardian and its shepherds, driven by hand: this test is their client, byte by byte.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use netrunner_core::message::{CommandId, End, Event, Exited, Order, Request};
use netrunner_core::spawn::{
    Environment, Notify, Placement, Placements, Setups, Spawn, StringsBuf, Terms,
};
use netrunner_tests::lacks::Lack;
use netrunner_tests::lane::{Heard, Lane, pidfd};
use netrunner_tests::script;
use netrunner_tests::wait::{PATIENCE, reached_within, wait_until};

use crate::harness::{
    GRACE, PORTABLE, arena, lacks, others, program_of_puppets, skip, wait_nothing_left,
};

/// An arena for a test that passes pidfds itself. Where they are taken away it shows nothing: what then
/// stands in for them is the real client's to send.
#[track_caller]
pub(crate) fn arena_with_pidfds<F: FnOnce()>(body: F) {
    // The portable form takes one like any other file that tells of the client's end.
    if lacks(Lack::Pidfd) && !PORTABLE {
        return skip("needs pidfds");
    }
    arena(body);
}

/// The real program, as a file.
pub(crate) fn real_shepherd() -> PathBuf {
    let path = std::path::absolute("real-shepherd").expect("a path");
    if !path.exists() {
        fs::write(&path, netrunner_shepherd::BYTES).expect("write the program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    }
    path
}

/// Runs the starter with this as its lane, to its end.
pub(crate) fn starter(lane: OwnedFd) -> ExitStatus {
    let mut starter = Command::new(real_shepherd());
    starter.arg0("netrunner-shepherd").env_clear().process_group(0);
    starter.stdin(lane).stdout(Stdio::null()).stderr(Stdio::null());
    let mut starter = starter.spawn().expect("start the starter");
    let mut status = None;
    wait_until("the starter's end", PATIENCE, || {
        status = starter.try_wait().expect("wait for the starter");
        status.is_some()
    });
    status.expect("it has ended")
}

/// A guardian, and our lane to it.
pub(crate) struct Guardian {
    pub(crate) lane: Lane,
}

impl Guardian {
    /// One that watches over this test.
    pub(crate) fn start() -> Guardian {
        Guardian::of(&pidfd(std::process::id()))
    }

    /// One that watches over the process behind this pidfd, or what is passed for one.
    pub(crate) fn of(client: &OwnedFd) -> Guardian {
        let (lane, theirs) = Lane::pair();
        lane.order(Order::Guard, &[client.as_fd()]).expect("order");
        let status = starter(theirs);
        assert!(status.success(), "{status}");
        Guardian { lane }
    }

    /// A shepherd, which has said hello.
    pub(crate) fn shepherd(&self) -> Lane {
        let mut lane = self.lane.bear().expect("order a shepherd");
        let heard = lane.next_event(PATIENCE);
        assert!(matches!(heard, Heard::Said(Event::Hello(_))), "{heard:?}");
        assert_eq!(lane.descriptors.len(), usize::from(!PORTABLE));
        lane.descriptors.clear();
        lane
    }

    /// Whether it still serves as it should.
    #[track_caller]
    pub(crate) fn assert_serves(&self) {
        let mut lane = self.shepherd();
        let order = Asked::new(77, "exit 5");
        order.send(&lane);
        let end = ended(&mut lane);
        assert_eq!((end.id, end.end), (CommandId(77), End::Status(5 << 8)));
    }

    /// Lets go of it, and waits until nothing is left.
    #[track_caller]
    pub(crate) fn over(self) {
        drop(self);
        wait_nothing_left(PATIENCE);
    }
}

/// The end of a command, which must come next, but for its start.
#[track_caller]
pub(crate) fn ended(lane: &mut Lane) -> Exited {
    loop {
        match lane.next_event(PATIENCE) {
            Heard::Said(Event::Exited(exited)) => return exited,
            Heard::Said(Event::Spawned(..) | Event::Handle(_)) => lane.descriptors.clear(),
            other @ (Heard::Said(_) | Heard::Silence | Heard::End | Heard::Nonsense(_)) => {
                panic!("no end: {other:?}")
            }
        }
    }
}

/// The next word, but for the pidfd of a child that has run for a while, which may come at any time.
#[track_caller]
pub(crate) fn next_word(lane: &mut Lane) -> Heard<Event> {
    loop {
        match lane.next_event(PATIENCE) {
            Heard::Said(Event::Handle(_)) => lane.descriptors.clear(),
            heard @ (Heard::Said(_) | Heard::Silence | Heard::End | Heard::Nonsense(_)) => {
                return heard;
            }
        }
    }
}

/// A request to spawn a puppet, to be changed at will.
pub(crate) struct Asked {
    pub(crate) id: u32,
    pub(crate) notify: Notify,
    pub(crate) terms: Terms,
    pub(crate) program: CString,
    pub(crate) arguments: StringsBuf,
    /// None is the one of the request before.
    pub(crate) environment: Option<StringsBuf>,
    pub(crate) placements: Vec<Placement>,
    pub(crate) passed: Vec<OwnedFd>,
}

impl Asked {
    pub(crate) fn new(id: u32, script: &str) -> Asked {
        let program = program_of_puppets();
        let program = CString::new(program.as_os_str().as_bytes()).expect("a path");
        let mut arguments = StringsBuf::new();
        arguments.push(&[b"puppet"]);
        script::split(script).iter().for_each(|word| arguments.push(&[word.as_bytes()]));
        // Else its self-destruct would not be stretched in a long run.
        let mut environment = StringsBuf::new();
        let slowness = netrunner_tests::wait::slowness().to_string();
        environment.push(&[b"NETRUNNER_TEST_SLOWNESS=", slowness.as_bytes()]);
        Asked {
            id,
            notify: Notify::End,
            terms: Terms { grace: GRACE, ..Terms::DEFAULT },
            program,
            arguments,
            environment: Some(environment),
            placements: Vec::new(),
            passed: Vec::new(),
        }
    }

    /// Adds a variable to its environment.
    pub(crate) fn set(&mut self, parts: &[&[u8]]) {
        self.environment.get_or_insert_default().push(parts);
    }

    /// Its frame.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let environment = match &self.environment {
            Some(strings) => Environment::Listed(strings.as_strings()),
            None => Environment::Unchanged,
        };
        let spawn = Spawn {
            id: CommandId(self.id),
            notify: self.notify,
            terms: self.terms,
            terminal: None,
            program: &self.program,
            directory: None,
            arguments: self.arguments.as_strings(),
            environment,
            descriptors: Placements::Listed(&self.placements),
            setup: Setups::Listed(&[]),
            cgroup: None,
            namespace: None,
        };
        let mut bytes = Vec::new();
        Request::Spawn(spawn).encode(&mut bytes);
        bytes
    }

    pub(crate) fn send(&self, lane: &Lane) {
        let passed: Vec<_> = self.passed.iter().map(|fd| fd.as_fd()).collect();
        lane.send(&self.bytes(), &passed).expect("ask");
    }
}

/// How much memory a process has in use, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let lines = netrunner_tests::procs::status_lines(pid, &["VmRSS"]);
    let kib = lines.first().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// What is alive of the guardian's, besides itself: shepherds and their commands.
pub(crate) fn shepherds() -> Vec<u32> {
    others().into_iter().filter(|it| it.comm == "nr-shepherd").map(|it| it.pid).collect()
}

/// Waits until only the guardian is left.
#[track_caller]
pub(crate) fn wait_alone(limit: Duration) {
    let rest = || {
        let others = others().into_iter().filter(|it| it.comm != "nr-guardian");
        others.map(|it| it.to_string()).collect::<Vec<_>>()
    };
    if !reached_within(limit, || rest().is_empty()) {
        assert!(rest().is_empty(), "left beside the guardian: {:#?}", rest());
    }
}

/// The frame of a request.
pub(crate) fn encoded(request: Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}

/// The frame of an order.
pub(crate) fn ordered(order: Order) -> Vec<u8> {
    let mut bytes = Vec::new();
    order.encode(&mut bytes);
    bytes
}
