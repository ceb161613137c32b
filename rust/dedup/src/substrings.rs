//! Substrings of at least so many bytes, or tokens, that stand more than once in a corpus.
//!
//! A window is so many consecutive bytes (tokens, and the white space between them) of one text. A window is repeated if
//! the same bytes are a window that starts earlier (in an earlier text, or earlier in the same one). The spans are the
//! union of all repeated windows, drawn in to character boundaries: cutting them leaves the first copy. Source: Lee et al.
//! 2022, "Deduplicating Training Data Makes Language Models Better", 4.1. Departures: (1) the first copy stays; (2) bytes
//! or words instead of a model's tokens; (3) windows by a rolling hash, made sure of byte by byte, instead of a suffix
//! array: it needs no memory beside a table of the windows that may be repeated, and that can be had in as many passes over
//! the texts as memory asks for.
//!
//! A pass takes the windows of its share of the hashes. First two bit maps say which may stand twice; only those, a few
//! percent of most corpora, go to the table. A window after a repeated one is compared by its last byte alone.

use std::ops::Range;

use rayon::prelude::*;

use crate::Error;
use crate::corpus::{Corpus, check_lengths};
use crate::order::choose;
use crate::room::Room;
use crate::spans::Span;
use crate::windows::{Length, Windows};

/// Bits of both maps together for each window, and what the table takes for one that may be repeated.
const MAP_BITS: u64 = 16;
const TABLE_BYTES: u64 = 24;

/// Finds the repeated spans, in the order of the texts; those of one text neither touch nor overlap.
///
/// Only the texts that `order` names are looked at, and which of two comes first is told by it; none is all as they lie.
///
/// # Errors
/// [`Error::Order`], [`Error::Zero`], [`Error::TooMany`], [`Error::TooManyTexts`], [`Error::TooMuchText`], [`Error::Interrupted`].
pub fn substrings(
    texts: &dyn Corpus,
    order: Option<&[i64]>,
    length: Length,
    room: Room<'_>,
) -> Result<Vec<Span>, Error> {
    let Some(order) = order else { return repeated(texts, length, room) };
    let mut spans = repeated(&choose(texts, order, room)?, length, room)?;
    for span in &mut spans {
        span.document = order[span.document as usize];
    }
    spans.sort_unstable_by_key(|span| (span.document, span.start));
    Ok(spans)
}

fn repeated(texts: &dyn Corpus, length: Length, room: Room<'_>) -> Result<Vec<Span>, Error> {
    let cut = Windows::new(length)?;
    check_lengths(texts)?;
    let windows: u64 = (0..texts.len()).map(|text| cut.count(texts.text(text))).sum();
    let threads = rayon::current_num_threads() as u64;
    // As many passes at a time as there are threads share the memory.
    let needed = windows * (MAP_BITS / 8 + TABLE_BYTES / 4);
    let passes = room.memory.map_or(1, |memory| needed.div_ceil(memory.max(1 << 20)).max(1)) * threads;
    let passes = if windows < 1 << 16 { 1 } else { passes };
    let shares: Vec<Vec<Found>> = (0..passes)
        .into_par_iter()
        .map(|share| Pass { texts, cut, share, passes, room }.run(windows / passes + 1))
        .collect::<Result<_, Error>>()?;
    let mut found: Vec<Found> = shares.into_iter().flatten().collect();
    found.par_sort_unstable();
    Ok(unite(texts, &found))
}

/// Repeated bytes of a text: text, first byte, the byte after the last.
type Found = (u32, u32, u32);

/// One share of the windows: those whose hash is `share` modulo `passes`.
struct Pass<'t, 'r> {
    texts: &'t dyn Corpus,
    cut: Windows,
    share: u64,
    passes: u64,
    room: Room<'r>,
}

/// A repeated window: its text and the byte after its last, and those of an equal one before it.
#[derive(Clone, Copy)]
struct Repeat {
    text: usize,
    end: usize,
    twin: usize,
    until: usize,
}

impl Pass<'_, '_> {
    fn run(&self, windows: u64) -> Result<Vec<Found>, Error> {
        let mut seen = Seen::new(windows);
        self.each(false, |hash, _, _, _| seen.note(hash))?;
        let mut table = Table::default();
        let mut found: Vec<Found> = Vec::new();
        let mut last: Option<Repeat> = None;
        let overlap = self.cut.overlap();
        self.each(true, |hash, text, start, end| {
            let run = last.filter(|_| overlap).and_then(|repeat| self.runs_on(repeat, text, end));
            last = run.or_else(|| {
                let first = if seen.twice(hash) { table.first(self, hash, text, start..end) } else { None };
                first.map(|(twin, from)| Repeat { text, end, twin: twin as usize, until: from as usize + end - start })
            });
            match (last, found.last_mut()) {
                (None, _) => {}
                // All windows since the last repeated one are repeated, too.
                (_, Some(open)) if run.is_some() || (open.0 as usize == text && start as u32 <= open.2) => {
                    open.2 = end as u32;
                }
                _ => found.push((text as u32, start as u32, end as u32)),
            }
        })?;
        Ok(found)
    }

