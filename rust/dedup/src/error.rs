//! What can go wrong in this crate; each message says what was given, what is allowed and what to change.

/// An error of `gristlm-dedup`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A unit of exact deduplication that does not exist.
    #[error("unit is {given:?}; give \"document\", \"paragraph\" or \"line\"")]
    UnknownUnit {
        /// As given.
        given: String,
    },
    /// A count of 0.
    #[error("{option} is 0; give 1 or more")]
    Zero {
        /// The option.
        option: &'static str,
    },
    /// More bands than the signature has rows for.
    #[error("bands * rows is {bands} * {rows} = {}, more than num_perm={num_perm}; lower bands or rows, or raise num_perm", .bands * .rows)]
    BandsBeyondSignature {
        /// Bands asked for.
        bands: usize,
        /// Rows of each.
        rows: usize,
        /// Length of a signature.
        num_perm: usize,
    },
    /// A count beyond what any corpus needs.
    #[error("{option} is {given}; give at most {limit}")]
    TooMany {
        /// The option.
        option: &'static str,
        /// As given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A Jaccard threshold outside (0, 1].
    #[error("threshold is {given}; give a number above 0 and at most 1")]
    Threshold {
        /// As given.
        given: f64,
    },
    /// More documents than a 32-bit index holds.
    #[error("there are {given} texts; one call takes at most {limit}, split them")]
    TooManyTexts {
        /// As given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// An order that names a text twice, or one that is not there, or leaves one out that it must not.
    #[error("order: {given} in position {position}; give numbers from 0 to {texts} - 1, {once}")]
    Order {
        /// What stands there, -1 where the order ends too soon.
        given: i64,
        /// Where.
        position: usize,
        /// How many texts there are.
        texts: usize,
        /// How often each may come.
        once: &'static str,
    },
    /// More ids than texts, or fewer.
    #[error("there are {ids} ids and {texts} texts; give one for each")]
    Ids {
        /// How many ids there are.
        ids: usize,
        /// How many texts.
        texts: usize,
    },
    /// A shard of a corpus that is none.
    #[error("a shard has {texts} texts and {given} positions; give one for each, of at most {limit} texts")]
    Positions {
        /// How many texts there are.
        texts: usize,
        /// How many positions.
        given: usize,
        /// The most of both.
        limit: usize,
    },
    /// Partitions beyond the last.
    #[error("partitions are {first} to {end}; there are {limit}")]
    Partitions {
        /// The first.
        first: usize,
        /// The one after the last.
        end: usize,
        /// How many there are.
        limit: usize,
    },
    /// A text longer than a 32-bit offset reaches.
    #[error("text {document} has {given} bytes; a text may have at most {limit}, cut it into parts")]
    TooMuchText {
        /// Its index.
        document: usize,
        /// As given.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// An intermediate file is not what was written.
    #[error("{path} is damaged: {what}; remove it (or the folder it is in) and run again")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {what} {path}: {why}")]
    Storage {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        why: String,
    },
    /// The caller asked to stop.
    #[error("the call was interrupted")]
    Interrupted,
    /// A span that is not inside its text.
    #[error(
        "spans: row {row} is ({document}, {start}, {end}), which is no span of the texts; give rows of (document, start, end) in bytes, at character boundaries"
    )]
    BadSpan {
        /// Its row.
        row: usize,
        /// The document.
        document: i64,
        /// Its first byte.
        start: i64,
        /// The byte after its last.
        end: i64,
    },
}

/// Refuses a `count` of 0 or above `limit`.
pub(crate) fn check_count(option: &'static str, count: usize, limit: usize) -> Result<(), Error> {
    match count {
        0 => Err(Error::Zero { option }),
        _ if count > limit => Err(Error::TooMany { option, given: count, limit }),
        _ => Ok(()),
    }
}

/// Refuses more texts than a `u32` counts.
pub(crate) fn check_texts(given: usize) -> Result<(), Error> {
    let limit = u32::MAX as usize - 1;
    if given > limit { Err(Error::TooManyTexts { given, limit }) } else { Ok(()) }
}
