//! What client, guardian and shepherd can say to each other.
//!
//! A [`Request`] is imperative and goes from the client to a shepherd, an [`Event`] is past tense
//! and comes back, an [`Order`] goes from the client to its guardian. Every message about a command
//! carries its [`CommandId`]: a shepherd serves one command after the other, and a `Kill` that was
//! on its way when the first ended must not hit the second.

use alloc::vec::Vec;

use crate::spawn::Spawn;
use crate::wire::{self, Frame, Reader, WireError, Writer};

pub use crate::ending::{End, Exited, Fate, MAX_NAMED, Process, SpawnFailed, Step, Usage};
pub use crate::order::{Order, Session};

/// The client's number for one command; a lane never sees the same one twice in a row.
///
/// ```
/// use netrunner_core::message::{CommandId, Reason};
/// use netrunner_core::supervise::Supervisor;
/// use netrunner_core::{Time, spawn::Terms};
///
/// let (mut shepherd, now) = (Supervisor::new(), Time::from_nanos(0));
/// shepherd.handle_started(now, CommandId(2), Terms::DEFAULT);
/// // It was meant for the command before.
/// shepherd.handle_stop(now, CommandId(1), Reason::Stopped);
/// assert_eq!(shepherd.poll_action(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub u32);

/// A process number as the shepherd sees it.
///
/// ```
/// use netrunner_core::message::{Event, Pid};
/// use netrunner_core::wire::{Inbox, MAX_EVENT};
///
/// // No process has the number 0, and `kill(2)` would take it for the whole group.
/// let mut bytes = Vec::new();
/// Event::Hello(Pid(0)).encode(&mut bytes);
/// let mut inbox = Inbox::new(MAX_EVENT);
/// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
/// inbox.filled(bytes.len());
/// let frame = inbox.next_frame()?.expect("it is whole");
/// assert!(Event::decode(frame).is_err());
/// # Ok::<(), netrunner_core::wire::WireError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// From the client to a shepherd.
///
/// ```
/// use netrunner_core::message::{CommandId, Reason, Request};
///
/// let mut bytes = Vec::new();
/// Request::Signal(CommandId(1), 10).encode(&mut bytes);
/// Request::Stop(CommandId(1), Reason::Timeout).encode(&mut bytes);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Start a command; the passed descriptors come with it in the order of its placements.
    Spawn(Spawn<'a>),
    /// Send this signal to the child's group.
    Signal(CommandId, u8),
    /// Begin the stop ladder; the command ends with this reason, which is never [`Reason::Exited`].
    Stop(CommandId, Reason),
    /// `SIGKILL` the whole tree.
    Kill(CommandId),
    /// The command lives on without the client.
    Detach(CommandId),
}

/// Why a command is over. The first cause wins.
///
/// ```
/// use netrunner_core::message::{CommandId, Fate, Reason};
/// use netrunner_core::supervise::{Action, Supervisor};
/// use netrunner_core::{Time, spawn::Terms};
///
/// let (mut shepherd, id, now) = (Supervisor::new(), CommandId(1), Time::from_nanos(0));
/// shepherd.handle_started(now, id, Terms::DEFAULT);
/// shepherd.handle_stop(now, id, Reason::OutputLimit);
/// shepherd.handle_kill(now, id);
/// shepherd.handle_empty();
/// let mut last = None;
/// while let Some(action) = shepherd.poll_action() {
///     last = Some(action);
/// }
/// assert_eq!(last, Some(Action::Report(Reason::OutputLimit, Fate::Idle)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The child ended without NetRunner's doing.
    Exited,
    /// Its timeout passed.
    Timeout,
    /// It wrote nothing for too long.
    IdleTimeout,
    /// It wrote too much.
    OutputLimit,
    /// It was stopped, or its client was gone.
    Stopped,
    /// It was killed.
    Killed,
}

