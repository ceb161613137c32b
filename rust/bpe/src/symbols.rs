//! Merging a list of symbols, the general way: for vocabularies of characters, and where merges are dropped at random.
//!
//! The pair of the lowest rank merges first, of equals the leftmost, in O(n log n). Vocabularies of bytes have faster
//! ways ([`crate::merge`]) to the same symbols.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::pairs::{NONE, PairTable};

/// Which pairs merge, in which order, and what they make.
pub trait Merges {
    /// The rank of the merge of `left` and `right`, and the symbol it makes.
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)>;
}

impl Merges for PairTable {
    #[inline]
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let made = PairTable::get(self, left, right);
        (made != NONE).then_some((made, made))
    }
}

/// BPE dropout (Provilkov et al. 2020, algorithm 1): before each merge, every merge that could come next is left out
/// with this probability. A sequence of numbers from a seed decides (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    probability: f64,
    state: u64,
}

impl Dropout {
    /// Drops with `probability` (0 to 1), as `seed` says.
    pub fn new(probability: f64, seed: u64) -> Self {
        Self { probability, state: seed }
    }

    fn drops(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        ((bits >> 11) as f64) < self.probability * (1u64 << 53) as f64
    }
}

/// A merge that may come next: rank, position of its left symbol, what it makes.
type Candidate = Reverse<(u32, u32, u32)>;

/// Symbols and how many bytes each stands for; memory is kept from one pretoken to the next.
#[derive(Default)]
pub struct Symbols {
    ids: Vec<u32>,
    lengths: Vec<u32>,
    /// Doubly linked over positions; a symbol that was merged away points nowhere.
    next: Vec<u32>,
    previous: Vec<u32>,
    queue: BinaryHeap<Candidate>,
    dropped: Vec<Candidate>,
}

impl Symbols {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.lengths.clear();
    }

    /// Adds a symbol that stands for `length` bytes at the end.
    #[inline]
    pub fn push(&mut self, id: u32, length: usize) {
        self.ids.push(id);
        self.lengths.push(length as u32);
    }

    /// The symbols with their lengths, after [`Symbols::merge`].
    pub fn iter(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let symbol = (*self.ids.get(at)?, *self.lengths.get(at)? as usize);
            at = self.next[at] as usize;
            Some(symbol)
        })
    }

    /// Merges until nothing more does.
    pub fn merge(&mut self, merges: &impl Merges, mut dropout: Option<&mut Dropout>) {
        let length = self.ids.len() as u32;
        self.next.clear();
        self.next.extend(1..=length);
        self.previous.clear();
        self.previous.extend((0..length).map(|i| i.wrapping_sub(1)));
        self.queue.clear();
        self.dropped.clear();
        for (at, two) in (0..).zip(self.ids.windows(2)) {
            self.queue.extend(merges.get(two[0], two[1]).map(|(rank, made)| Reverse((rank, at, made))));
        }
        let mut done = 0u32;
        while let Some(candidate) = self.queue.pop() {
            let Reverse((rank, at, made)) = candidate;
            let after = self.next[at as usize];
            // Not a pair any more, or another one by now.
            if after >= length || merges.get(self.ids[at as usize], self.ids[after as usize]) != Some((rank, made)) {
                continue;
            }
            if let Some(dropout) = &mut dropout {
                if dropout.drops() {
                    self.dropped.push(candidate);
                    continue;
                }
                self.queue.extend(self.dropped.drain(..));
            }
            self.join(at, after, made);
            self.offer(merges, self.previous[at as usize], at);
            self.offer(merges, at, self.next[at as usize]);
            done = done.wrapping_add(1);
            if done.is_multiple_of(crate::stop::EVERY) && crate::stop::requested() {
                return;
            }
        }
    }

    fn join(&mut self, at: u32, after: u32, made: u32) {
        let (left, right) = (at as usize, after as usize);
        self.ids[left] = made;
        self.lengths[left] += self.lengths[right];
        let beyond = self.next[right];
        self.next[left] = beyond;
        self.next[right] = u32::MAX;
        if let Some(previous) = self.previous.get_mut(beyond as usize) {
            *previous = at;
        }
    }

    #[inline]
    fn offer(&mut self, merges: &impl Merges, left: u32, right: u32) {
        if let (Some(&a), Some(&b)) = (self.ids.get(left as usize), self.ids.get(right as usize))
            && let Some((rank, made)) = merges.get(a, b)
        {
            self.queue.push(Reverse((rank, left, made)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> impl Strategy<Value = PairTable> {
        proptest::collection::vec((0u32..30, 0u32..30), 0..40).prop_map(|list| {
            let mut table = PairTable::with_capacity(list.len());
            for (made, (a, b)) in (256..).zip(list) {
                let symbol = |n: u32| if n < 3 { 97 + n } else { 253 + n };
                if PairTable::get(&table, symbol(a), symbol(b)) == NONE {
                    table.insert(symbol(a), symbol(b), made);
                }
            }
            table
        })
    }

    fn merged(pairs: &PairTable, bytes: &[u8], dropout: Option<&mut Dropout>) -> Vec<u32> {
        let mut symbols = Symbols::default();
        bytes.iter().for_each(|&b| symbols.push(b.into(), 1));
        symbols.merge(pairs, dropout);
        assert_eq!(symbols.iter().map(|(_, length)| length).sum::<usize>(), bytes.len());
        symbols.iter().map(|(id, _)| id).collect()
    }

    proptest! {
        #[test]
        fn equals_the_merging_of_bytes(pairs in table(), text in "[abc]{0,120}", seed in any::<u64>()) {
            let mut expected = Vec::new();
            crate::merge::merge(&pairs, text.as_bytes(), &mut expected);
            prop_assert_eq!(&merged(&pairs, text.as_bytes(), None), &expected);
            prop_assert_eq!(&merged(&pairs, text.as_bytes(), Some(&mut Dropout::new(0.0, seed))), &expected);
            let apart: Vec<u32> = text.bytes().map(u32::from).collect();
            prop_assert_eq!(&merged(&pairs, text.as_bytes(), Some(&mut Dropout::new(1.0, seed))), &apart);
        }
    }

    #[test]
    fn drops_as_often_as_it_is_told() {
        let mut pairs = PairTable::with_capacity(1);
        pairs.insert(97, 98, 256);
        let mut dropout = Dropout::new(0.3, 7);
        let kept = (0..20_000).filter(|_| merged(&pairs, b"ab", Some(&mut dropout)).len() == 1).count();
        assert!((13_700..14_300).contains(&kept), "{kept}");
    }
}
