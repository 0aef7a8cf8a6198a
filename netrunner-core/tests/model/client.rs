//! The client's shell: one command at a time behind a handle, and the watcher, which reads for a command
//! whose handle was dropped and has limited patience with its shepherd.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::client::{Conversation, Heard, Patience};
use netrunner_core::message::{CommandId, End, Event, Exited, Order, Reason, Session};

use crate::kernel::{Kernel, Life, SHEPHERD};
use crate::rules::{ClientEnd, Flaw, Rules};
use crate::world::{Ask, Broken, Step, World};

/// Who looks after the command of the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Handle {
    /// There is no command.
    None,
    /// A caller, who may or may not be waiting.
    Held,
    /// The watcher.
    Dropped,
}

/// What a client has asked about the command of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    pub(crate) stop: bool,
    pub(crate) kill: bool,
    pub(crate) detach: bool,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Client {
    pub(crate) lives: bool,
    conversation: Conversation,
    /// It has a lane to a shepherd, which may still be to be born.
    pub(crate) has_lane: bool,
    pub(crate) begun: u32,
    pub(crate) handle: Handle,
    pub(crate) asked: Asked,
    /// It has let go of its guardian, and of the shepherd once that is idle.
    has_refreshed: bool,
    /// It was told of the start.
    started: bool,
    /// It has the shepherd's pidfd.
    knows_shepherd: bool,
    saw_shepherd_end: bool,
    /// It has the child's pidfd.
    child: Option<usize>,
    patience: Option<Patience>,
}

impl Client {
    pub(crate) fn new() -> Client {
        Client {
            lives: true,
            conversation: Conversation::new(),
            has_lane: false,
            begun: 0,
            handle: Handle::None,
            asked: Asked::default(),
            has_refreshed: false,
            started: false,
            knows_shepherd: false,
            saw_shepherd_end: false,
            child: None,
            patience: None,
        }
    }

    pub(crate) fn id(&self) -> CommandId {
        CommandId(self.begun)
    }

    /// The command before that of the moment.
    fn last(&self) -> Option<CommandId> {
        self.begun.checked_sub(1).filter(|&last| last > 0).map(CommandId)
    }
}

impl World {
    /// What its threads do as soon as they can.
    pub(crate) fn client_must(&self, steps: &mut Vec<Step>) {
        let client = &self.client;
        if !client.lives {
            return;
        }
        if client.handle == Handle::Dropped {
            self.client_reading(steps);
            if client.patience.and_then(|it| it.deadline()).is_some_and(|at| at <= self.now) {
                steps.push(Step::ClientGivesShepherdUp);
            }
        }
        let ended = matches!(self.kernel.tasks[SHEPHERD].life, Life::Zombie(_) | Life::Reaped(_));
        if client.knows_shepherd && !client.saw_shepherd_end && ended {
            steps.push(Step::ClientSeesShepherdEnd);
        }
    }

    /// What its callers may do.
    pub(crate) fn client_may(&self, rules: &Rules, steps: &mut Vec<Step>) {
        let client = &self.client;
        if !client.lives {
            return;
        }
        if !client.has_lane && !client.has_refreshed {
            steps.push(Step::ClientWantsShepherd);
        }
        steps.extend((rules.refresh && !client.has_refreshed).then_some(Step::ClientRefreshes));
        let usable = client.has_lane && client.conversation.is_idle() && self.shepherd_lane;
        let usable = usable && !client.has_refreshed;
        if usable && client.handle == Handle::None && client.begun < rules.commands {
            steps.push(Step::ClientAsks(Ask::Spawn(CommandId(client.begun + 1))));
        }
        if client.handle == Handle::Held {
            self.client_reading(steps);
            if self.left.requests > 0 {
                let id = client.id();
                steps.extend([Ask::Stop(id), Ask::Kill(id)].map(Step::ClientAsks));
                // Of a thread that has not heard yet that the last command is over.
                steps.extend(client.last().map(Ask::Kill).map(Step::ClientAsks));
                if rules.detach && client.started {
                    steps.push(Step::ClientAsks(Ask::Detach(id)));
                }
            }
            // Who detaches a command has given its handle away.
            let may_drop = rules.drop && !client.asked.detach;
            steps.extend(may_drop.then_some(Step::ClientDropsHandle));
        }
        steps.extend(rules.ends.iter().map(|&how| Step::ClientEnds(how)));
    }

