//! Memory of batches that were given back, to be filled again: no page is asked of the system twice.

use std::sync::{Arc, Mutex};

use crate::batch::Batch;

/// Batches kept at most: those waiting, one being made, one in use and one just given back fit.
const KEEP: usize = 6;

/// Empty batches with room. A batch in it belongs to nobody else, so what is filled again is never still being read.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Batch>>);

impl Pool {
    /// An empty batch: one that was given back, or one with room for `tokens`.
    ///
    /// The lock is only tried, here and in `give`: in a forked child it may stay locked for ever.
    pub fn take(&self, tokens: usize) -> Batch {
        let kept = self.0.try_lock().ok().and_then(|mut free| free.pop());
        kept.unwrap_or_else(|| Batch::with_capacity(tokens))
    }

    fn give(&self, mut batch: Batch) {
        batch.clear();
        if let Ok(mut free) = self.0.try_lock()
            && free.len() < KEEP
        {
            free.push(batch);
        }
    }
}

/// A batch whose memory goes back to its pool when this is dropped.
#[derive(Debug)]
pub struct Lease {
    batch: Batch,
    pool: Arc<Pool>,
}

impl Lease {
    /// Takes over `batch`.
    pub fn new(batch: Batch, pool: Arc<Pool>) -> Self {
        Self { batch, pool }
    }

    /// The batch, which does not change as long as this lives.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_empty_and_used_again() {
        let pool = Arc::new(Pool::default());
        let mut batch = pool.take(64);
        batch.push_padding(64);
        let place = batch.input_ids.as_ptr();
        let lease = Lease::new(batch, Arc::clone(&pool));
        assert_ne!(pool.take(64).input_ids.as_ptr(), place, "what is held is not given to another");
        assert_eq!(lease.batch().labels.len(), 64);
        drop(lease);
        let again = pool.take(64);
        assert_eq!(again.input_ids.as_ptr(), place);
        assert_eq!(again, Batch::with_capacity(0));
    }

    #[test]
    fn it_keeps_a_few() {
        let pool = Arc::new(Pool::default());
        let all: Vec<_> = (0..20).map(|_| Lease::new(pool.take(8), Arc::clone(&pool))).collect();
        drop(all);
        assert_eq!(pool.0.lock().map(|free| free.len()).ok(), Some(KEEP));
    }
}
