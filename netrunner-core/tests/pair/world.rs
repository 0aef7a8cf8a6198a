//! Time, and the two pipes between client and shepherd, cut where the test wants it; and the
//! promises that hold at every moment.

use std::collections::VecDeque;
use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::guard::{Guardian, Verdict};
use netrunner_core::message::{CommandId, Reason, Request};
use netrunner_core::spawn::{Leftovers, Notify, Terms};
use netrunner_core::supervise::Standing;

use crate::client::{Client, Outcome};
use crate::kernel::{Kernel, Temper};
use crate::shepherd::Shepherd;

/// The most often that a shepherd may wake up for its clock within one second of one command: a
/// sweep every 20 ms, the short pauses before, and the rungs of the ladder.
const WAKE_UPS: usize = 70;

/// Where a pipe cuts what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Nowhere,
    /// Before this byte of all that is ever written.
    At(usize),
    /// Into pieces of this size.
    Every(usize),
}

struct Pipe {
    waiting: VecDeque<u8>,
    carried: usize,
    cut: Cut,
}

impl Pipe {
    fn new(cut: Cut) -> Pipe {
        Pipe { waiting: VecDeque::new(), carried: 0, cut }
    }

    /// The next piece, at most so long.
    fn piece(&mut self, most: usize) -> Vec<u8> {
        let until_cut = match self.cut {
            Cut::At(at) if at > self.carried => at - self.carried,
            Cut::Nowhere | Cut::At(_) => usize::MAX,
            Cut::Every(size) => size - self.carried % size,
        };
        let length = self.waiting.len().min(until_cut).min(most);
        self.carried += length;
        self.waiting.drain(..length).collect()
    }
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) kernel: Kernel,
    pub(crate) shepherd: Shepherd,
    pub(crate) client: Client,
    to_shepherd: Pipe,
    to_client: Pipe,
    /// The client dies when it has written so much.
    pub(crate) dies_after: Option<usize>,
    written: usize,
    /// Since when the client is gone, and the shepherd able to see it.
    gone_since: Option<Time>,
    guardian: Guardian,
    /// Whether the shepherd was unable to keep its times.
    froze: bool,
    wake_ups: VecDeque<Time>,
}

impl World {
    pub(crate) fn new() -> World {
        World::cut(Cut::Nowhere, Cut::Nowhere)
    }

    pub(crate) fn cut(to_shepherd: Cut, to_client: Cut) -> World {
        World {
            now: Time::from_nanos(1_000_000_000),
            kernel: Kernel::default(),
            shepherd: Shepherd::new(),
            client: Client::new(),
            to_shepherd: Pipe::new(to_shepherd),
            to_client: Pipe::new(to_client),
            dies_after: None,
            written: 0,
            gone_since: None,
            guardian: Guardian::new(),
            froze: false,
            wake_ups: VecDeque::new(),
        }
    }

    pub(crate) fn client_is_here(&self) -> bool {
        self.gone_since.is_none()
    }

    /// How many bytes each side has written.
    pub(crate) fn traffic(&self) -> (usize, usize) {
        (self.to_shepherd.carried, self.to_client.carried)
    }

    pub(crate) fn spawn(&mut self, program: &core::ffi::CStr, notify: Notify, terms: Terms) {
        if self.client_is_here() {
            // A wake-up counts against the command that it is for.
            self.wake_ups.clear();
            self.client.spawn(program, notify, terms);
            self.write();
        }
    }

    /// A request about a command.
    pub(crate) fn ask(&mut self, request: &Request<'_>) {
        if self.client_is_here() {
            self.client.ask(request);
            self.write();
        }
    }

    /// The last command's number.
    pub(crate) fn last(&self) -> CommandId {
        self.client.last()
    }

    fn write(&mut self) {
        let bytes = std::mem::take(&mut self.client.outgoing);
        let left = self.dies_after.map_or(usize::MAX, |after| after - self.written);
        let length = bytes.len().min(left);
        self.written += length;
        self.to_shepherd.waiting.extend(&bytes[..length]);
        if left <= bytes.len() {
            self.drop_client(0);
        }
    }

    /// The client ends; of what it wrote, so many bytes never reached the lane.
    pub(crate) fn drop_client(&mut self, lost: usize) {
        if !self.client_is_here() {
            return;
        }
        let kept = self.to_shepherd.waiting.len().saturating_sub(lost);
        self.to_shepherd.waiting.truncate(kept);
        self.gone_since = Some(self.now);
        self.guardian.handle_client_gone(self.now);
        // Nobody reads what was on its way to the client.
        self.to_client.waiting.clear();
        while self.deliver_to_shepherd(usize::MAX) {}
        self.shepherd.turn(&mut self.kernel, &[], true, self.now);
        self.settle();
    }

    /// Carries a piece to the shepherd; false if there was none.
    pub(crate) fn deliver_to_shepherd(&mut self, most: usize) -> bool {
        let piece = self.to_shepherd.piece(most);
        self.shepherd.turn(&mut self.kernel, &piece, false, self.now);
        self.take_events();
        !piece.is_empty()
    }

    /// Carries a piece to the client; false if there was none.
    pub(crate) fn deliver_to_client(&mut self, most: usize) -> bool {
        self.take_events();
        let piece = self.to_client.piece(most);
        self.client.receive(&piece);
        !piece.is_empty()
    }

    fn take_events(&mut self) {
        let events = std::mem::take(&mut self.shepherd.outgoing);
        if self.client_is_here() {
            self.to_client.waiting.extend(events);
        }
    }

