//! Duplicates in text: exact, near (MinHash-LSH, verified), repeated substrings, overlap with evaluation sets.
//!
//! Everything is deterministic: the same result for any number of threads, ties broken by the lowest index.

mod bands;
mod by_id;
mod contamination;
mod corpus;
mod error;
mod exact;
mod groups;
mod hash;
mod minhash;
mod order;
mod pieces;
mod resolve;
mod room;
mod shingles;
mod signature;
mod spans;
mod spill;
mod substrings;
mod windows;

pub use bands::{PARTITIONS, SHARD};
pub use by_id::{ById, by_id};
pub use contamination::{Contamination, Hit, contamination};
pub use corpus::Corpus;
pub use error::Error;
pub use exact::{Exact, exact, exact_in_order};
pub use gristlm_mapped::Array;
pub use minhash::{MinHash, NearDuplicates, group_partitions, near_duplicates, sign_shard, signatures};
pub use pieces::Unit;
pub use room::{Room, Step};
pub use spans::{Span, cut};
pub use substrings::substrings;
pub use windows::Length;