    fn client_reading(&self, steps: &mut Vec<Step>) {
        if !self.down.is_empty() {
            steps.push(Step::ClientReads);
        } else if !self.shepherd_lane {
            steps.push(Step::ClientSeesLaneEnd);
        }
    }

    pub(crate) fn client_deadline(&self) -> Option<Time> {
        self.client.patience.filter(|_| self.client.lives)?.deadline()
    }

    pub(crate) fn client_wants_shepherd(&mut self) {
        self.client.has_lane = true;
        self.order(Order::Bear(Session::Own));
        if !self.guardian_listens() {
            self.shepherd_lane = false;
        }
    }

    /// It gets no guardian in its place here. The lane to it stays open beside its commands.
    pub(crate) fn client_refreshes(&mut self) {
        self.client.has_refreshed = true;
        self.order(Order::Retire);
        self.client_lane &= self.client.handle != Handle::None;
    }

    fn order(&mut self, order: Order) {
        if self.guardian_listens() {
            self.orders.push_back(order);
        }
    }

    pub(crate) fn client_asks(&mut self, ask: Ask, rules: &Rules) {
        let due = rules.terms.grace + Duration::from_secs(2);
        match ask {
            Ask::Spawn(id) => {
                let free = self.client.conversation.begin(id, rules.notify);
                free.expect("the conversation says that the shepherd is free");
                self.client.begun = id.0;
                self.client.handle = Handle::Held;
                self.client.asked = Asked::default();
                self.client.started = false;
                self.client.child = None;
                self.owe_nothing();
            }
            Ask::Kill(id) | Ask::Stop(id) if id != self.client.id() => self.left.requests -= 1,
            Ask::Stop(_) => {
                self.left.requests -= 1;
                self.client.asked.stop = true;
                self.shepherd_promises(due, "P4: something outlives a stop");
            }
            Ask::Kill(_) => {
                self.left.requests -= 1;
                self.client.asked.kill = true;
                self.shepherd_promises(due, "P4: something outlives a kill");
            }
            Ask::Detach(_) => {
                self.left.requests -= 1;
                self.client.asked.detach = true;
            }
        }
        if self.shepherd_lane {
            self.up.push_back(ask);
        }
    }

    pub(crate) fn client_drops_handle(&mut self, rules: &Rules) {
        let grace = rules.terms.grace;
        self.client.handle = Handle::Dropped;
        self.client.asked.stop = true;
        self.client.patience = Some(Patience::new(self.now, grace));
        self.all_promise(
            grace + Duration::from_secs(2),
            "P2: something outlives its dropped handle",
        );
        if self.shepherd_lane {
            self.up.push_back(Ask::Stop(self.client.id()));
        }
    }

    pub(crate) fn client_reads(&mut self, rules: &Rules) -> Result<(), Broken> {
        let Some(event) = self.down.pop_front() else { return Ok(()) };
        let heard = self.client.conversation.handle_event(event);
        match heard.map_err(|_| Broken("P10: an honest shepherd's event is out of turn"))? {
            Heard::Hello(_) => self.client.knows_shepherd = true,
            Heard::Started(_) => self.client.started = true,
            Heard::Runs => self.client.child = self.leaders.last().copied(),
            Heard::Ended(exited) => {
                self.hold_outcome(&exited, rules)?;
                self.client_has_outcome();
            }
            Heard::Detached => {
                if !self.client.asked.detach {
                    return Err(Broken("P9: detached, and nobody asked for it"));
                }
                self.client_has_outcome();
            }
            Heard::Failed(_) => self.client_has_outcome(),
            Heard::Stopped(_) | Heard::Continued => {}
        }
        Ok(())
    }

