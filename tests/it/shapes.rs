//! The trees of processes that are hard to stop; each promise about trees is tried on all of them.

use std::time::Duration;

use netrunner_tests::lock::Lock;

/// A tree, as a puppet's script, and the lock files that show its processes alive.
pub(crate) struct Shape {
    pub(crate) script: &'static str,
    locks: &'static [&'static str],
}

impl Shape {
    /// Waits until all of it runs.
    #[track_caller]
    pub(crate) fn wait_alive(&self) {
        for lock in self.locks() {
            lock.wait_held();
        }
    }

    /// Waits until all of it is gone.
    #[track_caller]
    pub(crate) fn wait_gone(&self, limit: Duration) {
        for lock in self.locks() {
            lock.wait_free(limit);
        }
    }

    /// All of it must be gone at this moment.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        for lock in self.locks() {
            lock.assert_free();
        }
    }

    pub(crate) fn locks(&self) -> impl Iterator<Item = Lock> + '_ {
        self.locks.iter().map(Lock::at)
    }
}

pub(crate) const PLAIN: Shape = Shape { script: "lock leader sleep forever", locks: &["leader"] };

pub(crate) const IGNORES_SIGNALS: Shape = Shape {
    script: "ignore TERM ignore INT ignore HUP lock leader fork [ lock below sleep forever ] sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const BLOCKS_SIGNALS: Shape = Shape {
    script: "block TERM block INT block HUP lock leader fork [ lock below sleep forever ] sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const STOPPED: Shape = Shape {
    script: "fork [ lock below stop sleep forever ] await below lock leader stop sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const OTHER_SESSION: Shape = Shape {
    script: "fork [ setsid lock below sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const DOUBLE_FORKED: Shape = Shape {
    script: "daemon [ lock below sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const DAEMON: Shape = Shape {
    script: "daemon [ setsid ignore TERM ignore HUP lock below sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const STOPPED_DAEMON: Shape = Shape {
    script: "daemon [ setsid lock below stop sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const DEEP: Shape = Shape {
    script: "lock a fork [ setsid lock b daemon [ group lock c fork [ setsid lock d daemon [ setsid lock e \
             ignore TERM sleep forever ] sleep forever ] sleep forever ] sleep forever ] sleep forever",
    locks: &["a", "b", "c", "d", "e"],
};

pub(crate) const FIRST_THREAD_ENDED: Shape = Shape {
    script: "thread [ sleep forever ] fork [ setsid lock below sleep forever ] lock leader end-thread",
    locks: &["leader", "below"],
};

pub(crate) const NO_DEATH_SIGNAL: Shape = Shape {
    script: "no-death-signal ignore TERM daemon [ setsid lock below sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

pub(crate) const OWN_SUBREAPER: Shape = Shape {
    script: "subreaper daemon [ setsid lock below sleep forever ] lock leader sleep forever",
    locks: &["leader", "below"],
};

/// Two tests for each shape, the second one on a terminal, which call `$check` with it.
macro_rules! each_shape {
    ($check:path) => {
        crate::shapes::each_shape!($check,
            a_plain_child PLAIN,
            a_tree_that_ignores_signals IGNORES_SIGNALS,
            a_tree_that_blocks_signals BLOCKS_SIGNALS,
            a_stopped_tree STOPPED,
            a_grandchild_in_another_session OTHER_SESSION,
            a_double_forked_grandchild DOUBLE_FORKED,
            a_daemon DAEMON,
            a_stopped_daemon STOPPED_DAEMON,
            a_deep_tree DEEP,
            a_child_whose_first_thread_ended FIRST_THREAD_ENDED,
            a_child_without_death_signal NO_DEATH_SIGNAL,
            a_child_that_is_a_subreaper OWN_SUBREAPER
        );
    };
    ($check:path, $($name:ident $shape:ident),*) => {
        $(#[test]
        fn $name() {
            crate::harness::arena(|| $check(&crate::shapes::$shape));
        })*
        crate::harness::on_terminals_too! { $($name)* }
    };
}

pub(crate) use each_shape;
