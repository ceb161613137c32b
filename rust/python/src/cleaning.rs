//! The binding of `gristlm-cleaning`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use gristlm_cleaning::rules::Rule;
use gristlm_cleaning::{Error, clean, count_words, fasttext, gzip, html, identify, total_changes, type_token};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

use crate::errors::{ErrorClass, error};
use crate::texts::Texts;
use crate::threads;

fn raise(failure: Error) -> PyErr {
    let class = match failure {
        Error::Gzip { .. } => ErrorClass::Format,
        Error::TooLarge { .. }
        | Error::TooManyNodes { .. }
        | Error::TooManyAttributes
        | Error::Interrupted
        | Error::Model { .. }
        | Error::UnknownRule { .. }
        | Error::UnknownThreshold { .. }
        | Error::BadThreshold { .. } => ErrorClass::Input,
    };
    error(class, failure)
}

#[derive(FromPyObject)]
enum Html {
    Text(PyBackedStr),
    Bytes(PyBackedBytes),
}

/// text, markdown, title, author, date, language, url, licence.
type PageParts =
    (String, String, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);

/// Returns the parts of the main content of a page, or None.
#[pyfunction]
#[pyo3(signature = (html, url, max_bytes))]
fn extract_page(py: Python<'_>, html: Html, url: Option<String>, max_bytes: usize) -> PyResult<Option<PageParts>> {
    let page = py.detach(|| match &html {
        Html::Text(text) => html::extract_str(text, url.as_deref(), max_bytes),
        Html::Bytes(bytes) => html::extract(bytes, url.as_deref(), max_bytes),
    });
    Ok(page.map_err(raise)?.map(|page| {
        let about = page.metadata;
        (page.text, page.markdown, about.title, about.author, about.date, about.language, about.url, about.licence)
    }))
}

/// rule, measure, value, threshold, limit.
type DropParts = (&'static str, &'static str, f64, &'static str, f64);

/// texts, keep, reasons, changes, drops.
type CleanParts<'py> =
    (Vec<String>, Bound<'py, PyArray1<bool>>, Vec<Option<String>>, BTreeMap<&'static str, u64>, Vec<Option<DropParts>>);

/// Returns the texts after `rules`, which stay, why not, and what was changed how often.
#[pyfunction]
#[pyo3(signature = (texts, rules, num_threads, progress))]
fn clean_texts<'py>(
    py: Python<'py>,
    texts: Texts,
    rules: Vec<(String, Vec<(String, f64)>)>,
    num_threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<CleanParts<'py>> {
    let rules =
        rules.iter().map(|(name, given)| Rule::new(name, given)).collect::<Result<Vec<_>, _>>().map_err(raise)?;
    let (texts, keep, reasons, changes, drops) = threads::run(py, num_threads, progress.as_ref(), |step| {
        let cleaned = clean(&texts.as_slices(), &rules, step)?;
        let changes = total_changes(&cleaned);
        let keep: Vec<bool> = cleaned.iter().map(|c| c.dropped.is_none()).collect();
        let reasons: Vec<Option<String>> =
            cleaned.iter().map(|c| c.dropped.as_ref().map(ToString::to_string)).collect();
        let drops: Vec<Option<DropParts>> = cleaned
            .iter()
            .map(|c| c.dropped.as_ref().map(|d| (d.rule, d.measure, d.value, d.threshold, d.limit)))
            .collect();
        Ok((cleaned.into_iter().map(|c| c.text.into_owned()).collect(), keep, reasons, changes, drops))
    })?
    .map_err(raise)?;
    Ok((texts, keep.into_pyarray(py), reasons, changes, drops))
}

/// Returns the BCP 47 tag and the confidence of each text.
#[pyfunction]
#[pyo3(signature = (texts, num_threads, progress))]
fn identify_languages<'py>(
    py: Python<'py>,
    texts: Texts,
    num_threads: Option<usize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(Vec<&'static str>, Bound<'py, PyArray1<f32>>)> {
    let found =
        threads::run(py, num_threads, progress.as_ref(), |step| identify(&texts.as_slices(), step))?.map_err(raise)?;
    let (tags, confidences): (Vec<_>, Vec<_>) = found.into_iter().map(|l| (l.tag, l.confidence)).unzip();
    Ok((tags, confidences.into_pyarray(py)))
}

/// Returns how many bytes of UTF-8 a text has; they stay with it, for who needs them later.
#[pyfunction]
fn utf8_bytes(text: PyBackedStr) -> usize {
    text.len()
}

