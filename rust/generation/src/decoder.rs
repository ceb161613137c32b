//! A decoder of the Llama and Qwen shapes, ready to compute the next tokens of any sequences: one of each, or whole prompts.

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::attention::Heads;
use crate::elementwise::rotate;
use crate::error::{GenerationError, Result, sized};
use crate::kernels::Level;
use crate::matrix::Matrix;

/// Tokens that pass through all layers together: as many as leave what is computed on the way in a processor's cache.
const AT_ONCE: usize = 128;

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

/// One step's input: R tokens, each the next of its sequence; those of one sequence stand in their order.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The tokens' embeddings, `[R, D]`.
    pub x: &'a [f32],
    /// Cosines of each token's position, `[R, H/2]`.
    pub cos: &'a [f32],
    /// Sines, the same.
    pub sin: &'a [f32],
    /// The row of the cache that each token's sequence has.
    pub rows: &'a [usize],
    /// Positions that the row holds before the token.
    pub positions: &'a [usize],
    /// Positions that a row of the cache holds.
    pub capacity: usize,
}

impl<'a> Step<'a> {
    /// The tokens `[begin, end)` alone.
    fn part(&self, begin: usize, end: usize) -> Self {
        let count = self.rows.len().max(1);
        let cut = |of: &'a [f32]| &of[begin * (of.len() / count)..end * (of.len() / count)];
        let (rows, positions) = (&self.rows[begin..end], &self.positions[begin..end]);
        Self { x: cut(self.x), cos: cut(self.cos), sin: cut(self.sin), rows, positions, capacity: self.capacity }
    }
}

/// What is computed on the way, kept so that nothing is allocated twice.
#[derive(Default)]
struct Work {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    inner: Vec<f32>,
    gated: Vec<f32>,
    products: Vec<f32>,
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
        if shape.num_kv_heads == 0
            || !shape.num_heads.is_multiple_of(shape.num_kv_heads)
            || !shape.head_dim.is_multiple_of(2)
        {
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

    /// Computes every token, stores its keys and values in the cache and returns logits `[W, V]` of the tokens `wanted`.
    ///
    /// `keys` and `values` are the layers' caches, `[rows, K, capacity, H]` each.
    ///
    /// # Errors
    /// An array has another size, or a sequence has no room; then nothing has been written.
    pub fn step(
        &self,
        step: &Step,
        wanted: &[usize],
        keys: &mut [&mut [f32]],
        values: &mut [&mut [f32]],
    ) -> Result<Vec<f32>> {
        self.check(step, wanted, keys, values)?;
        let (width, count) = (self.norm.len(), step.rows.len());
        let mut work = Work::default();
        let mut last = vec![0.0; wanted.len() * width];
        for begin in (0..count).step_by(AT_ONCE) {
            let part = step.part(begin, count.min(begin + AT_ONCE));
            let mut x = part.x.to_vec();
            let mut chosen: Vec<usize> = (0..part.rows.len()).collect();
            for number in 0..self.layers.len() {
                if number + 1 == self.layers.len() {
                    chosen = wanted.iter().filter_map(|token| token.checked_sub(begin)).collect();
                    chosen.retain(|place| *place < part.rows.len());
                    chosen.sort_unstable();
                    chosen.dedup();
                }
                self.block(number, &part, &chosen, &mut x, keys[number], values[number], &mut work);
            }
            for (token, last) in wanted.iter().zip(last.chunks_exact_mut(width)) {
                let place = token.checked_sub(begin).and_then(|place| chosen.binary_search(&place).ok());
                if let Some(x) = place.and_then(|place| x.chunks_exact(width).nth(place)) {
                    self.level.rms_norm(x, &self.norm, self.shape.norm_eps, last);
                }
            }
        }
        let mut logits = vec![0.0; wanted.len() * self.head.outputs()];
        self.head.add_product(self.level, &last, self.pool.as_ref(), &mut work.products, &mut logits);
        Ok(logits)
    }

    /// Stores a layer's keys and values of every token, and adds what it gives to `x`, of which the rows `chosen` stay.
    #[expect(clippy::too_many_arguments, reason = "the arrays of one layer")]
    fn block(
        &self,
        number: usize,
        step: &Step,
        chosen: &[usize],
        x: &mut Vec<f32>,
        keys: &mut [f32],
        values: &mut [f32],
        work: &mut Work,
    ) {
        let (layer, pool, level) = (&self.layers[number], self.pool.as_ref(), self.level);
        let Work { normed, qkv, mixed, inner, gated, products } = work;
        let Shape { num_heads, num_kv_heads, head_dim, .. } = self.shape;
        let total = (num_heads + 2 * num_kv_heads) * head_dim;
        self.normalise(x, &layer.before_attention, normed);
        zeros(qkv, step.rows.len() * total);
        layer.qkv.add_product(level, normed, pool, products, qkv);
        self.turn(layer, step, qkv);
        self.store(step, qkv, keys, values);
        keep(qkv, total, chosen);
        keep(x, self.norm.len(), chosen);
        let count = chosen.len();
        zeros(mixed, count * num_heads * head_dim);
        self.attend(number, step, chosen, qkv, keys, values, mixed);
        layer.out.add_product(level, mixed, pool, products, x);
        self.normalise(x, &layer.before_mlp, normed);
        let hidden = layer.down.inputs();
        zeros(inner, count * 2 * hidden);
        layer.gate_up.add_product(level, normed, pool, products, inner);
        zeros(gated, count * hidden);
        for (inner, gated) in inner.chunks_exact(2 * hidden).zip(gated.chunks_exact_mut(hidden)) {
            let (gate, up) = inner.split_at(hidden);
            level.gated(gate, up, gated);
        }
        layer.down.add_product(level, gated, pool, products, x);
    }

    /// Normalises queries and keys where the network does, and turns them to their positions.
    fn turn(&self, layer: &Layer, step: &Step, qkv: &mut [f32]) {
        let Shape { num_heads, num_kv_heads, head_dim, norm_eps, .. } = self.shape;
        let (turned, total) = ((num_heads + num_kv_heads) * head_dim, (num_heads + 2 * num_kv_heads) * head_dim);
        for (token, qkv) in qkv.chunks_exact_mut(total).enumerate() {
            let angles = token * head_dim / 2..(token + 1) * head_dim / 2;
            let (cos, sin) = (&step.cos[angles.clone()], &step.sin[angles]);
            for (place, head) in qkv[..turned].chunks_exact_mut(head_dim).enumerate() {
                if let Some(weights) = &layer.qk_norm {
                    let before = head.to_vec();
                    self.level.rms_norm(&before, &weights[place * head_dim..][..head_dim], norm_eps, head);
                }
                rotate(head, cos, sin);
            }
        }
    }

    fn store(&self, step: &Step, qkv: &[f32], keys: &mut [f32], values: &mut [f32]) {
        let Shape { num_heads, num_kv_heads, head_dim, .. } = self.shape;
        let (turned, total) = (num_heads + num_kv_heads, (num_heads + 2 * num_kv_heads) * head_dim);
        for ((row, position), qkv) in step.rows.iter().zip(step.positions).zip(qkv.chunks_exact(total)) {
            for head in 0..num_kv_heads {
                let place = ((row * num_kv_heads + head) * step.capacity + position) * head_dim;
                keys[place..][..head_dim].copy_from_slice(&qkv[(num_heads + head) * head_dim..][..head_dim]);
                values[place..][..head_dim].copy_from_slice(&qkv[(turned + head) * head_dim..][..head_dim]);
            }
        }
    }

    /// Writes what each token of `chosen`, whose rows `qkv` holds, attends to to `mixed`, `[C, N H]`.
    #[expect(clippy::too_many_arguments, reason = "the arrays of one layer")]
    fn attend(
        &self,
        number: usize,
        step: &Step,
        chosen: &[usize],
        qkv: &[f32],
        keys: &[f32],
        values: &[f32],
        mixed: &mut [f32],
    ) {
        let Shape { num_heads, num_kv_heads, head_dim, .. } = self.shape;
        let (total, attended) = ((num_heads + 2 * num_kv_heads) * head_dim, num_heads * head_dim);
        let row_size = num_kv_heads * step.capacity * head_dim;
        let one = |place: usize, out: &mut [f32], scores: &mut Vec<f32>| {
            let token = chosen[place];
            let length = step.positions[token] + 1;
            let heads = Heads {
                queries: num_heads,
                keys: num_kv_heads,
                width: head_dim,
                capacity: step.capacity,
                first: self.shape.windows[number].map_or(0, |window| length.saturating_sub(window)),
                length,
            };
            let begin = step.rows[token] * row_size;
            let (keys, values) = (&keys[begin..][..row_size], &values[begin..][..row_size]);
            self.level.attend(&heads, &qkv[place * total..][..total], keys, values, out, scores);
        };
        match &self.pool {
            Some(pool) => pool.install(|| {
                mixed
                    .par_chunks_mut(attended)
                    .enumerate()
                    .for_each_init(Vec::new, |scores, (place, out)| one(place, out, scores));
            }),
            None => {
                let mut scores = Vec::new();
                mixed.chunks_mut(attended).enumerate().for_each(|(place, out)| one(place, out, &mut scores));
            }
        }
    }

    fn normalise(&self, x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
        zeros(out, x.len());
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            self.level.rms_norm(x, weight, self.shape.norm_eps, out);
        }
    }

