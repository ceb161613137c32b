//! HTML to text: the main content of a page with its metadata.

mod blocks;
mod boilerplate;
mod charset;
mod content;
mod dom;
mod elsewhere;
mod metadata;
mod ordinary;
mod parse;
mod render;

use std::borrow::Cow;

pub use metadata::Metadata;

use crate::Error;

/// Pages longer than this are refused unless the caller asks for more.
pub const MAX_BYTES: usize = 32 << 20;

/// What [`extract`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The main content as plain text; code verbatim.
    pub text: String,
    /// The same with Markdown headings, lists, tables, emphasis and fenced code.
    pub markdown: String,
    /// What the page says about itself.
    pub metadata: Metadata,
}

/// Returns the main content of `html`, or `None` when the page has none.
///
/// # Errors
/// [`Error::TooLarge`] above `max_bytes`; [`Error::TooManyNodes`] and [`Error::TooManyAttributes`] for pages made to exhaust a parser.
pub fn extract(html: &[u8], url: Option<&str>, max_bytes: usize) -> Result<Option<Page>, Error> {
    check_size(html.len(), max_bytes)?;
    extract_decoded(Cow::Owned(charset::decode(html)), url)
}

/// As [`extract`], for a page that is text already.
///
/// # Errors
/// As [`extract`].
pub fn extract_str(html: &str, url: Option<&str>, max_bytes: usize) -> Result<Option<Page>, Error> {
    check_size(html.len(), max_bytes)?;
    extract_decoded(Cow::Borrowed(html), url)
}

fn check_size(bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes > limit { Err(Error::TooLarge { bytes, limit }) } else { Ok(()) }
}

fn extract_decoded(html: Cow<'_, str>, url: Option<&str>) -> Result<Option<Page>, Error> {
    let dom = parse::parse(&html)?;
    let Some(content) = content::find(&dom) else { return Ok(None) };
    let rendered = render::render(&dom, &content);
    if rendered.text.is_empty() {
        return Ok(None);
    }
    Ok(Some(Page { text: rendered.text, markdown: rendered.markdown, metadata: metadata::read(&dom, url) }))
}
