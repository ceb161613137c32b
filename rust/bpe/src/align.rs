//! Where each byte of a normalized text comes from.

use std::borrow::Cow;
use std::ops::Range;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick};

use crate::normalize::{Form, Normalizer, Spaces, Step};

/// A text and, for each of its bytes, the bytes of the text before all changes that it stands for.
pub struct Aligned {
    text: String,
    origins: Vec<Range<usize>>,
}

impl Aligned {
    /// `text` after all that `normalizer` does to a stretch of text; `first`: it stands at the very beginning.
    pub fn new(normalizer: &Normalizer, text: &str, first: bool) -> Self {
        let mut out = Self { text: text.to_owned(), origins: (0..text.len()).map(|at| at..at + 1).collect() };
        for step in &normalizer.steps {
            match step {
                Step::Form(form) => out.bring_into(*form),
                Step::Prepend(before) => out.prepend(before),
                Step::Replace(from, to) => out.replace(from, to),
            }
        }
        if let Spaces::Cut(space) = normalizer.spaces {
            out.replace(space.encode_utf8(&mut [0; 4]), " ");
        }
        let prefixed =
            Normalizer { prefix: normalizer.prefix, ..Normalizer::default() }.prefixed(Cow::Borrowed(&out.text), first);
        if matches!(prefixed, Cow::Owned(_)) {
            out.prepend(" ");
        }
        out
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the first text that `range`, which is not empty, stands for.
    pub fn origin(&self, range: Range<usize>) -> Range<usize> {
        let of = |at: usize| self.origins.get(at).cloned().unwrap_or_default();
        of(range.start).start..of(range.end.saturating_sub(1)).end
    }

    /// Puts `new` where `ranges` (ascending, apart) stand; each byte of a new part stands for all that its old one stood for.
    fn put(&mut self, parts: impl Iterator<Item = (Range<usize>, String)>) {
        let (mut text, mut origins, mut at) = (String::with_capacity(self.text.len()), Vec::new(), 0);
        for (range, new) in parts {
            text.push_str(self.text.get(at..range.start).unwrap_or_default());
            origins.extend_from_slice(self.origins.get(at..range.start).unwrap_or_default());
            let origin = self.origin(range.clone());
            origins.extend(std::iter::repeat_n(origin, new.len()));
            text.push_str(&new);
            at = range.end;
        }
        text.push_str(self.text.get(at..).unwrap_or_default());
        origins.extend_from_slice(self.origins.get(at..).unwrap_or_default());
        (self.text, self.origins) = (text, origins);
    }

    fn prepend(&mut self, before: &str) {
        if !self.text.is_empty() {
            self.text.insert_str(0, before);
            self.origins.splice(0..0, std::iter::repeat_n(0..0, before.len()));
        }
    }

    fn replace(&mut self, from: &str, to: &str) {
        let found: Vec<Range<usize>> = self.text.match_indices(from).map(|(at, found)| at..at + found.len()).collect();
        self.put(found.into_iter().map(|range| (range, to.to_owned())));
    }

    /// Character by character where nothing that follows can reach back (UAX #15, section 9.1: stable code points).
    fn bring_into(&mut self, form: Form) {
        let quick = |c: char| match form {
            Form::Nfc => is_nfc_quick(std::iter::once(c)),
            Form::Nfd => is_nfd_quick(std::iter::once(c)),
            Form::Nfkc => is_nfkc_quick(std::iter::once(c)),
            Form::Nfkd => is_nfkd_quick(std::iter::once(c)),
        };
        let begins = |c: char| canonical_combining_class(c) == 0 && quick(c) == IsNormalized::Yes;
        let mut bounds: Vec<usize> = self.text.char_indices().filter(|&(_, c)| begins(c)).map(|(at, _)| at).collect();
        bounds.insert(0, 0);
        bounds.push(self.text.len());
        let parts: Vec<(Range<usize>, String)> = bounds
            .windows(2)
            .filter_map(|two| {
                let range = two[0]..two[1];
                match form.apply(self.text.get(range.clone())?) {
                    Cow::Owned(new) => Some((range, new)),
                    Cow::Borrowed(_) => None,
                }
            })
            .collect();
        self.put(parts.into_iter());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_is_what_the_normalizer_makes(
            text in "[a-c \u{301}\u{327}\u{1100}\u{1161}\u{11A8}éÅﬁ①\u{2581}\u{AC00}\u{0344}\u{09C7}\u{09BE}]{0,12}",
            form in 0usize..4, replace in any::<bool>(), prepend in any::<bool>(),
        ) {
            let form = [Form::Nfc, Form::Nfd, Form::Nfkc, Form::Nfkd][form];
            let mut steps = vec![Step::Form(form)];
            if replace {
                steps.push(Step::Replace("a".into(), "bb".into()));
            }
            if prepend {
                steps.push(Step::Prepend("▁".into()));
            }
            let normalizer = Normalizer { steps, ..Normalizer::default() };
            let aligned = Aligned::new(&normalizer, &text, true);
            prop_assert_eq!(aligned.text(), &*normalizer.prefixed(normalizer.apply(&text), true));
            let mut end = 0;
            for at in 0..aligned.text().len() {
                let origin = aligned.origin(at..at + 1);
                prop_assert!(origin.start <= origin.end && origin.end <= text.len() && origin.end >= end);
                end = origin.end;
            }
        }
    }
}
