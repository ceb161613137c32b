//! Documents in the order of their ids.
//!
//! As many ids as fit are sorted at a time, on all threads; then the runs are merged, so that no more than their heads are
//! looked at together.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use gristlm_mapped::Array;
use rayon::prelude::*;

use crate::Error;
use crate::corpus::Corpus;
use crate::error::check_texts;
use crate::room::Room;

/// What one document takes in a run, in bytes.
const BYTES: u64 = size_of::<Document<'static>>() as u64;
const MIN_RUN: u64 = 1 << 10;

/// Documents by their ids.
pub struct ById {
    /// The documents: by id, equal ids by text, equal texts as they lie.
    pub order: Array<i64>,
    /// Of each in that order, whether it has the id of the one before it.
    pub repeats: Array<bool>,
}

#[derive(Clone, Copy)]
struct Document<'t> {
    id: &'t str,
    number: u32,
    texts: &'t dyn Corpus,
}

impl Document<'_> {
    fn text(&self) -> &str {
        self.texts.text(self.number as usize)
    }
}

impl Ord for Document<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_text = || self.text().cmp(other.text());
        self.id.cmp(other.id).then_with(by_text).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Document<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Document<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Document<'_> {}

/// Sorts documents, each with an id and a text.
///
/// # Errors
/// [`Error::TooManyTexts`], [`Error::Ids`], [`Error::Storage`], [`Error::Interrupted`].
pub fn by_id(ids: &dyn Corpus, texts: &dyn Corpus, room: Room<'_>) -> Result<ById, Error> {
    check_texts(ids.len())?;
    if ids.len() != texts.len() {
        return Err(Error::Ids { ids: ids.len(), texts: texts.len() });
    }
    let document = |number: usize| Document { id: ids.text(number), number: number as u32, texts };
    let longest = room.memory.map_or(ids.len(), |memory| (memory / 4 / BYTES).max(MIN_RUN) as usize).max(1);
    let mut runs = room.array(ids.len(), |_| 0_u32)?;
    for (number, run) in runs.chunks_mut(longest).enumerate() {
        room.did(0)?;
        let first = number * longest;
        let mut sorted: Vec<Document<'_>> = (first..first + run.len()).map(document).collect();
        sorted.par_sort_unstable();
        run.iter_mut().zip(sorted).for_each(|(slot, document)| *slot = document.number);
    }
    let mut rest: Vec<&[u32]> = runs.chunks(longest).collect();
    let mut next = |run: usize| {
        let (first, others) = rest[run].split_first()?;
        rest[run] = others;
        Some(Reverse((document(*first as usize), run)))
    };
    let mut heads: BinaryHeap<Reverse<(Document<'_>, usize)>> =
        (0..ids.len().div_ceil(longest)).filter_map(&mut next).collect();
    let mut out = ById { order: room.array(ids.len(), |_| 0_i64)?, repeats: room.array(ids.len(), |_| false)? };
    let mut before = None;
    for position in 0..ids.len() {
        let Some(Reverse((document, run))) = heads.pop() else { break };
        heads.extend(next(run));
        out.order[position] = i64::from(document.number);
        out.repeats[position] = before == Some(document.id);
        before = Some(document.id);
        if position % longest == 0 {
            room.did(0)?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_of_any_length_give_what_a_sort_gives(
            documents in prop::collection::vec(("[ab]{0,3}", "[ab]{0,2}"), 0..40), memory in 0_u64..200_000,
        ) {
            let ids: Vec<&str> = documents.iter().map(|(id, _)| id.as_str()).collect();
            let texts: Vec<&str> = documents.iter().map(|(_, text)| text.as_str()).collect();
            let many: Vec<&str> = ids.iter().copied().cycle().take(ids.len() * 100).collect();
            let contents: Vec<&str> = texts.iter().copied().cycle().take(many.len()).collect();
            let found = by_id(&many, &contents, Room { memory: Some(memory), ..Room::default() }).unwrap();
            let mut expected: Vec<usize> = (0..many.len()).collect();
            expected.sort_by_key(|at| (many[*at], contents[*at]));
            prop_assert_eq!(found.order.iter().map(|at| *at as usize).collect::<Vec<_>>(), expected.clone());
            let repeats: Vec<bool> =
                (0..many.len()).map(|at| at > 0 && many[expected[at]] == many[expected[at - 1]]).collect();
            prop_assert_eq!(found.repeats.to_vec(), repeats);
        }
    }
}
