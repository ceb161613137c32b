//! Linear classifiers over bags of words and word n-grams, in fastText's file format: reading (`.bin`, `.ftz`), the
//! probability of each label, training.
//!
//! Source: Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification", 2016b, "FastText.zip", and the
//! published file format, version 12. Departures: (1) a text is one line: its line ends are white space; (2)
//! probabilities are exact, where the published program adds 1e-5 and takes the sigmoid from a table.

mod features;
mod matrix;
mod read;
mod train;
mod write;

use rayon::prelude::*;

use crate::clean::Step;
use crate::error::Error;
use features::Dictionary;
use matrix::Matrix;
pub use train::{Training, train};

/// What turns the products with the output rows into probabilities.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Loss {
    /// A binary tree over the labels.
    Hierarchical,
    /// Each label by itself.
    Independent(i32),
    /// All labels together.
    Softmax,
}

/// A supervised fastText model.
#[derive(Debug)]
pub struct Model {
    dim: usize,
    loss: Loss,
    dictionary: Dictionary,
    input: Matrix,
    output: Matrix,
    /// Children of the inner nodes of the tree, of a hierarchical model.
    tree: Vec<[usize; 2]>,
}

impl Model {
    /// The labels as the model has them, such as `__label__good`.
    pub fn labels(&self) -> &[String] {
        &self.dictionary.labels
    }

    /// The probability of each label, in the order of [`Model::labels`]; all 0 for a text of which nothing is known.
    pub fn probabilities(&self, text: &str) -> Vec<f32> {
        let mut rows = Vec::new();
        self.dictionary.rows(text.as_bytes(), &mut rows);
        if rows.is_empty() {
            return vec![0.0; self.labels().len()];
        }
        let hidden = self.input.mean(&rows, self.dim);
        let mut scores: Vec<f32> = (0..self.labels().len()).map(|_| 0.0).collect();
        match self.loss {
            Loss::Hierarchical => self.walk(&hidden, &mut scores),
            Loss::Independent(_) => {
                for (label, score) in scores.iter_mut().enumerate() {
                    *score = sigmoid(self.output.dot(label, &hidden));
                }
            }
            Loss::Softmax => {
                for (label, score) in scores.iter_mut().enumerate() {
                    *score = self.output.dot(label, &hidden);
                }
                softmax(&mut scores);
            }
        }
        scores
    }

    /// Probabilities from the root of the tree down to its leaves, the labels.
    fn walk(&self, hidden: &[f32], scores: &mut [f32]) {
        let leaves = scores.len();
        let mut reached = vec![1.0_f32; leaves + self.tree.len()];
        for (inner, [left, right]) in self.tree.iter().enumerate().rev() {
            let to_right = sigmoid(self.output.dot(inner, hidden));
            reached[*left] = reached[leaves + inner] * (1.0 - to_right);
            reached[*right] = reached[leaves + inner] * to_right;
        }
        scores.copy_from_slice(&reached[..leaves]);
    }
}

/// The probability of label number `label` for each text.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn score(model: &Model, texts: &[&str], label: usize, step: Step<'_>) -> Result<Vec<f32>, Error> {
    let one = |text: &&str| {
        let found = model.probabilities(text).get(label).copied().unwrap_or(0.0);
        if step(text.len() as u64) { Ok(found) } else { Err(Error::Interrupted) }
    };
    texts.par_iter().with_min_len(8).map(one).collect()
}

/// The Huffman tree of the labels: the two nodes below each inner one. `None` where the counts are none.
fn tree(counts: &[i64]) -> Option<Vec<[usize; 2]>> {
    const UNMADE: i64 = 1_000_000_000_000_000;
    let leaves = counts.len();
    let mut weights: Vec<i64> = counts.to_vec();
    weights.resize((2 * leaves).saturating_sub(1), UNMADE);
    let (mut leaf, mut node) = (leaves, leaves);
    let mut children = Vec::with_capacity(leaves);
    for inner in leaves..weights.len() {
        let mut pair = [0; 2];
        for child in &mut pair {
            if leaf > 0 && weights[leaf - 1] < weights[node] {
                leaf -= 1;
                *child = leaf;
            } else if node < inner {
                *child = node;
                node += 1;
            } else {
                return None;
            }
        }
        weights[inner] = weights[pair[0]].checked_add(weights[pair[1]])?;
        children.push(pair);
    }
    Some(children)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - most).exp();
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}
