//! Reading a model file. Nothing is trusted: every size is checked against what is left of the file before room is
//! made for it, and every row and code that could be looked up later exists.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use rustc_hash::FxHashMap;

use super::features::Dictionary;
use super::matrix::{Codebook, Matrix, Quantised};
use super::{Loss, Model, tree};
use crate::error::Error;

pub const MAGIC: i32 = 793_712_314;
pub const VERSION: i32 = 12;
const SUPERVISED: i32 = 3;
const MAX_DIM: i64 = 65_536;
const MAX_WORD_BYTES: usize = 1 << 16;

type Parsed<T> = Result<T, String>;

impl Model {
    /// Reads a supervised fastText model, quantised or not.
    ///
    /// # Errors
    /// [`Error::Model`], which names the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let whole = || {
            let file = File::open(path).map_err(|error| error.to_string())?;
            let left = file.metadata().map_err(|error| error.to_string())?.len();
            parse(&mut Reader { inner: BufReader::with_capacity(1 << 20, file), left })
        };
        whole().map_err(|why| Error::Model { path: path.display().to_string(), why })
    }
}

struct Reader<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Reader<R> {
    fn bytes<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Parsed<()> {
        self.room(bytes.len() as u64)?;
        self.inner.read_exact(bytes).map_err(|error| error.to_string())?;
        self.left -= bytes.len() as u64;
        Ok(())
    }

    fn room(&self, bytes: u64) -> Parsed<()> {
        if bytes > self.left {
            return Err("it ends too early: the file is cut off or damaged".to_owned());
        }
        Ok(())
    }

    fn int(&mut self) -> Parsed<i32> {
        Ok(i32::from_le_bytes(self.bytes()?))
    }

    fn long(&mut self) -> Parsed<i64> {
        Ok(i64::from_le_bytes(self.bytes()?))
    }

    fn flag(&mut self) -> Parsed<bool> {
        Ok(self.bytes::<1>()? != [0])
    }

    /// A number from 0 to `most`.
    fn size(&mut self, what: &str, most: i64) -> Parsed<usize> {
        let value = i64::from(self.int()?);
        within(what, value, most)
    }

    fn word(&mut self) -> Parsed<Vec<u8>> {
        let mut word = Vec::new();
        loop {
            let [byte] = self.bytes()?;
            if byte == 0 {
                return Ok(word);
            }
            if word.len() == MAX_WORD_BYTES {
                return Err(format!("it has a word of more than {MAX_WORD_BYTES} bytes"));
            }
            word.push(byte);
        }
    }

