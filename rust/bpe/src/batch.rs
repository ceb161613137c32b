//! Many texts at once, on several threads, in the order they were given.

use crate::error::Result;
use crate::ordered::ordered;
use crate::tokenizer::{Choices, Tokenizer};

/// About how many bytes of text a thread takes at a time.
const UNIT_BYTES: usize = 64 << 10;

/// Room is made for about as many ids at once: growing a long list bit by bit copies it again and again.
const BYTES_PER_ID: usize = 4;

/// Ids of all texts in one list, and where each text's end.
#[derive(Default)]
pub struct Batch {
    /// The ids.
    pub ids: Vec<u32>,
    /// For each text, the number of ids up to its end.
    pub ends: Vec<i64>,
}

/// Runs of texts of about [`UNIT_BYTES`] together.
fn units(texts: &[&str]) -> Vec<std::ops::Range<usize>> {
    let (mut out, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, text) in texts.iter().enumerate() {
        bytes += text.len() + 16;
        if bytes >= UNIT_BYTES {
            out.push(start..i + 1);
            (start, bytes) = (i + 1, 0);
        }
    }
    if start < texts.len() {
        out.push(start..texts.len());
    }
    out
}

/// Appends the ids of `texts` to `batch`; the same on any number of threads.
///
/// Uses its own threads for the time of the call, so that it works in a forked process too.
///
/// # Errors
/// [`crate::Error::SpecialToken`] when a text holds a forbidden special token (the first such text).
pub fn encode(
    tokenizer: &Tokenizer,
    texts: &[&str],
    choices: &Choices,
    num_threads: usize,
    batch: &mut Batch,
) -> Result<()> {
    let units = units(texts);
    if num_threads <= 1 || units.len() <= 1 {
        return encode_run(tokenizer, texts, choices, batch);
    }
    let parts = ordered(units.len(), num_threads, |unit| {
        let mut part = Batch::default();
        encode_run(tokenizer, &texts[units[unit].clone()], choices, &mut part).map(|()| part)
    });
    for part in parts {
        let part = part?;
        let before = batch.ids.len() as i64;
        batch.ids.extend_from_slice(&part.ids);
        batch.ends.extend(part.ends.iter().map(|end| end + before));
    }
    Ok(())
}

fn encode_run(tokenizer: &Tokenizer, texts: &[&str], choices: &Choices, batch: &mut Batch) -> Result<()> {
    batch.ends.reserve(texts.len());
    batch.ids.reserve(texts.iter().map(|text| text.len()).sum::<usize>() / BYTES_PER_ID);
    for text in texts {
        tokenizer.encode(text, choices, &mut batch.ids)?;
        batch.ends.push(batch.ids.len() as i64);
    }
    Ok(())
}
