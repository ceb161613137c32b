//! Training: stochastic gradient descent on one thread, so that the same texts and seed give the same model, bit for bit.

use rustc_hash::FxHashMap;

use super::features::{Dictionary, END};
use super::matrix::Matrix;
use super::{Loss, Model, softmax};
use crate::clean::Step;
use crate::error::Error;

/// How to train.
#[derive(Clone, Debug)]
pub struct Training {
    /// Numbers per word.
    pub dim: usize,
    /// Times that every text is looked at.
    pub epochs: usize,
    /// Of the first step; falls to 0 in a line.
    pub learning_rate: f32,
    /// Longest word n-gram.
    pub word_ngrams: usize,
    /// Rows for hashed n-grams.
    pub buckets: usize,
    /// Most words that are known; the most frequent ones.
    pub max_words: usize,
    /// Of the order of texts and the first weights.
    pub seed: u64,
}

/// Trains a classifier on texts, each with the number of its label.
///
/// # Errors
/// [`Error::Interrupted`]; [`Error::Model`] when a label does not exist or the sizes are 0.
pub fn train(texts: &[(&str, usize)], labels: &[String], how: &Training, step: Step<'_>) -> Result<Model, Error> {
    let refuse = |why: &str| Error::Model { path: "training".to_owned(), why: why.to_owned() };
    if texts.is_empty() || how.dim == 0 || how.epochs == 0 || how.buckets > i32::MAX as usize {
        return Err(refuse("there is no text, or dim or epochs is 0"));
    }
    if texts.iter().any(|(_, label)| *label >= labels.len()) {
        return Err(refuse("a text has a label that there is not"));
    }
    let dictionary = count(texts, labels, how);
    let mut random = Random(how.seed);
    let bound = 1.0 / how.dim as f32;
    let rows = dictionary.words.len() + how.buckets;
    let mut input: Vec<f32> = (0..rows * how.dim).map(|_| (random.unit() * 2.0 - 1.0) * bound).collect();
    let mut output = vec![0.0_f32; labels.len() * how.dim];
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let total = (how.epochs * texts.len()) as f32;
    let (mut found, mut hidden, mut gradient) = (Vec::new(), vec![0.0; how.dim], vec![0.0; how.dim]);
    let mut scores = vec![0.0; labels.len()];
    for epoch in 0..how.epochs {
        random.shuffle(&mut order);
        for (done, index) in order.iter().enumerate() {
            let (text, label) = texts[*index];
            let rate = how.learning_rate * (1.0 - (epoch * texts.len() + done) as f32 / total);
            found.clear();
            dictionary.rows(text.as_bytes(), &mut found);
            hidden.fill(0.0);
            for row in &found {
                add(&mut hidden, &input[*row as usize * how.dim..][..how.dim], 1.0);
            }
            let scale = 1.0 / found.len().max(1) as f32;
            hidden.iter_mut().for_each(|value| *value *= scale);
            for (score, weights) in scores.iter_mut().zip(output.chunks_exact(how.dim)) {
                *score = weights.iter().zip(&hidden).map(|(a, b)| a * b).sum();
            }
            softmax(&mut scores);
            gradient.fill(0.0);
            for (at, (score, weights)) in scores.iter().zip(output.chunks_exact_mut(how.dim)).enumerate() {
                let alpha = rate * (f32::from(u8::from(at == label)) - score);
                add(&mut gradient, weights, alpha);
                add(weights, &hidden, alpha);
            }
            for row in &found {
                add(&mut input[*row as usize * how.dim..][..how.dim], &gradient, scale);
            }
            if !step(text.len() as u64) {
                return Err(Error::Interrupted);
            }
        }
    }
    Ok(Model {
        dim: how.dim,
        loss: Loss::Softmax,
        dictionary,
        input: Matrix::Dense(input),
        output: Matrix::Dense(output),
        tree: Vec::new(),
    })
}

fn add(to: &mut [f32], values: &[f32], factor: f32) {
    for (total, value) in to.iter_mut().zip(values) {
        *total += factor * value;
    }
}

/// The words of all texts, most frequent first, equals in the order of their bytes; then the labels.
fn count(texts: &[(&str, usize)], labels: &[String], how: &Training) -> Dictionary {
    let mut seen: FxHashMap<&[u8], i64> = FxHashMap::default();
    let mut per_label = vec![0_i64; labels.len()];
    for (text, label) in texts {
        per_label[*label] += 1;
        for word in text.as_bytes().split(|byte| matches!(byte, b' ' | 0x09..=0x0d | 0)).filter(|w| !w.is_empty()) {
            if !word.starts_with(b"__label__") && word != END {
                *seen.entry(word).or_insert(0) += 1;
            }
        }
    }
    let mut ordered: Vec<(&[u8], i64)> = seen.into_iter().collect();
    ordered.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    ordered.truncate(how.max_words);
    let end = ordered.partition_point(|(_, count)| *count > texts.len() as i64);
    ordered.insert(end, (END, texts.len() as i64));
    let mut dictionary = Dictionary {
        buckets: how.buckets as u32,
        word_ngrams: how.word_ngrams,
        labels: labels.to_vec(),
        ..Dictionary::default()
    };
    for (word, count) in &ordered {
        dictionary.ids.insert(word.to_vec(), dictionary.words.len() as u32);
        dictionary.words.push(word.to_vec());
        dictionary.counts.push(*count);
    }
    for (label, count) in labels.iter().zip(per_label) {
        dictionary.ids.insert(label.clone().into_bytes(), dictionary.counts.len() as u32);
        dictionary.counts.push(count);
    }
    dictionary
}

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Fisher and Yates.
    fn shuffle(&mut self, order: &mut [usize]) {
        for at in (1..order.len()).rev() {
            let other = ((u128::from(self.next()) * (at as u128 + 1)) >> 64) as usize;
            order.swap(at, other);
        }
    }
}
