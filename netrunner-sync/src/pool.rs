//! The idle shepherds and the guardian that bears new ones.
//!
//! One short lock, and no system call under it: every spawning thread passes here.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netrunner_core::message::Session;

use crate::guardian::Guardian;
use crate::rights::Rights;
use crate::shepherd::Shepherd;

/// How many idle shepherds are kept, unless another number is asked for: enough for a build tool's
/// burst, at some tens of KiB each.
const MAX_IDLE: usize = 32;

/// How long a shepherd may be idle before it is sent home.
pub(crate) const IDLE_FOR: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    state: Mutex<State>,
    max_idle: AtomicUsize,
}

#[derive(Default)]
struct State {
    guardian: Option<Arc<Guardian>>,
    /// The one that was used last comes last, and is taken first: its pages are warm.
    own_session: Vec<Idle>,
    client_session: Vec<Idle>,
    program: Option<PathBuf>,
}

struct Idle {
    shepherd: Arc<Shepherd>,
    since: Instant,
}

/// Whether there are idle shepherds that are to be sent home some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surplus {
    Some,
    None,
}

/// What the pool has for a command.
pub(crate) enum Taken {
    /// A shepherd that is ready.
    Ready(Arc<Shepherd>),
    /// Whom to ask for one.
    Ask(Arc<Guardian>),
    /// Nobody: a guardian has to be started.
    Nobody,
}

impl State {
    fn idle(&mut self, session: Session) -> &mut Vec<Idle> {
        match session {
            Session::Own => &mut self.own_session,
            Session::Client => &mut self.client_session,
        }
    }

    fn take_all(&mut self) -> (Option<Arc<Guardian>>, [Vec<Idle>; 2]) {
        let own = std::mem::take(&mut self.own_session);
        (self.guardian.take(), [own, std::mem::take(&mut self.client_session)])
    }
}

impl Pool {
    pub(crate) fn new() -> Pool {
        Pool { state: Mutex::default(), max_idle: AtomicUsize::new(MAX_IDLE) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change below is whole before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shepherd for a thread of these rights.
    pub(crate) fn take(&self, session: Session, rights: &Rights) -> Taken {
        let mut state = self.lock();
        match &state.guardian {
            Some(guardian) if guardian.serves(rights) => {
                let guardian = Arc::clone(guardian);
                match state.idle(session).pop() {
                    Some(idle) => Taken::Ready(idle.shepherd),
                    None => Taken::Ask(guardian),
                }
            }
            Some(_) => {
                // The right to act has changed: what was born under the old one is never used again.
                let all = state.take_all();
                drop(state);
                let_go(all);
                Taken::Nobody
            }
            None => Taken::Nobody,
        }
    }

    /// Makes `guardian` the one to ask, unless there is one; returns the one that there is, and
    /// whether it is this.
    pub(crate) fn install(&self, guardian: Guardian, rights: &Rights) -> (Arc<Guardian>, bool) {
        let guardian = Arc::new(guardian);
        let mut state = self.lock();
        if let Some(there) = state.guardian.as_ref().filter(|there| there.serves(rights)) {
            return (Arc::clone(there), false);
        }
        let old = state.take_all();
        state.guardian = Some(Arc::clone(&guardian));
        drop(state);
        let_go(old);
        (guardian, true)
    }

    /// Takes a shepherd back whose command has left nothing behind. One that is not needed any more
    /// goes with the last that holds it.
    pub(crate) fn put(&self, shepherd: &Arc<Shepherd>) -> Surplus {
        let max_idle = self.max_idle.load(Ordering::Relaxed);
        let idle = Idle { shepherd: Arc::clone(shepherd), since: Instant::now() };
        let mut state = self.lock();
        let current = |there: &Arc<Guardian>| Arc::ptr_eq(there, shepherd.guardian());
        let wanted = state.guardian.as_ref().is_some_and(current)
            && state.own_session.len() + state.client_session.len() < max_idle;
        if wanted {
            state.idle(shepherd.session()).push(idle);
        }
        if state.own_session.len() > 1 || !state.client_session.is_empty() {
            Surplus::Some
        } else {
            Surplus::None
        }
    }

    /// Takes a shepherd out that has ended.
    pub(crate) fn remove(&self, shepherd: &Arc<Shepherd>) {
        let mut state = self.lock();
        let idle = state.idle(shepherd.session());
        let found = idle.iter().position(|idle| Arc::ptr_eq(&idle.shepherd, shepherd));
        let removed = found.map(|at| idle.remove(at));
        drop(state);
        drop(removed);
    }

    /// Lets go of a guardian that has ended or does not answer, and of its idle shepherds: what
    /// they would run has nobody to watch over it.
    pub(crate) fn forget(&self, guardian: &Arc<Guardian>) {
        let mut state = self.lock();
        let current = |there: &Arc<Guardian>| Arc::ptr_eq(there, guardian);
        let all = state.guardian.as_ref().is_some_and(current).then(|| state.take_all());
        drop(state);
        if let Some(all) = all {
            let_go(all);
        }
        guardian.let_go();
    }

    /// Lets go of everything, and takes the next guardian from `program` if one is given.
    pub(crate) fn refresh(&self, program: Option<PathBuf>) {
        let mut state = self.lock();
        let all = state.take_all();
        if program.is_some() {
            state.program = program;
        }
        drop(state);
        let_go(all);
    }

    pub(crate) fn program(&self) -> Option<PathBuf> {
        self.lock().program.clone()
    }

    pub(crate) fn set_max_idle(&self, n: usize) {
        self.max_idle.store(n, Ordering::Relaxed);
        self.trim_to(n, Instant::now().checked_sub(IDLE_FOR));
    }

    pub(crate) fn idle(&self) -> usize {
        let state = self.lock();
        state.own_session.len() + state.client_session.len()
    }

    /// Sends home what has been idle for too long, all but one, which keeps the next command quick.
    /// Returns when the next is due.
    pub(crate) fn trim(&self, now: Instant) -> Option<Instant> {
        self.trim_to(usize::MAX, now.checked_sub(IDLE_FOR))
    }

    fn trim_to(&self, most: usize, used_since: Option<Instant>) -> Option<Instant> {
        let mut state = self.lock();
        let mut home = Vec::new();
        // The least recently used come first.
        for idle in [Session::Client, Session::Own] {
            let keep = usize::from(idle == Session::Own).min(most);
            let idle = state.idle(idle);
            let late = idle.iter().take_while(|idle| used_since.is_some_and(|at| idle.since <= at));
            let late = late.count().min(idle.len().saturating_sub(keep));
            home.extend(idle.drain(..late));
        }
        let over = state.own_session.len().saturating_sub(most);
        home.extend(state.own_session.drain(..over));
        let own = state.own_session.first().filter(|_| state.own_session.len() > 1);
        let next = own.into_iter().chain(state.client_session.first());
        let next = next.map(|idle| idle.since + IDLE_FOR).min();
        drop(state);
        drop(home);
        next
    }

    /// In a forked copy of the client: closes what the copy holds of the lanes, as far as that can
    /// be done without waiting for a lock whose holder does not exist here.
    pub(crate) fn close_in_copy(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            // Not `let_go`: the first process still uses the guardian.
            drop(state.take_all());
        }
    }
}

fn let_go((guardian, idle): (Option<Arc<Guardian>>, [Vec<Idle>; 2])) {
    if let Some(guardian) = guardian {
        guardian.let_go();
    }
    drop(idle);
}
