//! All maps of the process.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::MmapRaw;

static MAPS: Mutex<Vec<Weak<MmapRaw>>> = Mutex::new(Vec::new());

/// Remembers a map of a file, shared with it, for [`let_go`].
pub fn register(map: MmapRaw) -> Arc<MmapRaw> {
    let map = Arc::new(map);
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|known| known.strong_count() > 0);
    maps.push(Arc::downgrade(&map));
    map
}

/// Gives the pages of all maps back to the system, whose cache has what they hold; the next access finds it there.
///
/// It may be called at any time, from any thread. A no-op where the system does not offer it.
pub fn let_go() {
    let maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    for map in maps.iter().filter_map(Weak::upgrade) {
        #[cfg(unix)]
        {
            // SAFETY: every map is of a file and shared with it (`file.rs` and `array.rs` make no others), so its pages
            // come back with what was last written to them. What fails leaves them where they are.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
        #[cfg(not(unix))]
        drop(map);
    }
}
