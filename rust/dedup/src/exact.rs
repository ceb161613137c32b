//! Equal documents, paragraphs or lines: the first one stays.
//!
//! In three passes, each on all threads: every unit's hash and place go to one of 256 partitions (on disk, where memory is
//! limited); in each partition, whose table fits a core's cache, a unit whose bytes stood before is marked; then the texts
//! with marks are split again into spans. Equal hashes are made sure of by comparing bytes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gristlm_mapped::Array;
use rayon::prelude::*;

use crate::corpus::{Corpus, check_lengths};
use crate::order::{Order, choose};
use crate::pieces::{Unit, pieces};
use crate::room::Room;
use crate::spans::Span;
use crate::spill::{PARTITIONS, Record, Spill, partition};
use crate::{Error, hash};

/// Bytes of text whose units go to the partitions at a time, and what a text takes meanwhile.
const BLOCK: usize = 8 << 20;
const OVERHEAD: usize = 64;

/// Records of a partition for which there is room at once.
const USUAL: usize = 1 << 16;

/// Texts whose spans are gathered at a time.
const GATHERED: usize = 1 << 14;

/// Which texts stay, and what in the others stood before.
pub struct Exact {
    /// Whether anything of the text is left: false where every unit stood before.
    pub keep: Array<bool>,
    /// For a dropped text the first text that holds its first unit, else its own index.
    pub cluster: Array<i64>,
    /// The units that stood before, in order: cutting them leaves each unit once. A unit's span has its line break.
    pub spans: Array<Span>,
}

/// Finds what is equal. Units of white space alone are never duplicates; a text without any other unit stays, unless
/// the unit is the document.
///
/// # Errors
/// [`Error::TooManyTexts`], [`Error::TooMuchText`], [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
pub fn exact(texts: &dyn Corpus, unit: Unit, room: Room<'_>) -> Result<Exact, Error> {
    check_lengths(texts)?;
    let mut spill = Spill::new(room);
    // Units before each text; its own are numbered from there.
    let mut before = room.array(texts.len() + 1, |_| 0_u64)?;
    let mut first = 0;
    while first < texts.len() {
        let block = block(texts, first);
        let last = first + block.len();
        let (counts, parted) = hash_units(&block, first, unit, room)?;
        for part in parted {
            spill.add(&part)?;
        }
        for (offset, count) in counts.into_iter().enumerate() {
            before[first + offset + 1] = before[first + offset] + u64::from(count);
        }
        first = last;
    }
    let marks = Marks::new(before[texts.len()], texts.len(), room)?;
    (0..PARTITIONS).into_par_iter().try_for_each(|part| {
        room.did(0)?;
        let mut firsts = Firsts::with_room_for(spill.records(part));
        spill.each(part, |record| firsts.see(texts, record, &before, &marks))
    })?;
    drop(spill);
    gather(texts, unit, &before, &marks, room)
}

/// [`exact`] among the texts that `order` names, the first copy by it; the others stay as they are. None is all as they lie.
///
/// # Errors
/// As [`exact`], and [`Error::Order`].
pub fn exact_in_order(texts: &dyn Corpus, order: Option<&[i64]>, unit: Unit, room: Room<'_>) -> Result<Exact, Error> {
    let Some(order) = order else { return exact(texts, unit, room) };
    if unit == Unit::Document && order.len() == texts.len() {
        return copies_in_order(texts, &Order::new(Some(order), texts.len(), room)?, room);
    }
    let found = exact(&choose(texts, order, room)?, unit, room)?;
    let keep = room.array(texts.len(), |_| true)?;
    let mut out = Exact { keep, cluster: room.array(texts.len(), |text| text as i64)?, spans: found.spans };
    for (at, text) in order.iter().enumerate() {
        out.keep[*text as usize] = found.keep[at];
        out.cluster[*text as usize] = order[found.cluster[at] as usize];
    }
    for span in out.spans.iter_mut() {
        span.document = order[span.document as usize];
    }
    out.spans.sort_unstable();
    Ok(out)
}

