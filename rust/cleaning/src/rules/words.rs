//! Words and lines as the quality rules count them.
//!
//! The papers count "words" without saying how they split. The published filters split English text with spaCy's rules,
//! so this does too: pieces between white space; punctuation, quotes, currency and units taken off their ends; a
//! contraction in two (`do` `n't`); a hyphen, slash or colon between letters a word of its own; addresses whole.
//! Source: the documented algorithm of spaCy's tokenizer and its English exceptions. Departures: (1) rare emoticons
//! and units of other alphabets are not known; (2) text mostly in a script without spaces (Chinese, Japanese, Thai,
//! Lao, Khmer, Burmese) is cut into pieces of about a word's length, for it would be one word a sentence otherwise.

use std::sync::LazyLock;

use regex::Regex;

use super::contractions::parts_of;
use super::signs;

/// The words of `text`.
pub fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::with_capacity(text.len() / 5);
    if is_unspaced(text) {
        for piece in pieces(text) {
            cut_unspaced(piece, &mut words);
        }
        return words;
    }
    let mut suffixes = Vec::new();
    for piece in pieces(text) {
        push_words(piece, &mut suffixes, &mut words);
    }
    words
}

/// What lies between white space.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(signs::is_space).filter(|piece| !piece.is_empty())
}

/// The lines of `text`, whatever ends them (`\n`, `\r\n`, form feed, U+2028, …); no empty one after the last end.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut rest = Some(text).filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(ends) else {
            rest = None;
            return Some(text);
        };
        let after = &text[end..];
        let width = if after.starts_with("\r\n") { 2 } else { after.chars().next().map_or(1, char::len_utf8) };
        rest = Some(&text[end + width..]).filter(|text| !text.is_empty());
        Some(&text[..end])
    })
}

/// Whether more than half of the text's letters are of a script that puts no spaces between words.
pub fn is_unspaced(text: &str) -> bool {
    // Such letters take three bytes and more: most texts are told by counting the bytes that start one.
    if text.is_ascii() || text.bytes().filter(|byte| *byte >= 0xe0).count() * 8 < text.len() {
        return false;
    }
    let (mut unspaced, mut all) = (0_usize, 0_usize);
    for c in text.chars().filter(|c| c.is_alphabetic()) {
        all += 1;
        unspaced += usize::from(signs::word_length(c).is_some());
    }
    unspaced * 2 > all
}

/// Cuts a piece of unspaced text: runs of such letters by the length of a common word, other letters and digits
/// together, each other sign alone.
fn cut_unspaced<'a>(piece: &'a str, words: &mut Vec<&'a str>) {
    let (mut start, mut taken, mut wanted) = (0, 0, 0);
    for (at, c) in piece.char_indices() {
        let length = match signs::word_length(c) {
            Some(length) => length,
            None if c.is_alphanumeric() => usize::MAX,
            None => 1,
        };
        if at > start && (taken >= wanted || length != wanted) {
            words.push(&piece[start..at]);
            (start, taken) = (at, 0);
        }
        wanted = length;
        taken += 1;
    }
    if start < piece.len() {
        words.push(&piece[start..]);
    }
}

fn push_words<'a>(piece: &'a str, suffixes: &mut Vec<&'a str>, words: &mut Vec<&'a str>) {
    if piece.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        match parts_of(piece) {
            Some(parts) => push_parts(piece, parts, words),
            None => words.push(piece),
        }
        return;
    }
    let mut rest = piece;
    let mut special = None;
    while !rest.is_empty() {
        special = parts_of(rest);
        if special.is_some() {
            break;
        }
        let before = prefix(rest);
        if before > 0 && parts_of(&rest[before..]).is_some() {
            words.push(&rest[..before]);
            rest = &rest[before..];
            continue;
        }
        let after = suffix(&rest[before..]);
        if before + after == 0 {
            break;
        }
        let end = rest.len() - after;
        let taken = if after > 0 && parts_of(&rest[..end]).is_some() { 0 } else { before };
        if taken > 0 {
            words.push(&rest[..taken]);
        }
        if after > 0 {
            suffixes.push(&rest[end..]);
        }
        rest = &rest[taken..end];
    }
    match special {
        Some(parts) => push_parts(rest, parts, words),
        None => push_inner(rest, words),
    }
    words.extend(suffixes.drain(..).rev());
}

