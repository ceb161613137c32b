//! From pretokens to ids: cut, looked up in the cache, then in the vocabulary, then merged.

use super::{A_FEW_BYTES, Model, Tokenizer};
use crate::cache::{Cache, Found, LONGEST};
use crate::split::{Cursor, Ends, Split};
use crate::symbols::Symbols;
use crate::tokens::{SHORT, hash_short, short_key};

/// A short pretoken that waits to be looked up.
#[derive(Clone, Copy, Default)]
struct Key {
    words: [u64; 2],
    hash: u64,
}

#[derive(Default)]
pub(crate) struct Scratch {
    symbols: Vec<u32>,
    pub(crate) list: Symbols,
}

impl Tokenizer {
    /// Appends the ids of the pretoken `bytes[start..end]`.
    pub(crate) fn pretoken(
        &self,
        bytes: &[u8],
        start: usize,
        end: usize,
        cache: &mut Cache,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        if end - start <= SHORT {
            let key = short_key(bytes, start, end - start);
            self.short(&bytes[start..end], key, hash_short(key), cache, scratch, out);
        } else {
            self.long(&bytes[start..end], cache, scratch, out);
        }
    }

    /// Appends the ids of a pretoken of at most [`SHORT`] bytes.
    #[inline]
    fn short(
        &self,
        pretoken: &[u8],
        key: [u64; 2],
        hash: u64,
        cache: &mut Cache,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        match cache.get_short(key, hash) {
            Some(found) => append(&found, out),
            None => self.new_short(pretoken, key, hash, cache, scratch, out),
        }
    }

    #[cold]
    #[inline(never)]
    fn new_short(
        &self,
        pretoken: &[u8],
        key: [u64; 2],
        hash: u64,
        cache: &mut Cache,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) {
        if let Some(found) = cache.get_short_again(key, hash) {
            return append(&found, out);
        }
        let from = out.len();
        self.look_up_or_merge(pretoken, self.index.get_short(key, hash), scratch, out);
        cache.put_short(key, hash, &out[from..]);
    }

    /// Appends the ids of a longer pretoken.
    #[inline(never)]
    fn long(&self, pretoken: &[u8], cache: &mut Cache, scratch: &mut Scratch, out: &mut Vec<u32>) {
        let remembered = pretoken.len() <= LONGEST;
        if remembered && let Some(found) = cache.get_long(pretoken) {
            return append(&found, out);
        }
        let from = out.len();
        self.look_up_or_merge(pretoken, self.index.get(&self.tokens, pretoken), scratch, out);
        if remembered {
            cache.put_long(pretoken, &out[from..]);
        }
    }

    /// Appends the ids of the pretokens of `text` from `start` on, up to the first that begins at `until` or later; returns where that is.
    #[allow(clippy::too_many_arguments, reason = "the state of one loop")]
    #[inline(always)]
    pub(crate) fn pretokens<S: Split>(
        &self,
        split: &S,
        text: &str,
        mut start: usize,
        until: usize,
        cursor: &mut Cursor,
        cache: &mut Cache,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> usize {
        if text.len() > A_FEW_BYTES {
            return self.many_pretokens(split, text, start, until, cursor, cache, scratch, out);
        }
        while start < until.min(text.len()) {
            let end = split.end(text, start, cursor);
            self.pretoken(text.as_bytes(), start, end, cache, scratch, out);
            start = end;
        }
        start
    }

    /// As [`Tokenizer::pretokens`]: cuts some ahead and asks for their places in the cache, so that their look-ups need not wait for memory.
    #[allow(clippy::too_many_arguments, reason = "the state of one loop")]
    #[inline(never)]
    fn many_pretokens<S: Split>(
        &self,
        split: &S,
        text: &str,
        mut start: usize,
        until: usize,
        cursor: &mut Cursor,
        cache: &mut Cache,
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
    ) -> usize {
        let bytes = text.as_bytes();
        let until = until.min(bytes.len());
        let mut ends = Ends::new();
        let mut keys = [Key::default(); Ends::ROOM];
        let mut few = [0; 3 * Ends::ROOM];
        // While much is new, the vocabulary will be asked too.
        let mut missed = false;
        while start < until {
            ends.clear();
            let mut next = start;
            while next < until && !ends.is_enough() {
                next = split.some_ends(text, next, cursor, &mut ends);
            }
            let mut from = start;
            for (key, &end) in keys.iter_mut().zip(ends.get()) {
                if end - from <= SHORT {
                    key.words = short_key(bytes, from, end - from);
                    key.hash = hash_short(key.words);
                    cache.prefetch_short(key.hash);
                    if missed {
                        self.index.prefetch_short(key.hash);
                    }
                }
                from = end;
            }
            // Most pretokens are few ids, which are all written and then counted: no branch on how many they are.
            let mut count = 0;
            let remembered = cache.count();
            for (key, &end) in keys.iter().zip(ends.get()) {
                if end - start <= SHORT
                    && let Some(Found::Few(three, more)) = cache.get_short(key.words, key.hash)
                {
                    if let Some(place) = few.get_mut(count..count + 3) {
                        place.copy_from_slice(&three);
                    }
                    count += more;
                } else {
                    out.extend_from_slice(&few[..count]);
                    count = 0;
                    self.pretoken(bytes, start, end, cache, scratch, out);
                }
                start = end;
            }
            out.extend_from_slice(&few[..count]);
            missed = cache.count() != remembered;
        }
        start
    }

    fn look_up_or_merge(&self, bytes: &[u8], whole: Option<u32>, scratch: &mut Scratch, out: &mut Vec<u32>) {
        match (&self.model, whole) {
            (Model::Bpe(bpe), Some(id)) if bpe.takes_whole(id) => out.push(id),
            (Model::Bpe(bpe), _) => bpe.encode(bytes, &mut scratch.symbols, out),
            (Model::Chars(chars), Some(id)) if chars.whole_first() => out.push(id),
            (Model::Chars(chars), _) => {
                chars.encode(bytes, &mut scratch.list, None);
                out.extend(scratch.list.iter().map(|(id, _)| id));
            }
            (Model::Lookup { .. }, Some(id)) => out.push(id),
            (Model::Lookup { unknown }, None) => out.push(*unknown),
        }
    }
}

#[inline]
fn append(found: &Found<'_>, out: &mut Vec<u32>) {
    match found {
        Found::Few(three, count) => out.extend_from_slice(&three[..*count]),
        Found::Many(ids) => out.extend_from_slice(ids),
    }
}
