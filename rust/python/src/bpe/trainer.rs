//! `TokenizerTrainer`: counts texts as they come, then makes a vocabulary of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gristlm_bpe::pattern::Pattern;
use gristlm_bpe::train::{Counter, MEMORY_BYTES, Merging, Settings, characters, words};
use pyo3::prelude::*;

use super::state::TokenizerState;
use super::{interrupt, raise, threads};
use crate::errors::{ErrorClass, error};
use crate::texts::Texts;

/// Merges between two looks for Ctrl-C.
const STEP_MERGES: usize = 64;
/// The least limit: one that a single batch of texts does not pass by itself.
const LEAST_MEMORY_BYTES: u64 = 1 << 20;

/// Counts of pretokens; `add` texts, then make a tokenizer.
#[pyclass(frozen, module = "gristlm._core")]
pub struct TokenizerTrainer {
    pattern: String,
    splitter: Pattern,
    counter: Mutex<Counter>,
}

impl TokenizerTrainer {
    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl TokenizerTrainer {
    #[new]
    #[pyo3(signature = (pattern, max_memory_bytes=None))]
    fn new(pattern: &str, max_memory_bytes: Option<u64>) -> PyResult<Self> {
        let limit = max_memory_bytes.unwrap_or(MEMORY_BYTES);
        if limit < LEAST_MEMORY_BYTES {
            return Err(error(
                ErrorClass::Input,
                format!("max_memory_bytes is {limit}; give {LEAST_MEMORY_BYTES} or more"),
            ));
        }
        let splitter = Pattern::parse(pattern).map_err(raise)?;
        Ok(Self { pattern: pattern.to_owned(), splitter, counter: Mutex::new(Counter::new(limit)) })
    }

    /// Counts the pretokens of `texts`.
    #[pyo3(signature = (texts, num_threads=None))]
    fn add(&self, py: Python<'_>, texts: Texts, num_threads: Option<usize>) -> PyResult<()> {
        let num_threads = threads(num_threads)?;
        let texts = texts.as_slices();
        interrupt::run(py, || self.counter().add(&texts, self.splitter.splitter(), num_threads))?;
        py.check_signals()
    }

    /// The bytes of all texts so far.
    #[getter]
    fn num_bytes(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.counter().bytes())
    }

    /// How many pretokens were counted and then forgotten to stay below the limit.
    #[getter]
    fn num_forgotten(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.counter().forgotten())
    }

    /// Each pretoken with how often it was seen, the most frequent first, equals by their bytes.
    fn counts(&self, py: Python<'_>) -> Vec<(Vec<u8>, u64)> {
        py.detach(|| {
            let mut list: Vec<_> = self.counter().counts().map(|(word, count)| (word.to_vec(), count)).collect();
            list.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            list
        })
    }

    /// Makes a BPE tokenizer; `report` is called with the number of merges so far, now and then.
    #[pyo3(signature = (vocab_size, special_tokens, min_frequency, max_token_bytes, report=None))]
    fn bpe(
        &self,
        py: Python<'_>,
        vocab_size: usize,
        special_tokens: Vec<String>,
        min_frequency: u64,
        max_token_bytes: Option<usize>,
        report: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<TokenizerState> {
        let settings = Settings {
            vocab_size,
            specials: special_tokens,
            min_frequency,
            max_token_bytes: max_token_bytes.unwrap_or(usize::MAX),
        };
        let num_merges = settings.num_merges().map_err(raise)?;
        let mut merging =
            py.detach(|| Merging::new(&self.counter(), num_merges, min_frequency, settings.max_token_bytes));
        while py.detach(|| merging.run(STEP_MERGES)) {
            py.check_signals()?;
            if let Some(report) = report {
                report.call1((merging.merges().len(),))?;
            }
        }
        TokenizerState::make(py, || settings.tokenizer(merging.merges(), Pattern::parse(&self.pattern)?))
    }

    /// Makes a tokenizer of single characters; for the pattern "characters".
    fn characters(&self, py: Python<'_>) -> PyResult<TokenizerState> {
        TokenizerState::make(py, || characters(&self.counter()))
    }

    /// Makes a tokenizer of whole words.
    fn words(&self, py: Python<'_>, vocab_size: usize) -> PyResult<TokenizerState> {
        TokenizerState::make(py, || words(&self.counter(), vocab_size, &self.pattern))
    }
}
