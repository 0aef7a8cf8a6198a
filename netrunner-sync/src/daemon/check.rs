//! Looks whether a run of a daemon is ready. It never waits: what takes time is waited for with everything
//! else, or looked at again after a pause.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::AddressFamily;

use super::attempt::Attempt;
use super::readiness::{Ready, Sign};
use super::sources::{Sources, What};
use super::supervisor::Id;
use crate::jobs::LineCutter;
use crate::lane::above_stdio;
use crate::mover::Stream;
use crate::poll::{Interest, Key};
use crate::running::{Progress, earliest};
use crate::time::deadline_in;

/// The looks at one run.
pub(super) struct Check {
    deadline: Option<Instant>,
    /// When to look again; nothing while something is awaited.
    next: Option<Instant>,
    pause: Duration,
    /// The beginnings of lines.
    cutters: [LineCutter; 2],
    before: Before,
    asked: Asked,
}

/// The file, before the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Before(Option<(u64, u64, i64, i64)>);

/// What was asked and has not been answered.
enum Asked {
    Nothing,
    Connection(Arc<OwnedFd>, Key, Instant),
    Probe(Box<Attempt>, Key),
}

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Ready,
    NotYet,
    /// Its time is over.
    Late,
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A connection that is neither made nor refused is tried anew after it.
const CONNECTING: Duration = Duration::from_secs(2);

impl Before {
    /// To be asked before the run begins.
    pub(super) fn of(ready: Option<&Ready>) -> Before {
        match ready.map(|ready| &ready.sign) {
            Some(Sign::File(path)) => Before::of_file(path),
            Some(Sign::Line(_) | Sign::Port(_) | Sign::Probe(_)) | None => Before::default(),
        }
    }

    fn of_file(path: &Path) -> Before {
        let found = fs::metadata(path).ok();
        Before(found.map(|file| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec())))
    }
}

impl Check {
    pub(super) fn new(ready: &Ready, before: Before) -> Check {
        let polled = !matches!(ready.sign, Sign::Line(_));
        Check {
            deadline: deadline_in(ready.within),
            next: polled.then(Instant::now),
            pause: FIRST_PAUSE,
            cutters: Default::default(),
            before,
            asked: Asked::Nothing,
        }
    }

    /// When to look by the clock.
    pub(super) fn due(&self) -> Option<Instant> {
        let asked = match &self.asked {
            Asked::Nothing => None,
            Asked::Connection(_, _, until) => Some(*until),
            Asked::Probe(probe, _) => probe.due(),
        };
        earliest(earliest(self.deadline, self.next), asked)
    }

    /// It has written this.
    pub(super) fn read(&mut self, ready: &Ready, stream: Stream, bytes: &[u8]) -> Seen {
        let Sign::Line(pattern) = &ready.sign else { return Seen::NotYet };
        let mut found = false;
        let at = usize::from(stream == Stream::Stderr);
        self.cutters[at].cut(bytes, |line| found |= pattern.is_in(line));
        if found { Seen::Ready } else { Seen::NotYet }
    }

    /// Something is due by the clock.
    pub(super) fn pass_time(
        &mut self,
        ready: &mut Ready,
        now: Instant,
        id: Id,
        sources: &mut Sources,
    ) -> Seen {
        if self.deadline.is_some_and(|at| at <= now) {
            return Seen::Late;
        }
        match &self.asked {
            Asked::Connection(_, _, until) if *until <= now => self.come_back(sources),
            Asked::Connection(..) | Asked::Nothing => {}
            Asked::Probe(probe, _) => probe.pass_time(now),
        }
        if self.next.is_none_or(|at| at > now) {
            return Seen::NotYet;
        }
        self.next = None;
        let seen = match &mut ready.sign {
            Sign::Line(_) => return Seen::NotYet,
            Sign::File(path) => {
                let file = Before::of_file(path);
                if file != Before(None) && file != self.before { Seen::Ready } else { Seen::NotYet }
            }
            Sign::Port(address) => self.connect(*address, id, sources),
            Sign::Probe(command) => {
                if let Ok((probe, key)) = Attempt::begin_watched(command, id, sources) {
                    self.asked = Asked::Probe(Box::new(probe), key);
                }
                Seen::NotYet
            }
        };
        if matches!(self.asked, Asked::Nothing) {
            self.come_back(sources);
        }
        seen
    }

    /// What was asked is answered, perhaps.
    pub(super) fn answered(&mut self, sources: &mut Sources) -> Seen {
        let ready = match &mut self.asked {
            Asked::Nothing => return Seen::NotYet,
            Asked::Connection(socket, _, _) => is_connected(socket),
            Asked::Probe(probe, _) => match probe.read_lane() {
                Progress::Over => probe.has_succeeded(),
                Progress::Waiting | Progress::Greeted | Progress::Started => return Seen::NotYet,
                Progress::NeverRan => false,
            },
        };
        self.come_back(sources);
        if ready { Seen::Ready } else { Seen::NotYet }
    }

    /// Gives up what was asked, and asks again after a pause.
    fn come_back(&mut self, sources: &mut Sources) {
        self.forget(sources);
        self.next = deadline_in(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Gives up what was asked.
    pub(super) fn forget(&mut self, sources: &mut Sources) {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => {}
            Asked::Connection(_, key, _) | Asked::Probe(_, key) => sources.remove(key),
        }
    }

    fn connect(&mut self, address: SocketAddr, id: Id, sources: &mut Sources) -> Seen {
        let Ok(socket) = socket(address) else { return Seen::NotYet };
        match rustix::net::connect(&socket, &address) {
            Ok(()) if is_connected(&socket) => Seen::Ready,
            Err(Errno::INPROGRESS) => {
                let socket = Arc::new(socket);
                let source = Arc::clone(&socket);
                let until = Instant::now() + CONNECTING;
                if let Ok(key) = sources.add(source, Interest::Writable, id, What::Port) {
                    self.asked = Asked::Connection(socket, key, until);
                }
                Seen::NotYet
            }
            Ok(()) | Err(_) => Seen::NotYet,
        }
    }
}

fn socket(address: SocketAddr) -> std::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    above_stdio(crate::sys::stream_socket(family)?)
}

/// Whether a connection was made, and to somebody else: one to a free port of this machine may get that
/// very port for its own, and then it is connected to itself (RFC 9293, 3.5, a simultaneous open).
fn is_connected(socket: &OwnedFd) -> bool {
    let made = matches!(rustix::net::sockopt::socket_error(socket), Ok(Ok(())));
    let (own, peer) = (rustix::net::getsockname(socket), rustix::net::getpeername(socket));
    matches!((own, peer), (Ok(own), Ok(Some(peer))) if made && own != peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    use rustix::event::{PollFd, PollFlags, poll};

    /// Waits until a connection is made or refused.
    fn connect(socket: &OwnedFd, address: SocketAddr) {
        match rustix::net::connect(socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => panic!("{errno}"),
        }
        poll(&mut [PollFd::new(socket, PollFlags::OUT)], None).unwrap();
    }

    #[test]
    fn a_connection_counts_unless_it_was_refused_or_leads_to_itself() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let made = socket(address).unwrap();
        connect(&made, address);
        assert!(is_connected(&made));

        drop((listener, made));
        let refused = socket(address).unwrap();
        connect(&refused, address);
        assert!(!is_connected(&refused));

        let own = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let itself = socket(own).unwrap();
        rustix::net::bind(&itself, &own).unwrap();
        connect(&itself, own);
        assert!(rustix::net::getpeername(&itself).is_ok(), "it is a connection");
        assert!(!is_connected(&itself));
    }
}
