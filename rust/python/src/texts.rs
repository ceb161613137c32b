//! Text on its way in: `list[str]` or any Arrow string array (PyCapsule interface), borrowed, never copied.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use gristlm_dedup::Corpus;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyString};
use pyo3_arrow::input::AnyArray;

use crate::errors::{ErrorClass, error};

/// The texts of one bulk call. [`Texts::as_slices`] lends them out as `&str`.
pub enum Texts {
    /// From a Python sequence of `str`.
    List(Vec<PyBackedStr>),
    /// From Arrow: the chunks of a `string`, `large_string` or `string_view` column, and the number of the first text of
    /// each.
    Arrow(Vec<ArrayRef>, Vec<usize>),
}

impl Corpus for Texts {
    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Arrow(chunks, starts) => starts.last().map_or(0, |start| start + chunks[chunks.len() - 1].len()),
        }
    }

    fn text(&self, number: usize) -> &str {
        let (chunks, starts) = match self {
            Self::List(list) => return &list[number],
            Self::Arrow(chunks, starts) => (chunks, starts),
        };
        let at = starts.partition_point(|start| *start <= number) - 1;
        let (chunk, row) = (&chunks[at], number - starts[at]);
        match chunk.data_type() {
            DataType::Utf8 => chunk.as_string::<i32>().value(row),
            DataType::LargeUtf8 => chunk.as_string::<i64>().value(row),
            _ => chunk.as_string_view().value(row),
        }
    }
}

impl Texts {
    /// Every text in order, borrowed from Python's or Arrow's own memory.
    pub fn as_slices(&self) -> Vec<&str> {
        match self {
            Self::List(list) => list.iter().map(|s| &**s).collect(),
            Self::Arrow(chunks, _) => {
                let mut out = Vec::with_capacity(chunks.iter().map(|c| c.len()).sum());
                for chunk in chunks {
                    match chunk.data_type() {
                        DataType::Utf8 => out.extend(chunk.as_string::<i32>().iter().flatten()),
                        DataType::LargeUtf8 => out.extend(chunk.as_string::<i64>().iter().flatten()),
                        _ => out.extend(chunk.as_string_view().iter().flatten()),
                    }
                }
                out
            }
        }
    }
}

fn from_arrow(array: AnyArray) -> PyResult<Texts> {
    let mut chunks = array.into_chunked_array()?.chunks().to_vec();
    chunks.retain(|chunk| !chunk.is_empty());
    let mut starts = Vec::with_capacity(chunks.len());
    let mut row = 0;
    for chunk in &chunks {
        if !matches!(chunk.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
            return Err(error(
                ErrorClass::Input,
                format!("texts is an Arrow array of {}; give string, large_string or string_view", chunk.data_type()),
            ));
        }
        if let Some(null) = chunk.logical_nulls().and_then(|n| n.iter().position(|valid| !valid)) {
            return Err(error(
                ErrorClass::Input,
                format!("texts: row {} is null; fill or drop nulls first", row + null),
            ));
        }
        starts.push(row);
        row += chunk.len();
    }
    Ok(Texts::Arrow(chunks, starts))
}

impl<'a, 'py> FromPyObject<'a, 'py> for Texts {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.hasattr("__arrow_c_array__")? || object.hasattr("__arrow_c_stream__")? {
            return from_arrow(object.extract::<AnyArray>()?);
        }
        if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
            return Err(error(
                ErrorClass::Input,
                "texts is one string; give a list of strings or an Arrow string array",
            ));
        }
        let mut list = Vec::new();
        for (row, item) in object.try_iter()?.enumerate() {
            let item = item?;
            let text = item.extract::<PyBackedStr>().map_err(|_| match item.cast::<PyString>() {
                Ok(_) => error(
                    ErrorClass::Input,
                    format!("texts: row {row} holds a lone surrogate, which is not valid Unicode text"),
                ),
                Err(_) => error(
                    ErrorClass::Input,
                    format!(
                        "texts: row {row} is {}; give str",
                        item.get_type().name().map_or_else(|_| "no str".into(), |n| n.to_string())
                    ),
                ),
            })?;
            list.push(text);
        }
        Ok(Self::List(list))
    }
}