/// Equal texts, looked at as they lie, of which the first by `order` stays.
fn copies_in_order(texts: &dyn Corpus, order: &Order, room: Room<'_>) -> Result<Exact, Error> {
    let mut found = exact(texts, Unit::Document, room)?;
    let first = order.first_of_clusters(&found.cluster, room)?;
    let mut filled = 0;
    for (text, first) in first.iter().map(|first| *first as usize).enumerate() {
        found.keep[text] = first == text;
        found.cluster[text] = first as i64;
        if first != text {
            // As many as there were: one of each cluster stays, whichever it is.
            found.spans[filled] = Span { document: text as i64, start: 0, end: texts.text(text).len() as i64 };
            filled += 1;
        }
    }
    Ok(found)
}

/// The texts from `first` on whose units go to the partitions together.
fn block(texts: &dyn Corpus, first: usize) -> Vec<&str> {
    let mut bytes = 0;
    let mut block = Vec::new();
    while first + block.len() < texts.len() && bytes < BLOCK {
        let text = texts.text(first + block.len());
        bytes += text.len() + OVERHEAD;
        block.push(text);
    }
    block
}

/// How many units each text has; and the records, per thread's share of the texts and partition.
type Hashed = (Vec<u32>, Vec<Vec<Vec<Record>>>);

/// Of one thread: how many units each text has, and the records by partition.
type Share = (Vec<u32>, Vec<Vec<Record>>);

fn hash_units(texts: &[&str], first: usize, unit: Unit, room: Room<'_>) -> Result<Hashed, Error> {
    let share = texts.len().div_ceil(rayon::current_num_threads()).max(1);
    let shares: Vec<Result<Share, Error>> = texts
        .par_chunks(share)
        .enumerate()
        .map(|(number, texts)| {
            let mut parted = vec![Vec::new(); PARTITIONS];
            let mut counts = Vec::with_capacity(texts.len());
            for (offset, text) in texts.iter().enumerate() {
                let document = (first + number * share + offset) as u32;
                let mut index = 0;
                pieces(text, unit, |piece| {
                    let hash = hash::bytes(&text.as_bytes()[piece.start..piece.compared]);
                    let length = (piece.compared - piece.start) as u32;
                    parted[partition(hash)].push(Record { hash, document, start: piece.start as u32, length, index });
                    index += 1;
                });
                counts.push(index);
                room.did(text.len())?;
            }
            Ok((counts, parted))
        })
        .collect();
    let mut out = Hashed::default();
    for share in shares {
        let (counts, parted) = share?;
        out.0.extend(counts);
        out.1.push(parted);
    }
    Ok(out)
}

/// What the partitions found.
struct Marks {
    /// A bit for each unit: whether it stood before.
    repeated: Array<AtomicU64>,
    /// For each text, the text that held its first unit before; `u32::MAX` for none.
    holder: Array<AtomicU32>,
}

impl Marks {
    fn new(units: u64, texts: usize, room: Room<'_>) -> Result<Self, Error> {
        Ok(Self {
            repeated: room.array(units.div_ceil(64) as usize, |_| AtomicU64::new(0))?,
            holder: room.array(texts, |_| AtomicU32::new(u32::MAX))?,
        })
    }

    fn repeated(&self, unit: u64) -> bool {
        self.repeated[(unit / 64) as usize].load(Ordering::Relaxed) >> (unit % 64) & 1 == 1
    }
}

/// The first of equal units in a partition. Open addressing; a slot holds the number of a record and one.
struct Firsts {
    records: Vec<Record>,
    slots: Vec<u32>,
}

impl Firsts {
    /// Holds nothing yet; takes room for `count` records, but no more than a common partition's: they may all be equal.
    fn with_room_for(count: usize) -> Self {
        let count = count.min(USUAL);
        Self { records: Vec::with_capacity(count), slots: vec![0; (count * 2 + 2).next_power_of_two()] }
    }

