//! The binding of `gristlm-bpe`.

mod chat;
mod ids;
mod interrupt;
mod special;
mod state;
mod tokenizer;
mod trainer;

use gristlm_bpe::Error;
use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};

/// Adds this folder's classes to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("PATTERNS", gristlm_bpe::pattern::Pattern::names().collect::<Vec<_>>())?;
    module.add_class::<state::TokenizerState>()?;
    module.add_class::<tokenizer::Tokenizer>()?;
    module.add_class::<trainer::TokenizerTrainer>()?;
    module.add_class::<chat::ChatShape>()?;
    module.add_function(wrap_pyfunction!(chat::prepare_chats, module)?)
}

/// The Python exception of a core error.
fn raise(failure: Error) -> PyErr {
    let class = match failure {
        Error::Format { .. } => ErrorClass::Format,
        Error::SpecialToken { .. } => ErrorClass::SpecialToken,
        Error::Pattern { .. } | Error::Input(_) => ErrorClass::Input,
        Error::Storage(_) => ErrorClass::Storage,
        Error::Stopped => return pyo3::exceptions::PyKeyboardInterrupt::new_err(()),
    };
    error(class, failure)
}

/// `num_threads` as a number; `None` is all cores this process may use.
fn threads(num_threads: Option<usize>) -> PyResult<usize> {
    match num_threads {
        None => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
        Some(0) => Err(error(ErrorClass::Input, "num_threads is 0; give 1 or more, or None for all cores")),
        Some(n) => Ok(n.min(1024)),
    }
}