fn push_parts<'a>(word: &'a str, parts: [u8; 3], words: &mut Vec<&'a str>) {
    let mut start = 0;
    for part in parts.into_iter().filter(|part| *part > 0) {
        let end = (start + usize::from(part)).min(word.len());
        words.extend(word.get(start..end));
        start = end;
    }
    words.extend(word.get(start..).filter(|rest| !rest.is_empty()));
}

/// Bytes of the sign at the start of `text` that is a word of its own.
fn prefix(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return 0 };
    let next = chars.next();
    match first {
        '+' => usize::from(!next.is_some_and(|c| c.is_ascii_digit())),
        '.' => {
            let dots = text.len() - text.trim_start_matches('.').len();
            if dots > 1 { dots } else { 0 }
        }
        'U' if text.starts_with("US$") => 3,
        'A' | 'C' if next == Some('$') => 2,
        '%' | '=' | '§' | '—' | '–' => first.len_utf8(),
        _ if signs::is_affix(first) || signs::is_currency(first) => first.len_utf8(),
        _ => 0,
    }
}

/// Bytes of the sign, or of the `'s` or unit, at the end of `text` that is a word of its own.
fn suffix(text: &str) -> usize {
    let mut back = text.chars().rev();
    let Some(last) = back.next() else { return 0 };
    let before = back.next();
    let digit = before.is_some_and(|c| c.is_ascii_digit());
    match last {
        '.' if before == Some('.') => text.len() - text.trim_end_matches('.').len(),
        '.' => {
            let shouted = |c: char| c.is_uppercase();
            let ends = before.is_some_and(|c| {
                c.is_ascii_digit() || matches!(c, '%' | '²' | '-' | '+') || is_small(c) || signs::is_mark(c)
            });
            usize::from(ends || before.is_some_and(shouted) && back.next().is_some_and(shouted))
        }
        's' | 'S' if matches!(before, Some('\'' | '’')) => 1 + before.map_or(0, char::len_utf8),
        '+' => usize::from(digit),
        '—' | '–' => last.len_utf8(),
        _ if signs::is_affix(last) => last.len_utf8(),
        _ if signs::is_currency(last) => {
            if digit {
                last.len_utf8()
            } else {
                0
            }
        }
        _ => unit(text),
    }
}

/// Bytes of a unit of measure right after a digit, at the end of `text`.
fn unit(text: &str) -> usize {
    let Some(last_digit) = text.rfind(|c: char| c.is_ascii_digit()) else { return 0 };
    let unit = &text[last_digit + 1..];
    if !unit.is_empty() && unit.len() <= 5 && signs::UNITS.contains(&unit) { unit.len() } else { 0 }
}

fn is_small(c: char) -> bool {
    c.is_alphabetic() && !c.is_uppercase()
}

/// Cuts at signs between letters, unless the whole is an address.
fn push_inner<'a>(text: &'a str, words: &mut Vec<&'a str>) {
    let (mut start, mut whole, mut skip) = (0, true, 0);
    let mut before = None;
    for (at, c) in text.char_indices() {
        let previous = before.replace(c);
        if at < skip || c.is_ascii_alphanumeric() {
            continue;
        }
        let length = infix(text, at, c, previous);
        if length == 0 {
            continue;
        }
        if whole && (text.contains('.') || text.contains('@')) && is_address(text) {
            break;
        }
        whole = false;
        skip = at + length;
        if at > 0 {
            words.extend(Some(&text[start..at]).filter(|word| !word.is_empty()));
            words.push(&text[at..skip]);
            start = skip;
        }
    }
    words.extend(Some(&text[start..]).filter(|word| !word.is_empty()));
}

