//! A kernel in a few rules: who is whose child, who is in which group, who lives, and what follows when
//! somebody ends. It holds every signal to P5: none goes to a number that has been reaped.
//!
//! A number is never given out twice here. That is no gift to the machines: a signal to a number that is
//! free is an error at once, whether or not somebody else has it by then.

use netrunner_core::message::Pid;

use crate::world::Broken;

/// The two that adopt what loses its parent below them (`PR_SET_CHILD_SUBREAPER`).
pub(crate) const GUARDIAN: usize = 0;
pub(crate) const SHEPHERD: usize = 1;

const SIGKILL: i32 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Parent {
    /// It reaps at once.
    Init,
    Task(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Unborn,
    Running,
    Stopped,
    Zombie(i32),
    Reaped(i32),
}

/// How far a child is on its way from clone to exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    /// It has not armed its parent-death signal.
    Open,
    Armed,
    Executed,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) parent: Parent,
    pub(crate) group: usize,
    pub(crate) life: Life,
    pub(crate) window: Window,
    /// Whether its parent's death is its own.
    pub(crate) armed: bool,
    /// It is in the middle of a fork, so that whoever walks the tree now misses its new child.
    pub(crate) forking: bool,
}

/// What `waitid` with `WNOWAIT` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Children {
    None,
    Alive,
    Ended(usize),
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Kernel {
    /// Guardian, shepherd, and from [`Kernel::command`] on the command's processes.
    pub(crate) tasks: Vec<Task>,
    /// Whether `SIGCHLD` waits for guardian and shepherd.
    pub(crate) child_signal: [bool; 2],
}

impl Kernel {
    pub(crate) fn new() -> Kernel {
        let task = |life, group| Task {
            parent: Parent::Init,
            group,
            life,
            window: Window::Executed,
            armed: false,
            forking: false,
        };
        Kernel {
            tasks: vec![task(Life::Running, GUARDIAN), task(Life::Unborn, SHEPHERD)],
            child_signal: [false; 2],
        }
    }

    /// The number that messages name a process by.
    pub(crate) fn pid(task: usize) -> Pid {
        Pid(100 + task as u32)
    }

    pub(crate) fn lives(&self, task: usize) -> bool {
        matches!(self.tasks[task].life, Life::Running | Life::Stopped)
    }

    pub(crate) fn runs(&self, task: usize) -> bool {
        self.tasks[task].life == Life::Running
    }

    /// The processes of all commands so far.
    pub(crate) fn command(&self) -> std::ops::Range<usize> {
        SHEPHERD + 1..self.tasks.len()
    }

    /// Those of them that live.
    pub(crate) fn living(&self) -> impl Iterator<Item = usize> {
        self.command().filter(|&task| self.lives(task))
    }

    pub(crate) fn children(&self, parent: usize) -> impl Iterator<Item = usize> {
        let is_child = move |task: &usize| {
            let there = !matches!(self.tasks[*task].life, Life::Unborn | Life::Reaped(_));
            there && self.tasks[*task].parent == Parent::Task(parent)
        };
        (0..self.tasks.len()).filter(is_child)
    }

    /// Children, their children and so on; none of those for whom `is_other` holds, nor below them.
    pub(crate) fn descendants(&self, above: usize, is_other: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = self.children(above).filter(|&task| !is_other(task)).collect();
        let mut next = 0;
        while let Some(&task) = found.get(next) {
            found.extend(self.children(task));
            next += 1;
        }
        found
    }

    /// `clone(2)` by the shepherd: a child in its window, which makes a group of its own there.
    pub(crate) fn launch(&mut self) -> usize {
        let number = self.tasks.len();
        self.tasks.push(Task {
            parent: Parent::Task(SHEPHERD),
            group: number,
            life: Life::Running,
            window: Window::Open,
            armed: false,
            forking: false,
        });
        number
    }

