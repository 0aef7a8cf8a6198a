//! How often a failed job is tried again, and after which pauses.

use std::time::Duration;

/// How often a job that has failed is tried again, and after which pauses: each is twice as long as the
/// one before.
///
/// ```
/// use std::time::Duration;
/// use netrunner_sync::{Jobs, Retries};
///
/// let mut jobs = Jobs::new(4);
/// jobs.retries(2); // pauses of 100 and 200 ms
/// jobs.retries(Retries::new(10).pause(Duration::from_secs(1)).longest(Duration::from_secs(60)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    times: u32,
    pause: Duration,
    longest: Duration,
}

impl Retries {
    /// At most so many tries after the first, with pauses from 100 ms up to 30 s.
    ///
    /// ```
    /// use netrunner_sync::{Command, Jobs, Retries};
    ///
    /// let mut jobs = Jobs::new(1);
    /// jobs.retries(Retries::new(2));
    /// jobs.push(Command::new("true")); // needs none
    /// assert!(jobs.next().unwrap().is_success());
    /// ```
    #[must_use]
    pub fn new(times: u32) -> Retries {
        Retries { times, pause: Duration::from_millis(100), longest: Duration::from_secs(30) }
    }

    /// The pause before the first of them.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// // After 1, 2 and 4 seconds.
    /// let retries = netrunner_sync::Retries::new(3).pause(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn pause(self, pause: Duration) -> Retries {
        Retries { pause, ..self }
    }

    /// No pause is longer.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// // After 1, 2, 2 and 2 seconds.
    /// let retries = netrunner_sync::Retries::new(4).pause(Duration::from_secs(1));
    /// let retries = retries.longest(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn longest(self, longest: Duration) -> Retries {
        Retries { longest, ..self }
    }

    /// The pause after so many tries, if there is to be another one.
    pub(crate) fn after(&self, tries: u32) -> Option<Duration> {
        let doublings = tries.checked_sub(1).filter(|done| *done < self.times)?;
        let pause = 2_u32.checked_pow(doublings).and_then(|times| self.pause.checked_mul(times));
        Some(pause.map_or(self.longest, |pause| pause.min(self.longest)))
    }
}

impl From<u32> for Retries {
    fn from(times: u32) -> Retries {
        Retries::new(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let ms = Duration::from_millis;
        let retries = Retries::new(4).pause(ms(10)).longest(ms(35));
        let pauses: Vec<_> = (1..7).map(|tries| retries.after(tries)).collect();
        assert_eq!(pauses, [Some(ms(10)), Some(ms(20)), Some(ms(35)), Some(ms(35)), None, None]);
        assert_eq!(Retries::new(0).after(1), None);
        assert_eq!(Retries::new(u32::MAX).after(u32::MAX), Some(Duration::from_secs(30)));
    }
}
