//! Words as white space separates them, as `str.split` of Python has it: how many, and how many distinct ones.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

/// Whether `str.split` splits here: at white space of Unicode, and at the four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Whether an ASCII byte is a space.
const fn is_ascii_space(byte: u8) -> bool {
    byte.wrapping_sub(0x09) < 5 || byte.wrapping_sub(0x1c) < 5
}

/// Whether a space of Unicode may begin with this byte: U+0085 and U+00A0, U+1680, U+2000 to U+205F, U+3000.
const fn may_lead(byte: u8) -> bool {
    byte == 0xc2 || byte.wrapping_sub(0xe1) < 3
}

/// The bytes of the space that begins at `at`, a byte that is not within one; 0 where none does.
fn space_at(text: &str, at: usize) -> usize {
    match text.as_bytes()[at] {
        byte if byte < 0x80 => usize::from(is_ascii_space(byte)),
        byte if may_lead(byte) => text[at..].chars().next().filter(|&c| is_space(c)).map_or(0, char::len_utf8),
        _ => 0,
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            match space_at(text, at) {
                0 => break,
                size => at += size,
            }
        }
        let start = at;
        while at < text.len() && space_at(text, at) == 0 {
            at += 1;
        }
        (start < at).then(|| &text[start..at])
    })
}

/// Returns how many words each text has.
#[must_use]
pub fn count_words(texts: &[&str]) -> Vec<i64> {
    texts.iter().map(|text| count(text)).collect()
}

/// So many bytes are looked at together where no space beyond ASCII is among them.
const BLOCK: usize = 64;

/// Whether a space beyond ASCII may begin in the first [`BLOCK`] bytes.
fn has_wide_space(block: &[u8; BLOCK + 2]) -> bool {
    let mut any = false;
    for at in 0..BLOCK {
        let [first, second, third] = [block[at], block[at + 1], block[at + 2]];
        any |= (first == 0xc2) & ((second == 0x85) | (second == 0xa0));
        any |= (first == 0xe2) & ((second == 0x80) | (second == 0x81)) & !(0x8b..=0x9e).contains(&third);
        any |= ((first == 0xe1) & (second == 0x9a)) | ((first == 0xe3) & (second == 0x80) & (third == 0x80));
    }
    any
}

fn count(text: &str) -> i64 {
    let (mut words, mut at) = (0, 0);
    let mut before = true; // whether a space, or nothing, stands before
    while at < text.len() {
        match text.as_bytes()[at..].first_chunk() {
            Some(block) if !has_wide_space(block) => {
                let mut starts = u8::from(before && !is_ascii_space(block[0]));
                for next in 1..BLOCK {
                    starts += u8::from(is_ascii_space(block[next - 1]) & !is_ascii_space(block[next]));
                }
                words += i64::from(starts);
                before = is_ascii_space(block[BLOCK - 1]);
                at += BLOCK;
            }
            _ => {
                let end = text.len().min(at + BLOCK);
                while at < end {
                    let space = space_at(text, at);
                    words += i64::from(before && space == 0);
                    before = space > 0;
                    at += space.max(1);
                }
            }
        }
    }
    words
}

/// Returns the type-token curve: (words read, distinct ones among them in lower case) at 64 words and at each power of
/// two up to `most`, as far as the texts reach.
#[must_use]
pub fn type_token(texts: &[&str], most: u64) -> Vec<(u64, u64)> {
    let (mut short, mut long) = (FxHashSet::<u128>::default(), FxHashSet::<String>::default());
    let (mut curve, mut tokens, mut point) = (Vec::new(), 0, 64);
    for word in texts.iter().flat_map(|text| words(text)) {
        if point > most {
            break;
        }
        let lower = if word.is_ascii() { Cow::Borrowed(word) } else { Cow::Owned(word.to_lowercase()) };
        match in_place(&lower) {
            Some(key) => short.insert(key),
            None => long.insert(lower.to_ascii_lowercase()),
        };
        tokens += 1;
        if tokens == point {
            curve.push((tokens, (short.len() + long.len()) as u64));
            point *= 2;
        }
    }
    curve
}

/// Returns a word of up to 15 bytes, its ASCII in lower case, and its length: what a set compares without another look
/// into memory.
fn in_place(word: &str) -> Option<u128> {
    let mut bytes = [0; 16];
    bytes[..15].get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    bytes.make_ascii_lowercase();
    bytes[15] = word.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{count_words, is_space, type_token, words};

    proptest! {
        #[test]
        fn words_are_those_of_a_split_at_every_space(
            text in "([a-zA-Z\u{e9}\u{4e2d}\u{1f600}]{0,9}[ \n\u{1c}\u{85}\u{a0}\u{1680}\u{2009}\u{3000}\u{200b}]{0,3}){0,30}"
        ) {
            let split: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(&words(&text).collect::<Vec<_>>(), &split);
            prop_assert_eq!(count_words(&[&text]), [split.len() as i64]);
        }
    }

    #[test]
    fn words_are_what_stands_between_spaces() {
        let texts = ["", " ", "a", " a  b\n", "a\u{1c}b\u{85}c\u{a0}d\u{3000}e\u{200b}f", "\u{6f22}\u{2003}\u{6f22}"];
        assert_eq!(count_words(&texts), [0, 0, 1, 2, 5, 2]);
        for text in texts {
            assert_eq!(count_words(&[text]), [words(text).count() as i64]);
        }
    }

    #[test]
    fn the_curve_is_taken_at_powers_of_two() {
        let text = (0..300).map(|n| format!("W{} ", n % 100)).collect::<String>();
        assert_eq!(type_token(&[&text, "w1 more"], 1 << 20), [(64, 64), (128, 100), (256, 100)]);
        assert_eq!(type_token(&[&text], 128), [(64, 64), (128, 100)]);
        assert_eq!(type_token(&["ÀΣ Àς àσ "], 1), []);
        // Words of 14 to 17 bytes, in both cases, and NUL as a letter.
        let text =
            (0..64).map(|n| ["W", "w"][n / 32].repeat(14 + n % 4) + ["", "\0"][n % 32 / 16] + " ").collect::<String>();
        assert_eq!(type_token(&[&text], 64), [(64, 8)]);
    }
}
