//! Merging the bytes of one pretoken: the pair of the lowest rank first, the leftmost of equals.
//!
//! Three ways to the same symbols, by length: scanning for the minimum (short), a binary heap, and, for very long
//! pretokens, one bucket of positions per rank, which takes a million equal letters without a comparison between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use crate::pairs::{NONE, PairTable, Symbol};
use crate::stop;

const SCAN_UP_TO: usize = 128;
const HEAP_UP_TO: usize = 4096;

/// Appends the symbols of `bytes` to `out`.
pub fn merge(pairs: &PairTable, bytes: &[u8], out: &mut Vec<Symbol>) {
    match bytes.len() {
        0 => {}
        1 => out.push(Symbol::from(bytes[0])),
        2..=SCAN_UP_TO => scan(pairs, bytes, out),
        length if length <= HEAP_UP_TO => List::new(pairs, bytes).with_heap(out),
        _ => List::new(pairs, bytes).with_buckets(out),
    }
}

fn scan(pairs: &PairTable, bytes: &[u8], out: &mut Vec<Symbol>) {
    let mut symbols = [0; SCAN_UP_TO];
    // ranks[i] is what symbols[i] and symbols[i + 1] make.
    let mut ranks = [NONE; SCAN_UP_TO];
    let mut length = bytes.len();
    for (symbol, &byte) in symbols.iter_mut().zip(bytes) {
        *symbol = Symbol::from(byte);
    }
    for (rank, two) in ranks.iter_mut().zip(bytes.windows(2)) {
        *rank = pairs.get_bytes(two[0], two[1]);
    }
    while length > 1 {
        let (mut at, mut lowest) = (0, NONE);
        for (i, &rank) in ranks[..length - 1].iter().enumerate() {
            if rank < lowest {
                (at, lowest) = (i, rank);
            }
        }
        if lowest == NONE {
            break;
        }
        symbols[at] = lowest;
        symbols.copy_within(at + 2..length, at + 1);
        ranks.copy_within(at + 1..length, at);
        length -= 1;
        ranks[length - 1] = NONE;
        if at + 1 < length {
            ranks[at] = pairs.get(lowest, symbols[at + 1]);
        }
        if at > 0 {
            ranks[at - 1] = pairs.get(symbols[at - 1], lowest);
        }
    }
    out.extend_from_slice(&symbols[..length]);
}

/// The symbols of a long pretoken as a doubly linked list over byte positions.
struct List<'p> {
    pairs: &'p PairTable,
    symbols: Vec<Symbol>,
    /// What the symbol here makes with the next one; [`NONE`] also where no symbol begins.
    ranks: Vec<Symbol>,
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl<'p> List<'p> {
    fn new(pairs: &'p PairTable, bytes: &[u8]) -> Self {
        let length = bytes.len() as u32;
        Self {
            pairs,
            symbols: bytes.iter().map(|&b| Symbol::from(b)).collect(),
            ranks: bytes.windows(2).map(|w| pairs.get_bytes(w[0], w[1])).chain([NONE]).collect(),
            next: (1..=length).collect(),
            previous: (0..length).map(|i| i.wrapping_sub(1)).collect(),
        }
    }

    /// Merges the pair at `at`, and hands each new pair that can merge to `found`.
    #[inline]
    fn merge_at(&mut self, at: usize, mut found: impl FnMut(Symbol, u32)) {
        let made = self.ranks[at];
        let gone = self.next[at] as usize;
        let after = self.next[gone] as usize;
        self.symbols[at] = made;
        self.ranks[gone] = NONE;
        self.next[at] = after as u32;
        self.ranks[at] = NONE;
        if after < self.symbols.len() {
            self.previous[after] = at as u32;
            let rank = self.pairs.get(made, self.symbols[after]);
            self.ranks[at] = rank;
            if rank != NONE {
                found(rank, at as u32);
            }
        }
        let before = self.previous[at] as usize;
        if before < self.symbols.len() {
            let rank = self.pairs.get(self.symbols[before], made);
            self.ranks[before] = rank;
            if rank != NONE {
                found(rank, before as u32);
            }
        }
    }

    fn with_heap(mut self, out: &mut Vec<Symbol>) {
        let key = |rank: Symbol, at: u32| Reverse(u64::from(rank) << 32 | u64::from(at));
        let mut heap: BinaryHeap<_> =
            self.ranks.iter().zip(0..).filter(|&(&rank, _)| rank != NONE).map(|(&rank, at)| key(rank, at)).collect();
        while let Some(Reverse(top)) = heap.pop() {
            let at = top as u32 as usize;
            if self.ranks[at] == (top >> 32) as Symbol {
                self.merge_at(at, |rank, at| heap.push(key(rank, at)));
            }
        }
        self.collect(out);
    }

    fn with_buckets(mut self, out: &mut Vec<Symbol>) {
        let mut buckets: FxHashMap<Symbol, Vec<u32>> = FxHashMap::default();
        let mut waiting = BinaryHeap::new();
        let mut last: (Symbol, Vec<u32>) = (NONE, Vec::new());
        let mut rounds = 0u32;
        for (at, &rank) in self.ranks.iter().enumerate().filter(|&(_, &rank)| rank != NONE) {
            push(&mut buckets, &mut waiting, &mut last, rank, at as u32);
        }
        loop {
            flush(&mut buckets, &mut waiting, &mut last);
            rounds += 1;
            if rounds.is_multiple_of(1024) && stop::requested() {
                return;
            }
            let Some(Reverse(rank)) = waiting.pop() else { break };
            let Some(mut bucket) = buckets.remove(&rank) else { continue };
            bucket.sort_unstable();
            // A merge may make a pair of a lower rank (not in a trained vocabulary, but a file may say so): that one goes first.
            for (i, &at) in bucket.iter().enumerate() {
                if (i + 1).is_multiple_of(stop::EVERY as usize) && stop::requested() {
                    return;
                }
                if self.ranks[at as usize] != rank {
                    continue;
                }
                let mut lower = false;
                self.merge_at(at as usize, |found, at| {
                    lower |= found < rank;
                    push(&mut buckets, &mut waiting, &mut last, found, at);
                });
                if lower {
                    for &at in &bucket[i + 1..] {
                        push(&mut buckets, &mut waiting, &mut last, rank, at);
                    }
                    break;
                }
            }
        }
        self.collect(out);
    }

    fn collect(self, out: &mut Vec<Symbol>) {
        let mut at = 0;
        while let Some(&symbol) = self.symbols.get(at) {
            out.push(symbol);
            at = self.next[at] as usize;
        }
    }
}

