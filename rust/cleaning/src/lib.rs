//! Cleaning of text for training: main content of HTML, encoding and Unicode repair, quality rules, personal data,
//! language. Pure functions; nothing here knows Python.

mod clean;
mod counting;
mod error;
pub mod fasttext;
pub mod gzip;
pub mod html;
mod language;
pub mod rows;
pub mod rules;

pub use clean::{Cleaned, Step, clean, total_changes};
pub use counting::{count_words, type_token};
pub use error::Error;
pub use language::{Language, for_each_letter, identify, ngrams as language_ngrams};
