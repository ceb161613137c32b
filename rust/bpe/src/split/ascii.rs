//! Cutting 64 ASCII bytes at once: a bit per byte and class, and from those a bit per pretoken, without a branch per byte
//! or pretoken (ours; the idea of working on class masks is Langdale and Lemire's, "Parsing gigabytes of JSON per second", 2019).
//!
//! A block begins where a pretoken begins, so nothing before it matters. What it cannot decide, as the answer lies
//! beyond its last byte or its first non-ASCII one, is left to the next block or to the careful splitter.

use super::scan::contraction;

/// Bytes of a block.
pub const WIDTH: usize = 64;

/// Which bytes of a block are what, the first byte in the lowest bit. Only bits before `beyond` have a meaning.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    lower: u64,
    upper: u64,
    digit: u64,
    /// White space of any kind.
    space: u64,
    /// `\r` and `\n`.
    line: u64,
    /// The blank alone.
    blank: u64,
    quote: u64,
    slash: u64,
    /// Not ASCII.
    beyond: u64,
}

/// What distinguishes the patterns that are cut this way.
#[derive(Clone, Copy)]
pub struct Rules {
    /// A word may begin with one character that is neither letter, number nor line break; else with a blank only.
    pub any_prefix: bool,
    /// A word ends where an upper-case letter follows a lower-case one.
    pub cases: bool,
    /// Digits that stand together; 0: any number, and a blank may stand before them.
    pub digits: usize,
    /// Where `'s` and its like stand.
    pub contractions: Contractions,
    /// Line breaks (and, with the second, slashes) after punctuation belong to it; and lines end pretokens of white space.
    pub lines: bool,
    /// See `lines`.
    pub slashes: bool,
}

/// See [`Rules::contractions`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contractions {
    /// Nowhere.
    None,
    /// They are pretokens of their own; lower case only.
    Lower,
    /// They are pretokens of their own.
    Apart,
    /// They belong to the word before.
    Suffix,
}

#[inline(always)]
fn after(mask: u64) -> u64 {
    mask << 1
}

/// The bit after each run in `runs` that begins at one of `starts`.
#[inline(always)]
fn ends_of(runs: u64, starts: u64) -> u64 {
    runs.wrapping_add(starts) & !runs
}

/// Bits of the positions in the block at `start` where a pretoken begins, as far as that is certain; the lowest bit is
/// left out. `start` is where one begins.
#[inline(always)]
pub fn starts(text: &[u8], start: usize, rules: Rules) -> u64 {
    let Some(bytes) = text.get(start..).and_then(|rest| rest.first_chunk::<WIDTH>()) else { return 0 };
    if (bytes[0] | bytes[1]) >= 128 {
        return 0;
    }
    let Block { lower, upper, digit, space, line, blank, quote, slash, beyond } = Block::of(bytes);
    let letter = lower | upper;
    let other = !(letter | digit | space);

    // Punctuation, and the line breaks that it takes with it.
    let taken_from = if rules.lines { line & after(other) } else { 0 };
    let taking = if rules.slashes { line | slash } else { line };
    let taken_to = ends_of(taking, taken_from);
    let taken = taken_to.wrapping_sub(taken_from) | taken_from;
    let other = other & !taken;
    let other_starts = other & !after(other) & !after(blank);

    // White space: its first character, its last before something else, and what follows its last line break.
    let side = space & !line;
    let mut space_starts =
        (space & !after(space) & !taken) | (if rules.lines { side } else { space } & !space >> 1) | taken_to;
    if rules.lines {
        let mut after_line = side & after(line);
        let mut inner = ends_of(side, after_line) & line;
        while inner != 0 {
            // Another line break follows: this is not the last one.
            let end = inner.trailing_zeros();
            let begin = (after_line & ((1 << end) - 1)).leading_zeros();
            after_line &= !(1 << (63 - begin));
            inner &= inner - 1;
        }
        space_starts |= after_line;
    }

    let prefix = if rules.any_prefix { side | other_starts } else { blank };
    let mut word_starts = letter & !after(letter) & !after(prefix);
    if rules.cases {
        word_starts |= upper & after(lower);
    }

    let mut number_starts = digit;
    if rules.digits != 1 {
        number_starts &= !after(digit);
        if rules.digits == 0 {
            number_starts &= !after(blank);
        } else {
            let mut more = number_starts;
            loop {
                more = more << 3 & digit & digit << 1 & digit << 2;
                if more == 0 {
                    break;
                }
                number_starts |= more;
            }
        }
    }

    let mut all = other_starts | space_starts | word_starts | number_starts;
    let mut quotes = match rules.contractions {
        Contractions::None => 0,
        Contractions::Suffix => quote & after(letter) & letter >> 1,
        Contractions::Lower | Contractions::Apart => quote & other_starts & letter >> 1,
    };
    if quotes != 0 {
        let mut last = usize::MAX;
        while quotes != 0 {
            let at = quotes.trailing_zeros() as usize;
            quotes &= quotes - 1;
            let length = contraction(text, start + at) - (start + at);
            let lower_case = rules.contractions != Contractions::Lower
                || text[start + at + 1..start + at + length.max(1)].iter().all(u8::is_ascii_lowercase);
            let again = at == last && rules.contractions == Contractions::Suffix;
            if length > 0 && !again && lower_case {
                // From here on one pretoken, up to the end of the contraction.
                let from = if rules.contractions == Contractions::Suffix { at } else { at + 1 };
                last = at + length;
                let inside = (1u64.checked_shl(last as u32).unwrap_or(0)).wrapping_sub(1u64 << from);
                all = all & !inside | 1u64.checked_shl(last as u32).unwrap_or(0);
            }
        }
    }

    // What white space at the end of what is seen becomes depends on what follows it.
    let seen = if beyond == 0 { WIDTH } else { beyond.trailing_zeros() as usize };
    let mut certain = certain(space, seen);
    if rules.contractions == Contractions::Suffix && seen > 0 {
        certain &= !(quote & 1 << (seen - 1));
    }
    all & certain & !1
}

