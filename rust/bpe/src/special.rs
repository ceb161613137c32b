//! Special tokens: texts that stand for one id, but only where the caller allows them.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, Result};
use crate::normalize::{Normalizer, Spaces};

/// A special token.
#[derive(Clone, Debug, Default)]
pub struct Special {
    /// Its text.
    pub content: String,
    /// Its id.
    pub id: u32,
    /// It takes the white space before it along.
    pub lstrip: bool,
    /// It takes the white space after it along.
    pub rstrip: bool,
    /// Whether HF tokenizers would leave it out of decoded text.
    pub special: bool,
    /// It is looked for in the normalized text, as HF tokenizers does.
    pub normalized: bool,
    /// It counts only where no letter, digit or underscore stands beside it.
    pub single_word: bool,
}

/// Which special tokens a call allows or forbids.
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// None of them.
    #[default]
    None,
    /// All of them (for forbidding: all that are not allowed).
    All,
    /// These texts.
    Some(Vec<String>),
}

impl Choice {
    /// Whether no token is chosen.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None) || matches!(self, Self::Some(list) if list.is_empty())
    }

    fn has(&self, content: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(list) => list.iter().any(|s| s == content),
        }
    }
}

/// A stretch of text, and the special token after it with where that ends (white space that it takes along included).
pub type Segment = (std::ops::Range<usize>, Option<(usize, usize)>);

/// Some of the special tokens, and how to find them.
struct Search {
    automaton: AhoCorasick,
    /// Their texts, and their places in the list.
    tokens: Vec<(String, usize)>,
}

impl Search {
    fn new(tokens: Vec<(String, usize)>) -> Option<Self> {
        let builder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(tokens.iter().map(|t| &t.0));
        builder.ok().filter(|_| !tokens.is_empty()).map(|automaton| Self { automaton, tokens })
    }

    /// The leftmost place at or after `from` where a token begins that `wanted` accepts, the longest such token, and its end.
    fn find(&self, text: &[u8], mut from: usize, wanted: impl Fn(usize) -> bool) -> Option<(usize, usize, usize)> {
        while let Some(found) = self.automaton.find(&text[from..]) {
            let at = from + found.start();
            let longest = &self.tokens[found.pattern().as_usize()];
            if wanted(longest.1) {
                return Some((at, longest.1, at + longest.0.len()));
            }
            let other = self.tokens.iter().filter(|t| wanted(t.1) && text[at..].starts_with(t.0.as_bytes()));
            if let Some(other) = other.max_by_key(|t| t.0.len()) {
                return Some((at, other.1, at + other.0.len()));
            }
            from = at + 1;
        }
        None
    }
}

/// All special tokens of a tokenizer.
#[derive(Default)]
pub struct Specials {
    list: Vec<Special>,
    all: OnceLock<Option<Search>>,
    raw: OnceLock<Option<Search>>,
    normalized: Option<Search>,
    /// Spaces of the normalized text are not white space.
    spaces_written: bool,
}

impl Specials {
    /// The tokens in `list`, sorted by id; `normalizer` is what texts go through.
    pub fn new(mut list: Vec<Special>, normalizer: Option<&Normalizer>) -> Self {
        list.sort_by_key(|s| s.id);
        let text = |s: &Special| normalizer.map_or_else(|| s.content.clone(), |n| n.apply(&s.content).into_owned());
        let normalized = list.iter().zip(0..).filter(|(s, _)| s.normalized).map(|(s, i)| (text(s), i));
        let normalized = Search::new(normalized.filter(|(text, _)| !text.is_empty()).collect());
        let spaces_written = normalizer.is_some_and(|n| n.spaces == Spaces::Normalized);
        Self { list, normalized, spaces_written, ..Self::default() }
    }

    /// The tokens by id.
    pub fn list(&self) -> &[Special] {
        &self.list
    }

    /// The special token with this id.
    pub fn get(&self, id: u32) -> Option<&Special> {
        self.list.binary_search_by_key(&id, |s| s.id).ok().map(|i| &self.list[i])
    }

