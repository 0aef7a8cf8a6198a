//! One state of everything: who lives, what is on its way, what each machine thinks; and what can happen
//! next. What may never be so is in [`crate::promises`].

use std::collections::VecDeque;
use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::message::{CommandId, Event, Order};

use crate::client::Client;
use crate::explorer::ORIGIN;
use crate::guardian::{Sight, Watch};
use crate::kernel::{GUARDIAN, Kernel, Life, Parent, SHEPHERD, Window};
use crate::promises::Dooms;
use crate::rules::{ClientEnd, Flaw, Rules};
use crate::shepherd::{Doing, Shepherd};

/// A promise that does not hold, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) &'static str);

/// One thing that happens, by whoever does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client asks the guardian for a shepherd.
    ClientWantsShepherd,
    ClientAsks(Ask),
    ClientDropsHandle,
    /// It lets go of its guardian.
    ClientRefreshes,
    ClientReads,
    ClientSeesLaneEnd,
    ClientSeesShepherdEnd,
    ClientGivesShepherdUp,
    ClientEnds(ClientEnd),
    ShepherdGreets,
    ShepherdObeys,
    ShepherdClones,
    ShepherdGoesOn,
    ShepherdSeesLaneEnd,
    ShepherdSeesClientEnd,
    ShepherdSeesTime,
    ShepherdSeesChildren,
    /// The list of its children misses this one.
    ShepherdOverlooks(usize),
    ShepherdPerforms,
    GuardianObeys,
    GuardianSeesLaneEnd,
    GuardianSeesClientEnd,
    GuardianSeesChildren,
    GuardianKills,
    GuardianSweeps(Sight),
    GuardianQuits,
    ChildArms(usize),
    ChildExecutes(usize),
    ChildCanNotExecute(usize),
    TaskExits(usize),
    TaskBeginsToFork(usize),
    TaskForks(usize),
    TaskLeavesGroup(usize),
    /// SIGKILL to shepherd or guardian, from anybody.
    Kill(usize),
    /// SIGSTOP to the shepherd, and SIGCONT.
    StopShepherd,
    ContinueShepherd,
    /// Until the next deadline.
    TimePasses,
}

/// A request of the client. The bytes of requests are other tests' matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Spawn(CommandId),
    Stop(CommandId),
    Kill(CommandId),
    Detach(CommandId),
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) requests: u8,
    pub(crate) blows: u8,
    pub(crate) forks: u8,
    pub(crate) misses: u8,
    pub(crate) lags: u8,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) kernel: Kernel,
    pub(crate) client: Client,
    pub(crate) shepherd: Shepherd,
    pub(crate) guardian: Watch,
    /// From client to guardian.
    pub(crate) orders: VecDeque<Order>,
    /// From client to shepherd.
    pub(crate) up: VecDeque<Ask>,
    /// From shepherd to client.
    pub(crate) down: VecDeque<Event>,
    /// Whether the client's ends are open, of the lanes to its guardian and to its shepherd, and the
    /// shepherd's end of the latter.
    pub(crate) guardian_lane: bool,
    pub(crate) client_lane: bool,
    pub(crate) shepherd_lane: bool,
    /// Whether the client's pidfd has fired.
    pub(crate) client_ended: bool,
    /// The child of each command.
    pub(crate) leaders: Vec<usize>,
    pub(crate) dooms: Dooms,
    /// By how much everything may be later, because somebody was kept from its work.
    pub(crate) lag: Duration,
    pub(crate) left: Left,
}

impl World {
    /// A client and its guardian; nothing has been asked for.
    pub(crate) fn new(rules: &Rules) -> World {
        World {
            now: Time::from_nanos(ORIGIN + ORIGIN / 2),
            kernel: Kernel::new(),
            client: Client::new(),
            shepherd: Shepherd::new(),
            guardian: Watch::new(),
            orders: VecDeque::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            guardian_lane: true,
            client_lane: true,
            shepherd_lane: true,
            client_ended: false,
            leaders: Vec::new(),
            dooms: Dooms::default(),
            lag: Duration::ZERO,
            left: Left {
                requests: rules.requests,
                blows: rules.blows,
                forks: rules.forks,
                misses: rules.misses,
                lags: rules.lags,
            },
        }
    }

