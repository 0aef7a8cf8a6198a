//! Any bytes at all as a client's behaviour on a real lane: requests good, cut, damaged and invented, with
//! descriptors that are wrong in number or kind, closed halves, or the lane itself. The fuzzer's target
//! `lane` is this file (`fuzz/`); the suite replays and damages its corpus.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use netrunner_core::message::{CommandId, Event, Reason, Request};
use netrunner_core::spawn::{
    Environment, Leftovers, Notify, Place, Placement, Placements, Setups, Source, Spawn,
    StringsBuf, Terms,
};
use netrunner_core::wire::{Inbox, MAX_REQUEST, VERSION};
use rustix::event::PollFlags;
use rustix::net::Shutdown;
use rustix::process::Signal;

use crate::lane::{Heard, Lane, pidfd};
use crate::sys;
use crate::wait::{PATIENCE, reached_within};

/// So many steps at most, or one input would take seconds.
const MOST: usize = 12;

/// What is ever executed: it ends by itself, whatever becomes of its requests.
const PROGRAM: &CStr = c"/bin/sleep";
const ARGUMENTS: [&[u8]; 2] = [b"sleep", b"0.02"];

/// How a shepherd has ended that such a client was served by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// By itself, and so with nothing left below it.
    Cleanly,
    /// The same as far as it could be seen: the kernel tells nobody but its origin more (before Linux 6.15).
    SomeWay,
    /// It held its own lane, so it could not know that it was to end, and was killed.
    Killed,
}

/// Asks the guardian for a shepherd, behaves to it as `data` says, lets go of it, and waits for its end.
///
/// Panics if it says what is no event, stays, or ends by a signal or a bug of its own.
pub fn behave(guardian: &Lane, data: &[u8]) -> Served {
    let mut lane = guardian.bear().expect("order a shepherd");
    let hello = lane.next_event(PATIENCE);
    assert!(matches!(hello, Heard::Said(Event::Hello(_))), "{hello:?}");
    let shepherd = lane.descriptors.pop().expect("a pidfd");
    let mut client = Client { lane: &mut lane, bytes: data, holds_itself: false };
    for _ in 0..MOST {
        if client.bytes.is_empty() {
            break;
        }
        client.step();
    }
    let killed = client.holds_itself;
    drop(lane);
    if killed {
        // ESRCH: it has ended all the same.
        let _ = rustix::process::pidfd_send_signal(&shepherd, Signal::KILL);
    }
    let end = Lane::over(shepherd);
    assert!(end.wait(PollFlags::IN, crate::wait::scaled(PATIENCE)), "the shepherd stays");
    if killed {
        return Served::Killed;
    }
    let mut status = None;
    // The kernel tells it once its guardian has reaped it.
    reached_within(Duration::from_secs(1), || {
        status = sys::exit_status(end.fd());
        status.is_some()
    });
    match status {
        Some(0) => Served::Cleanly,
        Some(status) => panic!("the shepherd ended with the status {status:#x}"),
        None => Served::SomeWay,
    }
}

struct Client<'a> {
    lane: &'a mut Lane,
    bytes: &'a [u8],
    /// The lane was sent down itself.
    holds_itself: bool,
}

