//! Shingles: the runs of `n` tokens of a text, each as one 64-bit hash.
//!
//! A token is a piece between white space (as in Python's `str.split`), case and punctuation included. In scripts that
//! do not set spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) every character is a token.
//! A text with fewer than `n` tokens has one shingle, all of it; a text without tokens has none.

use crate::hash;

/// The multiplier of the rolling hash: odd, without structure.
const BASE: u64 = 0x2545_f491_4f6c_dd1d;

/// Calls `token` with each token of `text`, in order.
pub fn tokens<'a>(text: &'a str, mut token: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if byte < 0x80 {
            if byte == b' ' || (0x09..=0x0d).contains(&byte) || (0x1c..=0x1f).contains(&byte) {
                if start < at {
                    token(&text[start..at]);
                }
                start = at + 1;
            }
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let end = at + c.len_utf8();
        let space = c.is_whitespace();
        if space || stands_alone(c) {
            if start < at {
                token(&text[start..at]);
            }
            if !space {
                token(&text[at..end]);
            }
            start = end;
        }
        at = end;
    }
    if start < bytes.len() {
        token(&text[start..]);
    }
}

/// Whether the script of `c` sets no spaces between words.
pub fn stands_alone(c: char) -> bool {
    matches!(c as u32,
        0x0e00..=0x0eff          // Thai, Lao
        | 0x0f00..=0x0fff        // Tibetan
        | 0x1000..=0x109f        // Myanmar
        | 0x1780..=0x17ff        // Khmer
        | 0x3005..=0x3007 | 0x3040..=0x30ff | 0x31f0..=0x31ff  // Hiragana, Katakana
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff  // Han
        | 0xff66..=0xff9d        // half-width Katakana
        | 0x20000..=0x3ffff) // Han, extensions
}

/// Turns token hashes into shingle hashes, one after the other.
pub struct Roller {
    window: Vec<u64>,
    n: usize,
    count: usize,
    hash: u64,
    /// `BASE` to the power `n`: what the oldest token of a full window is multiplied by.
    drop: u64,
}

impl Roller {
    /// Shingles of `n` tokens.
    pub fn new(n: usize) -> Self {
        let drop = (0..n).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        Self { window: vec![0; n], n, count: 0, hash: 0, drop }
    }

    /// Takes the next token; returns the shingle that ends with it.
    pub fn push(&mut self, token: u64) -> Option<u64> {
        let slot = self.count % self.n;
        let oldest = std::mem::replace(&mut self.window[slot], token);
        self.hash = self.hash.wrapping_mul(BASE).wrapping_add(token);
        if self.count >= self.n {
            self.hash = self.hash.wrapping_sub(oldest.wrapping_mul(self.drop));
        }
        self.count += 1;
        (self.count >= self.n).then(|| hash::mix(self.hash))
    }

    /// The one shingle of a text that had tokens, but fewer than `n`.
    pub fn short(&self) -> Option<u64> {
        (0 < self.count && self.count < self.n).then(|| hash::mix(self.hash ^ self.count as u64))
    }
}

/// Shingles handed on together: few enough to stay in the first cache of a core.
const BLOCK: usize = 2048;

/// Calls `block` with the shingle hashes of `text`, in order, with repetitions, so many at a time: a text of any length
/// takes the same memory.
pub fn for_each_shingle_block(text: &str, n: usize, mut block: impl FnMut(&[u64])) {
    let mut roller = Roller::new(n);
    let mut held = Vec::with_capacity(BLOCK.min(text.len() / 2 + 1));
    tokens(text, |token| {
        if let Some(shingle) = roller.push(hash::bytes(token.as_bytes())) {
            held.push(shingle);
            if held.len() == BLOCK {
                block(&held);
                held.clear();
            }
        }
    });
    held.extend(roller.short());
    block(&held);
}

/// The set of shingles of `text`: sorted, each once.
pub fn shingle_set(text: &str, n: usize) -> Vec<u64> {
    let mut out = Vec::new();
    for_each_shingle_block(text, n, |block| out.extend_from_slice(block));
    out.sort_unstable();
    out.dedup();
    out
}

