//! BPE over characters, as SentencePiece trains it and HF tokenizers runs it (Llama 1 and 2, Mistral 7B, Gemma).
//!
//! A pretoken is its characters; one without a token becomes its bytes' tokens (`<0x00>` … `<0xFF>`, "byte fallback") or the
//! unknown token. Then pairs merge by the order of the merges, as ids.
//!
//! SentencePiece writes a space as "▁" (U+2581). Here it stays a space: texts then need no rewriting, and decoding is
//! joining bytes. See [`crate::normalize`] for texts that hold the other character.

use rustc_hash::FxHashMap;

use crate::symbols::{Dropout, Merges, Symbols};

/// The vocabulary's merges and its characters.
pub struct CharBpe {
    merges: PairRanks,
    characters: FxHashMap<char, u32>,
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
    fuse_unknown: bool,
    /// The token that is a whole pretoken is taken as it is, even where merging would not make it.
    whole_first: bool,
    /// What the vocabulary has for a space, when that is not a space.
    space: Option<char>,
}

/// What a [`CharBpe`] is made of.
pub struct CharParts {
    /// The pairs in order, and what each makes.
    pub merges: Vec<((u32, u32), u32)>,
    /// The token of each single character.
    pub characters: FxHashMap<char, u32>,
    /// The token of each byte, for characters without one; all none without byte fallback.
    pub bytes: Box<[Option<u32>; 256]>,
    /// Stands for everything else; none leaves it out, as HF tokenizers does.
    pub unknown: Option<u32>,
    /// Unknown characters side by side are one token.
    pub fuse_unknown: bool,
    /// A whole pretoken is looked up before anything is merged.
    pub whole_first: bool,
    /// What the vocabulary has for a space, when that is not a space.
    pub space: Option<char>,
}

#[derive(Default)]
struct PairRanks(FxHashMap<(u32, u32), (u32, u32)>);

impl Merges for PairRanks {
    #[inline]
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        self.0.get(&(left, right)).copied()
    }
}

impl CharBpe {
    /// Puts a vocabulary together. Of a pair that is there twice the last counts, as in HF tokenizers.
    pub fn new(parts: CharParts) -> Self {
        let CharParts { merges, characters, bytes, unknown, fuse_unknown, whole_first, space } = parts;
        let merges = (0..).zip(merges).map(|(rank, (pair, made))| (pair, (rank, made))).collect();
        Self { merges: PairRanks(merges), characters, bytes, unknown, fuse_unknown, whole_first, space }
    }

    /// Whether a whole pretoken is looked up before anything is merged.
    pub fn whole_first(&self) -> bool {
        self.whole_first
    }

    /// Whether `id` is the token of a byte.
    pub fn is_byte(&self, id: u32) -> bool {
        self.bytes.contains(&Some(id))
    }

    /// Leaves the ids of one pretoken in `symbols`, with the bytes of it that each stands for.
    pub fn encode(&self, pretoken: &[u8], symbols: &mut Symbols, dropout: Option<&mut Dropout>) {
        symbols.clear();
        // Bytes that wait for the unknown token: it comes when a known character or another unknown token does.
        let mut waiting = 0;
        for chunk in pretoken.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.push(c, &mut waiting, symbols);
            }
            for &byte in chunk.invalid() {
                match (self.bytes[byte as usize], self.unknown) {
                    (Some(id), _) | (None, Some(id)) => symbols.push(id, 1),
                    (None, None) => {}
                }
            }
        }
        if let (1.., Some(unknown)) = (waiting, self.unknown) {
            symbols.push(unknown, waiting);
        }
        symbols.merge(&self.merges, dropout);
    }

    fn push(&self, c: char, waiting: &mut usize, symbols: &mut Symbols) {
        let length = c.len_utf8();
        if let Some(&id) = self.characters.get(&c) {
            if let (1.., Some(unknown)) = (*waiting, self.unknown) {
                symbols.push(unknown, std::mem::take(waiting));
            }
            return symbols.push(id, length);
        }
        let written = self.space.filter(|_| c == ' ').unwrap_or(c);
        let mut buffer = [0; 4];
        let bytes = written.encode_utf8(&mut buffer).as_bytes();
        if bytes.iter().all(|&b| self.bytes[b as usize].is_some()) {
            let mut left = length;
            for &byte in bytes {
                symbols.push(self.bytes[byte as usize].unwrap_or_default(), usize::from(left > 0));
                left = left.saturating_sub(1);
            }
        } else if let Some(unknown) = self.unknown {
            if *waiting > 0 && !self.fuse_unknown {
                symbols.push(unknown, std::mem::take(waiting));
            }
            *waiting += length;
        }
    }
}