    /// All that can happen now.
    pub(crate) fn steps(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = self.urgent(rules);
        let busy = !steps.is_empty();
        self.client_may(rules, &mut steps);
        self.tasks_may(&mut steps);
        if self.left.blows > 0 {
            let killable = [GUARDIAN, SHEPHERD].into_iter().filter(|&it| self.kernel.lives(it));
            steps.extend(killable.map(Step::Kill));
            steps.extend(self.kernel.runs(SHEPHERD).then_some(Step::StopShepherd));
        }
        if self.kernel.tasks[SHEPHERD].life == Life::Stopped {
            steps.push(Step::ContinueShepherd);
        }
        if self.next_deadline(rules).is_some() && (!busy || self.left.lags > 0) {
            steps.push(Step::TimePasses);
        }
        steps
    }

    /// What happens before time passes: everybody who can go on does.
    pub(crate) fn urgent(&self, rules: &Rules) -> Vec<Step> {
        let mut steps = Vec::new();
        self.client_must(&mut steps);
        self.shepherd_must(rules, &mut steps);
        self.guardian_must(rules, &mut steps);
        for task in self.kernel.living() {
            match (self.kernel.tasks[task].window, self.kernel.tasks[task].forking) {
                (Window::Open, _) => steps.push(Step::ChildArms(task)),
                (Window::Armed, _) => steps.push(Step::ChildExecutes(task)),
                (_, true) => steps.push(Step::TaskForks(task)),
                (Window::Executed | Window::Failed, false) => {}
            }
        }
        steps
    }

    /// When something is due by itself.
    pub(crate) fn next_deadline(&self, rules: &Rules) -> Option<Time> {
        let shepherd = self.shepherd_deadline(rules);
        let guardian = self.guardian_deadline();
        let client = self.client_deadline();
        [shepherd, guardian, client].into_iter().flatten().filter(|at| *at > self.now).min()
    }

    /// What the command's processes may do of their own: end, fork, and leave their group, whenever they
    /// like. One that obeys a stop signal ends, one that ignores it does not, so the signal need do nothing.
    fn tasks_may(&self, steps: &mut Vec<Step>) {
        for task in self.kernel.living() {
            let it = &self.kernel.tasks[task];
            match it.window {
                Window::Open | Window::Failed => {}
                Window::Armed => steps.push(Step::ChildCanNotExecute(task)),
                Window::Executed => {
                    steps.push(Step::TaskExits(task));
                    if !it.forking && self.left.forks > 0 {
                        steps.push(Step::TaskBeginsToFork(task));
                    }
                    if it.group != task {
                        steps.push(Step::TaskLeavesGroup(task));
                    }
                }
            }
        }
    }