impl Client<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        byte
    }

    fn number(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// Up to so many of the bytes that are left.
    fn some(&mut self, most: u8) -> Vec<u8> {
        let length = usize::from(self.number(most)).min(self.bytes.len());
        let (some, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        some.to_vec()
    }

    fn step(&mut self) {
        match self.number(8) {
            0 | 1 => self.spawn(|_, bytes| bytes),
            2 => {
                let bytes = encoded(&self.request());
                let passed = self.descriptors(2);
                self.send(&bytes, &passed);
            }
            3 => {
                let (kind, announced) = (self.byte(), self.number(4));
                let payload = self.some(64);
                let mut bytes = vec![VERSION, kind, announced, 0];
                bytes.extend((payload.len() as u32).to_le_bytes());
                bytes.extend(payload);
                let passed = self.descriptors(4);
                self.send(&bytes, &passed);
            }
            4 => {
                let bytes = self.some(32);
                self.send(&bytes, &[]);
            }
            5 => self.spawn(|client, mut bytes| {
                let (at, byte) = (usize::from(client.byte()) % bytes.len(), client.byte());
                match client.number(2) {
                    0 => bytes.truncate(at),
                    _ => bytes[at] = byte,
                }
                bytes
            }),
            6 => {
                let which = [Shutdown::Read, Shutdown::Write][usize::from(self.number(2))];
                self.lane.half_close(which);
            }
            _ => {
                let limit = Duration::from_millis(self.number(30).into());
                if let Heard::Nonsense(error) = self.lane.next_event(limit) {
                    panic!("the shepherd says what is no event: {error}");
                }
                self.lane.descriptors.clear();
            }
        }
    }

    /// About a command that may or may not be there.
    fn request(&mut self) -> Request<'static> {
        let id = CommandId(self.number(4).into());
        match self.number(4) {
            0 => Request::Kill(id),
            1 => Request::Stop(id, [Reason::Stopped, Reason::Timeout][usize::from(self.number(2))]),
            2 => Request::Signal(id, 1 + self.number(64)),
            _ => Request::Detach(id),
        }
    }

    fn spawn(&mut self, change: impl FnOnce(&mut Self, Vec<u8>) -> Vec<u8>) {
        let mut placements = Vec::new();
        let passed = self.descriptors(4);
        let placed = usize::from(self.number(4));
        for _ in 0..placed {
            let place = Place::Number(self.number(8).into());
            let source = [Source::Passed, Source::Null][usize::from(self.number(2))];
            placements.push(Placement { place, source });
        }
        let mut arguments = StringsBuf::new();
        ARGUMENTS.iter().for_each(|argument| arguments.push(&[argument]));
        let environment = StringsBuf::new();
        let milliseconds = |number: u8| Duration::from_millis(number.into());
        let spawn = Spawn {
            id: CommandId(self.number(4).into()),
            notify: [Notify::Start, Notify::End][usize::from(self.number(2))],
            terms: Terms {
                timeout: [None, Some(milliseconds(self.number(60)))][usize::from(self.number(2))],
                grace: milliseconds(self.number(60)),
                stop_signal: 1 + self.number(64),
                leftover_signal: None,
                leftovers: [Leftovers::Stop, Leftovers::Wait, Leftovers::Keep]
                    [usize::from(self.number(3))],
            },
            terminal: None,
            program: PROGRAM,
            directory: None,
            arguments: arguments.as_strings(),
            environment: match self.number(4) {
                0 => Environment::Unchanged,
                _ => Environment::Listed(environment.as_strings()),
            },
            descriptors: Placements::Listed(&placements),
            setup: Setups::Listed(&[]),
            cgroup: None,
            namespace: None,
        };
        let good = encoded(&Request::Spawn(spawn));
        let bytes = change(self, good);
        if is_harmless(&bytes) {
            self.send(&bytes, &passed);
        }
    }

    /// It may have had enough by now.
    fn send(&mut self, bytes: &[u8], passed: &[OwnedFd]) {
        let passed: Vec<BorrowedFd<'_>> = passed.iter().map(|fd| fd.as_fd()).collect();
        let _ = self.lane.send(bytes, &passed);
    }

    fn descriptors(&mut self, most: u8) -> Vec<OwnedFd> {
        (0..self.number(most)).map(|_| self.descriptor()).collect()
    }

    fn descriptor(&mut self) -> OwnedFd {
        match self.number(6) {
            0 => File::open("/dev/null").expect("open").into(),
            1 => rustix::pipe::pipe().expect("a pipe").0,
            2 => rustix::pipe::pipe().expect("a pipe").1,
            3 => File::open("/").expect("open").into(),
            4 => pidfd(std::process::id()),
            _ => {
                self.holds_itself = true;
                self.lane.fd().try_clone_to_owned().expect("dup")
            }
        }
    }
}

/// Whether this executes, if anything, what ends soon and does no harm.
fn is_harmless(bytes: &[u8]) -> bool {
    let mut inbox = Inbox::new(MAX_REQUEST);
    for piece in bytes.chunks(512) {
        inbox.room()[..piece.len()].copy_from_slice(piece);
        inbox.filled(piece.len());
    }
    let Ok(Some(frame)) = inbox.next_frame() else { return true };
    let Ok(Request::Spawn(spawn)) = Request::decode(frame) else { return true };
    let is_ours = spawn.arguments.iter().map(CStr::to_bytes).eq(ARGUMENTS);
    let is_plain = spawn.setup.iter().next().is_none() && spawn.cgroup.is_none();
    let is_short = spawn.terms.grace < Duration::from_secs(1) && spawn.terminal.is_none();
    spawn.program == PROGRAM && is_ours && is_plain && is_short
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}
