//! The bytes of every token by id, and the way back: from bytes to id.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::error::{Error, Result};
use crate::prefetch::prefetch;

/// The highest id a vocabulary may use: 2²⁴ − 1, so that a hostile file cannot ask for unbounded memory.
pub const MAX_ID: u32 = (1 << 24) - 1;
/// The longest key of the short tables, in bytes.
pub const SHORT: usize = 15;
const UNUSED: u32 = u32::MAX;

/// The bytes of each token, by id; ids may have holes.
#[derive(Clone, Default)]
pub struct Tokens {
    bytes: Vec<u8>,
    spans: Vec<(u32, u32)>,
}

impl Tokens {
    /// Sets the bytes of `id`.
    ///
    /// # Errors
    /// A message when the id is taken or too large.
    pub fn insert(&mut self, id: u32, bytes: &[u8]) -> std::result::Result<(), String> {
        if id > MAX_ID {
            return Err(format!(
                "token {:?} has id {id}, more than the {MAX_ID} allowed",
                String::from_utf8_lossy(bytes)
            ));
        }
        if self.bytes.len() + bytes.len() > UNUSED as usize - 1 {
            return Err("its tokens are longer than 4 GB together".to_owned());
        }
        let at = id as usize;
        if at >= self.spans.len() {
            self.spans.resize(at + 1, (UNUSED, 0));
        }
        if self.spans[at].0 != UNUSED {
            let other = String::from_utf8_lossy(self.get(id).unwrap_or_default()).into_owned();
            return Err(format!("id {id} is given twice: to {other:?} and to {:?}", String::from_utf8_lossy(bytes)));
        }
        self.spans[at] = (self.bytes.len() as u32, bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The bytes of `id`, if it is used.
    #[inline]
    pub fn get(&self, id: u32) -> Option<&[u8]> {
        let &(start, length) = self.spans.get(id as usize)?;
        if start == UNUSED { None } else { self.bytes.get(start as usize..start as usize + length as usize) }
    }

    /// One more than the highest id.
    pub fn size(&self) -> usize {
        self.spans.len()
    }

    /// Every used id with its bytes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (0..self.spans.len() as u32).filter_map(|id| self.get(id).map(|bytes| (id, bytes)))
    }

    /// Appends the bytes of `ids` to `out`.
    ///
    /// Most tokens are short: [`COPIED`] bytes are copied whatever their length, and what is too much is written over by the next.
    ///
    /// # Errors
    /// [`Error::Input`] names the first id that is not used.
    pub fn decode(&self, ids: &[u32], out: &mut Vec<u8>) -> Result<()> {
        let mut buffer = [0; 64 * COPIED];
        let mut filled = 0;
        for &id in ids {
            let &(start, length) = self.spans.get(id as usize).unwrap_or(&(UNUSED, 0));
            let (from, length) = (start as usize, length as usize);
            if let Some(bytes) = self.bytes.get(from..).and_then(|rest| rest.first_chunk::<COPIED>())
                && length <= COPIED
                && let Some(place) = buffer.get_mut(filled..filled + COPIED)
            {
                place.copy_from_slice(bytes);
                filled += length;
                continue;
            }
            out.extend_from_slice(&buffer[..filled]);
            filled = 0;
            let Some(bytes) = self.get(id) else {
                return Err(Error::Input(format!(
                    "id {id} is not in the vocabulary; its ids go from 0 to {}",
                    self.size().saturating_sub(1)
                )));
            };
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&buffer[..filled]);
        Ok(())
    }
}

/// Bytes that are copied at once while decoding.
const COPIED: usize = 16;

/// A key of at most [`SHORT`] bytes in two words; the length stands in the highest byte, so no key is zero.
#[inline]
pub fn short_key(text: &[u8], start: usize, length: usize) -> [u64; 2] {
    let mut block = [0u8; 16];
    match text.get(start..start + 16) {
        Some(window) => block.copy_from_slice(window),
        None => block[..length].copy_from_slice(&text[start..start + length]),
    }
    let whole = u128::from_le_bytes(block);
    let kept = whole & ((1u128 << (8 * length as u32)) - 1);
    [kept as u64, (kept >> 64) as u64 | (length as u64) << 56]
}

/// The hash of a short key.
#[inline]
pub fn hash_short(key: [u64; 2]) -> u64 {
    let wide = u128::from(key[0] ^ 0x9E37_79B9_7F4A_7C15) * u128::from(key[1] ^ 0xD1B5_4A32_D192_ED03);
    (wide as u64) ^ (wide >> 64) as u64
}

/// The hash of a longer key.
#[inline]
pub fn hash_long(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.finish()
}

#[derive(Clone, Copy, Default)]
struct ShortSlot {
    key: [u64; 2],
    value: u32,
}

/// From bytes to id, over tokens of any length: open addressing, at most half full, short keys inline.
#[derive(Default)]
pub struct TokenIndex {
    short: Vec<ShortSlot>,
    long: Vec<u32>,
}

impl TokenIndex {
    /// The index of `ids` in `tokens`.
    ///
    /// # Errors
    /// A message when two ids have the same bytes, or one has none.
    pub fn new(tokens: &Tokens, ids: impl Iterator<Item = u32> + Clone) -> std::result::Result<Self, String> {
        let (mut num_short, mut num_long) = (0usize, 0usize);
        for id in ids.clone() {
            if tokens.get(id).unwrap_or_default().len() <= SHORT { num_short += 1 } else { num_long += 1 }
        }
        let mut index = Self {
            short: vec![ShortSlot::default(); (2 * num_short).next_power_of_two()],
            long: vec![UNUSED; (2 * num_long).next_power_of_two()],
        };
        for id in ids {
            let bytes = tokens.get(id).unwrap_or_default();
            if bytes.is_empty() {
                return Err(format!("the token with id {id} is empty"));
            }
            if let Some(other) = index.get(tokens, bytes) {
                return Err(format!("token {:?} is there twice: ids {other} and {id}", String::from_utf8_lossy(bytes)));
            }
            if bytes.len() <= SHORT {
                let key = short_key(bytes, 0, bytes.len());
                let mask = index.short.len() - 1;
                let mut at = hash_short(key) as usize & mask;
                while index.short[at].key != [0; 2] {
                    at = (at + 1) & mask;
                }
                index.short[at] = ShortSlot { key, value: id };
            } else {
                let mask = index.long.len() - 1;
                let mut at = (hash_long(bytes) >> 20) as usize & mask;
                while index.long[at] != UNUSED {
                    at = (at + 1) & mask;
                }
                index.long[at] = id;
            }
        }
        Ok(index)
    }

    /// Asks the processor to bring the place of a short key near.
    #[inline]
    pub fn prefetch_short(&self, hash: u64) {
        if let Some(slot) = self.short.get(hash as usize & (self.short.len() - 1)) {
            prefetch(slot);
        }
    }

    /// The id of the token with this short key; `hash` is [`hash_short`] of it.
    #[inline]
    pub fn get_short(&self, key: [u64; 2], hash: u64) -> Option<u32> {
        let mask = self.short.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.short[at];
            if slot.key == key {
                return Some(slot.value);
            }
            if slot.key == [0; 2] {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    /// The id of the token with these bytes.
    #[inline]
    pub fn get(&self, tokens: &Tokens, bytes: &[u8]) -> Option<u32> {
        if bytes.is_empty() {
            return None;
        }
        if bytes.len() <= SHORT {
            let key = short_key(bytes, 0, bytes.len());
            return self.get_short(key, hash_short(key));
        }
        let mask = self.long.len() - 1;
        let mut at = (hash_long(bytes) >> 20) as usize & mask;
        loop {
            let id = self.long[at];
            if id == UNUSED {
                return None;
            }
            if tokens.get(id) == Some(bytes) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
    }
}
