//! The client's ear on a lane: bytes and descriptors in, events out, each held to what may come now and
//! from whom. It never waits by itself.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Weak;

use netrunner_core::client::{Conversation, Heard};
use netrunner_core::message::{Event, Pid};
use netrunner_core::wire::{Inbox, MAX_EVENT, WireError};
use rustix::io::Errno;

use crate::kin::{self, Kin};
use crate::lane::above_stdio;
use crate::receive;

/// What an ear has heard of the lane itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    /// Something arrived.
    Bytes,
    /// Nothing has arrived so far.
    Silence,
    /// The shepherd has closed its end, after it had read all that was sent.
    Closed,
    /// The shepherd has closed its end with something unread.
    ///
    /// Linux gives ECONNRESET exactly then (`unix_release_sock`, net/unix/af_unix.c). As long as a
    /// request to spawn was all that was sent, it was not read to its end, and nothing ran.
    Reset,
}

/// More than the events of one read can announce; the rest is hostile, and closed.
pub(crate) const MOST_DESCRIPTORS: usize = 4;

/// Whether to wait for the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocking {
    Yes,
    No,
}

/// The reading half of a lane to a shepherd. One thread at a time reads.
///
/// A pidfd that arrives is one that will be killed some day, so it is not taken on trust (P10): the
/// one of the hello must be that of the process which said it, and the one of a child must be that
/// of a child of it.
pub(crate) struct Ear {
    inbox: Inbox,
    conversation: Conversation,
    descriptors: VecDeque<OwnedFd>,
    /// Who has sent what was received last, by the kernel's word.
    sender: Option<u32>,
    /// Who has said hello.
    shepherd: Option<Pid>,
    /// Whom it has started last, by its own word.
    child: Option<Pid>,
    /// The manager of its terminal, if it has one of its own.
    terminal: Weak<OwnedFd>,
    /// This process had no room for a descriptor: one that is missing is no fault of the sender.
    had_no_room: bool,
}

/// What the shepherd sent makes no sense; the text says why.
#[derive(Debug)]
pub(crate) struct Nonsense(pub(crate) String);

impl<T: fmt::Display> From<T> for Nonsense {
    fn from(why: T) -> Nonsense {
        Nonsense(why.to_string())
    }
}

impl Ear {
    pub(crate) fn new() -> Ear {
        Ear {
            inbox: Inbox::new(MAX_EVENT),
            conversation: Conversation::new(),
            descriptors: VecDeque::new(),
            sender: None,
            shepherd: None,
            child: None,
            terminal: Weak::new(),
            had_no_room: false,
        }
    }

    /// Says what terminal the next command has for its own.
    pub(crate) fn expect_terminal(&mut self, manager: Weak<OwnedFd>) {
        self.terminal = manager;
    }

