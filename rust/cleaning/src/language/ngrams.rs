//! Scores of languages by the n-grams of letters of words: naive Bayes over a table that is compiled in.
//!
//! N-grams lie within a word, begin it, end it (the edge counts as a letter), or are all of it. The table, `ngrams.bin`,
//! is made by `examples/language_table.rs`, which says from what. It holds, n-gram by n-gram in the order of their hashes:
//! the difference to the last hash (LEB128), the number of languages, and for each its index in [`TAGS`] and
//! its weight, log(probability / floor) in steps of 1/16.

use std::sync::LazyLock;

/// The languages that the table tells apart, as BCP 47, in the order of their indices in it.
pub const TAGS: [&str; 78] = [
    "af", "ar", "az", "be", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "eo", "es", "et", "eu", "fa", "fi",
    "fr", "ga", "gd", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "ko", "ky", "la", "lg",
    "lt", "lv", "mi", "mk", "mn", "mr", "nb", "ne", "nl", "nn", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "sn", "so",
    "sq", "sr", "st", "sv", "sw", "ta", "te", "tg", "th", "tl", "tn", "tr", "ts", "ug", "uk", "ur", "vi", "xh", "yo",
    "zh", "zu",
];

/// The most letters of an n-gram, an edge of the word among them.
pub const LONGEST: usize = 5;
/// Words of up to so many letters are n-grams as a whole, too.
const LONGEST_WORD: usize = 7;
/// What stands at both edges of a word.
const EDGE: char = ' ';
/// The steps of a weight in one nat.
pub const STEPS: f32 = 16.0;

const TABLE: &[u8] = include_bytes!("ngrams.bin");
const SLOT_FACTOR: usize = 2;

/// The hash of an n-gram, made from its last letter to its first.
#[must_use]
pub const fn extend(hash: u32, letter: char) -> u32 {
    let mixed = (hash ^ letter as u32).wrapping_mul(0x9E37_79B1);
    mixed ^ (mixed >> 15)
}

/// What n-grams say.
struct Table {
    /// Of each n-gram its hash (32 bits), the start of its weights (24) and their number (8); 0 in a free slot.
    slots: Vec<u64>,
    /// Languages, by index in [`TAGS`], and weights.
    weights: Vec<(u8, u8)>,
}

static LOADED: LazyLock<Table> = LazyLock::new(|| Table::read(TABLE));

impl Table {
    /// Reads the table, which is part of the program; one that is cut short ends early.
    fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes.iter().copied();
        let mut entries = Vec::new();
        let mut weights = Vec::new();
        let mut hash = 0u32;
        while let Some(step) = leb128(&mut rest) {
            hash = hash.wrapping_add(step);
            let start = weights.len() as u64;
            for _ in 0..rest.next().unwrap_or(0) {
                weights.extend(rest.next().zip(rest.next()));
            }
            entries.push(u64::from(hash) << 32 | start << 8 | (weights.len() as u64 - start));
        }
        let size = (entries.len() * SLOT_FACTOR).next_power_of_two();
        let mut slots = vec![0u64; size];
        for entry in entries {
            let mut at = (entry >> 32) as usize & (size - 1);
            while slots[at] != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = entry;
        }
        Self { slots, weights }
    }

    fn find(&self, hash: u32) -> &[(u8, u8)] {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return &[];
            }
            if (slot >> 32) as u32 == hash {
                let start = (slot >> 8 & 0xFF_FFFF) as usize;
                return &self.weights[start..start + (slot & 0xFF) as usize];
            }
            at = (at + 1) & mask;
        }
    }
}

fn leb128(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        value |= u32::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

/// The word that is being read, letter by letter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word {
    /// Its last letters and its first edge, the newest first.
    letters: [char; LONGEST_WORD + 1],
    /// How many of those there are, or were.
    length: usize,
}

impl Word {
    /// Adds a letter in lower case; calls `ngram` with the hash of each n-gram that ends in it, and whether that holds the
    /// first edge.
    #[inline]
    pub fn letter(&mut self, letter: char, mut ngram: impl FnMut(u32, bool)) {
        if self.length == 0 {
            self.push(EDGE);
        }
        self.push(letter);
        let mut hash = 0;
        for (at, &letter) in (1..).zip(&self.letters[..self.length.min(LONGEST)]) {
            hash = extend(hash, letter);
            ngram(hash, at == self.length);
        }
    }

    /// Ends the word; calls `ngram` with the hash of each n-gram that holds its last edge.
    #[inline]
    pub fn end(&mut self, mut ngram: impl FnMut(u32)) {
        if self.length > 0 {
            let mut hash = extend(0, EDGE);
            let whole = self.length <= LONGEST_WORD + 1;
            for (at, &letter) in (1..).zip(&self.letters[..self.length.min(LONGEST_WORD + 1)]) {
                hash = extend(hash, letter);
                if at < LONGEST || (whole && at == self.length) {
                    ngram(hash);
                }
            }
        }
        self.length = 0;
    }

    const fn push(&mut self, letter: char) {
        let mut at = LONGEST_WORD;
        while at > 0 {
            self.letters[at] = self.letters[at - 1];
            at -= 1;
        }
        self.letters[0] = letter;
        self.length += 1;
    }
}

/// The evidence of a text so far.
pub(super) struct Scores {
    table: &'static Table,
    /// In steps, by index in [`TAGS`]; the rest is never reached by the table.
    sums: [u32; 256],
    word: Word,
}

impl Scores {
    pub(super) fn new() -> Self {
        Self { table: &LOADED, sums: [0; 256], word: Word::default() }
    }

    /// Adds a letter in lower case to the word.
    pub(super) fn letter(&mut self, letter: char) {
        let (table, sums) = (self.table, &mut self.sums);
        self.word.letter(letter, |hash, _| add(table, sums, hash));
    }

    pub(super) fn end_word(&mut self) {
        let (table, sums) = (self.table, &mut self.sums);
        self.word.end(|hash| add(table, sums, hash));
    }

    /// The sum of each language, in nats, in the order of [`TAGS`].
    pub(super) fn nats(&self) -> [f32; TAGS.len()] {
        std::array::from_fn(|at| self.sums[at] as f32 / STEPS)
    }
}

#[inline]
fn add(table: &Table, sums: &mut [u32; 256], hash: u32) {
    for &(language, weight) in table.find(hash) {
        sums[usize::from(language)] += u32::from(weight);
    }
}
