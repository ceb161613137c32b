//! The binding of `gristlm-generation`.

use gristlm_generation::matrix::Matrix;
use gristlm_generation::{Decoder as CoreDecoder, GenerationError, Layer, Shape, Step};
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray4, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};

/// Adds this file's class to `_core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Decoder>()?;
    module.add_function(wrap_pyfunction!(likeliest, module)?)
}

fn raise(failure: GenerationError) -> PyErr {
    let class = match failure {
        GenerationError::Size { .. } | GenerationError::Full { .. } => ErrorClass::Input,
        GenerationError::Threads(_) => ErrorClass::Storage,
    };
    error(class, failure)
}

/// The likeliest token of each row and the logarithm of the sum of exponentials.
type Likeliest<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>);

#[pyfunction]
fn likeliest<'py>(py: Python<'py>, logits: Rows<'py>) -> PyResult<Likeliest<'py>> {
    let (numbers, columns) = (logits.as_slice()?, logits.shape()[1]);
    let (ids, sums) = py.detach(|| gristlm_generation::likeliest(numbers, columns));
    Ok((numpy::IntoPyArray::into_pyarray(ids, py), numpy::IntoPyArray::into_pyarray(sums, py)))
}

type Rows<'py> = PyReadonlyArray2<'py, f32>;
type Numbers<'py> = PyReadonlyArray1<'py, f32>;
/// qkv, its bias, out, gate above up, down, the two norms, the norms of queries and keys.
type Weights<'py> =
    (Rows<'py>, Option<Numbers<'py>>, Rows<'py>, Rows<'py>, Rows<'py>, Numbers<'py>, Numbers<'py>, Option<Rows<'py>>);

fn matrix(weight: &Rows<'_>, bias: Option<&Numbers<'_>>) -> PyResult<Matrix> {
    let bias = bias.map(|bias| bias.as_slice()).transpose()?;
    Matrix::new(weight.as_slice()?, weight.shape()[0], weight.shape()[1], bias).map_err(raise)
}

/// One step of generation.
#[pyclass(frozen, module = "gristlm._core")]
struct Decoder(CoreDecoder);

#[pymethods]
impl Decoder {
    #[new]
    #[pyo3(signature = (*, num_heads, num_kv_heads, head_dim, norm_eps, windows, layers, norm, head, num_threads))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one constructor")]
    fn new(
        num_heads: usize,
        num_kv_heads: usize,
        head_dim: usize,
        norm_eps: f32,
        windows: Vec<Option<usize>>,
        layers: Vec<Weights<'_>>,
        norm: Numbers<'_>,
        head: Rows<'_>,
        num_threads: usize,
    ) -> PyResult<Self> {
        let shape = Shape { num_heads, num_kv_heads, head_dim, norm_eps, windows };
        let layers = layers
            .iter()
            .map(|(qkv, bias, out, gate_up, down, before_attention, before_mlp, qk_norm)| {
                Ok(Layer {
                    qkv: matrix(qkv, bias.as_ref())?,
                    out: matrix(out, None)?,
                    gate_up: matrix(gate_up, None)?,
                    down: matrix(down, None)?,
                    before_attention: before_attention.as_slice()?.to_vec(),
                    before_mlp: before_mlp.as_slice()?.to_vec(),
                    qk_norm: qk_norm.as_ref().map(|norm| norm.as_slice().map(<[f32]>::to_vec)).transpose()?,
                })
            })
            .collect::<PyResult<_>>()?;
        CoreDecoder::new(shape, layers, norm.as_slice()?.to_vec(), matrix(&head, None)?, num_threads)
            .map(Self)
            .map_err(raise)
    }

    #[expect(clippy::too_many_arguments, reason = "the arrays of one step")]
    fn step<'py>(
        &self,
        py: Python<'py>,
        x: Rows<'py>,
        cos: Rows<'py>,
        sin: Rows<'py>,
        rows: Vec<usize>,
        positions: Vec<usize>,
        wanted: Vec<usize>,
        mut keys: Vec<PyReadwriteArray4<'py, f32>>,
        mut values: Vec<PyReadwriteArray4<'py, f32>>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let capacity = keys.first().map_or(0, |cache| cache.shape()[2]);
        let (x, cos, sin) = (x.as_slice()?, cos.as_slice()?, sin.as_slice()?);
        let step = Step { x, cos, sin, rows: &rows, positions: &positions, capacity };
        let mut keys = keys.iter_mut().map(|cache| cache.as_slice_mut()).collect::<Result<Vec<_>, _>>()?;
        let mut values = values.iter_mut().map(|cache| cache.as_slice_mut()).collect::<Result<Vec<_>, _>>()?;
        let logits = py.detach(|| self.0.step(&step, &wanted, &mut keys, &mut values)).map_err(raise)?;
        let columns = logits.len() / wanted.len().max(1);
        numpy::IntoPyArray::into_pyarray(logits, py).reshape([wanted.len(), columns])
    }
}