/// From a shepherd to the client.
///
/// ```
/// use netrunner_core::message::{CommandId, Event, Pid};
///
/// let mut bytes = Vec::new();
/// Event::Hello(Pid(100)).encode(&mut bytes);
/// Event::Spawned(CommandId(1), Pid(101)).encode(&mut bytes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The first words on each lane, with the shepherd's pidfd if the kernel has such. The version of
    /// the protocol is in the header.
    Hello(Pid),
    /// The program was executed.
    Spawned(CommandId, Pid),
    /// The command has lived for a while; the child's pidfd comes with this. Where the kernel has no
    /// pidfds it never comes.
    Handle(CommandId),
    /// The program could not be executed, and nothing is left of the attempt.
    SpawnFailed(SpawnFailed),
    /// The command is over.
    Exited(Exited),
    /// The command lives on without the client, and this lane says nothing more.
    Detached(CommandId),
    /// This signal has stopped the child, which has to do with the client's terminal.
    Stopped(CommandId, u8),
    /// The child that was stopped goes on.
    Continued(CommandId),
}

/// The reasons, each at the place of its number on the wire.
const REASONS: [Reason; 6] = [
    Reason::Exited,
    Reason::Timeout,
    Reason::IdleTimeout,
    Reason::OutputLimit,
    Reason::Stopped,
    Reason::Killed,
];

pub(crate) mod kind {
    //! The kinds of frames. Numbers are never reused.
    pub(crate) const SPAWN: u8 = 1;
    pub(crate) const SIGNAL: u8 = 2;
    pub(crate) const STOP: u8 = 3;
    pub(crate) const KILL: u8 = 4;
    pub(crate) const DETACH: u8 = 5;
    pub(crate) const GUARD: u8 = 32;
    pub(crate) const BEAR: u8 = 33;
    pub(crate) const RETIRE: u8 = 34;
    pub(crate) const KILL_SHEPHERD: u8 = 35;
    pub(crate) const GROUPS: u8 = 36;
    pub(crate) const LOAN: u8 = 37;
    pub(crate) const HELLO: u8 = 64;
    pub(crate) const SPAWNED: u8 = 65;
    pub(crate) const SPAWN_FAILED: u8 = 66;
    pub(crate) const EXITED: u8 = 67;
    pub(crate) const DETACHED: u8 = 68;
    pub(crate) const HANDLE: u8 = 69;
    pub(crate) const STOPPED: u8 = 70;
    pub(crate) const CONTINUED: u8 = 71;
}

/// Holds a frame to the number of descriptors that its message needs.
pub(crate) fn expect(frame: &Frame<'_>, descriptors: usize) -> Result<(), WireError> {
    if usize::from(frame.descriptors) == descriptors { Ok(()) } else { Err(WireError::Descriptors) }
}

/// The number of a signal.
fn signal(from: &mut Reader<'_>) -> Result<u8, WireError> {
    match from.u8()? {
        signal @ 1..=64 => Ok(signal),
        _ => Err(WireError::Malformed),
    }
}

impl<'a> Request<'a> {
    /// How many descriptors travel with it.
    ///
    /// ```
    /// use netrunner_core::message::{CommandId, Request};
    /// assert_eq!(Request::Kill(CommandId(1)).descriptors(), 0);
    /// ```
    pub fn descriptors(&self) -> usize {
        match self {
            Request::Spawn(spawn) => spawn.descriptors.passed(),
            Request::Signal(..) | Request::Stop(..) | Request::Kill(_) | Request::Detach(_) => 0,
        }
    }

