//! Counting pretokens, in parallel over texts.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::split::{Cursor, Split, Splitter, with_split};

/// How often each pretoken stands in the texts seen so far.
#[derive(Default)]
pub struct Counter {
    counts: FxHashMap<Box<[u8]>, u64>,
    bytes: u64,
}

type Local<'t> = FxHashMap<&'t [u8], u64>;

impl Counter {
    /// Counts the pretokens of `texts`; the same on any number of threads.
    ///
    /// # Errors
    /// [`crate::Error::Pattern`] when the user's expression takes too long on a text; nothing is counted then.
    pub fn add(&mut self, texts: &[&str], splitter: &Splitter, num_threads: usize) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut local = Local::default();
            while let Some(text) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
                count(text, splitter, &mut local)?;
            }
            Ok(local)
        };
        let locals = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..num_threads.min(texts.len())).map(|_| scope.spawn(work)).collect();
            let mut locals = vec![work()];
            for thread in threads {
                match thread.join() {
                    Ok(local) => locals.push(local),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            locals
        });
        for local in locals.into_iter().collect::<Result<Vec<_>>>()? {
            for (word, count) in local {
                match self.counts.get_mut(word) {
                    Some(total) => *total += count,
                    None => {
                        self.counts.insert(word.into(), count);
                    }
                }
            }
        }
        self.bytes += texts.iter().map(|t| t.len() as u64).sum::<u64>();
        Ok(())
    }

    /// Each pretoken with its count, in no order.
    pub fn counts(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.counts.iter().map(|(word, &count)| (&**word, count))
    }

    /// The number of different pretokens.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was counted yet.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The bytes of all texts together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn count<'t>(text: &'t str, splitter: &Splitter, local: &mut Local<'t>) -> Result<()> {
    let mut cursor = Cursor::default();
    with_split!(splitter, split => {
        let mut start = 0;
        while start < text.len() {
            let end = split.end(text, start, &mut cursor);
            *local.entry(&text.as_bytes()[start..end]).or_default() += 1;
            start = end;
        }
    });
    cursor.failure().map_or(Ok(()), Err)
}
