//! Text to a [`Dom`], within limits that no page can talk its way around.
//!
//! html5ever's tree builder walks its stack of open elements for many tags, and its tokenizer compares each attribute
//! with all earlier ones of the tag: both are quadratic in what a hostile page chooses. A guard between the two stops
//! nesting at [`dom::MAX_DEPTH`], nodes at [`MAX_NODES`] and the work on attributes at a budget.
//!
//! The tree builder sees the same tokens whoever reads them: [`Ordinary`] what is written as most is, and html5ever's
//! tokenizer, from one place between two tags to the next, all else. Both stand between tags when they take turns, so
//! neither needs to know what the other did. Scripts, styles and frames are skipped to their end tag.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::buffer_queue::BufferQueue;
use html5ever::interface::TreeSink;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{TreeBuilder, TreeBuilderOpts};
use html5ever::{LocalName, TokenizerResult, local_name};
use memchr::memchr;

use super::dom::{self, Builder, Dom, NodeId};
use super::ordinary::{Ordinary, raw_end};
use crate::Error;

/// Elements, texts and comments of one page.
pub const MAX_NODES: usize = 2_000_000;

/// Comparisons of attribute names that one page may cost: about a second.
const MAX_ATTRIBUTE_WORK: u64 = 1_000_000_000;

/// White space and slashes inside one unfinished tag or comment.
const MAX_SEPARATORS: usize = 50_000;

/// Bytes that can be numbered in a page, whatever the caller allows.
const MAX_PAGE: usize = u32::MAX as usize;

/// Bytes given to the tokenizer between two looks at the limits.
const CHUNK_BYTES: usize = 16 * 1024;

/// An element whose contents are no markup.
#[derive(Clone)]
struct Raw {
    name: LocalName,
    /// Whether anyone reads what it holds.
    read: bool,
}

/// Stands between tokenizer and tree builder and counts.
struct Guard {
    builder: TreeBuilder<NodeId, Builder>,
    tokens: Cell<u64>,
    /// Whether the last token was one after which markup goes on.
    between: Cell<bool>,
    /// The element of raw text that the last token began.
    raw: RefCell<Option<Raw>>,
}

impl Guard {
    fn over_limit(&self) -> Result<(), Error> {
        let sink = &self.builder.sink;
        if sink.num_nodes() > MAX_NODES {
            return Err(Error::TooManyNodes { limit: MAX_NODES });
        }
        if sink.attribute_work() > MAX_ATTRIBUTE_WORK { Err(Error::TooManyAttributes) } else { Ok(()) }
    }
}

impl TokenSink for Guard {
    type Handle = NodeId;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<NodeId> {
        if matches!(token, Token::ParseError(_)) {
            return self.builder.process_token(token, line);
        }
        self.tokens.set(self.tokens.get() + 1);
        let sink = &self.builder.sink;
        let opens = matches!(&token, Token::TagToken(tag) if tag.kind == TagKind::StartTag);
        let between = matches!(token, Token::TagToken(_) | Token::CommentToken(_) | Token::DoctypeToken(_));
        let raw = match &token {
            Token::TagToken(tag) if opens => raw(tag),
            _ => None,
        };
        let result = if opens && (sink.depth() >= dom::MAX_DEPTH || sink.num_nodes() > MAX_NODES) {
            TokenSinkResult::Continue
        } else {
            self.builder.process_token(token, line)
        };
        let markup = !matches!(result, TokenSinkResult::RawData(_) | TokenSinkResult::Plaintext);
        self.between.set(between && markup);
        *self.raw.borrow_mut() = raw.filter(|_| !markup);
        result
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// The element of raw text, without character references in it, that a tag begins where the tree builder says so.
fn raw(tag: &Tag) -> Option<Raw> {
    let json = || tag.attrs.iter().any(|a| a.name.local == local_name!("type") && &*a.value == "application/ld+json");
    match tag.name {
        local_name!("script") => Some(Raw { name: tag.name.clone(), read: json() }),
        local_name!("style") | local_name!("iframe") | local_name!("noscript") => {
            Some(Raw { name: tag.name.clone(), read: false })
        }
        _ => None,
    }
}

/// html5ever's tokenizer and how far it has read.
struct Reader<'a> {
    page: &'a StrTendril,
    tokenizer: Tokenizer<Guard>,
    queue: BufferQueue,
    separators: usize,
    /// Whether the page has null characters: then html5ever reads all of it.
    null: bool,
}

impl<'a> Reader<'a> {
    fn new(page: &'a StrTendril) -> Self {
        // With scripting on, <noscript> is one text and is skipped whole.
        let options = TreeBuilderOpts { scripting_enabled: true, ..TreeBuilderOpts::default() };
        let guard = Guard {
            builder: TreeBuilder::new(Builder::new(), options),
            tokens: Cell::new(0),
            between: Cell::new(false),
            raw: RefCell::new(None),
        };
        let options = TokenizerOpts { discard_bom: false, ..TokenizerOpts::default() };
        let tokenizer = Tokenizer::new(guard, options);
        let null = memchr(0, page.as_bytes()).is_some();
        Self { page, tokenizer, queue: BufferQueue::default(), separators: 0, null }
    }

