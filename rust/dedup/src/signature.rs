//! MinHash signatures (Broder 1997): for each of `num_perm` permutations of the 32-bit numbers, the smallest image of a
//! text's shingles.
//!
//! A permutation is `x ↦ a·x + b mod 2³²` with odd `a`, applied to the upper half of the mixed shingle hash: one
//! multiplication per shingle and permutation, in vector registers where the machine has AVX2 (told at run time; the
//! result is the same). Ours, against the usual arithmetic modulo a prime: candidates are verified, so a signature only has
//! to find them, and its input is mixed well already.

use crate::hash::SplitMix64;

/// The permutations of one seed.
pub struct Permutations {
    multipliers: Vec<u32>,
    additions: Vec<u32>,
}

impl Permutations {
    /// `num_perm` permutations drawn from splitmix64 of `seed`.
    pub fn new(num_perm: usize, seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let drawn: Vec<u64> = (0..num_perm).map(|_| random.next()).collect();
        Self {
            multipliers: drawn.iter().map(|bits| (*bits as u32) | 1).collect(),
            additions: drawn.iter().map(|bits| (bits >> 32) as u32).collect(),
        }
    }

    /// Makes `signature` that of a text without shingles: all `u32::MAX`, one number per permutation.
    pub fn begin(&self, signature: &mut Vec<u32>) {
        signature.clear();
        signature.resize(self.multipliers.len(), u32::MAX);
    }

    /// Lowers the numbers of `signature` to those of `shingles`, where they are lower.
    pub fn lower(&self, shingles: &[u64], signature: &mut [u32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, all that the function asks for.
            unsafe { sign_avx2(&self.multipliers, &self.additions, shingles, signature) };
            return;
        }
        sign_block(&self.multipliers, &self.additions, shingles, signature);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sign_avx2(multipliers: &[u32], additions: &[u32], shingles: &[u64], signature: &mut [u32]) {
    sign_block(multipliers, additions, shingles, signature);
}

/// Permutations in blocks that stay in registers while all shingles pass.
#[inline(always)]
fn sign_block(multipliers: &[u32], additions: &[u32], shingles: &[u64], signature: &mut [u32]) {
    const LANES: usize = 16;
    let mut blocks = signature.chunks_exact_mut(LANES);
    let mut a = multipliers.chunks_exact(LANES);
    let mut b = additions.chunks_exact(LANES);
    for ((least, a), b) in (&mut blocks).zip(&mut a).zip(&mut b) {
        let mut low = [u32::MAX; LANES];
        low.copy_from_slice(least);
        for shingle in shingles {
            let x = (shingle >> 32) as u32;
            for lane in 0..LANES {
                low[lane] = low[lane].min(x.wrapping_mul(a[lane]).wrapping_add(b[lane]));
            }
        }
        least.copy_from_slice(&low);
    }
    let rest = a.remainder().iter().zip(b.remainder());
    for (least, (a, b)) in blocks.into_remainder().iter_mut().zip(rest) {
        for shingle in shingles {
            *least = (*least).min(((shingle >> 32) as u32).wrapping_mul(*a).wrapping_add(*b));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_path_gives_the_plain_definition(shingles in prop::collection::vec(any::<u64>(), 0..40), num_perm in 1_usize..70) {
            let permutations = Permutations::new(num_perm, 7);
            let mut fast = Vec::new();
            permutations.begin(&mut fast);
            shingles.chunks(7).for_each(|block| permutations.lower(block, &mut fast));
            let plain: Vec<u32> = permutations.multipliers.iter().zip(&permutations.additions).map(|(a, b)| {
                shingles.iter().map(|s| ((s >> 32) as u32).wrapping_mul(*a).wrapping_add(*b)).min().unwrap_or(u32::MAX)
            }).collect();
            prop_assert_eq!(&fast, &plain);
            let mut portable = vec![u32::MAX; num_perm];
            sign_block(&permutations.multipliers, &permutations.additions, &shingles, &mut portable);
            prop_assert_eq!(portable, plain);
        }
    }
}
