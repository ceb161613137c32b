//! Training: count the pretokens of a corpus, then merge the most frequent pair again and again.
//!
//! The merges are those of HF tokenizers' `BpeTrainer` on the same text and pattern: of equally frequent pairs the one with the
//! smaller ids goes first, where ids are the special tokens, then the bytes in the order of their GPT-2 characters,
//! then the tokens in the order of their merges. Pairs that overlap ("aaa") count twice, as there.
//! One difference: `max_token_bytes` counts bytes; HF's `max_token_length` counts the UTF-8 length of GPT-2's characters, minus one.

mod count;
mod lookup;
mod merging;

pub use count::{Counter, MEMORY_BYTES};
pub use lookup::{characters, words};
pub use merging::Merging;

use crate::bpe::Bpe;
use crate::error::{Error, Result};
use crate::formats::byte_chars;
use crate::pattern::Pattern;
use crate::special::Special;
use crate::tokenizer::{Kept, Model, Parts, Tokenizer};
use crate::tokens::{TokenIndex, Tokens};

/// What to train.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All tokens together: special ones, the 256 bytes and merges.
    pub vocab_size: usize,
    /// Texts of the special tokens; their ids are 0, 1, ….
    pub specials: Vec<String>,
    /// A pair that stands less often than this is not merged.
    pub min_frequency: u64,
    /// No token becomes longer than this.
    pub max_token_bytes: usize,
}

impl Settings {
    /// How many merges that leaves room for.
    ///
    /// # Errors
    /// [`Error::Input`] says which setting is out of range.
    pub fn num_merges(&self) -> Result<usize> {
        let fixed = 256 + self.specials.len();
        if self.vocab_size < fixed {
            return Err(Error::Input(format!(
                "vocab_size is {}; it must be at least {fixed}: 256 bytes and {} special tokens",
                self.vocab_size,
                self.specials.len()
            )));
        }
        if self.vocab_size > 1 << 20 {
            return Err(Error::Input(format!("vocab_size is {}; at most {} is supported", self.vocab_size, 1 << 20)));
        }
        if self.max_token_bytes < 2 {
            return Err(Error::Input(format!("max_token_bytes is {}; it must be at least 2", self.max_token_bytes)));
        }
        for (i, special) in self.specials.iter().enumerate() {
            if special.is_empty() {
                return Err(Error::Input("special_tokens holds an empty text".to_owned()));
            }
            if self.specials[..i].contains(special) {
                return Err(Error::Input(format!("special_tokens holds {special:?} twice")));
            }
        }
        Ok(self.vocab_size - fixed)
    }

    /// The tokenizer with these merges (pairs of [`Merging`]'s numbers).
    ///
    /// # Errors
    /// [`Error::Input`] when a special token is a single printable character, which a byte has already.
    pub fn tokenizer(&self, merges: &[(u32, u32)], pattern: Pattern) -> Result<Tokenizer> {
        let first = self.specials.len() as u32;
        let mut tokens = Tokens::default();
        let mut spans: Vec<Vec<u8>> = byte_chars::in_order().iter().map(|&b| vec![b]).collect();
        for &(left, right) in merges {
            let joined = [&spans[left as usize][..], &spans[right as usize][..]].concat();
            spans.push(joined);
        }
        for (id, bytes) in (first..).zip(&spans) {
            tokens.insert(id, bytes).map_err(Error::Input)?;
        }
        let index = TokenIndex::new(&tokens, first..first + spans.len() as u32).map_err(Error::Input)?;
        let pairs: Vec<_> = merges.iter().map(|&(left, right)| (left + first, right + first)).collect();
        let bpe = Bpe::from_merges(&tokens, &index, &pairs, false).map_err(Error::Input)?;
        let specials = (0..)
            .zip(&self.specials)
            .map(|(id, content)| Special { content: content.clone(), id, special: true, ..Special::default() })
            .collect();
        let parts =
            Parts { tokens, index, model: Model::Bpe(bpe), pattern, normalizer: None, specials, kept: Kept::default() };
        Tokenizer::new(parts).map_err(Error::Input)
    }
}
