//! Equal documents, paragraphs or lines: the first one stays.
//!
//! In three passes, each on all threads: every unit's hash and place go to one of 256 partitions (on disk, where memory is
//! limited); in each partition, whose table fits a core's cache, a unit whose bytes stood before is marked; then the texts
//! with marks are split again into spans. Equal hashes are made sure of by comparing bytes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::error::check_texts;
use crate::order::choose;
use crate::pieces::{Unit, pieces};
use crate::room::Room;
use crate::spans::Span;
use crate::spill::{PARTITIONS, Record, Spill, partition};
use crate::{Error, hash};

/// Bytes of text whose units go to the partitions at a time.
const BLOCK: usize = 8 << 20;

/// Which texts stay, and what in the others stood before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    /// Whether anything of the text is left: false where every unit stood before.
    pub keep: Vec<bool>,
    /// For a dropped text the first text that holds its first unit, else its own index.
    pub cluster: Vec<i64>,
    /// The units that stood before, in order: cutting them leaves each unit once. A unit's span has its line break.
    pub spans: Vec<Span>,
}

/// Finds what is equal. Units of white space alone are never duplicates; a text without any other unit stays, unless
/// the unit is the document.
///
/// # Errors
/// [`Error::TooManyTexts`], [`Error::TooMuchText`], [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
pub fn exact(texts: &[&str], unit: Unit, room: Room<'_>) -> Result<Exact, Error> {
    check_texts(texts.len())?;
    let limit = u32::MAX as usize;
    if let Some(document) = texts.iter().position(|text| text.len() > limit) {
        return Err(Error::TooMuchText { document, given: texts[document].len(), limit });
    }
    let mut spill = Spill::new(room);
    // Units before each text; its own are numbered from there.
    let mut before = vec![0_u64; texts.len() + 1];
    let mut first = 0;
    while first < texts.len() {
        let last = block_end(texts, first);
        let (counts, parted) = hash_units(&texts[first..last], first, unit, room)?;
        for part in parted {
            spill.add(&part)?;
        }
        for (offset, count) in counts.into_iter().enumerate() {
            before[first + offset + 1] = before[first + offset] + u64::from(count);
        }
        first = last;
    }
    let marks = Marks::new(before[texts.len()], texts.len());
    (0..PARTITIONS).into_par_iter().try_for_each(|part| {
        room.did(0)?;
        mark_repeated(texts, &spill.read(part)?, &before, &marks);
        Ok(())
    })?;
    drop(spill);
    Ok(gather(texts, unit, &before, &marks))
}

/// [`exact`] among the texts that `order` names, the first copy by it; the others stay as they are. None is all as they lie.
///
/// # Errors
/// As [`exact`], and [`Error::Order`].
pub fn exact_in_order(texts: &[&str], order: Option<&[i64]>, unit: Unit, room: Room<'_>) -> Result<Exact, Error> {
    let Some(order) = order else { return exact(texts, unit, room) };
    let found = exact(&choose(texts, Some(order))?, unit, room)?;
    let mut out =
        Exact { keep: vec![true; texts.len()], cluster: (0..texts.len() as i64).collect(), spans: found.spans };
    for (text, (keep, cluster)) in order.iter().zip(found.keep.into_iter().zip(found.cluster)) {
        out.keep[*text as usize] = keep;
        out.cluster[*text as usize] = order[cluster as usize];
    }
    for span in &mut out.spans {
        span.document = order[span.document as usize];
    }
    out.spans.sort_unstable();
    Ok(out)
}

fn block_end(texts: &[&str], first: usize) -> usize {
    let mut bytes = 0;
    texts[first..]
        .iter()
        .position(|text| {
            bytes += text.len() + 16;
            bytes >= BLOCK
        })
        .map_or(texts.len(), |at| first + at + 1)
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
    repeated: Vec<AtomicU64>,
    /// For each text, the text that held its first unit before; `u32::MAX` for none.
    holder: Vec<AtomicU32>,
}

