//! At least one message of every kind with every field in use, and what the tests do with any
//! message: encode it, decode it by its kind, lay it open for comparison.

use std::ffi::CStr;
use std::time::Duration;

use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Order, Pid, Process, Reason, Request, Session,
    SpawnFailed, Step, Usage,
};
use netrunner_core::namespace::{Namespace, Need, Proc};
use netrunner_core::spawn::{
    Environment, Leftovers, Notify, Place, Placement, Placements, Setup, Setups, Source, Spawn,
    Strings, StringsBuf, Terms,
};
use netrunner_core::terminal::{Handover, Terminal};
use netrunner_core::wire::{Frame, HEADER, VERSION, WireError};

/// A message of any direction.
#[derive(Clone, Debug)]
pub(crate) enum Message<'a> {
    Order(Order),
    Request(Request<'a>),
    Event(Event),
}

/// The first kinds of orders and of events; below are the requests.
const ORDERS: u8 = 32;
const EVENTS: u8 = 64;

impl<'a> Message<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Message::Order(order) => order.encode(out),
            Message::Request(request) => request.encode(out),
            Message::Event(event) => event.encode(out),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    pub(crate) fn descriptors(&self) -> usize {
        match self {
            Message::Order(order) => order.descriptors(),
            Message::Request(request) => request.descriptors(),
            Message::Event(event) => event.descriptors(),
        }
    }

    /// Reads a frame as a message of the direction that its kind belongs to.
    pub(crate) fn decode(frame: Frame<'a>) -> Result<Message<'a>, WireError> {
        match frame.kind {
            0..ORDERS => Request::decode(frame).map(Message::Request),
            ORDERS..EVENTS => Order::decode(frame).map(Message::Order),
            EVENTS.. => Event::decode(frame).map(Message::Event),
        }
    }

    /// The message field by field: received lists keep their bytes, those of the client its own
    /// values, so they compare only when they are laid open.
    pub(crate) fn laid_open(&self) -> String {
        let Message::Request(Request::Spawn(spawn)) = self else { return format!("{self:?}") };
        let Spawn { id, notify, terms, terminal, program, directory, cgroup, .. } = spawn;
        // The shepherd sizes argv and envp by the count and fills them by iterating.
        let environment = spawn.environment.listed();
        for strings in [Some(spawn.arguments), environment].into_iter().flatten() {
            assert_eq!(strings.len(), strings.iter().count());
        }
        assert_eq!(spawn.descriptors.len(), spawn.descriptors.iter().count());
        let setup: Vec<String> = spawn
            .setup
            .iter()
            .map(|setup| match setup {
                Setup::Groups(groups) => format!("{:?}", groups.iter().collect::<Vec<_>>()),
                Setup::Umask(_)
                | Setup::Nice(_)
                | Setup::Limit { .. }
                | Setup::Gid(_)
                | Setup::Uid(_)
                | Setup::NoNewPrivileges => format!("{setup:?}"),
            })
            .collect();
        format!(
            "{id:?} {notify:?} {terms:?} {terminal:?} {program:?} {directory:?} {:?} {:?} {:?} {setup:?} {cgroup:?}",
            spawn.arguments.iter().collect::<Vec<_>>(),
            environment.map(|strings| strings.iter().collect::<Vec<_>>()),
            spawn.descriptors.iter().collect::<Vec<_>>(),
        )
    }
}

/// The one frame in `bytes`.
pub(crate) fn frame(bytes: &[u8]) -> Frame<'_> {
    assert_eq!(bytes[0], VERSION);
    Frame { kind: bytes[1], descriptors: bytes[2], payload: &bytes[HEADER..] }
}

