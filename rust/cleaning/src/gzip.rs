//! gzip (RFC 1952), unpacked piece by piece: the caller says how much may come out at a time.

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::Error;

const WINDOW_BITS: u8 = 15;

/// One member of a gzip stream, in the making.
pub struct Member<Data> {
    inner: Decompress,
    data: Option<Data>,
    /// How much of `data` has been used.
    at: usize,
    out: Vec<u8>,
    ended: bool,
    full: bool,
}

impl<Data: AsRef<[u8]>> Default for Member<Data> {
    fn default() -> Self {
        let inner = Decompress::new_gzip(WINDOW_BITS);
        Self { inner, data: None, at: 0, out: Vec::new(), ended: false, full: false }
    }
}

impl<Data: AsRef<[u8]>> Member<Data> {
    /// Returns at most `most` more bytes of content. `data` goes on where what was given before ended; where
    /// [`Self::wants_data`] is false, there is some left of that, and `data` is not taken.
    ///
    /// # Errors
    /// [`Error::Gzip`]; what this call unpacked of a damaged member is not given.
    pub fn unpack(&mut self, data: Data, most: usize) -> Result<&[u8], Error> {
        if self.wants_data() {
            (self.data, self.at) = (Some(data), 0);
        }
        if self.out.len() < most {
            self.out.resize(most, 0);
        }
        let (read, written) = (self.inner.total_in(), self.inner.total_out());
        let told = self.inner.decompress(
            self.data.as_ref().map_or(&[], |data| &data.as_ref()[self.at..]),
            &mut self.out[..most],
            FlushDecompress::None,
        );
        self.at += (self.inner.total_in() - read) as usize;
        let content = &self.out[..(self.inner.total_out() - written) as usize];
        self.full = content.len() == most;
        let status = told.map_err(|e| Error::Gzip { why: e.message().unwrap_or("damaged data").to_owned() })?;
        self.ended = status == Status::StreamEnd;
        Ok(content)
    }

    /// Whether more content needs more data.
    #[must_use]
    pub fn wants_data(&self) -> bool {
        !self.full && self.rest().is_empty()
    }

    /// What follows the member in the data given, once it has ended with the right checksum and length.
    #[must_use]
    pub fn after(&self) -> Option<&[u8]> {
        self.ended.then(|| self.rest())
    }

    fn rest(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], |data| &data.as_ref()[self.at..])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::{Error, Member};

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Feeds pieces of a size; returns the content, what is left after the member, and what was wrong.
    fn unpack(data: &[u8], piece: usize, most: usize) -> (Vec<u8>, Option<usize>, Option<Error>) {
        let (mut member, mut content, mut at) = (Member::<Vec<u8>>::default(), Vec::new(), 0);
        loop {
            let next = if member.wants_data() { at..data.len().min(at + piece) } else { at..at };
            at = next.end;
            let before = (next.is_empty(), content.len());
            match member.unpack(data[next].to_vec(), most) {
                Ok(more) => content.extend_from_slice(more),
                Err(failure) => return (content, None, Some(failure)),
            }
            if let Some(rest) = member.after() {
                return (content, Some(rest.len() + data.len() - at), None);
            }
            if before == (true, content.len()) && at == data.len() {
                return (content, None, None);
            }
        }
    }

    proptest! {
        #[test]
        fn a_member_is_unpacked_whatever_the_pieces(
            content in proptest::collection::vec(0u8..4, 0..5000), piece in 1usize..600, most in 1usize..700, cut in 0usize..40
        ) {
            let mut data = packed(&content);
            let whole = data.len();
            data.extend_from_slice(&[7; 9]);
            prop_assert_eq!(unpack(&data, piece, most), (content.clone(), Some(9), None));
            let (before, after, failure) = unpack(&data[..whole.saturating_sub(1 + cut)], piece, most);
            prop_assert!(content.starts_with(&before) && after.is_none() && failure.is_none());
            data[whole - 5] ^= 1; // of the checksum
            let (before, after, failure) = unpack(&data, piece, most);
            prop_assert!(content.starts_with(&before) && after.is_none() && failure.is_some());
        }
    }
}