type Buckets = FxHashMap<Symbol, Vec<u32>>;
type Waiting = BinaryHeap<Reverse<Symbol>>;

/// Adds a position to its rank's bucket; runs of one rank gather in `last` first and cost no look-up.
#[inline]
fn push(buckets: &mut Buckets, waiting: &mut Waiting, last: &mut (Symbol, Vec<u32>), rank: Symbol, at: u32) {
    if last.0 != rank {
        flush(buckets, waiting, last);
        last.0 = rank;
    }
    last.1.push(at);
}

fn flush(buckets: &mut Buckets, waiting: &mut Waiting, last: &mut (Symbol, Vec<u32>)) {
    if !last.1.is_empty() {
        let bucket = buckets.entry(last.0).or_default();
        if bucket.is_empty() {
            waiting.push(Reverse(last.0));
            std::mem::swap(bucket, &mut last.1);
        } else {
            bucket.append(&mut last.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn slow(pairs: &PairTable, bytes: &[u8]) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = bytes.iter().map(|&b| b.into()).collect();
        loop {
            let best = (0..symbols.len().saturating_sub(1)).map(|i| (pairs.get(symbols[i], symbols[i + 1]), i)).min();
            match best {
                Some((made, i)) if made != NONE => {
                    symbols.splice(i..i + 2, [made]);
                }
                _ => return symbols,
            }
        }
    }

    /// Any pairs over three bytes: ranks in any order, also ones that no training would give.
    fn table() -> impl Strategy<Value = PairTable> {
        proptest::collection::vec((0u32..30, 0u32..30), 0..40).prop_map(|list| {
            let mut table = PairTable::with_capacity(list.len());
            for (made, (a, b)) in (256..).zip(list) {
                let symbol = |n: u32| if n < 3 { 97 + n } else { 253 + n };
                if table.get(symbol(a), symbol(b)) == NONE {
                    table.insert(symbol(a), symbol(b), made);
                }
            }
            table
        })
    }

    proptest! {
        #[test]
        fn all_ways_equal_the_definition(pairs in table(), text in "[abc]{0,120}") {
            let bytes = text.as_bytes();
            let expected = slow(&pairs, bytes);
            let mut out = Vec::new();
            merge(&pairs, bytes, &mut out);
            prop_assert_eq!(&out, &expected);
            if !bytes.is_empty() {
                out.clear();
                List::new(&pairs, bytes).with_heap(&mut out);
                prop_assert_eq!(&out, &expected);
                out.clear();
                List::new(&pairs, bytes).with_buckets(&mut out);
                prop_assert_eq!(&out, &expected);
            }
        }
    }
}
