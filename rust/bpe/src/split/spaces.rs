//! Cutting before spaces, for vocabularies that SentencePiece trained.

use super::{Cursor, Split};

/// A pretoken begins at every space (`EACH`), or at every run of them.
#[derive(Default)]
pub struct Spaces<const EACH: bool>;

impl<const EACH: bool> Split for Spaces<EACH> {
    #[inline]
    fn end(&self, text: &str, start: usize, _cursor: &mut Cursor) -> usize {
        let rest = &text.as_bytes()[start..];
        let spaces = if EACH { 1 } else { rest.iter().position(|&b| b != b' ').unwrap_or(rest.len()) };
        start + memchr::memchr(b' ', &rest[spaces..]).map_or(rest.len(), |at| spaces + at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Splitter;
    use super::*;

    #[test]
    fn cuts_before_spaces() {
        let text = "  one é two  ";
        assert_eq!(Splitter::Spaces(Spaces).pretokens(text), ["  one", " é", " two", "  "]);
        assert_eq!(Splitter::EachSpace(Spaces).pretokens(text), [" ", " one", " é", " two", " ", " "]);
        assert_eq!(Splitter::EachSpace(Spaces).pretokens("é a"), ["é", " a"]);
    }
}
