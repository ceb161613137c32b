//! Rows of a table as documents: what each text tells about itself, in one pass, and what is kept of the columns beside it.

use std::fmt::Write;

use memchr::memchr;
use memchr::memmem::Finder;
use simdutf8::basic::from_utf8;

use crate::counting::is_space;

/// What [`look`] finds of N texts.
pub struct Looks<'a> {
    /// Of each, the title that it was told, else its first line that is not blank; empty where that is too long.
    pub titles: Vec<&'a str>,
    /// Those that are blank, or not UTF-8.
    pub without: Vec<usize>,
    /// Those that hold the tag near their start.
    pub tagged: Vec<usize>,
}

/// Titles that were told are cut to so many characters.
const MAX_TOLD: usize = 300;

/// Looks at each text once.
///
/// `told` are titles, empty where there is none; fewer than texts will do. `max_chars` is the longest first line that is
/// a title; all of a `tag` within the first `near` characters is found, and some after.
#[must_use]
pub fn look<'a>(texts: &[&'a [u8]], told: &[&'a str], max_chars: usize, tag: &str, near: usize) -> Looks<'a> {
    let tag = Finder::new(tag);
    let mut found = Looks { titles: Vec::with_capacity(texts.len()), without: Vec::new(), tagged: Vec::new() };
    for (row, bytes) in texts.iter().enumerate() {
        let text = from_utf8(bytes).map_or("", |text| text.trim_matches(is_space));
        found.titles.push(match told.get(row) {
            Some(title) if !title.is_empty() => cut(title, MAX_TOLD),
            _ => first_line(text, max_chars),
        });
        if text.is_empty() {
            found.without.push(row);
        } else if tag.find(&bytes[..bytes.len().min(4 * near)]).is_some() {
            found.tagged.push(row);
        }
    }
    found
}

fn first_line(text: &str, max_chars: usize) -> &str {
    let near = &text.as_bytes()[..text.len().min(4 * max_chars + 1)]; // a character takes four bytes at most
    let line = memchr(b'\n', near).map_or(text, |end| &text[..end]);
    if cut(line, max_chars).len() == line.len() { line } else { "" }
}

fn cut(text: &str, max_chars: usize) -> &str {
    if text.len() <= max_chars {
        return text;
    }
    text.char_indices().nth(max_chars).map_or(text, |(end, _)| &text[..end])
}

/// Appends the JSON object, in ASCII, of what a row says about itself; what is empty is left out.
pub fn about(out: &mut String, id: &str, url: &str) {
    out.push('{');
    for (name, value) in [("\"id\": ", id), ("\"url\": ", url)] {
        if !value.is_empty() {
            out.push_str(if out.ends_with('{') { "" } else { ", " });
            out.push_str(name);
            quote(out, value);
        }
    }
    out.push('}');
}

fn quote(out: &mut String, text: &str) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    out.push('"');
    if text.bytes().all(plain) {
        out.push_str(text);
    } else {
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                ' '..='~' => out.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}"); // a String takes all
                    }
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{about, look};

    #[test]
    fn blank_and_broken_texts_are_told_apart_from_the_rest() {
        let long = "é".repeat(101);
        let texts: [&[u8]; 7] =
            [b" \n a title \n b", b"\x1c \xc2\x85", b"caf\xe9", long.as_bytes(), &long.as_bytes()[2..], b"", b"x TAG"];
        let found = look(&texts, &["", "told"], 100, "TAG", 1);
        assert_eq!(found.titles, ["a title ", "told", "", "", &long[2..], "", "x TAG"]);
        assert_eq!((found.without, found.tagged), (vec![1, 2, 5], vec![]));
        assert_eq!(look(&texts, &[], 100, "TAG", 2).tagged, [6]);
    }

    #[test]
    fn what_a_row_says_is_json_in_ascii() {
        let told = |id, url| {
            let mut out = String::new();
            about(&mut out, id, url);
            out
        };
        assert_eq!(told("", ""), "{}");
        assert_eq!(told("a\"\\\n\u{7f}", ""), r#"{"id": "a\"\\\n\u007f"}"#);
        assert_eq!(told("7", "é\u{1f600}"), r#"{"id": "7", "url": "\u00e9\ud83d\ude00"}"#);
    }
}