/// |a ∩ b| / |a ∪ b| of two sorted sets (1 when both are empty), if it is `threshold` or more.
pub fn jaccard_at_least(a: &[u64], b: &[u64], threshold: f64) -> Option<f64> {
    let total = a.len() + b.len();
    // |a ∩ b| = J / (1 + J) · (|a| + |b|). One less than needed, so that rounding cannot turn a pair away.
    let needed = ((threshold / (1.0 + threshold) * total as f64) as usize).saturating_sub(1);
    // How many each set may have alone; with more the rest need not be read.
    let (spare_a, spare_b) = (a.len().checked_sub(needed)?, b.len().checked_sub(needed)?);
    let (mut i, mut j, mut shared) = (0, 0, 0_usize);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        if i - shared > spare_a || j - shared > spare_b {
            return None;
        }
    }
    let similarity = if total == 0 { 1.0 } else { shared as f64 / (total - shared) as f64 };
    (similarity >= threshold).then_some(similarity)
}

/// How many shingles `text` has, with repetitions.
fn count_shingles(text: &str, n: usize) -> usize {
    let mut count = 0;
    for_each_shingle_block(text, n, |block| count += block.len());
    count
}

/// What [`jaccard_at_least`] says of two texts whose sets are too large to be held: of the shingles of both together about
/// `at_most` are, one range of hashes after the other.
pub fn jaccard_in_ranges(a: &str, b: &str, n: usize, threshold: f64, at_most: usize) -> Option<f64> {
    let ranges = ((count_shingles(a, n) + count_shingles(b, n)) / at_most.max(1) + 1) as u128;
    let (mut shared, mut total) = (0, 0);
    for range in 0..ranges {
        let set = |text: &str| {
            let (mut out, mut full) = (Vec::new(), at_most);
            for_each_shingle_block(text, n, |block| {
                out.extend(block.iter().filter(|hash| (u128::from(**hash) * ranges) >> 64 == range));
                // One shingle a billion times takes no more than once.
                if out.len() > full {
                    out.sort_unstable();
                    out.dedup();
                    full = at_most.max(out.len() * 2);
                }
            });
            out.sort_unstable();
            out.dedup();
            out
        };
        let (a, b): (Vec<u64>, Vec<u64>) = (set(a), set(b));
        total += a.len() + b.len();
        shared += a.iter().filter(|hash| b.binary_search(hash).is_ok()).count();
    }
    let similarity = if total == 0 { 1.0 } else { shared as f64 / (total - shared) as f64 };
    (similarity >= threshold).then_some(similarity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        tokens(text, |token| out.push(token));
        out
    }

    fn shingles(text: &str, n: usize) -> Vec<u64> {
        let mut out = Vec::new();
        for_each_shingle_block(text, n, |block| out.extend_from_slice(block));
        out
    }

    #[test]
    fn scripts_without_spaces_split_by_character() {
        assert_eq!(split("Das ist\u{a0}gut,\tja"), ["Das", "ist", "gut,", "ja"]);
        assert_eq!(split("我爱AI模型 ok"), ["我", "爱", "AI", "模", "型", "ok"]);
        assert_eq!(split("สวัสดี"), ["ส", "ว", "ั", "ส", "ด", "ี"]);
        assert_eq!(split(" \n "), Vec::<&str>::new());
    }

    proptest! {
        #[test]
        fn rolled_shingles_are_those_of_their_tokens_alone(text in "[ab ]{0,40}", n in 1_usize..6) {
            let words = split(&text);
            let rolled = shingles(&text, n);
            let expected: Vec<Vec<u64>> = words.windows(n).map(|window| shingles(&window.join(" "), n)).collect();
            if words.len() >= n {
                prop_assert_eq!(rolled, expected.concat());
            } else {
                prop_assert_eq!(rolled.len(), usize::from(!words.is_empty()));
            }
        }

        #[test]
        fn in_ranges_it_is_the_same(a in "[abc ]{0,60}", b in "[abc ]{0,60}", n in 1_usize..3, at_most in 0_usize..20) {
            let held = jaccard_at_least(&shingle_set(&a, n), &shingle_set(&b, n), 0.2);
            prop_assert_eq!(jaccard_in_ranges(&a, &b, n, 0.2, at_most), held);
        }

        #[test]
        fn jaccard_is_that_of_sets(
            a in prop::collection::btree_set(0_u64..20, 0..15),
            b in prop::collection::btree_set(0_u64..20, 0..15),
            tenths in 0..11,
        ) {
            let threshold = f64::from(tenths) / 10.0;
            let left: Vec<u64> = a.iter().copied().collect();
            let right: Vec<u64> = b.iter().copied().collect();
            let union = a.union(&b).count();
            let expected = if union == 0 { 1.0 } else { a.intersection(&b).count() as f64 / union as f64 };
            let found = jaccard_at_least(&left, &right, threshold);
            prop_assert_eq!(found, (expected >= threshold).then_some(expected));
        }
    }
}
