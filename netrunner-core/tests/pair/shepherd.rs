//! The shepherd's shell as the real one works: one turn reads the lane, then heeds the client's
//! end, then the children, then the clock, and performs the machine's actions after each.

use netrunner_core::Time;
use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Pid, Process, Reason, Request, SpawnFailed, Step, Usage,
};
use netrunner_core::spawn::{Notify, Spawn};
use netrunner_core::supervise::{Action, Standing, Supervisor};
use netrunner_core::wire::{Inbox, MAX_REQUEST};

use crate::kernel::{Children, Kernel, SIGKILL, SIGSTOP, Temper};

pub(crate) struct Shepherd {
    pub(crate) machine: Supervisor,
    inbox: Inbox,
    lane: Lane,
    live: Option<Live>,
    /// What was performed, for comparison between runs.
    pub(crate) performed: Vec<(Time, Action)>,
    /// What it wrote and the world has not carried away yet.
    pub(crate) outgoing: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Open,
    Closed,
}

struct Live {
    id: CommandId,
    pid: Pid,
    leader: Leader,
    failed: bool,
    started: Time,
    leftovers: Vec<Process>,
    /// Whether the client was told that the child is stopped.
    stopped: bool,
    /// Whether the ladder's signals reached the child while it lived.
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    Alive,
    Zombie,
    Reaped(i32),
}

/// What a program's name makes of its process.
fn temper(program: &[u8]) -> Option<Temper> {
    match program {
        b"obeys" => Some(Temper::Obeys),
        b"slow" => Some(Temper::Slow(core::time::Duration::from_millis(70))),
        b"ignores" => Some(Temper::Ignores),
        b"breeds" => Some(Temper::Breeds(20)),
        b"unkillable" => Some(Temper::Unkillable),
        b"missing" | b"unclonable" => None,
        other => panic!("no such program: {other:?}"),
    }
}

impl Shepherd {
    pub(crate) fn new() -> Shepherd {
        let mut outgoing = Vec::new();
        Event::Hello(Pid(2)).encode(&mut outgoing);
        Shepherd {
            machine: Supervisor::new(),
            inbox: Inbox::new(MAX_REQUEST),
            lane: Lane::Open,
            live: None,
            performed: Vec::new(),
            outgoing,
        }
    }

    /// How often it has ended itself.
    pub(crate) fn quits(&self) -> usize {
        self.performed.iter().filter(|(_, action)| *action == Action::Quit).count()
    }

    /// Whether it has closed its end of the lane.
    pub(crate) fn has_let_go(&self) -> bool {
        self.lane == Lane::Closed
    }

    /// Whether poll would return at once.
    pub(crate) fn is_due(&self, kernel: &Kernel, now: Time) -> bool {
        let told = self.live.as_ref().map(|live| live.stopped);
        let stopped = self.child_is_stopped(kernel);
        let news = stopped.is_some() && stopped != told;
        self.quits() == 0
            && (news || kernel.child_signal || self.machine.deadline().is_some_and(|at| at <= now))
    }

    /// One turn of the loop: these bytes have arrived, and perhaps the end of the client.
    pub(crate) fn turn(&mut self, kernel: &mut Kernel, mut bytes: &[u8], gone: bool, now: Time) {
        if self.quits() > 0 {
            return;
        }
        while !bytes.is_empty() && self.machine.client_is_here() {
            let room = self.inbox.room();
            let (first, rest) = bytes.split_at(bytes.len().min(room.len()));
            room[..first.len()].copy_from_slice(first);
            self.inbox.filled(first.len());
            bytes = rest;
            while self.machine.client_is_here() && self.obey(kernel, now) {
                self.perform(kernel, now);
            }
        }
        if gone {
            self.machine.handle_client_gone(now);
            self.perform(kernel, now);
        }
        self.see_stops(kernel);
        self.perform(kernel, now);
        if std::mem::take(&mut kernel.child_signal) {
            self.see_children(kernel, now);
        }
        self.machine.handle_timeout(now);
        self.perform(kernel, now);
    }

