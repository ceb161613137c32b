//! A matrix laid out for products with few rows: panels of 32 outputs, each read once from end to end.

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::error::{Result, sized};
use crate::kernels::{LANES, Level};

/// Inputs that are laid out together.
const AT_ONCE: usize = 16;

/// A linear layer's weights.
pub struct Matrix {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, LANES]`; what is beyond the last output is zero.
    panels: Vec<f32>,
    /// `[panels, LANES]`.
    bias: Vec<[f32; LANES]>,
}

impl Matrix {
    /// Lays out `weight`, `[outputs, inputs]` by rows.
    ///
    /// # Errors
    /// The sizes do not fit each other.
    pub fn new(weight: &[f32], outputs: usize, inputs: usize, bias: Option<&[f32]>) -> Result<Self> {
        sized("a weight", weight.len(), outputs * inputs)?;
        if let Some(bias) = bias {
            sized("a bias", bias.len(), outputs)?;
        }
        let count = outputs.div_ceil(LANES);
        let mut panels = vec![0.0; count * inputs * LANES];
        let mut biases = vec![[0.0; LANES]; count];
        for (number, (panel, rows)) in
            panels.chunks_exact_mut(inputs * LANES).zip(weight.chunks(inputs * LANES)).enumerate()
        {
            // A few inputs of all outputs at a time, so that what is written stays in the nearest cache.
            for (block, panel) in panel.chunks_mut(AT_ONCE * LANES).enumerate() {
                for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                    let row = &row[block * AT_ONCE..];
                    for (values, value) in panel.chunks_exact_mut(LANES).zip(row) {
                        values[lane] = *value;
                    }
                }
            }
            if let Some(bias) = bias {
                let own = &bias[number * LANES..outputs.min((number + 1) * LANES)];
                biases[number][..own.len()].copy_from_slice(own);
            }
        }
        Ok(Self { inputs, outputs, panels, bias: biases })
    }

    /// Numbers in a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Numbers in a row that is multiplied.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Adds `x weightᵀ + bias` to `out`, `[R, outputs]`; `x` is `[R, inputs]`, `scratch` anything.
    pub(crate) fn add_product(
        &self,
        level: Level,
        x: &[f32],
        pool: Option<&ThreadPool>,
        scratch: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        if x.is_empty() {
            return;
        }
        let rows = x.len() / self.inputs;
        scratch.resize(self.bias.len() * rows * LANES, 0.0);
        let size = self.inputs * LANES;
        let panel = |number: usize, target: &mut [f32]| {
            let weights = &self.panels[number * size..][..size];
            level.panel(x, self.inputs, weights, &self.bias[number], target);
        };
        match pool {
            Some(pool) => pool.install(|| {
                scratch.par_chunks_mut(rows * LANES).enumerate().for_each(|(number, target)| panel(number, target));
            }),
            None => scratch.chunks_mut(rows * LANES).enumerate().for_each(|(number, target)| panel(number, target)),
        }
        for (number, panel) in scratch.chunks_exact(rows * LANES).enumerate() {
            let begin = number * LANES;
            let width = LANES.min(self.outputs - begin);
            for (row, from) in panel.chunks_exact(LANES).enumerate() {
                let target = &mut out[row * self.outputs + begin..][..width];
                for (target, value) in target.iter_mut().zip(from) {
                    *target += value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_level_gives_the_plain_product_row_by_row(
            rows in 1_usize..20, inputs in 1_usize..40, outputs in 1_usize..70, seed in any::<u32>(), biased in any::<bool>()
        ) {
            let mut state = seed;
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
                }).collect()
            };
            let (x, weight, bias) = (draw(rows * inputs), draw(outputs * inputs), draw(outputs));
            let matrix = Matrix::new(&weight, outputs, inputs, biased.then_some(&bias)).unwrap();
            for level in Level::all() {
                let mut found = vec![1.0; rows * outputs];
                matrix.add_product(level, &x, None, &mut Vec::new(), &mut found);
                for row in 0..rows {
                    let mut alone = vec![1.0; outputs];
                    matrix.add_product(level, &x[row * inputs..][..inputs], None, &mut Vec::new(), &mut alone);
                    prop_assert_eq!(&alone, &found[row * outputs..][..outputs], "{:?} depends on its neighbours", level);
                    for output in 0..outputs {
                        let mut plain = 1.0 + f64::from(if biased { bias[output] } else { 0.0 });
                        for input in 0..inputs {
                            plain += f64::from(x[row * inputs + input]) * f64::from(weight[output * inputs + input]);
                        }
                        prop_assert!((f64::from(alone[output]) - plain).abs() < 1e-4, "{:?}", level);
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(Matrix::new(&[0.0; 5], 2, 3, None).is_err());
        assert!(Matrix::new(&[0.0; 6], 2, 3, Some(&[0.0])).is_err());
    }
}
