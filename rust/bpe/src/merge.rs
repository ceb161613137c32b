//! Merging the bytes of one pretoken: the pair of the lowest rank first, the leftmost of equals.
//!
//! Three ways to the same symbols, by length: the least of all pairs by groups (short), a binary heap, and, for very long
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
        2..=16 => scan::<16>(pairs, bytes, out),
        17..=32 => scan::<32>(pairs, bytes, out),
        33..=SCAN_UP_TO => scan::<SCAN_UP_TO>(pairs, bytes, out),
        length if length <= HEAP_UP_TO => List::new(pairs, bytes).with_heap(out),
        _ => List::new(pairs, bytes).with_buckets(out),
    }
}

/// Entries whose least is known together.
const GROUP: usize = 16;
/// No pair; greater than any.
const LAST: i32 = i32::MAX;

/// A pair as one number: its rank, then its place, so that the least of all is the next to merge. 21 bits and 7.
#[inline(always)]
fn place_of(rank: Symbol, at: usize) -> i32 {
    if rank == NONE { LAST } else { (rank << 7) as i32 | at as i32 }
}

#[inline(always)]
fn least(places: &[i32]) -> i32 {
    places.iter().fold(LAST, |least, &place| if place < least { place } else { least })
}

/// At most `N` bytes. Symbols stay where they begin, linked to the next and the one before; of the pairs the least of each
/// group is kept, so that a merge looks again at one or two groups only.
fn scan<const N: usize>(pairs: &PairTable, bytes: &[u8], out: &mut Vec<Symbol>) {
    const { assert!(N.is_multiple_of(GROUP) && N <= SCAN_UP_TO) };
    let length = bytes.len();
    let mut symbols = [0; N];
    let mut places = [LAST; N];
    let mut next = [0u8; N];
    let mut previous = [0u8; N];
    for (i, &byte) in bytes.iter().enumerate().take(N) {
        symbols[i] = Symbol::from(byte);
        next[i] = i as u8 + 1;
        previous[i] = (i as u8).wrapping_sub(1);
    }
    for (i, (place, two)) in places.iter_mut().zip(bytes.windows(2)).enumerate() {
        *place = place_of(pairs.get_bytes(two[0], two[1]), i);
    }
    let mut leasts = [LAST; SCAN_UP_TO / GROUP];
    for (of_group, group) in leasts.iter_mut().zip(places.chunks_exact(GROUP)) {
        *of_group = least(group);
    }
    loop {
        let lowest = if N == GROUP { leasts[0] } else { least(&leasts[..N / GROUP]) };
        if lowest == LAST {
            break;
        }
        let (at, made) = (lowest as usize & 127 & (N - 1), (lowest >> 7) as Symbol);
        let gone = next[at] as usize & (N - 1);
        let after = next[gone] as usize;
        symbols[at] = made;
        next[at] = after as u8;
        places[gone] = LAST;
        places[at] = LAST;
        if after < length {
            previous[after & (N - 1)] = at as u8;
            places[at] = place_of(pairs.get(made, symbols[after & (N - 1)]), at);
        }
        let mut before = at;
        if at > 0 {
            before = previous[at] as usize & (N - 1);
            places[before] = place_of(pairs.get(symbols[before], made), before);
        }
        let (first, last) = (before / GROUP, gone / GROUP);
        for group in first..=last {
            if let (Some(of_group), Some(group)) =
                (leasts.get_mut(group), places.get(group * GROUP..).and_then(|rest| rest.first_chunk::<GROUP>()))
            {
                *of_group = least(group);
            }
        }
    }
    let mut at = 0;
    while at < length {
        out.push(symbols[at & (N - 1)]);
        at = next[at & (N - 1)] as usize;
    }
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
