//! Texts that share a band: the groups of each partition, and the groups of each text.

use std::path::{Path, PathBuf};

use gristlm_mapped::Array;
use rayon::prelude::*;

use crate::bands::{Bands, PARTITIONS};
use crate::error::check_count;
use crate::room::{Room, damaged, storage, write_whole};
use crate::{Error, hash};

/// Groups of one partition, as numbers: how many texts, then the texts in order; and so on.
enum Part {
    Held(Vec<u32>),
    Written(PathBuf),
}

/// All groups of two texts and more.
pub struct Groups {
    parts: Vec<Part>,
    fingerprint: u64,
}

impl Groups {
    /// Finds the groups, a partition at a time on each thread, and lays them where `filed` says; those an earlier call
    /// wrote are read again.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
    pub fn find(bands: &Bands, filed: Room<'_>) -> Result<Self, Error> {
        let parts = (0..PARTITIONS)
            .into_par_iter()
            .map(|partition| {
                filed.did(0)?;
                let path = filed.spill().map(|(_, folder)| file(folder, partition));
                let found = find(bands, partition, path.as_deref())?;
                Ok(path.map_or_else(|| Part::Held(found), Part::Written))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { parts, fingerprint: bands.fingerprint })
    }

    /// Calls `group` with each group, in a stated order: by partition, then by key.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    fn each(&self, mut group: impl FnMut(&[u32])) -> Result<(), Error> {
        for part in &self.parts {
            match part {
                Part::Held(found) => each_group(found, &mut group),
                Part::Written(path) => {
                    let gone = || damaged(path, "it was changed while it was in use");
                    each_group(&read(path, self.fingerprint)?.ok_or_else(gone)?, &mut group);
                }
            }
        }
        Ok(())
    }

    /// The texts of the groups, in order, each with its groups.
    ///
    /// # Errors
    /// [`Error::TooMany`], [`Error::Storage`], [`Error::Damaged`].
    pub fn members(&self, room: Room<'_>) -> Result<Members, Error> {
        let (mut count, mut memberships) = (0, 0);
        self.each(|group| {
            count += 1;
            memberships += group.len();
        })?;
        check_count("groups of texts", count.max(1), u32::MAX as usize)?;
        let mut pairs = room.array(memberships, |_| 0_u64)?;
        let mut sizes = room.array(count, |_| 0_u32)?;
        let (mut free, mut numbered) = (pairs.iter_mut(), sizes.iter_mut().enumerate());
        self.each(|group| {
            let Some((number, size)) = numbered.next() else { return };
            *size = group.len() as u32;
            for (text, pair) in group.iter().zip(&mut free) {
                *pair = u64::from(*text) << 32 | number as u64;
            }
        })?;
        pairs.par_sort_unstable();
        Ok(Members { pairs, sizes })
    }
}

/// Texts in order, and the groups that each is in.
pub struct Members {
    /// The text in the upper half, the number of the group in the lower, sorted.
    pairs: Array<u64>,
    /// How many texts each group has.
    pub sizes: Array<u32>,
}

impl Members {
    /// Each text, and what [`group`] makes its groups of.
    pub fn texts(&self) -> impl Iterator<Item = (u32, &[u64])> {
        self.pairs.chunk_by(|a, b| a >> 32 == b >> 32).map(|pairs| ((pairs[0] >> 32) as u32, pairs))
    }
}

/// The number of a group.
pub fn group(pair: u64) -> usize {
    (pair & u64::from(u32::MAX)) as usize
}

fn file(folder: &Path, partition: usize) -> PathBuf {
    folder.join(format!("groups-{partition:03}.bin"))
}

/// The groups of one partition: those in its file, or found now and written there.
fn find(bands: &Bands, partition: usize, path: Option<&Path>) -> Result<Vec<u32>, Error> {
    if let Some(known) =
        path.filter(|path| path.exists()).map(|path| read(path, bands.fingerprint)).transpose()?.flatten()
    {
        return Ok(known);
    }
    let mut found = Vec::new();
    for run in bands.partition(partition)?.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        found.push(run.len() as u32);
        found.extend(run.iter().map(|(_, text)| *text));
    }
    if let Some(path) = path {
        write_whole(path, &encode(&found, bands.fingerprint))?;
    }
    Ok(found)
}

/// Finds the groups of some partitions of what lies in `folder`, where [`Groups::find`] finds them.
///
/// # Errors
/// [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
pub fn write_partitions(
    bands: &Bands,
    partitions: std::ops::Range<usize>,
    folder: &Path,
    room: Room<'_>,
) -> Result<(), Error> {
    partitions.into_par_iter().try_for_each(|partition| {
        room.did(0)?;
        find(bands, partition, Some(&file(folder, partition))).map(|_| ())
    })
}

fn each_group(found: &[u32], mut group: impl FnMut(&[u32])) {
    let mut rest = found;
    while let Some((count, after)) = rest.split_first() {
        let Some((texts, next)) = after.split_at_checked(*count as usize) else { return };
        group(texts);
        rest = next;
    }
}

/// File: fingerprint of the bands, checksum of that and of the groups, the groups; little endian.
fn encode(found: &[u32], fingerprint: u64) -> Vec<u8> {
    let body: Vec<u8> = found.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut out = Vec::with_capacity(body.len() + 16);
    out.extend(fingerprint.to_le_bytes());
    out.extend(checksum(&body, fingerprint).to_le_bytes());
    out.extend(body);
    out
}

fn checksum(body: &[u8], fingerprint: u64) -> u64 {
    hash::mix(hash::bytes(body) ^ fingerprint)
}

/// The groups in a file; `None` when they are of other texts or settings.
fn read(path: &Path, fingerprint: u64) -> Result<Option<Vec<u32>>, Error> {
    let bytes = std::fs::read(path).map_err(|why| storage("read", path, &why))?;
    let Some((header, body)) = bytes.split_at_checked(16) else {
        return Err(damaged(path, "it is shorter than what was written"));
    };
    let word = |at: usize| header[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    if word(8) != checksum(body, word(0)) {
        return Err(damaged(path, "its checksum does not match"));
    }
    let numbers = || body.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok((word(0) == fingerprint).then(numbers))
}