    /// The end of a fork.
    pub(crate) fn bear(&mut self, parent: usize) {
        self.tasks[parent].forking = false;
        let group = self.tasks[parent].group;
        self.tasks.push(Task {
            parent: Parent::Task(parent),
            group,
            life: Life::Running,
            window: Window::Executed,
            // It is not inherited (`PR_SET_PDEATHSIG`).
            armed: false,
            forking: false,
        });
    }

    /// `setsid(2)`.
    pub(crate) fn leave_group(&mut self, task: usize) {
        self.tasks[task].group = task;
    }

    /// The end of a process, and what the kernel makes of it.
    pub(crate) fn exit(&mut self, task: usize, status: i32) {
        self.tasks[task].life = Life::Zombie(status);
        self.tasks[task].forking = false;
        let heir = self.heir(task);
        let orphans: Vec<usize> = self.children(task).collect();
        for orphan in orphans {
            self.tasks[orphan].parent = heir;
            match self.tasks[orphan].life {
                Life::Zombie(_) => self.tell_parent(orphan),
                Life::Running | Life::Stopped if self.tasks[orphan].armed => {
                    self.exit(orphan, SIGKILL);
                }
                Life::Unborn | Life::Running | Life::Stopped | Life::Reaped(_) => {}
            }
        }
        self.tell_parent(task);
    }

    /// Who gets the children of a process: the nearest subreaper above it.
    fn heir(&self, task: usize) -> Parent {
        let mut above = self.tasks[task].parent;
        while let Parent::Task(task) = above {
            if task <= SHEPHERD && self.lives(task) {
                return above;
            }
            above = self.tasks[task].parent;
        }
        Parent::Init
    }

    /// A zombie's parent hears of it. A program's own process never reaps here: that is the worst case.
    fn tell_parent(&mut self, zombie: usize) {
        match self.tasks[zombie].parent {
            Parent::Init => {
                self.reap(zombie);
            }
            Parent::Task(parent @ (GUARDIAN | SHEPHERD)) => self.child_signal[parent] = true,
            Parent::Task(_) => {}
        }
    }

    /// `wait4(2)` for one zombie.
    pub(crate) fn reap(&mut self, task: usize) -> Option<i32> {
        let Life::Zombie(status) = self.tasks[task].life else { return None };
        self.tasks[task].life = Life::Reaped(status);
        Some(status)
    }

    /// `waitid(2)`: the first child that has ended, if any.
    pub(crate) fn peek(&self, parent: usize) -> Children {
        let mut found = Children::None;
        for task in self.children(parent) {
            if let Life::Zombie(_) = self.tasks[task].life {
                return Children::Ended(task);
            }
            found = Children::Alive;
        }
        found
    }

    /// SIGKILL to one process by a pidfd or as a child of the sender. What it is just forking escapes.
    pub(crate) fn kill(&mut self, task: usize) {
        if self.lives(task) {
            if self.tasks[task].forking {
                self.bear(task);
            }
            self.exit(task, SIGKILL);
        }
    }

    /// SIGKILL to one process by its number.
    pub(crate) fn kill_number(&mut self, task: usize) -> Result<(), Broken> {
        self.number_is_held(task)?;
        self.kill(task);
        Ok(())
    }

    /// Whether the number is certain to be this process's, and its group's.
    pub(crate) fn number_is_held(&self, task: usize) -> Result<(), Broken> {
        match self.tasks[task].life {
            Life::Running | Life::Stopped | Life::Zombie(_) => Ok(()),
            Life::Unborn | Life::Reaped(_) => Err(Broken("P5: a signal to a reaped number")),
        }
    }

    /// SIGKILL to a group: at once for all of it, so nobody forks away from it.
    pub(crate) fn kill_group(&mut self, leader: usize) {
        for task in self.command() {
            if self.tasks[task].group == leader && self.lives(task) {
                self.exit(task, SIGKILL);
            }
        }
    }
}