/// The bits below `seen`, without those of the white space that it ends with, but its first.
#[inline(always)]
fn certain(space: u64, seen: usize) -> u64 {
    let below = 1u64.checked_shl(seen as u32).unwrap_or(0).wrapping_sub(1);
    let zeros = (!space & below).leading_zeros() as usize;
    if zeros + seen == WIDTH { below } else { below & (2u64 << (WIDTH - zeros)).wrapping_sub(1) }
}

impl Block {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn of(bytes: &[u8; WIDTH]) -> Self {
        use std::arch::x86_64::{
            __m128i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
        };

        // SAFETY: every x86_64 processor has SSE2, and the four loads read the 64 bytes behind a live reference.
        unsafe {
            let part = |i: usize| -> __m128i { _mm_loadu_si128(bytes.as_ptr().add(16 * i).cast()) };
            let parts = [part(0), part(1), part(2), part(3)];
            let mask = |of: &dyn Fn(__m128i) -> __m128i| {
                let bits = |i: usize| u64::from(_mm_movemask_epi8(of(parts[i])) as u32);
                bits(0) | bits(1) << 16 | bits(2) << 32 | bits(3) << 48
            };
            // The wanted range is moved to the lowest signed values.
            let range = |first: u8, count: u8| {
                mask(&|part| {
                    let moved = _mm_add_epi8(part, _mm_set1_epi8(0x80u8.wrapping_sub(first) as i8));
                    _mm_cmplt_epi8(moved, _mm_set1_epi8((0x80 + count) as i8))
                })
            };
            let byte = |wanted: u8| mask(&|part| _mm_cmpeq_epi8(part, _mm_set1_epi8(wanted as i8)));
            let blank = byte(b' ');
            Self {
                lower: range(b'a', 26),
                upper: range(b'A', 26),
                digit: range(b'0', 10),
                space: blank | range(b'\t', 5),
                line: byte(b'\r') | byte(b'\n'),
                blank,
                quote: byte(b'\''),
                slash: byte(b'/'),
                beyond: mask(&|part| part),
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn of(bytes: &[u8; WIDTH]) -> Self {
        Self::slowly(bytes)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn slowly(bytes: &[u8; WIDTH]) -> Self {
        let mask = |is: fn(&u8) -> bool| bytes.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(is(byte)));
        Self {
            lower: mask(u8::is_ascii_lowercase),
            upper: mask(u8::is_ascii_uppercase),
            digit: mask(u8::is_ascii_digit),
            space: mask(|b| matches!(b, 9..=13 | b' ')),
            line: mask(|b| matches!(b, b'\r' | b'\n')),
            blank: mask(|b| *b == b' '),
            quote: mask(|b| *b == b'\''),
            slash: mask(|b| *b == b'/'),
            beyond: mask(|b| *b >= 128),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_of_the_right_class() {
        for byte in 0..=255u8 {
            for place in 0..WIDTH {
                let mut bytes = [b'x'; WIDTH];
                for (i, other) in bytes.iter_mut().enumerate() {
                    *other = (i as u8).wrapping_mul(37).wrapping_add(byte);
                }
                bytes[place] = byte;
                assert_eq!(Block::of(&bytes), Block::slowly(&bytes), "{byte} at {place}");
            }
        }
    }
}
