//! Rows of numbers: as they are, or quantised by products of small codebooks.

const CENTROIDS: usize = 256;

/// The weights of one layer.
#[derive(Debug)]
pub enum Matrix {
    /// Row after row.
    Dense(Vec<f32>),
    /// One code for each part of a row.
    Quantised(Quantised),
}

/// Codes, and what they stand for.
#[derive(Debug)]
pub struct Quantised {
    /// Row after row.
    pub codes: Vec<u8>,
    /// Of the parts of a row.
    pub book: Codebook,
    /// The length of each row, where it was stored apart.
    pub norms: Option<(Vec<u8>, Codebook)>,
}

/// What the codes of each part of a row stand for.
#[derive(Debug)]
pub struct Codebook {
    /// Parts of a row.
    pub parts: usize,
    /// Numbers of a part, and of the last one.
    pub width: usize,
    pub last_width: usize,
    /// 256 for each part.
    pub centroids: Vec<f32>,
}

impl Codebook {
    fn centroid(&self, part: usize, code: u8) -> &[f32] {
        let (start, width) = if part + 1 == self.parts {
            (part * CENTROIDS * self.width + usize::from(code) * self.last_width, self.last_width)
        } else {
            ((part * CENTROIDS + usize::from(code)) * self.width, self.width)
        };
        &self.centroids[start..start + width]
    }
}

impl Quantised {
    /// The parts of row number `row`, and the factor for all of them.
    fn row(&self, row: usize) -> (f32, impl Iterator<Item = &[f32]>) {
        let factor = self.norms.as_ref().map_or(1.0, |(codes, book)| book.centroid(0, codes[row])[0]);
        let codes = &self.codes[row * self.book.parts..][..self.book.parts];
        (factor, codes.iter().enumerate().map(|(part, code)| self.book.centroid(part, *code)))
    }
}

impl Matrix {
    /// The mean of `rows`.
    pub fn mean(&self, rows: &[u32], dim: usize) -> Vec<f32> {
        let mut sum = vec![0.0_f32; dim];
        for row in rows {
            match self {
                Self::Dense(values) => {
                    for (total, value) in sum.iter_mut().zip(&values[*row as usize * dim..][..dim]) {
                        *total += value;
                    }
                }
                Self::Quantised(quantised) => {
                    let (factor, parts) = quantised.row(*row as usize);
                    for (total, value) in sum.iter_mut().zip(parts.flatten()) {
                        *total += factor * value;
                    }
                }
            }
        }
        let scale = 1.0 / rows.len() as f32;
        for total in &mut sum {
            *total *= scale;
        }
        sum
    }

    /// The product of row number `row` with `vector`.
    pub fn dot(&self, row: usize, vector: &[f32]) -> f32 {
        match self {
            Self::Dense(values) => {
                values[row * vector.len()..][..vector.len()].iter().zip(vector).map(|(a, b)| a * b).sum()
            }
            Self::Quantised(quantised) => {
                let (factor, parts) = quantised.row(row);
                factor * parts.flatten().zip(vector).map(|(a, b)| a * b).sum::<f32>()
            }
        }
    }
}
