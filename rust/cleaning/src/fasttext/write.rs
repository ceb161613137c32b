//! Writing a model in the published format, version 12, so that every program that reads fastText models reads it.

use std::io::{self, Write};

use super::matrix::Matrix;
use super::read::{MAGIC, VERSION};
use super::{Loss, Model};

impl Model {
    /// Writes the model; a quantised one cannot be written.
    ///
    /// # Errors
    /// What `out` gives; `Unsupported` for a quantised model.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (Matrix::Dense(input), Matrix::Dense(output)) = (&self.input, &self.output) else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a quantised model is not written again"));
        };
        let words = &self.dictionary;
        let loss = match self.loss {
            Loss::Hierarchical => 1,
            Loss::Independent(kind) => kind,
            Loss::Softmax => 3,
        };
        let numbers = [MAGIC, VERSION, self.dim as i32, 5, 5, 1, 5, words.word_ngrams as i32, loss, 3];
        let more = [words.buckets as i32, words.min_characters as i32, words.max_characters as i32, 100];
        for number in numbers.into_iter().chain(more) {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&1e-4_f64.to_le_bytes())?;
        let (num_words, num_labels) = (words.words.len(), words.labels.len());
        for number in [num_words + num_labels, num_words, num_labels] {
            out.write_all(&(number as i32).to_le_bytes())?;
        }
        out.write_all(&words.counts[..num_words].iter().sum::<i64>().to_le_bytes())?;
        out.write_all(&(-1_i64).to_le_bytes())?;
        let names = words.words.iter().map(Vec::as_slice).chain(words.labels.iter().map(String::as_bytes));
        for (id, (name, count)) in names.zip(&words.counts).enumerate() {
            out.write_all(name)?;
            out.write_all(&[0])?;
            out.write_all(&count.to_le_bytes())?;
            out.write_all(&[u8::from(id >= num_words)])?;
        }
        for values in [input, output] {
            out.write_all(&[0])?;
            out.write_all(&((values.len() / self.dim) as i64).to_le_bytes())?;
            out.write_all(&(self.dim as i64).to_le_bytes())?;
            for value in values {
                out.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    }
}
