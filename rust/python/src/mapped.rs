//! The binding of `gristlm-mapped`.

use std::any::Any;
use std::path::PathBuf;

use gristlm_mapped as mapped;
use gristlm_mapped::Array;
use numpy::PyArray1;
use numpy::ndarray::ArrayView1;
use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};

/// A file that is read through memory; it is not kept open.
#[pyclass(frozen, module = "gristlm._core")]
struct MappedFile(mapped::MappedFile);

#[pymethods]
impl MappedFile {
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        let no = |why| error(ErrorClass::Storage, format!("cannot read {}: {why}", path.display()));
        mapped::MappedFile::open(&path).map(Self).map_err(no)
    }

    /// Where its first byte is, as long as this object lives.
    #[getter]
    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// What a numpy array lies in.
#[pyclass(frozen)]
struct Owner(#[expect(dead_code, reason = "it is kept, not looked at")] Box<dyn Any + Send + Sync>);

/// Hands an array over to numpy, without a copy.
pub fn into_numpy<T: mapped::Element + numpy::Element>(
    py: Python<'_>,
    array: Array<T>,
) -> PyResult<Bound<'_, PyArray1<T>>> {
    view(py, array, |array| array)
}

/// Hands the numbers that `array` is made of over to numpy, without a copy.
pub fn view<T: mapped::Element, N: numpy::Element>(
    py: Python<'_>,
    array: Array<T>,
    numbers: fn(&[T]) -> &[N],
) -> PyResult<Bound<'_, PyArray1<N>>> {
    let array = Box::new(array);
    let (start, length) = {
        let numbers = numbers(&array);
        (numbers.as_ptr(), numbers.len())
    };
    let owner = Bound::new(py, Owner(array))?.into_any();
    // SAFETY: the elements neither move nor go as long as their owner lives, which numpy sees to, and nobody else has them.
    Ok(unsafe { PyArray1::borrow_from_array(&ArrayView1::from_shape_ptr(length, start), owner) })
}

/// Returns an array of `length` zeros, in a file in `folder` that has no name, if it is long.
#[pyfunction]
fn mapped_array<'py>(py: Python<'py>, folder: PathBuf, length: usize, dtype: &str) -> PyResult<Bound<'py, PyAny>> {
    let no = |why| error(ErrorClass::Storage, format!("cannot write {}: {why}", folder.display()));
    let place = Some(folder.as_path());
    Ok(match dtype {
        "bool" => into_numpy(py, Array::new(place, length, |_| false).map_err(no)?)?.into_any(),
        "int32" => into_numpy(py, Array::new(place, length, |_| 0_i32).map_err(no)?)?.into_any(),
        "int64" => into_numpy(py, Array::new(place, length, |_| 0_i64).map_err(no)?)?.into_any(),
        "float64" => into_numpy(py, Array::new(place, length, |_| 0_f64).map_err(no)?)?.into_any(),
        _ => return Err(error(ErrorClass::Input, format!("dtype is {dtype:?}; give bool, int32, int64 or float64"))),
    })
}

/// Gives the pages of all mapped files and arrays back to the system.
#[pyfunction]
fn let_go(py: Python<'_>) {
    py.detach(mapped::let_go);
}

/// Adds this file's classes and functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<MappedFile>()?;
    module.add_function(wrap_pyfunction!(mapped_array, module)?)?;
    module.add_function(wrap_pyfunction!(let_go, module)?)
}
