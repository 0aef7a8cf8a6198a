//! Medians, quantiles, and ratios paired round by round. Knows only numbers.

/// What a series of samples comes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) rounds: usize,
    pub(crate) p10: f64,
    pub(crate) median: f64,
    pub(crate) p95: f64,
}

/// A ratio to another series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
}

/// The value below which a share of the samples lies, between two samples in proportion.
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

pub(crate) fn summary(samples: &[f64]) -> Summary {
    Summary {
        rounds: samples.len(),
        p10: quantile(samples, 0.1),
        median: median(samples),
        p95: quantile(samples, 0.95),
    }
}

/// Each sample of the one over the sample of the other from the same round: what slows a whole
/// round down then slows both.
pub(crate) fn paired(samples: &[f64], base: &[f64]) -> Ratio {
    let ratios: Vec<f64> = samples.iter().zip(base).map(|(sample, base)| sample / base).collect();
    Ratio {
        lower_quartile: quantile(&ratios, 0.25),
        median: median(&ratios),
        upper_quartile: quantile(&ratios, 0.75),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours_in_proportion() {
        let samples = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&samples), 2.5);
        assert_eq!(quantile(&samples, 0.0), 1.0);
        assert_eq!(quantile(&samples, 1.0), 4.0);
        assert_eq!(quantile(&[7.0], 0.95), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // A slow second round slows both: the ratio stays.
        let ratio = paired(&[1.0, 100.0, 1.0], &[2.0, 200.0, 2.0]);
        assert_eq!((ratio.lower_quartile, ratio.median, ratio.upper_quartile), (0.5, 0.5, 0.5));
    }
}
