//! Pretokenizers: where a text is cut before byte pairs are merged.
//!
//! A splitter is asked for the end of the pretoken that begins at a position, so that encoding can run in one pass, stop
//! at any pretoken and go on later. The patterns that published tokenizers use are written by hand ([`cl100k`], [`o200k`],
//! [`gpt2`], [`deepseek`]); every other pattern runs through a regex engine ([`regex`]).

mod ascii;
mod cl100k;
mod deepseek;
mod gpt2;
mod o200k;
mod regex;
mod scan;
mod spaces;

pub use cl100k::Cl100k;
pub use deepseek::DeepSeek;
pub use gpt2::Gpt2;
pub use o200k::O200k;
pub use regex::RegexSequence;
pub use spaces::Spaces;

use crate::error::{Error, Result};

/// Cuts a text into pretokens, from left to right.
pub trait Split {
    /// The end of the pretoken that begins at `start`, greater than `start`.
    ///
    /// `start < text.len()` is 0 (with a fresh cursor) or the last end returned with this cursor.
    fn end(&self, text: &str, start: usize, cursor: &mut Cursor) -> usize;

    /// How ASCII text may be cut many bytes at once, if it may.
    const ASCII: Option<ascii::Rules> = None;

    /// Appends the ends of some pretokens from `start` on, at least one, and returns the last; `start` is as in [`Split::end`].
    #[inline(always)]
    fn some_ends(&self, text: &str, start: usize, cursor: &mut Cursor, ends: &mut Ends) -> usize {
        if let Some(rules) = Self::ASCII {
            let starts = ascii::starts(text.as_bytes(), start, rules);
            if starts != 0 {
                ends.push_bits(start, starts);
                return start + (63 - starts.leading_zeros() as usize);
            }
        }
        let end = self.end(text, start, cursor);
        ends.push(end);
        end
    }
}

/// Room for the ends of pretokens: a batch of them is cut before the first is looked up.
pub struct Ends {
    places: [usize; Self::ROOM],
    count: usize,
}

impl Ends {
    /// No more are cut when there are this many.
    pub const ENOUGH: usize = 32;
    /// The most there can be.
    pub const ROOM: usize = Self::ENOUGH + ascii::WIDTH;

    /// No ends.
    #[inline]
    pub fn new() -> Self {
        Self { places: [0; Self::ROOM], count: 0 }
    }

    /// Forgets all.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Whether there is no room that matters.
    #[inline(always)]
    pub fn is_enough(&self) -> bool {
        self.count >= Self::ENOUGH
    }

    /// The ends.
    #[inline(always)]
    pub fn get(&self) -> &[usize] {
        &self.places[..self.count.min(self.places.len())]
    }

    #[inline(always)]
    fn push(&mut self, end: usize) {
        self.places[self.count] = end;
        self.count += 1;
    }

    /// Appends `start` plus the number of each bit.
    #[inline(always)]
    fn push_bits(&mut self, start: usize, mut bits: u64) {
        let mut at = self.count;
        self.count += bits.count_ones() as usize;
        while bits != 0 {
            for _ in 0..4 {
                // Beyond the last bit: rubbish, that the next end overwrites.
                if let Some(place) = self.places.get_mut(at) {
                    *place = start + bits.trailing_zeros() as usize;
                }
                at += 1;
                bits &= bits.wrapping_sub(1);
            }
        }
    }
}

impl Default for Ends {
    fn default() -> Self {
        Self::new()
    }
}

/// What a splitter remembers between two pretokens of one text; the hand-made ones need nothing.
#[derive(Default)]
pub struct Cursor {
    levels: Vec<regex::Level>,
    /// Why the text cannot be cut on: the user's expression takes too long on it.
    failure: Option<Error>,
}

