//! Substrings of at least so many bytes that stand more than once in a corpus.
//!
//! A window is `min_bytes` consecutive bytes of one text. A window is repeated if the same bytes are a window that starts
//! earlier (in an earlier text, or earlier in the same one). The spans are the union of all repeated windows, drawn in to
//! character boundaries: cutting them leaves the first copy. Source: Lee et al. 2022, "Deduplicating Training Data Makes
//! Language Models Better", 4.1. Departures: (1) the first copy stays; (2) bytes instead of tokens; (3) windows by a rolling
//! hash, made sure of byte by byte, instead of a suffix array: it needs no memory beside a table of the windows that may
//! be repeated, and that can be had in as many passes over the texts as memory asks for.
//!
//! A pass takes the windows of its share of the hashes. First two bit maps say which may stand twice; only those, a few
//! percent of most corpora, go to the table. A window after a repeated one is compared by its last byte alone.

use rayon::prelude::*;

use crate::error::{check_count, check_texts};
use crate::order::choose;
use crate::room::Room;
use crate::spans::Span;
use crate::{Error, hash};

/// Odd, without structure: the multiplier of the rolling hash.
const BASE: u64 = 0x2545_f491_4f6c_dd1d;

/// Bits of both maps together for each window, and what the table takes for one that may be repeated.
const MAP_BITS: u64 = 16;
const TABLE_BYTES: u64 = 24;

/// Finds the repeated spans, in the order of the texts; those of one text neither touch nor overlap.
///
/// Only the texts that `order` names are looked at, and which of two comes first is told by it; none is all as they lie.
///
/// # Errors
/// [`Error::Order`], [`Error::Zero`], [`Error::TooMany`], [`Error::TooManyTexts`], [`Error::TooMuchText`], [`Error::Interrupted`].
pub fn substrings(texts: &[&str], order: Option<&[i64]>, min_bytes: usize, room: Room<'_>) -> Result<Vec<Span>, Error> {
    let mut spans = repeated(&choose(texts, order)?, min_bytes, room)?;
    if let Some(order) = order {
        for span in &mut spans {
            span.document = order[span.document as usize];
        }
        spans.sort_unstable_by_key(|span| (span.document, span.start));
    }
    Ok(spans)
}

fn repeated(texts: &[&str], min_bytes: usize, room: Room<'_>) -> Result<Vec<Span>, Error> {
    let limit = u32::MAX as usize;
    check_count("min_bytes", min_bytes, limit)?;
    check_texts(texts.len())?;
    if let Some(document) = texts.iter().position(|text| text.len() > limit) {
        return Err(Error::TooMuchText { document, given: texts[document].len(), limit });
    }
    let windows: u64 = texts.iter().map(|text| (text.len() + 1).saturating_sub(min_bytes) as u64).sum();
    let threads = rayon::current_num_threads() as u64;
    // As many passes at a time as there are threads share the memory.
    let needed = windows * (MAP_BITS / 8 + TABLE_BYTES / 4);
    let passes = room.memory.map_or(1, |memory| needed.div_ceil(memory.max(1 << 20)).max(1)) * threads;
    let passes = if windows < 1 << 16 { 1 } else { passes };
    let shares: Vec<Vec<Found>> = (0..passes)
        .into_par_iter()
        .map(|share| Pass { texts, min_bytes, share, passes, room }.run(windows / passes + 1))
        .collect::<Result<_, Error>>()?;
    let mut found: Vec<Found> = shares.into_iter().flatten().collect();
    found.par_sort_unstable();
    Ok(unite(texts, &found))
}

/// Repeated bytes of a text: text, first byte, the byte after the last.
type Found = (u32, u32, u32);

/// One share of the windows: those whose hash is `share` modulo `passes`.
struct Pass<'t, 'r> {
    texts: &'t [&'t str],
    min_bytes: usize,
    share: u64,
    passes: u64,
    room: Room<'r>,
}