    fn obey(&mut self, kernel: &mut Kernel, now: Time) -> bool {
        let Some(frame) = self.inbox.next_frame().expect("an honest client") else { return false };
        match Request::decode(frame).expect("an honest client") {
            Request::Spawn(spawn) => {
                self.machine.handle_spawn().expect("an honest client");
                let Spawn { id, notify, terms, program, .. } = spawn;
                let program = program.to_bytes().to_vec();
                if program == b"unclonable" {
                    self.say(&failed(id, Step::Clone));
                } else {
                    self.machine.handle_started(now, id, terms);
                    self.start(kernel, now, id, notify, &program);
                }
            }
            Request::Signal(id, signal) => self.machine.handle_signal(id, signal),
            Request::Stop(id, reason) => self.machine.handle_stop(now, id, reason),
            Request::Kill(id) => self.machine.handle_kill(now, id),
            Request::Detach(id) => self.machine.handle_detach(id),
        }
        true
    }

    fn start(
        &mut self,
        kernel: &mut Kernel,
        now: Time,
        id: CommandId,
        notify: Notify,
        program: &[u8],
    ) {
        let temper = temper(program);
        let pid = kernel.spawn(temper.unwrap_or(Temper::Obeys));
        let failed = temper.is_none();
        self.live = Some(Live {
            id,
            pid,
            leader: Leader::Alive,
            failed,
            started: now,
            leftovers: Vec::new(),
            stopped: false,
            touched: false,
        });
        match (failed, notify) {
            // It ends without having become the program, and its end is told as that.
            (true, Notify::Start | Notify::End) => kernel.end(pid, 127 << 8),
            (false, Notify::Start) => self.say(&Event::Spawned(id, pid)),
            (false, Notify::End) => {}
        }
    }

    fn say(&mut self, event: &Event) {
        if self.lane == Lane::Open {
            event.encode(&mut self.outgoing);
        }
    }

    fn perform(&mut self, kernel: &mut Kernel, now: Time) {
        while let Some(action) = self.machine.poll_action() {
            assert_eq!(self.quits(), 0, "{action:?} after the end");
            self.performed.push((now, action));
            match action {
                Action::SignalGroup(signal) => {
                    assert!(self.group().is_some(), "P5: a signal to a group that is over");
                    self.signal_group(kernel, signal, now);
                }
                Action::SignalTree(signal) => {
                    self.touch();
                    self.signal_group(kernel, signal, now);
                    kernel.signal_all(signal, now);
                }
                Action::Strike => {
                    self.touch();
                    self.signal_group(kernel, SIGKILL, now);
                }
                Action::Sweep => {
                    self.touch();
                    self.signal_group(kernel, SIGKILL, now);
                    kernel.signal_all(SIGKILL, now);
                }
                Action::NoteLeftovers => {
                    let child = self.group();
                    let live = self.live.as_mut().expect("leftovers of a command");
                    assert_eq!(live.leftovers, [], "noted twice: the later list hides the first");
                    live.leftovers = name(kernel, child);
                }
                Action::Report(reason, fate) => self.report(kernel, reason, fate, now),
                Action::Handle(id) => {
                    assert!(self.group().is_some(), "P5: a pidfd of a child that is reaped");
                    self.say(&Event::Handle(id));
                }
                Action::Detached(id) => self.say(&Event::Detached(id)),
                Action::Stopped(id, signal) => self.say(&Event::Stopped(id, signal)),
                Action::Continued(id) => self.say(&Event::Continued(id)),
                Action::LetGo => {
                    assert_eq!(self.lane, Lane::Open, "the lane is let go twice");
                    self.lane = Lane::Closed;
                }
                Action::Quit => assert!(kernel.is_empty(), "it leaves {:?} alone", kernel.living()),
            }
        }
        if self.machine.standing() == Standing::Idle {
            assert!(kernel.is_empty(), "it is idle beside {:?}", kernel.living());
        }
    }

    fn touch(&mut self) {
        if let Some(live) = self.live.as_mut().filter(|live| live.leader == Leader::Alive) {
            live.touched = true;
        }
    }

    fn group(&self) -> Option<Pid> {
        self.live.as_ref().and_then(|live| match live.leader {
            Leader::Alive | Leader::Zombie => Some(live.pid),
            Leader::Reaped(_) => None,
        })
    }

