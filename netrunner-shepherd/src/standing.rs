//! How a shepherd's standing fits into one word of the page that it shares with the guardian.

use core::time::Duration;

use netrunner_core::supervise::Standing;

/// Zero for an idle shepherd, the largest number for one that keeps something, else the grace in
/// nanoseconds + 1.
pub(crate) fn encode(standing: Standing) -> u64 {
    match standing {
        Standing::Idle => 0,
        Standing::Kept => u64::MAX,
        Standing::Busy(grace) => {
            u64::try_from(grace.as_nanos()).unwrap_or(u64::MAX).clamp(0, u64::MAX - 2) + 1
        }
    }
}

pub(crate) fn decode(word: u64) -> Standing {
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