/// A repeated window: its text and first byte, and those of an equal one before it.
#[derive(Clone, Copy)]
struct Repeat {
    text: usize,
    start: usize,
    twin: usize,
    from: usize,
}

impl Pass<'_, '_> {
    fn run(&self, windows: u64) -> Result<Vec<Found>, Error> {
        let mut seen = Seen::new(windows);
        self.each(false, |hash, _, _| seen.note(hash))?;
        let mut table = Table::default();
        let mut found: Vec<Found> = Vec::new();
        let mut last: Option<Repeat> = None;
        self.each(true, |hash, text, start| {
            let end = (start + self.min_bytes) as u32;
            let run = last.and_then(|repeat| self.runs_on(repeat, text, start));
            last = run.or_else(|| {
                let first = if seen.twice(hash) { table.first(self, hash, text, start) } else { None };
                first.map(|(twin, from)| Repeat { text, start, twin: twin as usize, from: from as usize })
            });
            match (last, found.last_mut()) {
                (None, _) => {}
                // All windows since the last repeated one are repeated, too.
                (_, Some(open)) if run.is_some() || (open.0 as usize == text && start as u32 <= open.2) => open.2 = end,
                _ => found.push((text as u32, start as u32, end)),
            }
        })?;
        Ok(found)
    }

    /// `repeat` moved to `start`, if all windows between are copies of those after its twin: their last bytes are equal.
    fn runs_on(&self, repeat: Repeat, text: usize, start: usize) -> Option<Repeat> {
        if repeat.text != text {
            return None;
        }
        let count = start - repeat.start;
        let (mine, twin) = (repeat.start + self.min_bytes, repeat.from + self.min_bytes);
        let bytes = self.texts[text].as_bytes().get(mine..mine + count)?;
        let equal = self.texts[repeat.twin].as_bytes().get(twin..twin + count)? == bytes;
        equal.then_some(Repeat { start, from: repeat.from + count, ..repeat })
    }

    fn window(&self, text: usize, start: usize) -> &[u8] {
        &self.texts[text].as_bytes()[start..start + self.min_bytes]
    }

    /// Calls `window` with hash, text and first byte of each window of the share.
    fn each(&self, counts: bool, mut window: impl FnMut(u64, usize, usize)) -> Result<(), Error> {
        let drop = (0..self.min_bytes).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        for (text, content) in self.texts.iter().enumerate() {
            let bytes = content.as_bytes();
            self.room.did(if counts && self.share == 0 { bytes.len() } else { 0 })?;
            if bytes.len() < self.min_bytes {
                continue;
            }
            let mut offer = |state: u64, start: usize| {
                let hash = hash::mix(state);
                if self.passes == 1 || hash % self.passes == self.share {
                    window(hash, text, start);
                }
            };
            let (head, tail) = bytes.split_at(self.min_bytes);
            let mut state = head.iter().fold(0, |state: u64, byte| push(state, *byte));
            offer(state, 0);
            for (start, (old, new)) in bytes.iter().zip(tail).enumerate() {
                state = push(state, *new).wrapping_sub(drop.wrapping_mul(1 + u64::from(*old)));
                offer(state, start + 1);
            }
        }
        Ok(())
    }
}

fn push(state: u64, byte: u8) -> u64 {
    state.wrapping_mul(BASE).wrapping_add(1 + u64::from(byte))
}

/// How often a hash was noted: not at all, once, or perhaps twice and more. Two bits each.
struct Seen {
    bits: Vec<u8>,
    mask: usize,
}

impl Seen {
    fn new(windows: u64) -> Self {
        let size = (windows * MAP_BITS / 8).next_power_of_two().max(64) as usize;
        Self { bits: vec![0; size], mask: size - 1 }
    }

    /// Byte and shift of a hash: bits that the share of a pass does not depend on alone.
    fn place(&self, hash: u64) -> (usize, u32) {
        ((hash >> 20) as usize & self.mask, (hash >> 18) as u32 & 3)
    }

