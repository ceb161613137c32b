//! Texts, wherever they lie: looked up by number, so that no list of them is needed beside them.

/// Texts with numbers from 0 on.
pub trait Corpus: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them. Panics where the number is not below [`Corpus::len`].
    fn text(&self, number: usize) -> &str;
}

macro_rules! lists {
    ($(($($of:tt)*) $list:ty),*) => {$(
        impl<S: AsRef<str> + Sync, $($of)*> Corpus for $list {
            fn len(&self) -> usize {
                <[S]>::len(self)
            }

            fn text(&self, number: usize) -> &str {
                self[number].as_ref()
            }
        }
    )*};
}
lists!(() Vec<S>, () &[S], (const COUNT: usize) [S; COUNT]);

/// Refuses texts that a 32-bit number or offset does not reach.
pub(crate) fn check_lengths(texts: &dyn Corpus) -> Result<(), crate::Error> {
    crate::error::check_texts(texts.len())?;
    let limit = u32::MAX as usize;
    match (0..texts.len()).map(|document| (document, texts.text(document).len())).find(|(_, given)| *given > limit) {
        Some((document, given)) => Err(crate::Error::TooMuchText { document, given, limit }),
        None => Ok(()),
    }
}
