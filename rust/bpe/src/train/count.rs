//! Counting pretokens, in parallel over texts, in bounded memory.
//!
//! When the words seen so far would make the training larger than its limit, the rarest are forgotten until half of the limit is free
//! (ours, after lossy counting: Manku and Motwani 2002). That is decided between calls of [`Counter::add`], so it does not depend on
//! threads; below the limit every count is exact.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustc_hash::FxHashMap;

use crate::error::Result;
use crate::split::{Cursor, Split, Splitter, with_split};

/// Bytes that a training may take if nothing else is said.
pub const MEMORY_BYTES: u64 = 4 << 30;

/// How often each pretoken stands in the texts seen so far.
pub struct Counter {
    counts: FxHashMap<Box<[u8]>, u64>,
    bytes: u64,
    /// Bytes that training on `counts` takes; an estimate from above.
    cost: u64,
    limit: u64,
    forgotten: u64,
}

impl Default for Counter {
    fn default() -> Self {
        Self::new(MEMORY_BYTES)
    }
}

/// Bytes that a word takes in the table of counts, in [`super::Merging`]'s lists of symbols and in its lists of places.
fn cost(word: &[u8]) -> u64 {
    128 + 24 * word.len() as u64
}

type Local<'t> = FxHashMap<&'t [u8], u64>;

impl Counter {
    /// Begins with no words; training on them will take about `limit` bytes at most.
    pub fn new(limit: u64) -> Self {
        Self { counts: FxHashMap::default(), bytes: 0, cost: 0, limit, forgotten: 0 }
    }

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
                        self.cost += cost(word);
                        self.counts.insert(word.into(), count);
                    }
                }
            }
        }
        self.bytes += texts.iter().map(|t| t.len() as u64).sum::<u64>();
        if self.cost > self.limit {
            self.forget();
        }
        Ok(())
    }

    /// Forgets the rarest words, all of one frequency together, until the others fit into half of the limit.
    fn forget(&mut self) {
        let mut by_count = BTreeMap::<u64, u64>::new();
        for (word, &count) in &self.counts {
            *by_count.entry(count).or_default() += cost(word);
        }
        let mut rarest = 0;
        for (count, cost) in by_count {
            if self.cost <= self.limit / 2 {
                break;
            }
            self.cost -= cost;
            rarest = count;
        }
        let forgotten = &mut self.forgotten;
        self.counts.retain(|_, &mut count| {
            let kept = count > rarest;
            *forgotten += if kept { 0 } else { count };
            kept
        });
    }

    /// How many pretokens were counted and then forgotten to stay below the limit.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
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
