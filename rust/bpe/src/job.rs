//! Encoding one text bit by bit: special tokens cut it into pieces, each is normalized, cut into pretokens and encoded.

use std::borrow::Cow;
use std::ops::Range;

use crate::align::Aligned;
use crate::error::{Error, Result};
use crate::split::{Cursor, Split, with_split};
use crate::symbols::Dropout;
use crate::tokenizer::{Choices, Model, Scratch, Tokenizer};

/// Text between two special tokens.
struct Piece<'t> {
    text: Cow<'t, str>,
    /// The text has gone through the normalizer already.
    normalized: bool,
    /// It stands at the very beginning.
    first: bool,
    /// The special token after it, and where that ends in the whole text.
    special: Option<(usize, usize)>,
}

/// Encoding one text bit by bit, so that the caller can stop between two steps.
pub struct Job<'t> {
    tokenizer: &'t Tokenizer,
    pieces: std::vec::IntoIter<Piece<'t>>,
    /// The piece at work, the position in it and the special token after it.
    current: Cow<'t, str>,
    at: usize,
    cursor: Cursor,
    special: Option<usize>,
    scratch: Scratch,
    dropout: Option<Dropout>,
}

impl<'t> Job<'t> {
    /// Begins to encode `text`.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] when it holds a forbidden special token.
    pub fn new(tokenizer: &'t Tokenizer, text: &'t str, choices: &Choices) -> Result<Self> {
        let mut job = Self::idle(tokenizer);
        if !choices.forbidden.is_none() {
            tokenizer.all_specials().refuse(text.as_bytes(), &choices.allowed, &choices.forbidden)?;
        }
        if choices.allowed.is_none() {
            job.begin(Cow::Borrowed(text), false, true);
        } else {
            job.pieces = pieces(tokenizer, text, choices).into_iter();
        }
        Ok(job)
    }

    /// Begins to encode a part of a text that is not its beginning, without special tokens.
    pub(crate) fn inside(tokenizer: &'t Tokenizer, text: &'t str) -> Self {
        let mut job = Self::idle(tokenizer);
        job.current = tokenizer.normalizer().map_or(Cow::Borrowed(text), |n| n.apply_inside(text));
        job
    }

    /// Nothing to encode yet.
    fn idle(tokenizer: &'t Tokenizer) -> Self {
        Self {
            tokenizer,
            pieces: Vec::new().into_iter(),
            current: Cow::Borrowed(""),
            at: 0,
            cursor: Cursor::default(),
            special: None,
            scratch: Scratch::default(),
            dropout: None,
        }
    }

    /// The same with merges dropped at random.
    ///
    /// # Errors
    /// [`Error::Input`] when the tokenizer does not merge.
    pub fn with_dropout(mut self, dropout: Dropout) -> Result<Self> {
        if matches!(self.tokenizer.model(), Model::Lookup { .. }) {
            return Err(Error::Input(
                "dropout is for BPE; this tokenizer looks whole words or characters up".to_owned(),
            ));
        }
        self.dropout = Some(dropout);
        Ok(self)
    }

    fn begin(&mut self, text: Cow<'t, str>, normalized: bool, first: bool) {
        self.current = match (self.tokenizer.normalizer(), text) {
            (None, text) => text,
            (Some(normalizer), Cow::Borrowed(text)) if !normalized => {
                normalizer.prefixed(normalizer.apply(text), first)
            }
            (Some(normalizer), text) => normalizer.prefixed(text, first),
        };
        self.at = 0;
        self.cursor = Cursor::default();
    }

    /// Appends the ids of about `bytes` more bytes to `out`; false when the text is at its end.
    ///
    /// # Errors
    /// [`Error::Pattern`] when the user's expression takes too long on this text.
    pub fn step(&mut self, bytes: usize, out: &mut Vec<u32>) -> Result<bool> {
        let tokenizer = self.tokenizer;
        let mut budget = bytes;
        loop {
            let from = self.at;
            let until = from.saturating_add(budget);
            if self.dropout.is_some() {
                self.drop_merges(until, out);
            } else {
                let cache = &mut *tokenizer.cache();
                let text: &str = &self.current;
                let (at, cursor, scratch) = (&mut self.at, &mut self.cursor, &mut self.scratch);
                *at = with_split!(tokenizer.pattern().splitter(), split => tokenizer.pretokens(split, text, from, until, cursor, cache, scratch, out));
            }
            if let Some(failure) = self.cursor.failure() {
                return Err(failure);
            }
            budget = budget.saturating_sub(self.at - from);
            if self.at < self.current.len() {
                return Ok(true);
            }
            out.extend(self.special.take().map(|i| tokenizer.all_specials().list()[i].id));
            let Some(piece) = self.pieces.next() else { return Ok(false) };
            self.begin(piece.text, piece.normalized, piece.first);
            self.special = piece.special.map(|(i, _)| i);
        }
    }