    /// The shepherd's loop runs until it would wait.
    pub(crate) fn run_shepherd(&mut self) {
        while self.shepherd.is_due(&self.kernel, self.now) {
            if self.shepherd.machine.deadline().is_some_and(|at| at <= self.now) {
                self.count_wake_up();
            }
            self.shepherd.turn(&mut self.kernel, &[], false, self.now);
        }
        self.take_events();
        self.check();
    }

    /// Everything that can happen without time passing happens.
    pub(crate) fn settle(&mut self) {
        self.run_shepherd();
        while self.deliver_to_shepherd(usize::MAX) || self.deliver_to_client(usize::MAX) {
            self.run_shepherd();
        }
        self.check();
        if self.client_is_here() && self.shepherd.machine.client_is_here() {
            if let Some(stopped) = self.shepherd.child_is_stopped(&self.kernel) {
                assert_eq!(self.client.stopped, stopped, "a stop that was not told, or wrongly");
            }
        }
    }

    /// Time passes, and everything happens in its time.
    pub(crate) fn advance(&mut self, by: Duration) {
        let until = self.now.after(by);
        loop {
            self.settle();
            let deadline = self.shepherd.machine.deadline();
            let next = [deadline, self.kernel.next_end()].into_iter().flatten().min();
            let Some(next) = next.filter(|&next| next <= until) else { break };
            assert!(next > self.now, "a deadline in the past that nothing was done about");
            self.now = next;
            self.kernel.pass_time(next);
        }
        self.now = until;
        self.settle();
    }

    /// Time passes, and the shepherd is stopped meanwhile.
    pub(crate) fn freeze(&mut self, by: Duration) {
        self.froze = true;
        self.now = self.now.after(by);
        self.kernel.pass_time(self.now);
        self.gone_since = self.gone_since.map(|_| self.now);
        self.run_shepherd();
    }

    fn count_wake_up(&mut self) {
        self.wake_ups.push_back(self.now);
        while self.now.since(self.wake_ups[0]) >= Duration::from_secs(1) {
            self.wake_ups.pop_front();
        }
        let count = self.wake_ups.len();
        assert!(count <= WAKE_UPS, "a busy loop: {count} wake-ups within a second");
    }

    /// What holds at every moment at which the shepherd waits.
    fn check(&self) {
        let standing = self.shepherd.machine.standing();
        if let (Standing::Busy(grace), Some(gone)) = (standing, self.gone_since) {
            let due = gone.after(grace).after(Duration::from_secs(2));
            let alive = self.kernel.killable();
            assert!(self.now < due || alive.is_empty(), "P1: {alive:?} outlive the client");
        }
        if standing == Standing::Kept {
            assert!(self.is_kept_on_purpose(), "P1: kept, and nobody wanted it");
        }
        let all_die = self.kernel.living() == self.kernel.killable();
        if all_die && !self.froze && self.shepherd.quits() == 0 {
            let verdict = self.guardian.judge(self.now, standing);
            assert_ne!(verdict, Verdict::Kill, "the guardian is no part of an ordinary end");
        }
        for (id, outcomes) in &self.client.outcomes {
            assert!(outcomes.len() <= 1, "command {id} ended as {outcomes:?}");
        }
    }

    /// Whether the last command was detached, or kept its leftovers by itself.
    fn is_kept_on_purpose(&self) -> bool {
        use netrunner_core::supervise::Action;
        let terms = self.client.begun.get(&self.last().0);
        let keeps = terms.is_some_and(|terms| terms.leftovers == Leftovers::Keep);
        let word = self.shepherd.performed.iter().rev().find_map(|(_, action)| match action {
            Action::Detached(id) => Some(*id == self.last()),
            Action::Report(reason, _) => Some(keeps && *reason == Reason::Exited),
            Action::SignalGroup(_)
            | Action::SignalTree(_)
            | Action::Strike
            | Action::Sweep
            | Action::NoteLeftovers
            | Action::Handle(_)
            | Action::LetGo
            | Action::Stopped(..)
            | Action::Continued(_)
            | Action::Quit => None,
        });
        word == Some(true)
    }

    /// Plays the world to its end and holds it to the promises about ends.
    pub(crate) fn finish(&mut self) {
        self.settle();
        let long = Duration::from_secs(60);
        if self.client_is_here() {
            let id = self.last();
            self.ask(&Request::Stop(id, Reason::Stopped));
            self.advance(long);
            let ended: Vec<u32> = self.client.outcomes.keys().copied().collect();
            let begun: Vec<u32> = self.client.begun.keys().copied().collect();
            assert_eq!(ended, begun, "every command ends in one word");
            self.drop_client(0);
        }
        self.advance(long);
        let kept = self.shepherd.machine.standing() == Standing::Kept;
        assert!(kept || self.kernel.killable().is_empty(), "P1");
        for pid in self.kernel.living() {
            self.kernel.wake(pid, self.now);
            self.kernel.end(pid, 0);
        }
        self.advance(long);
        assert!(self.kernel.is_empty(), "P5: a zombie is left");
        assert_eq!(self.shepherd.quits(), 1, "it ends once");
        assert_eq!(self.shepherd.machine.deadline(), None);
        assert!(self.shepherd.has_let_go());
    }

    /// The last command's outcome.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        self.client.outcomes.get(&self.last().0).map(|outcomes| &outcomes[0])
    }

    /// A process that the newest running one makes.
    pub(crate) fn fork(&mut self, own_group: bool, temper: Temper) {
        if let Some(&parent) = self.kernel.running().last() {
            self.kernel.fork(parent, own_group, temper);
        }
    }
}

/// Ordinary terms: TERM, 100 ms of grace, leftovers are stopped.
pub(crate) const TERMS: Terms = Terms { grace: Duration::from_millis(100), ..Terms::DEFAULT };
