//! One step of generation on a CPU, in float32: a token more for each of a few sequences.
//!
//! Such a step multiplies a few rows with every weight, so it is bound by how weights are read and by what happens between
//! the products; a general matrix library is made for many rows. Here weights are laid out once in the order in which they
//! are read ([`matrix`]), and nothing is allocated or dispatched per operation.
//!
//! Each number is computed in one order that depends on nothing but the shape of the network: not on the other sequences
//! of the batch, nor on the number of threads.

mod attention;
pub mod decoder;
mod elementwise;
pub mod error;
mod kernels;
pub mod matrix;

pub use decoder::{Decoder, Layer, Shape, Step};
pub use error::{GenerationError, Result};

/// The likeliest token of each row of logits, `[R, V]`, and ln Σ e^logit, which is NaN where a logit is not finite above.
pub fn likeliest(logits: &[f32], vocab_size: usize) -> (Vec<i64>, Vec<f32>) {
    let level = kernels::Level::best();
    let rows = logits.chunks_exact(vocab_size.max(1));
    rows.map(|row| level.likeliest(row)).map(|(place, sum)| (i64::try_from(place).unwrap_or(i64::MAX), sum)).unzip()
}
