//! Band keys of the texts, shard by shard, in memory or in files that a later call finds again.
//!
//! A shard is [`SHARD`] texts. Its keys are parted by their first byte, so that one partition of all shards can be read
//! without the rest. File: magic, fingerprint of what was signed and how, 256 x (records, checksum), then 12 bytes per
//! record (key, position of the text in the order), all little endian.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::minhash::MinHash;
use crate::order::Order;
use crate::room::{Room, damaged, storage, write_whole};
use crate::shingles::for_each_shingle_block;
use crate::signature::Permutations;
use crate::{Error, hash};

/// Texts of a shard: what a call that was killed signs again at most.
const SHARD: usize = 1 << 15;

/// Partitions: one per first byte of a key.
pub const PARTITIONS: usize = 256;

const MAGIC: u64 = 0x3144_4e42_4c54_5247;
const HEADER: usize = 16 + PARTITIONS * 16;
const BYTES: usize = 12;

/// A band of a text, by its position in the order: equal keys are the same band with the same rows.
pub type Record = (u64, u32);

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
    /// [`Error::Storage`], [`Error::Interrupted`].
    pub fn sign(texts: &[&str], same: &[u32], order: &Order, how: &MinHash, room: Room<'_>) -> Result<Self, Error> {
        let permutations = Permutations::new(how.bands * how.rows, how.seed);
        let mut out = Self { shards: Vec::new(), fingerprint: how.fingerprint() };
        for (number, chunk) in texts.chunks(SHARD).enumerate() {
            let first = number * SHARD;
            let own: Vec<u32> =
                (first..first + chunk.len()).filter(|text| same[*text] as usize == *text).map(|t| t as u32).collect();
            let Some((_, folder)) = room.spill() else {
                let parted = sign_shard(texts, &own, order, &permutations, how, room)?;
                out.shards.push(Shard::Held(parted));
                continue;
            };
            let path = folder.join(format!("bands-{number:05}.bin"));
            let fingerprint = fingerprint(texts, &own, order, how);
            out.fingerprint = hash::mix(out.fingerprint ^ fingerprint);
            if !is_signed(&path, fingerprint) {
                let parted = sign_shard(texts, &own, order, &permutations, how, room)?;
                write_whole(&path, &encode(fingerprint, &parted))?;
            }
            out.shards.push(Shard::Written(path));
        }
        Ok(out)
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

fn fingerprint(texts: &[&str], own: &[u32], order: &Order, how: &MinHash) -> u64 {
    let hashes: Vec<u64> = own.par_iter().map(|text| hash::bytes(texts[*text as usize].as_bytes())).collect();
    let start = hash::mix(how.fingerprint() ^ own.len() as u64);
    own.iter()
        .zip(hashes)
        .fold(start, |state, (text, hash)| hash::mix(hash::mix(state ^ hash) ^ u64::from(order.position(*text))))
}

fn sign_shard(
    texts: &[&str],
    own: &[u32],
    order: &Order,
    permutations: &Permutations,
    how: &MinHash,
    room: Room<'_>,
) -> Result<Vec<Vec<Record>>, Error> {
    let mut keys = vec![0_u64; own.len() * how.bands];
    keys.par_chunks_mut(how.bands).zip(own).with_min_len(16).try_for_each_init(
        Vec::new,
        |signature, (keys, text)| {
            let text = texts[*text as usize];
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
    for (text, keys) in own.iter().zip(keys.chunks_exact(how.bands)) {
        for key in keys {
            parted[(*key >> 56) as usize].push((*key, order.position(*text)));
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
    out
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Whether the whole shard is there already.
fn is_signed(path: &Path, fingerprint: u64) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    bytes.len() >= HEADER && word(&bytes, 0) == MAGIC && word(&bytes, 8) == fingerprint
}

fn read(path: &Path, partition: usize, out: &mut Vec<Record>) -> Result<(), Error> {
    let mut file = File::open(path).map_err(|why| storage("read", path, &why))?;
    let short = |_| damaged(path, "it is shorter than what was written");
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(short)?;
    let records = |partition: usize| word(&header, 16 + partition * 16);
    let before: u64 = (0..partition).map(records).fold(0, u64::saturating_add);
    let length = file.metadata().map_err(|why| storage("read", path, &why))?.len();
    let end = before.saturating_add(records(partition)).saturating_mul(BYTES as u64).saturating_add(HEADER as u64);
    if word(&header, 0) != MAGIC || end > length {
        return Err(damaged(path, "it is shorter than what was written"));
    }
    file.seek(SeekFrom::Start(HEADER as u64 + before * BYTES as u64)).map_err(|why| storage("read", path, &why))?;
    let mut bytes = vec![0; records(partition) as usize * BYTES];
    file.read_exact(&mut bytes).map_err(short)?;
    if hash::bytes(&bytes) != word(&header, 16 + partition * 16 + 8) {
        return Err(damaged(path, "its checksum does not match"));
    }
    out.extend(
        bytes
            .chunks_exact(BYTES)
            .map(|record| (word(record, 0), u32::from_le_bytes([record[8], record[9], record[10], record[11]]))),
    );
    Ok(())
}