    pub(crate) fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Receives once. [`Ear::next`] has to be asked until it has nothing more before the next time,
    /// which is what bounds the memory of both.
    pub(crate) fn receive(&mut self, socket: &OwnedFd, blocking: Blocking) -> io::Result<Sound> {
        let received = match receive::once(socket, self.inbox.room(), blocking) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Sound::Silence),
            Err(Errno::CONNRESET) => return Ok(Sound::Reset),
            Err(errno) => return Err(errno.into()),
        };
        self.had_no_room |= received.cut_short;
        // A client without room for descriptors gets the message without them, and does without: each is a
        // second way to do something, never the only one.
        for fd in received.descriptors {
            match above_stdio(fd) {
                Ok(fd) => self.descriptors.push_back(fd),
                Err(_) => self.had_no_room = true,
            }
        }
        self.descriptors.truncate(MOST_DESCRIPTORS);
        if received.sender.is_some() {
            self.sender = received.sender;
        }
        if received.bytes == 0 {
            return Ok(Sound::Closed);
        }
        self.inbox.filled(received.bytes);
        Ok(Sound::Bytes)
    }

    /// The next event that has arrived as a whole, what it means, and its descriptor.
    pub(crate) fn next(&mut self) -> Result<Option<(Heard, Option<OwnedFd>)>, Nonsense> {
        let Some(frame) = self.inbox.next_frame()? else {
            // They travel with the first byte of their frame, so these belong to none.
            let astray = self.inbox.is_empty() && !self.descriptors.is_empty();
            return if astray { Err(WireError::Descriptors.into()) } else { Ok(None) };
        };
        let announced = frame.descriptors > 0;
        let event = Event::decode(frame)?;
        let descriptor = if announced { self.descriptors.pop_front() } else { None };
        if announced && descriptor.is_none() && !self.had_no_room {
            return Err(WireError::Descriptors.into());
        }
        let heard = self.conversation.handle_event(event)?;
        let descriptor = match &heard {
            Heard::Hello(pid) => {
                self.shepherd = Some(*pid);
                self.own(*pid, descriptor)?
            }
            Heard::Started(pid) => {
                self.child = Some(*pid);
                None
            }
            Heard::Runs => descriptor.map(|pidfd| self.childs(pidfd)).transpose()?.flatten(),
            Heard::Failed(_) | Heard::Ended(_) | Heard::Detached => {
                self.child = None;
                None
            }
            Heard::Stopped(_) | Heard::Continued => None,
        };
        Ok(Some((heard, descriptor)))
    }

    /// The pidfd of a hello, if it is the sender's. One whose process has ended can hurt nobody.
    fn own(&self, pid: Pid, pidfd: Option<OwnedFd>) -> Result<Option<OwnedFd>, Nonsense> {
        let itself = match pidfd.as_ref().map(kin::of) {
            _ if !receive::is_from(self.sender, pid.0) => false,
            Some(Kin::Is { pid: found, .. }) => found == pid.0,
            Some(Kin::NoProcess) => false,
            Some(Kin::Ended) | None => true,
            Some(Kin::Unknown) => return Ok(None),
        };
        let lie = || Nonsense("it passed another process for itself".to_owned());
        if itself { Ok(pidfd) } else { Err(lie()) }
    }

    /// The pidfd of the child, if it is that. Of one that was reaped, the group may be another's by now.
    ///
    /// It may be read long after it was sent, when the shepherd has died and the child has another
    /// parent: then the session tells, unless the shepherd shared that of the client. That of a command
    /// with a terminal of its own is the one on this terminal.
    ///
    /// The number that came with the start is only told, so nothing is looked up for it before this
    /// comes: most commands are over by then.
    fn childs(&self, pidfd: OwnedFd) -> Result<Option<OwnedFd>, Nonsense> {
        let lie = || Nonsense("it passed a process that is not its child".to_owned());
        let shepherd = self.shepherd.ok_or_else(lie)?.0;
        match kin::of(&pidfd) {
            Kin::Is { pid, .. } if self.child.is_some_and(|child| child.0 != pid) => Err(lie()),
            Kin::Is { parent, .. } if parent == shepherd => Ok(Some(pidfd)),
            Kin::Is { pid, .. } if kin::session_of(&pidfd, pid) == Some(shepherd) => {
                Ok(Some(pidfd))
            }
            Kin::Is { pid, .. } if self.leads_on_terminal(&pidfd, pid) => Ok(Some(pidfd)),
            Kin::Is { .. } if kin::has_ended(shepherd) => Ok(None),
            Kin::Is { .. } | Kin::NoProcess => Err(lie()),
            Kin::Ended | Kin::Unknown => Ok(None),
        }
    }

    /// Whether the process behind a pidfd, which has this number, leads the session on the command's own
    /// terminal: nobody but the command was given that.
    fn leads_on_terminal(&self, pidfd: &OwnedFd, pid: u32) -> bool {
        let Some(manager) = self.terminal.upgrade() else { return false };
        let session = kin::session_of(pidfd, pid);
        session == Some(pid) && crate::sys::session_on(manager.as_fd()) == session
    }
}

#[cfg(all(test, not(netrunner_portable)))]
mod tests {
    use super::*;
    use crate::lane::{is_above_stdio, pair, send};
    use netrunner_core::client::OutOfTurn;
    use netrunner_core::message::CommandId;
    use netrunner_core::spawn::Notify;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::sync::Arc;

    fn encoded(event: &Event) -> Vec<u8> {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        bytes
    }

    /// This process is the shepherd of these tests.
    fn me() -> Pid {
        Pid(std::process::id())
    }

