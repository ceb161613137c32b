//! Any other pattern, through a regex engine: one expression or several in a row, each cutting the pieces of the one before.
//!
//! A match is a pretoken, and so is the text between two matches (as in HF tokenizers; nothing of a text is ever lost).
//!
//! Two engines: finite automata (linear time) for everything without look-around, and backtracking (fancy-regex) for the
//! rest. The one look-ahead that nearly every published pattern has, the alternative `\s+(?!\S)`, runs on the
//! automata too: `\s+` is greedy, so the character after it is not white space unless the text ends, and the
//! alternative means "all of the run but its last character".

use fancy_regex::RegexBuilder;
use regex_automata::meta;
use regex_automata::{Anchored, Input};

use super::{Cursor, Split};
use crate::error::{Error, Result};

/// Where one expression of the sequence stands in the text.
#[derive(Clone, Copy, Default)]
pub struct Level {
    piece_start: usize,
    piece_end: usize,
    /// A match found beyond a gap, so that it need not be searched for again.
    found: Option<(usize, usize)>,
}

enum Engine {
    Automata(meta::Regex),
    /// Alternatives, of which number `lookahead` is `\s+` standing for `\s+(?!\S)`; `rest` holds those after it.
    Alternatives {
        all: meta::Regex,
        lookahead: usize,
        rest: Option<meta::Regex>,
    },
    Backtracking(fancy_regex::Regex),
}

/// One or more expressions.
pub struct RegexSequence {
    engines: Vec<Engine>,
}

/// Steps back that one search may take: a few seconds. Published patterns need a handful.
const MAX_BACKTRACKS: usize = 1 << 25;

const SPACES_BEFORE_SPACE: &str = r"\s+(?!\S)";

impl RegexSequence {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// [`Error::Pattern`] when one is not a regular expression or is too large.
    pub fn new(patterns: &[String]) -> Result<Self> {
        Ok(Self { engines: patterns.iter().map(|pattern| Engine::new(pattern)).collect::<Result<_>>()? })
    }
}

impl Engine {
    fn new(pattern: &str) -> Result<Self> {
        let fail = |reason: String| Error::Pattern { pattern: pattern.to_owned(), reason };
        let alternatives = top_level_alternatives(pattern);
        let plain = alternatives.as_ref().is_some_and(|list| list.iter().all(|a| !needs_backtracking(a)));
        if plain && let Ok(regex) = meta::Regex::new(pattern) {
            return Ok(Self::Automata(regex));
        }
        if let Some(mut list) = alternatives
            && let Some(lookahead) = list.iter().position(|&a| a == SPACES_BEFORE_SPACE)
        {
            list[lookahead] = r"\s+";
            if list.iter().all(|a| !needs_backtracking(a))
                && let Ok(all) = meta::Regex::new_many(&list)
            {
                let after = &list[lookahead + 1..];
                let rest = if after.is_empty() {
                    None
                } else {
                    Some(meta::Regex::new_many(after).map_err(|e| fail(e.to_string()))?)
                };
                return Ok(Self::Alternatives { all, lookahead, rest });
            }
        }
        let regex =
            RegexBuilder::new(pattern).backtrack_limit(MAX_BACKTRACKS).build().map_err(|e| fail(e.to_string()))?;
        Ok(Self::Backtracking(regex))
    }

    /// The first match in `text` at or after `from` that is not empty.
    ///
    /// # Errors
    /// [`Error::Pattern`] when backtracking takes too many steps.
    fn find(&self, text: &str, mut from: usize) -> Result<Option<(usize, usize)>> {
        while from < text.len() {
            let found = match self {
                Self::Backtracking(regex) => regex
                    .find_from_pos(text, from)
                    .map_err(|e| Error::Pattern {
                        pattern: regex.as_str().to_owned(),
                        reason: format!(
                            "searching from byte {from} of a text of {} bytes: {e}; an expression without nested repetition under \
                             look-around, back-references or possessive quantifiers runs in linear time",
                            text.len()
                        ),
                    })?
                    .map(|m| (m.start(), m.end())),
                _ => self.find_by_automata(text, from),
            };
            match found {
                Some((start, end)) if end == start => from = next_boundary(text, start),
                found => return Ok(found),
            }
        }
        Ok(None)
    }

    fn find_by_automata(&self, text: &str, mut from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Backtracking(_) => None,
            Self::Automata(regex) => regex.find(Input::new(text).range(from..)).map(|m| (m.start(), m.end())),
            Self::Alternatives { all, lookahead, rest } => loop {
                let found = all.find(Input::new(text).range(from..))?;
                let (start, end) = (found.start(), found.end());
                if found.pattern().as_usize() != *lookahead || end == text.len() {
                    return Some((start, end));
                }
                let last = text[..end].char_indices().next_back().map_or(start, |(at, _)| at);
                if last > start {
                    return Some((start, last));
                }
                let other = rest.as_ref().and_then(|r| r.find(Input::new(text).range(start..).anchored(Anchored::Yes)));
                if let Some(found) = other {
                    return Some((start, found.end()));
                }
                from = next_boundary(text, start);
            },
        }
    }
}