    /// Appends its frame to `out`.
    ///
    /// ```
    /// use netrunner_core::message::{CommandId, Request};
    /// use netrunner_core::wire::HEADER;
    ///
    /// let mut bytes = Vec::new();
    /// Request::Detach(CommandId(1)).encode(&mut bytes);
    /// assert_eq!(bytes[HEADER..], 1_u32.to_le_bytes());
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::Spawn(spawn) => {
                wire::frame(out, kind::SPAWN, self.descriptors(), |out| spawn.encode(out));
            }
            Request::Signal(id, signal) => wire::frame(out, kind::SIGNAL, 0, |out| {
                out.u32(id.0);
                out.u8(*signal);
            }),
            Request::Stop(id, reason) => wire::frame(out, kind::STOP, 0, |out| {
                out.u32(id.0);
                reason.encode(out);
            }),
            Request::Kill(id) => wire::frame(out, kind::KILL, 0, |out| out.u32(id.0)),
            Request::Detach(id) => wire::frame(out, kind::DETACH, 0, |out| out.u32(id.0)),
        }
    }

    /// Reads it from a frame.
    ///
    /// ```
    /// use netrunner_core::message::{CommandId, Request};
    /// use netrunner_core::wire::{Inbox, MAX_REQUEST, WireError};
    ///
    /// // There is no signal of this number.
    /// let mut bytes = Vec::new();
    /// Request::Signal(CommandId(1), 65).encode(&mut bytes);
    /// let mut inbox = Inbox::new(MAX_REQUEST);
    /// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
    /// inbox.filled(bytes.len());
    /// let frame = inbox.next_frame()?.expect("it is whole");
    /// assert_eq!(Request::decode(frame), Err(WireError::Malformed));
    /// # Ok::<(), WireError>(())
    /// ```
    pub fn decode(frame: Frame<'a>) -> Result<Request<'a>, WireError> {
        let request = Reader::whole(frame.payload, |from| match frame.kind {
            kind::SPAWN => Spawn::decode(from).map(Request::Spawn),
            kind::SIGNAL => Ok(Request::Signal(CommandId(from.u32()?), signal(from)?)),
            kind::STOP => {
                let (id, reason) = (CommandId(from.u32()?), Reason::decode(from)?);
                // A command that we stop has not ended by itself.
                let is_cause = reason != Reason::Exited;
                if is_cause { Ok(Request::Stop(id, reason)) } else { Err(WireError::Malformed) }
            }
            kind::KILL => Ok(Request::Kill(CommandId(from.u32()?))),
            kind::DETACH => Ok(Request::Detach(CommandId(from.u32()?))),
            other => Err(WireError::UnknownKind(other)),
        })?;
        expect(&frame, request.descriptors())?;
        Ok(request)
    }
}

impl Event {
    /// How many descriptors may travel with it: a pidfd, where the kernel has such.
    ///
    /// ```
    /// use netrunner_core::message::{CommandId, Event, Pid};
    /// assert_eq!(Event::Hello(Pid(100)).descriptors(), 1);
    /// assert_eq!(Event::Detached(CommandId(1)).descriptors(), 0);
    /// ```
    pub fn descriptors(&self) -> usize {
        match self {
            Event::Hello(_) | Event::Handle(_) => 1,
            Event::Spawned(..)
            | Event::SpawnFailed(_)
            | Event::Exited(_)
            | Event::Detached(_)
            | Event::Stopped(..)
            | Event::Continued(_) => 0,
        }
    }