    fn search<'s>(&self, cell: &'s OnceLock<Option<Search>>, which: impl Fn(&Special) -> bool) -> Option<&'s Search> {
        let tokens =
            || self.list.iter().zip(0..).filter(|(s, _)| which(s)).map(|(s, i)| (s.content.clone(), i)).collect();
        cell.get_or_init(|| Search::new(tokens())).as_ref()
    }

    /// Whether some tokens are looked for in the normalized text.
    pub fn any_normalized(&self) -> bool {
        self.normalized.is_some()
    }

    /// Where any of the tokens stands in `text`, from left to right, the longest of those that begin together.
    pub fn find_all<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        self.search(&self.all, |_| true)
            .into_iter()
            .flat_map(move |search| search.automaton.find_iter(text))
            .map(|m| m.range())
    }

    /// Refuses a text that holds a forbidden token.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] names the first one.
    pub fn refuse(&self, text: &[u8], allowed: &Choice, forbidden: &Choice) -> Result<()> {
        let found = match forbidden {
            Choice::None => None,
            Choice::All => self
                .search(&self.all, |_| true)
                .and_then(|search| search.find(text, 0, |i| !allowed.has(&self.list[i].content)))
                .map(|(at, i, _)| (at, self.list[i].content.clone())),
            Choice::Some(list) => list
                .iter()
                .filter_map(|s| memchr::memmem::find(text, s.as_bytes()).map(|at| (at, s.clone())))
                .min_by_key(|&(at, _)| at),
        };
        match found {
            Some((position, token)) => Err(Error::SpecialToken { token, position }),
            None => Ok(()),
        }
    }

    /// Cuts `text` at the allowed tokens that are looked for before it is normalized.
    pub fn segments(&self, text: &[u8], allowed: &Choice) -> Vec<Segment> {
        self.cut(self.search(&self.raw, |s| !s.normalized), text, allowed, char::is_whitespace)
    }

    /// Cuts a normalized text at the allowed tokens that are looked for there.
    pub fn normalized_segments(&self, text: &str, allowed: &Choice) -> Vec<Segment> {
        let white = |c: char| c.is_whitespace() && !(self.spaces_written && c == ' ');
        self.cut(self.normalized.as_ref(), text.as_bytes(), allowed, white)
    }

    fn cut(
        &self,
        search: Option<&Search>,
        text: &[u8],
        allowed: &Choice,
        white: impl Fn(char) -> bool,
    ) -> Vec<Segment> {
        let (mut out, mut start, mut from) = (Vec::new(), 0, 0);
        let search = search.filter(|_| !allowed.is_none());
        while let Some((at, i, end)) =
            search.and_then(|search| search.find(text, from, |i| allowed.has(&self.list[i].content)))
        {
            let special = &self.list[i];
            from = end;
            if special.single_word && (ends_in_word(&text[..at]) || begins_with_word(&text[end..])) {
                continue;
            }
            let before = if special.lstrip { start + trimmed_end(&text[start..at], &white) } else { at };
            let after = if special.rstrip { text.len() - trimmed_start(&text[end..], &white) } else { end };
            out.push((start..before, Some((i, after))));
            (start, from) = (after, after);
        }
        if start < text.len() {
            out.push((start..text.len(), None));
        }
        out
    }
}

/// The text at the beginning of `bytes`, and at their end.
fn text_before(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

fn last_character(bytes: &[u8]) -> Option<char> {
    (1..=4.min(bytes.len())).find_map(|n| std::str::from_utf8(&bytes[bytes.len() - n..]).ok()?.chars().next())
}

fn is_word(c: char) -> bool {
    regex_syntax::try_is_word_character(c).unwrap_or(false)
}

fn ends_in_word(text: &[u8]) -> bool {
    last_character(text).is_some_and(is_word)
}

fn begins_with_word(text: &[u8]) -> bool {
    text_before(&text[..text.len().min(4)]).chars().next().is_some_and(is_word)
}

fn trimmed_end(mut text: &[u8], white: impl Fn(char) -> bool) -> usize {
    while let Some(c) = last_character(text).filter(|&c| white(c)) {
        text = &text[..text.len() - c.len_utf8()];
    }
    text.len()
}

fn trimmed_start(text: &[u8], white: impl Fn(char) -> bool) -> usize {
    let valid = text_before(text);
    text.len() - (valid.len() - valid.trim_start_matches(white).len())
}
