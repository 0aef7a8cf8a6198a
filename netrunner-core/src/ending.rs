//! How a command went: what the events that end it hold.

use alloc::vec::Vec;
use core::time::Duration;

use crate::message::{CommandId, Pid, Reason};
use crate::wire::{Reader, WireError, Writer};

/// Why a program was not executed.
///
/// ```
/// use netrunner_core::message::{CommandId, Event, SpawnFailed, Step};
///
/// // `execve(2)` said ENOENT.
/// let failed = SpawnFailed {
///     id: CommandId(1),
///     step: Step::Exec,
///     errno: 2,
///     object: b"/bin/no-such-program".to_vec(),
/// };
/// let mut bytes = Vec::new();
/// Event::SpawnFailed(failed).encode(&mut bytes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpawnFailed {
    /// The command.
    pub id: CommandId,
    /// What failed.
    pub step: Step,
    /// The error number of the system call.
    pub errno: u32,
    /// What it failed on: a path, or nothing.
    pub object: Vec<u8>,
}

/// The steps of a spawn that can fail.
///
/// ```
/// use netrunner_core::message::Step;
/// assert_eq!(Step::numbered(Step::Exec.number()), Some(Step::Exec));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Making a shepherd.
    Shepherd,
    /// Taking the request: it came out of turn, or its descriptors were lost on the way
    /// (`RLIMIT_NOFILE`).
    Request,
    /// Making the child's process (`clone(2)`).
    Clone,
    /// Arming the parent-death signal.
    ParentDeath,
    /// Making the child's process group.
    ProcessGroup,
    /// Making a session with a terminal of its own.
    Terminal,
    /// Placing the descriptors.
    Descriptors,
    /// Changing the directory.
    Directory,
    /// Setting a resource limit.
    Limit,
    /// Setting the niceness.
    Nice,
    /// Setting the supplementary groups.
    Groups,
    /// Setting the group.
    Gid,
    /// Setting the user.
    Uid,
    /// Setting `no_new_privs`.
    NoNewPrivileges,
    /// Executing the program.
    Exec,
    /// Joining the cgroup.
    Cgroup,
    /// Making the PID namespace.
    Namespace,
}

/// The steps, each at the place of its number on the wire.
const STEPS: [Step; 17] = [
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

/// How a command ended.
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::message::{CommandId, End, Exited, Fate, Pid, Reason, Usage};
///
/// // As the shepherd of `sleep 1` tells it.
/// let exited = Exited {
///     id: CommandId(1),
///     pid: Pid(4711),
///     end: End::Status(0),
///     reason: Reason::Exited,
///     wall: Duration::from_millis(1_003),
///     usage: Usage { max_rss: 2 << 20, ..Usage::default() },
///     leftovers: Vec::new(),
///     survivors: Vec::new(),
///     namespaced: false,
///     fate: Fate::Idle,
/// };
/// assert!(exited.leftovers.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exited {
    /// The command.
    pub id: CommandId,
    /// The child.
    pub pid: Pid,
    /// The child's end, or why there is none to tell.
    pub end: End,
    /// Why it is over.
    pub reason: Reason,
    /// From the spawn until this message.
    pub wall: Duration,
    /// What the child and its reaped descendants used.
    pub usage: Usage,
    /// What still lived when the child had ended.
    pub leftovers: Vec<Process>,
    /// What lives now, in spite of `SIGKILL`.
    pub survivors: Vec<Process>,
    /// Whether it lived in a PID namespace of its own.
    pub namespaced: bool,
    /// Whether this lane takes another command.
    pub fate: Fate,
}

/// The child's end.
///
/// ```
/// use netrunner_core::message::End;
/// use std::os::unix::process::ExitStatusExt as _;
/// use std::process::ExitStatus;
///
/// // `exit(3)`, as `wait(2)` has it.
/// let End::Status(status) = End::Status(3 << 8) else { unreachable!() };
/// assert_eq!(ExitStatus::from_raw(status).code(), Some(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The status as `wait4(2)` gave it.
    Status(i32),
    /// The child could not be killed; it has no status.
    Unkillable,
}

