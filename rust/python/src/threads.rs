//! Long work without the GIL: its own threads for the time of the call, Ctrl-C, and progress.
//!
//! No thread outlives its call, so a process that forks between two calls (as `multiprocessing` and data loaders do) loses
//! nothing; rayon's global pool would be gone in the child and its first call would wait for it forever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::errors::{ErrorClass, error};

/// How often the calling thread looks for signals and tells the progress.
const POLL: Duration = Duration::from_millis(50);

/// What the core calls with the bytes it has done since the last call; false asks it to stop.
pub type Step<'s> = &'s (dyn Fn(u64) -> bool + Sync);

/// Runs `work` without the GIL on `num_threads` threads (`None`: all cores); `progress`, where given, is called with the
/// bytes done so far.
///
/// # Errors
/// `InputError` when `num_threads` is 0; `StorageError` when the threads cannot be started; what a signal handler
/// (`KeyboardInterrupt`) or `progress` raises.
pub fn run<T: Send>(
    py: Python<'_>,
    num_threads: Option<usize>,
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(Step<'_>) -> T + Send,
) -> PyResult<T> {
    let threads = match num_threads {
        Some(0) => return Err(error(ErrorClass::Input, "num_threads is 0; give 1 or more, or None for all cores")),
        Some(n) => n,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| error(ErrorClass::Storage, format!("cannot start {threads} threads: {e}")))?;
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let step = |bytes: u64| {
        done.fetch_add(bytes, Ordering::Relaxed);
        !stop.load(Ordering::Relaxed)
    };
    let mut failure = None;
    let mut told = 0;
    py.detach(|| {
        let (finish, finished) = channel();
        let step = &step;
        pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                // The receiver waits until this is sent or dropped by a panic.
                let _ = finish.send(work(step));
            });
            loop {
                match finished.recv_timeout(POLL) {
                    Err(RecvTimeoutError::Timeout) if failure.is_none() => {
                        let now = done.load(Ordering::Relaxed);
                        let heard = Python::attach(|py| {
                            py.check_signals()?;
                            match progress {
                                Some(call) if now > told => call.call1(py, (now,)).map(|_| ()),
                                _ => Ok(()),
                            }
                        });
                        told = now;
                        if let Err(raised) = heard {
                            stop.store(true, Ordering::Relaxed);
                            failure = Some(raised);
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(result) => return Some(result),
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
        })
    })
    .map_or_else(
        || Err(error(ErrorClass::Storage, "the work stopped without a result")),
        |result| failure.map_or(Ok(result), Err),
    )
}