    /// Marks a unit that equals one seen before, else remembers it.
    #[inline]
    fn see(&mut self, texts: &dyn Corpus, record: Record, before: &[u64], marks: &Marks) {
        if (self.records.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let compared = |record: &Record| {
            let start = record.start as usize;
            &texts.text(record.document as usize).as_bytes()[start..start + record.length as usize]
        };
        let mut slot = record.hash as usize & (self.slots.len() - 1);
        while let Some(known) = self.slots[slot].checked_sub(1).map(|known| &self.records[known as usize]) {
            if known.hash == record.hash && known.length == record.length && compared(known) == compared(&record) {
                let unit = before[record.document as usize] + u64::from(record.index);
                marks.repeated[(unit / 64) as usize].fetch_or(1 << (unit % 64), Ordering::Relaxed);
                if record.index == 0 {
                    marks.holder[record.document as usize].store(known.document, Ordering::Relaxed);
                }
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.records.push(record);
        self.slots[slot] = self.records.len() as u32;
    }

    fn grow(&mut self) {
        let size = self.slots.len() * 2;
        self.slots = vec![0; size];
        for (number, record) in self.records.iter().enumerate() {
            let mut slot = record.hash as usize & (size - 1);
            while self.slots[slot] > 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = number as u32 + 1;
        }
    }
}

fn gather(texts: &dyn Corpus, unit: Unit, before: &[u64], marks: &Marks, room: Room<'_>) -> Result<Exact, Error> {
    let units = |text: usize| before[text]..before[text + 1];
    let keep =
        room.array(texts.len(), |text| units(text).is_empty() || !units(text).all(|unit| marks.repeated(unit)))?;
    let cluster = room.array(texts.len(), |text| match keep[text] {
        true => text as i64,
        false => i64::from(marks.holder[text].load(Ordering::Relaxed)),
    })?;
    let count: u64 = marks.repeated.iter().map(|bits| u64::from(bits.load(Ordering::Relaxed).count_ones())).sum();
    let mut spans = room.array(count as usize, |_| Span::default())?;
    let mut filled = 0;
    for first in (0..texts.len()).step_by(GATHERED) {
        let found: Vec<Span> = (first..texts.len().min(first + GATHERED))
            .into_par_iter()
            .with_min_len(64)
            .filter(|text| units(*text).any(|unit| marks.repeated(unit)))
            .flat_map_iter(|text| spans_of(text, texts.text(text), unit, before[text], marks))
            .collect();
        spans[filled..filled + found.len()].copy_from_slice(&found);
        filled += found.len();
    }
    Ok(Exact { keep, cluster, spans })
}

/// The units of one text that stood before; `before` is the number of its first.
fn spans_of(document: usize, text: &str, unit: Unit, before: u64, marks: &Marks) -> Vec<Span> {
    let mut number = before;
    let mut spans = Vec::new();
    pieces(text, unit, |piece| {
        if marks.repeated(number) {
            spans.push(Span { document: document as i64, start: piece.start as i64, end: piece.end as i64 });
        }
        number += 1;
    });
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut;

    #[test]
    fn a_hash_clash_is_no_duplicate() {
        let texts = ["a", "b", "b", "a"];
        let record = |document: u32| Record { hash: 1, document, start: 0, length: 1, index: 0 };
        let marks = Marks::new(4, 4, Room::default()).unwrap();
        let mut firsts = Firsts::with_room_for(1);
        (0..4).for_each(|document| firsts.see(&texts, record(document), &[0, 1, 2, 3], &marks));
        let holders: Vec<u32> = marks.holder.iter().map(|holder| holder.load(Ordering::Relaxed)).collect();
        assert_eq!(holders, [u32::MAX, u32::MAX, 1, 0]);
    }

    #[test]
    fn lines_and_paragraphs_are_cut_once_seen() {
        let texts = ["a\nb\n\nc", "b\n\nc\nd", "", "b\nc\n"];
        let lines = exact(&texts, Unit::Line, Room::default()).unwrap();
        assert_eq!(cut(&texts, &lines.spans).unwrap(), ["a\nb\n\nc", "\nd", "", ""]);
        assert_eq!(*lines.keep, [true, true, true, false]);
        assert_eq!(*lines.cluster, [0, 1, 2, 0]);

        let texts = ["one\ntwo\n\n\nthree", "x\n\none\ntwo\n\ny"];
        let paragraphs = exact(&texts, Unit::Paragraph, Room::default()).unwrap();
        assert_eq!(cut(&texts, &paragraphs.spans).unwrap(), ["one\ntwo\n\n\nthree", "x\n\ny"]);
    }
}