impl Marks {
    fn new(units: u64, texts: usize) -> Self {
        Self {
            repeated: (0..units.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            holder: (0..texts).map(|_| AtomicU32::new(u32::MAX)).collect(),
        }
    }

    fn repeated(&self, unit: u64) -> bool {
        self.repeated[(unit / 64) as usize].load(Ordering::Relaxed) >> (unit % 64) & 1 == 1
    }
}

fn mark_repeated(texts: &[&str], records: &[Record], before: &[u64], marks: &Marks) {
    // Open addressing; a slot holds the number of a record and one.
    let size = (records.len() * 2).next_power_of_two();
    let mut table = vec![0_u32; size];
    let compared = |record: &Record| {
        let start = record.start as usize;
        &texts[record.document as usize].as_bytes()[start..start + record.length as usize]
    };
    for (number, record) in records.iter().enumerate() {
        let mut slot = record.hash as usize & (size - 1);
        loop {
            let Some(known) = table[slot].checked_sub(1).map(|known| &records[known as usize]) else {
                table[slot] = number as u32 + 1;
                break;
            };
            if known.hash == record.hash && known.length == record.length && compared(known) == compared(record) {
                let unit = before[record.document as usize] + u64::from(record.index);
                marks.repeated[(unit / 64) as usize].fetch_or(1 << (unit % 64), Ordering::Relaxed);
                if record.index == 0 {
                    marks.holder[record.document as usize].store(known.document, Ordering::Relaxed);
                }
                break;
            }
            slot = (slot + 1) & (size - 1);
        }
    }
}

fn gather(texts: &[&str], unit: Unit, before: &[u64], marks: &Marks) -> Exact {
    let found: Vec<(bool, i64, Vec<Span>)> = texts
        .par_iter()
        .enumerate()
        .with_min_len(64)
        .map(|(document, text)| {
            let units = before[document]..before[document + 1];
            let gone = units.clone().filter(|unit| marks.repeated(*unit)).count() as u64;
            let keep = gone == 0 || gone < units.end - units.start;
            let mut spans = Vec::new();
            if gone > 0 {
                let mut number = units.start;
                pieces(text, unit, |piece| {
                    if marks.repeated(number) {
                        let (start, end) = (piece.start as i64, piece.end as i64);
                        spans.push(Span { document: document as i64, start, end });
                    }
                    number += 1;
                });
            }
            let holder = marks.holder[document].load(Ordering::Relaxed);
            (keep, if keep { document as i64 } else { i64::from(holder) }, spans)
        })
        .collect();
    let mut out = Exact::default();
    for (keep, cluster, spans) in found {
        out.keep.push(keep);
        out.cluster.push(cluster);
        out.spans.extend(spans);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut;

    #[test]
    fn a_hash_clash_is_no_duplicate() {
        let texts = ["a", "b", "b", "a"];
        let record = |document: u32| Record { hash: 1, document, start: 0, length: 1, index: 0 };
        let marks = Marks::new(4, 4);
        mark_repeated(&texts, &[record(0), record(1), record(2), record(3)], &[0, 1, 2, 3], &marks);
        let holders: Vec<u32> = marks.holder.iter().map(|holder| holder.load(Ordering::Relaxed)).collect();
        assert_eq!(holders, [u32::MAX, u32::MAX, 1, 0]);
    }

    #[test]
    fn lines_and_paragraphs_are_cut_once_seen() {
        let texts = ["a\nb\n\nc", "b\n\nc\nd", "", "b\nc\n"];
        let lines = exact(&texts, Unit::Line, Room::default()).unwrap();
        assert_eq!(cut(&texts, &lines.spans).unwrap(), ["a\nb\n\nc", "\nd", "", ""]);
        assert_eq!(lines.keep, [true, true, true, false]);
        assert_eq!(lines.cluster, [0, 1, 2, 0]);

        let texts = ["one\ntwo\n\n\nthree", "x\n\none\ntwo\n\ny"];
        let paragraphs = exact(&texts, Unit::Paragraph, Room::default()).unwrap();
        assert_eq!(cut(&texts, &paragraphs.spans).unwrap(), ["one\ntwo\n\n\nthree", "x\n\ny"]);
    }
}
