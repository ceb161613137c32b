//! `Tokenizer`: encoding and decoding, straight on the Rust class so that a short call costs nothing extra.

use std::sync::{Arc, Mutex};

use gristlm_bpe::batch::{self, Batch};
use gristlm_bpe::job::Job;
use gristlm_bpe::symbols::Dropout;
use gristlm_bpe::tokenizer::Choices;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString};

use super::ids::ids_of;
use super::special::choices;
use super::state::TokenizerState;
use super::{interrupt, raise, threads};
use crate::errors::{ErrorClass, error};
use crate::texts::Texts;

/// Texts up to this many bytes are encoded without letting go of the GIL, which would cost more than the work.
const SMALL_BYTES: usize = 2048;
/// Texts that each thread gets between two looks for Ctrl-C.
const STEP_BYTES: usize = 4 << 20;
/// From this many ids on, a list shares the integers of the tokenizer instead of making its own.
const LONG_LIST: usize = 128;
/// Beyond this vocabulary size no integers are kept (they would take more than 40 MB).
const MOST_INTEGERS: usize = 1 << 20;

/// The encoder and decoder that `gristlm.tokenize.Tokenizer` adds files, training and adapters to.
#[pyclass(frozen, subclass, module = "gristlm._core")]
pub struct Tokenizer {
    core: Arc<gristlm_bpe::Tokenizer>,
    /// Ids as Python integers, each made when a long list first needs it: the next list then only counts references.
    integers: Mutex<Vec<Option<Py<PyInt>>>>,
}

type Arrays<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

impl Tokenizer {
    fn ids(&self, text: &Bound<'_, PyAny>, choices: &Choices, dropout: Option<Dropout>) -> PyResult<Vec<u32>> {
        let py = text.py();
        let mut out = Vec::new();
        if let Ok(text) = text.cast::<PyString>() {
            let text = utf8(text)?;
            if let Some(dropout) = dropout {
                interrupt::run(py, || self.core.encode_with_dropout(text, choices, dropout, &mut out))?;
            } else if text.len() <= SMALL_BYTES {
                self.core.encode(text, choices, &mut out).map_err(raise)?;
            } else {
                interrupt::run(py, || self.core.encode(text, choices, &mut out))?;
            }
        } else if let Ok(bytes) = text.cast::<PyBytes>() {
            let bytes = bytes.as_bytes();
            match (dropout, std::str::from_utf8(bytes)) {
                (None, _) => interrupt::run(py, || self.core.encode_bytes(bytes, choices, &mut out))?,
                (Some(dropout), Ok(text)) => {
                    interrupt::run(py, || self.core.encode_with_dropout(text, choices, dropout, &mut out))?;
                }
                (Some(_), Err(error)) => {
                    return Err(self::error(
                        ErrorClass::Input,
                        format!("dropout needs UTF-8, and text is not: {error}"),
                    ));
                }
            }
        } else {
            return Err(error(ErrorClass::Input, format!("text is {}; give str or bytes", text.get_type().name()?)));
        }
        Ok(out)
    }

    fn list<'py>(&self, py: Python<'py>, ids: &[u32]) -> PyResult<Bound<'py, PyList>> {
        if ids.len() < LONG_LIST || self.core.vocab_size() > MOST_INTEGERS {
            return PyList::new(py, ids);
        }
        // In use: a list that is made may collect garbage, and that may run code which comes here again.
        let Ok(mut integers) = self.integers.try_lock() else { return PyList::new(py, ids) };
        if integers.is_empty() {
            integers.resize_with(self.core.vocab_size(), || None);
        }
        let integer =
            |&id: &u32| integers[id as usize].get_or_insert_with(|| PyInt::new(py, id).unbind()).clone_ref(py);
        PyList::new(py, ids.iter().map(integer))
    }

    fn text<'py>(&self, py: Python<'py>, bytes: &[u8], errors: &str) -> PyResult<Bound<'py, PyString>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(PyString::new(py, text)),
            Err(_) => Ok(PyBytes::new(py, bytes).call_method1("decode", ("utf-8", errors))?.cast_into()?),
        }
    }
}

/// The dropout that was asked for, if any.
fn dropping(probability: f64, seed: u64) -> PyResult<Option<Dropout>> {
    if !(0.0..=1.0).contains(&probability) {
        return Err(error(ErrorClass::Input, format!("dropout is {probability}; give a probability, from 0 to 1")));
    }
    Ok((probability > 0.0).then(|| Dropout::new(probability, seed)))
}

/// A Python text as UTF-8.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|_| {
        error(
            ErrorClass::Input,
            "text holds a lone surrogate, which is not valid Unicode text; decode it with errors=\"replace\" first",
        )
    })
}

#[pymethods]
impl Tokenizer {
    #[new]
    fn new(state: &TokenizerState) -> Self {
        Self { core: Arc::clone(&state.core), integers: Mutex::default() }
    }

    /// What this tokenizer is made of.
    #[getter]
    fn state(&self) -> TokenizerState {
        TokenizerState { core: Arc::clone(&self.core) }
    }

