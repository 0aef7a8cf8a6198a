//! The shepherd: one loop over lane, client and children, around the machine of `netrunner-core`.
//!
//! The machine decides, this file performs. It holds what the machine must not know: numbers,
//! descriptors, the clock. The leader's zombie is kept until its group has been dealt with, because
//! it pins the number: a signal to a group whose leader has been reaped could hit a stranger.

use alloc::vec::Vec;
use core::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Pid, Reason, Request, Session, SpawnFailed, Step,
};
use netrunner_core::spawn::{Notify, Spawn};
use netrunner_core::supervise::{Action, Standing, Supervisor};

use crate::audience::Audience;
use crate::lane::{Flow, Lane};
use crate::live::{Leader, Live};
use crate::namespace::Init;
use crate::standing::Slot;
use crate::sys::abi::*;
use crate::sys::calls;
use crate::sys::window::Launchpad;
use crate::sys::{Errno, Fd};
use crate::terminal::{Client, Job, Modes};
use crate::{cgroup::Cgroup, child};

#[cfg_attr(netrunner_portable, path = "portable/reaping.rs")]
mod reaping;

/// What a shepherd is born with.
pub(crate) struct Birth {
    pub(crate) lane: Fd,
    /// The client's pidfd, or what stands in for it: a raw fork of the client can hold the lane open,
    /// and a pidfd still tells.
    pub(crate) client: Fd,
    /// Where `SIGCHLD` is read.
    pub(crate) signals: Fd,
    pub(crate) null: Fd,
    /// Where the guardian reads how things stand.
    pub(crate) slot: Slot,
    pub(crate) session: Session,
    pub(crate) ignore_child_signal: bool,
}

struct Shepherd {
    machine: Supervisor,
    /// None once nothing more is to be said or heard.
    lane: Option<Lane>,
    client: Fd,
    signals: Fd,
    null: Fd,
    slot: Slot,
    pad: &'static mut Launchpad,
    live: Option<Live>,
    /// While the command of the moment has to do with the client's terminal.
    job: Option<Job>,
    /// Of the last command, until the next: the client may end before it has removed it.
    cgroup: Option<Cgroup>,
    /// Whether children may have ended that no signal tells of any more.
    unseen: bool,
}

/// Serves the lane until there is nothing left to do. Never returns to the caller's stack frames:
/// the process ends here.
pub(crate) fn run(birth: Birth) -> ! {
    calls::set_name(c"nr-shepherd");
    let pid = calls::own_pid();
    let mut lane = Lane::new(birth.lane);
    let prepared = calls::become_subreaper()
        .and_then(|()| match birth.session {
            Session::Own => calls::set_session(),
            Session::Client => Ok(()),
        })
        .and_then(|()| calls::inherit_signals(birth.signals))
        .and_then(|signals| Ok((signals, calls::open_pidfd_if_any(pid)?)));
    let signals = match prepared {
        Ok((signals, pidfd)) => {
            lane.send(&Event::Hello(pid), pidfd);
            signals
        }
        Err(errno) => {
            lane.send(&crate::no_shepherd(errno), None);
            calls::exit(0);
        }
    };
    let audience = Audience::new(lane.number(), birth.client.number());
    let pad = Launchpad::new(pid, birth.ignore_child_signal, audience);
    #[cfg(netrunner_portable)]
    pad.tell_at(birth.slot);
    let mut shepherd = Shepherd {
        machine: Supervisor::new(),
        lane: Some(lane),
        client: birth.client,
        signals,
        null: birth.null,
        slot: birth.slot,
        pad,
        live: None,
        job: None,
        cgroup: None,
        unseen: false,
    };
    loop {
        shepherd.turn();
    }
}

