//! Long calls that Ctrl-C stops: they run without the GIL and take it now and then to look at the signals.

use std::sync::{Arc, Mutex, PoisonError};

use gristlm_bpe::stop;
use pyo3::prelude::*;

use super::raise;

/// Runs `work` without the GIL; a signal handler that raises (Ctrl-C) ends it with that exception.
pub fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> gristlm_bpe::Result<T> + Send) -> PyResult<T> {
    let raised = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&raised);
    let ask = move || {
        let failure = Python::attach(|py| py.check_signals().err());
        let stop = failure.is_some();
        if stop {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
        stop
    };
    let result = py.detach(|| stop::unless_stopped(ask, work));
    match raised.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(raised) => Err(raised),
        None => result.map_err(raise),
    }
}
