//! A point in time as the machines see it; reading a clock is the shell's work.

use core::time::Duration;

/// A point on a monotonic clock, in nanoseconds. Only times of one process compare.
///
/// ```
/// use core::time::Duration;
/// use netrunner_core::Time;
///
/// let start = Time::from_nanos(1_000);
/// let due = start.after(Duration::from_secs(5));
/// assert!(start < due);
/// assert_eq!(due.since(start), Duration::from_secs(5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The point `nanos` nanoseconds after the clock's origin.
    ///
    /// ```
    /// use netrunner_core::Time;
    /// assert!(Time::from_nanos(1) < Time::from_nanos(2));
    /// ```
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the clock's origin.
    ///
    /// ```
    /// use netrunner_core::Time;
    /// assert_eq!(Time::from_nanos(7).as_nanos(), 7);
    /// ```
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time `after` later; at the end of the clock's range (584 years) where that overflows.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netrunner_core::Time;
    ///
    /// let late = Time::from_nanos(7).after(Duration::MAX);
    /// assert_eq!(late, Time::from_nanos(u64::MAX));
    /// ```
    #[must_use]
    pub fn after(self, after: Duration) -> Time {
        Time(self.0.saturating_add(saturating_nanos(after)))
    }

    /// How long ago `earlier` was; zero if it is still to come.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netrunner_core::Time;
    ///
    /// let (early, late) = (Time::from_nanos(2), Time::from_nanos(7));
    /// assert_eq!(late.since(early), Duration::from_nanos(5));
    /// assert_eq!(early.since(late), Duration::ZERO);
    /// ```
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The duration in nanoseconds; the largest number where it does not fit.
pub(crate) fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_durations_saturate() {
        let late = Time::from_nanos(5).after(Duration::MAX);
        assert_eq!(late.as_nanos(), u64::MAX);
        assert_eq!(Time::from_nanos(3).since(late), Duration::ZERO);
    }
}
