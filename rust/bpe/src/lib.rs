//! Byte-pair encoding: pretokenizers, vocabularies, training, encoding and decoding.

mod align;
pub mod batch;
pub mod bpe;
mod bytes;
pub mod cache;
pub mod chars;
pub mod chat;
pub mod error;
pub mod formats;
pub mod job;
pub mod merge;
pub mod normalize;
pub mod ordered;
pub mod pairs;
pub mod pattern;
pub mod pool;
pub mod prefetch;
pub mod special;
pub mod split;
pub mod stop;
pub mod symbols;
mod table;
pub mod tokenizer;
pub mod tokens;
pub mod train;
pub mod unicode;

pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
