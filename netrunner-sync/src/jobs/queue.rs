//! The commands that wait: by priority, then in the order of their pushes; and those that wait for a
//! time to try again. Knows nothing of commands.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Instant;

use super::JobId;

/// Who comes first.
type Rank = (Reverse<i32>, JobId);

/// Jobs that wait, each with what is to be run.
#[derive(Debug)]
pub(super) struct Queue<T> {
    ready: BTreeMap<Rank, T>,
    later: BTreeMap<(Instant, Rank), T>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Queue<T> {
        Queue { ready: BTreeMap::new(), later: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len() + self.later.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, id: JobId, priority: i32, job: T) {
        self.ready.insert((Reverse(priority), id), job);
    }

    /// Not before this time. Until then others go first, whatever their priority.
    pub(super) fn push_at(&mut self, at: Instant, id: JobId, priority: i32, job: T) {
        self.later.insert((at, (Reverse(priority), id)), job);
    }

    /// The next that may start at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(JobId, i32, T)> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, rank), job) = first.remove_entry();
            self.ready.insert(rank, job);
        }
        let ((Reverse(priority), id), job) = self.ready.pop_first()?;
        Some((id, priority, job))
    }

    /// Whether one may start at `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.ready.is_empty()
            || self.later.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }

    /// When one may start that may not yet; nothing if one may start at once, or there is none.
    pub(super) fn next_time(&self) -> Option<Instant> {
        if !self.ready.is_empty() {
            return None;
        }
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: JobId) -> Option<T> {
        let is_it = |rank: &Rank| rank.1 == id;
        if let Some(rank) = self.ready.keys().copied().find(is_it) {
            return self.ready.remove(&rank);
        }
        let key = self.later.keys().copied().find(|(_, rank)| is_it(rank))?;
        self.later.remove(&key)
    }

    /// Takes all out, in the order of their pushes.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (JobId, T)> + use<T> {
        let ready = std::mem::take(&mut self.ready).into_iter().map(|((_, id), job)| (id, job));
        let later =
            std::mem::take(&mut self.later).into_iter().map(|((_, (_, id)), job)| (id, job));
        ready.chain(later).collect::<BTreeMap<_, _>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(queue: &mut Queue<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(now).map(|(_, _, job)| job)).collect()
    }

    #[test]
    fn the_higher_priority_goes_first_then_the_earlier_push() {
        let mut queue = Queue::new();
        for (number, (priority, job)) in
            [(0, "c"), (5, "a"), (-1, "e"), (5, "b"), (0, "d")].into_iter().enumerate()
        {
            queue.push(JobId(number as u64), priority, job);
        }
        assert_eq!(names(&mut queue, Instant::now()), ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn what_has_to_wait_holds_nobody_up_and_is_not_forgotten() {
        let now = Instant::now();
        let second = |at| now + Duration::from_secs(at);
        let mut queue = Queue::new();
        queue.push_at(second(2), JobId(0), 9, "late");
        queue.push_at(second(1), JobId(1), 0, "sooner");
        assert_eq!(queue.next_time(), Some(second(1)));
        queue.push(JobId(2), -5, "now");
        assert_eq!((queue.next_time(), queue.len()), (None, 3));
        assert_eq!(names(&mut queue, now), ["now"]);
        // Once both are due, the priority counts again.
        assert_eq!(names(&mut queue, second(2)), ["late", "sooner"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn jobs_are_taken_out_wherever_they_wait() {
        let now = Instant::now();
        let mut queue = Queue::new();
        queue.push(JobId(2), 7, "c");
        queue.push(JobId(0), 0, "a");
        queue.push_at(now, JobId(1), 0, "b");
        queue.push_at(now, JobId(3), 0, "d");
        assert_eq!(queue.remove(JobId(2)), Some("c"));
        assert_eq!(queue.remove(JobId(3)), Some("d"));
        assert_eq!(queue.remove(JobId(3)), None);
        let left: Vec<_> = queue.drain().collect();
        assert_eq!(left, [(JobId(0), "a"), (JobId(1), "b")]);
        assert!(queue.is_empty());
    }
}
