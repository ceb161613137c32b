//! The binding of `gristlm-packing`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristlm_packing::pool::Lease;
use gristlm_packing::windows::random_windows;
use gristlm_packing::writer::{Ids, TokenWriter as CoreWriter};
use gristlm_packing::{Geometry, Loader, PackingError, TokenStore as CoreStore};
use numpy::ndarray::{ArrayView, IntoDimension};
use numpy::{IntoPyArray, PyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};
use crate::texts::Texts;

/// A batch on its way out: input ids, labels, position ids, cu_seqlens, segments.
type Arrays<'py> = (
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray2<i64>>,
    Bound<'py, PyArray1<i32>>,
    Bound<'py, PyArray2<i64>>,
);

/// Adds this file's classes and functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TokenStore>()?;
    module.add_class::<TokenWriter>()?;
    module.add_class::<RowLoader>()
}

fn raise(failure: PackingError) -> PyErr {
    let class = match failure {
        PackingError::Input(_) => ErrorClass::Input,
        PackingError::Format { .. } => ErrorClass::Format,
        PackingError::Missing { .. } => ErrorClass::Missing,
        PackingError::Damaged { .. } => ErrorClass::Damaged,
        PackingError::Storage { .. } => ErrorClass::Storage,
    };
    error(class, failure)
}

/// Nothing behind these locks is left half changed by a panic: each call replaces whole values.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open dataset of token shards.
#[pyclass(frozen, module = "gristlm._core")]
struct TokenStore(Arc<CoreStore>);

#[pymethods]
impl TokenStore {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| CoreStore::open(&path)).map(|store| Self(Arc::new(store))).map_err(raise)
    }

    #[getter]
    fn num_sequences(&self) -> u64 {
        self.0.len()
    }

    #[getter]
    fn num_tokens(&self) -> u64 {
        self.0.num_tokens()
    }

    #[getter]
    fn vocab_size(&self) -> Option<u64> {
        self.0.vocab_size()
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.token_type().name()
    }

    #[getter]
    fn fingerprint(&self) -> String {
        format!("{:016x}", self.0.fingerprint())
    }

    #[getter]
    fn shard_paths(&self) -> Vec<PathBuf> {
        self.0.shards().iter().map(|shard| shard.path.clone()).collect()
    }

    /// Verifies `sequence` and says where it is: shard, first token, number of tokens.
    fn locate(&self, py: Python<'_>, sequence: u64) -> PyResult<(usize, usize, usize)> {
        let bytes = self.0.token_type().bytes();
        let (shard, local) = self.0.locate(sequence).map_err(raise)?;
        let length = py.detach(|| self.0.sequence(sequence)).map_err(raise)?.len();
        Ok((shard, self.0.shards()[shard].index.offset(local) / bytes, length / bytes))
    }

    fn document_id(&self, sequence: u64) -> PyResult<Option<String>> {
        self.0.document_id(sequence).map_err(raise)
    }

    fn lengths<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        py.detach(|| (0..self.0.len()).map(|sequence| self.0.length(sequence)).collect::<Vec<_>>()).into_pyarray(py)
    }

    fn max_id(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        py.detach(|| self.0.max_id()).map_err(raise)
    }

    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.verify()).map_err(raise)
    }

    fn random_windows<'py>(
        &self,
        py: Python<'py>,
        length: usize,
        batch_size: usize,
        seed: u64,
        step: u64,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let flat = py.detach(|| random_windows(&self.0, length, batch_size, seed, step)).map_err(raise)?;
        flat.into_pyarray(py).reshape([batch_size, length])
    }
}

/// Token ids of two or of four bytes.
#[derive(FromPyObject)]
enum IdArray<'py> {
    Narrow(PyReadonlyArray1<'py, u16>),
    Wide(PyReadonlyArray1<'py, u32>),
}

/// Writes a dataset of token shards.
#[pyclass(frozen, module = "gristlm._core")]
struct TokenWriter(Mutex<Option<CoreWriter>>);

impl TokenWriter {
    fn closed() -> PyErr {
        error(ErrorClass::Input, "the writer is closed; open another TokenDatasetWriter")
    }
}

#[pymethods]
impl TokenWriter {
    #[new]
    fn new(path: PathBuf, vocab_size: u64, shard_tokens: Option<u64>) -> PyResult<Self> {
        CoreWriter::create(&path, vocab_size, shard_tokens).map(|writer| Self(Mutex::new(Some(writer)))).map_err(raise)
    }

    fn append(
        &self,
        py: Python<'_>,
        ids: IdArray<'_>,
        offsets: PyReadonlyArray1<'_, i64>,
        document_ids: Option<Texts>,
    ) -> PyResult<()> {
        let ids = match &ids {
            IdArray::Narrow(ids) => Ids::Narrow(ids.as_slice()?),
            IdArray::Wide(ids) => Ids::Wide(ids.as_slice()?),
        };
        let offsets = offsets.as_slice()?;
        let document_ids = document_ids.as_ref().map(Texts::as_slices);
        py.detach(|| lock(&self.0).as_mut().map(|writer| writer.append(ids, offsets, document_ids.as_deref())))
            .ok_or_else(Self::closed)?
            .map_err(raise)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| lock(&self.0).take().map(CoreWriter::finish)).ok_or_else(Self::closed)?.map_err(raise)
    }

    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| lock(&self.0).take().map_or(Ok(()), CoreWriter::abort)).map_err(raise)
    }
}

