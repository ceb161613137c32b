//! Band keys of the texts, shard by shard, in memory or in files that a later call finds again.
//!
//! A shard is [`SHARD`] texts. Its keys are parted by their first byte, so that one partition of all shards can be read
//! without the rest. File: magic, fingerprint of what was signed and how, 256 x (records, checksum), checksum of all
//! that; then 12 bytes per record (key, position of the text in the order), all little endian.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::corpus::Corpus;
use crate::minhash::MinHash;
use crate::order::Order;
use crate::room::{Room, damaged, storage, write_whole};
use crate::shingles::for_each_shingle_block;
use crate::signature::Permutations;
use crate::{Error, hash};

/// Texts of a shard: what a call that was killed signs again at most.
pub const SHARD: usize = 1 << 15;

/// Partitions: one per first byte of a key.
pub const PARTITIONS: usize = 256;

const MAGIC: u64 = 0x3244_4e42_4c54_5247;
const HEADER: usize = 16 + PARTITIONS * 16 + 8;
const BYTES: usize = 12;

/// A band of a text, by its position in the order: equal keys are the same band with the same rows.
pub type Record = (u64, u32);

/// A text that is its own first copy, and its position in the order.
pub type Own<'t> = (&'t str, u32);

/// The keys of one shard.
enum Shard {
    Held(Vec<Vec<Record>>),
    Written(PathBuf),
}

/// The keys of all texts.
pub struct Bands {
    shards: Vec<Shard>,
    /// Of everything that was signed and how.
    pub fingerprint: u64,
}

impl Bands {
    /// Signs the texts that are their own first copy (`same`), as they lie; the records name their positions in `order`.
    /// Shards that an earlier call wrote are not signed again.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
    pub fn sign(texts: &dyn Corpus, same: &[u32], order: &Order, how: &MinHash, room: Room<'_>) -> Result<Self, Error> {
        let permutations = Permutations::new(how.bands * how.rows, how.seed);
        let mut out = Self { shards: Vec::new(), fingerprint: how.fingerprint() };
        for (number, first) in (0..texts.len()).step_by(SHARD).enumerate() {
            let own: Vec<Own<'_>> = (first..texts.len().min(first + SHARD))
                .filter(|text| same[*text] as usize == *text)
                .map(|text| (texts.text(text), order.position(text as u32)))
                .collect();
            let Some((_, folder)) = room.spill() else {
                out.shards.push(Shard::Held(sign_own(&own, &permutations, how, room)?));
                continue;
            };
            let path = file(folder, number);
            out.mix(write(&path, &own, &permutations, how, room)?);
            out.shards.push(Shard::Written(path));
        }
        Ok(out)
    }

    /// The keys that calls of [`write_shard`] left in `folder`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    pub fn open(folder: &Path, shards: usize, how: &MinHash) -> Result<Self, Error> {
        let mut out = Self { shards: Vec::new(), fingerprint: how.fingerprint() };
        for number in 0..shards {
            let path = file(folder, number);
            out.mix(Header::read(&path)?.fingerprint);
            out.shards.push(Shard::Written(path));
        }
        Ok(out)
    }

    fn mix(&mut self, fingerprint: u64) {
        self.fingerprint = hash::mix(self.fingerprint ^ fingerprint);
    }

    /// The records of one partition, sorted by key and text.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    pub fn partition(&self, partition: usize) -> Result<Vec<Record>, Error> {
        let mut out = Vec::new();
        for shard in &self.shards {
            match shard {
                Shard::Held(parted) => out.extend_from_slice(&parted[partition]),
                Shard::Written(path) => read(path, partition, &mut out)?,
            }
        }
        out.sort_unstable();
        Ok(out)
    }
}

/// `room`, without its folder where the keys fit an eighth of its memory and none were left there.
pub fn in_files<'r>(texts: usize, how: &MinHash, room: Room<'r>) -> Room<'r> {
    let wanted =
        |(memory, folder): (u64, &Path)| (texts * how.bands * BYTES) as u64 > memory / 8 || file(folder, 0).exists();
    Room { folder: room.folder.filter(|_| room.spill().is_some_and(wanted)), ..room }
}

