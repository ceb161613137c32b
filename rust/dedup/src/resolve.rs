//! Which texts of the groups stay: every candidate is compared with the kept text before its twin is named.

use gristlm_mapped::Array;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::Error;
use crate::corpus::Corpus;
use crate::groups::{Members, group};
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
const MAX_PER_BAND: u32 = 1000;

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
    /// Those of all groups, one group's after the other's: where each has room, and how many it has.
    of_groups: Array<u32>,
    starts: Array<u64>,
    counts: Array<u32>,
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
    fn twin(&self, groups: &[u64], text: u32, set: &Set, from: u32) -> Option<Twin> {
        let mut candidates: Vec<u32> = groups
            .iter()
            .flat_map(|pair| {
                let (start, count) = (self.starts[group(*pair)] as usize, self.counts[group(*pair)] as usize);
                let kept = &self.of_groups[start..start + count];
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

    fn keep(&mut self, text: u32, groups: &[u64], set: Set) {
        for group in groups.iter().map(|pair| group(*pair)) {
            let (at, end) = (self.starts[group] + u64::from(self.counts[group]), self.starts[group + 1]);
            if at < end {
                self.of_groups[at as usize] = text;
                self.counts[group] += 1;
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

impl<'t> Kept<'t> {
    fn new(texts: &'t dyn Corpus, sizes: &[u32], how: &'t MinHash, room: Room<'_>) -> Result<Self, Error> {
        let mut starts = room.array(sizes.len() + 1, |_| 0_u64)?;
        for (group, size) in sizes.iter().enumerate() {
            starts[group + 1] = starts[group] + u64::from((*size).min(MAX_PER_BAND));
        }
        let of_groups = room.array(starts[sizes.len()] as usize, |_| 0_u32)?;
        let counts = room.array(sizes.len(), |_| 0_u32)?;
        let limit = room.memory.map_or(usize::MAX, |memory| (memory / 4 / 8) as usize);
        let long = room.memory.map_or(usize::MAX, |memory| (memory / LONG) as usize);
        Ok(Self { texts, how, of_groups, starts, counts, sets: FxHashMap::default(), held: 0, limit, long })
    }
}

/// Calls `drop` with each dropped text of `members` and its twin, by the definition at the top of `minhash.rs`; `texts` are
/// in the order that it speaks of, and a text is named by its position in it.
///
/// # Errors
/// [`Error::Storage`], [`Error::Interrupted`].
pub fn resolve(
    texts: &dyn Corpus,
    members: &Members,
    how: &MinHash,
    room: Room<'_>,
    mut drop: impl FnMut(u32, Twin),
) -> Result<(), Error> {
    let mut kept = Kept::new(texts, &members.sizes, how, room)?;
    let mut rest = members.texts().peekable();
    while let Some((first, _)) = rest.peek().copied() {
        let block = block(texts, &mut rest, kept.long.min(BLOCK_BYTES));
        let compared = block
            .par_iter()
            .map(|(text, groups)| {
                room.did(texts.text(*text as usize).len())?;
                let set = kept.set(*text);
                let twin = kept.twin(groups, *text, &set, 0);
                Ok((set, twin))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for ((text, groups), (set, earlier)) in block.into_iter().zip(compared) {
            match earlier.or_else(|| kept.twin(groups, text, &set, first)) {
                Some(twin) => drop(text, twin),
                None => kept.keep(text, groups, set),
            }
        }
    }
    Ok(())
}

/// The next texts that are resolved together, one at least.
fn block<'m>(
    texts: &dyn Corpus,
    rest: &mut impl Iterator<Item = (u32, &'m [u64])>,
    at_most: usize,
) -> Vec<(u32, &'m [u64])> {
    let (mut block, mut bytes) = (Vec::new(), 0);
    while block.len() < BLOCK && bytes < at_most {
        let Some(next) = rest.next() else { break };
        bytes += texts.text(next.0 as usize).len();
        block.push(next);
    }
    block
}
