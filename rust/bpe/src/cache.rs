//! What a thread remembers of the pretokens it has seen: bounded, never invalidated.
//!
//! A pretoken has two sets of two places where it may be: the second is only looked at where the first is full, so a table is nearly full
//! before anything is forgotten (Azar et al., "Balanced Allocations", 1994).
//!
//! Pretokens of at most 15 bytes are their own key (no comparison beyond two words); up to 256 bytes they are kept in
//! an arena and compared; longer ones are merged each time. Whatever is remembered is right for ever, as a
//! tokenizer never changes; when an arena is full its table starts again.
//!
//! Limit: 4 MB for short pretokens, 2 MB of table and 4 MB of bytes for longer ones, 2 MB of ids: 12 MB per thread.

use crate::prefetch::prefetch;
use crate::table::{Set, Table};
use crate::tokens::hash_long;

const SHORT_SETS: usize = 1 << 16;
const LONG_SETS: usize = 1 << 15;
const MAX_BYTES: usize = 4 << 20;
const MAX_IDS: usize = 1 << 19;
/// The longest pretoken that is remembered, in bytes.
pub const LONGEST: usize = 256;

/// Short: two words of key. Long: the hash, and where the bytes are.
/// Then the ids: up to three in place, else the first is their place in the arena; and how many.
type Slot = [u64; 4];

/// The memory of one thread.
#[derive(Default)]
pub struct Cache {
    short: Table,
    long: Table,
    bytes: Vec<u8>,
    ids: Vec<u32>,
    /// How many times something new was put.
    count: usize,
}

/// The ids of a remembered pretoken.
pub enum Found<'c> {
    /// Up to three, the rest zero.
    Few([u32; 3], usize),
    /// Any number.
    Many(&'c [u32]),
}

#[inline(always)]
fn unpack(slot: &Slot, ids: &[u32]) -> Option<(u32, u32, u32, usize)> {
    let count = (slot[3] >> 32) as usize;
    debug_assert!(count <= 3 || slot[2] as u32 as usize + count <= ids.len());
    (count > 0).then_some((slot[2] as u32, (slot[2] >> 32) as u32, slot[3] as u32, count))
}

#[inline(always)]
fn short_set(hash: u64) -> usize {
    (hash >> 40) as usize & (SHORT_SETS - 1)
}

#[inline]
fn second_short_set(hash: u64) -> usize {
    (hash >> 20) as usize & (SHORT_SETS - 1)
}

#[inline]
fn long_sets(hash: u64) -> [usize; 2] {
    [(hash >> 20) as usize & (LONG_SETS - 1), (hash >> 40) as usize & (LONG_SETS - 1)]
}

/// Puts `slot` into the first of the two sets with a free place; where there is none, the older of the first is forgotten.
fn put(table: &mut [Set], sets: [usize; 2], slot: Slot) {
    let is_full = |set: usize| table.get(set).is_some_and(|set| set[1][3] != 0);
    let full = is_full(sets[0]) && !is_full(sets[1]);
    if let Some(set) = table.get_mut(sets[usize::from(full)]) {
        set[1] = set[0];
        set[0] = slot;
    }
}

impl Cache {
    /// Asks the processor to bring the place of a short pretoken near.
    #[inline]
    pub fn prefetch_short(&self, hash: u64) {
        if let Some(set) = self.short.get().get(short_set(hash)) {
            prefetch(set);
        }
    }

    /// The ids of a short pretoken, if it is remembered; `hash` is [`crate::tokens::hash_short`] of `key`.
    ///
    /// Without a branch on which of the two places it is in: no processor could guess that.
    #[inline(always)]
    pub fn get_short(&self, key: [u64; 2], hash: u64) -> Option<Found<'_>> {
        self.in_short_set(key, short_set(hash))
    }

    /// The same where [`Cache::get_short`] has not found it.
    #[inline]
    pub fn get_short_again(&self, key: [u64; 2], hash: u64) -> Option<Found<'_>> {
        self.in_short_set(key, second_short_set(hash))
    }

    #[inline(always)]
    fn in_short_set(&self, key: [u64; 2], set: usize) -> Option<Found<'_>> {
        let set = self.short.get().get(set)?;
        let misses = |slot: &Slot| (slot[0] ^ key[0]) | (slot[1] ^ key[1]);
        let slot = &set[usize::from(misses(&set[0]) != 0)];
        if misses(slot) != 0 {
            return None;
        }
        self.found(slot)
    }

    /// The ids of a longer pretoken, if it is remembered.
    #[inline]
    pub fn get_long(&self, bytes: &[u8]) -> Option<Found<'_>> {
        let hash = hash_long(bytes);
        let [first, second] =
            long_sets(hash).map(|set| self.long.get().get(set).map(Set::as_slice).unwrap_or_default());
        let slot = first.iter().chain(second).find(|slot| slot[0] == hash && slot[3] != 0)?;
        let (start, length) = (slot[1] as u32 as usize, (slot[1] >> 32) as usize);
        if self.bytes.get(start..start + length)? != bytes {
            return None;
        }
        self.found(slot)
    }

    #[inline(always)]
    fn found(&self, slot: &Slot) -> Option<Found<'_>> {
        let (a, b, c, count) = unpack(slot, &self.ids)?;
        Some(match count {
            0..=3 => Found::Few([a, b, c], count),
            _ => Found::Many(self.ids.get(a as usize..a as usize + count)?),
        })
    }

    /// Remembers the ids of a short pretoken.
    pub fn put_short(&mut self, key: [u64; 2], hash: u64, ids: &[u32]) {
        self.short.make(SHORT_SETS);
        let [a, b] = self.pack(ids);
        put(self.short.get_mut(), [short_set(hash), second_short_set(hash)], [key[0], key[1], a, b]);
    }

    /// Remembers the ids of a longer pretoken of at most [`LONGEST`] bytes.
    pub fn put_long(&mut self, bytes: &[u8], ids: &[u32]) {
        if self.bytes.len() + bytes.len() > MAX_BYTES {
            self.long.clear();
            self.bytes.clear();
        }
        self.long.make(LONG_SETS);
        let [a, b] = self.pack(ids);
        let hash = hash_long(bytes);
        let place = self.bytes.len() as u64 | (bytes.len() as u64) << 32;
        self.bytes.extend_from_slice(bytes);
        put(self.long.get_mut(), long_sets(hash), [hash, place, a, b]);
    }

    /// How many times something was remembered.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    fn pack(&mut self, ids: &[u32]) -> [u64; 2] {
        self.count += 1;
        let count = (ids.len() as u64) << 32;
        let id = |i: usize| u64::from(ids.get(i).copied().unwrap_or(0));
        if ids.len() <= 3 {
            return [id(0) | id(1) << 32, id(2) | count];
        }
        if self.ids.len() + ids.len() > MAX_IDS {
            self.ids.clear();
            self.bytes.clear();
            self.long.clear();
            self.short.clear();
        }
        let place = self.ids.len() as u64;
        self.ids.extend_from_slice(ids);
        [place, count]
    }
}
