//! Pieces of work on several threads, their results in the order of the pieces.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns what `work` makes of each number below `count`, in order.
///
/// Uses its own threads for the time of the call, so that it works in a forked process too.
pub fn ordered<T: Send>(count: usize, num_threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= count {
                return done;
            }
            done.push((piece, work(piece)));
        }
    };
    let mut parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..num_threads.min(count)).map(|_| scope.spawn(some)).collect();
        let mut parts = some();
        for thread in threads {
            match thread.join() {
                Ok(part) => parts.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|(piece, _)| *piece);
    parts.into_iter().map(|(_, part)| part).collect()
}