impl Shepherd {
    /// Does what is due, waits for something to happen, and deals with it.
    fn turn(&mut self) {
        let wait = self.deadline().and_then(|_| {
            let now = calls::now();
            self.see_time(now);
            self.deadline().map(|at| at.since(now))
        });
        self.close_silent_lane();
        let ignored = Pollfd { fd: -1, events: 0, revents: 0 };
        let mut fds = [ignored; 4];
        fds[0] = Pollfd { fd: self.signals.number(), events: POLLIN, revents: 0 };
        if self.machine.client_is_here() {
            fds[1] = Pollfd { fd: self.client.number(), events: POLLIN, revents: 0 };
        }
        if let Some(lane) = &self.lane {
            let heard = self.machine.client_is_here() && !lane.is_backed_up();
            let hear = if heard { POLLIN } else { 0 };
            let say = if lane.has_outgoing() { POLLOUT } else { 0 };
            fds[2] = Pollfd { fd: lane.number(), events: hear | say, revents: 0 };
        }
        // More than there may be open, poll(2) refuses.
        let mut count = 3;
        if let Some(news) = self.init().and_then(Init::news) {
            fds[3] = Pollfd { fd: news.number(), events: 0, revents: 0 };
            count = 4;
        }
        let wait = if self.unseen { Some(Duration::ZERO) } else { wait };
        if calls::poll(&mut fds[..count], wait).is_err() {
            // ENOMEM, of a call that needs none here: look at everything instead of waiting. But the
            // client has not ended because nobody could ask; its lane tells as well.
            (fds[0].revents, fds[1].revents, fds[2].revents) = (POLLIN, 0, POLLIN);
        }
        let [signals, client, lane, init] = fds.map(|fd| fd.revents);
        if let Some(lane) = self.lane.as_mut().filter(|_| lane & POLLOUT != 0) {
            lane.flush();
        }
        if lane & (POLLIN | POLLHUP | POLLERR) != 0 {
            self.hear();
        }
        if client != 0 {
            // What is in the lane is read before the client's end is acted on: it may be a Detach.
            while self.hear() == Flow::More {}
            self.machine.handle_client_gone(calls::now());
            self.perform();
        }
        if signals != 0 {
            // Taken before the children are looked at, so that none can end unseen in between.
            let continued = calls::take_signals(&self.signals);
            self.control_job(if continued { Client::GoesOn } else { Client::Silent });
            self.perform();
            self.unseen = true;
        }
        if init & POLLERR != 0 {
            self.see_namespace_end();
        }
        if self.unseen {
            self.see_children();
            self.ask_on();
        }
    }

    /// When something is due whatever happens.
    fn deadline(&self) -> Option<Time> {
        let job = self.job.as_ref().and_then(Job::deadline);
        let remains = self.live.as_ref().and_then(|live| live.remains.deadline());
        job.into_iter().chain(remains).chain(self.machine.deadline()).min()
    }

    fn see_time(&mut self, now: Time) {
        if self.job.as_ref().and_then(Job::deadline).is_some_and(|at| at <= now) {
            self.control_job(Client::Silent);
            self.perform();
        }
        self.unseen |= self.live.as_ref().is_some_and(|live| live.remains.is_due(now));
        self.machine.handle_timeout(now);
        self.perform();
    }

    /// Looks after the terminal. What the client is to be told is left to the machine.
    fn control_job(&mut self, client: Client) {
        if let (Some(child), Some(job)) = (self.group(), &mut self.job) {
            job.control(child, &self.client, client, &mut self.machine);
        }
    }

    /// Gives the terminal back, before the client hears that the command has it no more.
    fn give_terminal_back(&mut self, modes: Modes) {
        if let (Some(job), Some(live)) = (self.job.take(), &self.live) {
            job.give_back(live.pid, modes);
        }
    }

    /// Reads the lane once, and obeys.
    fn hear(&mut self) -> Flow {
        let Some(lane) = &mut self.lane else { return Flow::Ended };
        let flow = lane.receive();
        match flow {
            // Nobody is listened to any more: a last event is on its way, and the lane is dropped
            // when that is sent, or can't be.
            Flow::More | Flow::Dry if !self.machine.client_is_here() => return Flow::Dry,
            Flow::More => {
                while self.obey() {
                    self.perform();
                }
            }
            Flow::Dry => {}
            Flow::Ended => {
                self.lane = None;
                self.machine.handle_client_gone(calls::now());
                self.perform();
            }
        }
        flow
    }

