//! Ordinary markup, read in place: the tokens that nearly all of a page is made of, without html5ever's state machine.
//!
//! A tag, a comment, a run of text or a character reference is read here when it is written as most are; anything else
//! (an unfinished tag, a reference without its semicolon, a doctype, an element of raw text) is `None`, and left to
//! html5ever's tokenizer. What is read is what html5ever would read, token by token; texts and values are parts of the
//! page, not copies.

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tag, TagKind, Token};
use html5ever::{Attribute, LocalName, QualName, data, ns};
use memchr::{memchr, memchr2, memmem};
use rustc_hash::FxHashMap;

use super::dom::named;

/// Tags with more attributes are left to html5ever, whose work on them is watched.
const MAX_ATTRIBUTES: usize = 32;

/// Names that are remembered: no page can make a search among them long.
const MAX_NAMES: usize = 1_024;

/// No name of a character reference is longer (bytes).
const MAX_REFERENCE: usize = 32;

/// A page and the names that it uses.
pub struct Ordinary<'a> {
    html: &'a [u8],
    page: &'a StrTendril,
    /// By the bytes that spell them.
    names: FxHashMap<&'a [u8], LocalName>,
}

impl<'a> Ordinary<'a> {
    /// Of a page without carriage returns and null characters.
    pub fn new(page: &'a StrTendril) -> Self {
        Self { html: page.as_bytes(), page, names: FxHashMap::default() }
    }

    /// The token that begins at `at`, outside any tag, and where it ends.
    pub fn token(&mut self, at: usize) -> Option<(Token, usize)> {
        match self.html[at] {
            b'<' => match *self.html.get(at + 1)? {
                b'/' => self.end_tag(at + 2),
                b'!' => self.comment(at + 2),
                _ => self.start_tag(at + 1),
            },
            b'&' => {
                let (characters, end) = self.reference(at, false)?;
                Some((Token::CharacterTokens(characters), end))
            }
            _ => {
                let end = memchr2(b'<', b'&', &self.html[at..]).map_or(self.html.len(), |length| at + length);
                Some((Token::CharacterTokens(self.part(at, end)), end))
            }
        }
    }

    fn part(&self, from: usize, to: usize) -> StrTendril {
        self.page.subtendril(from as u32, (to - from) as u32)
    }

    /// The lower-case name that the bytes spell.
    fn name(&mut self, from: usize, to: usize) -> LocalName {
        let spelled = &self.html[from..to];
        if let Some(name) = self.names.get(spelled) {
            return name.clone();
        }
        let name = LocalName::from(self.page[from..to].to_ascii_lowercase());
        if self.names.len() < MAX_NAMES {
            self.names.insert(spelled, name.clone());
        }
        name
    }

    /// The end of a tag's name that begins at `at`.
    fn name_end(&self, at: usize) -> Option<usize> {
        self.html[at].is_ascii_alphabetic().then_some(())?;
        let length = self.html[at..].iter().position(|b| is_space(*b) || matches!(b, b'/' | b'>'))?;
        Some(at + length)
    }

    fn end_tag(&mut self, at: usize) -> Option<(Token, usize)> {
        self.html.get(at)?;
        let end = self.name_end(at)?;
        let close = self.skip_space(end)?;
        (self.html[close] == b'>').then(|| {
            let name = self.name(at, end);
            (tag(TagKind::EndTag, name, false, Vec::new(), false), close + 1)
        })
    }

    fn start_tag(&mut self, at: usize) -> Option<(Token, usize)> {
        let end = self.name_end(at)?;
        let name = self.name(at, end);
        // Their contents are no markup: html5ever's tokenizer must see where they begin.
        if named!(
            &name,
            "iframe"
                | "noembed"
                | "noframes"
                | "noscript"
                | "plaintext"
                | "script"
                | "style"
                | "textarea"
                | "title"
                | "xmp"
        ) {
            return None;
        }
        let mut attributes: Vec<Attribute> = Vec::new();
        let mut twice = false;
        let mut at = end;
        loop {
            at = self.skip_space(at)?;
            match self.html[at] {
                b'>' => return Some((tag(TagKind::StartTag, name, false, attributes, twice), at + 1)),
                b'/' if *self.html.get(at + 1)? == b'>' => {
                    return Some((tag(TagKind::StartTag, name, true, attributes, twice), at + 2));
                }
                b'/' => at += 1,
                _ if attributes.len() == MAX_ATTRIBUTES => return None,
                _ => {
                    let (attribute, end) = self.attribute(at)?;
                    at = end;
                    if attributes.iter().any(|earlier| earlier.name.local == attribute.name.local) {
                        twice = true;
                    } else {
                        attributes.push(attribute);
                    }
                }
            }
        }
    }