/// Returns how many words each text has.
#[pyfunction(name = "count_words")]
#[pyo3(signature = (texts))]
fn word_counts(py: Python<'_>, texts: Texts) -> Bound<'_, PyArray1<i64>> {
    py.detach(|| count_words(&texts.as_slices())).into_pyarray(py)
}

/// Returns words read and distinct ones among them, at powers of two.
#[pyfunction]
#[pyo3(signature = (texts, most))]
fn type_token_curve(py: Python<'_>, texts: Texts, most: u64) -> Vec<(u64, u64)> {
    py.detach(|| type_token(&texts.as_slices(), most))
}

/// content, whether it needs data to go on, what follows the member once that has ended.
type MemberParts<'py> = (Bound<'py, PyBytes>, bool, Option<Bound<'py, PyBytes>>);

/// A member of a gzip stream, in the making; taken out by the call that works on it.
#[pyclass(frozen, module = "gristlm._core")]
struct GzipMember(Mutex<Option<gzip::Member<PyBackedBytes>>>);

#[pymethods]
impl GzipMember {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Some(gzip::Member::default())))
    }

    /// Returns at most `most` more bytes, and how it goes on.
    fn unpack<'py>(&self, py: Python<'py>, data: PyBackedBytes, most: usize) -> PyResult<MemberParts<'py>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut member = lock().take().ok_or_else(|| error(ErrorClass::Input, "another call unpacks this member"))?;
        let content = py.detach(|| member.unpack(data, most)).map(|content| PyBytes::new(py, content));
        let (wants_data, after) = (member.wants_data(), member.after().map(|rest| PyBytes::new(py, rest)));
        *lock() = Some(member);
        Ok((content.map_err(raise)?, wants_data, after))
    }
}

/// A supervised fastText model.
#[pyclass(frozen, module = "gristlm._core")]
struct TextClassifier {
    model: fasttext::Model,
}

#[pymethods]
impl TextClassifier {
    /// Reads a model file.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self { model: py.detach(|| fasttext::Model::load(&path)).map_err(raise)? })
    }

    /// Trains on texts of several labels.
    #[staticmethod]
    #[pyo3(signature = (texts, how, progress))]
    fn train(
        py: Python<'_>,
        texts: Vec<(String, Texts)>,
        how: (usize, usize, f32, usize, usize, usize, u64),
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let (dim, epochs, learning_rate, word_ngrams, buckets, max_words, seed) = how;
        let how = fasttext::Training { dim, epochs, learning_rate, word_ngrams, buckets, max_words, seed };
        let (labels, texts): (Vec<String>, Vec<Texts>) = texts.into_iter().unzip();
        let model = threads::run(py, Some(1), progress.as_ref(), |step| {
            let slices: Vec<Vec<&str>> = texts.iter().map(Texts::as_slices).collect();
            let all: Vec<(&str, usize)> = slices
                .iter()
                .enumerate()
                .flat_map(|(label, texts)| texts.iter().map(move |text| (*text, label)))
                .collect();
            fasttext::train(&all, &labels, &how, step)
        })?
        .map_err(raise)?;
        Ok(Self { model })
    }

    /// The labels, in the model's order.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.model.labels().to_vec()
    }

    /// Returns float32[N], the probability of label number `label`.
    #[pyo3(signature = (texts, label, num_threads, progress))]
    fn score<'py>(
        &self,
        py: Python<'py>,
        texts: Texts,
        label: usize,
        num_threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let found = threads::run(py, num_threads, progress.as_ref(), |step| {
            fasttext::score(&self.model, &texts.as_slices(), label, step)
        })?
        .map_err(raise)?;
        Ok(found.into_pyarray(py))
    }

    /// Returns the content of a model file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::new();
        py.detach(|| self.model.write(&mut out)).map_err(|e| error(ErrorClass::Input, e))?;
        Ok(PyBytes::new(py, &out))
    }
}

/// Adds this file's classes and functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<GzipMember>()?;
    module.add_class::<TextClassifier>()?;
    module.add_function(wrap_pyfunction!(extract_page, module)?)?;
    module.add_function(wrap_pyfunction!(clean_texts, module)?)?;
    module.add_function(wrap_pyfunction!(utf8_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(word_counts, module)?)?;
    module.add_function(wrap_pyfunction!(type_token_curve, module)?)?;
    module.add_function(wrap_pyfunction!(identify_languages, module)?)
}
