//! Near duplicates: MinHash signatures, LSH bands, and every candidate verified.
//!
//! In the order of the texts (theirs, or one that is given: [`crate::order`]), a text is dropped if a text that is **kept**, stands before it and shares a band with it
//! has a Jaccard similarity of at least `threshold` with it; its twin is the first such text. So a dropped text is always
//! verified against one that stays, never dropped through a chain of others, and the one that stays of each group comes
//! first. Source: Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3.4. The Jaccard
//! similarity is that of the sets of shingles as 64-bit hashes ([`crate::shingles`]). Of the kept texts of one band the
//! first 1,000 are compared ([`crate::resolve`]).
//!
//! Larger than memory: the band keys are parted by prefix ([`crate::bands`]), one partition at a time gives groups
//! ([`crate::groups`]), and the texts of groups are resolved in order ([`crate::resolve`]), with what there is for each
//! text and each group in mapped files. Neither the threads nor the memory show in the result.

use std::ops::Range;
use std::path::Path;

use gristlm_mapped::Array;
use rayon::prelude::*;

use crate::bands::{self, Bands, Own, PARTITIONS, SHARD};
use crate::corpus::Corpus;
use crate::error::{check_count, check_texts};
use crate::exact::exact;
use crate::groups::{self, Groups};
use crate::order::Order;
use crate::pieces::Unit;
use crate::resolve::resolve;
use crate::room::Room;
use crate::shingles::for_each_shingle_block;
use crate::signature::Permutations;
use crate::{Error, hash};

/// How to look for near duplicates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MinHash {
    /// Length of a signature.
    pub num_perm: usize,
    /// Bands that are compared; one equal band makes a candidate.
    pub bands: usize,
    /// Numbers of the signature in each band.
    pub rows: usize,
    /// Tokens in a shingle.
    pub ngram: usize,
    /// The least Jaccard similarity of a duplicate.
    pub threshold: f64,
    /// Of the permutations.
    pub seed: u64,
}

impl MinHash {
    fn check(&self) -> Result<(), Error> {
        check_count("num_perm", self.num_perm, 1 << 16)?;
        check_count("bands", self.bands, 1 << 16)?;
        check_count("rows", self.rows, 1 << 16)?;
        check_count("ngram", self.ngram, 1 << 16)?;
        if self.bands * self.rows > self.num_perm {
            return Err(Error::BandsBeyondSignature { bands: self.bands, rows: self.rows, num_perm: self.num_perm });
        }
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return Err(Error::Threshold { given: self.threshold });
        }
        Ok(())
    }

    /// Of all that the band keys depend on beside the texts.
    pub(crate) fn fingerprint(&self) -> u64 {
        [self.bands as u64, self.rows as u64, self.ngram as u64, self.seed]
            .iter()
            .fold(1, |state, value| hash::mix(state ^ value).wrapping_add(1))
    }
}

/// Which texts stay, and whose twins the others are.
pub struct NearDuplicates {
    /// Whether the text stays.
    pub keep: Array<bool>,
    /// The kept text of its group: its twin, or itself.
    pub cluster: Array<i64>,
    /// The kept text that it was verified against; −1 for those that stay.
    pub twin: Array<i64>,
    /// Their Jaccard similarity; 0 for those that stay.
    pub similarity: Array<f32>,
}