/// What becomes of the shepherd after a command.
///
/// ```
/// use netrunner_core::message::{CommandId, Fate, Reason};
/// use netrunner_core::supervise::{Action, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// let mut shepherd = Supervisor::new();
/// shepherd.handle_started(Time::from_nanos(0), CommandId(1), Terms::DEFAULT);
/// shepherd.handle_empty();
/// assert_eq!(shepherd.poll_action(), Some(Action::Report(Reason::Exited, Fate::Idle)));
/// assert!(shepherd.handle_spawn().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is clean and takes the next command.
    Idle,
    /// It leaves, at once or when what it stays beside has ended.
    Leaving,
}

/// Resource usage (`getrusage(2)`).
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::message::Usage;
///
/// let usage = Usage { user: Duration::from_millis(3), max_rss: 2 << 20, ..Usage::default() };
/// assert_eq!(usage.system, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Time in user mode.
    pub user: Duration,
    /// Time in the kernel.
    pub system: Duration,
    /// The largest resident set of one process, in bytes.
    pub max_rss: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Context switches that the process waited for.
    pub voluntary_switches: u64,
    /// Context switches that were forced on it.
    pub involuntary_switches: u64,
}

impl Usage {
    /// The usage of two processes together: times add up, the larger resident set counts.
    ///
    /// ```
    /// use netrunner_core::message::Usage;
    ///
    /// let shell = Usage { max_rss: 2 << 20, minor_faults: 100, ..Usage::default() };
    /// let compiler = Usage { max_rss: 900 << 20, minor_faults: 5_000, ..Usage::default() };
    /// let both = shell.and(compiler);
    /// assert_eq!((both.max_rss, both.minor_faults), (900 << 20, 5_100));
    /// ```
    #[must_use]
    pub fn and(self, other: Usage) -> Usage {
        Usage {
            user: self.user.saturating_add(other.user),
            system: self.system.saturating_add(other.system),
            max_rss: self.max_rss.max(other.max_rss),
            minor_faults: self.minor_faults.saturating_add(other.minor_faults),
            major_faults: self.major_faults.saturating_add(other.major_faults),
            voluntary_switches: self.voluntary_switches.saturating_add(other.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_add(other.involuntary_switches),
        }
    }
}

/// A descendant by number and name.
///
/// ```
/// use netrunner_core::message::{Pid, Process};
///
/// let left_over = Process { pid: Pid(4712), name: b"sleep".to_vec() };
/// assert!(left_over.name.len() <= 15);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number.
    pub pid: Pid,
    /// Its name, at most 15 bytes (`/proc/PID/comm`).
    pub name: Vec<u8>,
}

/// The most processes that one message names; of more, these are the first.
///
/// ```
/// use netrunner_core::message::{MAX_NAMED, Pid, Process};
///
/// // A fork storm; what the report of its end names of it.
/// let left_over = (1..=5_000).map(|pid| Process { pid: Pid(pid), name: b"storm".to_vec() });
/// assert_eq!(left_over.take(MAX_NAMED).count(), 1_024);
/// ```
pub const MAX_NAMED: usize = 1024;

/// The longest path in an event; longer ones are cut.
const MAX_OBJECT: usize = 4096;

/// The longest name of a process in an event; longer ones are cut.
const MAX_NAME: usize = 64;

/// A block that the encoder would not have made longer than `most`.
fn at_most(most: usize, from: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let bytes = from.bytes()?;
    if bytes.len() <= most { Ok(bytes.to_vec()) } else { Err(WireError::Malformed) }
}

impl Step {
    /// Its number, on the wire and wherever else a step has to fit into a byte.
    ///
    /// ```
    /// use netrunner_core::message::Step;
    /// assert_ne!(Step::Clone.number(), Step::Exec.number());
    /// ```
    pub fn number(self) -> u8 {
        let at = STEPS.iter().position(|&step| step == self).expect("every step is listed");
        at as u8
    }

    /// The step of this number.
    ///
    /// ```
    /// use netrunner_core::message::Step;
    /// assert_eq!(Step::numbered(0), Some(Step::Shepherd));
    /// assert_eq!(Step::numbered(255), None);
    /// ```
    pub fn numbered(number: u8) -> Option<Step> {
        STEPS.get(usize::from(number)).copied()
    }

