//! `ChatShape` and `prepare_chats`: conversations of a few shapes as ids with a loss mask.

use gristlm_bpe::chat::{self, Guard, Part, Piece, Said, Shape, Side, Strip, Test};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use super::state::TokenizerState;
use super::{raise, threads};
use crate::errors::{ErrorClass, error};
use crate::texts::Texts;

/// A message's number and its trimmings: side ("left", "right", "both") and characters.
type SaidArgument = (usize, Vec<(String, Option<String>)>);
/// Special id or none, parts (a text, or what a message says), whether it is a target.
type PieceArgument = (Option<u32>, Vec<PartArgument>, bool);
/// Ids, targets, offsets, held.
type Arrays<'py> =
    (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<bool>>, Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<bool>>);

#[derive(FromPyObject)]
enum PartArgument {
    Literal(String),
    Said(SaidArgument),
}

/// What a chat template writes for messages of given roles.
#[pyclass(frozen, module = "gristlm._core")]
pub struct ChatShape(Shape);

#[pymethods]
impl ChatShape {
    /// `guards`: what is tested, how ("equals", "contains", "starts", "ends"), against what.
    #[new]
    fn new(
        num_messages: usize,
        pieces: Vec<PieceArgument>,
        guards: Vec<(SaidArgument, String, String)>,
    ) -> PyResult<Self> {
        let piece = |(special, parts, target): PieceArgument| {
            let parts = parts.into_iter().map(|part| match part {
                PartArgument::Literal(text) => Ok(Part::Literal(text)),
                PartArgument::Said(one) => said(one).map(Part::Said),
            });
            Ok(Piece { special, parts: parts.collect::<PyResult<_>>()?, target })
        };
        let guard = |(one, test, text): (SaidArgument, String, String)| {
            let test = match test.as_str() {
                "equals" => Test::Equals,
                "contains" => Test::Contains,
                "starts" => Test::StartsWith,
                "ends" => Test::EndsWith,
                _ => return Err(unknown("test", &test)),
            };
            Ok(Guard { said: said(one)?, test, text })
        };
        Ok(Self(Shape {
            num_messages,
            pieces: pieces.into_iter().map(piece).collect::<PyResult<_>>()?,
            guards: guards.into_iter().map(guard).collect::<PyResult<_>>()?,
        }))
    }
}

fn said((message, strips): SaidArgument) -> PyResult<Said> {
    let strip = |(side, chars): (String, Option<String>)| {
        let side = match side.as_str() {
            "left" => Side::Left,
            "right" => Side::Right,
            "both" => Side::Both,
            _ => return Err(unknown("side", &side)),
        };
        Ok(Strip { side, chars })
    };
    Ok(Said { message, strips: strips.into_iter().map(strip).collect::<PyResult<_>>()? })
}

fn unknown(what: &str, given: &str) -> PyErr {
    error(ErrorClass::Input, format!("{what} {given:?} is unknown"))
}

/// Ids, targets, offsets and whether each conversation's shape held.
#[pyfunction]
#[pyo3(signature = (state, shapes, which, texts, num_threads=None))]
pub fn prepare_chats<'py>(
    py: Python<'py>,
    state: &TokenizerState,
    shapes: Vec<PyRef<'py, ChatShape>>,
    which: PyReadonlyArray1<'py, u32>,
    texts: Texts,
    num_threads: Option<usize>,
) -> PyResult<Arrays<'py>> {
    let num_threads = threads(num_threads)?;
    let (shapes, which) = (shapes.iter().map(|shape| &shape.0).collect::<Vec<_>>(), which.as_array().to_vec());
    let (core, texts) = (&state.core, texts.as_slices());
    let mut chats = py.detach(|| chat::prepare(core, &shapes, &which, &texts, num_threads)).map_err(raise)?;
    chats.ends.insert(0, 0);
    Ok((
        chats.ids.into_pyarray(py),
        chats.targets.into_pyarray(py),
        chats.ends.into_pyarray(py),
        chats.held.into_pyarray(py),
    ))
}
