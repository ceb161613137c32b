//! The binding of `gristlm-cleaning`.

use std::collections::BTreeMap;

use gristlm_cleaning::rules::Rule;
use gristlm_cleaning::{Error, clean, html, identify, total_changes};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

use crate::errors::{ErrorClass, error};
use crate::texts::Texts;
use crate::threads;

fn raise(failure: Error) -> PyErr {
    let class = match failure {
        Error::TooLarge { .. }
        | Error::TooManyNodes { .. }
        | Error::TooManyAttributes
        | Error::Interrupted
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

/// texts, keep, reasons, changes.
type CleanParts<'py> = (Vec<String>, Bound<'py, PyArray1<bool>>, Vec<Option<String>>, BTreeMap<&'static str, u64>);

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
    let (texts, keep, reasons, changes) = threads::run(py, num_threads, progress.as_ref(), |step| {
        let cleaned = clean(&texts.as_slices(), &rules, step)?;
        let changes = total_changes(&cleaned);
        let keep: Vec<bool> = cleaned.iter().map(|c| c.dropped.is_none()).collect();
        let reasons: Vec<Option<String>> =
            cleaned.iter().map(|c| c.dropped.as_ref().map(ToString::to_string)).collect();
        Ok((cleaned.into_iter().map(|c| c.text.into_owned()).collect(), keep, reasons, changes))
    })?
    .map_err(raise)?;
    Ok((texts, keep.into_pyarray(py), reasons, changes))
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

/// Adds this file's classes and functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(extract_page, module)?)?;
    module.add_function(wrap_pyfunction!(clean_texts, module)?)?;
    module.add_function(wrap_pyfunction!(identify_languages, module)?)
}