/// Packed rows in order, made by a thread that runs ahead.
#[pyclass(frozen, module = "gristlm._core")]
struct RowLoader {
    loader: Mutex<Loader>,
    shape: [usize; 2],
}

#[pymethods]
impl RowLoader {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "they are the keyword arguments of PackedLoader")]
    fn new(
        py: Python<'_>,
        stores: Vec<PyRef<'_, TokenStore>>,
        epochs: Vec<Option<u64>>,
        phases: Vec<(u64, Vec<f64>)>,
        seq_len: u32,
        batch_size: u32,
        seed: u64,
        rank: u32,
        world_size: u32,
    ) -> PyResult<Self> {
        let sources: Vec<_> = stores.iter().map(|store| Arc::clone(&store.0)).zip(epochs).collect();
        let geometry = Geometry { seq_len, batch_size, rank, world_size };
        let loader = py.detach(|| Loader::new(sources, phases, geometry, seed)).map_err(raise)?;
        Ok(Self { loader: Mutex::new(loader), shape: [batch_size as usize, seq_len as usize] })
    }

    #[getter]
    fn step(&self) -> u64 {
        lock(&self.loader).step()
    }

    #[getter]
    fn num_steps(&self) -> u64 {
        lock(&self.loader).num_steps()
    }

    fn max_delay_rows(&self, source: usize) -> Option<u64> {
        lock(&self.loader).max_delay_rows(source)
    }

    fn seek(&self, step: u64) -> PyResult<()> {
        lock(&self.loader).seek(step).map_err(raise)
    }

    fn next_batch<'py>(&self, py: Python<'py>) -> PyResult<Option<Arrays<'py>>> {
        let batch = py.detach(|| lock(&self.loader).next_batch()).map_err(raise)?;
        batch.map(|lease| self.arrays(py, lease)).transpose()
    }

    fn batch<'py>(&self, py: Python<'py>, step: u64) -> PyResult<Arrays<'py>> {
        let lease = py.detach(|| lock(&self.loader).batch(step)).map_err(raise)?;
        self.arrays(py, lease)
    }
}

impl RowLoader {
    fn arrays<'py>(&self, py: Python<'py>, lease: Lease) -> PyResult<Arrays<'py>> {
        let held = Bound::new(py, HeldBatch(lease))?;
        let batch = held.get().0.batch();
        let segments = batch.segments.as_flattened();
        Ok((
            shared(&held, &batch.input_ids, self.shape)?,
            shared(&held, &batch.labels, self.shape)?,
            shared(&held, &batch.position_ids, self.shape)?,
            shared(&held, &batch.cu_seqlens, [batch.cu_seqlens.len()])?,
            shared(&held, segments, [segments.len() / 4, 4])?,
        ))
    }
}

/// What the arrays of a batch and all their views hold on to; with the last of them the memory is used again.
#[pyclass(frozen, module = "gristlm._core")]
struct HeldBatch(Lease);

/// An array of `values`, which belong to `held`.
fn shared<'py, T: numpy::Element, I: IntoDimension>(
    held: &Bound<'py, HeldBatch>,
    values: &[T],
    shape: I,
) -> PyResult<Bound<'py, PyArray<T, I::Dim>>> {
    let view = ArrayView::from_shape(shape.into_dimension(), values)
        .map_err(|mismatch| error(ErrorClass::Input, format!("a batch has another shape: {mismatch}")))?;
    // SAFETY: `values` are a part of `held`, which is never changed, moves no memory and outlives the array as its base.
    Ok(unsafe { PyArray::borrow_from_array(&view, held.clone().into_any()) })
}