    fn byte_list(&mut self, count: usize) -> Parsed<Vec<u8>> {
        self.room(count as u64)?;
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn floats(&mut self, count: usize) -> Parsed<Vec<f32>> {
        self.room((count as u64).saturating_mul(4))?;
        let mut values = Vec::with_capacity(count);
        let mut block = vec![0; 1 << 16];
        while values.len() < count {
            let now = block.len().min((count - values.len()) * 4);
            self.fill(&mut block[..now])?;
            for four in block[..now].chunks_exact(4) {
                let value = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                if !value.is_finite() {
                    return Err("a weight is not a finite number".to_owned());
                }
                values.push(value);
            }
        }
        Ok(values)
    }
}

fn within(what: &str, value: i64, most: i64) -> Parsed<usize> {
    usize::try_from(value)
        .ok()
        .filter(|_| value <= most)
        .ok_or_else(|| format!("{what} is {value}; from 0 to {most} is possible"))
}

fn parse<R: Read>(file: &mut Reader<R>) -> Parsed<Model> {
    if file.int().map_err(|_| "it is too short for a fastText model".to_owned())? != MAGIC {
        return Err("it is no fastText model; give a .bin or .ftz file of a supervised model".to_owned());
    }
    let version = file.int()?;
    if !(11..=VERSION).contains(&version) {
        return Err(format!("it has version {version}; versions 11 and {VERSION} can be read"));
    }
    let dim = file.size("dim", MAX_DIM)?.max(1);
    for _ in 0..4 {
        file.int()?; // ws, epoch, minCount, neg: of training
    }
    let word_ngrams = file.size("wordNgrams", 1000)?;
    let loss = match file.int()? {
        1 => Loss::Hierarchical,
        kind @ (2 | 4) => Loss::Independent(kind),
        3 => Loss::Softmax,
        other => return Err(format!("loss is {other}; 1 to 4 are known")),
    };
    let kind = file.int()?;
    if kind != SUPERVISED {
        return Err(format!(
            "it is a model of word vectors (kind {kind}); give one of a supervised classifier (kind 3)"
        ));
    }
    let buckets = file.size("bucket", i64::from(i32::MAX))?;
    let min_characters = file.size("minn", 1000)?;
    let max_characters = file.size("maxn", 1000)?;
    file.bytes::<12>()?; // lrUpdateRate, t
    let mut dictionary = Dictionary {
        buckets: buckets as u32,
        word_ngrams,
        min_characters,
        max_characters: if version == 11 { 0 } else { max_characters },
        ..Dictionary::default()
    };
    let kept = entries(file, &mut dictionary)?;
    let quantised = file.flag()?;
    if !quantised && dictionary.kept.is_some() {
        return Err("rows were left out of it, though it is not quantised".to_owned());
    }
    let input = matrix(file, quantised, dictionary.words.len() + kept.unwrap_or(buckets), dim)?;
    let output_quantised = file.flag()? && quantised;
    let output = matrix(file, output_quantised, dictionary.labels.len(), dim)?;
    let tree = if loss == Loss::Hierarchical {
        tree(&dictionary.counts[dictionary.words.len()..]).ok_or("the counts of its labels are damaged")?
    } else {
        Vec::new()
    };
    Ok(Model { dim, loss, dictionary, input, output, tree })
}

/// Reads words, labels and the rows that were kept; returns how many those are.
fn entries<R: Read>(file: &mut Reader<R>, dictionary: &mut Dictionary) -> Parsed<Option<usize>> {
    let size = file.size("the number of entries", i64::from(i32::MAX))?;
    let (num_words, num_labels) =
        (file.size("the number of words", size as i64)?, file.size("the number of labels", size as i64)?);
    if num_words + num_labels != size || num_labels == 0 {
        return Err(format!("it has {num_words} words and {num_labels} labels, and {size} entries"));
    }
    file.long()?; // tokens seen in training
    let kept = file.long()?;
    for id in 0..size {
        let word = file.word()?;
        let count = file.long()?;
        let [kind] = file.bytes()?;
        if kind > 1 || (kind == 1) != (id >= num_words) {
            return Err(format!("entry {id} is out of place: words come before labels"));
        }
        dictionary.counts.push(count);
        if kind == 1 {
            dictionary.labels.push(String::from_utf8_lossy(&word).into_owned());
        } else {
            dictionary.words.push(word.clone());
        }
        dictionary.ids.insert(word, id as u32);
    }
    if kept < 0 {
        return Ok(None);
    }
    file.room((kept as u64).saturating_mul(8))?;
    let mut rows = FxHashMap::default();
    for _ in 0..kept {
        let (from, to) = (file.int()?, file.int()?);
        rows.insert(from as u32, within("a kept row", i64::from(to), kept - 1)? as u32);
    }
    dictionary.kept = Some(rows);
    Ok(Some(kept as usize))
}

fn matrix<R: Read>(file: &mut Reader<R>, quantised: bool, rows: usize, dim: usize) -> Parsed<Matrix> {
    let norms = quantised && file.flag()?;
    let (found, width) = (file.long()?, file.long()?);
    if (found, width) != (rows as i64, dim as i64) {
        return Err(format!("a matrix has {found} rows of {width}; {rows} rows of {dim} were expected"));
    }
    if !quantised {
        return Ok(Matrix::Dense(file.floats(rows.saturating_mul(dim))?));
    }
    let size = file.size("the number of codes", i64::from(i32::MAX))?;
    let codes = file.byte_list(size)?;
    let book = codebook(file, dim)?;
    if codes.len() != rows * book.parts {
        return Err(format!("a matrix has {} codes for {rows} rows of {} parts", codes.len(), book.parts));
    }
    let norms = if norms { Some((file.byte_list(rows)?, codebook(file, 1)?)) } else { None };
    Ok(Matrix::Quantised(Quantised { codes, book, norms }))
}

fn codebook<R: Read>(file: &mut Reader<R>, dim: usize) -> Parsed<Codebook> {
    let whole = file.size("the width of a codebook", MAX_DIM)?;
    let (parts, width) = (file.size("its parts", MAX_DIM)?, file.size("the width of a part", MAX_DIM)?);
    let last_width = file.size("the width of the last part", MAX_DIM)?;
    if whole != dim || parts == 0 || (parts - 1) * width + last_width != dim || last_width > width {
        return Err(format!("a codebook has {parts} parts of {width} and {last_width} for rows of {dim}"));
    }
    Ok(Codebook { parts, width, last_width, centroids: file.floats(dim * 256)? })
}
