//! Encoding bytes that need not be UTF-8.

use crate::error::Result;
use crate::job::Job;
use crate::special::Choice;
use crate::split::{Cursor, Split, with_split};
use crate::stop;
use crate::tokenizer::{Choices, Model, Scratch, Tokenizer};

impl Tokenizer {
    /// Appends the ids of `bytes`, which need not be UTF-8, to `out`.
    ///
    /// As tiktoken does: what follows the last pretoken of the valid beginning is merged as one pretoken.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] when they hold a forbidden special token.
    pub fn encode_bytes(&self, bytes: &[u8], choices: &Choices, out: &mut Vec<u32>) -> Result<()> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.encode(text, choices, out);
        }
        let specials = self.all_specials();
        if !specials.list().is_empty() {
            specials.refuse(bytes, &choices.allowed, &choices.forbidden)?;
        }
        let inner = Choices { forbidden: Choice::None, ..choices.clone() };
        for (range, special) in specials.segments(bytes, &choices.allowed) {
            let segment = &bytes[range];
            match std::str::from_utf8(segment) {
                Ok(text) => self.encode(text, &inner, out)?,
                Err(_) if matches!(self.model(), Model::Chars(_)) => self.encode_chunks(segment, out)?,
                Err(error) => self.encode_broken(segment, error.valid_up_to(), out)?,
            }
            out.extend(special.map(|(i, _)| specials.list()[i].id));
        }
        Ok(())
    }

    fn encode_broken(&self, bytes: &[u8], valid: usize, out: &mut Vec<u32>) -> Result<()> {
        let text = std::str::from_utf8(&bytes[..valid]).unwrap_or_default();
        let (mut cursor, mut start, mut bounds) = (Cursor::default(), 0, vec![0]);
        with_split!(self.pattern().splitter(), split => while start < text.len() {
            start = split.end(text, start, &mut cursor);
            bounds.push(start);
            if bounds.len().is_multiple_of(stop::EVERY as usize) && stop::requested() {
                break;
            }
        });
        if let Some(failure) = cursor.failure() {
            return Err(failure);
        }
        let cache = &mut *self.cache();
        // The last pretoken goes with what follows; white space before it too, as it could have been cut elsewhere.
        let mut scratch = Scratch::default();
        let mut ends = Vec::with_capacity(bounds.len());
        let first = out.len();
        for (number, two) in (1u32..).zip(bounds.windows(2)) {
            if number.is_multiple_of(stop::EVERY) && stop::requested() {
                break;
            }
            self.pretoken(bytes, two[0], two[1], cache, &mut scratch, out);
            ends.push(out.len());
        }
        if let Some(mut at) = ends.len().checked_sub(1).map(|last| if last == 0 { first } else { ends[last - 1] }) {
            let blank =
                |id: u32| self.tokens().get(id).is_some_and(|t| t.iter().all(|b| matches!(b, b' ' | b'\n' | b'\t')));
            if at < out.len() && blank(out[at]) {
                while at > first && blank(out[at - 1]) {
                    at -= 1;
                }
            }
            let kept: usize = out[first..at].iter().map(|&id| self.tokens().get(id).unwrap_or_default().len()).sum();
            out.truncate(at);
            self.pretoken(bytes, kept, bytes.len(), cache, &mut scratch, out);
        } else {
            self.pretoken(bytes, 0, bytes.len(), cache, &mut scratch, out);
        }
        Ok(())
    }

    /// As [`Tokenizer::encode_broken`], for a vocabulary of characters: what is UTF-8 as text, every other byte as itself.
    fn encode_chunks(&self, bytes: &[u8], out: &mut Vec<u32>) -> Result<()> {
        let mut scratch = Scratch::default();
        for (number, chunk) in bytes.utf8_chunks().enumerate() {
            if number == 0 {
                self.encode(chunk.valid(), &Choices::default(), out)?;
            } else {
                Job::inside(self, chunk.valid()).step(usize::MAX, out)?;
            }
            if let Model::Chars(chars) = self.model() {
                chars.encode(chunk.invalid(), &mut scratch.list, None);
                out.extend(scratch.list.iter().map(|(id, _)| id));
            }
        }
        Ok(())
    }
}