    fn attribute(&mut self, at: usize) -> Option<(Attribute, usize)> {
        let length = self.html[at..].iter().position(|b| is_space(*b) || matches!(b, b'/' | b'>' | b'='))?;
        if length == 0 {
            return None;
        }
        let name = QualName::new(None, ns!(), self.name(at, at + length));
        let after = self.skip_space(at + length)?;
        if self.html[after] != b'=' {
            return Some((Attribute { name, value: StrTendril::new() }, after));
        }
        let first = self.skip_space(after + 1)?;
        let (from, to, end) = match self.html[first] {
            b'>' => (first, first, first),
            quote @ (b'"' | b'\'') => {
                let to = first + 1 + memchr(quote, &self.html[first + 1..])?;
                (first + 1, to, to + 1)
            }
            _ => {
                let to = first + self.html[first..].iter().position(|b| is_space(*b) || *b == b'>')?;
                (first, to, to)
            }
        };
        Some((Attribute { name, value: self.value(from, to)? }, end))
    }

    /// The value of an attribute, with its references read.
    fn value(&self, from: usize, to: usize) -> Option<StrTendril> {
        let Some(length) = memchr(b'&', &self.html[from..to]) else { return Some(self.part(from, to)) };
        let mut value = self.part(from, from + length);
        let mut at = from + length;
        while at < to {
            if self.html[at] == b'&' {
                let (characters, end) = self.reference(at, true)?;
                value.push_tendril(&characters);
                at = end;
            } else {
                let end = memchr(b'&', &self.html[at..to]).map_or(to, |length| at + length);
                value.push_tendril(&self.part(at, end));
                at = end;
            }
        }
        Some(value)
    }

    /// What the reference that begins at `at` stands for: itself where it is none.
    fn reference(&self, at: usize, in_attribute: bool) -> Option<(StrTendril, usize)> {
        let itself = || Some((self.part(at, at + 1), at + 1));
        let rest = &self.html[at + 1..];
        if rest.first() == Some(&b'#') {
            let (radix, digits) = if matches!(rest.get(1), Some(b'x' | b'X')) { (16, 2) } else { (10, 1) };
            let length = rest[digits..].iter().take(8).position(|b| *b == b';')?;
            let spelled = &self.page[at + 1 + digits..at + 1 + digits + length];
            spelled.bytes().all(|b| b.is_ascii_alphanumeric()).then_some(())?;
            let code = u32::from_str_radix(spelled, radix).ok()?;
            // Those that the standard reads as another character are left to html5ever.
            let usual = code >= 0xa0 || (0x20..0x7f).contains(&code);
            let character = char::from_u32(code).filter(|_| usual)?;
            return Some((StrTendril::from_char(character), at + 1 + digits + length + 1));
        }
        let length = rest.iter().take(MAX_REFERENCE).position(|b| !b.is_ascii_alphanumeric())?;
        if length == 0 {
            return itself();
        }
        let known = |to: usize| data::NAMED_ENTITIES.get(&self.page[at + 1..to]).filter(|found| found.0 != 0);
        let after = at + 1 + length;
        if self.html[after] == b';'
            && let Some((first, second)) = known(after + 1)
        {
            let mut characters = StrTendril::from_char(char::from_u32(*first)?);
            if *second != 0 {
                characters.push_char(char::from_u32(*second)?);
            }
            return Some((characters, after + 1));
        }
        // In an attribute a name that goes on, or is followed by "=", is no reference.
        (in_attribute && (self.html[after] == b'=' || known(after).is_none())).then(itself)?
    }

    /// A comment; what it says is of no use to anyone.
    fn comment(&self, at: usize) -> Option<(Token, usize)> {
        let rest = self.html[at..].strip_prefix(b"--")?;
        if rest.starts_with(b">") || rest.starts_with(b"->") {
            return None;
        }
        let mut from = 0;
        loop {
            let dashes = from + memmem::find(&rest[from..], b"--")?;
            let after = &rest[dashes + 2..];
            for (end, length) in [(&b">"[..], 1), (b"!>", 2)] {
                if after.starts_with(end) {
                    return Some((Token::CommentToken(StrTendril::new()), at + 2 + dashes + 2 + length));
                }
            }
            from = dashes + 1;
        }
    }

    fn skip_space(&self, at: usize) -> Option<usize> {
        let length = self.html.get(at..)?.iter().position(|b| !is_space(*b))?;
        Some(at + length)
    }
}

fn tag(kind: TagKind, name: LocalName, self_closing: bool, attrs: Vec<Attribute>, twice: bool) -> Token {
    Token::TagToken(Tag { kind, name, self_closing, attrs, had_duplicate_attributes: twice })
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0c')
}

/// Where the raw text that begins at `from` ends: at the end tag `name`; `None` where only html5ever can tell.
pub fn raw_end(html: &[u8], from: usize, name: &str) -> Option<usize> {
    let end = memmem::find_iter(&html[from..], b"</").map(|length| from + length).find(|at| {
        let tag = &html[at + 2..];
        let after = tag.get(name.len());
        after.is_some_and(|b| is_space(*b) || matches!(b, b'/' | b'>'))
            && tag[..name.len()].eq_ignore_ascii_case(name.as_bytes())
    })?;
    // A script that hides itself in a comment may hold end tags.
    let escaped = name == "script" && memmem::find(&html[from..end], b"<!--").is_some();
    (!escaped).then_some(end)
}