    /// As [`Tokenizer::pretokens`], but nothing is looked up, as the same pretoken becomes other ids each time.
    fn drop_merges(&mut self, until: usize, out: &mut Vec<u32>) {
        let text: &str = &self.current;
        let until = until.min(text.len());
        let list = &mut self.scratch.list;
        with_split!(self.tokenizer.pattern().splitter(), split => while self.at < until {
            let end = split.end(text, self.at, &mut self.cursor);
            let pretoken = &text.as_bytes()[self.at..end];
            match self.tokenizer.model() {
                Model::Bpe(bpe) => bpe.encode_with_dropout(pretoken, list, self.dropout.as_mut(), out),
                Model::Chars(chars) => {
                    chars.encode(pretoken, list, self.dropout.as_mut());
                    out.extend(list.iter().map(|(id, _)| id));
                }
                Model::Lookup { .. } => {}
            }
            self.at = end;
        });
    }

    /// Ids of the whole text and which bytes of the text each stands for.
    ///
    /// # Errors
    /// [`Error::Input`] when special tokens are to be looked for in the normalized text and the normalizer changes it, as there is no place
    /// in the text to point to then; [`Error::Pattern`] as [`Job::step`].
    pub fn with_spans(
        tokenizer: &'t Tokenizer,
        text: &'t str,
        choices: &Choices,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let mut job = Self::new(tokenizer, text, choices)?;
        if choices.allowed.is_none() {
            job.pieces =
                vec![Piece { text: Cow::Borrowed(text), normalized: false, first: true, special: None }].into_iter();
        }
        let (mut ids, mut spans, mut start) = (Vec::new(), Vec::new(), 0);
        while let Some(Piece { text: piece, normalized, first, special }) = job.pieces.next() {
            let Cow::Borrowed(piece) = piece else {
                return Err(Error::Input(
                    "offsets: the tokenizer's normalizer changes this text, and special tokens are looked for in what it makes of it; normalize it first".to_owned(),
                ));
            };
            let normalizer = tokenizer.normalizer().map(|n| if normalized { n.without_steps() } else { n.clone() });
            let aligned = normalizer.map(|normalizer| Aligned::new(&normalizer, piece, first));
            job.current =
                aligned.as_ref().map_or(Cow::Borrowed(piece), |aligned| Cow::Owned(aligned.text().to_owned()));
            (job.at, job.cursor) = (0, Cursor::default());
            let mut before = 0;
            job.piece_with_ends(&mut ids, |end| {
                let origin = aligned.as_ref().map_or(before..end, |aligned| aligned.origin(before..end));
                spans.push(start + origin.start..start + origin.end);
                before = end;
            });
            if let Some(failure) = job.cursor.failure() {
                return Err(failure);
            }
            start += piece.len();
            if let Some((special, after)) = special {
                ids.push(tokenizer.all_specials().list()[special].id);
                spans.push(start..after);
                start = after;
            }
        }
        Ok((ids, spans))
    }

    /// Ids of the piece at work; `ends_at` gets the end of each in it.
    fn piece_with_ends(&mut self, ids: &mut Vec<u32>, mut ends_at: impl FnMut(usize)) {
        let text: &str = &self.current;
        let tokenizer = self.tokenizer;
        let cache = &mut *tokenizer.cache();
        let mut start = 0;
        with_split!(tokenizer.pattern().splitter(), split => while start < text.len() {
            let stop = split.end(text, start, &mut self.cursor);
            let first = ids.len();
            tokenizer.pretoken(text.as_bytes(), start, stop, cache, &mut self.scratch, ids);
            let length = |id: u32| tokenizer.tokens().get(id).unwrap_or_default().len();
            if let [_] = ids[first..] {
                ends_at(stop);
            } else if let Model::Chars(chars) = tokenizer.model() {
                chars.encode(&text.as_bytes()[start..stop], &mut self.scratch.list, None);
                self.scratch.list.iter().fold(start, |at, (_, length)| { ends_at(at + length); at + length });
            } else {
                ids[first..].iter().fold(start, |at, &id| { ends_at(at + length(id)); at + length(id) });
            }
            start = stop;
        });
    }
}

/// The pieces of `text` between the special tokens that `choices` allows: those looked for in it as it is, then those looked for once it is
/// normalized.
fn pieces<'t>(tokenizer: &'t Tokenizer, text: &'t str, choices: &Choices) -> Vec<Piece<'t>> {
    let specials = tokenizer.all_specials();
    let mut out = Vec::new();
    for (range, special) in specials.segments(text.as_bytes(), &choices.allowed) {
        let raw = text.get(range.clone()).unwrap_or_default();
        let first = range.start == 0;
        if !specials.any_normalized() {
            out.push(Piece { text: Cow::Borrowed(raw), normalized: false, first, special });
            continue;
        }
        let whole = tokenizer.normalizer().map_or(Cow::Borrowed(raw), |n| n.apply(raw));
        let inner = specials.normalized_segments(&whole, &choices.allowed);
        let part = |range: &Range<usize>| match &whole {
            Cow::Borrowed(whole) => Cow::Borrowed(whole.get(range.clone()).unwrap_or_default()),
            Cow::Owned(whole) => Cow::Owned(whole.get(range.clone()).unwrap_or_default().to_owned()),
        };
        for (inside, token) in inner {
            let token = token.map(|(i, after)| (i, range.start + after));
            out.push(Piece {
                text: part(&inside),
                normalized: true,
                first: first && inside.start == 0,
                special: token,
            });
        }
        if special.is_some() {
            match out.last_mut() {
                Some(last) if last.special.is_none() => last.special = special,
                _ => out.push(Piece { text: Cow::Borrowed(""), normalized: true, first: false, special }),
            }
        }
    }
    out
}
