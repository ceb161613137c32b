//! Rows into arrays.

use crate::error::Result;
use crate::pack::Piece;
use crate::store::{TokenStore, widen};

/// No token follows: the label that losses ignore.
pub const NO_LABEL: i64 = -100;
/// The source and sequence of padding.
pub const PADDING: i64 = -1;

/// Some rows, flattened to `[rows * seq_len]` each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The tokens; 0 in padding.
    pub input_ids: Vec<i64>,
    /// The token after each in its document (also where the document is cut), [`NO_LABEL`] where there is none.
    pub labels: Vec<i64>,
    /// From 0 in each piece.
    pub position_ids: Vec<i64>,
    /// Where each piece starts, and the end; no piece spans two rows.
    pub cu_seqlens: Vec<i32>,
    /// Per piece: source, sequence, first token in the sequence, number of tokens.
    pub segments: Vec<[i64; 4]>,
}

impl Batch {
    /// An empty batch with room for `tokens`.
    pub fn with_capacity(tokens: usize) -> Self {
        Self {
            input_ids: Vec::with_capacity(tokens),
            labels: Vec::with_capacity(tokens),
            position_ids: Vec::with_capacity(tokens),
            cu_seqlens: vec![0],
            segments: vec![],
        }
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.input_ids.clear();
        self.labels.clear();
        self.position_ids.clear();
        self.cu_seqlens.clear();
        self.cu_seqlens.push(0);
        self.segments.clear();
    }

    /// Adds a row of `seq_len` tokens: these pieces of `source`, then padding.
    ///
    /// # Errors
    /// `Damaged` when a shard is not what was written.
    pub fn push_row(&mut self, source: usize, store: &TokenStore, pieces: &[Piece], seq_len: usize) -> Result<()> {
        let end = self.input_ids.len() + seq_len;
        for piece in pieces {
            self.push_piece(source, store, *piece)?;
        }
        self.pad_to(end);
        Ok(())
    }

    /// Adds a row of padding.
    pub fn push_padding(&mut self, seq_len: usize) {
        self.pad_to(self.input_ids.len() + seq_len);
    }

    fn push_piece(&mut self, source: usize, store: &TokenStore, piece: Piece) -> Result<()> {
        let token_type = store.token_type();
        let bytes = store.sequence(piece.sequence)?;
        let (start, end) =
            (piece.start as usize * token_type.bytes(), (piece.start + piece.length) as usize * token_type.bytes());
        let first = self.input_ids.len();
        widen(token_type, &bytes[start..end], &mut self.input_ids);
        self.labels.extend_from_slice(&self.input_ids[first + 1..]);
        if end < bytes.len() {
            widen(token_type, &bytes[end..end + token_type.bytes()], &mut self.labels);
        } else {
            self.labels.push(NO_LABEL);
        }
        self.close_piece(source as i64, piece.sequence as i64, piece.start, piece.length);
        Ok(())
    }

    fn pad_to(&mut self, end: usize) {
        let length = end - self.input_ids.len();
        if length > 0 {
            self.input_ids.resize(end, 0);
            self.labels.resize(end, NO_LABEL);
            self.close_piece(PADDING, PADDING, 0, length as u32);
        }
    }

    fn close_piece(&mut self, source: i64, sequence: i64, start: u32, length: u32) {
        self.position_ids.extend(0..i64::from(length));
        self.cu_seqlens.push(self.input_ids.len() as i32);
        self.segments.push([source, sequence, i64::from(start), i64::from(length)]);
    }
}
