//! Mixtures that change at given rows: each stretch of rows has weights of its own.
//!
//! A phase goes on with every source where the one before left it. A phase whose sources have all ended is over, and the
//! next begins at once. With one phase this is the [`Mixture`] alone.

use crate::error::{PackingError, Result};
use crate::mixture::{Mixture, Place};
use crate::permutation::key;

/// Weights from one row on.
#[derive(Clone, Debug)]
pub struct Phase {
    /// The first row of these weights; 0 in the first phase.
    pub first_row: u64,
    /// One per source; 0: none of it in this phase.
    pub weights: Vec<f64>,
}

/// One phase with what came before it.
#[derive(Clone, Debug)]
struct Stretch {
    first_row: u64,
    num_rows: u64,
    used: Vec<u64>,
    sources: Vec<usize>,
    mixture: Mixture,
}

/// The interleaving of several sources, phase after phase.
#[derive(Clone, Debug)]
pub struct Schedule {
    stretches: Vec<Stretch>,
}

/// A place in a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulePlace {
    stretch: usize,
    left: u64,
    place: Option<Place>,
}

impl Schedule {
    /// Mixes sources that have `limits` rows by `phases`.
    ///
    /// # Errors
    /// `Input` when there is no source, a weight is negative, not finite or 0 everywhere, or rows do not rise.
    pub fn new(phases: &[Phase], limits: &[u64], key_of_mixture: u64) -> Result<Self> {
        check(phases, limits.len())?;
        let mut used = vec![0_u64; limits.len()];
        let mut first_row = 0_u64;
        let mut stretches = Vec::with_capacity(phases.len());
        for (number, phase) in phases.iter().enumerate() {
            let sources: Vec<usize> = (0..limits.len()).filter(|&source| phase.weights[source] > 0.0).collect();
            let weights: Vec<f64> = sources.iter().map(|&source| phase.weights[source]).collect();
            let left: Vec<u64> = sources.iter().map(|&source| limits[source] - used[source]).collect();
            let phase_key = if number == 0 { key_of_mixture } else { key(&[key_of_mixture, number as u64]) };
            let mixture = Mixture::new(&weights, &left, phase_key)?;
            let wanted = phases.get(number + 1).map_or(u64::MAX, |next| next.first_row - phase.first_row);
            let num_rows = mixture.num_rows().min(wanted);
            let counts = mixture.place(num_rows);
            stretches.push(Stretch { first_row, num_rows, used: used.clone(), sources: sources.clone(), mixture });
            for (&source, &count) in sources.iter().zip(counts.counts()) {
                used[source] += count;
            }
            first_row = first_row.saturating_add(num_rows);
        }
        Ok(Self { stretches })
    }

    /// Rows of all phases together.
    pub fn num_rows(&self) -> u64 {
        self.stretches.last().map_or(0, |last| last.first_row.saturating_add(last.num_rows))
    }

    /// The place before `row`.
    pub fn place(&self, row: u64) -> SchedulePlace {
        let stretch = self.stretches.partition_point(|stretch| stretch.first_row <= row).saturating_sub(1);
        let here = &self.stretches[stretch];
        let inside = (row - here.first_row).min(here.num_rows);
        SchedulePlace { stretch, left: here.num_rows - inside, place: Some(here.mixture.place(inside)) }
    }

    /// The source and its row that come next; moves on. `None` when all phases have ended.
    pub fn advance(&self, at: &mut SchedulePlace) -> Option<(usize, u64)> {
        while at.left == 0 {
            let next = self.stretches.get(at.stretch + 1)?;
            *at = SchedulePlace { stretch: at.stretch + 1, left: next.num_rows, place: None };
        }
        let here = &self.stretches[at.stretch];
        let place = at.place.get_or_insert_with(|| here.mixture.place(0));
        let (number, row) = here.mixture.advance(place)?;
        at.left -= 1;
        let source = here.sources[number];
        Some((source, here.used[source] + row))
    }
}

fn check(phases: &[Phase], num_sources: usize) -> Result<()> {
    let input = |reason: String| Err(PackingError::Input(reason));
    if num_sources == 0 || phases.is_empty() {
        return input("no source is given; give at least one dataset and its weight".into());
    }
    if phases[0].first_row != 0 || phases.windows(2).any(|pair| pair[0].first_row >= pair[1].first_row) {
        return input("the phases of a schedule must begin at step 0 and rise".into());
    }
    for phase in phases {
        if let Some(weight) = phase.weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return input(format!(
                "a weight is {weight}; give finite numbers above 0, or 0 in a phase without a source"
            ));
        }
        if phase.weights.len() != num_sources || phase.weights.iter().all(|weight| *weight == 0.0) {
            return input("each phase needs one weight per source, at least one of them above 0".into());
        }
    }
    let idle = (0..num_sources).find(|&source| phases.iter().all(|phase| phase.weights[source] == 0.0));
    idle.map_or(Ok(()), |source| {
        input(format!("the weight of source {source} is 0 in every phase; leave sources you do not want out"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_place_is_where_walking_leads(
            limits in prop::collection::vec(0_u64..60, 1..4),
            lengths in prop::collection::vec(1_u64..50, 1..4),
            weights in prop::collection::vec(prop::collection::vec(0.0_f64..1.0, 4), 4),
            row in 0_u64..200,
            seed: u64,
        ) {
            let mut first_row = 0;
            let mut phases = vec![];
            for (number, length) in lengths.iter().enumerate() {
                let mut weights: Vec<f64> = weights[number][..limits.len()].to_vec();
                weights[number % limits.len()] = 0.5;
                if number == 0 {
                    weights.iter_mut().for_each(|weight| *weight += 0.01);
                } else if weights.len() > 1 {
                    weights[(number + 1) % limits.len()] = 0.0;
                }
                phases.push(Phase { first_row, weights });
                first_row += length;
            }
            let Ok(schedule) = Schedule::new(&phases, &limits, seed) else { return Err(TestCaseError::fail("refused")) };
            let mut walked = schedule.place(0);
            let mut next = vec![0_u64; limits.len()];
            let mut rows = vec![];
            while let Some((source, row)) = schedule.advance(&mut walked) {
                prop_assert_eq!(row, next[source], "a source's rows come in order, none left out");
                next[source] += 1;
                rows.push((source, row));
            }
            prop_assert_eq!(rows.len() as u64, schedule.num_rows());
            let row = row.min(schedule.num_rows());
            let mut jumped = schedule.place(row);
            for expected in &rows[row as usize..] {
                prop_assert_eq!(schedule.advance(&mut jumped), Some(*expected));
            }
            prop_assert_eq!(schedule.advance(&mut jumped), None);
        }
    }
}