    /// `repeat` moved on to `end`, if all windows between are copies of those after its twin: the bytes added are equal.
    fn runs_on(&self, repeat: Repeat, text: usize, end: usize) -> Option<Repeat> {
        if repeat.text != text {
            return None;
        }
        let until = repeat.until + end - repeat.end;
        let bytes = self.texts.text(text).as_bytes().get(repeat.end..end)?;
        let equal = self.texts.text(repeat.twin).as_bytes().get(repeat.until..until)? == bytes;
        equal.then_some(Repeat { end, until, ..repeat })
    }

    /// Calls `window` with the hash, the text, the first byte and the byte after the last of each window of the share.
    fn each(&self, counts: bool, mut window: impl FnMut(u64, usize, usize, usize)) -> Result<(), Error> {
        for text in 0..self.texts.len() {
            let content = self.texts.text(text);
            self.room.did(if counts && self.share == 0 { content.len() } else { 0 })?;
            self.cut.each(content, |hash, start, end| {
                if self.passes == 1 || hash % self.passes == self.share {
                    window(hash, text, start, end);
                }
            });
        }
        Ok(())
    }
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
    fn first(&mut self, pass: &Pass<'_, '_>, hash: u64, text: usize, window: Range<usize>) -> Option<(u32, u32)> {
        if self.count * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 8) as usize & mask;
        let bytes = &pass.texts.text(text).as_bytes()[window.clone()];
        loop {
            let (other, twin, from) = self.slots[at];
            if twin == u32::MAX {
                self.slots[at] = (hash, text as u32, window.start as u32);
                self.count += 1;
                return None;
            }
            if other == hash && pass.texts.text(twin as usize).as_bytes()[from as usize..].starts_with(bytes) {
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
fn unite(texts: &dyn Corpus, found: &[Found]) -> Vec<Span> {
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

fn draw_in(texts: &dyn Corpus, (document, start, end): Found) -> Option<Span> {
    let text = texts.text(document as usize);
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

    /// The definition, word for word: what counts is the bytes of the windows, however they are cut.
    fn brute_force(texts: &[&str], windows: impl Fn(&str) -> Vec<Range<usize>>) -> Vec<Span> {
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut spans = Vec::new();
        for (document, text) in texts.iter().enumerate() {
            let mut marked = vec![false; text.len()];
            for window in windows(text) {
                let bytes = &text.as_bytes()[window.clone()];
                if seen.contains(&bytes) {
                    marked[window].fill(true);
                } else {
                    seen.push(bytes);
                }
            }
            let mut at = 0;
            for run in marked.chunk_by(|a, b| a == b) {
                if run[0] {
                    spans.extend(draw_in(&texts, (document as u32, at as u32, (at + run.len()) as u32)));
                }
                at += run.len();
            }
        }
        spans
    }

    fn by_bytes(text: &str, count: usize) -> Vec<Range<usize>> {
        (0..(text.len() + 1).saturating_sub(count)).map(|start| start..start + count).collect()
    }

    fn by_tokens(text: &str, count: usize) -> Vec<Range<usize>> {
        let pieces: Vec<&str> = text.split(' ').collect();
        let starts: Vec<usize> = pieces
            .iter()
            .scan(0, |at, piece| {
                let start = *at;
                *at += piece.len() + 1;
                Some(start)
            })
            .collect();
        let tokens: Vec<Range<usize>> = pieces
            .iter()
            .zip(starts)
            .filter(|(piece, _)| !piece.is_empty())
            .map(|(piece, start)| start..start + piece.len())
            .collect();
        tokens.windows(count).map(|run| run[0].start..run[count - 1].end).collect()
    }

    fn in_passes(texts: &[&str], length: Length, passes: u64) -> Vec<Span> {
        let cut = Windows::new(length).unwrap();
        let pass = |share| Pass { texts: &texts, cut, share, passes, room: Room::default() }.run(8).unwrap();
        let mut found: Vec<Found> = (0..passes).flat_map(pass).collect();
        found.sort_unstable();
        unite(&texts, &found)
    }

    proptest! {
        #[test]
        fn any_number_of_passes_finds_what_brute_force_finds(
            texts in prop::collection::vec("[abé中]{0,12}", 0..6), min_bytes in 1_usize..6, passes in 1_u64..5,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let expected = brute_force(&texts, |text| by_bytes(text, min_bytes));
            let length = Length::Bytes(min_bytes);
            prop_assert_eq!(&substrings(&texts, None, length, Room::default()).unwrap(), &expected);
            prop_assert_eq!(&in_passes(&texts, length, passes), &expected);
        }

        #[test]
        fn windows_of_tokens_are_found_as_brute_force_finds_them(
            texts in prop::collection::vec("[abé  ]{0,20}", 0..6), min_tokens in 1_usize..4, passes in 1_u64..5,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let expected = brute_force(&texts, |text| by_tokens(text, min_tokens));
            prop_assert_eq!(&in_passes(&texts, Length::Tokens(min_tokens), passes), &expected);
        }
    }
}