    fn check(&self, step: &Step, wanted: &[usize], keys: &[&mut [f32]], values: &[&mut [f32]]) -> Result<()> {
        let count = step.rows.len();
        sized("x", step.x.len(), count * self.norm.len())?;
        sized("cos", step.cos.len(), count * self.shape.head_dim / 2)?;
        sized("sin", step.sin.len(), count * self.shape.head_dim / 2)?;
        sized("positions", step.positions.len(), count)?;
        sized("the caches of keys", keys.len(), self.layers.len())?;
        sized("the caches of values", values.len(), self.layers.len())?;
        let rows = step.rows.iter().max().map_or(0, |row| row + 1);
        let needed = rows * self.shape.num_kv_heads * step.capacity * self.shape.head_dim;
        for cache in keys.iter().chain(values) {
            if cache.len() < needed {
                return Err(GenerationError::Size { name: "a cache", given: cache.len(), wanted: needed });
            }
        }
        if let Some(token) = wanted.iter().find(|token| **token >= count) {
            return Err(GenerationError::Size { name: "wanted", given: *token, wanted: count });
        }
        for (row, length) in step.rows.iter().zip(step.positions) {
            if *length >= step.capacity {
                return Err(GenerationError::Full { row: *row, length: *length, capacity: step.capacity });
            }
        }
        Ok(())
    }
}

fn zeros(buffer: &mut Vec<f32>, size: usize) {
    buffer.clear();
    buffer.resize(size, 0.0);
}

/// Keeps the rows `chosen`, ascending, of a matrix whose rows are `width` long.
fn keep(rows: &mut Vec<f32>, width: usize, chosen: &[usize]) {
    if rows.len() == chosen.len() * width {
        return;
    }
    for (place, row) in chosen.iter().enumerate() {
        rows.copy_within(row * width..(row + 1) * width, place * width);
    }
    rows.truncate(chosen.len() * width);
}
