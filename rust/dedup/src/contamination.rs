//! Evaluation text inside training text: runs of `ngram` words that both have.
//!
//! Words are compared without case and punctuation (Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C,
//! which takes n = 13): a word is a run of letters and digits, in lower case; in scripts without spaces, one character.
//! Runs are compared by a 64-bit hash of their words.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::error::{check_count, check_texts};
use crate::room::Room;
use crate::shingles::{Roller, stands_alone};
use crate::{Error, hash};

/// A stretch of a text that an evaluation text has, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Index of the text.
    pub document: i64,
    /// First byte in it.
    pub start: i64,
    /// The byte after the last.
    pub end: i64,
    /// The first evaluation text that has it.
    pub against: i64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contamination {
    /// For each text the share of its words inside hits.
    pub overlap: Vec<f32>,
    /// In the order of the texts.
    pub hits: Vec<Hit>,
    /// Evaluation texts with fewer than `ngram` words: they cannot be found.
    pub too_short: Vec<i64>,
}

/// Finds runs of `ngram` words that `texts` share with `against`.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooMany`], [`Error::TooManyTexts`], [`Error::Interrupted`].
pub fn contamination(texts: &[&str], against: &[&str], ngram: usize, room: Room<'_>) -> Result<Contamination, Error> {
    check_count("ngram", ngram, 1 << 16)?;
    check_texts(texts.len())?;
    check_texts(against.len())?;
    let mut out = Contamination::default();
    let mut holders: FxHashMap<u64, u32> = FxHashMap::default();
    for (index, text) in against.iter().enumerate() {
        let mut roller = Roller::new(ngram);
        let mut found = false;
        words(text, |word, _, _| {
            if let Some(run) = roller.push(word) {
                found = true;
                holders.entry(run).or_insert(index as u32);
            }
        });
        if !found {
            out.too_short.push(index as i64);
        }
    }
    let searched: Vec<(f32, Vec<Hit>)> = texts
        .par_iter()
        .with_min_len(8)
        .enumerate()
        .map(|(document, text)| {
            room.did(text.len())?;
            Ok(search(document, text, ngram, &holders))
        })
        .collect::<Result<_, Error>>()?;
    for (overlap, hits) in searched {
        out.overlap.push(overlap);
        out.hits.extend(hits);
    }
    Ok(out)
}

fn search(document: usize, text: &str, ngram: usize, holders: &FxHashMap<u64, u32>) -> (f32, Vec<Hit>) {
    let mut hits: Vec<Hit> = Vec::new();
    let mut roller = Roller::new(ngram);
    // Starts of the last `ngram` words.
    let mut starts = vec![0_usize; ngram];
    let (mut count, mut inside, mut last_inside) = (0_usize, 0_usize, 0_usize);
    words(text, |word, start, end| {
        starts[count % ngram] = start;
        count += 1;
        let Some(holder) = roller.push(word).and_then(|run| holders.get(&run)) else { return };
        let (first, against) = (starts[count % ngram], i64::from(*holder));
        // Words count - ngram .. count are inside; those up to last_inside are counted already.
        inside += count - last_inside.max(count - ngram);
        last_inside = count;
        match hits.last_mut() {
            Some(hit) if hit.against == against && first as i64 <= hit.end => hit.end = end as i64,
            _ => hits.push(Hit { document: document as i64, start: first as i64, end: end as i64, against }),
        }
    });
    (if count == 0 { 0.0 } else { inside as f32 / count as f32 }, hits)
}

/// Letters and digits of ASCII in lower case; 0 for what ends a word.
const LOWER: [u8; 128] = {
    let mut table = [0; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The hash of a word, letter by letter: only texts of one call are compared.
#[derive(Clone, Copy)]
struct Word {
    state: u64,
    start: usize,
    open: bool,
}

impl Word {
    const CLOSED: Self = Self { state: 0x9e37_79b9_7f4a_7c15, start: 0, open: false };

    #[inline]
    const fn push(&mut self, byte: u8, at: usize) {
        if !self.open {
            self.open = true;
            self.start = at;
        }
        self.state = (self.state ^ byte as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
    }

    #[inline]
    fn end(&mut self, at: usize, word: &mut impl FnMut(u64, usize, usize)) {
        if self.open {
            word(hash::mix(self.state), self.start, at);
            *self = Self::CLOSED;
        }
    }
}

/// Calls `word` with the hash of each word of `text` and the bytes it stands at.
fn words(text: &str, mut word: impl FnMut(u64, usize, usize)) {
    let bytes = text.as_bytes();
    let mut open = Word::CLOSED;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(lower) = LOWER.get(usize::from(bytes[at])) {
            match lower {
                0 => open.end(at, &mut word),
                _ => open.push(*lower, at),
            }
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        let end = at + c.len_utf8();
        if stands_alone(c) {
            open.end(at, &mut word);
            word(hash::bytes(&bytes[at..end]), at, end);
        } else if c.is_alphanumeric() {
            let mut buffer = [0; 4];
            for lower in c.to_lowercase() {
                lower.encode_utf8(&mut buffer).bytes().for_each(|byte| open.push(byte, at));
            }
        } else {
            open.end(at, &mut word);
        }
        at = end;
    }
    open.end(bytes.len(), &mut word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hit_says_what_where_and_whose() {
        let texts = ["It said: \"The quick, brown fox!\" jumps", "nothing of it", ""];
        let against = ["short", "the quick brown fox jumps"];
        let found = contamination(&texts, &against, 4, Room::default()).unwrap();
        assert_eq!(found.hits, [Hit { document: 0, start: 10, end: 38, against: 1 }]);
        assert_eq!(&texts[0][10..38], "The quick, brown fox!\" jumps");
        assert_eq!(found.overlap, [5.0 / 7.0, 0.0, 0.0]);
        assert_eq!(found.too_short, [0]);
    }
}