    /// Lets it happen, and holds what has come of it to the promises.
    pub(crate) fn take(&mut self, step: Step, rules: &Rules) -> Result<(), Broken> {
        match step {
            Step::ClientWantsShepherd => self.client_wants_shepherd(),
            Step::ClientAsks(ask) => self.client_asks(ask, rules),
            Step::ClientDropsHandle => self.client_drops_handle(rules),
            Step::ClientRefreshes => self.client_refreshes(),
            Step::ClientReads => self.client_reads(rules)?,
            Step::ClientSeesLaneEnd => self.client_sees_lane_end(),
            Step::ClientSeesShepherdEnd => self.client_sees_shepherd_end(rules)?,
            Step::ClientGivesShepherdUp => self.client_gives_shepherd_up(rules),
            Step::ClientEnds(how) => self.client_ends(how, rules),
            Step::ShepherdGreets => self.shepherd_greets(),
            Step::ShepherdObeys => self.shepherd_obeys(rules)?,
            Step::ShepherdClones => self.shepherd_clones(),
            Step::ShepherdGoesOn => self.shepherd_goes_on(rules),
            Step::ShepherdSeesLaneEnd | Step::ShepherdSeesClientEnd => {
                self.shepherd_sees_client_gone();
            }
            Step::ShepherdSeesTime => self.shepherd_sees_time()?,
            Step::ShepherdSeesChildren => self.shepherd_sees_children(None, rules),
            Step::ShepherdOverlooks(task) => {
                self.left.misses -= 1;
                self.shepherd_sees_children(Some(task), rules);
            }
            Step::ShepherdPerforms => self.shepherd_performs(rules)?,
            Step::GuardianObeys => self.guardian_obeys(),
            Step::GuardianSeesLaneEnd => self.guardian_sees_lane_end(rules),
            Step::GuardianSeesClientEnd => self.guardian_sees_client_end(),
            Step::GuardianSeesChildren => self.guardian_sees_children(),
            Step::GuardianKills => {
                self.hold_verdict()?;
                self.kernel.kill_number(SHEPHERD)?;
                self.shepherd_is_gone();
            }
            Step::GuardianSweeps(sight) => {
                self.left.misses -= u8::from(sight == Sight::Blind);
                self.guardian_sweeps(sight, rules);
            }
            Step::GuardianQuits => self.guardian_quits(rules),
            Step::ChildArms(task) => self.child_arms(task, rules),
            Step::ChildExecutes(task) => self.kernel.tasks[task].window = Window::Executed,
            Step::ChildCanNotExecute(task) => {
                self.kernel.tasks[task].window = Window::Failed;
                self.task_exits(task, 127 << 8, rules);
            }
            Step::TaskExits(task) => self.task_exits(task, 0, rules),
            Step::TaskBeginsToFork(task) => {
                self.left.forks -= 1;
                self.kernel.tasks[task].forking = true;
            }
            Step::TaskForks(task) => self.kernel.bear(task),
            Step::TaskLeavesGroup(task) => self.kernel.leave_group(task),
            Step::Kill(GUARDIAN) => {
                self.left.blows -= 1;
                self.guardian_is_gone(9);
                self.lean_on_shepherd(rules);
            }
            Step::Kill(_) => {
                self.left.blows -= 1;
                self.kernel.kill(SHEPHERD);
                self.shepherd_is_gone();
            }
            Step::StopShepherd => {
                self.left.blows -= 1;
                self.kernel.tasks[SHEPHERD].life = Life::Stopped;
            }
            Step::ContinueShepherd => {
                self.kernel.tasks[SHEPHERD].life = Life::Running;
                self.shepherd_is_back(rules);
            }
            Step::TimePasses => self.time_passes(rules),
        }
        self.hold_promises(rules)
    }

    /// The child's steps between clone and exec: its parent's death is to be its own from here on, and must
    /// not have come before.
    fn child_arms(&mut self, task: usize, rules: &Rules) {
        self.kernel.tasks[task].window = Window::Armed;
        if rules.is(Flaw::Unarmed) {
            return;
        }
        self.kernel.tasks[task].armed = true;
        if self.kernel.tasks[task].parent != Parent::Task(SHEPHERD) {
            self.kernel.exit(task, 1 << 8);
        }
    }

    fn time_passes(&mut self, rules: &Rules) {
        let busy = !self.urgent(rules).is_empty();
        let Some(next) = self.next_deadline(rules) else { return };
        if busy {
            self.left.lags -= 1;
            self.lag += next.since(self.now);
        }
        self.now = next;
    }

    /// The guardian ends. What it has not read of its lane ends with it.
    pub(crate) fn guardian_is_gone(&mut self, status: i32) {
        self.guardian = Watch::ended();
        self.orders.clear();
        self.kernel.exit(GUARDIAN, status);
        if self.kernel.tasks[SHEPHERD].life == Life::Unborn {
            self.shepherd_lane = false;
        }
    }

    /// The shepherd was killed: it lets go of everything.
    pub(crate) fn shepherd_is_gone(&mut self) {
        self.shepherd.doing = Doing::Nothing;
        self.shepherd_lane = false;
        self.all_promise(Duration::from_secs(1), "P3: something outlives its killed shepherd");
    }
}