impl Cursor {
    /// Why cutting failed, if it did; what was cut from there on is of no use.
    pub fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

/// One character after another.
pub struct Characters;

impl Split for Characters {
    #[inline]
    fn end(&self, text: &str, start: usize, _cursor: &mut Cursor) -> usize {
        let length = match text.as_bytes()[start] {
            0..=0xBF => 1,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0.. => 4,
        };
        (start + length).min(text.len())
    }
}

/// The whole text is one pretoken.
pub struct Whole;

impl Split for Whole {
    #[inline]
    fn end(&self, text: &str, _start: usize, _cursor: &mut Cursor) -> usize {
        text.len()
    }
}

/// Any splitter; [`crate::pattern::Pattern`] chooses it.
pub enum Splitter {
    /// GPT-2's pattern.
    Gpt2(Gpt2),
    /// The pattern of cl100k_base as tiktoken has it: white space at the end of the text is one pretoken.
    Cl100k(Cl100k<3, true>),
    /// Llama 3's pattern, which is cl100k's as first published.
    Llama3(Cl100k<3, false>),
    /// Qwen 2's pattern: one digit at a time.
    Qwen2(Cl100k<1, false>),
    /// The pattern of o200k_base.
    O200k(O200k<3, true>),
    /// Mistral's tekken pattern: o200k's without contractions, one digit at a time.
    Tekken(O200k<1, false>),
    /// DeepSeek V3's three patterns in a row.
    DeepSeek(DeepSeek),
    /// One character at a time.
    Characters(Characters),
    /// Before every run of spaces.
    Spaces(Spaces<false>),
    /// Before every space.
    EachSpace(Spaces<true>),
    /// No cut at all.
    Whole(Whole),
    /// Regular expressions, each applied to the pieces of the one before.
    Regex(RegexSequence),
}

/// Runs `$body` with `$split` bound to the splitter's own type, so that the loop is compiled once per pattern.
macro_rules! with_split {
    ($splitter:expr, $split:ident => $body:expr) => {
        match $splitter {
            $crate::split::Splitter::Gpt2($split) => $body,
            $crate::split::Splitter::Cl100k($split) => $body,
            $crate::split::Splitter::Llama3($split) => $body,
            $crate::split::Splitter::Qwen2($split) => $body,
            $crate::split::Splitter::O200k($split) => $body,
            $crate::split::Splitter::Tekken($split) => $body,
            $crate::split::Splitter::DeepSeek($split) => $body,
            $crate::split::Splitter::Characters($split) => $body,
            $crate::split::Splitter::Spaces($split) => $body,
            $crate::split::Splitter::EachSpace($split) => $body,
            $crate::split::Splitter::Whole($split) => $body,
            $crate::split::Splitter::Regex($split) => $body,
        }
    };
}
pub(crate) use with_split;

impl Splitter {
    /// A splitter for the user's own regular expressions.
    ///
    /// # Errors
    /// [`crate::Error::Pattern`] when one cannot be compiled.
    pub fn regex(patterns: &[String]) -> Result<Self> {
        Ok(Self::Regex(RegexSequence::new(patterns)?))
    }

    /// The pretokens of `text` (tests and tools; encoding fuses the loop).
    pub fn pretokens<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let (mut out, mut start, mut next) = (Vec::new(), 0, 0);
        let (mut cursor, mut ends) = (Cursor::default(), Ends::new());
        with_split!(self, split => while next < text.len() {
            ends.clear();
            while next < text.len() && !ends.is_enough() {
                next = split.some_ends(text, next, &mut cursor, &mut ends);
            }
            for &end in ends.get() {
                out.extend(text.get(start..end));
                start = end;
            }
        });
        out
    }

    /// The same, one pretoken at a time.
    #[cfg(test)]
    pub fn pretokens_one_by_one<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let (mut out, mut start, mut cursor) = (Vec::new(), 0, Cursor::default());
        with_split!(self, split => while start < text.len() {
            let end = split.end(text, start, &mut cursor);
            out.extend(text.get(start..end));
            start = end;
        });
        out
    }
}