    /// Gives the tokenizer some bytes from `at` on, to the next ">" at most; returns where it stands.
    fn feed(&mut self, at: usize) -> Result<usize, Error> {
        let html = self.page.as_bytes();
        let most = char_boundary(self.page, at + CHUNK_BYTES);
        let end = memchr(b'>', &html[at..most]).map_or(most, |length| at + length + 1);
        let chunk = self.page.subtendril(at as u32, (end - at) as u32);
        let seen = self.tokenizer.sink.tokens.get();
        self.tokenizer.sink.between.set(false);
        self.separators += count_separators(&chunk);
        self.queue.push_back(chunk);
        while !matches!(self.tokenizer.feed(&self.queue), TokenizerResult::Done) {}
        if self.tokenizer.sink.tokens.get() != seen {
            self.separators = 0;
        }
        if self.separators > MAX_SEPARATORS {
            return Err(Error::TooManyAttributes);
        }
        self.tokenizer.sink.over_limit()?;
        Ok(end)
    }

    /// Reads on from `at` until a tag or comment has ended and markup follows; returns where.
    fn until_markup(&mut self, mut at: usize) -> Result<usize, Error> {
        let html = self.page.as_bytes();
        while at < html.len() {
            at = self.feed(at)?;
            if self.tokenizer.sink.between.get() {
                break;
            }
            let raw = self.tokenizer.sink.raw.take().filter(|_| !self.null);
            if let Some((raw, end)) = raw.and_then(|raw| raw_end(html, at, &raw.name).map(|end| (raw, end))) {
                if raw.read && end > at {
                    let text = self.page.subtendril(at as u32, (end - at) as u32);
                    let _: TokenSinkResult<_> = self.tokenizer.sink.process_token(Token::CharacterTokens(text), 1);
                }
                at = end;
            }
        }
        Ok(at)
    }
}

/// Returns the tree of a page.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::TooManyNodes`], [`Error::TooManyAttributes`]: the page is beyond the limits of this file.
pub fn parse(html: &str) -> Result<Dom, Error> {
    if html.len() > MAX_PAGE {
        return Err(Error::TooLarge { bytes: html.len(), limit: MAX_PAGE });
    }
    let html = html.strip_prefix('\u{feff}').unwrap_or(html);
    let page = StrTendril::from_slice(&unix_lines(html));
    let mut reader = Reader::new(&page);
    let mut ordinary = Ordinary::new(&page);
    let (mut at, mut checked) = (0, 0);
    while at < page.len() {
        let token = if reader.null { None } else { ordinary.token(at) };
        at = match token {
            Some((token, end)) => {
                let _: TokenSinkResult<_> = reader.tokenizer.sink.process_token(token, 1);
                end
            }
            None => reader.until_markup(at)?,
        };
        if at > checked + CHUNK_BYTES {
            reader.tokenizer.sink.over_limit()?;
            checked = at;
        }
    }
    let tokenizer = reader.tokenizer;
    tokenizer.end();
    tokenizer.sink.over_limit()?;
    Ok(tokenizer.sink.builder.sink.finish())
}

/// The page with its line ends as the standard reads them.
fn unix_lines(html: &str) -> Cow<'_, str> {
    if memchr(b'\r', html.as_bytes()).is_none() {
        return Cow::Borrowed(html);
    }
    Cow::Owned(html.replace("\r\n", "\n").replace('\r', "\n"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dom::{DOCUMENT, Kind, NONE};
    use super::*;

    /// The slow twin: html5ever's tokenizer for the whole page.
    fn by_html5ever(html: &str) -> Dom {
        let page = StrTendril::from_slice(html);
        let mut reader = Reader::new(&page);
        let mut at = 0;
        while at < page.len() {
            at = reader.feed(at).unwrap();
        }
        reader.tokenizer.end();
        reader.tokenizer.sink.builder.sink.finish()
    }

    /// Every node with its depth, attributes and text; without comments and raw text that nobody reads.
    fn outline(dom: &Dom) -> String {
        let mut lines = String::new();
        let mut at = DOCUMENT;
        while at != NONE {
            let mut skip = false;
            let parents =
                std::iter::successors(Some(at), |id| Some(dom.nodes[*id as usize].parent).filter(|p| *p != NONE));
            let depth = parents.count();
            match &dom.nodes[at as usize].kind {
                Kind::Element(name, attributes) => {
                    lines += &format!("{depth} <{} {}", &*name.ns, &*name.local);
                    for attribute in attributes {
                        lines += &format!(" {}={:?}", &*attribute.name.local, &*attribute.value);
                    }
                    lines.push('\n');
                    let json = dom.attribute(at, local_name!("type")) == Some("application/ld+json");
                    skip = &*name.ns == "http://www.w3.org/1999/xhtml"
                        && match &*name.local {
                            "script" => !json,
                            tag => matches!(tag, "style" | "iframe" | "noscript"),
                        };
                }
                Kind::Text(text) => lines += &format!("{depth} {:?}\n", &**text),
                Kind::Other => {}
            }
            at = dom.following(at, DOCUMENT, skip);
        }
        lines
    }

    fn same(html: &str) {
        assert_eq!(outline(&parse(html).unwrap()), outline(&by_html5ever(html)), "{html:?}");
    }

    #[test]
    fn what_is_written_oddly_is_read_as_html5ever_reads_it() {
        for html in [
            "",
            "<",
            "</",
            "<!",
            "<!-",
            "<!--",
            "<a",
            "<a ",
            "<a href",
            "<a href=",
            "<a href=x",
            "<a href='x",
            "&",
            "&#",
            "&#x",
            "a < b && c > d </ p><//p></>x",
            "<p/ >x</p a=b>y</p/>",
            "<P CLASS=A Class=b iD='C'>x",
            "<p =a ==b a=b=c a/b/=c>",
            "<p a='1'b=\"2\"c>x",
            "<br/><br / ><p a=b/>x",
            "<p a= >x<p a=>y",
            "<é><p é=ü>x</é>",
            "<o:p x:y=1>z</o:p>",
            "&amp;&lt;&nbsp;&hellip;&NotEqualTilde;&bne;&nosuch;&",
            "&amp &ampx &notit; &notin; &copy2 &copy=2 &#65 &#65; &#x41;&#X41;",
            "&#0;&#128;&#159;&#xD800;&#x110000;&#99999999999;&#13;&#10;&#xFFFF;&#-1;&#+65;&#x+4;",
            "<a href='?a=1&b=2&copy=3&copy;&lt=4&ltx&amp;&amp&amp'>x",
            "<a href=?a=1&b=2&copy>x",
            "<a b='&#65;&#x41;&#65x&notit;&not;&not&not='>",
            "<!-->x--><p>y",
            "<!--->x--><p>y",
            "<!-- a -- b --->c<!---->d<!--x--!>e<!-- <p> -->f",
            "<!-- never ends <p>x",
            "<!doctype html><p>x<!DOCTYPE html>y",
            "<?php a > b ?>x",
            "<![CDATA[x]]>y<svg><![CDATA[a<b>c]]>d</svg>e",
            "<script>a<b>c</scr</script x>d</script >e",
            "<script><!-- <script>x</script> </script> --></script>y",
            "<script><!-- x </script>y",
            "<script type=application/ld+json>{\"a\": \"<b>\"}</script>",
            "<script/>x</script>y",
            "<style>a</b></STYLE>b",
            "<title>a &amp; <b>c</title>d",
            "<textarea>\n\n<p>a</textarea>b",
            "<pre>\n\na\n</pre>",
            "<pre><b>\na</b></pre>",
            "<plaintext>a<b></plaintext>c",
            "<xmp><p>a</xmp>b<iframe><p>c</iframe>d<noscript><p>e</noscript>f",
            "<script>never ends <p>",
            "<style>never ends </styl",
            "<svg><style><a>b</a></style><title>c<p>d</title></svg>e<math><mi>f<script>g</script></math>",
            "<table>a<tr>b &amp; c<td>d</table>e",
            "<select><option>a<script>b</script><b>c</select>d",
            "<template><td>a<script>b</script></template>c",
            "<frameset>a<frame></frameset>b",
            "</head>a<body b=c><body d=e b=f>",
            "<b><i><p>a</b>b</i>c<a>d<a>e",
            "<image><isindex><li>a<li>b<dd>c<dt>d",
        ] {
            same(html);
        }
        let many: String = (0..40).map(|n| format!(" a{n}={n}")).collect();
        same(&format!("<p{many}>x<p{many} a1=twice>y"));
        same(&"<p>é&amp;ü&x<!-- 中 -->\n".repeat(3_000));
    }

    #[test]
    fn lines_end_as_the_standard_says_and_null_characters_are_html5evers() {
        assert_eq!(
            outline(&parse("<pre>\r\na\r\n\rb\r</pre>\r").unwrap()),
            outline(&parse("<pre>\na\n\nb\n</pre>\n").unwrap())
        );
        same("a\0b<p c\0='\0'>\0</p\0><script>\0</script>\0&amp\0;");
        assert_eq!(outline(&parse("\u{feff}<p>a\u{feff}").unwrap()), outline(&by_html5ever("<p>a\u{feff}")));
    }

    const PIECES: &[&str] = &[
        "<",
        ">",
        "</",
        "/>",
        "<!--",
        "-->",
        "--!>",
        "-",
        "<![CDATA[",
        "]]>",
        "<!doctype html>",
        "<?x?>",
        "=",
        "\"",
        "'",
        "/",
        " ",
        "\n",
        "\t",
        "\x0c",
        "&",
        "&amp;",
        "&lt",
        "&not",
        "&notin;",
        "&#65;",
        "&#x1F600;",
        "&#150;",
        ";",
        "a",
        "B",
        "é",
        "word",
        "<p>",
        "</p>",
        "<b>",
        "</b>",
        "<a href='?a=1&b=2'>",
        "</a>",
        "<div class=\"x y\" id=z>",
        "</div>",
        "<table>",
        "<tr>",
        "<td>",
        "</table>",
        "<pre>",
        "</pre>",
        "<svg>",
        "</svg>",
        "<math>",
        "<title>",
        "</title>",
        "<script>",
        "</script>",
        "<script type='application/ld+json'>",
        "<style>",
        "</style>",
        "<textarea>",
        "</textarea>",
        "<noscript>",
        "</noscript>",
        "<select>",
        "<option>",
        "<template>",
        "</template>",
        "<br/>",
        "<li>",
        "<form>",
        "<body a=b>",
        "<frameset>",
        "<html c=d>",
        "<plaintext>",
        "script",
        "style",
        "\0",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_tag_soup_is_read_as_html5ever_reads_it(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
            same(&pieces.concat());
        }
    }
}