/// Calls `with` with every sample.
pub(crate) fn for_each(mut with: impl FnMut(Message<'_>)) {
    with(Message::Order(Order::Guard));
    with(Message::Order(Order::Bear(Session::Own)));
    with(Message::Order(Order::Bear(Session::Client)));
    with(Message::Order(Order::Retire));
    with(Message::Order(Order::Kill(Pid(0x7fff_ffff))));
    with(Message::Order(Order::Groups));
    with(Message::Order(Order::Loan));
    for_each_spawn(|spawn| with(Message::Request(Request::Spawn(spawn))));
    let id = CommandId(0xfffe_fdfc);
    for signal in [1, 15, 64] {
        with(Message::Request(Request::Signal(id, signal)));
    }
    for reason in REASONS.into_iter().filter(|&reason| reason != Reason::Exited) {
        with(Message::Request(Request::Stop(id, reason)));
    }
    with(Message::Request(Request::Kill(id)));
    with(Message::Request(Request::Detach(id)));
    events().into_iter().for_each(|event| with(Message::Event(event)));
}

/// How many there are, for tests that must not pass because there are none.
pub(crate) fn count() -> usize {
    let mut count = 0;
    for_each(|_| count += 1);
    count
}

/// All samples as they follow each other on a lane.
pub(crate) fn stream() -> Vec<u8> {
    let mut stream = Vec::new();
    for_each(|message| message.encode(&mut stream));
    stream
}

fn for_each_spawn(mut with: impl FnMut(Spawn<'_>)) {
    let mut arguments = StringsBuf::new();
    arguments.push(&[b"cc"]);
    arguments.push(&[]);
    arguments.push(&[b"-DX=", b"\xff\xfe"]);
    let mut environment = StringsBuf::new();
    environment.push(&[b"PATH", b"=", b"/bin:/usr/bin"]);
    environment.push(&[b"EMPTY="]);
    let groups = [0, 27, u32::MAX];
    let setup = [
        Setup::Umask(0o027),
        Setup::Nice(-5),
        Setup::Limit { resource: 7, soft: 1_024, hard: u64::MAX },
        Setup::Groups(netrunner_core::spawn::Groups::Listed(&groups)),
        Setup::Groups(netrunner_core::spawn::Groups::Listed(&[])),
        Setup::Gid(100),
        Setup::Uid(u32::MAX),
        Setup::NoNewPrivileges,
    ];
    let full = Spawn {
        id: CommandId(7),
        notify: Notify::Start,
        terms: Terms {
            timeout: Some(Duration::from_millis(1_500)),
            grace: Duration::from_secs(5),
            stop_signal: 15,
            leftover_signal: Some(64),
            leftovers: Leftovers::Keep,
        },
        terminal: Some(Terminal { client_group: Pid(0x7fff_ffff), handover: Handover::AtStart }),
        program: c"cc",
        directory: Some(c"sub/folder"),
        arguments: arguments.as_strings(),
        environment: Environment::Listed(environment.as_strings()),
        descriptors: Placements::Listed(&[
            Placement { place: Place::Directory, source: Source::Passed },
            Placement { place: Place::Number(0), source: Source::Null },
            Placement { place: Place::Number(1), source: Source::Passed },
            Placement { place: Place::Number(2), source: Source::Closed },
            Placement { place: Place::Number(1_000_000), source: Source::Passed },
            Placement { place: Place::CgroupAbove, source: Source::Passed },
            Placement { place: Place::Cgroup, source: Source::Passed },
        ]),
        setup: Setups::Listed(&setup),
        cgroup: Some(c"netrunner-1-0"),
        namespace: Some(Namespace { need: Need::IfAvailable, proc: Proc::Own }),
    };
    with(full);
    for handover in [Handover::OnDemand, Handover::Never] {
        let terminal = Some(Terminal { client_group: Pid(1), handover });
        let environment = Environment::Listed(Strings::EMPTY);
        with(Spawn { terminal, environment, ..smallest(arguments.as_strings(), c"/bin/true") });
    }
    let own = [
        Placement { place: Place::Terminal, source: Source::Passed },
        Placement { place: Place::Number(0), source: Source::Passed },
    ];
    let descriptors = Placements::Listed(&own);
    with(Spawn { descriptors, ..smallest(arguments.as_strings(), c"/bin/sh") });
    with(smallest(arguments.as_strings(), c"/bin/true"));
}

/// A request that asks for as little as there is.
pub(crate) fn smallest<'a>(arguments: Strings<'a>, program: &'a CStr) -> Spawn<'a> {
    Spawn {
        id: CommandId(0),
        notify: Notify::End,
        terms: Terms {
            timeout: None,
            grace: Duration::ZERO,
            stop_signal: 64,
            leftover_signal: None,
            leftovers: Leftovers::Stop,
        },
        terminal: None,
        program,
        directory: None,
        arguments,
        environment: Environment::Unchanged,
        descriptors: Placements::Listed(&[]),
        setup: Setups::Listed(&[]),
        cgroup: None,
        namespace: None,
    }
}

pub(crate) const REASONS: [Reason; 6] = [
    Reason::Exited,
    Reason::Timeout,
    Reason::IdleTimeout,
    Reason::OutputLimit,
    Reason::Stopped,
    Reason::Killed,
];

pub(crate) const STEPS: [Step; 17] = [
    Step::Shepherd,
    Step::Request,
    Step::Clone,
    Step::ParentDeath,
    Step::ProcessGroup,
    Step::Terminal,
    Step::Descriptors,
    Step::Directory,
    Step::Limit,
    Step::Nice,
    Step::Groups,
    Step::Gid,
    Step::Uid,
    Step::NoNewPrivileges,
    Step::Exec,
    Step::Cgroup,
    Step::Namespace,
];

fn events() -> Vec<Event> {
    let id = CommandId(42);
    let mut events = vec![
        Event::Hello(Pid(1)),
        Event::Hello(Pid(0x7fff_ffff)),
        Event::Spawned(id, Pid(4_194_304)),
        Event::Handle(id),
        Event::Detached(id),
        Event::Stopped(id, 1),
        Event::Stopped(id, 64),
        Event::Continued(id),
        Event::Exited(exited()),
    ];
    events.extend(STEPS.map(|step| {
        let object = b"/no/such/\xffplace".to_vec();
        Event::SpawnFailed(SpawnFailed { id, step, errno: 2, object })
    }));
    events.extend(REASONS.map(|reason| {
        Event::Exited(Exited {
            end: End::Unkillable,
            reason,
            usage: Usage::default(),
            leftovers: Vec::new(),
            survivors: Vec::new(),
            namespaced: true,
            fate: Fate::Leaving,
            ..exited()
        })
    }));
    events
}

/// A command's end with everything in it.
pub(crate) fn exited() -> Exited {
    Exited {
        id: CommandId(42),
        pid: Pid(4_711),
        end: End::Status(0x86),
        reason: Reason::Exited,
        wall: Duration::from_nanos(1_234_567_890_123),
        usage: Usage {
            user: Duration::from_micros(1),
            system: Duration::from_secs(2),
            max_rss: 3,
            minor_faults: 4,
            major_faults: 5,
            voluntary_switches: 6,
            involuntary_switches: u64::MAX,
        },
        leftovers: vec![
            Process { pid: Pid(5), name: b"sleep".to_vec() },
            Process { pid: Pid(6), name: Vec::new() },
        ],
        survivors: vec![Process { pid: Pid(7), name: b"\xff\0".to_vec() }],
        namespaced: false,
        fate: Fate::Idle,
    }
}
