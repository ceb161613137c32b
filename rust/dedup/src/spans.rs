//! Parts of texts, in bytes, and texts without them.

use gristlm_mapped::Element;
use rayon::prelude::*;

use crate::Error;

/// `text[start..end]` of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Span {
    /// Index of the text.
    pub document: i64,
    /// Its first byte.
    pub start: i64,
    /// The byte after its last.
    pub end: i64,
}

// SAFETY: three numbers.
unsafe impl Element for Span {}

impl Span {
    /// The numbers of all spans, three of each.
    pub fn numbers(spans: &[Self]) -> &[i64] {
        // SAFETY: a span is three `i64`, in the order of its fields (`repr(C)`).
        unsafe { std::slice::from_raw_parts(spans.as_ptr().cast(), spans.len() * 3) }
    }
}

/// Returns the texts without `spans`, which may be in any order and overlap.
///
/// # Errors
/// [`Error::BadSpan`] for a span outside its text, backwards, or through a character.
pub fn cut(texts: &[&str], spans: &[Span]) -> Result<Vec<String>, Error> {
    let mut by_text: Vec<Vec<(usize, usize)>> = vec![Vec::new(); texts.len()];
    for (row, span) in spans.iter().enumerate() {
        let bad = || Error::BadSpan { row, document: span.document, start: span.start, end: span.end };
        let index = |value: i64| usize::try_from(value).map_err(|_| bad());
        let (document, start, end) = (index(span.document)?, index(span.start)?, index(span.end)?);
        let text = texts.get(document).ok_or_else(bad)?;
        if start > end || !text.is_char_boundary(start) || !text.is_char_boundary(end) {
            return Err(bad());
        }
        by_text[document].push((start, end));
    }
    Ok(texts.par_iter().zip(by_text).map(|(text, spans)| without(text, spans)).collect())
}

fn without(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    spans.sort_unstable();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in spans {
        if start > from {
            out.push_str(&text[from..start]);
        }
        from = from.max(end);
    }
    out.push_str(&text[from..]);
    out
}
