//! From a text to the rows of the input matrix: its words, their character n-grams, its word n-grams.

use rustc_hash::FxHashMap;

pub const END: &[u8] = b"</s>";
const LABEL: &[u8] = b"__label__";

/// What a model knows: words, labels, and how the rest is hashed.
#[derive(Debug, Default)]
pub struct Dictionary {
    /// Words, then labels, as they are numbered.
    pub ids: FxHashMap<Vec<u8>, u32>,
    /// The words, in order.
    pub words: Vec<Vec<u8>>,
    /// The labels, in order.
    pub labels: Vec<String>,
    /// How often each entry was seen, words and labels.
    pub counts: Vec<i64>,
    /// Rows for hashed n-grams.
    pub buckets: u32,
    /// Longest word n-gram.
    pub word_ngrams: usize,
    /// Shortest character n-gram.
    pub min_characters: usize,
    /// Longest character n-gram; 0 for none.
    pub max_characters: usize,
    /// The rows that a quantised model kept, by hash; `None` where it kept all.
    pub kept: Option<FxHashMap<u32, u32>>,
}

impl Dictionary {
    /// Appends the rows of `text`, which is taken for one line.
    pub fn rows(&self, text: &[u8], rows: &mut Vec<u32>) {
        let mut hashes: Vec<i32> = Vec::new();
        let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        for word in text.split(space).filter(|word| !word.is_empty() && *word != END).chain([END]) {
            self.push_word(word, rows, &mut hashes);
        }
        self.push_ngrams(&hashes, rows);
    }

    fn push_word(&self, word: &[u8], rows: &mut Vec<u32>, hashes: &mut Vec<i32>) {
        let known = self.ids.get(word).copied();
        let is_word = known.map_or_else(|| !word.starts_with(LABEL), |id| (id as usize) < self.words.len());
        if !is_word {
            return;
        }
        hashes.push(hash(word) as i32);
        rows.extend(known);
        if self.max_characters > 0 && word != END {
            self.push_characters(word, rows);
        }
    }

    fn push_characters(&self, word: &[u8], rows: &mut Vec<u32>) {
        let marked: Vec<u8> = [b"<", word, b">"].concat();
        let starts: Vec<usize> = (0..marked.len()).filter(|at| marked[*at] & 0xc0 != 0x80).collect();
        for first in 0..starts.len() {
            for count in self.min_characters.max(1)..=self.max_characters {
                let Some(last) = Some(first + count).filter(|last| *last <= starts.len()) else { break };
                let end = starts.get(last).copied().unwrap_or(marked.len());
                if count > 1 || first > 0 && end < marked.len() {
                    self.push_hash(u64::from(hash(&marked[starts[first]..end])), rows);
                }
            }
        }
    }

    fn push_ngrams(&self, hashes: &[i32], rows: &mut Vec<u32>) {
        if self.word_ngrams < 2 || self.buckets == 0 {
            return;
        }
        for (at, first) in hashes.iter().enumerate() {
            let mut key = i64::from(*first) as u64;
            for next in hashes[at + 1..].iter().take(self.word_ngrams - 1) {
                key = key.wrapping_mul(116_049_371).wrapping_add(i64::from(*next) as u64);
                self.push_hash(key, rows);
            }
        }
    }

    fn push_hash(&self, key: u64, rows: &mut Vec<u32>) {
        if self.buckets == 0 {
            return;
        }
        let bucket = (key % u64::from(self.buckets)) as u32;
        let row = match &self.kept {
            None => Some(bucket),
            Some(kept) => kept.get(&bucket).copied(),
        };
        rows.extend(row.map(|row| self.words.len() as u32 + row));
    }
}

/// FNV-1a of 32 bits, over signed bytes as the published program has it.
fn hash(word: &[u8]) -> u32 {
    word.iter().fold(2_166_136_261, |hash, byte| (hash ^ (*byte as i8) as u32).wrapping_mul(16_777_619))
}