    fn pidfd(pid: u32) -> OwnedFd {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    fn hello() -> Vec<u8> {
        encoded(&Event::Hello(me()))
    }

    /// What an ear makes of one event with these descriptors; after a good hello, if it is to be.
    fn heard(
        greeted: bool,
        event: &Event,
        descriptors: &[&OwnedFd],
    ) -> Result<(Heard, Option<OwnedFd>), Nonsense> {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        ear.conversation().begin(CommandId(1), Notify::Start).unwrap();
        if greeted {
            send(&theirs, &hello(), &[pidfd(me().0).as_fd()]).unwrap();
            ear.receive(&ours, Blocking::Yes).unwrap();
            ear.next().unwrap().unwrap();
        }
        let descriptors: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        send(&theirs, &encoded(event), &descriptors).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        let heard = ear.next()?.unwrap();
        assert!(ear.next()?.is_none());
        Ok(heard)
    }

    #[test]
    fn a_descriptor_comes_with_its_event_however_it_is_cut() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        let bytes = hello();
        send(&theirs, &bytes[..3], &[pidfd(me().0).as_fd()]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        assert!(ear.next().unwrap().is_none());
        assert_eq!(ear.receive(&ours, Blocking::No).unwrap(), Sound::Silence);
        send(&theirs, &bytes[3..], &[]).unwrap();
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
        let (heard, fd) = ear.next().unwrap().unwrap();
        assert_eq!(heard, Heard::Hello(me()));
        assert!(is_above_stdio(&fd.unwrap()));
    }

    #[test]
    fn an_event_without_its_descriptor_takes_none_of_another() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        ear.conversation().begin(CommandId(1), Notify::End).unwrap();
        let mut bare = Vec::new();
        Event::Hello(me()).encode_bare(&mut bare);
        send(&theirs, &bare, &[]).unwrap();
        let handle = encoded(&Event::Handle(CommandId(1)));
        send(&theirs, &handle, &[pidfd(child.id()).as_fd()]).unwrap();
        // Both have arrived before the first is looked at.
        while ear.receive(&ours, Blocking::No).unwrap() == Sound::Bytes {}
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Hello(me()), false));
        let (heard, descriptor) = ear.next().unwrap().unwrap();
        assert_eq!((heard, descriptor.is_some()), (Heard::Runs, true));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn without_its_shepherd_the_leader_on_the_commands_own_terminal_is_known() {
        let mut command = crate::Command::new("sleep");
        command.arg("1000").pty(crate::WinSize::new(24, 80));
        let (mut child, mut stranger) = (command.spawn().unwrap(), command.spawn().unwrap());
        let manager = Arc::new(OwnedFd::from(child.pty.take().unwrap()));
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let mut ear = Ear::new();
        ear.shepherd = Some(Pid(ended.id()));
        let takes = |ear: &Ear, pid| ear.childs(pidfd(pid)).unwrap().is_some();
        assert!(!takes(&ear, child.id()), "it could be anybody");
        ear.expect_terminal(Arc::downgrade(&manager));
        assert!(takes(&ear, child.id()) && !takes(&ear, stranger.id()));
        ear.expect_terminal(Weak::new());
        assert!(!takes(&ear, child.id()), "of another command");
        child.kill().unwrap();
        stranger.kill().unwrap();
    }

    #[test]
    fn where_there_are_no_pidfds_a_hello_is_still_the_senders() {
        for (pid, welcome) in [(me().0, true), (1, false)] {
            let (ours, theirs) = pair().unwrap();
            let mut ear = Ear::new();
            let mut bytes = Vec::new();
            Event::Hello(Pid(pid)).encode_bare(&mut bytes);
            send(&theirs, &bytes, &[]).unwrap();
            assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
            assert_eq!(ear.next().is_ok(), welcome, "{pid}");
        }
    }

    #[test]
    fn only_the_senders_own_pidfd_is_taken_with_a_hello() {
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let theirs = pidfd(stranger.id());
        let own = pidfd(me().0);
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        assert!(heard(false, &Event::Hello(me()), &[&own]).unwrap().1.is_some());
        for (pid, fds) in [
            (me().0, &[&theirs][..]),
            (stranger.id(), &[&theirs]),
            (stranger.id(), &[&own]),
            (me().0, &[&file]),
            (me().0, &[]),
            (me().0, &[&own, &own]),
            (me().0, &[&own; 9]),
        ] {
            assert!(heard(false, &Event::Hello(Pid(pid)), fds).is_err(), "{pid} with {fds:?}");
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        // One that has ended may have been the shepherd, and is nobody now.
        assert!(heard(false, &Event::Hello(me()), &[&theirs]).unwrap().1.is_some());
    }

    /// What an ear makes of the pidfd of a child, of whose start it has heard or not.
    fn handed(
        shepherd: u32,
        started: Option<u32>,
        pidfds: &[&OwnedFd],
    ) -> Result<Option<OwnedFd>, Nonsense> {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        let notify = if started.is_some() { Notify::Start } else { Notify::End };
        ear.conversation().begin(CommandId(1), notify).unwrap();
        send(&theirs, &hello(), &[pidfd(me().0).as_fd()]).unwrap();
        ear.receive(&ours, Blocking::Yes).unwrap();
        ear.next().unwrap().unwrap();
        ear.shepherd = Some(Pid(shepherd));
        let started = started.map(|pid| encoded(&Event::Spawned(CommandId(1), Pid(pid))));
        if let Some(started) = started {
            send(&theirs, &started, &[]).unwrap();
            ear.receive(&ours, Blocking::Yes).unwrap();
            ear.next().unwrap().unwrap();
        }
        let descriptors: Vec<_> = pidfds.iter().map(|fd| fd.as_fd()).collect();
        send(&theirs, &encoded(&Event::Handle(CommandId(1))), &descriptors).unwrap();
        ear.receive(&ours, Blocking::Yes).unwrap();
        let (heard, pidfd) = ear.next()?.unwrap();
        assert_eq!(heard, Heard::Runs);
        assert!(ear.next()?.is_none());
        Ok(pidfd)
    }

    #[test]
    fn only_the_pidfd_of_a_child_of_the_shepherd_is_taken_for_a_childs() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, childs, init) = (pidfd(me().0), pidfd(child.id()), pidfd(1));
        let is_taken = |started, pidfds: &[&OwnedFd]| {
            handed(me().0, started, pidfds).map(|pidfd| pidfd.is_some())
        };
        assert!(is_taken(Some(child.id()), &[&childs]).unwrap());
        assert!(is_taken(None, &[&childs]).unwrap());
        for (started, pidfds) in [
            (Some(child.id()), &[&own][..]),
            (Some(me().0), &[&own]),
            (Some(me().0), &[&childs]),
            (Some(1), &[&init]),
            (None, &[&init]),
            (None, &[]),
            (None, &[&childs, &init]),
        ] {
            assert!(is_taken(started, pidfds).is_err(), "{started:?} with {pidfds:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Its group may be another's by now.
        assert!(!is_taken(None, &[&childs]).unwrap());
    }

    #[test]
    fn the_child_of_a_dead_shepherd_is_known_by_its_session() {
        // A session, the leader of which has ended, with one process that has another parent by now.
        let script = "setsid sh -c 'sleep 60 >/dev/null 2>&1 & echo $$ $!'";
        let made = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
        let text = String::from_utf8(made.stdout).unwrap();
        let numbers: Vec<u32> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [dead, orphan] = numbers[..] else { panic!("{text}") };
        let orphans = pidfd(orphan);
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(handed(dead, Some(orphan), &[&orphans]).unwrap().is_some());
        // Nobody's fault, if it was in the client's session; nothing to be used.
        assert!(handed(dead, None, &[&pidfd(stranger.id())]).unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        rustix::process::pidfd_send_signal(&orphans, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn a_descriptor_with_an_event_that_has_none_is_nonsense() {
        let own = pidfd(me().0);
        let detached = Event::Detached(CommandId(1));
        assert_eq!(heard(true, &detached, &[&own]).unwrap_err().0, OutOfTurn.to_string());
        let failed = netrunner_core::message::SpawnFailed {
            id: CommandId(1),
            step: netrunner_core::message::Step::Exec,
            errno: 2,
            object: Vec::new(),
        };
        let failed = Event::SpawnFailed(failed);
        assert!(heard(true, &failed, &[]).is_ok());
        let why = WireError::Descriptors.to_string();
        assert_eq!(heard(true, &failed, &[&own]).unwrap_err().0, why);
    }

    #[test]
    fn an_unread_request_is_told_from_a_read_one() {
        let (ours, theirs) = pair().unwrap();
        let mut ear = Ear::new();
        send(&ours, b"request", &[]).unwrap();
        drop(theirs);
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Reset);

        let (ours, theirs) = pair().unwrap();
        send(&ours, b"request", &[]).unwrap();
        rustix::io::read(&theirs, &mut [0; 16]).unwrap();
        drop(theirs);
        assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Closed);
        assert!(send(&ours, b"more", &[]).is_err());
    }

    #[test]
    fn nonsense_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        for bytes in [&b"\xff\xff\xff\xff\xff\xff\xff\xff"[..], &hello()[..8]] {
            let mut ear = Ear::new();
            let mut bytes = bytes.to_vec();
            bytes.extend([0; 64]);
            send(&theirs, &bytes, &[]).unwrap();
            assert_eq!(ear.receive(&ours, Blocking::Yes).unwrap(), Sound::Bytes);
            assert!(ear.next().is_err());
        }
    }
}
