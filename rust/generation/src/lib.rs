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
