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

/// How many idle shepherds there may be at any time, unless another number is asked for: more than the
/// largest bursts bring, because starting one anew costs more than its next command does.
const MAX_IDLE: usize = 8192;

/// How long those beyond [`STEADY`] may be idle. A burst has them all at work again at once, and they
/// take no more memory meanwhile than they took while they worked; ending each as soon as its command
/// is over would cost more time than the command did.
const BURST_FOR: Duration = Duration::from_secs(2);

/// How many are kept longer: as many as a build tool keeps busy, at some 100 KiB each.
const STEADY: usize = 32;

/// How long the others may be idle, but for the last.
const IDLE_FOR: Duration = Duration::from_secs(10);

/// The least time between two looks for what is late.
const TRIM_PAUSE: Duration = Duration::from_millis(100);

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
    /// The watcher knows that there are more than are kept for long.
    burst: bool,
    program: Option<PathBuf>,
}

struct Idle<T = Arc<Shepherd>> {
    shepherd: T,
    since: Instant,
}

/// Whether there are idle shepherds that are to be sent home some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surplus {
    None,
    Some,
    /// From now on there are more than are kept for long: the next is due sooner than was known.
    Burst,
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

    fn is_burst(&self) -> bool {
        self.own_session.len() > STEADY || self.client_session.len() > STEADY
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

    /// The guardian that serves a thread of these rights, if there is one.
    #[cfg(not(netrunner_portable))]
    pub(crate) fn guardian(&self, rights: &Rights) -> Option<Arc<Guardian>> {
        self.lock().guardian.as_ref().filter(|guardian| guardian.serves(rights)).map(Arc::clone)
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
        if state.is_burst() && !std::mem::replace(&mut state.burst, true) {
            Surplus::Burst
        } else if state.own_session.len() > 1 || !state.client_session.is_empty() {
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
        let mut state = self.lock();
        let client = state.client_session.len();
        let own = state.own_session.len().min(n);
        let home = [
            drop_oldest(&mut state.own_session, own),
            drop_oldest(&mut state.client_session, client.min(n - own)),
        ];
        drop(state);
        drop(home);
    }

    pub(crate) fn idle(&self) -> usize {
        let state = self.lock();
        state.own_session.len() + state.client_session.len()
    }

    /// Sends home what has been idle for too long, all but one, which keeps the next command quick.
    /// Returns when the next is due.
    pub(crate) fn trim(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let (own, next_own) = late(&mut state.own_session, 1, now);
        let (client, next_client) = late(&mut state.client_session, 0, now);
        state.burst = state.is_burst();
        drop(state);
        drop((own, client));
        let next = next_own.into_iter().chain(next_client).min();
        next.map(|next| next.max(now + TRIM_PAUSE))
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

/// Takes out the least recently used, until `most` are left.
fn drop_oldest<T>(idle: &mut Vec<Idle<T>>, most: usize) -> Vec<Idle<T>> {
    let over = idle.len().saturating_sub(most);
    idle.drain(..over).collect()
}

/// Takes out what has been idle for too long, all but `keep`; and says when the next will be.
fn late<T>(idle: &mut Vec<Idle<T>>, keep: usize, now: Instant) -> (Vec<Idle<T>>, Option<Instant>) {
    // The least recently used come first.
    let count = idle.len();
    let due = |at: usize, idle: &Idle<T>| match count - at {
        left if left > STEADY => Some(idle.since + BURST_FOR),
        left if left > keep => Some(idle.since + IDLE_FOR),
        _ => None,
    };
    let is_late = |(at, idle): &(usize, &Idle<T>)| due(*at, idle).is_some_and(|due| due <= now);
    let late = idle.iter().enumerate().take_while(is_late).count();
    let next = idle.get(late).and_then(|idle| due(late, idle));
    (idle.drain(..late).collect(), next)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that became idle at each of these seconds.
    fn idle(start: Instant, since: impl IntoIterator<Item = u64>) -> Vec<Idle<u64>> {
        let at = |at| Idle { shepherd: at, since: start + Duration::from_secs(at) };
        since.into_iter().map(at).collect()
    }

    fn names(idle: &[Idle<u64>]) -> Vec<u64> {
        idle.iter().map(|idle| idle.shepherd).collect()
    }

    #[test]
    fn what_a_burst_has_brought_goes_first_then_all_but_the_last() {
        let start = Instant::now();
        let second = |at| start + Duration::from_secs(at);
        let mut all = idle(start, std::iter::repeat_n(0, 40).chain([1, 5]));
        let (gone, next) = late(&mut all, 1, second(1));
        assert_eq!((gone.len(), next), (0, Some(second(2))));
        let (gone, next) = late(&mut all, 1, second(2));
        assert_eq!((gone.len(), all.len(), next), (10, STEADY, Some(second(10))));
        let (gone, next) = late(&mut all, 1, second(10));
        assert_eq!((gone.len(), names(&all), next), (30, vec![1, 5], Some(second(11))));
        let (gone, next) = late(&mut all, 1, second(60));
        assert_eq!((names(&gone), names(&all), next), (vec![1], vec![5], None));
        let (gone, next) = late(&mut all, 0, second(60));
        assert_eq!((names(&gone), all.len(), next), (vec![5], 0, None));
    }

    #[test]
    fn the_least_recently_used_are_one_too_many() {
        let mut all = idle(Instant::now(), [1, 2, 3]);
        assert_eq!(names(&drop_oldest(&mut all, 2)), [1]);
        assert_eq!(names(&all), [2, 3]);
        assert!(drop_oldest(&mut all, 5).is_empty());
        assert_eq!(drop_oldest(&mut all, 0).len(), 2);
    }
}
