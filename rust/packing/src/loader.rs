//! Batches in order, computed by a thread that runs a little ahead.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::batch::Batch;
use crate::error::{PackingError, Result, thread_failed};
use crate::permutation::key;
use crate::pool::{Lease, Pool};
use crate::schedule::{Phase, Schedule};
use crate::source::{Epoch, Source, Window};
use crate::store::TokenStore;

/// Finished batches that wait for the caller; one more is being made.
const AHEAD: usize = 2;
const SOURCE: u64 = 11;
const MIXTURE: u64 = 12;

/// The shape of a batch and this rank's part of it.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// Tokens per row.
    pub seq_len: u32,
    /// Rows per rank.
    pub batch_size: u32,
    /// Which rank this is.
    pub rank: u32,
    /// Number of ranks.
    pub world_size: u32,
}

impl Geometry {
    fn check(&self) -> Result<()> {
        let input = |reason: String| Err(PackingError::Input(reason));
        if self.seq_len == 0 || self.batch_size == 0 || self.world_size == 0 {
            return input(format!(
                "seq_len is {}, batch_size {}, world_size {}; each must be 1 or more",
                self.seq_len, self.batch_size, self.world_size
            ));
        }
        if self.rank >= self.world_size {
            return input(format!(
                "rank is {} of world_size {}; give 0 to {}",
                self.rank,
                self.world_size,
                self.world_size - 1
            ));
        }
        if u64::from(self.seq_len) * u64::from(self.batch_size) > i32::MAX as u64 {
            return input(format!(
                "batch_size {} times seq_len {} is more than {}, which cu_seqlens can hold",
                self.batch_size,
                self.seq_len,
                i32::MAX
            ));
        }
        Ok(())
    }

    fn global_rows(&self) -> u64 {
        u64::from(self.batch_size) * u64::from(self.world_size)
    }
}

/// The whole order: a pure function of the datasets, the phases of weights, the seed and `seq_len`.
#[derive(Debug)]
struct Order {
    sources: Vec<Source>,
    mixture: Schedule,
    geometry: Geometry,
}

impl Order {
    /// Steps until all sources have ended.
    fn num_steps(&self) -> u64 {
        self.mixture.num_rows().div_ceil(self.geometry.global_rows())
    }
}

/// What one source's rows were last taken from.
#[derive(Debug, Default)]
struct Open {
    epoch: Option<Epoch>,
    window: Option<Window>,
}

/// Makes any batch; keeps the last window of each source.
#[derive(Debug)]
struct Planner {
    order: Arc<Order>,
    pool: Arc<Pool>,
    open: Vec<Open>,
}

impl Planner {
    fn new(order: Arc<Order>, pool: Arc<Pool>) -> Self {
        let open = order.sources.iter().map(|_| Open::default()).collect();
        Self { order, pool, open }
    }

    /// This rank's rows of `step`, `None` after the end.
    fn batch(&mut self, step: u64) -> Result<Option<Batch>> {
        let order = Arc::clone(&self.order);
        if step >= order.num_steps() {
            return Ok(None);
        }
        let Geometry { seq_len, batch_size, rank, .. } = order.geometry;
        let first = step * order.geometry.global_rows() + u64::from(rank) * u64::from(batch_size);
        let mut batch = self.pool.take(seq_len as usize * batch_size as usize);
        let mut place = order.mixture.place(first.min(order.mixture.num_rows()));
        for _ in 0..batch_size {
            match order.mixture.advance(&mut place) {
                Some((source, row)) => self.push_row(&mut batch, &order.sources[source], source, row)?,
                None => batch.push_padding(seq_len as usize),
            }
        }
        Ok(Some(batch))
    }

    fn push_row(&mut self, batch: &mut Batch, source: &Source, number: usize, row: u64) -> Result<()> {
        let Open { epoch, window } = &mut self.open[number];
        let here = match window.take_if(|window| window.row(row).is_some()) {
            Some(here) => here,
            None => source.window(row, epoch),
        };
        let pieces = here.row(row).unwrap_or_default();
        batch.push_row(number, source.store(), pieces, self.order.geometry.seq_len as usize)?;
        *window = Some(here);
        Ok(())
    }
}

type Message = Result<Option<Batch>>;

#[derive(Debug)]
struct Ahead {
    process: u32,
    batches: Receiver<Message>,
}

/// Iterates batches from any step on.
#[derive(Debug)]
pub struct Loader {
    order: Arc<Order>,
    pool: Arc<Pool>,
    step: u64,
    ahead: Option<Ahead>,
}

