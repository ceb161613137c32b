//! What exact deduplication compares: a text, its paragraphs or its lines.

use crate::Error;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A whole text.
    Document,
    /// What stands between blank lines.
    Paragraph,
    /// What stands between line breaks.
    Line,
}

impl std::str::FromStr for Unit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "document" => Ok(Self::Document),
            "paragraph" => Ok(Self::Paragraph),
            "line" => Ok(Self::Line),
            _ => Err(Error::UnknownUnit { given: name.to_owned() }),
        }
    }
}

/// Bytes of a text: `start..compared` is compared, `start..end` is cut with it (the line break, the blank lines after).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First byte.
    pub start: usize,
    /// The byte after the last that is compared.
    pub compared: usize,
    /// The byte after the last that is cut.
    pub end: usize,
}

/// Calls `piece` with each unit of `text`, in order. Units of white space alone are none, unless the unit is the document.
pub fn pieces(text: &str, unit: Unit, mut piece: impl FnMut(Piece)) {
    match unit {
        Unit::Document => piece(Piece { start: 0, compared: text.len(), end: text.len() }),
        Unit::Line => lines(text, |line| {
            if line.compared > line.start {
                piece(line);
            }
        }),
        Unit::Paragraph => {
            let mut open: Option<Piece> = None;
            lines(text, |line| {
                let blank = line.compared == line.start;
                match &mut open {
                    // Blank lines after a paragraph are cut with it.
                    Some(paragraph) if blank => paragraph.end = line.end,
                    // It grows by its next line, unless a blank one came between.
                    Some(paragraph) if !ends_blank(&text[paragraph.compared..paragraph.end]) => {
                        paragraph.compared = line.compared;
                        paragraph.end = line.end;
                    }
                    _ if blank => {}
                    _ => {
                        if let Some(done) = open.replace(line) {
                            piece(done);
                        }
                    }
                }
            });
            if let Some(done) = open {
                piece(done);
            }
        }
    }
}

/// Calls `line` with each line: white space at its end is not compared, a line of nothing else compares no bytes.
fn lines(text: &str, mut line: impl FnMut(Piece)) {
    let bytes = text.as_bytes();
    let mut start = 0;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
        line(Piece { start, compared: start + text[start..end].trim_end().len(), end });
        start = end;
    }
}

/// Whether what follows a paragraph's last line holds a blank line, which is to say a second line break.
fn ends_blank(tail: &str) -> bool {
    memchr::memchr_iter(b'\n', tail.as_bytes()).count() > 1
}
