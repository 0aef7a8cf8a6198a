//! The guardian's shell: it forks the shepherd, reaps what falls to it, sweeps what a dead shepherd leaves,
//! and asks its machine about one that is late.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::guard::{Guardian, Verdict};
use netrunner_core::message::Order;
use netrunner_core::supervise::Standing;

use crate::kernel::{Children, GUARDIAN, Life, Parent, SHEPHERD};
use crate::rules::{Flaw, Rules};
use crate::shepherd::Doing;
use crate::world::{Step, World};

/// The pause between sweeps; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Whether the guardian can list its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Clear,
    Blind,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Watch {
    machine: Guardian,
    /// Whether its lane is open.
    lane: bool,
    client_gone: bool,
    /// Whether the shepherd is among its children, as far as it knows.
    has_shepherd: bool,
    sweeping: Option<(Time, Duration)>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            machine: Guardian::new(),
            lane: true,
            client_gone: false,
            has_shepherd: false,
            sweeping: None,
        }
    }

    /// One that has ended, whenever that was.
    pub(crate) fn ended() -> Watch {
        Watch { lane: false, ..Watch::new() }
    }
}

impl World {
    /// Whether somebody reads the guardian's lane.
    pub(crate) fn guardian_listens(&self) -> bool {
        self.kernel.lives(GUARDIAN) && self.guardian.lane
    }

    pub(crate) fn guardian_must(&self, rules: &Rules, steps: &mut Vec<Step>) {
        if !self.kernel.runs(GUARDIAN) {
            return;
        }
        let guardian = &self.guardian;
        if guardian.lane && !self.orders.is_empty() {
            steps.push(Step::GuardianObeys);
        } else if guardian.lane && !self.guardian_lane {
            steps.push(Step::GuardianSeesLaneEnd);
        }
        if !guardian.client_gone && self.client_ended {
            steps.push(Step::GuardianSeesClientEnd);
        }
        if self.kernel.child_signal[GUARDIAN] {
            steps.push(Step::GuardianSeesChildren);
        }
        let late = self.verdict(rules) == Some(Verdict::Kill) && self.kernel.lives(SHEPHERD);
        if late && !rules.is(Flaw::VerdictLost) {
            steps.push(Step::GuardianKills);
        }
        if guardian.sweeping.is_some_and(|(at, _)| at <= self.now) {
            steps.push(Step::GuardianSweeps(Sight::Clear));
            steps.extend((self.left.misses > 0).then_some(Step::GuardianSweeps(Sight::Blind)));
        }
        if guardian.machine.may_quit(guardian.has_shepherd || guardian.sweeping.is_some()) {
            steps.push(Step::GuardianQuits);
        }
    }

    /// What is to be done about the shepherd, once the lane is closed.
    fn verdict(&self, rules: &Rules) -> Option<Verdict> {
        let kept = rules.is(Flaw::StandingWrong);
        let standing = if kept { Standing::Kept } else { self.shepherd.slot };
        let judged = self.guardian.has_shepherd && !self.guardian.lane;
        judged.then(|| self.guardian.machine.judge(self.now, standing))
    }

    pub(crate) fn guardian_deadline(&self) -> Option<Time> {
        if !self.kernel.runs(GUARDIAN) {
            return None;
        }
        let judged = match self.guardian.machine.judge(self.now, self.shepherd.slot) {
            Verdict::WaitUntil(at) if self.guardian.has_shepherd && !self.guardian.lane => Some(at),
            Verdict::WaitUntil(_) | Verdict::Leave | Verdict::Kill => None,
        };
        judged.into_iter().chain(self.guardian.sweeping.map(|(at, _)| at)).min()
    }

    pub(crate) fn guardian_obeys(&mut self) {
        match self.orders.pop_front() {
            Some(Order::Bear(_)) => {
                self.guardian.has_shepherd = true;
                self.kernel.tasks[SHEPHERD].life = Life::Running;
                self.kernel.tasks[SHEPHERD].parent = Parent::Task(GUARDIAN);
                self.shepherd.doing = Doing::Greeting;
            }
            Some(Order::Retire) => self.guardian.machine.handle_retire(),
            Some(Order::Guard | Order::Kill(_) | Order::Groups | Order::Loan) | None => {}
        }
    }

    pub(crate) fn guardian_sees_lane_end(&mut self, rules: &Rules) {
        self.guardian.lane = false;
        let is_retired = self.guardian.machine.may_quit(false);
        if !(is_retired && rules.is(Flaw::RetiredIsDeaf)) {
            self.guardian.machine.handle_lane_closed(self.now);
        }
    }

    /// What it has not read of its lane is lost, and the lanes of shepherds that it has not born with it.
    pub(crate) fn guardian_sees_client_end(&mut self) {
        self.guardian.client_gone = true;
        self.guardian.lane = false;
        self.guardian.machine.handle_client_gone(self.now);
        self.orders.clear();
        if self.kernel.tasks[SHEPHERD].life == Life::Unborn {
            self.shepherd_lane = false;
        }
    }

    pub(crate) fn guardian_sees_children(&mut self) {
        self.kernel.child_signal[GUARDIAN] = false;
        while let Children::Ended(task) = self.kernel.peek(GUARDIAN) {
            let Some(status) = self.kernel.reap(task) else { return };
            let strays = if task == SHEPHERD {
                self.guardian.has_shepherd = false;
                status != 0
            } else {
                true
            };
            if strays && self.guardian.sweeping.is_none() {
                self.guardian.sweeping = Some((self.now, PAUSE));
            }
        }
    }

    /// One pass, and whether there is to be another. A blind guardian has no list of its children, as one
    /// that is out of descriptors.
    pub(crate) fn guardian_sweeps(&mut self, sight: Sight, rules: &Rules) {
        let Some((_, pause)) = self.guardian.sweeping else { return };
        let has_shepherd = self.guardian.has_shepherd;
        let is_shepherd = |task| has_shepherd && task == SHEPHERD;
        if sight == Sight::Clear && !rules.is(Flaw::StraysLeft) {
            for task in self.kernel.descendants(GUARDIAN, &is_shepherd) {
                self.kernel.kill(task);
            }
        }
        let pause = (pause * 2).min(PAUSE_MAX);
        let strays = match sight {
            Sight::Clear => self.kernel.children(GUARDIAN).any(|task| !is_shepherd(task)),
            Sight::Blind if rules.is(Flaw::EmptyListTrusted) => false,
            Sight::Blind => self.kernel.peek(GUARDIAN) != Children::None,
        };
        self.guardian.sweeping = strays.then(|| (self.now.after(pause), pause));
    }

    /// It knows of nobody any more; only the kernel's word that it has no child lets it go.
    pub(crate) fn guardian_quits(&mut self, rules: &Rules) {
        if self.kernel.peek(GUARDIAN) == Children::None || rules.is(Flaw::EmptyListTrusted) {
            self.guardian_is_gone(0);
        } else {
            self.guardian.sweeping = Some((self.now, PAUSE));
        }
    }
}
