//! The binding of `gristlm_cleaning::rows`: columns of Arrow, whose strings need not be UTF-8.

use std::str::from_utf8;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, GenericStringArray, OffsetSizeTrait};
use arrow_schema::DataType;
use gristlm_cleaning::rows::{about, look};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use pyo3_arrow::PyArray;

use crate::errors::{ErrorClass, error};

/// A `string` or `large_string` array.
struct Strings(ArrayRef);

impl Strings {
    /// The bytes of each, none of a null.
    fn bytes(&self) -> Vec<&[u8]> {
        fn of<O: OffsetSizeTrait>(array: &GenericStringArray<O>) -> Vec<&[u8]> {
            let (values, ends) = (array.value_data(), array.value_offsets().windows(2));
            let bytes = |ends: &[O]| values.get(ends[0].as_usize()..ends[1].as_usize()).unwrap_or_default();
            ends.enumerate().map(|(row, ends)| if array.is_null(row) { &[] } else { bytes(ends) }).collect()
        }
        match self.0.data_type() {
            DataType::Utf8 => of(self.0.as_string::<i32>()),
            _ => of(self.0.as_string::<i64>()),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Strings {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let (array, _) = object.extract::<PyArray>()?.into_inner();
        match array.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => Ok(Self(array)),
            other => Err(error(ErrorClass::Input, format!("an Arrow array of {other}; give string or large_string"))),
        }
    }
}

/// The strings of a column beside the texts, empty where null or not UTF-8; none without that column.
fn told(column: Option<&Strings>) -> Vec<&str> {
    column.map_or_else(Vec::new, |all| all.bytes().into_iter().map(|one| from_utf8(one).unwrap_or_default()).collect())
}

/// Returns the title of each row, which rows have no text, and which hold the tag near their start.
#[pyfunction]
#[pyo3(signature = (texts, titles, max_chars, tag, near))]
fn look_at_rows<'py>(
    py: Python<'py>,
    texts: Strings,
    titles: Option<Strings>,
    max_chars: usize,
    tag: &str,
    near: usize,
) -> PyResult<(Bound<'py, PyList>, Vec<usize>, Vec<usize>)> {
    let found = py.detach(|| look(&texts.bytes(), &told(titles.as_ref()), max_chars, tag, near));
    Ok((PyList::new(py, found.titles)?, found.without, found.tagged))
}

/// Returns the JSON of what each row says about itself.
#[pyfunction]
#[pyo3(signature = (ids, urls))]
fn rows_about(py: Python<'_>, ids: Option<Strings>, urls: Option<Strings>) -> PyResult<Bound<'_, PyList>> {
    let (ids, urls) = (told(ids.as_ref()), told(urls.as_ref()));
    let mut out = String::new();
    let all = (0..ids.len().max(urls.len())).map(|row| {
        out.clear();
        about(&mut out, ids.get(row).unwrap_or(&""), urls.get(row).unwrap_or(&""));
        PyString::new(py, &out)
    });
    PyList::new(py, all)
}

/// Returns `before` with each of so many numbers after it.
#[pyfunction]
#[pyo3(signature = (before, first, count))]
fn numbered<'py>(py: Python<'py>, before: &str, first: u64, count: usize) -> PyResult<Bound<'py, PyList>> {
    let mut out = before.to_owned();
    let all = (0..count).map(|row| {
        out.truncate(before.len());
        out += (first + row as u64).to_string().as_str();
        PyString::new(py, &out)
    });
    PyList::new(py, all)
}

/// Adds this file's functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(look_at_rows, module)?)?;
    module.add_function(wrap_pyfunction!(numbered, module)?)?;
    module.add_function(wrap_pyfunction!(rows_about, module)?)
}
