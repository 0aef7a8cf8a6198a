//! The guardian: forks shepherds, and ends what a dead or wedged shepherd leaves behind.
//!
//! It is a subreaper above all shepherds, so whatever outlives its shepherd becomes a child of the
//! guardian: any child that is not a shepherd is such a thing, and is killed with all that is below
//! it. It carries no data and no commands.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

use netrunner_core::Time;
use netrunner_core::guard::{Guardian, Verdict};
use netrunner_core::message::{Order, Pid, Session};
use netrunner_core::supervise::Standing;

use crate::event_loop::{self, Birth};
use crate::lane::{Flow, Lane};
use crate::loan::{self, Loan};
use crate::standing::Slot;
use crate::sys::abi::*;
use crate::sys::calls::{self, Children};
use crate::sys::{Errno, Fd, files};
use crate::{stale, sweep};

/// The most shepherds of one client at a time; 512 KiB of address space, touched as needed.
pub(crate) const SLOTS: usize = 64 << 10;

/// The pause between sweeps of what fell to the guardian; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// So many places are remembered where the client makes cgroups; few have more than one.
const MOST_PLACES: usize = 16;

/// What `ps` shows for it.
pub(crate) const NAME: &CStr = c"nr-guardian";

/// What the guardian is started with.
pub(crate) struct Charge {
    pub(crate) lane: Lane,
    pub(crate) client: Fd,
    pub(crate) signals: Fd,
    pub(crate) null: Fd,
    /// Where shepherds say how things stand.
    pub(crate) slots: &'static [AtomicU64],
    pub(crate) ignore_child_signal: bool,
}

struct Watch {
    machine: Guardian,
    /// None once it is closed.
    lane: Option<Lane>,
    client: Fd,
    client_gone: bool,
    signals: Fd,
    null: Fd,
    ignore_child_signal: bool,
    slots: &'static [AtomicU64],
    free: Vec<usize>,
    used: usize,
    shepherds: BTreeMap<Pid, usize>,
    /// The directories below which the client's cgroups are.
    places: Vec<Fd>,
    /// The tokens that the client has of makes.
    loans: Vec<Loan>,
    /// While something that is no shepherd may be among the children: when to sweep next.
    sweeping: Option<(Time, Duration)>,
}

/// Watches over the client's shepherds until it is gone and nothing is left.
pub(crate) fn run(charge: Charge) -> ! {
    calls::set_name(NAME);
    // Without it no promise could be kept; the client sees the lane close.
    let Ok(()) = calls::become_subreaper() else { calls::exit(1) };
    let mut watch = Watch {
        machine: Guardian::new(),
        lane: Some(charge.lane),
        client: charge.client,
        client_gone: false,
        signals: charge.signals,
        null: charge.null,
        ignore_child_signal: charge.ignore_child_signal,
        slots: charge.slots,
        free: Vec::new(),
        used: 0,
        shepherds: BTreeMap::new(),
        places: Vec::new(),
        loans: Vec::new(),
        sweeping: None,
    };
    // The first orders came with the charge.
    watch.obey_all();
    loop {
        watch.turn();
    }
}

impl Watch {
    fn turn(&mut self) {
        let now = calls::now();
        let wait = self.judge(now).map(|at| at.since(now));
        if !self.loans.is_empty() && self.machine.is_client_gone() && !self.is_at_work() {
            self.loans.drain(..).for_each(|loan| loan.give_all_back());
        }
        if self.machine.may_quit(!self.shepherds.is_empty() || self.sweeping.is_some()) {
            if calls::peek_children() != Children::None {
                // Nobody is known of, and that is no proof.
                self.sweeping = Some((now, PAUSE));
                return;
            }
            // Whoever lived for a group has ended by now, and its lock with them.
            self.places.iter().for_each(stale::sweep);
            calls::exit(0);
        }
        let ignored = Pollfd { fd: -1, events: 0, revents: 0 };
        let mut fds = [ignored; 3 + loan::MOST];
        fds[0] = Pollfd { fd: self.signals.number(), events: POLLIN, revents: 0 };
        if !self.client_gone {
            fds[1] = Pollfd { fd: self.client.number(), events: POLLIN, revents: 0 };
        }
        if let Some(lane) = &self.lane {
            fds[2] = Pollfd { fd: lane.number(), events: POLLIN, revents: 0 };
        }
        for (fd, loan) in fds[3..].iter_mut().zip(&self.loans) {
            if let Some(client) = loan.client() {
                *fd = Pollfd { fd: client.number(), events: POLLIN, revents: 0 };
            }
        }
        if calls::poll(&mut fds, wait).is_err() {
            // ENOMEM, of a call that needs none here: look at everything instead of waiting. But the
            // client has not ended because nobody could ask; its lane tells as well.
            (fds[0].revents, fds[1].revents, fds[2].revents) = (POLLIN, 0, POLLIN);
        }
        let [signals, client, lane, loans @ ..] = fds.map(|fd| fd.revents);
        if loans.iter().any(|events| *events != 0) {
            self.loans.retain_mut(Loan::hear);
        }
        if lane != 0 {
            self.hear();
        }
        if client & POLLIN != 0 && !self.client_gone {
            self.client_gone = true;
            self.lane = None;
            self.machine.handle_client_gone(calls::now());
        }
        if signals != 0 {
            // Taken before the children are looked at.
            calls::take_signals(&self.signals);
            self.see_children();
        }
    }

