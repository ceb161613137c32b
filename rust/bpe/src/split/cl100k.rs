//! The pattern of cl100k_base and its relatives (Llama 3, Qwen 2), by hand:
//! `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

use super::ascii::{Contractions, Rules};
use super::scan::{contraction, run, run_of_bytes, run_up_to, run_without, white_space_and_lines};
use super::{Cursor, Split};
use crate::unicode::{ASCII, Classes, LETTER, NUMBER, SPACE};

/// `DIGITS`: how many digits stand together; `TAIL`: white space at the end of the text is one pretoken (`\s+\z` first).
pub struct Cl100k<const DIGITS: usize, const TAIL: bool>(&'static Classes);

impl<const DIGITS: usize, const TAIL: bool> Default for Cl100k<DIGITS, TAIL> {
    fn default() -> Self {
        Self(Classes::get())
    }
}

impl<const DIGITS: usize, const TAIL: bool> Split for Cl100k<DIGITS, TAIL> {
    const ASCII: Option<Rules> = Some(Rules {
        any_prefix: true,
        cases: false,
        digits: DIGITS,
        contractions: Contractions::Apart,
        lines: true,
        slashes: false,
    });

    #[inline]
    fn end(&self, text: &str, start: usize, _cursor: &mut Cursor) -> usize {
        let classes = self.0;
        let text = text.as_bytes();
        let first = text[start];
        let (flags, length) = classes.at(text, start);
        if flags & LETTER != 0 {
            return run(classes, text, start + length, LETTER);
        }
        if flags & NUMBER != 0 {
            return run_up_to(classes, text, start + length, NUMBER, DIGITS - 1);
        }
        if first == b'\'' {
            let end = contraction(text, start);
            if end > start {
                return end;
            }
        }
        let next = start + length;
        let following = match text.get(next) {
            None => SPACE,
            Some(&b) if b < 128 => ASCII[b as usize],
            Some(_) => classes.at(text, next).0,
        };
        if following & LETTER != 0 && first != b'\r' && first != b'\n' {
            return run(classes, text, next, LETTER);
        }
        if flags & SPACE == 0 || (first == b' ' && following & (SPACE | LETTER | NUMBER) == 0) {
            let end = run_without(classes, text, next, SPACE | LETTER | NUMBER);
            return run_of_bytes(text, end, b"\r\n");
        }
        white_space_and_lines(classes, text, start, TAIL)
    }
}
