//! Which texts of the groups stay: every candidate is compared with the kept text before its twin is named.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::Error;
use crate::corpus::Corpus;
use crate::groups::Members;
use crate::minhash::MinHash;
use crate::room::Room;
use crate::shingles::{jaccard_at_least, jaccard_in_ranges, shingle_set};

/// Texts and bytes of text resolved together: compared with earlier ones in parallel, with each other in order. The
/// result does not depend on them.
const BLOCK: usize = 4096;
const BLOCK_BYTES: usize = 8 << 20;

/// The shingles of a text at most this share of the memory long are held; of a longer one a range at a time is.
const LONG: u64 = 16;

/// Kept texts of one band that a text is compared with, the first ones. Without a bound, pages made to share a band and
/// nothing else (or a million leaflets of one template) would take quadratic time.
const MAX_PER_BAND: usize = 1000;

/// A kept text and its similarity to a dropped one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Twin {
    /// Of the kept one.
    pub position: u32,
    /// Jaccard similarity of the two.
    pub similarity: f64,
}

/// The kept texts of each group, with the shingles of as many as there is memory for.
struct Kept<'t> {
    texts: &'t dyn Corpus,
    how: &'t MinHash,
    of_group: Vec<Vec<u32>>,
    sets: FxHashMap<u32, Vec<u64>>,
    /// Shingles in `sets`, and how many there may be.
    held: usize,
    limit: usize,
    /// Bytes of a text whose shingles are not held.
    long: usize,
}

/// The shingles of a text; none for a long one.
type Set = Option<Vec<u64>>;

impl Kept<'_> {
    fn set(&self, text: u32) -> Set {
        let text = self.texts.text(text as usize);
        (text.len() <= self.long).then(|| shingle_set(text, self.how.ngram))
    }

    /// The similarity of two texts, if it is enough.
    fn similarity(&self, text: u32, set: &Set, candidate: u32) -> Option<f64> {
        let computed;
        let other = match self.sets.get(&candidate) {
            Some(held) => Some(held),
            None => {
                computed = self.set(candidate);
                computed.as_ref()
            }
        };
        match (set, other) {
            (Some(a), Some(b)) => jaccard_at_least(a, b, self.how.threshold),
            _ => {
                let (a, b) = (self.texts.text(text as usize), self.texts.text(candidate as usize));
                let at_most = self.limit / rayon::current_num_threads();
                jaccard_in_ranges(a, b, self.how.ngram, self.how.threshold, at_most)
            }
        }
    }

    /// The first kept text from `from` on that is similar enough to `text`.
    fn twin(&self, groups: &[u32], text: u32, set: &Set, from: u32) -> Option<Twin> {
        let mut candidates: Vec<u32> = groups
            .iter()
            .flat_map(|group| {
                let kept = &self.of_group[*group as usize];
                &kept[kept.partition_point(|text| *text < from)..]
            })
            .copied()
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.into_iter().find_map(|candidate| {
            let similarity = self.similarity(text, set, candidate)?;
            Some(Twin { position: candidate, similarity })
        })
    }

    fn keep(&mut self, text: u32, groups: &[u32], set: Set) {
        for group in groups {
            let kept = &mut self.of_group[*group as usize];
            if kept.len() < MAX_PER_BAND {
                kept.push(text);
            }
        }
        let Some(set) = set else { return };
        if self.held + set.len() > self.limit {
            self.sets.clear();
            self.held = 0;
        }
        self.held += set.len();
        self.sets.insert(text, set);
    }
}

/// The twin of each dropped text of `members`, by the definition at the top of `minhash.rs`; `texts` are in the order that
/// it speaks of, and a text is named by its position in it.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn resolve(
    texts: &dyn Corpus,
    members: &Members,
    how: &MinHash,
    room: Room<'_>,
) -> Result<Vec<(u32, Twin)>, Error> {
    let limit = room.memory.map_or(usize::MAX, |memory| (memory / 4 / 8) as usize);
    let of_group = vec![Vec::new(); members.count as usize];
    let long = room.memory.map_or(usize::MAX, |memory| (memory / LONG) as usize);
    let mut kept = Kept { texts, how, of_group, sets: FxHashMap::default(), held: 0, limit, long };
    let mut twins = Vec::new();
    let mut start = 0;
    while start < members.texts.len() {
        let end = block_end(texts, &members.texts, start, long.min(BLOCK_BYTES));
        let first = members.texts[start];
        let compared = (start..end)
            .into_par_iter()
            .map(|at| {
                let text = members.texts[at];
                room.did(texts.text(text as usize).len())?;
                let set = kept.set(text);
                let twin = kept.twin(members.of(at), text, &set, 0);
                Ok((set, twin))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for (at, (set, earlier)) in (start..end).zip(compared) {
            let (text, groups) = (members.texts[at], members.of(at));
            match earlier.or_else(|| kept.twin(groups, text, &set, first)) {
                Some(twin) => twins.push((text, twin)),
                None => kept.keep(text, groups, set),
            }
        }
        start = end;
    }
    Ok(twins)
}

fn block_end(texts: &dyn Corpus, members: &[u32], start: usize, at_most: usize) -> usize {
    let mut bytes = 0;
    let block = &members[start..members.len().min(start + BLOCK)];
    let full = block.iter().position(|text| {
        bytes += texts.text(*text as usize).len();
        bytes >= at_most
    });
    start + full.map_or(block.len(), |at| at + 1)
}