    /// Takes one request from the lane; false when there is no whole one.
    fn obey(&mut self) -> bool {
        let Some(lane) = &mut self.lane else { return false };
        let now = calls::now();
        let (frame, descriptors) = match lane.next_frame() {
            Ok(Some(next)) => next,
            Ok(None) => return false,
            Err(_) => return self.distrust(now),
        };
        let complete = descriptors.len() == usize::from(frame.descriptors);
        match Request::decode(frame) {
            Ok(Request::Spawn(spawn)) => {
                let known = self.pad.knows(&spawn.environment);
                if self.machine.handle_spawn().is_err() || !known {
                    return self.distrust(now);
                }
                // The guardian is to count this command even if we are killed while we clone.
                self.slot.set(Standing::Busy(spawn.terms.grace));
                self.job = Job::of(&spawn, &descriptors);
                self.cgroup = Cgroup::of(&spawn, &descriptors);
                let terminal = self.job.as_ref().and_then(Job::at_start);
                let started = if complete {
                    child::start(self.pad, &spawn, descriptors, &self.null, terminal)
                } else {
                    Err((Step::Request, Errno(EMFILE)))
                };
                let notify = spawn.notify;
                let Spawn { id, terms, .. } = spawn;
                match started {
                    Ok(started) => {
                        self.machine.handle_started(now, id, terms);
                        self.start(now, id, notify, started);
                    }
                    Err((step, errno)) => {
                        self.job = None;
                        let object = match self.pad.failure() {
                            Some((Step::Namespace, _, path)) if step == Step::Namespace => path,
                            _ => &[],
                        };
                        let failed = failed(id, step, errno, object);
                        self.say(&failed, None);
                        self.slot.set(Standing::Idle);
                    }
                }
            }
            Ok(Request::Signal(id, signal)) => self.machine.handle_signal(id, signal),
            Ok(Request::Stop(id, reason)) => self.machine.handle_stop(now, id, reason),
            Ok(Request::Kill(id)) => self.machine.handle_kill(now, id),
            Ok(Request::Detach(id)) => self.machine.handle_detach(id),
            Err(_) => return self.distrust(now),
        }
        true
    }

    fn start(&mut self, now: Time, id: CommandId, notify: Notify, started: child::Started) {
        let pid = started.pid;
        self.live = Some(Live::new(now, id, started));
        // A child that could not execute its program ends, and the end is reported as that.
        let executed = notify == Notify::Start && self.pad.failure().is_none();
        if executed {
            self.say(&Event::Spawned(id, pid), None);
        }
    }

    /// The peer spoke nonsense: from here on it is treated as gone.
    fn distrust(&mut self, now: Time) -> bool {
        self.lane = None;
        self.machine.handle_client_gone(now);
        self.perform();
        false
    }

    fn say(&mut self, event: &Event, descriptor: Option<Fd>) {
        if let Some(lane) = &mut self.lane {
            lane.send(event, descriptor);
        }
    }

    /// Does what the machine asks for, and tells the guardian how things stand.
    fn perform(&mut self) {
        let mut frozen = false;
        while let Some(action) = self.machine.poll_action() {
            self.hold_still(&mut frozen, matches!(action, Action::SignalTree(_)));
            match action {
                Action::SignalGroup(signal) => {
                    // What the client's shell has continued, and the client passes on: the terminal
                    // comes first, or a child that ignores SIGTTIN reads an error.
                    if i32::from(signal) == SIGCONT {
                        self.control_job(Client::GoesOn);
                    }
                    self.signal_group(i32::from(signal));
                }
                Action::SignalTree(signal) => match self.init() {
                    Some(init) => init.signal_all(signal),
                    None => self.ask_tree(i32::from(signal)),
                },
                Action::Strike => self.strike(),
                Action::Sweep => {
                    self.strike();
                    self.sweep();
                }
                Action::NoteLeftovers => self.note_leftovers(),
                Action::Report(reason, fate) => self.report(reason, fate),
                Action::Handle(id) => self.hand_over(id),
                Action::Detached(id) => {
                    self.give_terminal_back(Modes::Restore);
                    self.say(&Event::Detached(id), None);
                }
                Action::Stopped(id, signal) => self.say(&Event::Stopped(id, signal), None),
                Action::Continued(id) => self.say(&Event::Continued(id), None),
                // The lane is closed when it has carried the last event.
                Action::LetGo => {
                    if let (Some(job), Some(live)) = (self.job.take(), &self.live) {
                        job.see_client_gone(live.pid);
                    }
                }
                Action::Quit => self.quit(),
            }
        }
        self.hold_still(&mut frozen, false);
        self.slot.set(self.machine.standing());
    }

