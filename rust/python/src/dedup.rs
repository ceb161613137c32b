//! The binding of `gristlm-dedup`.

use std::path::PathBuf;

use gristlm_dedup::{
    Error, Length, MinHash, PARTITIONS, Room, SHARD, Span, Step, Unit, by_id, contamination, cut, exact_in_order,
    group_partitions, near_duplicates, sign_shard, signatures, substrings,
};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};
use crate::mapped::{into_numpy, view};
use crate::texts::Texts;
use crate::threads;

fn raise(failure: Error) -> PyErr {
    let class = match failure {
        Error::UnknownUnit { .. }
        | Error::Zero { .. }
        | Error::BandsBeyondSignature { .. }
        | Error::TooMany { .. }
        | Error::Threshold { .. }
        | Error::Ids { .. }
        | Error::Order { .. }
        | Error::Positions { .. }
        | Error::Partitions { .. }
        | Error::TooManyTexts { .. }
        | Error::TooMuchText { .. }
        | Error::Interrupted
        | Error::BadSpan { .. } => ErrorClass::Input,
        Error::Damaged { .. } => ErrorClass::Damaged,
        Error::Storage { .. } => ErrorClass::Storage,
    };
    error(class, failure)
}

/// What every bulk call takes: threads, progress, memory in bytes, a folder for what does not fit.
#[derive(FromPyObject)]
struct How {
    #[pyo3(item(0))]
    num_threads: Option<usize>,
    #[pyo3(item(1))]
    progress: Option<Py<PyAny>>,
    #[pyo3(item(2))]
    memory: Option<u64>,
    #[pyo3(item(3))]
    folder: Option<PathBuf>,
}

impl How {
    fn run<T: Send>(&self, py: Python<'_>, work: impl FnOnce(Room<'_>) -> Result<T, Error> + Send) -> PyResult<T> {
        let (memory, folder) = (self.memory, self.folder.as_deref());
        threads::run(py, self.num_threads, self.progress.as_ref(), |step: Step<'_>| {
            work(Room { memory, folder, step })
        })?
        .map_err(raise)
    }
}

/// An int64[rows, width] array from its rows.
fn table<'py, const WIDTH: usize>(
    py: Python<'py>,
    rows: impl ExactSizeIterator<Item = [i64; WIDTH]>,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let count = rows.len();
    let flat: Vec<i64> = rows.flatten().collect();
    flat.into_pyarray(py).reshape([count, WIDTH])
}

fn span_table<'py>(py: Python<'py>, spans: &[Span]) -> PyResult<Bound<'py, PyArray2<i64>>> {
    table(py, spans.iter().map(|span| [span.document, span.start, span.end]))
}

/// keep, cluster, spans.
type ExactParts<'py> = (Bound<'py, PyArray1<bool>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray2<i64>>);

/// Returns which texts stay, the text that stands for each, and the units that stood before.
#[pyfunction]
#[pyo3(signature = (texts, order, unit, how))]
fn dedup_exact<'py>(
    py: Python<'py>,
    texts: Texts,
    order: Option<PyReadonlyArray1<'_, i64>>,
    unit: &str,
    how: How,
) -> PyResult<ExactParts<'py>> {
    let unit: Unit = unit.parse().map_err(raise)?;
    let order = order.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
    let found = how.run(py, |room| exact_in_order(&texts, order, unit, room))?;
    let count = found.spans.len();
    let spans = view(py, found.spans, Span::numbers)?.reshape([count, 3])?;
    Ok((into_numpy(py, found.keep)?, into_numpy(py, found.cluster)?, spans))
}

/// keep, cluster, twin, similarity.
type NearParts<'py> =
    (Bound<'py, PyArray1<bool>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);

/// Returns which texts stay, and the verified twin of each other one.
#[pyfunction]
#[pyo3(signature = (texts, order, num_perm, bands, rows, ngram, threshold, seed, how))]
#[expect(clippy::too_many_arguments, reason = "each is a keyword of dedup.minhash")]
fn dedup_minhash<'py>(
    py: Python<'py>,
    texts: Texts,
    order: Option<PyReadonlyArray1<'_, i64>>,
    num_perm: usize,
    bands: usize,
    rows: usize,
    ngram: usize,
    threshold: f64,
    seed: u64,
    how: How,
) -> PyResult<NearParts<'py>> {
    let options = MinHash { num_perm, bands, rows, ngram, threshold, seed };
    let order = order.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
    let found = how.run(py, |room| near_duplicates(&texts, order, &options, room))?;
    Ok((
        into_numpy(py, found.keep)?,
        into_numpy(py, found.cluster)?,
        into_numpy(py, found.twin)?,
        into_numpy(py, found.similarity)?,
    ))
}

/// Signs one shard of a corpus into a folder.
#[pyfunction]
#[pyo3(signature = (texts, positions, number, folder, bands, rows, ngram, seed, how))]
#[expect(clippy::too_many_arguments, reason = "each is a keyword of dedup.sign_shard")]
fn dedup_sign_shard(
    py: Python<'_>,
    texts: Texts,
    positions: PyReadonlyArray1<'_, i64>,
    number: usize,
    folder: PathBuf,
    bands: usize,
    rows: usize,
    ngram: usize,
    seed: u64,
    how: How,
) -> PyResult<()> {
    let options = banded(bands, rows, ngram, seed);
    let positions = positions.as_slice()?;
    how.run(py, |room| sign_shard(&texts.as_slices(), positions, number, &folder, &options, room))
}

