//! What has to be so in every state. Some of it is asked where it happens: P5 of every signal, P4 and P9 of
//! every word about an end.

use std::time::Duration;

use netrunner_core::Time;
use netrunner_core::supervise::{SETTLING, Standing};

use crate::client::Handle;
use crate::kernel::{GUARDIAN, Life, Parent, SHEPHERD, Window};
use crate::rules::Rules;
use crate::shepherd::Doing;
use crate::world::{Broken, World};

/// When nothing of the command may live any more, and the promise that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Doom {
    at: Time,
    promise: &'static str,
}

/// The two kinds of such promises; of each the soonest counts.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub(crate) struct Dooms {
    /// Kept by the shepherd, as long as it is neither stopped nor killed.
    by_shepherd: Option<Doom>,
    /// Kept whatever the shepherd does.
    by_others: Option<Doom>,
    /// The shepherd was stopped once, and has gone on.
    resumed: bool,
}

fn sooner(kept: &mut Option<Doom>, doom: Doom) {
    if kept.is_none_or(|kept| doom.at < kept.at) {
        *kept = Some(doom);
    }
}

impl World {
    /// From now on the command is to be over after so long, by the work of its shepherd.
    pub(crate) fn shepherd_promises(&mut self, after: Duration, promise: &'static str) {
        sooner(&mut self.dooms.by_shepherd, Doom { at: self.now.after(after), promise });
    }

    /// The same, with or without it.
    pub(crate) fn all_promise(&mut self, after: Duration, promise: &'static str) {
        sooner(&mut self.dooms.by_others, Doom { at: self.now.after(after), promise });
    }

    /// By the work of its shepherd alone: nobody else can, until the client or the shepherd ends.
    pub(crate) fn only_shepherd_promises(&mut self, after: Duration, promise: &'static str) {
        self.dooms.by_others = None;
        self.shepherd_promises(after, promise);
    }

    /// With or without it, in place of an earlier such promise that was somebody else's.
    pub(crate) fn all_promise_instead(&mut self, after: Duration, promise: &'static str) {
        self.dooms.by_others = None;
        self.all_promise(after, promise);
    }

    /// A shepherd that was stopped goes on: what it had promised is due later.
    pub(crate) fn shepherd_is_back(&mut self, rules: &Rules) {
        self.dooms.resumed = true;
        self.dooms.by_shepherd = self.put_off(self.dooms.by_shepherd, rules);
        self.lean_on_shepherd(rules);
    }

    /// Where client and guardian are gone, a shepherd that was late keeps the promises alone, from the moment
    /// at which it is the last that could.
    pub(crate) fn lean_on_shepherd(&mut self, rules: &Rules) {
        if self.dooms.resumed && !self.kernel.lives(GUARDIAN) && !self.client.lives {
            self.dooms.by_others = self.put_off(self.dooms.by_others, rules);
        }
    }

    fn put_off(&self, doom: Option<Doom>, rules: &Rules) -> Option<Doom> {
        let after = SETTLING + rules.terms.grace + Duration::from_secs(2);
        doom.map(|doom| Doom { at: self.now.after(after), ..doom })
    }

    pub(crate) fn hold_promises(&mut self, rules: &Rules) -> Result<(), Broken> {
        self.forget_doom();
        self.hold_parent_death()?;
        let told = self.shepherd.doing == Doing::Waiting;
        if told && self.shepherd.standing() == Standing::Kept && !self.shepherd.kept_rightly {
            return Err(Broken("P1: something is kept, and nobody wanted it"));
        }
        // Where nothing more happens by itself, whatever was to end in time never will.
        let stuck = self.next_deadline(rules).is_none() && self.urgent(rules).is_empty();
        let by_shepherd = self.dooms.by_shepherd.filter(|_| self.kernel.runs(SHEPHERD));
        for doom in by_shepherd.into_iter().chain(self.dooms.by_others) {
            let due = doom.at.after(self.lag) <= self.now || stuck;
            if due && self.kernel.living().next().is_some() && !self.is_excused() {
                return Err(Broken(doom.promise));
            }
            if due && self.shepherd_is_idle_alone() {
                return Err(Broken("P6: the shepherd stays behind"));
            }
        }
        if stuck { self.hold_rest() } else { Ok(()) }
    }

