//! Attention of one token to itself and what its sequence holds before it.

use crate::elementwise::{add_scaled, dot, exp};

/// What attention needs to know of the network and of the sequence.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys and values; each serves the same number of query heads.
    pub keys: usize,
    /// Numbers in a head.
    pub width: usize,
    /// Positions that a row of the cache holds.
    pub capacity: usize,
    /// The first position that is attended to.
    pub first: usize,
    /// The number of positions in the sequence, the new one among them.
    pub length: usize,
}

/// Writes softmax(q · K / √H) · V of every query head to `out`, `[N, H]`.
///
/// `qkv` begins with the queries `[N, H]`; `keys` and `values` are the sequence's `[K, capacity, H]`; `scores` is scratch.
#[inline(always)]
pub fn attend<const FUSED: bool>(
    heads: &Heads,
    qkv: &[f32],
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
    scores: &mut Vec<f32>,
) {
    let Heads { queries, keys: groups, width, capacity, first, length } = *heads;
    let scale = 1.0 / (width as f32).sqrt();
    scores.resize(length - first, 0.0);
    for (head, out) in out.chunks_exact_mut(width).enumerate().take(queries) {
        let start = (head / (queries / groups) * capacity + first) * width;
        let (keys, values) = (&keys[start..], &values[start..]);
        let query = &qkv[head * width..][..width];
        let mut highest = f32::NEG_INFINITY;
        for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
            *score = dot::<FUSED>(query, key) * scale;
            highest = highest.max(*score);
        }
        for score in scores.iter_mut() {
            *score = exp::<FUSED>(*score - highest);
        }
        let total: f32 = scores.iter().sum();
        out.fill(0.0);
        for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
            add_scaled::<FUSED>(value, *score, out);
        }
        for number in out {
            *number /= total;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::Level;

    proptest! {
        #[test]
        fn every_level_gives_the_plain_definition(
            groups in 1_usize..3, shared in 1_usize..4, width in prop::sample::select(vec![8_usize, 20, 32, 64, 128]),
            first in 0_usize..4, more in 1_usize..40, seed in any::<u32>()
        ) {
            let (queries, length) = (groups * shared, first + more);
            let capacity = length + 3;
            let mut state = seed;
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count).map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
                }).collect()
            };
            let qkv = draw(queries * width);
            let (keys, values) = (draw(groups * capacity * width), draw(groups * capacity * width));
            let heads = Heads { queries, keys: groups, width, capacity, first, length };
            for level in Level::all() {
                let mut out = vec![f32::NAN; queries * width];
                level.attend(&heads, &qkv, &keys, &values, &mut out, &mut Vec::new());
                for head in 0..queries {
                    let row = |cache: &[f32], place: usize| -> Vec<f64> {
                        let at = (head / shared * capacity + place) * width;
                        cache[at..at + width].iter().map(|x| f64::from(*x)).collect()
                    };
                    let weights: Vec<f64> = (first..length).map(|place| {
                        let dot: f64 = row(&keys, place).iter().zip(&qkv[head * width..]).map(|(k, q)| k * f64::from(*q)).sum();
                        (dot / (width as f64).sqrt()).exp()
                    }).collect();
                    let total: f64 = weights.iter().sum();
                    for column in 0..width {
                        let plain: f64 = (first..length).zip(&weights).map(|(place, weight)| row(&values, place)[column] * weight).sum();
                        prop_assert!((f64::from(out[head * width + column]) - plain / total).abs() < 1e-5, "{:?}", level);
                    }
                }
            }
        }
    }
}
