//! What client, guardian and shepherd can say to each other.
//!
//! A [`Request`] is imperative and goes from the client to a shepherd, an [`Event`] is past tense
//! and comes back, an [`Order`] goes from the client to its guardian. Every message about a command
//! carries its [`CommandId`]: a shepherd serves one command after the other, and a `Kill` that was
//! on its way when the first ended must not hit the second.

use alloc::vec::Vec;

pub use crate::ending::{End, Exited, Fate, MAX_NAMED, Process, SpawnFailed, Step, Usage};
use crate::spawn::Spawn;
use crate::wire::{self, Frame, Reader, WireError, Writer};

/// The client's number for one command; a lane never sees the same one twice in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub u32);

/// A process number as the shepherd sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(pub u32);

/// From the client to its guardian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Become the guardian of the client whose pidfd comes with this; on a kernel without pidfds one
    /// end of a socket, the other end of which the client keeps for as long as it needs a guardian.
    Guard,
    /// Fork a shepherd that serves the lane whose far end comes with this.
    Bear(Session),
    /// The client lives on and will ask for nothing more: its running commands are no reason to act. It
    /// keeps the lane open beside them, for the end of the lane is the client's.
    Retire,
    /// `SIGKILL` this shepherd, which does not react, and of which the client has no pidfd.
    Kill(Pid),
    /// Commands get cgroups below the directory that comes with this. What nobody lives for there any
    /// more, when the last shepherd has ended, is the guardian's to end.
    Groups,
    /// Tokens of a make jobserver are on loan to the client. With this come one end of a socket, the
    /// reading end of the pipe in which the tokens are while they are at work, and the writing end of
    /// make's. For each byte that comes down the socket the guardian gives one back and answers with a
    /// byte. When the client is gone and nothing of its commands is left, it gives all of them back.
    Loan,
}

/// The session that a new shepherd lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Session {
    /// One of its own, without a terminal.
    Own,
    /// The client's, for commands that use its terminal.
    Client,
}

/// From the client to a shepherd.
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
mod kind {
    //! The kinds of frames. Numbers are never reused.
    pub(super) const SPAWN: u8 = 1;
    pub(super) const SIGNAL: u8 = 2;
    pub(super) const STOP: u8 = 3;
    pub(super) const KILL: u8 = 4;
    pub(super) const DETACH: u8 = 5;
    pub(super) const GUARD: u8 = 32;
    pub(super) const BEAR: u8 = 33;
    pub(super) const RETIRE: u8 = 34;
    pub(super) const KILL_SHEPHERD: u8 = 35;
    pub(super) const GROUPS: u8 = 36;
    pub(super) const LOAN: u8 = 37;
    pub(super) const HELLO: u8 = 64;
    pub(super) const SPAWNED: u8 = 65;
    pub(super) const SPAWN_FAILED: u8 = 66;
    pub(super) const EXITED: u8 = 67;
    pub(super) const DETACHED: u8 = 68;
    pub(super) const HANDLE: u8 = 69;
    pub(super) const STOPPED: u8 = 70;
    pub(super) const CONTINUED: u8 = 71;
}

/// Holds a frame to the number of descriptors that its message needs.
fn expect(frame: &Frame<'_>, descriptors: usize) -> Result<(), WireError> {
    if usize::from(frame.descriptors) == descriptors { Ok(()) } else { Err(WireError::Descriptors) }
}

/// The number of a signal.
fn signal(from: &mut Reader<'_>) -> Result<u8, WireError> {
    match from.u8()? {
        signal @ 1..=64 => Ok(signal),
        _ => Err(WireError::Malformed),
    }
}

impl Order {
    /// How many descriptors travel with it.
    pub fn descriptors(&self) -> usize {
        match self {
            Order::Guard | Order::Bear(_) | Order::Groups => 1,
            Order::Loan => 3,
            Order::Retire | Order::Kill(_) => 0,
        }
    }

    /// Appends its frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Order::Guard => wire::frame(out, kind::GUARD, 1, |_| ()),
            Order::Bear(session) => wire::frame(out, kind::BEAR, 1, |out| {
                out.u8(match session {
                    Session::Own => 0,
                    Session::Client => 1,
                });
            }),
            Order::Retire => wire::frame(out, kind::RETIRE, 0, |_| ()),
            Order::Kill(pid) => wire::frame(out, kind::KILL_SHEPHERD, 0, |out| out.u32(pid.0)),
            Order::Groups => wire::frame(out, kind::GROUPS, 1, |_| ()),
            Order::Loan => wire::frame(out, kind::LOAN, 3, |_| ()),
        }
    }

    /// Reads it from a frame.
    pub fn decode(frame: Frame<'_>) -> Result<Order, WireError> {
        let order = Reader::whole(frame.payload, |from| match frame.kind {
            kind::GUARD => Ok(Order::Guard),
            kind::BEAR => match from.u8()? {
                0 => Ok(Order::Bear(Session::Own)),
                1 => Ok(Order::Bear(Session::Client)),
                _ => Err(WireError::Malformed),
            },
            kind::RETIRE => Ok(Order::Retire),
            kind::KILL_SHEPHERD => Ok(Order::Kill(Pid::decode(from)?)),
            kind::GROUPS => Ok(Order::Groups),
            kind::LOAN => Ok(Order::Loan),
            other => Err(WireError::UnknownKind(other)),
        })?;
        expect(&frame, order.descriptors())?;
        Ok(order)
    }
}

impl<'a> Request<'a> {
    /// How many descriptors travel with it.
    pub fn descriptors(&self) -> usize {
        match self {
            Request::Spawn(spawn) => spawn.descriptors.passed(),
            Request::Signal(..) | Request::Stop(..) | Request::Kill(_) | Request::Detach(_) => 0,
        }
    }

    /// Appends its frame to `out`.
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
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(self.descriptors(), out);
    }

    /// Appends its frame to `out`, with no descriptor to come.
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
