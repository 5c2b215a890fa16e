//! Medians: how certain one is, and when it is refused.

/// Fewer readings than this make no median.
const FEWEST: usize = 5;

/// A median that may lie anywhere in a range wider than this part of it is refused.
const WIDEST: f64 = 0.3;

/// How far from the middle that range reaches, in the root of the number of readings: with 95 %
/// certainty, half of 1.96 standard deviations of the number of readings below the true median,
/// which is binomial. Nothing is assumed of how readings are distributed.
const CERTAIN: f64 = 1.96 / 2.0;

/// A median, its spread, and how certain it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Middle {
    pub(crate) quarter: f64,
    pub(crate) half: f64,
    pub(crate) three_quarters: f64,
    /// Width of the range in which the true median is.
    uncertain: f64,
    pub(crate) readings: usize,
}

impl Middle {
    pub(crate) fn of(readings: &[f64]) -> Option<Self> {
        if readings.is_empty() {
            return None;
        }
        let mut sorted = readings.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted[(sorted.len() - 1) * part / 4];
        let count = sorted.len() as f64;
        // Half a reading for what a normal distribution leaves out of a binomial one.
        let below = (count / 2.0 - CERTAIN * count.sqrt() - 0.5).max(0.0) as usize;
        Some(Self {
            quarter: at(1),
            half: at(2),
            three_quarters: at(3),
            uncertain: sorted[sorted.len() - 1 - below] - sorted[below],
            readings: sorted.len(),
        })
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.refusal().is_none()
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        if self.readings < FEWEST {
            Some(format!("too few readings: {}", self.readings))
        } else if self.uncertain > WIDEST * self.half {
            let part = 100.0 * self.uncertain / self.half;
            Some(format!("too noisy: median uncertain by {part:.0} %"))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `counts` readings of each value.
    fn refusal(counts: &[(usize, f64)]) -> Option<String> {
        let readings: Vec<_> =
            counts.iter().flat_map(|&(count, value)| vec![value; count]).collect();
        Middle::of(&readings).unwrap().refusal()
    }

    #[test]
    fn a_median_that_is_certain_counts_however_far_single_readings_stray() {
        assert_eq!(refusal(&[(26, 100.0)]), None);
        assert_eq!(refusal(&[(10, 90.0), (10, 100.0), (6, 900.0)]), None);
        assert_eq!(refusal(&[(50, 90.0), (50, 100.0), (30, 900.0)]), None);
    }

    #[test]
    fn a_median_that_may_be_elsewhere_is_refused() {
        // Of two ways to run, either may be the usual one.
        let refused = Some("too noisy: median uncertain by 100 %".to_string());
        assert_eq!(refusal(&[(14, 100.0), (12, 200.0)]), refused);
        assert_eq!(refusal(&[(68, 100.0), (62, 200.0)]), refused);
        // Of few readings, all count.
        assert_eq!(refusal(&[(6, 100.0), (1, 200.0)]), refused);
        assert_eq!(refusal(&[(4, 100.0)]), Some("too few readings: 4".into()));
    }
}
