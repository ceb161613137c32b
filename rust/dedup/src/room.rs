//! How much memory a call may use, where it may write, and how it is told to stop.

use std::path::{Path, PathBuf};

use gristlm_mapped::{Array, Element};

use crate::Error;

/// Told the bytes done since the last call; false asks to stop.
pub type Step<'s> = &'s (dyn Fn(u64) -> bool + Sync);

/// Memory and disk of one call. The result does not depend on it.
#[derive(Clone, Copy)]
pub struct Room<'r> {
    /// About how many bytes to hold beside the texts; `None` holds everything.
    pub memory: Option<u64>,
    /// Where intermediate files go once memory is full, and are looked for by a call that goes on after a kill.
    pub folder: Option<&'r Path>,
    /// Progress and interruption.
    pub step: Step<'r>,
}

impl Room<'_> {
    /// Counts `bytes` of work.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn did(&self, bytes: usize) -> Result<(), Error> {
        if (self.step)(bytes as u64) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// An array with an element for each text, beside the memory that is limited.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn array<T: Element>(&self, length: usize, element: impl Fn(usize) -> T) -> Result<Array<T>, Error> {
        let folder = self.spill().map(|(_, folder)| folder);
        Array::new(folder, length, element).map_err(|why| storage("write", folder.unwrap_or(Path::new("")), &why))
    }

    /// The folder to spill to, if memory is limited.
    pub fn spill(&self) -> Option<(u64, &Path)> {
        Some((self.memory?, self.folder?))
    }
}

/// All memory, no disk, never interrupted.
impl Default for Room<'static> {
    fn default() -> Self {
        Self { memory: None, folder: None, step: &|_| true }
    }
}

/// An error of the operating system.
pub fn storage(what: &'static str, path: &Path, why: &std::io::Error) -> Error {
    Error::Storage { what, path: path.display().to_string(), why: why.to_string() }
}

/// A file that is not what was written.
pub fn damaged(path: &Path, what: &'static str) -> Error {
    Error::Damaged { path: path.display().to_string(), what }
}

/// Writes `bytes` to `path` whole or not at all: a temporary name, fsync, rename.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    let temporary: PathBuf = path.with_extension("tmp");
    let write = || {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|why| storage("write", path, &why))
}