    /// Appends its frame to `out`, with as many descriptors to come as may travel with it.
    ///
    /// ```
    /// use netrunner_core::message::{Event, Pid};
    /// use netrunner_core::wire::VERSION;
    ///
    /// let mut bytes = Vec::new();
    /// Event::Hello(Pid(100)).encode(&mut bytes);
    /// assert_eq!(bytes[0], VERSION);
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(self.descriptors(), out);
    }

    /// Appends its frame to `out`, with no descriptor to come.
    ///
    /// ```
    /// use netrunner_core::message::{Event, Pid};
    /// use netrunner_core::wire::{Inbox, MAX_EVENT};
    ///
    /// // From a kernel without pidfds.
    /// let mut bytes = Vec::new();
    /// Event::Hello(Pid(100)).encode_bare(&mut bytes);
    /// let mut inbox = Inbox::new(MAX_EVENT);
    /// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
    /// inbox.filled(bytes.len());
    /// let frame = inbox.next_frame()?.expect("it is whole");
    /// assert_eq!(frame.descriptors, 0);
    /// # Ok::<(), netrunner_core::wire::WireError>(())
    /// ```
    pub fn encode_bare(&self, out: &mut Vec<u8>) {
        self.encode_with(0, out);
    }

    fn encode_with(&self, descriptors: usize, out: &mut Vec<u8>) {
        match self {
            Event::Hello(pid) => wire::frame(out, kind::HELLO, descriptors, |out| out.u32(pid.0)),
            Event::Spawned(id, pid) => wire::frame(out, kind::SPAWNED, descriptors, |out| {
                out.u32(id.0);
                out.u32(pid.0);
            }),
            Event::Handle(id) => wire::frame(out, kind::HANDLE, descriptors, |out| out.u32(id.0)),
            Event::SpawnFailed(failed) => {
                wire::frame(out, kind::SPAWN_FAILED, descriptors, |out| failed.encode(out));
            }
            Event::Exited(exited) => {
                wire::frame(out, kind::EXITED, descriptors, |out| exited.encode(out));
            }
            Event::Detached(id) => {
                wire::frame(out, kind::DETACHED, descriptors, |out| out.u32(id.0));
            }
            Event::Stopped(id, signal) => wire::frame(out, kind::STOPPED, descriptors, |out| {
                out.u32(id.0);
                out.u8(*signal);
            }),
            Event::Continued(id) => {
                wire::frame(out, kind::CONTINUED, descriptors, |out| out.u32(id.0));
            }
        }
    }

    /// Reads it from a frame.
    ///
    /// ```
    /// use netrunner_core::message::{CommandId, Event};
    /// use netrunner_core::wire::{Inbox, MAX_EVENT};
    ///
    /// let mut bytes = Vec::new();
    /// Event::Stopped(CommandId(1), 19).encode(&mut bytes);
    /// let mut inbox = Inbox::new(MAX_EVENT);
    /// inbox.room()[..bytes.len()].copy_from_slice(&bytes);
    /// inbox.filled(bytes.len());
    /// let frame = inbox.next_frame()?.expect("it is whole");
    /// assert_eq!(Event::decode(frame)?, Event::Stopped(CommandId(1), 19));
    /// # Ok::<(), netrunner_core::wire::WireError>(())
    /// ```
    pub fn decode(frame: Frame<'_>) -> Result<Event, WireError> {
        let event = Reader::whole(frame.payload, |from| match frame.kind {
            kind::HELLO => Ok(Event::Hello(Pid::decode(from)?)),
            kind::SPAWNED => Ok(Event::Spawned(CommandId(from.u32()?), Pid::decode(from)?)),
            kind::SPAWN_FAILED => SpawnFailed::decode(from).map(Event::SpawnFailed),
            kind::EXITED => Exited::decode(from).map(Event::Exited),
            kind::HANDLE => Ok(Event::Handle(CommandId(from.u32()?))),
            kind::DETACHED => Ok(Event::Detached(CommandId(from.u32()?))),
            kind::STOPPED => Ok(Event::Stopped(CommandId(from.u32()?), signal(from)?)),
            kind::CONTINUED => Ok(Event::Continued(CommandId(from.u32()?))),
            other => Err(WireError::UnknownKind(other)),
        })?;
        if usize::from(frame.descriptors) > event.descriptors() {
            return Err(WireError::Descriptors);
        }
        Ok(event)
    }
}

impl Pid {
    /// No process has the number 0 or one beyond `i32`: a receiver that passed it to `kill(2)`
    /// would hit a group, or everything.
    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Pid, WireError> {
        match from.u32()? {
            pid @ 1..=0x7fff_ffff => Ok(Pid(pid)),
            _ => Err(WireError::Malformed),
        }
    }
}

impl Reason {
    pub(crate) fn encode(self, out: &mut Writer<'_>) {
        let at = REASONS.iter().position(|&reason| reason == self).expect("every reason is listed");
        out.u8(at as u8);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Reason, WireError> {
        REASONS.get(usize::from(from.u8()?)).copied().ok_or(WireError::Malformed)
    }
}