    /// Returns the ids of `text` as a list; `dropout` leaves that share of merges out, as `seed` says.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None, dropout=0.0, seed=0))]
    fn encode<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        allowed_special: Option<&Bound<'py, PyAny>>,
        disallowed_special: Option<&Bound<'py, PyAny>>,
        dropout: f64,
        seed: u64,
    ) -> PyResult<Bound<'py, PyList>> {
        let choices = choices(allowed_special, disallowed_special)?;
        self.list(text.py(), &self.ids(text, &choices, dropping(dropout, seed)?)?)
    }

    /// Returns the ids of `text` as uint32[T]; `dropout` and `seed` as in `encode`.
    #[pyo3(signature = (text, *, allowed_special=None, disallowed_special=None, dropout=0.0, seed=0))]
    fn encode_array<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        allowed_special: Option<&Bound<'py, PyAny>>,
        disallowed_special: Option<&Bound<'py, PyAny>>,
        dropout: f64,
        seed: u64,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let choices = choices(allowed_special, disallowed_special)?;
        Ok(self.ids(text, &choices, dropping(dropout, seed)?)?.into_pyarray(text.py()))
    }

    /// Returns the ids of all texts as uint32[T], and where each text begins and ends as int64[N + 1].
    fn _encode_batch<'py>(
        &self,
        py: Python<'py>,
        texts: Texts,
        num_threads: Option<usize>,
        allowed_special: Option<&Bound<'py, PyAny>>,
        disallowed_special: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Arrays<'py>> {
        let choices = choices(allowed_special, disallowed_special)?;
        let num_threads = threads(num_threads)?;
        let mut batch = Batch { ids: Vec::new(), ends: vec![0] };
        let texts = texts.as_slices();
        let mut start = 0;
        while start < texts.len() {
            let mut bytes = 0;
            let run = texts[start..]
                .iter()
                .take_while(|t| {
                    let more = bytes < num_threads * STEP_BYTES;
                    bytes += t.len();
                    more
                })
                .count();
            let group = &texts[start..start + run.max(1)];
            interrupt::run(py, || batch::encode(&self.core, group, &choices, num_threads, &mut batch))?;
            py.check_signals()?;
            start += group.len();
        }
        Ok((batch.ids.into_pyarray(py), batch.ends.into_pyarray(py)))
    }

    /// Returns the ids of `text` as uint32[T], and where each begins and ends in bytes of the text as int64[2 * T].
    fn _encode_with_spans<'py>(
        &self,
        text: &Bound<'py, PyString>,
        allowed_special: Option<&Bound<'py, PyAny>>,
        disallowed_special: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Arrays<'py>> {
        let choices = choices(allowed_special, disallowed_special)?;
        let (py, text) = (text.py(), utf8(text)?);
        let (ids, spans) = interrupt::run(py, || Job::with_spans(&self.core, text, &choices))?;
        let spans: Vec<i64> = spans.iter().flat_map(|span| [span.start as i64, span.end as i64]).collect();
        Ok((ids.into_pyarray(py), spans.into_pyarray(py)))
    }

    /// Returns the text of `ids`; `errors` as in `bytes.decode` says what happens to bytes that are not UTF-8.
    #[pyo3(signature = (ids, *, errors="replace"))]
    fn decode<'py>(&self, ids: &Bound<'py, PyAny>, errors: &str) -> PyResult<Bound<'py, PyString>> {
        let bytes = self.core.decode(&ids_of(ids)?).map_err(raise)?;
        self.text(ids.py(), &bytes, errors)
    }

    /// Returns the bytes of `ids`.
    fn decode_bytes<'py>(&self, ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(ids.py(), &self.core.decode(&ids_of(ids)?).map_err(raise)?))
    }

    /// Returns the text of each row of a batch given as ids and offsets.
    fn _decode_batch<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, u32>,
        offsets: PyReadonlyArray1<'py, i64>,
        errors: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        let (ids, offsets) = (ids.as_array().to_vec(), offsets.as_array().to_vec());
        let row = |two: &[i64]| -> PyResult<Bound<'py, PyString>> {
            let ids = ids.get(two[0].max(0) as usize..two[1].max(0) as usize);
            let ids = ids.ok_or_else(|| {
                error(
                    ErrorClass::Input,
                    format!("offsets {} to {} do not fit into {} ids", two[0], two[1], self.core.vocab_size()),
                )
            })?;
            self.text(py, &self.core.decode(ids).map_err(raise)?, errors)
        };
        PyList::new(py, offsets.windows(2).map(row).collect::<PyResult<Vec<_>>>()?)
    }

    /// Returns the id of a token by its bytes, or of a special token by its text; None when there is none.
    fn token_to_id(&self, token: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
        if let Ok(text) = token.cast::<PyString>() {
            return Ok(self.core.token_to_id(utf8(text)?.as_bytes()));
        }
        Ok(self.core.token_to_id(token.extract::<&[u8]>()?))
    }

    /// Returns the bytes of a token.
    fn id_to_bytes<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = id.py();
        let bytes = id.extract::<u32>().ok().and_then(|id| self.core.tokens().get(id));
        bytes.map(|b| PyBytes::new(py, b)).ok_or_else(|| {
            error(
                ErrorClass::Input,
                format!(
                    "id {id} is not in the vocabulary; its ids go from 0 to {}",
                    self.core.vocab_size().saturating_sub(1)
                ),
            )
        })
    }

    /// One more than the highest id: the rows an embedding needs.
    #[getter]
    fn vocab_size(&self) -> usize {
        self.core.vocab_size()
    }

    /// The id of each special token by its text.
    #[getter]
    fn special_tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let out = PyDict::new(py);
        for special in self.core.specials() {
            out.set_item(&special.content, special.id)?;
        }
        Ok(out)
    }

    /// The name of the pattern, or its regular expressions one after the other.
    #[getter]
    fn pattern(&self) -> String {
        let pattern = self.core.pattern();
        pattern.name().map_or_else(|| pattern.regexes().join("\n"), str::to_owned)
    }
}
