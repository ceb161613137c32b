//! The extension module `gristlm._core`: converts, calls the core crates without the GIL, converts back.

mod bpe;
mod cleaning;
mod dedup;
mod errors;
mod generation;
mod mapped;
mod packing;
mod rows;
mod texts;
mod threads;

use pyo3::prelude::*;

/// The Rust core of gristlm; the public names are in the `gristlm` package.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    bpe::register(module)?;
    cleaning::register(module)?;
    dedup::register(module)?;
    generation::register(module)?;
    mapped::register(module)?;
    packing::register(module)?;
    rows::register(module)
}
