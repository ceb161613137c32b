//! Windows of a text: every stretch of so many bytes, or of so many tokens, with a hash that rolls from one to the next.

use crate::error::check_count;
use crate::shingles::{Roller, tokens};
use crate::{Error, hash};

/// Odd, without structure: the multiplier of the rolling hash of bytes.
const BASE: u64 = 0x2545_f491_4f6c_dd1d;

/// How long a repetition must be to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// In bytes of UTF-8.
    Bytes(usize),
    /// In tokens, which are those of MinHash: pieces between white space, and single characters where a script sets no
    /// spaces. A window goes from the first byte of its first token to the last of its last.
    Tokens(usize),
}

/// The windows of one length.
#[derive(Clone, Copy)]
pub struct Windows {
    length: Length,
    /// What the byte that leaves a window is multiplied by.
    drop: u64,
}

impl Windows {
    /// # Errors
    /// [`Error::Zero`], [`Error::TooMany`].
    pub fn new(length: Length) -> Result<Self, Error> {
        let drop = match length {
            Length::Bytes(count) => {
                check_count("min_bytes", count, u32::MAX as usize)?;
                (0..count).fold(1_u64, |power, _| power.wrapping_mul(BASE))
            }
            Length::Tokens(count) => {
                check_count("min_tokens", count, 1 << 16)?;
                0
            }
        };
        Ok(Self { length, drop })
    }

    /// About how many windows `text` has, rather more than fewer.
    pub fn count(&self, text: &str) -> u64 {
        match self.length {
            Length::Bytes(count) => (text.len() + 1).saturating_sub(count) as u64,
            // A character of the scripts whose tokens are characters takes three bytes.
            Length::Tokens(count) => (text.len() / 3 + 1).saturating_sub(count) as u64,
        }
    }

    /// Whether a window shares bytes with the next: single tokens do not, nor does any window hold what is between them.
    pub fn overlap(&self) -> bool {
        self.length != Length::Tokens(1)
    }

    /// Calls `window` with the hash, the first byte and the byte after the last of each window of `text`, in order.
    #[inline]
    pub fn each(&self, text: &str, window: impl FnMut(u64, usize, usize)) {
        match self.length {
            Length::Bytes(count) => self.of_bytes(text.as_bytes(), count, window),
            Length::Tokens(count) => of_tokens(text, count, window),
        }
    }

    #[inline]
    fn of_bytes(&self, bytes: &[u8], count: usize, mut window: impl FnMut(u64, usize, usize)) {
        let Some((head, tail)) = bytes.split_at_checked(count) else { return };
        let mut state = head.iter().fold(0, |state: u64, byte| push(state, *byte));
        window(hash::mix(state), 0, count);
        for (start, (old, new)) in bytes.iter().zip(tail).enumerate() {
            state = push(state, *new).wrapping_sub(self.drop.wrapping_mul(1 + u64::from(*old)));
            window(hash::mix(state), start + 1, start + 1 + count);
        }
    }
}

fn of_tokens(text: &str, count: usize, mut window: impl FnMut(u64, usize, usize)) {
    let mut roller = Roller::new(count);
    let mut starts = vec![0_usize; count];
    let mut number = 0;
    tokens(text, |token| {
        // A token is a part of the text: where it lies in memory says where it stands.
        let start = token.as_ptr() as usize - text.as_ptr() as usize;
        starts[number % count] = start;
        number += 1;
        if let Some(hash) = roller.push(hash::bytes(token.as_bytes())) {
            window(hash, starts[number % count], start + token.len());
        }
    });
}

fn push(state: u64, byte: u8) -> u64 {
    state.wrapping_mul(BASE).wrapping_add(1 + u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_tokens_reach_from_the_first_to_the_last() {
        let text = " ab c\u{a0}中文 d";
        let mut found = Vec::new();
        Windows::new(Length::Tokens(2)).unwrap().each(text, |_, start, end| found.push(&text[start..end]));
        assert_eq!(found, ["ab c", "c\u{a0}中", "中文", "文 d"]);
        assert_eq!(Windows::new(Length::Tokens(0)).err(), Some(Error::Zero { option: "min_tokens" }));
    }
}
