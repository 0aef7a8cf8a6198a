//! The shepherd's shell, as `netrunner-shepherd` has it, but for the terminal and cgroups: what it hears goes
//! into the machine, and what the machine asks for is performed, one thing at a time, so that everybody
//! else can act in between, and it can be killed at each.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{
    CommandId, End, Event, Exited, Fate, Process, Reason, SpawnFailed, Step as SpawnStep, Usage,
};
use netrunner_core::spawn::{Leftovers, Notify};
use netrunner_core::supervise::{Action, SETTLING, Standing, Supervisor};

use crate::kernel::{Children, Kernel, Life, SHEPHERD, Window};
use crate::rules::{Flaw, Rules};
use crate::world::{Ask, Broken, Step, World};

/// Where its one thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Doing {
    /// It is not born, or it has ended.
    Nothing,
    Greeting,
    /// It waits in its loop.
    Waiting,
    /// It has told the guardian of the command, and clones next.
    Cloning(CommandId),
    /// It has cloned, and waits until the child is out of its window if the client wants to be told.
    Launching(CommandId),
    Performing,
}

/// The child of the command of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Live {
    id: CommandId,
    child: usize,
    leader: Leader,
    /// A signal of ours met the child while it lived.
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Leader {
    Alive,
    Zombie,
    Reaped(i32),
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Shepherd {
    machine: Supervisor,
    pub(crate) doing: Doing,
    live: Option<Live>,
    /// What the guardian can read.
    pub(crate) slot: Standing,
    /// Children may have ended of which no signal tells any more.
    unseen: bool,
    /// What it stays beside was kept because somebody wanted it.
    pub(crate) kept_rightly: bool,
}

impl Shepherd {
    pub(crate) fn new() -> Shepherd {
        Shepherd {
            machine: Supervisor::new(),
            doing: Doing::Nothing,
            live: None,
            slot: Standing::Idle,
            unseen: false,
            kept_rightly: false,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.machine.standing()
    }

    /// The number of the child's group, while it is certain to be that.
    fn group(&self, rules: &Rules) -> Option<usize> {
        let live = self.live.as_ref()?;
        match live.leader {
            Leader::Alive | Leader::Zombie => Some(live.child),
            Leader::Reaped(_) => rules.is(Flaw::NumberKept).then_some(live.child),
        }
    }
}

impl World {
    pub(crate) fn shepherd_must(&self, rules: &Rules, steps: &mut Vec<Step>) {
        if !self.kernel.runs(SHEPHERD) {
            return;
        }
        match self.shepherd.doing {
            Doing::Nothing => {}
            Doing::Greeting => steps.push(Step::ShepherdGreets),
            Doing::Cloning(_) => steps.push(Step::ShepherdClones),
            Doing::Launching(_) => {
                if self.child_is_out() {
                    steps.push(Step::ShepherdGoesOn);
                }
            }
            Doing::Performing => steps.push(Step::ShepherdPerforms),
            Doing::Waiting => self.shepherd_wakes(rules, steps),
        }
    }

    /// Whether the shepherd goes on after a clone. One that has no start to tell does at once: then this is
    /// never asked.
    fn child_is_out(&self) -> bool {
        let child = self.leaders[self.leaders.len() - 1];
        let in_window = matches!(self.kernel.tasks[child].window, Window::Open | Window::Armed);
        !in_window || !self.kernel.lives(child)
    }

    fn shepherd_wakes(&self, rules: &Rules, steps: &mut Vec<Step>) {
        let heard = self.shepherd.machine.client_is_here() && self.shepherd_lane;
        let said = !self.up.is_empty();
        if self.shepherd_deadline(rules).is_some_and(|at| at <= self.now) {
            steps.push(Step::ShepherdSeesTime);
        }
        if heard && said {
            steps.push(Step::ShepherdObeys);
        } else if heard && !self.client_lane && !rules.is(Flaw::HangUpLost) {
            steps.push(Step::ShepherdSeesLaneEnd);
        }
        // What is in the lane is read first.
        if heard && !said && self.client_ended && !rules.is(Flaw::HangUpLost) {
            steps.push(Step::ShepherdSeesClientEnd);
        }
        if self.kernel.child_signal[SHEPHERD] || self.shepherd.unseen {
            steps.push(Step::ShepherdSeesChildren);
            if self.left.misses > 0 {
                steps.extend(self.kernel.children(SHEPHERD).map(Step::ShepherdOverlooks));
            }
        }
    }

    pub(crate) fn shepherd_deadline(&self, rules: &Rules) -> Option<Time> {
        let waits = self.kernel.runs(SHEPHERD) && self.shepherd.doing == Doing::Waiting;
        self.shepherd.machine.deadline().filter(|_| waits && !rules.is(Flaw::TimeLost))
    }

    pub(crate) fn shepherd_greets(&mut self) {
        self.say(Event::Hello(Kernel::pid(SHEPHERD)));
        self.shepherd.doing = Doing::Waiting;
    }

    pub(crate) fn shepherd_obeys(&mut self, rules: &Rules) -> Result<(), Broken> {
        let Some(ask) = self.up.pop_front() else { return Ok(()) };
        let (now, machine) = (self.now, &mut self.shepherd.machine);
        let stale = self.shepherd.live.filter(|_| rules.is(Flaw::StaleHeeded));
        let meant = |id| stale.map_or(id, |live| live.id);
        self.shepherd.doing = Doing::Performing;
        match ask {
            Ask::Spawn(id) => {
                let free = machine.handle_spawn();
                free.map_err(|_| Broken("P10: an honest client is distrusted"))?;
                self.shepherd.slot = Standing::Busy(rules.terms.grace);
                self.shepherd.doing = Doing::Cloning(id);
            }
            Ask::Stop(id) => machine.handle_stop(now, meant(id), Reason::Stopped),
            Ask::Kill(id) => machine.handle_kill(now, meant(id)),
            Ask::Detach(id) => machine.handle_detach(meant(id)),
        }
        Ok(())
    }

    pub(crate) fn shepherd_clones(&mut self) {
        let child = self.kernel.launch();
        self.leaders.push(child);
        let Doing::Cloning(id) = self.shepherd.doing else { return };
        self.shepherd.doing = Doing::Launching(id);
    }

    /// The command is started, as far as the shepherd knows by now.
    pub(crate) fn shepherd_goes_on(&mut self, rules: &Rules) {
        let Doing::Launching(id) = self.shepherd.doing else { return };
        let child = self.leaders[self.leaders.len() - 1];
        self.shepherd.machine.handle_started(self.now, id, rules.terms);
        self.shepherd.live = Some(Live { id, child, leader: Leader::Alive, touched: false });
        if rules.notify == Notify::Start && self.kernel.tasks[child].window == Window::Executed {
            self.say(Event::Spawned(id, Kernel::pid(child)));
        }
        if let Some(timeout) = rules.terms.timeout {
            let due = timeout + rules.terms.grace + Duration::from_secs(2);
            self.shepherd_promises(due, "P4: something outlives its timeout");
        }
        self.shepherd.doing = Doing::Performing;
    }

    pub(crate) fn shepherd_sees_client_gone(&mut self) {
        self.shepherd.machine.handle_client_gone(self.now);
        self.shepherd.doing = Doing::Performing;
    }

    pub(crate) fn shepherd_sees_time(&mut self) -> Result<(), Broken> {
        let look = BuildHasherDefault::<DefaultHasher>::default();
        let before = look.hash_one(&self.shepherd.machine);
        self.shepherd.machine.handle_timeout(self.now);
        self.shepherd.doing = Doing::Performing;
        if before == look.hash_one(&self.shepherd.machine) {
            return Err(Broken("P8: a deadline that nothing is done about"));
        }
        Ok(())
    }

    /// One look at the children; it looks again until nothing is new.
    pub(crate) fn shepherd_sees_children(&mut self, missed: Option<usize>, rules: &Rules) {
        self.kernel.child_signal[SHEPHERD] = false;
        self.shepherd.unseen = false;
        match self.kernel.peek(SHEPHERD) {
            Children::Alive => {}
            Children::None => {
                self.shepherd.machine.handle_empty();
                self.shepherd.doing = Doing::Performing;
            }
            Children::Ended(task) => {
                let is_leader = self.shepherd.group(rules) == Some(task);
                if is_leader && self.shepherd.machine.standing() != Standing::Kept {
                    self.shepherd_sees_leader(task, missed, rules);
                } else if !rules.is(Flaw::ZombieLeft) {
                    self.shepherd_reaps(task);
                    self.shepherd.unseen = true;
                }
            }
        }
    }

    /// The child's zombie pins its number and its group, so it is reaped only when nothing else is there.
    fn shepherd_sees_leader(&mut self, leader: usize, missed: Option<usize>, rules: &Rules) {
        let Some(live) = &mut self.shepherd.live else { return };
        let first_time = live.leader == Leader::Alive;
        live.leader = Leader::Zombie;
        let children: Vec<usize> = self.kernel.children(SHEPHERD).collect();
        let mut others = false;
        if children.iter().any(|&task| self.kernel.lives(task)) {
            for task in children.into_iter().filter(|&task| task != leader) {
                others |= Some(task) != missed && !self.shepherd_reaps(task);
            }
        }
        let reaped = !others && self.shepherd_reaps(leader);
        self.shepherd.unseen = reaped;
        if first_time && !(reaped && self.kernel.peek(SHEPHERD) == Children::None) {
            self.shepherd.doing = Doing::Performing;
            if rules.is(Flaw::EmptyTooSoon) {
                self.shepherd.machine.handle_empty();
            } else {
                self.shepherd.machine.handle_child_ended(self.now);
            }
        }
    }

    fn shepherd_reaps(&mut self, task: usize) -> bool {
        let Some(status) = self.kernel.reap(task) else { return false };
        if let Some(live) = self.shepherd.live.as_mut().filter(|live| live.child == task) {
            live.leader = Leader::Reaped(status);
        }
        true
    }

    pub(crate) fn shepherd_performs(&mut self, rules: &Rules) -> Result<(), Broken> {
        let Some(action) = self.shepherd.machine.poll_action() else {
            self.shepherd.slot = self.shepherd.machine.standing();
            self.shepherd.doing = Doing::Waiting;
            return Ok(());
        };
        match action {
            Action::SignalGroup(_) | Action::SignalTree(_) => self.shepherd_touches(rules)?,
            Action::Strike => self.shepherd_strikes(rules)?,
            Action::Sweep => self.shepherd_sweeps(rules)?,
            Action::NoteLeftovers | Action::Stopped(..) | Action::Continued(_) => {}
            Action::Handle(id) => {
                if self.shepherd.group(rules).is_some() {
                    self.say(Event::Handle(id));
                }
            }
            Action::Report(reason, fate) => {
                self.shepherd_reports(reason, fate, rules)?;
                if rules.is(Flaw::ToldTwice) {
                    self.down.extend(self.down.back().cloned());
                }
            }
            Action::Detached(id) => {
                self.shepherd.kept_rightly = true;
                self.say(Event::Detached(id));
            }
            Action::LetGo => self.shepherd_lane = false,
            Action::Quit => {
                if self.kernel.peek(SHEPHERD) != Children::None {
                    return Err(Broken("P4: the shepherd leaves something behind"));
                }
                if !rules.is(Flaw::QuitLost) {
                    self.kernel.exit(SHEPHERD, 0);
                    self.shepherd.doing = Doing::Nothing;
                    self.shepherd_lane = false;
                }
            }
        }
        Ok(())
    }

    /// A signal that a process may ignore; whether it ends by it is up to the process.
    fn shepherd_touches(&mut self, rules: &Rules) -> Result<(), Broken> {
        if self.shepherd.kept_rightly {
            return Err(Broken("P4: what was to be kept is ended"));
        }
        let Some(group) = self.shepherd.group(rules) else { return Ok(()) };
        if let Some(live) = self.shepherd.live.as_mut().filter(|it| it.leader == Leader::Alive) {
            live.touched = true;
        }
        self.kernel.number_is_held(group)
    }

    fn shepherd_strikes(&mut self, rules: &Rules) -> Result<(), Broken> {
        self.shepherd_touches(rules)?;
        if let Some(group) = self.shepherd.group(rules) {
            self.kernel.kill_group(group);
        }
        Ok(())
    }

    fn shepherd_sweeps(&mut self, rules: &Rules) -> Result<(), Broken> {
        if rules.is(Flaw::SweepLost) {
            return Ok(());
        }
        self.shepherd_strikes(rules)?;
        while let Children::Ended(task) = self.kernel.peek(SHEPHERD) {
            if self.shepherd.group(rules) == Some(task) || !self.shepherd_reaps(task) {
                break;
            }
            self.shepherd.unseen = true;
        }
        let below = self.kernel.descendants(SHEPHERD, &|_| false);
        let shallow = below.len() == self.kernel.children(SHEPHERD).count();
        below.into_iter().for_each(|task| self.kernel.kill(task));
        if shallow {
            self.shepherd.machine.handle_shallow_sweep(self.now);
        }
        Ok(())
    }

    fn shepherd_reports(
        &mut self,
        reason: Reason,
        fate: Fate,
        rules: &Rules,
    ) -> Result<(), Broken> {
        if let Some(leader) = self.shepherd.group(rules) {
            self.shepherd_reaps(leader);
        }
        let Some(live) = self.shepherd.live else { return Ok(()) };
        if reason == Reason::Exited && live.touched {
            return Err(Broken("P9: `Exited` after a signal of ours"));
        }
        let keeps = rules.terms.leftovers == Leftovers::Keep && reason == Reason::Exited;
        self.shepherd.kept_rightly |= fate == Fate::Leaving && keeps;
        let busy = matches!(self.shepherd.machine.standing(), Standing::Busy(_));
        let below = self.kernel.descendants(SHEPHERD, &|_| false);
        if fate == Fate::Idle {
            if !below.is_empty() {
                return Err(Broken("P4: the end is told, and something is left"));
            }
            self.shepherd.live = None;
        }
        let survivors = below
            .into_iter()
            .filter(|_| busy)
            .map(|task| Process { pid: Kernel::pid(task), name: Vec::new() });
        let failed = self.kernel.tasks[live.child].window == Window::Failed;
        self.say(match live.leader {
            Leader::Reaped(_) if failed => Event::SpawnFailed(SpawnFailed {
                id: live.id,
                step: SpawnStep::Exec,
                errno: 2,
                object: Vec::new(),
            }),
            leader @ (Leader::Alive | Leader::Zombie | Leader::Reaped(_)) => {
                Event::Exited(Exited {
                    id: live.id,
                    pid: Kernel::pid(live.child),
                    end: match leader {
                        Leader::Reaped(_) if rules.is(Flaw::StatusInvented) => End::Status(42),
                        Leader::Reaped(status) => End::Status(status),
                        Leader::Alive | Leader::Zombie => End::Unkillable,
                    },
                    reason,
                    wall: Duration::ZERO,
                    usage: Usage::default(),
                    leftovers: Vec::new(),
                    survivors: survivors.collect(),
                    namespaced: false,
                    fate,
                })
            }
        });
        Ok(())
    }

    /// A process of the command ends by itself. If it was the child, the rest is to follow.
    pub(crate) fn task_exits(&mut self, task: usize, status: i32, rules: &Rules) {
        self.kernel.exit(task, status);
        if self.leaders.last() == Some(&task) && rules.terms.leftovers == Leftovers::Stop {
            let due = SETTLING + rules.terms.grace + Duration::from_secs(2);
            self.shepherd_promises(due, "P4: something outlives the child");
        }
    }

    /// Whether it is in the middle of a start.
    pub(crate) fn shepherd_is_starting(&self) -> bool {
        matches!(self.shepherd.doing, Doing::Cloning(_) | Doing::Launching(_))
    }

    /// Whether it waits for something that will happen by itself, or is kept from working.
    pub(crate) fn shepherd_has_command(&self) -> bool {
        let stopped = self.kernel.tasks[SHEPHERD].life == Life::Stopped;
        stopped || self.shepherd.machine.standing() != Standing::Idle
    }
}
