//! Attention of one new token to what its sequence holds already.

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
