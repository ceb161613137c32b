//! Words as white space separates them, as `str.split` of Python has it: how many, and how many distinct ones.

use rustc_hash::FxHashSet;

/// Whether `str.split` splits here: at white space of Unicode, and at the four separators of ASCII.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Returns how many words each text has.
#[must_use]
pub fn count_words(texts: &[&str]) -> Vec<i64> {
    texts.iter().map(|text| count(text)).collect()
}

/// Whether an ASCII byte is a space; of the others only those that no space of Unicode begins with are known not to be.
const SPACES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(byte, 0x09..=0x0d | 0x1c..=0x20);
        byte += 1;
    }
    table
};
/// The first bytes of the spaces beyond ASCII: U+0085 and U+00A0, U+1680, U+2000 to U+205F, U+3000.
const LEADS: [u8; 4] = [0xc2, 0xe1, 0xe2, 0xe3];

fn count(text: &str) -> i64 {
    let mut words = 0;
    let mut before = true; // whether a space, or nothing, stands before
    for (at, byte) in text.bytes().enumerate() {
        let space = if LEADS.contains(&byte) {
            text[at..].starts_with(is_space)
        } else if (0x80..0xc0).contains(&byte) {
            before // of a character whose first byte has told
        } else {
            SPACES[usize::from(byte)]
        };
        words += i64::from(before && !space);
        before = space;
    }
    words
}

/// Returns the type-token curve: (words read, distinct ones among them in lower case) at 64 words and at each power of
/// two up to `most`, as far as the texts reach.
#[must_use]
pub fn type_token(texts: &[&str], most: u64) -> Vec<(u64, u64)> {
    let (mut types, mut tokens, mut point) = (FxHashSet::<String>::default(), 0, 64);
    let mut curve = Vec::new();
    for word in texts.iter().flat_map(|text| words(text)) {
        if point > most {
            break;
        }
        if !word.is_ascii() || word.bytes().any(|b| b.is_ascii_uppercase()) {
            types.insert(word.to_lowercase());
        } else if !types.contains(word) {
            types.insert(word.to_owned());
        }
        tokens += 1;
        if tokens == point {
            curve.push((tokens, types.len() as u64));
            point *= 2;
        }
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::{count_words, type_token, words};

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
    }
}
