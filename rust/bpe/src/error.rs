//! What can go wrong; the binding maps each variant to one Python class.

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A vocabulary file is not in the format it claims to be in.
    #[error("{file}: {what}")]
    Format {
        /// The file as the caller named it.
        file: String,
        /// What is wrong, and where.
        what: String,
    },
    /// A splitting pattern is neither a known name nor a regular expression.
    #[error("pattern {pattern:?}: {reason}")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A special token stands in a text that may not hold it.
    #[error(
        "the text holds the special token {token:?} at byte {position}; put it in allowed_special to encode it as one token, \
         or leave it out of disallowed_special to encode it as plain text"
    )]
    SpecialToken {
        /// The token's text.
        token: String,
        /// Byte offset in the text.
        position: usize,
    },
    /// A value given by the caller is out of its range.
    #[error("{0}")]
    Input(String),
    /// A file for passing data on could not be written or read.
    #[error("{0}")]
    Storage(String),
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// A [`Error::Format`] about `file`.
    pub fn format(file: &str, what: impl Into<String>) -> Self {
        Self::Format { file: file.to_owned(), what: what.into() }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;