fn next_boundary(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(text.len() + 1, |c| at + c.len_utf8())
}

/// The alternatives of `a|b|c` outside of groups and classes; none when the brackets do not pair up.
fn top_level_alternatives(pattern: &str) -> Option<Vec<&str>> {
    let (mut list, mut start, mut depth, mut class) = (Vec::new(), 0, 0usize, 0usize);
    let mut chars = pattern.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => class += 1,
            ']' if class > 0 => class -= 1,
            _ if class > 0 => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            '|' if depth == 0 => {
                list.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    list.push(&pattern[start..]);
    // A flag such as (?i) in one alternative holds for all that follow: then they cannot be told apart.
    let flags_leak = list.iter().any(|a| {
        a.starts_with("(?")
            && a.find(')').is_some_and(|end| !a[..end].contains(':'))
            && !a.starts_with("(?!")
            && !a.starts_with("(?=")
            && !a.starts_with("(?<")
    });
    (depth == 0 && class == 0 && !(flags_leak && list.len() > 1)).then_some(list)
}

/// Whether `pattern` has look-around, an atomic group, a possessive quantifier or a back-reference.
fn needs_backtracking(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let (mut at, mut class, mut quantified) = (0, 0usize, false);
    while at < bytes.len() {
        let was_quantified = std::mem::take(&mut quantified);
        match bytes[at] {
            b'\\' => {
                if matches!(
                    bytes.get(at + 1),
                    Some(b'1'..=b'9' | b'k' | b'g' | b'G' | b'K' | b'Z' | b'R' | b'X' | b'h' | b'H')
                ) {
                    return true;
                }
                at += 1;
                if bytes.get(at + 1) == Some(&b'{') {
                    at += bytes[at..].iter().position(|&b| b == b'}').unwrap_or(0);
                }
            }
            b'[' => class += 1,
            b']' if class > 0 => class -= 1,
            _ if class > 0 => {}
            b'(' if ["?=", "?!", "?<=", "?<!", "?>", "?("].iter().any(|s| pattern[at + 1..].starts_with(s)) => {
                return true;
            }
            b'+' if was_quantified => return true,
            b'+' | b'*' | b'?' | b'}' => quantified = true,
            _ => {}
        }
        at += 1;
    }
    false
}

impl Split for RegexSequence {
    fn end(&self, text: &str, start: usize, cursor: &mut Cursor) -> usize {
        cursor.levels.resize_with(self.engines.len(), Level::default);
        let mut outer = (0, text.len());
        for (level, engine) in cursor.levels.iter_mut().zip(&self.engines) {
            if level.piece_end <= start {
                let piece = &text[outer.0..outer.1];
                let found = match level.found.take() {
                    Some(found) if found.0 == start => Some(found),
                    _ => match engine.find(piece, start - outer.0) {
                        Ok(found) => found.map(|(s, e)| (s + outer.0, e + outer.0)),
                        Err(error) => {
                            cursor.failure.get_or_insert(error);
                            return text.len();
                        }
                    },
                };
                level.piece_end = match found {
                    Some((at, end)) if at == start => end,
                    Some((at, _)) => {
                        level.found = found;
                        at
                    }
                    None => outer.1,
                };
                level.piece_start = start;
            }
            outer = (level.piece_start, level.piece_end);
        }
        outer.1
    }
}

#[cfg(test)]
mod tests {
    use super::super::Splitter;
    use super::*;

    #[test]
    fn alternatives_with_the_look_ahead_run_on_automata() {
        let pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        assert!(matches!(Engine::new(pattern), Ok(Engine::Alternatives { .. })));
        assert!(matches!(Engine::new(r"\w+|[^\w\s]"), Ok(Engine::Automata(_))));
        assert!(matches!(Engine::new(r"\p{L}++|\s"), Ok(Engine::Backtracking(_))));
        assert!(matches!(Engine::new(r"(?<=a)b"), Ok(Engine::Backtracking(_))));
        assert!(matches!(Engine::new(r"(unclosed"), Err(Error::Pattern { .. })));
    }

    #[test]
    fn text_between_matches_is_kept() {
        let splitter = Splitter::regex(&[r"\w+".into()]).expect("a pattern");
        assert_eq!(splitter.pretokens("  one, two "), ["  ", "one", ", ", "two", " "]);
    }

    #[test]
    fn each_expression_cuts_the_pieces_of_the_one_before() {
        let splitter = Splitter::regex(&[r"\d{1,3}".into(), r"\s+(?!\S)|\s+|\S+".into()]).expect("patterns");
        assert_eq!(splitter.pretokens("a  12345 b"), ["a", "  ", "123", "45", " ", "b"]);
    }
}