/// Signs shard `number` into `folder`, where [`Bands::sign`] finds it, unless it is there.
///
/// # Errors
/// [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
pub fn write_shard(folder: &Path, number: usize, own: &[Own<'_>], how: &MinHash, room: Room<'_>) -> Result<(), Error> {
    let permutations = Permutations::new(how.bands * how.rows, how.seed);
    write(&file(folder, number), own, &permutations, how, room).map(|_| ())
}

fn file(folder: &Path, shard: usize) -> PathBuf {
    folder.join(format!("bands-{shard:05}.bin"))
}

/// Makes sure that the shard is in its file; returns its fingerprint.
fn write(
    path: &Path,
    own: &[Own<'_>],
    permutations: &Permutations,
    how: &MinHash,
    room: Room<'_>,
) -> Result<u64, Error> {
    let fingerprint = fingerprint(own, how);
    let there = path.exists() && Header::read(path)?.fingerprint == fingerprint;
    if !there {
        write_whole(path, &encode(fingerprint, &sign_own(own, permutations, how, room)?))?;
    }
    Ok(fingerprint)
}

fn fingerprint(own: &[Own<'_>], how: &MinHash) -> u64 {
    let hashes: Vec<u64> = own.par_iter().map(|(text, _)| hash::bytes(text.as_bytes())).collect();
    let start = hash::mix(how.fingerprint() ^ own.len() as u64);
    own.iter()
        .zip(hashes)
        .fold(start, |state, ((_, position), hash)| hash::mix(hash::mix(state ^ hash) ^ u64::from(*position)))
}

fn sign_own(
    own: &[Own<'_>],
    permutations: &Permutations,
    how: &MinHash,
    room: Room<'_>,
) -> Result<Vec<Vec<Record>>, Error> {
    let mut keys = vec![0_u64; own.len() * how.bands];
    keys.par_chunks_mut(how.bands).zip(own).with_min_len(16).try_for_each_init(
        Vec::new,
        |signature, (keys, (text, _))| {
            permutations.begin(signature);
            for_each_shingle_block(text, how.ngram, |block| {
                permutations.lower(block, signature);
            });
            for (band, (key, rows)) in keys.iter_mut().zip(signature.chunks_exact(how.rows)).enumerate() {
                let start = hash::mix(band as u64 + 1);
                *key = rows.iter().fold(start, |state, row| hash::mix(state ^ u64::from(*row)).wrapping_add(1));
            }
            room.did(text.len())
        },
    )?;
    let mut parted = vec![Vec::new(); PARTITIONS];
    for ((_, position), keys) in own.iter().zip(keys.chunks_exact(how.bands)) {
        for key in keys {
            parted[(*key >> 56) as usize].push((*key, *position));
        }
    }
    Ok(parted)
}

fn encode(fingerprint: u64, parted: &[Vec<Record>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    out.extend(fingerprint.to_le_bytes());
    out.resize(HEADER, 0);
    for (partition, records) in parted.iter().enumerate() {
        let start = out.len();
        for (key, text) in records {
            out.extend(key.to_le_bytes());
            out.extend(text.to_le_bytes());
        }
        let checksum = hash::bytes(&out[start..]);
        let at = 16 + partition * 16;
        out[at..at + 8].copy_from_slice(&(records.len() as u64).to_le_bytes());
        out[at + 8..at + 16].copy_from_slice(&checksum.to_le_bytes());
    }
    let checksum = hash::bytes(&out[..HEADER - 8]);
    out[HEADER - 8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    out
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// What stands before the records.
struct Header {
    fingerprint: u64,
    /// Of each partition: records, and their checksum.
    parts: Vec<(usize, u64)>,
    file: File,
}

impl Header {
    /// Opens a file and makes sure of its header and length; not yet of its records.
    fn read(path: &Path) -> Result<Self, Error> {
        let no = |why: std::io::Error| match why.kind() {
            ErrorKind::UnexpectedEof => damaged(path, "it is shorter than what was written"),
            _ => storage("read", path, &why),
        };
        let mut file = File::open(path).map_err(no)?;
        let mut bytes = [0; HEADER];
        file.read_exact(&mut bytes).map_err(no)?;
        if word(&bytes, 0) != MAGIC || hash::bytes(&bytes[..HEADER - 8]) != word(&bytes, HEADER - 8) {
            return Err(damaged(path, "its header is not what was written"));
        }
        let parts: Vec<(usize, u64)> =
            bytes[16..HEADER - 8].chunks_exact(16).map(|part| (word(part, 0) as usize, word(part, 8))).collect();
        let records: usize = parts.iter().map(|(records, _)| records).sum();
        if file.metadata().map_err(no)?.len() != (HEADER + records * BYTES) as u64 {
            return Err(damaged(path, "its length is not what was written"));
        }
        Ok(Self { fingerprint: word(&bytes, 8), parts, file })
    }
}

fn read(path: &Path, partition: usize, out: &mut Vec<Record>) -> Result<(), Error> {
    let Header { parts, mut file, .. } = Header::read(path)?;
    let no = |why: std::io::Error| storage("read", path, &why);
    let before: usize = parts[..partition].iter().map(|(records, _)| records).sum();
    let (records, checksum) = parts[partition];
    file.seek(SeekFrom::Start((HEADER + before * BYTES) as u64)).map_err(no)?;
    let mut bytes = vec![0; records * BYTES];
    file.read_exact(&mut bytes).map_err(no)?;
    if hash::bytes(&bytes) != checksum {
        return Err(damaged(path, "its checksum does not match"));
    }
    out.extend(
        bytes
            .chunks_exact(BYTES)
            .map(|record| (word(record, 0), u32::from_le_bytes([record[8], record[9], record[10], record[11]]))),
    );
    Ok(())
}
