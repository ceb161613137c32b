//! The innermost loops, for each kind of processor; which one is chosen at run time.
//!
//! All `unsafe` of the crate is here.

use crate::attention::{Heads, attend};
use crate::elementwise;

/// Outputs of a matrix that are computed together.
pub const LANES: usize = 32;

/// What the processor can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit registers and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of plain loops.
    Portable,
}

impl Level {
    /// The best that this machine has.
    pub fn best() -> Self {
        Self::all().into_iter().next().unwrap_or(Self::Portable)
    }

    /// Every level that this machine has, the best first.
    pub fn all() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let fused = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
            if fused && std::arch::is_x86_feature_detected!("avx512f") {
                levels.push(Self::Avx512);
            }
            if fused {
                levels.push(Self::Avx2);
            }
        }
        levels.push(Self::Portable);
        levels
    }

    /// `out[r] = bias + x[r] · weights` for one panel: `x` is `[R, inputs]`, `weights` `[inputs, LANES]`, `out` `[R, LANES]`.
    pub fn panel(self, x: &[f32], inputs: usize, weights: &[f32], bias: &[f32; LANES], out: &mut [f32]) {
        assert!(
            weights.len() == inputs * LANES && out.len().is_multiple_of(LANES) && x.len() == out.len() / LANES * inputs
        );
        match self {
            // SAFETY: `best` and `all` give a level only where the machine has it; the sizes are asserted above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::panel_avx512(x, inputs, weights, bias, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::panel_avx2(x, inputs, weights, bias, out) },
            Self::Portable => panel_portable(x, inputs, weights, bias, out),
        }
    }

    /// Writes what one token's attention gives; see [`attend`].
    pub fn attend(
        self,
        heads: &Heads,
        qkv: &[f32],
        keys: &[f32],
        values: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        match self {
            // SAFETY: the machine has what the level says.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::attend_avx512(heads, qkv, keys, values, out, scores) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::attend_avx2(heads, qkv, keys, values, out, scores) },
            Self::Portable => attend::<false>(heads, qkv, keys, values, out, scores),
        }
    }

    /// Of one row of logits; see [`elementwise::likeliest`].
    pub fn likeliest(self, row: &[f32]) -> (usize, f32) {
        match self {
            // SAFETY: the machine has what the level says.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::likeliest_avx512(row) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::likeliest_avx2(row) },
            Self::Portable => elementwise::likeliest::<false>(row),
        }
    }

    /// `out = silu(gate) · up`; see [`elementwise::gated`].
    pub fn gated(self, gate: &[f32], up: &[f32], out: &mut [f32]) {
        match self {
            // SAFETY: the machine has what the level says.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::gated_avx512(gate, up, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::gated_avx2(gate, up, out) },
            Self::Portable => elementwise::gated::<false>(gate, up, out),
        }
    }

    /// `out = x / rms(x) · weight`; see [`elementwise::rms_norm`].
    pub fn rms_norm(self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        match self {
            // SAFETY: the machine has what the level says.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { x86::rms_norm_avx512(x, weight, eps, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::rms_norm_avx2(x, weight, eps, out) },
            Self::Portable => elementwise::rms_norm::<false>(x, weight, eps, out),
        }
    }
}