    pub(crate) fn owe_nothing(&mut self) {
        self.dooms = Dooms { resumed: self.dooms.resumed, ..Dooms::default() };
    }

    /// Once nothing lives, and nothing can be born any more, the promise is kept.
    fn forget_doom(&mut self) {
        let spawns = !self.orders.is_empty() || !self.up.is_empty() || self.shepherd_is_starting();
        let dead = !self.kernel.lives(SHEPHERD) && self.orders.is_empty();
        let leaving = !self.client.lives && self.kernel.runs(SHEPHERD);
        if self.kernel.living().next().is_none() && (dead || !spawns) && !leaving {
            self.owe_nothing();
        }
    }

    /// P3 without a guardian: at least the child itself ends with its shepherd.
    fn hold_parent_death(&self) -> Result<(), Broken> {
        let child = self.leaders.last().copied();
        let outlives = child.is_some_and(|child| {
            let it = &self.kernel.tasks[child];
            let out = it.window == Window::Executed;
            out && self.kernel.lives(child) && it.parent != Parent::Task(SHEPHERD)
        });
        if outlives { Err(Broken("P3: the child outlives its shepherd")) } else { Ok(()) }
    }

    /// What is promised to nobody.
    fn is_excused(&self) -> bool {
        let shepherd = self.kernel.tasks[SHEPHERD].life;
        let guarded = self.kernel.lives(GUARDIAN);
        match shepherd {
            // Kept on purpose.
            Life::Running => self.shepherd.standing() == Standing::Kept,
            // As before; or nobody is left to see that it is late.
            Life::Stopped => {
                self.shepherd.slot == Standing::Kept || (!guarded && !self.client.lives)
            }
            // Guardian and shepherd killed together leave the rest of the tree.
            Life::Unborn | Life::Zombie(_) | Life::Reaped(_) => !guarded,
        }
    }

    /// Nothing more happens, unless a process of the command or the client's caller does something.
    fn hold_rest(&self) -> Result<(), Broken> {
        for task in self.kernel.command() {
            let it = &self.kernel.tasks[task];
            let zombie = matches!(it.life, Life::Zombie(_));
            if let (true, Parent::Task(parent @ (GUARDIAN | SHEPHERD))) = (zombie, it.parent) {
                let only_pins = parent == SHEPHERD && self.shepherd_pins(task);
                if self.kernel.runs(parent) && !only_pins {
                    return Err(Broken("P5: a zombie is left"));
                }
            }
        }
        let lives = self.kernel.living().next().is_some();
        let waiting = self.client.lives && self.client.handle != Handle::None;
        let word_to_come = !self.down.is_empty() || !self.shepherd_lane;
        if waiting && !word_to_come && !(self.shepherd_has_command() && (lives || self.is_wedged()))
        {
            return Err(Broken("P8: a command is waited for in vain"));
        }
        let beside_nothing =
            self.kernel.runs(SHEPHERD) && self.shepherd.standing() == Standing::Kept;
        if beside_nothing && !lives {
            return Err(Broken("P6: the shepherd stays beside nothing"));
        }
        if !self.client.lives && !lives {
            if self.kernel.runs(SHEPHERD) {
                return Err(Broken("P6: the shepherd stays behind"));
            }
            if self.kernel.runs(GUARDIAN) && !self.kernel.lives(SHEPHERD) {
                return Err(Broken("P6: the guardian stays behind"));
            }
        }
        Ok(())
    }

    /// Whether it should have ended with its client.
    fn shepherd_is_idle_alone(&self) -> bool {
        let kept = self.shepherd.standing() == Standing::Kept;
        !self.client.lives && self.kernel.runs(SHEPHERD) && !kept
    }

    /// The guardian is there for a shepherd that can't do its work, and for no other.
    pub(crate) fn hold_verdict(&self) -> Result<(), Broken> {
        let worked = self.kernel.runs(SHEPHERD) && !self.dooms.resumed && self.lag.is_zero();
        if worked { Err(Broken("P1: the guardian ends a shepherd that works")) } else { Ok(()) }
    }

    fn is_wedged(&self) -> bool {
        self.kernel.tasks[SHEPHERD].life == Life::Stopped
    }

    /// The child's zombie, while others of its command live.
    fn shepherd_pins(&self, task: usize) -> bool {
        self.leaders.last() == Some(&task) && self.kernel.living().next().is_some()
    }
}
