//! Scores of languages by the n-grams of letters within words: naive Bayes over a table that is compiled in.
//!
//! The table, `ngrams.bin`, is made by `examples/language_table.rs` from the n-gram frequencies of lingua's language
//! models (Apache-2.0). It holds, n-gram by n-gram in the order of their hashes:
//! the difference to the last hash (LEB128), the number of languages, and for each its index in [`TAGS`] and
//! its weight, log(probability / floor) in steps of 1/16.

use std::sync::LazyLock;

/// The languages that the table tells apart, as BCP 47, in the order of their indices in it.
pub(super) const TAGS: [&str; 73] = [
    "af", "ar", "az", "be", "bg", "bn", "ca", "cs", "cy", "da", "de", "el", "en", "eo", "es", "et", "eu", "fa", "fi",
    "fr", "ga", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "kk", "ko", "la", "lg", "lt", "lv",
    "mi", "mk", "mn", "mr", "nb", "nl", "nn", "pa", "pl", "pt", "ro", "ru", "sk", "sl", "sn", "so", "sq", "sr", "st",
    "sv", "sw", "ta", "te", "th", "tl", "tn", "tr", "ts", "uk", "ur", "vi", "xh", "yo", "zh", "zu",
];

/// The most letters of an n-gram.
pub const LONGEST: usize = 5;
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

/// The evidence of a text so far.
pub(super) struct Scores {
    table: &'static Table,
    /// In steps, by index in [`TAGS`]; the rest is never reached by the table.
    sums: [u32; 256],
    /// The last letters of the word so far, the newest first.
    word: [char; LONGEST],
    length: usize,
}

impl Scores {
    pub(super) fn new() -> Self {
        Self { table: &LOADED, sums: [0; 256], word: ['\0'; LONGEST], length: 0 }
    }

    /// Adds a letter in lower case to the word.
    pub(super) fn letter(&mut self, letter: char) {
        self.word.copy_within(..LONGEST - 1, 1);
        self.word[0] = letter;
        self.length = (self.length + 1).min(LONGEST);
        let mut hash = 0;
        for &letter in &self.word[..self.length] {
            hash = extend(hash, letter);
            for &(language, weight) in self.table.find(hash) {
                self.sums[usize::from(language)] += u32::from(weight);
            }
        }
    }

    pub(super) const fn end_word(&mut self) {
        self.length = 0;
    }

    /// The sum of each language, in nats, in the order of [`TAGS`].
    pub(super) fn nats(&self) -> [f32; TAGS.len()] {
        std::array::from_fn(|at| self.sums[at] as f32 / STEPS)
    }
}