impl Loader {
    /// Mixes `sources` (a dataset and its epochs each, `None`: without end) by `phases`: from a step on, a weight each.
    ///
    /// # Errors
    /// `Input` when a number is impossible, a weight is not positive or a dataset is empty.
    pub fn new(
        sources: Vec<(Arc<TokenStore>, Option<u64>)>,
        phases: Vec<(u64, Vec<f64>)>,
        geometry: Geometry,
        seed: u64,
    ) -> Result<Self> {
        geometry.check()?;
        if sources.iter().any(|(_, epochs)| *epochs == Some(0)) {
            return Err(PackingError::Input("epochs is 0; give 1 or more, or None for no end".into()));
        }
        let open = |(number, (store, epochs)): (usize, (Arc<TokenStore>, Option<u64>))| {
            Source::new(store, key(&[seed, SOURCE, number as u64]), geometry.seq_len, epochs).map_err(|error| {
                match error {
                    PackingError::Input(reason) => PackingError::Input(format!("source {number}: {reason}")),
                    other => other,
                }
            })
        };
        let sources = sources.into_iter().enumerate().map(open).collect::<Result<Vec<_>>>()?;
        let limits: Vec<u64> = sources.iter().map(Source::num_rows).collect();
        let in_rows = |(step, weights): (u64, Vec<f64>)| {
            let too_far = || PackingError::Input(format!("a phase begins at step {step}; that is beyond all rows"));
            let first_row = step.checked_mul(geometry.global_rows()).ok_or_else(too_far)?;
            Ok(Phase { first_row, weights })
        };
        let phases = phases.into_iter().map(in_rows).collect::<Result<Vec<_>>>()?;
        let mixture = Schedule::new(&phases, &limits, key(&[seed, MIXTURE]))?;
        let order = Arc::new(Order { sources, mixture, geometry });
        Ok(Self { order, pool: Arc::default(), step: 0, ahead: None })
    }

    /// The step that `next_batch` gives.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Steps until the end (beyond reach when there is none).
    pub fn num_steps(&self) -> u64 {
        self.order.num_steps()
    }

    /// The most rows of its own source that come between a document and where its place in the keyed order puts it.
    pub fn max_delay_rows(&self, source: usize) -> Option<u64> {
        self.order.sources.get(source).map(Source::max_window_rows)
    }

    /// Goes to `step`. Nothing is computed until `next_batch`.
    ///
    /// # Errors
    /// `Input` when the end comes before it.
    pub fn seek(&mut self, step: u64) -> Result<()> {
        if step > self.num_steps() {
            return Err(PackingError::Input(format!("step is {step}; the data end at step {}", self.num_steps())));
        }
        self.step = step;
        self.ahead = None;
        Ok(())
    }

    /// The next batch, `None` after the last.
    ///
    /// # Errors
    /// `Damaged` when a shard is not what was written, `Storage` when no thread can be started.
    pub fn next_batch(&mut self) -> Result<Option<Lease>> {
        let process = std::process::id();
        if let Some(other) = self.ahead.take_if(|ahead| ahead.process != process) {
            // A forked child has no thread, and the parent's may have held the channel's lock at that moment.
            std::mem::forget(other);
        }
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.start(process)?,
        };
        let message = ahead.batches.recv().unwrap_or_else(|gone| Err(thread_failed(std::io::Error::other(gone))));
        if let Ok(Some(_)) = &message {
            self.step += 1;
            self.ahead = Some(ahead);
        }
        Ok(message?.map(|batch| self.lease(batch)))
    }

    /// The batch of any `step`, without moving.
    ///
    /// # Errors
    /// `Input` when the end comes before it; `Damaged` when a shard is not what was written.
    pub fn batch(&self, step: u64) -> Result<Lease> {
        let reason = || PackingError::Input(format!("step is {step}; the data end at step {}", self.num_steps()));
        let batch = self.planner().batch(step)?.ok_or_else(reason)?;
        Ok(self.lease(batch))
    }

    fn lease(&self, batch: Batch) -> Lease {
        Lease::new(batch, Arc::clone(&self.pool))
    }

    fn planner(&self) -> Planner {
        Planner::new(Arc::clone(&self.order), Arc::clone(&self.pool))
    }

    fn start(&self, process: u32) -> Result<Ahead> {
        let (sender, batches) = sync_channel(AHEAD);
        let (planner, step) = (self.planner(), self.step);
        thread::Builder::new()
            .name("gristlm-packing".into())
            .spawn(move || run_ahead(planner, step, &sender))
            .map_err(thread_failed)?;
        Ok(Ahead { process, batches })
    }
}

/// Sends batches until the end, an error, or nobody listens.
fn run_ahead(mut planner: Planner, mut step: u64, sender: &SyncSender<Message>) {
    loop {
        let message = planner.batch(step);
        let last = !matches!(message, Ok(Some(_)));
        if sender.send(message).is_err() || last {
            return;
        }
        step += 1;
    }
}
