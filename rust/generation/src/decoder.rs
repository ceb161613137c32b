//! A decoder of the Llama and Qwen shapes, ready to compute one more position of each sequence.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::attention::Heads;
use crate::elementwise::rotate;
use crate::error::{GenerationError, Result, sized};
use crate::kernels::Level;
use crate::matrix::Matrix;

/// What is the same in every layer.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Heads of queries.
    pub num_heads: usize,
    /// Heads of keys and values.
    pub num_kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// What is added to the mean square in a norm.
    pub norm_eps: f32,
    /// How many positions each layer attends to, the new one among them; `None`: all.
    pub windows: Vec<Option<usize>>,
}

/// The weights of one layer.
pub struct Layer {
    /// Queries, keys and values, one below the other.
    pub qkv: Matrix,
    /// Back from the heads.
    pub out: Matrix,
    /// Gate, and up below it.
    pub gate_up: Matrix,
    /// Back from the feed-forward block.
    pub down: Matrix,
    /// Of the norm before attention.
    pub before_attention: Vec<f32>,
    /// Of the norm before the feed-forward block.
    pub before_mlp: Vec<f32>,
    /// Of the norms of queries and keys, a row for each head; `None` where they have none.
    pub qk_norm: Option<Vec<f32>>,
}

/// One step's input: R sequences with a token more each.
pub struct Step<'a> {
    /// The tokens' embeddings, `[R, D]`.
    pub x: &'a [f32],
    /// Cosines of each sequence's next position, `[R, H/2]`.
    pub cos: &'a [f32],
    /// Sines, the same.
    pub sin: &'a [f32],
    /// Positions that each sequence holds already.
    pub lengths: &'a [usize],
    /// Positions that a row of the cache holds.
    pub capacity: usize,
}

/// The network.
pub struct Decoder {
    shape: Shape,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Matrix,
    level: Level,
    pool: Option<ThreadPool>,
}

impl Decoder {
    /// Puts the network together; `norm` is the last norm's weight, `head` gives logits.
    ///
    /// # Errors
    /// A weight has not the size that the others give it, or no threads could be started.
    pub fn new(shape: Shape, layers: Vec<Layer>, norm: Vec<f32>, head: Matrix, num_threads: usize) -> Result<Self> {
        let (width, attended) = (norm.len(), shape.num_heads * shape.head_dim);
        let turned = attended + shape.num_kv_heads * shape.head_dim;
        sized("the layers' windows", shape.windows.len(), layers.len())?;
        sized("a row of the head", head.inputs(), width)?;
        if shape.num_kv_heads == 0 || shape.num_heads % shape.num_kv_heads != 0 || shape.head_dim % 2 != 0 {
            return Err(GenerationError::Size {
                name: "the heads",
                given: shape.num_heads,
                wanted: shape.num_kv_heads,
            });
        }
        for layer in &layers {
            sized("a row of the queries", layer.qkv.inputs(), width)?;
            sized("queries, keys and values", layer.qkv.outputs(), turned + shape.num_kv_heads * shape.head_dim)?;
            sized("a row of the attention's output", layer.out.inputs(), attended)?;
            sized("the attention's output", layer.out.outputs(), width)?;
            sized("a row of the gate", layer.gate_up.inputs(), width)?;
            sized("gate and up", layer.gate_up.outputs(), 2 * layer.down.inputs())?;
            sized("the feed-forward output", layer.down.outputs(), width)?;
            sized("a norm", layer.before_attention.len(), width)?;
            sized("a norm", layer.before_mlp.len(), width)?;
            if let Some(weights) = &layer.qk_norm {
                sized("the norms of queries and keys", weights.len(), turned)?;
            }
        }
        let pool = match num_threads {
            0 | 1 => None,
            more => {
                Some(ThreadPoolBuilder::new().num_threads(more).thread_name(|i| format!("gristlm-step-{i}")).build()?)
            }
        };
        Ok(Self { shape, layers, norm, head, level: Level::best(), pool })
    }

