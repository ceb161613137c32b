//! Ids that Python gives, in whatever it holds them.

use numpy::PyReadonlyArray1;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::errors::{ErrorClass, error};

/// Ids from a list, a numpy array or any other iterable of integers.
pub fn ids_of(ids: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
    if let Ok(array) = ids.extract::<PyReadonlyArray1<'_, u32>>() {
        return Ok(array.as_slice().map_or_else(|_| array.as_array().to_vec(), <[u32]>::to_vec));
    }
    if let Ok(list) = ids.cast::<PyList>() {
        return of_list(list);
    }
    let ids = if ids.hasattr("tolist")? { ids.call_method0("tolist")? } else { ids.clone() };
    ids.try_iter()?.map(|id| one(&id?)).collect()
}

fn one(id: &Bound<'_, PyAny>) -> PyResult<u32> {
    id.extract().map_err(|_| {
        error(ErrorClass::Input, format!("ids holds {id}, which is not an id: ids are integers from 0 on"))
    })
}

/// The ids of a list; an item that is an `int` and nothing else is read where it stands, without counting a reference to it.
fn of_list(list: &Bound<'_, PyList>) -> PyResult<Vec<u32>> {
    let mut out = Vec::with_capacity(list.len());
    while out.len() < list.len() {
        // SAFETY: the thread is attached, and the place is within the list, so the call returns an item that the list owns. Reading the value of an
        // exact `int` runs no Python code, so nothing can take it out of the list meanwhile.
        let number = unsafe {
            let item = ffi::PyList_GetItem(list.as_ptr(), out.len() as ffi::Py_ssize_t);
            if !item.is_null() && ffi::PyLong_CheckExact(item) != 0 { ffi::PyLong_AsLong(item) } else { -1 }
        };
        match u32::try_from(number) {
            Ok(id) => out.push(id),
            // Not an exact `int`, or none that is an id: a number too large leaves an exception behind, which this takes.
            Err(_) => {
                drop(PyErr::take(list.py()));
                out.push(one(&list.get_item(out.len())?)?);
            }
        }
    }
    Ok(out)
}
