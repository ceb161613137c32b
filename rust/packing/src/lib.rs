//! Token shards, mixtures, order, best-fit packing and prefetch.
//!
//! * On disk: [`index`] (Megatron-core's `.idx`), [`shard`] (one `.bin/.idx` pair, mapped and verified), [`document_ids`],
//!   [`manifest`] (`dataset.json`, written last), [`writer`] and [`store`] (all shards of one dataset).
//! * In order: [`permutation`] (keyed), [`source`] (one dataset's endless stream of packed rows), [`mixture`] (which source
//!   the next row comes from), [`schedule`] (mixtures that change), [`pack`] (documents into rows), [`batch`] (rows into arrays), [`pool`] (their
//!   memory, used again), [`loader`] (a thread ahead).
//! * [`windows`]: random stretches of the token stream, for those who do not pack.
//!
//! The order of rows is a pure function of (seed, row): nothing in it knows the batch size, the rank or how often it was
//! interrupted.

pub mod batch;
pub mod document_ids;
pub mod error;
pub mod index;
pub mod loader;
pub mod manifest;
mod mapped;
pub mod mixture;
pub mod pack;
pub mod permutation;
pub mod pool;
pub mod schedule;
pub mod shard;
pub mod source;
pub mod store;
pub mod windows;
pub mod writer;

pub use error::{PackingError, Result};
pub use loader::{Geometry, Loader};
pub use store::TokenStore;
pub use writer::TokenWriter;