    /// The one word about a command has come.
    fn client_has_outcome(&mut self) {
        self.client.handle = Handle::None;
        self.client.patience = None;
        self.client_lane &= !self.client.has_refreshed;
    }

    /// P9: what is told about an end has to be so.
    fn hold_outcome(&self, exited: &Exited, rules: &Rules) -> Result<(), Broken> {
        let asked = self.client.asked;
        let rightly = match exited.reason {
            // Whether the child ended by itself is asked of the shepherd, where it is told.
            Reason::Exited => true,
            Reason::Timeout => rules.terms.timeout.is_some(),
            Reason::Stopped => asked.stop,
            Reason::Killed => asked.kill,
            Reason::IdleTimeout | Reason::OutputLimit => false,
        };
        if !rightly {
            return Err(Broken("P9: ended for a reason that nobody gave"));
        }
        let leader = self.leaders[self.leaders.len() - 1];
        let right = match (exited.end, self.kernel.tasks[leader].life) {
            (End::Status(told), Life::Reaped(status)) => told == status,
            (End::Unkillable, _) | (End::Status(_), _) => false,
        };
        if !right || exited.pid != Kernel::pid(leader) {
            return Err(Broken("P3: a status that is made up"));
        }
        Ok(())
    }

    /// The lane has ended without a word about the command: it is lost, and the error says so.
    pub(crate) fn client_sees_lane_end(&mut self) {
        self.client_kills_child();
        self.client_has_outcome();
    }

    /// The shepherd's pidfd fires: what it has said is read, and the rest of its command killed.
    pub(crate) fn client_sees_shepherd_end(&mut self, rules: &Rules) -> Result<(), Broken> {
        self.client.saw_shepherd_end = true;
        while self.client.handle != Handle::None && !self.down.is_empty() {
            self.client_reads(rules)?;
        }
        if self.client.handle != Handle::None {
            self.client_sees_lane_end();
        }
        Ok(())
    }

    /// By the pidfd, which means this child's group alone whatever its number does.
    fn client_kills_child(&mut self) {
        if let Some(child) = self.client.child {
            self.kernel.kill_group(child);
        }
    }

    pub(crate) fn client_gives_shepherd_up(&mut self, rules: &Rules) {
        let now = self.now;
        let over = self.client.patience.as_mut().is_some_and(|it| it.is_over(now));
        if !over || rules.is(Flaw::PatienceEndless) {
            return;
        }
        if self.client.knows_shepherd {
            self.kernel.kill(SHEPHERD);
            self.shepherd_is_gone();
        } else {
            // It has not even said hello. The guardian is let go of, and the lane shut down at both ends:
            // whoever reads the command there sees the end behind it.
            self.order(Order::Retire);
            self.client_lane = false;
            // Nobody who lives can name it, should it be stopped once more after it has read the command.
            self.only_shepherd_promises(
                rules.terms.grace + Duration::from_secs(2),
                "P2: something outlives its dropped handle",
            );
            self.client_sees_lane_end();
        }
        self.client_kills_child();
    }

    pub(crate) fn client_ends(&mut self, how: ClientEnd, rules: &Rules) {
        let (pidfd, lanes) = match how {
            ClientEnd::Killed => (true, true),
            ClientEnd::Forked => (true, false),
            ClientEnd::Executed => (false, true),
        };
        self.client.lives = false;
        self.client.handle = Handle::None;
        self.client.patience = None;
        self.client_ended |= pidfd;
        self.guardian_lane &= !lanes;
        self.client_lane &= !lanes;
        self.down.clear();
        let grace = rules.terms.grace;
        let due = grace + Duration::from_secs(2);
        let promise = "P1: something outlives its client";
        // From here on it is the guardian's patience that counts, and not the watcher's. A shepherd that was
        // killed is nobody's to wait for.
        if self.kernel.lives(SHEPHERD) {
            self.all_promise_instead(due, promise);
        } else {
            self.all_promise(due, promise);
        }
    }

    /// To the client, if it is there.
    pub(crate) fn say(&mut self, event: Event) {
        if self.client.lives && self.shepherd_lane {
            self.down.push_back(event);
        }
    }
}
