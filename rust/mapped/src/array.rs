//! An array in memory, or in a file of its own that goes with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::MmapRaw;

use crate::map::register;

/// What an array may hold.
///
/// # Safety
/// Any bytes that were written as this type may be read as it, from any thread; it owns nothing, and is aligned to no more
/// than a page.
pub unsafe trait Element: Send + Sync + 'static {}

macro_rules! elements {
    ($($name:ty),*) => {
        // SAFETY: numbers (and what is written as `bool` alone) without ownership.
        $(unsafe impl Element for $name {})*
    };
}
elements!(bool, u32, i32, u64, i64, f32, f64, AtomicU32, AtomicU64);

/// So many bytes are held rather than mapped: a file for fewer would cost more than it saves.
const HELD_BYTES: usize = 1 << 16;
const ZEROS: usize = 1 << 20;

/// A slice of fixed length.
pub struct Array<T: Element>(Kind<T>);

enum Kind<T> {
    Held(Vec<T>),
    Mapped { map: Arc<MmapRaw>, length: usize },
}

impl<T: Element> Array<T> {
    /// An array of `length` elements, each as `element` gives it for its number; in a file in `folder`, if one is given
    /// and it is long. The file has no name any more when this returns, so nothing is left of it after a kill.
    ///
    /// # Errors
    /// The system's, where the file cannot be written: its room on the disk is taken now, not when it is used.
    pub fn new(folder: Option<&Path>, length: usize, element: impl Fn(usize) -> T) -> io::Result<Self> {
        let bytes = length * size_of::<T>();
        let Some(folder) = folder.filter(|_| bytes > HELD_BYTES) else {
            return Ok(Self(Kind::Held((0..length).map(element).collect())));
        };
        let map = register(MmapRaw::map_raw(&file(folder, bytes)?)?);
        let start = map.as_mut_ptr().cast::<T>();
        for number in 0..length {
            // SAFETY: the map has room for `length` elements and, being made of whole pages, is aligned for them.
            unsafe { start.add(number).write(element(number)) };
        }
        Ok(Self(Kind::Mapped { map, length }))
    }
}

/// A file of zeros that has lost its name.
fn file(folder: &Path, bytes: usize) -> io::Result<File> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("array-{}-{}.tmp", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = folder.join(name);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let unnamed = std::fs::remove_file(&path);
    // A hole in the file would be filled when it is first written to, and a full disk would be told by a signal.
    let zeros = vec![0; ZEROS.min(bytes)];
    let mut rest = bytes;
    while rest > 0 {
        let next = zeros.len().min(rest);
        file.write_all(&zeros[..next])?;
        rest -= next;
    }
    unnamed.map(|()| file)
}

impl<T: Element> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Kind::Held(held) => held,
            // SAFETY: `new` wrote so many elements there, and no one else has the file.
            Kind::Mapped { map, length } => unsafe { std::slice::from_raw_parts(map.as_ptr().cast(), *length) },
        }
    }
}

impl<T: Element> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Kind::Held(held) => held,
            // SAFETY: as in `deref`; the borrow of `self` is the only one.
            Kind::Mapped { map, length } => unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), *length) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::let_go;

    #[test]
    fn an_array_in_a_file_is_one_in_memory() {
        let folder = std::env::temp_dir().join(format!("gristlm-array-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut mapped = Array::new(Some(&folder), 100_000, |number| number as i64).unwrap();
        let mut held = Array::new(None, 100_000, |number| number as i64).unwrap();
        assert!(matches!((&mapped.0, &held.0), (Kind::Mapped { .. }, Kind::Held(_))));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        for array in [&mut mapped, &mut held] {
            array[77_777] = -1;
        }
        let_go();
        assert_eq!(*mapped, *held);
        assert_eq!((mapped[77_776], mapped[77_777]), (77_776, -1));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(Array::new(Some(&folder), 100_000, |_| 0_u32).is_err());
        assert_eq!(Array::new(Some(&folder), 0, |_| 0_u32).unwrap().len(), 0);
    }
}
