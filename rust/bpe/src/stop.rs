//! Stopping a long call: whoever starts it says how to ask, and the loops that may run for long ask now and then.
//!
//! A loop that is told to stop leaves an unfinished result behind, which [`unless_stopped`] throws away.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::error::{Error, Result};

/// How many steps of an inner loop pass between two questions.
pub const EVERY: u32 = 1 << 18;

type Ask = Rc<dyn Fn() -> bool>;

thread_local! {
    static ASK: RefCell<Option<Ask>> = const { RefCell::new(None) };
    static STOPPED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the call at work on this thread is to stop.
#[cold]
pub fn requested() -> bool {
    if STOPPED.get() {
        return true;
    }
    let ask = ASK.with_borrow(Clone::clone);
    let stop = ask.is_some_and(|ask| ask());
    STOPPED.set(stop);
    stop
}

/// Runs `work`, which asks `ask` now and then whether to stop.
///
/// # Errors
/// [`Error::Stopped`] when it was told to, and what `work` returns.
pub fn unless_stopped<T>(ask: impl Fn() -> bool + 'static, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = ASK.replace(Some(Rc::new(ask)));
    STOPPED.set(false);
    let result = work();
    ASK.set(outer);
    if STOPPED.replace(false) { Err(Error::Stopped) } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_ends_when_it_is_told_to() {
        assert!(!requested());
        assert!(matches!(
            unless_stopped(
                || true,
                || {
                    assert!(requested());
                    Ok(1)
                }
            ),
            Err(Error::Stopped)
        ));
        assert!(matches!(
            unless_stopped(
                || false,
                || {
                    assert!(!requested());
                    Ok(1)
                }
            ),
            Ok(1)
        ));
        assert!(matches!(unless_stopped(|| true, || Ok(1)), Ok(1)));
        assert!(!requested());
    }
}