fn panel_portable(x: &[f32], inputs: usize, weights: &[f32], bias: &[f32; LANES], out: &mut [f32]) {
    for (row, out) in out.chunks_exact_mut(LANES).enumerate() {
        let mut sums = *bias;
        for (value, weights) in x[row * inputs..][..inputs].iter().zip(weights.chunks_exact(LANES)) {
            for lane in 0..LANES {
                sums[lane] += value * weights[lane];
            }
        }
        out.copy_from_slice(&sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_div_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };

    use super::{Heads, LANES, attend, elementwise};

    /// # Safety
    /// The machine has AVX-512F; `weights` holds `inputs * LANES` numbers, `out` R times `LANES`, `x` R times `inputs`.
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub unsafe fn panel_avx512(x: &[f32], inputs: usize, weights: &[f32], bias: &[f32; LANES], out: &mut [f32]) {
        let rows = out.len() / LANES;
        let mut row = 0;
        while row < rows {
            let (x, out) = (&x[row * inputs..], &mut out[row * LANES..]);
            // SAFETY: as promised, and as many rows are left as the block takes.
            row += unsafe {
                match rows - row {
                    1 => block_512::<1>(x, inputs, weights, bias, out),
                    2 => block_512::<2>(x, inputs, weights, bias, out),
                    3 => block_512::<3>(x, inputs, weights, bias, out),
                    4 => block_512::<4>(x, inputs, weights, bias, out),
                    5 => block_512::<5>(x, inputs, weights, bias, out),
                    6 => block_512::<6>(x, inputs, weights, bias, out),
                    7 => block_512::<7>(x, inputs, weights, bias, out),
                    _ => block_512::<8>(x, inputs, weights, bias, out),
                }
            };
        }
    }

    /// # Safety
    /// As `panel_avx512`, with M rows or more.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn block_512<const M: usize>(
        x: &[f32],
        inputs: usize,
        weights: &[f32],
        bias: &[f32; LANES],
        out: &mut [f32],
    ) -> usize {
        // SAFETY: all places lie inside the slices, as promised.
        unsafe {
            let begin: [__m512; 2] = [_mm512_loadu_ps(bias.as_ptr()), _mm512_loadu_ps(bias.as_ptr().add(16))];
            let mut sums = [begin; M];
            for k in 0..inputs {
                let at = weights.as_ptr().add(k * LANES);
                let (low, high) = (_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(16)));
                for (m, sum) in sums.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*x.get_unchecked(m * inputs + k));
                    sum[0] = _mm512_fmadd_ps(value, low, sum[0]);
                    sum[1] = _mm512_fmadd_ps(value, high, sum[1]);
                }
            }
            for (m, sum) in sums.iter().enumerate() {
                let at = out.as_mut_ptr().add(m * LANES);
                _mm512_storeu_ps(at, sum[0]);
                _mm512_storeu_ps(at.add(16), sum[1]);
            }
        }
        M
    }

    /// # Safety
    /// The machine has AVX2 and FMA; sizes as in `panel_avx512`.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn panel_avx2(x: &[f32], inputs: usize, weights: &[f32], bias: &[f32; LANES], out: &mut [f32]) {
        let rows = out.len() / LANES;
        let mut row = 0;
        while row < rows {
            let (x, out) = (&x[row * inputs..], &mut out[row * LANES..]);
            // SAFETY: as promised, and as many rows are left as the block takes.
            row += unsafe {
                match rows - row {
                    1 => block_256::<1>(x, inputs, weights, bias, out),
                    _ => block_256::<2>(x, inputs, weights, bias, out),
                }
            };
        }
    }

    /// # Safety
    /// As `panel_avx2`, with M rows or more.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block_256<const M: usize>(
        x: &[f32],
        inputs: usize,
        weights: &[f32],
        bias: &[f32; LANES],
        out: &mut [f32],
    ) -> usize {
        // SAFETY: all places lie inside the slices, as promised.
        unsafe {
            let begin: [__m256; 4] = std::array::from_fn(|i| _mm256_loadu_ps(bias.as_ptr().add(8 * i)));
            let mut sums = [begin; M];
            for k in 0..inputs {
                let at = weights.as_ptr().add(k * LANES);
                let weights: [__m256; 4] = std::array::from_fn(|i| _mm256_loadu_ps(at.add(8 * i)));
                for (m, sum) in sums.iter_mut().enumerate() {
                    let value = _mm256_set1_ps(*x.get_unchecked(m * inputs + k));
                    for i in 0..4 {
                        sum[i] = _mm256_fmadd_ps(value, weights[i], sum[i]);
                    }
                }
            }
            for (m, sum) in sums.iter().enumerate() {
                for (i, part) in sum.iter().enumerate() {
                    _mm256_storeu_ps(out.as_mut_ptr().add(m * LANES + 8 * i), *part);
                }
            }
        }
        M
    }

    /// # Safety
    /// The machine has AVX-512F; slices are as [`attend`] wants them.
    #[target_feature(enable = "avx2,fma,avx512f")]
    pub unsafe fn attend_avx512(
        heads: &Heads,
        qkv: &[f32],
        keys: &[f32],
        values: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        // SAFETY: as promised, and the number of registers is the head's width.
        unsafe {
            match heads.width {
                32 => attend_512::<2>(heads, qkv, keys, values, out, scores),
                64 => attend_512::<4>(heads, qkv, keys, values, out, scores),
                128 => attend_512::<8>(heads, qkv, keys, values, out, scores),
                _ => attend::<true>(heads, qkv, keys, values, out, scores),
            }
        }
    }

    /// [`attend`] for heads of C registers, which hold the query and then the mixed values.
    ///
    /// # Safety
    /// As `attend_avx512`; `heads.width` is 16 C.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn attend_512<const C: usize>(
        heads: &Heads,
        qkv: &[f32],
        keys: &[f32],
        values: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        let width = 16 * C;
        let scale = 1.0 / (width as f32).sqrt();
        scores.resize(heads.length - heads.first, 0.0);
        for (head, out) in out.chunks_exact_mut(width).enumerate().take(heads.queries) {
            let start = |head: usize| (head / (heads.queries / heads.keys) * heads.capacity + heads.first) * width;
            let (keys, values) = (&keys[start(head)..], &values[start(head)..]);
            let load = |from: &[f32]| -> [__m512; C] {
                // SAFETY: `from` holds at least `width` numbers: rows are cut by `chunks_exact` or by an index.
                std::array::from_fn(|part| unsafe { _mm512_loadu_ps(from.as_ptr().add(16 * part)) })
            };
            let query = load(&qkv[head * width..][..width]);
            let mut highest = f32::NEG_INFINITY;
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(width)) {
                let key = load(key);
                let mut sum = _mm512_mul_ps(query[0], key[0]);
                for part in 1..C {
                    sum = _mm512_fmadd_ps(query[part], key[part], sum);
                }
                *score = _mm512_reduce_add_ps(sum) * scale;
                highest = highest.max(*score);
            }
            for score in scores.iter_mut() {
                *score = elementwise::exp::<true>(*score - highest);
            }
            let mut mixed = [_mm512_setzero_ps(); C];
            for (score, value) in scores.iter().zip(values.chunks_exact(width)) {
                let (score, value) = (_mm512_set1_ps(*score), load(value));
                for part in 0..C {
                    mixed[part] = _mm512_fmadd_ps(score, value[part], mixed[part]);
                }
            }
            let total = _mm512_set1_ps(scores.iter().sum());
            for (part, mixed) in mixed.iter().enumerate() {
                // SAFETY: `out` holds `width` numbers.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr().add(16 * part), _mm512_div_ps(*mixed, total)) };
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn attend_avx2(
        heads: &Heads,
        qkv: &[f32],
        keys: &[f32],
        values: &[f32],
        out: &mut [f32],
        scores: &mut Vec<f32>,
    ) {
        attend::<true>(heads, qkv, keys, values, out, scores);
    }

    #[target_feature(enable = "avx2,fma,avx512f")]
    pub fn likeliest_avx512(row: &[f32]) -> (usize, f32) {
        elementwise::likeliest::<true>(row)
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn likeliest_avx2(row: &[f32]) -> (usize, f32) {
        elementwise::likeliest::<true>(row)
    }

    #[target_feature(enable = "avx2,fma,avx512f")]
    pub fn gated_avx512(gate: &[f32], up: &[f32], out: &mut [f32]) {
        elementwise::gated::<true>(gate, up, out);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn gated_avx2(gate: &[f32], up: &[f32], out: &mut [f32]) {
        elementwise::gated::<true>(gate, up, out);
    }

    #[target_feature(enable = "avx2,fma,avx512f")]
    pub fn rms_norm_avx512(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        elementwise::rms_norm::<true>(x, weight, eps, out);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn rms_norm_avx2(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        elementwise::rms_norm::<true>(x, weight, eps, out);
    }
}
