//! Bytes or text to a [`Dom`], within limits that no page can talk its way around.
//!
//! html5ever's tree builder walks its stack of open elements for many tags, and its tokenizer compares each attribute
//! with all earlier ones of the tag: both are quadratic in what a hostile page chooses. A guard between the two stops
//! nesting at [`dom::MAX_DEPTH`], nodes at [`MAX_NODES`] and the work on attributes at a budget.

use std::cell::Cell;

use html5ever::TokenizerResult;
use html5ever::buffer_queue::BufferQueue;
use html5ever::interface::TreeSink;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};

use super::dom::{self, Builder, Dom, NodeId};
use crate::Error;

/// Elements, texts and comments of one page.
pub const MAX_NODES: usize = 2_000_000;

/// Comparisons of attribute names that one page may cost: about a second.
const MAX_ATTRIBUTE_WORK: u64 = 1_000_000_000;

/// White space and slashes inside one unfinished tag or comment.
const MAX_SEPARATORS: usize = 50_000;

/// Bytes given to the tokenizer between two looks at the limits.
const CHUNK_BYTES: usize = 16 * 1024;

/// Bytes at the start of a page in which a `<meta charset>` is looked for (the HTML standard says 1,024; real pages
/// put long comments before it).
const CHARSET_BYTES: usize = 4096;

/// Returns the text of a page: by its byte order mark, its `<meta charset>`, UTF-8 if it is that, or a guess.
pub fn decode(bytes: &[u8]) -> String {
    let labelled = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| encoding).or_else(|| declared(bytes));
    let encoding = match labelled {
        Some(encoding) if encoding != encoding_rs::UTF_8 && !is_utf8_all_the_same(bytes, encoding) => encoding,
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                return text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
            }
            if labelled.is_some() {
                encoding_rs::UTF_8
            } else {
                let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
                detector.feed(bytes, true);
                detector.guess(None, chardetng::Utf8Detection::Allow)
            }
        }
    };
    encoding.decode(bytes).0.into_owned()
}

/// Whether a page that names another encoding is UTF-8: texts that were converted and kept their old `<meta>`. Of
/// letters in another encoding hardly any are UTF-8 by chance, and [`MIN_UTF8`] of them never.
fn is_utf8_all_the_same(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> bool {
    encoding.is_ascii_compatible()
        && encoding_rs::Encoding::for_bom(bytes).is_none()
        && std::str::from_utf8(bytes)
            .is_ok_and(|text| text.chars().filter(|c| !c.is_ascii()).take(MIN_UTF8).count() == MIN_UTF8)
}

/// The encoding that the page names in `<meta charset=…>` or `<meta http-equiv=… content="…charset=…">`.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = bytes[..bytes.len().min(CHARSET_BYTES)].to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&head[from..], b"<meta") {
        let tag = &head[from + at..];
        let tag = &tag[..memchr::memchr(b'>', tag).unwrap_or(tag.len())];
        if let Some(value) = memchr::memmem::find(tag, b"charset").map(|i| &tag[i + 7..]) {
            let value = value.trim_ascii_start().strip_prefix(b"=").unwrap_or_default().trim_ascii_start();
            let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
            let end = value.iter().position(|b| matches!(b, b'"' | b'\'' | b' ' | b';' | b'/')).unwrap_or(value.len());
            // A page that can be read as ASCII up to its <meta> cannot be UTF-16 (HTML standard, 13.2.3.2).
            return encoding_rs::Encoding::for_label(&value[..end]).map(|encoding| {
                if encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE {
                    encoding_rs::UTF_8
                } else {
                    encoding
                }
            });
        }
        from += at + 5;
    }
    None
}

/// Characters beyond ASCII that make a page UTF-8 against its word.
const MIN_UTF8: usize = 16;

/// Stands between tokenizer and tree builder and counts.
struct Guard {
    builder: TreeBuilder<NodeId, Builder>,
    tokens: Cell<u64>,
}

impl Guard {
    fn over_limit(&self) -> Option<Error> {
        let sink = &self.builder.sink;
        if sink.num_nodes() > MAX_NODES {
            return Some(Error::TooManyNodes { limit: MAX_NODES });
        }
        (sink.attribute_work() > MAX_ATTRIBUTE_WORK).then_some(Error::TooManyAttributes)
    }
}

impl TokenSink for Guard {
    type Handle = NodeId;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<NodeId> {
        if !matches!(token, Token::ParseError(_)) {
            self.tokens.set(self.tokens.get() + 1);
        }
        let sink = &self.builder.sink;
        let opens = matches!(&token, Token::TagToken(tag) if tag.kind == TagKind::StartTag);
        if opens && (sink.depth() >= dom::MAX_DEPTH || sink.num_nodes() > MAX_NODES) {
            return TokenSinkResult::Continue;
        }
        self.builder.process_token(token, line)
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// Returns the tree of a page.
///
/// # Errors
/// [`Error::TooManyNodes`], [`Error::TooManyAttributes`]: the page is beyond the limits of this file.
pub fn parse(html: &str) -> Result<Dom, Error> {
    // With scripting on, <noscript> is one text and is skipped whole.
    let options = TreeBuilderOpts { scripting_enabled: true, ..TreeBuilderOpts::default() };
    let guard = Guard { builder: TreeBuilder::new(Builder::new(), options), tokens: Cell::new(0) };
    let tokenizer = Tokenizer::new(guard, TokenizerOpts::default());
    let queue = BufferQueue::default();
    let (mut start, mut separators, mut tokens) = (0, 0, 0);
    while start < html.len() {
        let end = char_boundary(html, start + CHUNK_BYTES);
        let chunk = &html[start..end];
        queue.push_back(StrTendril::from_slice(chunk));
        while !matches!(tokenizer.feed(&queue), TokenizerResult::Done) {}
        let seen = tokenizer.sink.tokens.get();
        separators = if seen == tokens { separators + count_separators(chunk) } else { 0 };
        tokens = seen;
        if separators > MAX_SEPARATORS {
            return Err(Error::TooManyAttributes);
        }
        if let Some(error) = tokenizer.sink.over_limit() {
            return Err(error);
        }
        start = end;
    }
    tokenizer.end();
    if let Some(error) = tokenizer.sink.over_limit() {
        return Err(error);
    }
    Ok(tokenizer.sink.builder.sink.finish())
}

/// The last character boundary at or before `at`.
fn char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn count_separators(chunk: &str) -> usize {
    chunk.bytes().filter(|b| b.is_ascii_whitespace() || *b == b'/').count()
}