    /// Computes one more position of every sequence, appends its keys and values to the cache and returns logits `[R, V]`.
    ///
    /// `keys` and `values` are the layers' caches, `[rows, K, capacity, H]` each, of which the first R rows are in use.
    ///
    /// # Errors
    /// An array has another size, or a sequence has no room; then nothing has been written.
    pub fn step(&self, step: &Step, keys: &mut [&mut [f32]], values: &mut [&mut [f32]]) -> Result<Vec<f32>> {
        let rows = step.lengths.len();
        self.check(step, keys, values)?;
        let Shape { num_heads, num_kv_heads, head_dim, norm_eps, .. } = self.shape;
        let (width, attended) = (self.norm.len(), num_heads * head_dim);
        let (turned, total) = (num_heads + num_kv_heads, (num_heads + 2 * num_kv_heads) * head_dim);
        let (pool, level) = (self.pool.as_ref(), self.level);
        let mut x = step.x.to_vec();
        let mut normed = vec![0.0; rows * width];
        let mut mixed = vec![0.0; rows * attended];
        let (mut qkv, mut inner, mut gated, mut scratch) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (number, layer) in self.layers.iter().enumerate() {
            self.normalise(&x, &layer.before_attention, &mut normed);
            zeros(&mut qkv, rows * total);
            layer.qkv.add_product(level, &normed, pool, &mut scratch, &mut qkv);
            for (row, qkv) in qkv.chunks_exact_mut(total).enumerate() {
                let angles = row * head_dim / 2..(row + 1) * head_dim / 2;
                let (cos, sin) = (&step.cos[angles.clone()], &step.sin[angles]);
                for (place, head) in qkv[..turned * head_dim].chunks_exact_mut(head_dim).enumerate() {
                    if let Some(weights) = &layer.qk_norm {
                        let before = head.to_vec();
                        level.rms_norm(&before, &weights[place * head_dim..][..head_dim], norm_eps, head);
                    }
                    rotate(head, cos, sin);
                }
            }
            let window = self.shape.windows[number];
            let row_size = num_kv_heads * step.capacity * head_dim;
            let one = |row: usize,
                       qkv: &[f32],
                       keys: &mut [f32],
                       values: &mut [f32],
                       out: &mut [f32],
                       scores: &mut Vec<f32>| {
                let length = step.lengths[row] + 1;
                let first = window.map_or(0, |window| length.saturating_sub(window));
                for head in 0..num_kv_heads {
                    let place = (head * step.capacity + length - 1) * head_dim;
                    let key = &qkv[(num_heads + head) * head_dim..][..head_dim];
                    let value = &qkv[(turned + head) * head_dim..][..head_dim];
                    keys[place..][..head_dim].copy_from_slice(key);
                    values[place..][..head_dim].copy_from_slice(value);
                }
                let heads = Heads {
                    queries: num_heads,
                    keys: num_kv_heads,
                    width: head_dim,
                    capacity: step.capacity,
                    first,
                    length,
                };
                level.attend(&heads, qkv, keys, values, out, scores);
            };
            let (keys, values) = (&mut *keys[number], &mut *values[number]);
            match pool {
                Some(pool) => pool.install(|| {
                    qkv.par_chunks_exact(total)
                        .zip(keys.par_chunks_mut(row_size))
                        .zip(values.par_chunks_mut(row_size))
                        .zip(mixed.par_chunks_mut(attended))
                        .enumerate()
                        .for_each_init(Vec::new, |scores, (row, (((qkv, keys), values), out))| {
                            one(row, qkv, keys, values, out, scores);
                        });
                }),
                None => {
                    let mut scores = Vec::new();
                    let parts = qkv.chunks_exact(total).zip(keys.chunks_mut(row_size)).zip(values.chunks_mut(row_size));
                    for (row, (((qkv, keys), values), out)) in parts.zip(mixed.chunks_mut(attended)).enumerate() {
                        one(row, qkv, keys, values, out, &mut scores);
                    }
                }
            }
            layer.out.add_product(level, &mixed, pool, &mut scratch, &mut x);
            self.normalise(&x, &layer.before_mlp, &mut normed);
            let hidden = layer.down.inputs();
            zeros(&mut inner, rows * 2 * hidden);
            layer.gate_up.add_product(level, &normed, pool, &mut scratch, &mut inner);
            zeros(&mut gated, rows * hidden);
            for (inner, gated) in inner.chunks_exact(2 * hidden).zip(gated.chunks_exact_mut(hidden)) {
                let (gate, up) = inner.split_at(hidden);
                level.gated(gate, up, gated);
            }
            layer.down.add_product(level, &gated, pool, &mut scratch, &mut x);
        }
        self.normalise(&x, &self.norm, &mut normed);
        let mut logits = vec![0.0; rows * self.head.outputs()];
        self.head.add_product(level, &normed, pool, &mut scratch, &mut logits);
        Ok(logits)
    }

    fn normalise(&self, x: &[f32], weight: &[f32], out: &mut [f32]) {
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            self.level.rms_norm(x, weight, self.shape.norm_eps, out);
        }
    }

    fn check(&self, step: &Step, keys: &[&mut [f32]], values: &[&mut [f32]]) -> Result<()> {
        let rows = step.lengths.len();
        sized("x", step.x.len(), rows * self.norm.len())?;
        sized("cos", step.cos.len(), rows * self.shape.head_dim / 2)?;
        sized("sin", step.sin.len(), rows * self.shape.head_dim / 2)?;
        sized("the caches of keys", keys.len(), self.layers.len())?;
        sized("the caches of values", values.len(), self.layers.len())?;
        let needed = rows * self.shape.num_kv_heads * step.capacity * self.shape.head_dim;
        for cache in keys.iter().chain(values) {
            if cache.len() < needed {
                return Err(GenerationError::Size { name: "a cache", given: cache.len(), wanted: needed });
            }
        }
        for (row, length) in step.lengths.iter().enumerate() {
            if *length >= step.capacity {
                return Err(GenerationError::Full { row, length: *length, capacity: step.capacity });
            }
        }
        Ok(())
    }
}

fn zeros(buffer: &mut Vec<f32>, size: usize) {
    buffer.clear();
    buffer.resize(size, 0.0);
}