    fn encode(self, out: &mut Writer<'_>) {
        out.u8(self.number());
    }

    fn decode(from: &mut Reader<'_>) -> Result<Step, WireError> {
        Step::numbered(from.u8()?).ok_or(WireError::Malformed)
    }
}

impl SpawnFailed {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.id.0);
        self.step.encode(out);
        out.u32(self.errno);
        out.bytes(&self.object[..self.object.len().min(MAX_OBJECT)]);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<SpawnFailed, WireError> {
        Ok(SpawnFailed {
            id: CommandId(from.u32()?),
            step: Step::decode(from)?,
            errno: from.u32()?,
            object: at_most(MAX_OBJECT, from)?,
        })
    }
}

impl End {
    /// A status that is neither an exit nor a death by signal would be neither to the user as well.
    fn decode(from: &mut Reader<'_>) -> Result<End, WireError> {
        let Some(status) = from.option(Reader::i32)? else { return Ok(End::Unkillable) };
        // `wait(2)`: the low seven bits are the signal, the eighth the core dump, then the code.
        let is_end = match status & 0x7f {
            0 => status & !0xff00 == 0,
            0x7f => false,
            _ => status & !0xff == 0,
        };
        if is_end { Ok(End::Status(status)) } else { Err(WireError::Malformed) }
    }
}

impl Exited {
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.u32(self.id.0);
        out.u32(self.pid.0);
        let status = match self.end {
            End::Status(status) => Some(status),
            End::Unkillable => None,
        };
        out.option(status, Writer::i32);
        self.reason.encode(out);
        out.duration(self.wall);
        self.usage.encode(out);
        encode_processes(&self.leftovers, out);
        encode_processes(&self.survivors, out);
        out.u8(u8::from(self.namespaced));
        out.u8(match self.fate {
            Fate::Idle => 0,
            Fate::Leaving => 1,
        });
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Exited, WireError> {
        Ok(Exited {
            id: CommandId(from.u32()?),
            pid: Pid::decode(from)?,
            end: End::decode(from)?,
            reason: Reason::decode(from)?,
            wall: from.duration()?,
            usage: Usage::decode(from)?,
            leftovers: decode_processes(from)?,
            survivors: decode_processes(from)?,
            namespaced: match from.u8()? {
                0 => false,
                1 => true,
                _ => return Err(WireError::Malformed),
            },
            fate: match from.u8()? {
                0 => Fate::Idle,
                1 => Fate::Leaving,
                _ => return Err(WireError::Malformed),
            },
        })
    }
}

impl Usage {
    fn encode(&self, out: &mut Writer<'_>) {
        out.duration(self.user);
        out.duration(self.system);
        out.u64(self.max_rss);
        out.u64(self.minor_faults);
        out.u64(self.major_faults);
        out.u64(self.voluntary_switches);
        out.u64(self.involuntary_switches);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Usage, WireError> {
        Ok(Usage {
            user: from.duration()?,
            system: from.duration()?,
            max_rss: from.u64()?,
            minor_faults: from.u64()?,
            major_faults: from.u64()?,
            voluntary_switches: from.u64()?,
            involuntary_switches: from.u64()?,
        })
    }
}

fn encode_processes(processes: &[Process], out: &mut Writer<'_>) {
    out.block(|out| {
        for process in processes.iter().take(MAX_NAMED) {
            out.u32(process.pid.0);
            out.bytes(&process.name[..process.name.len().min(MAX_NAME)]);
        }
    });
}

fn decode_processes(from: &mut Reader<'_>) -> Result<Vec<Process>, WireError> {
    Reader::whole(from.bytes()?, |from| {
        let mut processes = Vec::new();
        while !from.is_empty() {
            if processes.len() == MAX_NAMED {
                return Err(WireError::Malformed);
            }
            processes.push(Process { pid: Pid::decode(from)?, name: at_most(MAX_NAME, from)? });
        }
        Ok(processes)
    })
}