    /// Kills the shepherds that are late and sweeps what is due; says when to look again.
    fn judge(&mut self, now: Time) -> Option<Time> {
        let mut next = None;
        let mut sooner = |at: Time| next = Some(next.map_or(at, |next: Time| next.min(at)));
        if self.lane.is_none() {
            for (&pid, &slot) in &self.shepherds {
                match self.machine.judge(now, self.slot(slot).get()) {
                    Verdict::Leave => {}
                    Verdict::WaitUntil(at) => sooner(at),
                    Verdict::Kill => {
                        // Our child, not reaped: the number is its own. It can't refuse.
                        let _ = calls::kill(pid, SIGKILL);
                    }
                }
            }
        }
        if let Some((at, pause)) = self.sweeping {
            if at <= now {
                self.sweep();
                let pause = (pause * 2).min(PAUSE_MAX);
                self.sweeping = self.has_strays().then(|| (now.after(pause), pause));
            }
            if let Some((at, _)) = self.sweeping {
                sooner(at);
            }
        }
        next
    }

    fn hear(&mut self) {
        loop {
            let Some(lane) = &mut self.lane else { return };
            match lane.receive() {
                Flow::More => self.obey_all(),
                Flow::Dry => return,
                Flow::Ended => self.close_lane(),
            }
        }
    }

    fn close_lane(&mut self) {
        self.lane = None;
        self.machine.handle_lane_closed(calls::now());
    }

    /// Obeys every whole order that is there.
    fn obey_all(&mut self) {
        loop {
            let Some(lane) = &mut self.lane else { return };
            let (order, mut descriptors) = match lane.next_frame() {
                Ok(Some((frame, descriptors))) => (Order::decode(frame), descriptors),
                Ok(None) => return,
                Err(_) => return self.close_lane(),
            };
            match order {
                Ok(Order::Bear(session)) => {
                    // A descriptor that was lost for want of room: the client sees its end closed.
                    if let Some(far_end) = descriptors.pop() {
                        self.bear(far_end, session);
                    }
                }
                Ok(Order::Retire) => self.machine.handle_retire(),
                Ok(Order::Kill(pid)) => {
                    // Our child as long as it is listed: the number is its own.
                    if self.shepherds.contains_key(&pid) {
                        let _ = calls::kill(pid, SIGKILL);
                    }
                }
                Ok(Order::Groups) => {
                    // What is no such directory is nonsense, and nothing is looked for in it.
                    let place = descriptors.pop().filter(files::is_cgroup);
                    self.places.extend(place.filter(|_| self.places.len() < MOST_PLACES));
                }
                Ok(Order::Loan) => {
                    // Without it the client sees its end closed, and has to see to them itself.
                    let room = self.loans.len() < loan::MOST;
                    self.loans.extend(Loan::new(descriptors).filter(|_| room));
                }
                // One guardian has one client.
                Ok(Order::Guard) | Err(_) => return self.close_lane(),
            }
        }
    }

    /// Forks a shepherd for this lane; an error goes to the client on it.
    fn bear(&mut self, far_end: Fd, session: Session) {
        let Some(slot) = self.take_slot() else {
            return refuse(far_end, Errno(EAGAIN));
        };
        self.slot(slot).set(Standing::Idle);
        match calls::fork() {
            Ok(Some(shepherd)) => {
                self.shepherds.insert(shepherd, slot);
            }
            Ok(None) => {
                // The shepherd. What is the guardian's alone is let go of; the rest is its own copy.
                self.lane = None;
                self.places = Vec::new();
                self.loans = Vec::new();
                event_loop::run(Birth {
                    lane: far_end,
                    client: self.client.take(),
                    signals: self.signals.take(),
                    null: self.null.take(),
                    slot: self.slot(slot),
                    session,
                    ignore_child_signal: self.ignore_child_signal,
                });
            }
            Err(errno) => {
                self.free.push(slot);
                refuse(far_end, errno);
            }
        }
    }

    fn slot(&self, number: usize) -> Slot {
        Slot::of(self.slots, number)
    }

    fn take_slot(&mut self) -> Option<usize> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let slot = self.used;
        (slot < SLOTS).then(|| {
            self.used += 1;
            slot
        })
    }

    /// Reaps what has ended. A shepherd that ends by itself has proven that nothing of its command is
    /// left; after any other end its tree is ours.
    fn see_children(&mut self) {
        while let Children::Ended(pid) = calls::peek_children() {
            if let Some(&slot) = self.shepherds.get(&pid) {
                sweep::take_over(pid, self.slot(slot));
            }
            let Some(reaped) = calls::reap(pid) else { return };
            let strays = match self.shepherds.remove(&pid) {
                Some(slot) => {
                    self.free.push(slot);
                    reaped.status != 0
                }
                None => true,
            };
            if strays && self.sweeping.is_none() {
                self.sweeping = Some((calls::now(), PAUSE));
            }
        }
    }

    /// Whether anything of the client's commands is left but what it wanted to be kept.
    fn is_at_work(&self) -> bool {
        let is_kept = |slot: &usize| self.slot(*slot).get() == Standing::Kept;
        self.sweeping.is_some() || !self.shepherds.values().all(is_kept)
    }

    fn sweep(&self) {
        sweep::kill_all(&|pid| self.shepherds.contains_key(&pid));
    }

    /// Whether a child is no shepherd, or may be.
    fn has_strays(&self) -> bool {
        sweep::has_others(&|pid| self.shepherds.contains_key(&pid), self.shepherds.len())
    }
}

/// Tells the client on the lane itself that no shepherd serves it.
fn refuse(far_end: Fd, errno: Errno) {
    Lane::new(far_end).send(&crate::no_shepherd(errno), None);
}