/// Finds the groups of some partitions of what was signed.
#[pyfunction]
#[pyo3(signature = (first, end, shards, folder, bands, rows, ngram, seed, how))]
#[expect(clippy::too_many_arguments, reason = "each is a keyword of dedup.group_partitions")]
fn dedup_group_partitions(
    py: Python<'_>,
    first: usize,
    end: usize,
    shards: usize,
    folder: PathBuf,
    bands: usize,
    rows: usize,
    ngram: usize,
    seed: u64,
    how: How,
) -> PyResult<()> {
    let options = banded(bands, rows, ngram, seed);
    how.run(py, |room| group_partitions(first..end, shards, &folder, &options, room))
}

/// What signing alone depends on.
fn banded(bands: usize, rows: usize, ngram: usize, seed: u64) -> MinHash {
    MinHash { num_perm: bands.saturating_mul(rows), bands, rows, ngram, threshold: 1.0, seed }
}

/// Returns uint32[N, num_perm].
#[pyfunction]
#[pyo3(signature = (texts, num_perm, ngram, seed, how))]
fn dedup_signatures<'py>(
    py: Python<'py>,
    texts: Texts,
    num_perm: usize,
    ngram: usize,
    seed: u64,
    how: How,
) -> PyResult<Bound<'py, PyArray2<u32>>> {
    let (count, flat) = how.run(py, |room| {
        let texts = texts.as_slices();
        Ok((texts.len(), signatures(&texts, num_perm, ngram, seed, room)?))
    })?;
    flat.into_pyarray(py).reshape([count, num_perm])
}

/// Returns the repeated spans.
#[pyfunction]
#[pyo3(signature = (texts, order, min_bytes, min_tokens, how))]
fn dedup_substrings<'py>(
    py: Python<'py>,
    texts: Texts,
    order: Option<PyReadonlyArray1<'_, i64>>,
    min_bytes: usize,
    min_tokens: Option<usize>,
    how: How,
) -> PyResult<Bound<'py, PyArray2<i64>>> {
    let length = min_tokens.map_or(Length::Bytes(min_bytes), Length::Tokens);
    let order = order.as_ref().map(PyReadonlyArray1::as_slice).transpose()?;
    let spans = how.run(py, |room| substrings(&texts, order, length, room))?;
    span_table(py, &spans)
}

/// overlap, hits, too_short.
type ContaminationParts<'py> = (Bound<'py, PyArray1<f32>>, Bound<'py, PyArray2<i64>>, Bound<'py, PyArray1<i64>>);

/// Returns what the texts share with evaluation texts.
#[pyfunction]
#[pyo3(signature = (texts, against, ngram, how))]
fn dedup_contamination<'py>(
    py: Python<'py>,
    texts: Texts,
    against: Texts,
    ngram: usize,
    how: How,
) -> PyResult<ContaminationParts<'py>> {
    let found = how.run(py, |room| contamination(&texts.as_slices(), &against.as_slices(), ngram, room))?;
    let hits = table(py, found.hits.iter().map(|hit| [hit.document, hit.start, hit.end, hit.against]))?;
    Ok((found.overlap.into_pyarray(py), hits, found.too_short.into_pyarray(py)))
}

/// order, repeats.
type ByIdParts<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

/// Returns the documents in the order of their ids, and which of them have the id of the one before.
#[pyfunction]
#[pyo3(signature = (ids, texts, how))]
fn dedup_by_id<'py>(py: Python<'py>, ids: Texts, texts: Texts, how: How) -> PyResult<ByIdParts<'py>> {
    let found = how.run(py, |room| by_id(&ids, &texts, room))?;
    Ok((into_numpy(py, found.order)?, into_numpy(py, found.repeats)?))
}

/// Returns the texts without the spans.
#[pyfunction]
#[pyo3(signature = (texts, spans, how))]
fn cut_spans(py: Python<'_>, texts: Texts, spans: PyReadonlyArray2<'_, i64>, how: How) -> PyResult<Vec<String>> {
    let rows = spans.as_array();
    if rows.ncols() != 3 {
        return Err(error(
            ErrorClass::Input,
            format!("spans has {} columns; give (document, start, end)", rows.ncols()),
        ));
    }
    let spans: Vec<Span> =
        rows.rows().into_iter().map(|row| Span { document: row[0], start: row[1], end: row[2] }).collect();
    how.run(py, |_| cut(&texts.as_slices(), &spans))
}

/// Adds this file's classes and functions to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(dedup_by_id, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_exact, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_minhash, module)?)?;
    module.add("DEDUP_SHARD_TEXTS", SHARD)?;
    module.add("DEDUP_PARTITIONS", PARTITIONS)?;
    module.add_function(wrap_pyfunction!(dedup_sign_shard, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_group_partitions, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_signatures, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_substrings, module)?)?;
    module.add_function(wrap_pyfunction!(dedup_contamination, module)?)?;
    module.add_function(wrap_pyfunction!(cut_spans, module)?)
}
