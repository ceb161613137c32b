//! Union-find on all threads: the result does not depend on their order, the root of a set is its lowest member.

use std::sync::atomic::{AtomicU32, Ordering};

use gristlm_mapped::Array;

use crate::Error;
use crate::room::Room;

/// Sets of the numbers below a bound.
pub struct UnionFind {
    /// A member's parent is never above it.
    parents: Array<AtomicU32>,
}

impl UnionFind {
    /// Each of `count` numbers is its own set.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn new(count: usize, room: Room<'_>) -> Result<Self, Error> {
        Ok(Self { parents: room.array(count, |number| AtomicU32::new(number as u32))? })
    }

    /// The lowest member of the set of `member`, once all unions are done.
    pub fn root(&self, member: u32) -> u32 {
        let mut at = member;
        loop {
            let parent = self.parents[at as usize].load(Ordering::Relaxed);
            if parent == at {
                return at;
            }
            // Halving the path: the grandparent is in the same set and not above the parent.
            let grandparent = self.parents[parent as usize].load(Ordering::Relaxed);
            self.parents[at as usize].fetch_min(grandparent, Ordering::Relaxed);
            at = parent;
        }
    }

    /// Makes one set of those of `a` and `b`.
    pub fn unite(&self, a: u32, b: u32) {
        let (mut a, mut b) = (self.root(a), self.root(b));
        while a != b {
            let (low, high) = (a.min(b), a.max(b));
            let swapped = self.parents[high as usize].compare_exchange(high, low, Ordering::Relaxed, Ordering::Relaxed);
            if swapped.is_ok() {
                return;
            }
            (a, b) = (self.root(low), self.root(high));
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn the_root_is_the_lowest_of_the_set_on_any_threads() {
        let sets = UnionFind::new(10_000, Room::default()).unwrap();
        (0..9_900_u32).into_par_iter().rev().for_each(|i| sets.unite(i, i + 100));
        assert!((0..10_000).all(|i| sets.root(i) == i % 100));
    }
}
