//! Lending each thread a cache of its own, without ever waiting for one.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::cache::Cache;

/// How many threads can encode at once with a cache that lasts; any further one gets an empty one for the call.
const PLACES: usize = 32;

/// The caches of one tokenizer.
pub struct CachePool {
    places: [Mutex<Cache>; PLACES],
}

impl Default for CachePool {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| Mutex::default()) }
    }
}

/// A cache for the time of a call.
pub enum Borrowed<'p> {
    /// One of the pool's.
    Lent(MutexGuard<'p, Cache>),
    /// All were in use.
    Own(Box<Cache>),
}

impl CachePool {
    /// Lends a cache: the one this thread had last time if it is free, else the first that is; so threads that live for one call take up
    /// what those of the call before have learnt. Never blocks, so a `fork` at any moment is harmless.
    #[inline]
    pub fn borrow(&self) -> Borrowed<'_> {
        thread_local!(static LAST: Cell<usize> = const { Cell::new(0) });
        LAST.with(|last| {
            for place in std::iter::once(last.get()).chain(0..PLACES) {
                match self.places[place].try_lock() {
                    Ok(guard) => {
                        last.set(place);
                        return Borrowed::Lent(guard);
                    }
                    Err(TryLockError::Poisoned(poisoned)) => return Borrowed::Lent(poisoned.into_inner()),
                    Err(TryLockError::WouldBlock) => {}
                }
            }
            Borrowed::Own(Box::default())
        })
    }
}

impl Deref for Borrowed<'_> {
    type Target = Cache;

    #[inline]
    fn deref(&self) -> &Cache {
        match self {
            Self::Lent(guard) => guard,
            Self::Own(own) => own,
        }
    }
}

impl DerefMut for Borrowed<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Cache {
        match self {
            Self::Lent(guard) => guard,
            Self::Own(own) => own,
        }
    }
}
