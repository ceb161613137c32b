//! The repetition rules of Gopher.
//!
//! Source: Rae et al. 2021, A1.1 (Repetition removal), table A1. As in the published filter, the most frequent
//! n-gram of a short text counts even when it stands only once. Departures: words as [`super::words`] splits them;
//! n-grams are compared by a 64-bit hash of their words.

use rustc_hash::FxHashMap;

use super::signs::is_space;
use super::words::{chars, duplicates, ratio, split};
use super::{Check, Drop, thresholds};

thresholds! {
    /// Thresholds of the rule, defaults as published: the share that may be repetition.
    GopherRepetition {
        /// Characters a text must have: an empty one is none.
        min_characters: 1.0,
        /// Paragraphs that stood before.
        max_duplicate_paragraph_ratio: 0.3,
        /// Characters in them.
        max_duplicate_paragraph_character_ratio: 0.2,
        /// Lines that stood before.
        max_duplicate_line_ratio: 0.3,
        /// Characters in them.
        max_duplicate_line_character_ratio: 0.2,
        /// Characters in the most frequent pair of words.
        max_top_2_gram_ratio: 0.2,
        /// … three words.
        max_top_3_gram_ratio: 0.18,
        /// … four words.
        max_top_4_gram_ratio: 0.16,
        /// Characters in repeated runs of five words.
        max_duplicate_5_gram_ratio: 0.15,
        /// … six words.
        max_duplicate_6_gram_ratio: 0.14,
        /// … seven words.
        max_duplicate_7_gram_ratio: 0.13,
        /// … eight words.
        max_duplicate_8_gram_ratio: 0.12,
        /// … nine words.
        max_duplicate_9_gram_ratio: 0.11,
        /// … ten words.
        max_duplicate_10_gram_ratio: 0.1,
    }
}

impl GopherRepetition {
    /// Why `text` goes, if it does.
    pub fn judge(&self, text: &str) -> Option<Drop> {
        let mut check = Check::new("gopher_repetition");
        let total = chars(text);
        check.at_least("characters", total as f64, "min_characters", self.min_characters);

        let paragraphs: Vec<&str> = parts(text.trim_matches(is_space), 2);
        let (count, characters) = duplicates(paragraphs.iter().copied());
        check.at_most(
            "duplicate_paragraph_ratio",
            ratio(count, paragraphs.len()),
            "max_duplicate_paragraph_ratio",
            self.max_duplicate_paragraph_ratio,
        );
        check.at_most(
            "duplicate_paragraph_character_ratio",
            ratio(characters, total),
            "max_duplicate_paragraph_character_ratio",
            self.max_duplicate_paragraph_character_ratio,
        );
        let lines = parts(text, 1);
        let (count, characters) = duplicates(lines.iter().copied());
        check.at_most(
            "duplicate_line_ratio",
            ratio(count, lines.len()),
            "max_duplicate_line_ratio",
            self.max_duplicate_line_ratio,
        );
        check.at_most(
            "duplicate_line_character_ratio",
            ratio(characters, total),
            "max_duplicate_line_character_ratio",
            self.max_duplicate_line_character_ratio,
        );
        if check.dropped.is_some() {
            return check.dropped;
        }

        let words = Words::new(text);
        let mut top = |n, measure, threshold, limit| {
            if check.dropped.is_none() {
                check.at_most(measure, ratio(words.top_n_gram(n), total), threshold, limit);
            }
        };
        top(2, "top_2_gram_ratio", "max_top_2_gram_ratio", self.max_top_2_gram_ratio);
        top(3, "top_3_gram_ratio", "max_top_3_gram_ratio", self.max_top_3_gram_ratio);
        top(4, "top_4_gram_ratio", "max_top_4_gram_ratio", self.max_top_4_gram_ratio);
        let mut repeated = |n, measure, threshold, limit| {
            if check.dropped.is_none() {
                check.at_most(measure, ratio(words.repeated(n), total), threshold, limit);
            }
        };
        repeated(5, "duplicate_5_gram_ratio", "max_duplicate_5_gram_ratio", self.max_duplicate_5_gram_ratio);
        repeated(6, "duplicate_6_gram_ratio", "max_duplicate_6_gram_ratio", self.max_duplicate_6_gram_ratio);
        repeated(7, "duplicate_7_gram_ratio", "max_duplicate_7_gram_ratio", self.max_duplicate_7_gram_ratio);
        repeated(8, "duplicate_8_gram_ratio", "max_duplicate_8_gram_ratio", self.max_duplicate_8_gram_ratio);
        repeated(9, "duplicate_9_gram_ratio", "max_duplicate_9_gram_ratio", self.max_duplicate_9_gram_ratio);
        repeated(10, "duplicate_10_gram_ratio", "max_duplicate_10_gram_ratio", self.max_duplicate_10_gram_ratio);
        check.dropped
    }
}

/// What lies between runs of at least `breaks` line ends; empty before a first and after a last run.
fn parts(text: &str, breaks: usize) -> Vec<&str> {
    let (mut found, mut start, mut from) = (Vec::new(), 0, 0);
    let bytes = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\n', &bytes[from..]).map(|at| from + at) {
        let end = at + bytes[at..].iter().take_while(|byte| **byte == b'\n').count();
        if end - at >= breaks {
            found.push(&text[start..at]);
            start = end;
        }
        from = end;
    }
    found.push(&text[start..]);
    found
}

/// The words of a text as numbers: equal words, equal numbers.
struct Words {
    ids: Vec<u32>,
    /// Characters of the words before each one; one entry more than words.
    starts: Vec<usize>,
}

impl Words {
    fn new(text: &str) -> Self {
        let words = split(text);
        let mut known = FxHashMap::default();
        let mut starts = Vec::with_capacity(words.len() + 1);
        starts.push(0);
        let ids = words
            .iter()
            .map(|word| {
                starts.push(starts[starts.len() - 1] + chars(word));
                let next = known.len() as u32;
                *known.entry(*word).or_insert(next)
            })
            .collect();
        Self { ids, starts }
    }

    fn key(&self, at: usize, n: usize) -> u64 {
        use std::hash::Hasher;
        let mut hasher = rustc_hash::FxHasher::default();
        for id in &self.ids[at..at + n] {
            hasher.write_u32(*id);
        }
        hasher.finish()
    }

    /// Characters (with single spaces) of the most frequent n-gram, all its places together; the first one of equals.
    fn top_n_gram(&self, n: usize) -> usize {
        if self.ids.len() < n {
            return 0;
        }
        let mut counts: FxHashMap<u64, (usize, usize)> = FxHashMap::default();
        for at in 0..=self.ids.len() - n {
            counts.entry(self.key(at, n)).or_insert((0, at)).0 += 1;
        }
        counts
            .values()
            .max_by_key(|(count, at)| (*count, std::cmp::Reverse(*at)))
            .map_or(0, |(count, at)| count * (self.starts[at + n] - self.starts[*at] + n - 1))
    }

    /// Characters of the n-grams that stood before, none counted twice.
    fn repeated(&self, n: usize) -> usize {
        let mut seen = rustc_hash::FxHashSet::default();
        let (mut at, mut characters) = (0, 0);
        while at + n <= self.ids.len() {
            if seen.insert(self.key(at, n)) {
                at += 1;
            } else {
                characters += self.starts[at + n] - self.starts[at];
                at += n;
            }
        }
        characters
    }
}
