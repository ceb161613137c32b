//! Special tokens: texts that stand for one id, but only where the caller allows them.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, Result};

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
    /// Whether HF tokenizers looks for it in the normalized text.
    pub normalized: bool,
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

/// A stretch of text between special tokens, and the special token after it.
pub type Segment = (std::ops::Range<usize>, Option<usize>);

/// All special tokens of a tokenizer.
#[derive(Default)]
pub struct Specials {
    list: Vec<Special>,
    search: OnceLock<Option<AhoCorasick>>,
}

impl Specials {
    /// The tokens in `list`, sorted by id.
    pub fn new(mut list: Vec<Special>) -> Self {
        list.sort_by_key(|s| s.id);
        Self { list, search: OnceLock::new() }
    }

    /// The tokens by id.
    pub fn list(&self) -> &[Special] {
        &self.list
    }

    /// The special token with this id.
    pub fn get(&self, id: u32) -> Option<&Special> {
        self.list.binary_search_by_key(&id, |s| s.id).ok().map(|i| &self.list[i])
    }

    fn search(&self) -> Option<&AhoCorasick> {
        self.search
            .get_or_init(|| {
                AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(self.list.iter().map(|s| &s.content))
                    .ok()
            })
            .as_ref()
    }

    /// The leftmost place at or after `from` where some token that `wanted` accepts begins, and the longest such token.
    fn find(&self, text: &[u8], mut from: usize, wanted: impl Fn(&Special) -> bool) -> Option<(usize, usize)> {
        let search = self.search()?;
        while let Some(found) = search.find(&text[from..]) {
            let at = from + found.start();
            if wanted(&self.list[found.pattern().as_usize()]) {
                return Some((at, found.pattern().as_usize()));
            }
            let other = (0..self.list.len())
                .filter(|&i| wanted(&self.list[i]) && text[at..].starts_with(self.list[i].content.as_bytes()))
                .max_by_key(|&i| self.list[i].content.len());
            if let Some(other) = other {
                return Some((at, other));
            }
            from = at + 1;
        }
        None
    }

    /// Where tokens stand in `text`, from the left, the longest at each place.
    pub fn find_all<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        self.search().into_iter().flat_map(move |search| search.find_iter(text)).map(|found| found.range())
    }

    /// Refuses a text that holds a forbidden token.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] names the first one.
    pub fn refuse(&self, text: &[u8], allowed: &Choice, forbidden: &Choice) -> Result<()> {
        let found = match forbidden {
            Choice::None => None,
            Choice::All => {
                self.find(text, 0, |s| !allowed.has(&s.content)).map(|(at, i)| (at, self.list[i].content.clone()))
            }
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

    /// Cuts `text` at the allowed tokens.
    pub fn segments(&self, text: &[u8], allowed: &Choice) -> Vec<Segment> {
        let mut out = Vec::new();
        let mut start = 0;
        if !allowed.is_none() {
            while let Some((at, i)) = self.find(text, start, |s| allowed.has(&s.content)) {
                let special = &self.list[i];
                let end = if special.lstrip { start + trimmed_end(&text[start..at]) } else { at };
                out.push((start..end, Some(i)));
                start = at + special.content.len();
                if special.rstrip {
                    start = text.len() - trimmed_start(&text[start..]);
                }
            }
        }
        if start < text.len() {
            out.push((start..text.len(), None));
        }
        out
    }
}

fn trimmed_end(text: &[u8]) -> usize {
    std::str::from_utf8(text).map_or(text.len(), |t| t.trim_end().len())
}

fn trimmed_start(text: &[u8]) -> usize {
    std::str::from_utf8(text).map_or(text.len(), |t| t.trim_start().len())
}