    /// Freezes the command's cgroup, so that nobody forks away from the signals that the tree is asked by,
    /// and thaws it to hear them: after the last, for there is much to walk past after each storm between.
    fn hold_still(&self, frozen: &mut bool, still: bool) {
        if *frozen != still {
            *frozen = still;
            let change = if still { Cgroup::freeze } else { Cgroup::thaw };
            self.cgroup.iter().for_each(change);
        }
    }

    /// Gives the client a pidfd of the child, which is not reaped: the number is its own.
    fn hand_over(&mut self, id: CommandId) {
        // Out of descriptors, or without pidfds, the client does without.
        if let Some(pidfd) = self.group().and_then(|child| calls::open_pidfd(child).ok()) {
            self.say(&Event::Handle(id), Some(pidfd));
        }
    }

    /// The number of the child's group, while it is certain to be that.
    fn group(&self) -> Option<Pid> {
        self.live.as_ref().and_then(|live| match live.leader {
            Leader::Alive | Leader::Zombie => Some(live.pid),
            Leader::Reaped(_) => None,
        })
    }

    /// Kills what one call reaches.
    fn strike(&self) {
        self.cgroup.iter().for_each(Cgroup::kill);
        self.signal_group(SIGKILL);
        self.init().into_iter().for_each(Init::kill);
    }

    fn report(&mut self, reason: Reason, fate: Fate) {
        if let Some(leader) = self.group() {
            self.reap(leader);
        }
        let by_itself = self.live.as_ref().is_some_and(|live| match live.leader {
            // The lower seven bits are the signal that ended it.
            Leader::Reaped(status) => status & 0x7f == 0,
            Leader::Alive | Leader::Zombie => false,
        });
        let put_right = by_itself && reason == Reason::Exited && self.pad.failure().is_none();
        self.give_terminal_back(if put_right { Modes::Keep } else { Modes::Restore });
        let survivors = match (fate, self.machine.standing()) {
            (Fate::Leaving, Standing::Busy(_)) => self.survivors(),
            (Fate::Leaving, Standing::Kept | Standing::Idle) | (Fate::Idle, _) => Vec::new(),
        };
        let Some(live) = &mut self.live else { return };
        drop(live.terminal.take());
        let event = match (live.leader, self.pad.failure()) {
            (Leader::Reaped(_), Some((step, errno, object))) => {
                failed(live.id, step, errno, object)
            }
            (leader, _) => Event::Exited(Exited {
                id: live.id,
                pid: live.pid,
                end: match leader {
                    Leader::Reaped(status) => End::Status(status),
                    Leader::Alive | Leader::Zombie => End::Unkillable,
                },
                reason,
                wall: calls::now().since(live.started),
                usage: live.usage,
                leftovers: core::mem::take(&mut live.leftovers),
                survivors,
                namespaced: live.namespaced,
                fate,
            }),
        };
        if fate == Fate::Idle {
            self.live = None;
        }
        self.say(&event, None);
    }

    /// Drops a lane on which nothing more will be said.
    fn close_silent_lane(&mut self) {
        let silent = self.lane.as_ref().is_some_and(|lane| !lane.has_outgoing());
        if silent && !self.machine.client_is_here() {
            self.lane = None;
        }
    }

    /// Ends the process, after the last event has been taken or the client has gone.
    fn quit(&mut self) -> ! {
        if let Some(lane) = &mut self.lane {
            lane.flush_until_gone(&self.client);
        }
        self.cgroup.iter().for_each(Cgroup::remove);
        calls::exit(0)
    }
}

fn failed(id: CommandId, step: Step, errno: Errno, object: &[u8]) -> Event {
    Event::SpawnFailed(SpawnFailed { id, step, errno: u32::from(errno.0), object: object.to_vec() })
}
