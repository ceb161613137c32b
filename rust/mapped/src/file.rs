//! A file that is read through its map.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use crate::map::register;

/// The bytes of a file, as long as nobody changes it.
pub struct MappedFile(Option<Arc<MmapRaw>>);

impl MappedFile {
    /// Maps a file; it is closed again.
    ///
    /// # Errors
    /// The system's, where it cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        Ok(Self(Some(register(MmapOptions::new().map_raw_read_only(&file)?))))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(map) = &self.0 else { return &[] };
        // SAFETY: the map is that long and lives as long as `self`. It is never written to; a file that another process
        // changes meanwhile is outside what this crate promises, as with any map.
        unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::let_go;

    #[test]
    fn a_file_is_read_as_it_is_and_again_after_it_was_let_go() {
        let path = std::env::temp_dir().join(format!("gristlm-mapped-{}", std::process::id()));
        std::fs::write(&path, b"what it holds").unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        assert_eq!(&*mapped, b"what it holds");
        let_go();
        assert_eq!(&*mapped, b"what it holds");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(&*MappedFile::open(&path).unwrap(), b"");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(MappedFile::open(&path).err().map(|why| why.kind()), Some(io::ErrorKind::NotFound));
    }
}
