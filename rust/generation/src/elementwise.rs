//! What happens between the products, written so that the compiler uses whole registers; inlined into each level's caller.

const WIDTH: usize = 16;

/// `a · b + c`, rounded once where the processor can (`FUSED`).
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of products, in sixteen running sums that are added in pairs.
#[inline(always)]
pub fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; WIDTH];
    let (mut left, mut right) = (a.chunks_exact(WIDTH), b.chunks_exact(WIDTH));
    for (a, b) in (&mut left).zip(&mut right) {
        for lane in 0..WIDTH {
            sums[lane] = multiply_add::<FUSED>(a[lane], b[lane], sums[lane]);
        }
    }
    for (lane, (a, b)) in left.remainder().iter().zip(right.remainder()).enumerate() {
        sums[lane] = multiply_add::<FUSED>(*a, *b, sums[lane]);
    }
    let mut half = WIDTH / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

/// `out += scale · x`.
#[inline(always)]
pub fn add_scaled<const FUSED: bool>(x: &[f32], scale: f32, out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = multiply_add::<FUSED>(scale, *x, *out);
    }
}

/// `e^x` to about one unit in the last place, for x in [-87, 88] and its ends beyond; NaN stays NaN.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2; e^r by its Taylor series to the seventh power (remainder below 6e-9).
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 · 2^23: what is added to it is rounded to a whole number in the low bits
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = multiply_add::<FUSED>(n, -LN_2_LOW, multiply_add::<FUSED>(n, -LN_2_HIGH, x));
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FUSED>(sum, r, factor);
    }
    sum * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// `out = gate / (1 + e^-gate) · up` (SwiGLU, arXiv 2002.05202).
#[inline(always)]
pub fn gated<const FUSED: bool>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp::<FUSED>(-gate)) * up;
    }
}

/// `out = x / sqrt(mean(x²) + eps) · weight` (arXiv 1910.07467).
#[inline(always)]
pub fn rms_norm<const FUSED: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / (dot::<FUSED>(x, x) / x.len() as f32 + eps).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// The place of the largest number, the first of equals, and ln Σ e^x: NaN if a number is NaN or +∞.
#[inline(always)]
pub fn likeliest<const FUSED: bool>(row: &[f32]) -> (usize, f32) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut tops = [f32::NEG_INFINITY; WIDTH];
    let pieces = row.chunks_exact(WIDTH);
    let rest = pieces.remainder();
    for piece in pieces {
        for lane in 0..WIDTH {
            tops[lane] = larger(tops[lane], piece[lane]);
        }
    }
    let highest = tops.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| larger(a, *b));
    let mut sums = [0.0_f32; WIDTH];
    for piece in row.chunks_exact(WIDTH) {
        for lane in 0..WIDTH {
            sums[lane] += exp::<FUSED>(piece[lane] - highest);
        }
    }
    let total: f32 = sums.iter().sum::<f32>() + rest.iter().map(|x| exp::<FUSED>(x - highest)).sum::<f32>();
    (row.iter().position(|x| *x == highest).unwrap_or(0), highest + total.ln())
}

/// Turns the pairs (i, i + H/2) of one head by the angles whose cosines and sines are given (arXiv 2104.09864).
pub fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(head.len() / 2);
    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        for step in -870_000..880_000 {
            let x = step as f32 / 10_000.0;
            let exact = f64::from(x).exp();
            for found in [exp::<true>(x), exp::<false>(x)] {
                assert!((f64::from(found) - exact).abs() <= 3e-7 * exact, "e^{x} is {exact}, not {found}");
            }
        }
        assert!(exp::<true>(f32::NAN).is_nan());
        assert!(exp::<true>(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn a_dot_product_has_every_term() {
        for length in 0..70 {
            let a: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let exact = (0..length).map(|i| i * i).sum::<usize>() as f32;
            assert_eq!(dot::<true>(&a, &a), exact);
            assert_eq!(dot::<false>(&a, &a), exact);
        }
    }

    #[test]
    fn the_likeliest_is_the_first_of_equals_beside_the_logarithm_of_the_sum() {
        for length in 1..70 {
            let row: Vec<f32> = (0..length).map(|i| ((i * 37 % 23) as f32 - 11.0) * 3.0).collect();
            let exact = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (place, found) in [likeliest::<true>(&row), likeliest::<false>(&row)] {
                assert_eq!(Some(place), row.iter().position(|x| *x == largest));
                assert!((f64::from(found) - exact).abs() < 1e-5, "{found} instead of {exact}");
            }
            for bad in [f32::NAN, f32::INFINITY] {
                let mut row = row.clone();
                row[length / 2] = bad;
                assert!(likeliest::<true>(&row).1.is_nan() && likeliest::<false>(&row).1.is_nan());
            }
        }
        assert!(likeliest::<true>(&[f32::NEG_INFINITY; 20]).1.is_nan());
    }
}