    fn signal_group(&self, kernel: &mut Kernel, signal: u8, now: Time) {
        if let Some(group) = self.group() {
            kernel.signal_group(group, signal, now);
        }
    }

    /// Whether the child, if it lives, is stopped.
    pub(crate) fn child_is_stopped(&self, kernel: &Kernel) -> Option<bool> {
        let live = self.live.as_ref().filter(|live| live.leader == Leader::Alive)?;
        kernel.is_stopped(live.pid)
    }

    /// What `waitid` would tell of the child: only the latest of its stops and continuations.
    fn see_stops(&mut self, kernel: &Kernel) {
        let stopped = self.child_is_stopped(kernel);
        let Some(live) = &mut self.live else { return };
        match (stopped, live.stopped) {
            (Some(true), false) => self.machine.handle_child_stopped(SIGSTOP),
            (Some(false), true) => self.machine.handle_child_continued(),
            (Some(true), true) | (Some(false), false) | (None, _) => return,
        }
        live.stopped = !live.stopped;
    }

    fn see_children(&mut self, kernel: &mut Kernel, now: Time) {
        loop {
            match kernel.peek() {
                Children::Alive => return,
                Children::None => {
                    self.machine.handle_empty();
                    return self.perform(kernel, now);
                }
                Children::Ended(pid) => {
                    let is_leader = self.group() == Some(pid);
                    if is_leader && self.machine.standing() != Standing::Kept {
                        return self.see_leader(kernel, pid, now);
                    }
                    self.reap(kernel, pid);
                }
            }
        }
    }

    fn see_leader(&mut self, kernel: &mut Kernel, leader: Pid, now: Time) {
        let live = self.live.as_mut().expect("a leader of a command");
        let first_time = std::mem::replace(&mut live.leader, Leader::Zombie) == Leader::Alive;
        let mut others = false;
        for pid in kernel.own_children() {
            others |= pid != leader && !self.reap(kernel, pid);
        }
        if !others {
            self.reap(kernel, leader);
            self.machine.handle_empty();
            return self.perform(kernel, now);
        }
        if first_time {
            self.machine.handle_child_ended(now);
            self.perform(kernel, now);
        }
    }

    fn reap(&mut self, kernel: &mut Kernel, pid: Pid) -> bool {
        let Some(status) = kernel.reap(pid) else { return false };
        if let Some(live) = self.live.as_mut().filter(|live| live.pid == pid) {
            live.leader = Leader::Reaped(status);
        }
        true
    }

    fn report(&mut self, kernel: &mut Kernel, reason: Reason, fate: Fate, now: Time) {
        if let Some(leader) = self.group() {
            self.reap(kernel, leader);
        }
        let live = self.live.as_mut().expect("the end of a command");
        assert!(reason != Reason::Exited || !live.touched, "P9: `Exited` by our own signal");
        let event = match live.leader {
            Leader::Reaped(_) if live.failed => failed(live.id, Step::Exec),
            leader @ (Leader::Alive | Leader::Zombie | Leader::Reaped(_)) => {
                Event::Exited(Exited {
                    id: live.id,
                    pid: live.pid,
                    end: match leader {
                        Leader::Reaped(status) => End::Status(status),
                        Leader::Alive | Leader::Zombie => End::Unkillable,
                    },
                    reason,
                    wall: now.since(live.started),
                    usage: Usage::default(),
                    leftovers: std::mem::take(&mut live.leftovers),
                    survivors: match self.machine.standing() {
                        Standing::Busy(_) => name(kernel, None),
                        Standing::Kept | Standing::Idle => Vec::new(),
                    },
                    namespaced: false,
                    fate,
                })
            }
        };
        if fate == Fate::Idle {
            assert!(kernel.is_empty(), "P4: {:?} are left and nothing is told", kernel.living());
            self.live = None;
        }
        self.say(&event);
    }
}

fn name(kernel: &Kernel, but: Option<Pid>) -> Vec<Process> {
    let others = kernel.living().into_iter().filter(|&pid| Some(pid) != but);
    others.map(|pid| Process { pid, name: b"process".to_vec() }).collect()
}

fn failed(id: CommandId, step: Step) -> Event {
    Event::SpawnFailed(SpawnFailed { id, step, errno: 2, object: Vec::new() })
}