    fn note(&mut self, hash: u64) {
        let (byte, slot) = self.place(hash);
        let once = 1 << (slot * 2);
        let slots = &mut self.bits[byte];
        *slots |= (*slots & once) << 1 | once;
    }

    fn twice(&self, hash: u64) -> bool {
        let (byte, slot) = self.place(hash);
        self.bits[byte] >> (slot * 2 + 1) & 1 == 1
    }
}

/// The first window of each different one. Open addressing; a free slot has the text `u32::MAX`.
#[derive(Default)]
struct Table {
    slots: Vec<(u64, u32, u32)>,
    count: usize,
}

const FREE: (u64, u32, u32) = (0, u32::MAX, 0);

impl Table {
    /// Text and first byte of the first window that equals this one; `None`, and remembered, when this one is it.
    fn first(&mut self, pass: &Pass<'_, '_>, hash: u64, text: usize, start: usize) -> Option<(u32, u32)> {
        if self.count * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 8) as usize & mask;
        loop {
            let (other, twin, from) = self.slots[at];
            if twin == u32::MAX {
                self.slots[at] = (hash, text as u32, start as u32);
                self.count += 1;
                return None;
            }
            if other == hash && pass.window(twin as usize, from as usize) == pass.window(text, start) {
                return Some((twin, from));
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(1024);
        let old = std::mem::replace(&mut self.slots, vec![FREE; size]);
        for slot in old.into_iter().filter(|slot| slot.1 != u32::MAX) {
            let mut at = (slot.0 >> 8) as usize & (size - 1);
            while self.slots[at].1 != u32::MAX {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = slot;
        }
    }
}

/// The union of what all passes found, drawn in to characters.
fn unite(texts: &[&str], found: &[Found]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut open: Option<Found> = None;
    for next in found {
        match &mut open {
            Some((text, _, end)) if *text == next.0 && next.1 <= *end => *end = next.2.max(*end),
            _ => spans.extend(open.replace(*next).and_then(|done| draw_in(texts, done))),
        }
    }
    spans.extend(open.and_then(|done| draw_in(texts, done)));
    spans
}

fn draw_in(texts: &[&str], (document, start, end): Found) -> Option<Span> {
    let text = texts[document as usize];
    let (mut start, mut end) = (start as usize, end as usize);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (start < end).then_some(Span { document: i64::from(document), start: start as i64, end: end as i64 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word.
    fn brute_force(texts: &[&str], min_bytes: usize) -> Vec<Span> {
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut spans = Vec::new();
        for (document, text) in texts.iter().enumerate() {
            let mut marked = vec![false; text.len()];
            for (start, window) in text.as_bytes().windows(min_bytes).enumerate() {
                if seen.contains(&window) {
                    marked[start..start + min_bytes].fill(true);
                } else {
                    seen.push(window);
                }
            }
            let mut at = 0;
            for run in marked.chunk_by(|a, b| a == b) {
                if run[0] {
                    spans.extend(draw_in(texts, (document as u32, at as u32, (at + run.len()) as u32)));
                }
                at += run.len();
            }
        }
        spans
    }

    proptest! {
        #[test]
        fn any_number_of_passes_finds_what_brute_force_finds(
            texts in prop::collection::vec("[abé中]{0,12}", 0..6), min_bytes in 1_usize..6, passes in 1_u64..5,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let expected = brute_force(&texts, min_bytes);
            prop_assert_eq!(&substrings(&texts, None, min_bytes, Room::default()).unwrap(), &expected);
            let mut found: Vec<Found> = (0..passes).flat_map(|share| {
                Pass { texts: &texts, min_bytes, share, passes, room: Room::default() }.run(8).unwrap()
            }).collect();
            found.sort_unstable();
            prop_assert_eq!(&unite(&texts, &found), &expected);
        }
    }
}
