//! The pattern of o200k_base and of Mistral's tekken, by hand:
//! ```text
//! [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//! |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
//! |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
//! ```
//! The two sets of the first line overlap in caseless characters, so the regex may give some back: see [`O200k::word`].

use super::ascii::{Contractions, Rules};
use super::scan::{contraction, run, run_of_bytes, run_up_to, run_without, white_space_and_lines};
use super::{Cursor, Split};
use crate::unicode::{CASELESS, Classes, LETTER, LOWER, NUMBER, SPACE, UPPER};

/// `DIGITS`: how many digits stand together; `CONTRACTIONS`: a word keeps its `'s`.
pub struct O200k<const DIGITS: usize, const CONTRACTIONS: bool>(&'static Classes);

impl<const DIGITS: usize, const CONTRACTIONS: bool> Default for O200k<DIGITS, CONTRACTIONS> {
    fn default() -> Self {
        Self(Classes::get())
    }
}

impl<const DIGITS: usize, const CONTRACTIONS: bool> O200k<DIGITS, CONTRACTIONS> {
    /// The end of `[Upper Caseless]*[Lower Caseless]+` at `at` (the first line of the pattern without its prefix).
    ///
    /// The first run is greedy. When a lower-case letter follows it, the second run goes on from there. Else the first
    /// gives characters back until one of them can be the second run's: its last caseless character, which
    /// an upper-case letter or the end of the run follows.
    #[inline]
    fn word(&self, text: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        let mut after_caseless = None;
        while at < text.len() {
            let (flags, length) = self.0.at(text, at);
            if flags & (UPPER | CASELESS) == 0 {
                if flags & LOWER != 0 {
                    return Some(run(self.0, text, at + length, LOWER | CASELESS));
                }
                break;
            }
            at += length;
            if flags & CASELESS != 0 {
                after_caseless = Some(at);
            }
        }
        after_caseless
    }

    #[inline]
    fn with_contraction(&self, text: &[u8], end: usize) -> usize {
        if CONTRACTIONS { contraction(text, end) } else { end }
    }
}

impl<const DIGITS: usize, const CONTRACTIONS: bool> Split for O200k<DIGITS, CONTRACTIONS> {
    const ASCII: Option<Rules> = Some(Rules {
        any_prefix: true,
        cases: true,
        digits: DIGITS,
        contractions: if CONTRACTIONS { Contractions::Suffix } else { Contractions::None },
        lines: true,
        slashes: true,
    });

    #[inline]
    fn end(&self, text: &str, start: usize, _cursor: &mut Cursor) -> usize {
        let classes = self.0;
        let text = text.as_bytes();
        let first = text[start];
        let (flags, length) = classes.at(text, start);
        let next = start + length;
        let may_be_prefix = flags & (LETTER | NUMBER) == 0 && first != b'\r' && first != b'\n';
        let may_begin_word = flags & (UPPER | LOWER | CASELESS) != 0;
        if may_be_prefix
            && next < text.len()
            && classes.at(text, next).0 & (UPPER | LOWER | CASELESS) != 0
            && let Some(end) = self.word(text, next)
        {
            return self.with_contraction(text, end);
        }
        if may_begin_word && let Some(end) = self.word(text, start) {
            return self.with_contraction(text, end);
        }
        // No lower-case and no caseless character follows: a word can only be of upper-case letters now.
        let word = if may_be_prefix { next } else { start };
        let end = run(classes, text, word, UPPER);
        if end > word {
            return self.with_contraction(text, end);
        }
        if flags & NUMBER != 0 {
            return run_up_to(classes, text, next, NUMBER, DIGITS - 1);
        }
        let following = if next < text.len() { classes.at(text, next).0 } else { SPACE };
        if flags & SPACE == 0 || (first == b' ' && following & (SPACE | LETTER | NUMBER) == 0) {
            let end = run_without(classes, text, next, SPACE | LETTER | NUMBER);
            return run_of_bytes(text, end, b"\r\n/");
        }
        white_space_and_lines(classes, text, start, false)
    }
}