/// Finds near duplicates. The texts may be mapped files; beside them `room` bounds the memory: what there is for each text
/// (some 60 bytes in all, and 12 for each band that it shares) lies in mapped files too.
/// They are signed as they lie; only what is compared is looked for in `order` (the positions of the texts, first to
/// last; none is as they lie).
///
/// # Errors
/// [`Error::Zero`], [`Error::TooMany`], [`Error::BandsBeyondSignature`], [`Error::Threshold`], [`Error::TooManyTexts`],
/// [`Error::Order`], [`Error::Storage`], [`Error::Damaged`], [`Error::Interrupted`].
pub fn near_duplicates(
    texts: &dyn Corpus,
    order: Option<&[i64]>,
    how: &MinHash,
    room: Room<'_>,
) -> Result<NearDuplicates, Error> {
    how.check()?;
    check_texts(texts.len())?;
    let order = Order::new(order, texts.len(), room)?;
    // A million copies cost one lookup each, not a band.
    let same = order.first_of_clusters(&exact(texts, Unit::Document, room)?.cluster, room)?;
    let filed = bands::in_files(texts.len(), how, room);
    let bands = Bands::sign(texts, &same, &order, how, filed)?;
    let members = Groups::find(&bands, filed)?.members(room)?;
    drop(bands);

    let mut out = NearDuplicates {
        keep: room.array(texts.len(), |_| true)?,
        cluster: room.array(texts.len(), |text| text as i64)?,
        twin: room.array(texts.len(), |_| -1)?,
        similarity: room.array(texts.len(), |_| 0.0)?,
    };
    let arranged = order.arrange(texts);
    resolve(&arranged, &members, how, room, |position, twin| {
        let text = order.text(position) as usize;
        out.twin[text] = i64::from(order.text(twin.position));
        out.similarity[text] = twin.similarity as f32;
    })?;
    for (text, first) in same.iter().map(|first| *first as usize).enumerate() {
        if first != text {
            // A copy shares the fate of the first text that equals it.
            let dropped = out.twin[first] >= 0;
            out.twin[text] = if dropped { out.twin[first] } else { first as i64 };
            out.similarity[text] = if dropped { out.similarity[first] } else { 1.0 };
        }
        if out.twin[text] >= 0 {
            out.keep[text] = false;
            out.cluster[text] = out.twin[text];
        }
    }
    Ok(out)
}

/// Signs texts `number * 32768` and on of a corpus into `folder`, as [`near_duplicates`] does and finds it there; so several
/// machines may share that work. `positions` are theirs in the order of all texts; -1 is a copy of an earlier one.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooMany`], [`Error::BandsBeyondSignature`], [`Error::Positions`], [`Error::Storage`],
/// [`Error::Damaged`], [`Error::Interrupted`].
pub fn sign_shard(
    texts: &[&str],
    positions: &[i64],
    number: usize,
    folder: &Path,
    how: &MinHash,
    room: Room<'_>,
) -> Result<(), Error> {
    how.check()?;
    if texts.len() > SHARD || positions.len() != texts.len() {
        return Err(Error::Positions { texts: texts.len(), given: positions.len(), limit: SHARD });
    }
    let own: Vec<Own<'_>> = texts
        .iter()
        .zip(positions)
        .filter_map(|(text, position)| Some((*text, u32::try_from(*position).ok()?)))
        .collect();
    bands::write_shard(folder, number, &own, how, room)
}

/// Finds what shares a band in some of the 256 partitions of what [`sign_shard`] left in `folder`, all `shards` of it.
///
/// # Errors
/// As [`sign_shard`], and [`Error::Partitions`].
pub fn group_partitions(
    partitions: Range<usize>,
    shards: usize,
    folder: &Path,
    how: &MinHash,
    room: Room<'_>,
) -> Result<(), Error> {
    how.check()?;
    if partitions.end > PARTITIONS {
        return Err(Error::Partitions { first: partitions.start, end: partitions.end, limit: PARTITIONS });
    }
    groups::write_partitions(&Bands::open(folder, shards, how)?, partitions, folder, room)
}

/// The signature of each text, one after the other: `num_perm` numbers each.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooMany`], [`Error::Interrupted`].
pub fn signatures(texts: &[&str], num_perm: usize, ngram: usize, seed: u64, room: Room<'_>) -> Result<Vec<u32>, Error> {
    check_count("num_perm", num_perm, 1 << 16)?;
    check_count("ngram", ngram, 1 << 16)?;
    let permutations = Permutations::new(num_perm, seed);
    let mut out = vec![u32::MAX; texts.len() * num_perm];
    out.par_chunks_mut(num_perm).zip(texts).with_min_len(16).try_for_each_init(
        Vec::new,
        |signature, (slot, text)| {
            permutations.begin(signature);
            for_each_shingle_block(text, ngram, |block| permutations.lower(block, signature));
            slot.copy_from_slice(signature);
            room.did(text.len())
        },
    )?;
    Ok(out)
}