/// Bytes of the sign at `at` that parts two words, 0 for one that is inside a word.
fn infix(text: &str, at: usize, c: char, previous: Option<char>) -> usize {
    let follows = |length: usize, wanted: &dyn Fn(char) -> bool| text[at + length..].chars().next().is_some_and(wanted);
    let digit = previous.is_some_and(|p| p.is_ascii_digit());
    let letter = previous.is_some_and(char::is_alphabetic);
    match c {
        '.' if text[at..].starts_with("..") => text.len() - at - text[at..].trim_start_matches('.').len(),
        '.' => {
            let ends = previous.is_some_and(|p| is_small(p) || signs::is_quote(p));
            usize::from(ends && follows(1, &|n| n.is_uppercase() || signs::is_quote(n)))
        }
        '+' | '*' | '^' => usize::from(digit && follows(1, &|n| n.is_ascii_digit() || n == '-')),
        ',' => usize::from(letter && follows(1, &char::is_alphabetic)),
        ':' | '<' | '>' | '=' | '/' => usize::from((letter || digit) && follows(1, &char::is_alphabetic)),
        '-' if digit && follows(1, &|n| n.is_ascii_digit() || n == '-') => 1,
        '-' | '–' | '—' | '~' => {
            let most = if matches!(c, '-') {
                3
            } else if c == '—' {
                2
            } else {
                1
            };
            (1..=most)
                .map(|count| count * c.len_utf8())
                .take_while(|length| text[at..].get(length - c.len_utf8()..).is_some_and(|rest| rest.starts_with(c)))
                .find(|length| (letter || digit) && follows(*length, &char::is_alphabetic))
                .unwrap_or(0)
        }
        '…' => c.len_utf8(),
        _ if signs::is_icon(c) => c.len_utf8(),
        _ => 0,
    }
}

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?:[\w+.-]{2,}://)?(?:\S+(?::\S*)?@)?(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
        r"|(?:(?:[A-Za-z0-9\x{a1}-\x{ffff}][A-Za-z0-9\x{a1}-\x{ffff}_-]{0,62})?[A-Za-z0-9\x{a1}-\x{ffff}]\.)+",
        r"[\p{Ll}\p{Lo}\p{Lm}]{2,63})(?::[0-9]{2,5})?(?:[/?#]\S*)?$",
    ))
    .ok()
});

fn is_address(text: &str) -> bool {
    ADDRESS.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

/// Characters of `text`.
pub fn chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// `part / whole`, 0 of nothing.
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Number and characters of the items that stood in `items` before.
pub fn duplicates<'a>(items: impl Iterator<Item = &'a str>) -> (usize, usize) {
    let mut seen = rustc_hash::FxHashSet::default();
    let (mut count, mut characters) = (0, 0);
    for item in items {
        if !seen.insert(item) {
            count += 1;
            characters += chars(item);
        }
    }
    (count, characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_split_as_published() {
        for (text, words) in [
            ("(He said: \"don't!\") -- 3.5%", "( He said : \" do n't ! \" ) -- 3.5 %"),
            (
                "It's Mr. Smith's well-known U.S. re-entry, e.g. in 1990.",
                "It 's Mr. Smith 's well - known U.S. re - entry , e.g. in 1990 .",
            ),
            (
                "See https://a-b.example.org/x-y, or and/or 10km at 5pm...",
                "See https://a-b.example.org/x-y , or and/or 10 km at 5 pm ...",
            ),
            (
                "I can't, cannot, y'all; they're gone.So £5 + $6",
                "I ca n't , can not , y' all ; they 're gone . So £ 5 + $ 6",
            ),
            ("x=y a--b 3-4 b/c ''", "x = y a -- b 3 - 4 b / c ''"),
        ] {
            assert_eq!(split(text), words.split(' ').collect::<Vec<_>>(), "{text}");
        }
        assert_eq!(split(" \n"), Vec::<&str>::new());
    }

    #[test]
    fn unspaced_scripts_are_cut_by_length() {
        assert_eq!(split("河流弯曲，因为 GPT4 在流。"), ["河流", "弯曲", "，", "因为", "GPT4", "在流", "。"]);
        assert!(is_unspaced("แม่น้ำโค้งเพราะตลิ่ง"));
        assert!(!is_unspaced("The word 河流 means river."));
    }

    #[test]
    fn every_line_end_ends_a_line() {
        assert_eq!(lines("a\r\nb\rc\u{2028}\nd\n").collect::<Vec<_>>(), ["a", "b", "c", "", "d"]);
        assert_eq!(lines("").count(), 0);
    }
}
