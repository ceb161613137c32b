//! Records of 24 bytes, parted by the first byte of their hash; on disk where memory is limited.
//!
//! A partition's records come back in the order in which they were added. What was written is checked when it is read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;

use crate::room::{Room, damaged, storage};
use crate::{Error, hash};

/// Partitions: one per first byte of the hash.
pub const PARTITIONS: usize = 256;

const BYTES: usize = 24;

/// Records that are read from disk at a time.
const PIECE: usize = 1 << 15;

/// A unit: its hash, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the bytes that are compared.
    pub hash: u64,
    /// Index of the text.
    pub document: u32,
    /// First byte in it.
    pub start: u32,
    /// Bytes that are compared.
    pub length: u32,
    /// Its number among the units of the text.
    pub index: u32,
}

impl Record {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(&self.hash.to_le_bytes());
        for (slot, value) in out[8..].chunks_exact_mut(4).zip([self.document, self.start, self.length, self.index]) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let hash = u64::from(word(0)) | u64::from(word(4)) << 32;
        Self { hash, document: word(8), start: word(12), length: word(16), index: word(20) }
    }
}

/// The partition of a hash.
pub fn partition(hash: u64) -> usize {
    (hash >> 56) as usize
}

/// All records of a call.
pub struct Spill<'r> {
    held: Vec<Vec<Record>>,
    /// Records held.
    count: usize,
    room: Room<'r>,
    /// Of each partition: length and hash of each piece on disk.
    written: Vec<Vec<(usize, u64)>>,
}

impl<'r> Spill<'r> {
    /// Nothing yet.
    pub fn new(room: Room<'r>) -> Self {
        Self { held: vec![Vec::new(); PARTITIONS], count: 0, room, written: vec![Vec::new(); PARTITIONS] }
    }

    /// Adds the records of one part of the texts, parted.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn add(&mut self, parted: &[Vec<Record>]) -> Result<(), Error> {
        for (held, records) in self.held.iter_mut().zip(parted) {
            held.extend_from_slice(records);
            self.count += records.len();
        }
        match self.room.spill() {
            // Vectors grow by doubling: what is held may take twice its size.
            Some((memory, _)) if (self.count * BYTES * 2) as u64 > memory / 2 => self.write_out(),
            _ => Ok(()),
        }
    }

    fn path(&self, partition: usize) -> Option<PathBuf> {
        self.room.folder.map(|folder| folder.join(format!("units-{partition:03}.bin")))
    }

    fn write_out(&mut self) -> Result<(), Error> {
        for partition in 0..PARTITIONS {
            let Some(path) = self.path(partition) else { return Ok(()) };
            let first = self.written[partition].is_empty();
            let mut options = OpenOptions::new();
            let options = if first { options.write(true).create(true).truncate(true) } else { options.append(true) };
            let no = |why: std::io::Error| storage("write", &path, &why);
            let mut file = options.open(&path).map_err(no)?;
            for piece in self.held[partition].chunks(PIECE) {
                let bytes: Vec<u8> = piece.iter().flat_map(|record| record.to_bytes()).collect();
                file.write_all(&bytes).map_err(no)?;
                self.written[partition].push((bytes.len(), hash::bytes(&bytes)));
            }
            self.held[partition] = Vec::new();
        }
        self.count = 0;
        Ok(())
    }

    /// How many records a partition has.
    pub fn records(&self, partition: usize) -> usize {
        let written: usize = self.written[partition].iter().map(|(length, _)| length / BYTES).sum();
        written + self.held[partition].len()
    }

    /// Calls `record` with all records of one partition.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    pub fn each(&self, partition: usize, mut record: impl FnMut(Record)) -> Result<(), Error> {
        if let (Some(path), false) = (self.path(partition), self.written[partition].is_empty()) {
            let mut file = File::open(&path).map_err(|why| storage("read", &path, &why))?;
            for (length, checksum) in &self.written[partition] {
                let mut bytes = vec![0; *length];
                file.read_exact(&mut bytes).map_err(|_| damaged(&path, "it is shorter than what was written"))?;
                if hash::bytes(&bytes) != *checksum {
                    return Err(damaged(&path, "its checksum does not match"));
                }
                bytes.chunks_exact(BYTES).map(Record::from_bytes).for_each(&mut record);
            }
        }
        self.held[partition].iter().copied().for_each(record);
        Ok(())
    }
}

impl Drop for Spill<'_> {
    fn drop(&mut self) {
        for partition in (0..PARTITIONS).filter(|partition| !self.written[*partition].is_empty()) {
            if let Some(path) = self.path(partition) {
                // What is left in the folder would be overwritten by the next call.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_named() {
        let folder = std::env::temp_dir().join(format!("gristlm-spill-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let room = Room { memory: Some(1), folder: Some(&folder), ..Room::default() };
        let mut spill = Spill::new(room);
        let record = |index: u32| Record { hash: 7 << 56 | u64::from(index), document: 1, start: 2, length: 3, index };
        for index in 0..3 {
            let mut parted = vec![Vec::new(); PARTITIONS];
            parted[7].push(record(index));
            spill.add(&parted).unwrap();
        }
        let read = |spill: &Spill<'_>| {
            let mut records = Vec::new();
            spill.each(7, |record| records.push(record)).map(|()| records)
        };
        assert_eq!(read(&spill).unwrap(), [record(0), record(1), record(2)]);
        let path = folder.join("units-007.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&spill), Err(damaged(&path, "its checksum does not match")));
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes[..30]).unwrap();
        assert_eq!(read(&spill), Err(damaged(&path, "it is shorter than what was written")));
        drop(spill);
        assert!(!path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
