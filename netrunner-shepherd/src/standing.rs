//! What a shepherd tells the guardian on the page that they share: how things stand, in one word.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use netrunner_core::supervise::Standing;

/// The words of one shepherd on the page.
pub(crate) const WORDS: usize = if cfg!(netrunner_portable) { 2 } else { 1 };

/// A shepherd's place on the page, where the guardian reads how things stand.
#[derive(Clone, Copy)]
pub(crate) struct Slot(&'static [AtomicU64]);

impl Slot {
    /// The one of this number.
    pub(crate) fn of(page: &'static [AtomicU64], number: usize) -> Slot {
        Slot(&page[number * WORDS..][..WORDS])
    }

    pub(crate) fn set(self, standing: Standing) {
        self.0[0].store(encode(standing), Ordering::Release);
    }

    pub(crate) fn get(self) -> Standing {
        decode(self.0[0].load(Ordering::Acquire))
    }
}

#[cfg(netrunner_portable)]
mod group {
    //! The group that is to be killed should the shepherd die, where no orphan comes to the guardian: the number
    //! in the second word, and above it whether the child leads a session of its own.

    use core::sync::atomic::Ordering;

    use netrunner_core::message::Pid;

    use super::Slot;

    const LEADS_SESSION: u64 = 1 << 32;

    /// What a child has told of its group.
    pub(crate) struct Told {
        pub(crate) group: Pid,
        pub(crate) leads_session: bool,
    }

    impl Slot {
        pub(crate) fn tell_group(self, group: Pid, leads_session: bool) {
            let flag = if leads_session { LEADS_SESSION } else { 0 };
            self.0[1].store(u64::from(group.0) | flag, Ordering::SeqCst);
        }

        pub(crate) fn forget_group(self) {
            self.0[1].store(0, Ordering::SeqCst);
        }

        pub(crate) fn group(self) -> Option<Told> {
            let word = self.0[1].load(Ordering::SeqCst);
            let told = Told { group: Pid(word as u32), leads_session: word & LEADS_SESSION != 0 };
            (told.group.0 != 0).then_some(told)
        }
    }
}

/// Zero for an idle shepherd, the largest number for one that keeps something, else the grace in
/// nanoseconds + 1.
fn encode(standing: Standing) -> u64 {
    match standing {
        Standing::Idle => 0,
        Standing::Kept => u64::MAX,
        Standing::Busy(grace) => {
            u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX).clamp(0, u64::MAX - 2) + 1
        }
    }
}

fn decode(word: u64) -> Standing {
    match word {
        0 => Standing::Idle,
        u64::MAX => Standing::Kept,
        grace => Standing::Busy(Duration::from_nanos(grace - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_survives_the_page() {
        for standing in [
            Standing::Idle,
            Standing::Kept,
            Standing::Busy(Duration::ZERO),
            Standing::Busy(Duration::from_secs(5)),
        ] {
            assert_eq!(decode(encode(standing)), standing);
        }
        assert!(matches!(decode(encode(Standing::Busy(Duration::MAX))), Standing::Busy(_)));
    }
}
