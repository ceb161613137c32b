//! Which source each row comes from.
//!
//! Row `j` of source `s` is due at the time `(j + phase_s) / weight_s`; rows come in the order of their times, and of the
//! sources where times are equal. In any stretch a source then has its share within one row per source, the order needs
//! no state, and the place of row `r` follows from counting (bisection over time). A source that has ended leaves its share
//! to the others. Ours, because drawing a source at random per row would need a count of all draws before it.

use crate::error::{PackingError, Result};
use crate::permutation::Random;

/// Weights are whole numbers that add up to about 2^32, and so is one row's worth of time.
const UNIT_BITS: u32 = 32;
/// Due times of fewer rows than this can be compared exactly in `u128`.
const MAX_ROWS: u64 = 1 << 62;

/// The interleaving of several sources.
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<u64>,
    phases: Vec<u64>,
    limits: Vec<u64>,
}

/// A place in the interleaving: how many rows of each source came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    counts: Vec<u64>,
}

impl Place {
    /// For each source, how many of its rows came before.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

impl Mixture {
    /// Mixes sources by `weights` (any positive numbers); source `s` has `limits[s]` rows.
    ///
    /// # Errors
    /// `Input` when there is no source or a weight is not positive and finite.
    pub fn new(weights: &[f64], limits: &[u64], key: u64) -> Result<Self> {
        if weights.is_empty() || weights.len() != limits.len() {
            return Err(PackingError::Input("no source is given; give at least one dataset and its weight".into()));
        }
        if let Some(weight) = weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
            return Err(PackingError::Input(format!(
                "a weight is {weight}; give finite numbers above 0, leave sources you do not want out"
            )));
        }
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let sum: f64 = weights.iter().map(|weight| weight / largest).sum();
        let whole = |weight: f64| ((weight / largest / sum * (1_u64 << UNIT_BITS) as f64).round() as u64).max(1);
        let mut random = Random::new(key);
        Ok(Self {
            weights: weights.iter().map(|&weight| whole(weight)).collect(),
            phases: weights.iter().map(|_| random.below(1 << UNIT_BITS)).collect(),
            limits: limits.iter().map(|&limit| limit.min(MAX_ROWS)).collect(),
        })
    }

    /// Rows of all sources together.
    pub fn num_rows(&self) -> u64 {
        self.limits.iter().fold(0, |sum, &limit| sum.saturating_add(limit))
    }

    /// The place before `row`.
    pub fn place(&self, row: u64) -> Place {
        let (mut low, mut high) = (0_u128, 1_u128 << 95);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.counts(middle).map(u128::from).sum::<u128>() <= u128::from(row) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let mut place = Place { counts: self.counts(low).collect() };
        let counted: u64 = place.counts.iter().sum();
        for _ in counted..row {
            self.advance(&mut place);
        }
        place
    }

    /// The source and its row that come next; moves on. `None` when all sources have ended.
    pub fn advance(&self, place: &mut Place) -> Option<(usize, u64)> {
        let due = |source: usize| (u128::from(place.counts[source]) << UNIT_BITS) + u128::from(self.phases[source]);
        let open = (0..self.weights.len()).filter(|&source| place.counts[source] < self.limits[source]);
        let next = open.reduce(|best, other| {
            let earlier = due(other) * u128::from(self.weights[best]) < due(best) * u128::from(self.weights[other]);
            if earlier { other } else { best }
        })?;
        place.counts[next] += 1;
        Some((next, place.counts[next] - 1))
    }

    /// For each source, how many of its rows are due before `time`.
    fn counts(&self, time: u128) -> impl Iterator<Item = u64> + '_ {
        self.weights.iter().zip(&self.phases).zip(&self.limits).map(move |((&weight, &phase), &limit)| {
            let scaled = (time * u128::from(weight)).saturating_sub(u128::from(phase));
            scaled.div_ceil(1 << UNIT_BITS).min(u128::from(limit)) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mixture(weights: &[f64], limits: &[u64], key: u64) -> Mixture {
        Mixture::new(weights, limits, key).unwrap_or_else(|error| unreachable!("{error}"))
    }

    proptest! {
        #[test]
        fn any_place_is_where_walking_leads(
            sources in prop::collection::vec((1e-6_f64..1.0, 0_u64..60), 1..6),
            row in 0_u64..200,
            key: u64,
        ) {
            let (weights, limits): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
            let mixture = mixture(&weights, &limits, key);
            let row = row.min(mixture.num_rows());
            let mut walked = mixture.place(0);
            prop_assert_eq!(walked.counts.iter().sum::<u64>(), 0);
            for _ in 0..row {
                prop_assert!(mixture.advance(&mut walked).is_some());
            }
            prop_assert_eq!(&walked, &mixture.place(row));
            prop_assert_eq!(mixture.advance(&mut walked).is_none(), row == mixture.num_rows());
        }

        #[test]
        fn shares_are_kept_at_every_row(weights in prop::collection::vec(0.01_f64..1.0, 1..6), row in 0_u64..1_000_000, key: u64) {
            let mixture = mixture(&weights, &vec![u64::MAX; weights.len()], key);
            let sum: f64 = weights.iter().sum();
            for (count, weight) in mixture.place(row).counts.iter().zip(&weights) {
                let share = weight / sum * row as f64;
                prop_assert!((*count as f64 - share).abs() <= weights.len() as f64 + 1.0);
            }
        }
    }
}
