//! Memory that lies in files: whole files to read, and arrays with an element for each of any number of documents.
//!
//! A mapped page belongs to the system, which takes it back when memory is short; [`let_go`] gives back all of them at
//! once, so that a process stays small however much of its files it has touched. No file stays open.

mod array;
mod file;
mod map;

pub use array::{Array, Element};
pub use file::MappedFile;
pub use map::let_go;
