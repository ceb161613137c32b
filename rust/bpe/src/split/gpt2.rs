//! GPT-2's pattern, by hand: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

use super::ascii::{Contractions, Rules};
use super::scan::{run, run_without, white_space};
use super::{Cursor, Split};
use crate::unicode::{Classes, LETTER, NUMBER, SPACE};

/// See the file's head.
pub struct Gpt2(&'static Classes);

impl Default for Gpt2 {
    fn default() -> Self {
        Self(Classes::get())
    }
}

impl Split for Gpt2 {
    const ASCII: Option<Rules> = Some(Rules {
        any_prefix: false,
        cases: false,
        digits: 0,
        contractions: Contractions::Lower,
        lines: false,
        slashes: false,
    });

    #[inline]
    fn end(&self, text: &str, start: usize, _cursor: &mut Cursor) -> usize {
        let classes = self.0;
        let text = text.as_bytes();
        let first = text[start];
        if first == b'\'' {
            match (text.get(start + 1), text.get(start + 2)) {
                (Some(b's' | b't' | b'm' | b'd'), _) => return start + 2,
                (Some(b'l'), Some(b'l')) | (Some(b'v' | b'r'), Some(b'e')) => return start + 3,
                _ => {}
            }
        }
        let at = if first == b' ' && start + 1 < text.len() { start + 1 } else { start };
        let (flags, length) = classes.at(text, at);
        if flags & LETTER != 0 {
            run(classes, text, at + length, LETTER)
        } else if flags & NUMBER != 0 {
            run(classes, text, at + length, NUMBER)
        } else if flags & SPACE == 0 {
            run_without(classes, text, at + length, SPACE | LETTER | NUMBER)
        } else {
            white_space(classes, text, start)
        }
    }
}
