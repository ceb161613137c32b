//! What can be wrong with a call.

/// A fault of the caller's.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// An array has not the size that the shape of the network gives it.
    #[error("{name} holds {given} numbers; {wanted} are needed")]
    Size {
        /// Which array.
        name: &'static str,
        /// Its numbers.
        given: usize,
        /// What it should hold.
        wanted: usize,
    },
    /// A sequence is as long as its place in the cache.
    #[error("row {row} has {length} positions in a cache of {capacity}; there is no room for another")]
    Full {
        /// The sequence.
        row: usize,
        /// Its positions.
        length: usize,
        /// What a row of the cache holds.
        capacity: usize,
    },
    /// The operating system gave no threads.
    #[error("no threads could be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// What a call returns.
pub type Result<T> = std::result::Result<T, GenerationError>;

/// Checks that an array holds what it should.
pub(crate) fn sized(name: &'static str, given: usize, wanted: usize) -> Result<()> {
    if given == wanted { Ok(()) } else { Err(GenerationError::Size { name, given, wanted }) }
}
