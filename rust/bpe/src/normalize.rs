//! What is done to a text before it is cut, and undone when ids are decoded, for the tokenizers that ask for it.

use std::borrow::Cow;

use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

/// A Unicode normalization form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Canonical composition.
    Nfc,
    /// Canonical decomposition.
    Nfd,
    /// Compatibility composition.
    Nfkc,
    /// Compatibility decomposition.
    Nfkd,
}

impl Form {
    /// The form by the name HF tokenizers gives it.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "NFC" => Some(Self::Nfc),
            "NFD" => Some(Self::Nfd),
            "NFKC" => Some(Self::Nfkc),
            "NFKD" => Some(Self::Nfkd),
            _ => None,
        }
    }

    /// `text` in this form; borrowed when it already is.
    pub(crate) fn apply(self, text: &str) -> Cow<'_, str> {
        let quick = match self {
            _ if text.is_ascii() => IsNormalized::Yes,
            Self::Nfc => is_nfc_quick(text.chars()),
            Self::Nfd => is_nfd_quick(text.chars()),
            Self::Nfkc => is_nfkc_quick(text.chars()),
            Self::Nfkd => is_nfkd_quick(text.chars()),
        };
        if quick == IsNormalized::Yes {
            return Cow::Borrowed(text);
        }
        let normalized: String = match self {
            Self::Nfc => text.nfc().collect(),
            Self::Nfd => text.nfd().collect(),
            Self::Nfkc => text.nfkc().collect(),
            Self::Nfkd => text.nfkd().collect(),
        };
        if normalized == text { Cow::Borrowed(text) } else { Cow::Owned(normalized) }
    }
}

/// One change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a Unicode form.
    Form(Form),
    /// This goes before a text that is not empty.
    Prepend(String),
    /// Every occurrence of the first becomes the second.
    Replace(String, String),
}

impl Step {
    fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self {
            Self::Form(form) => form.apply(text),
            Self::Prepend(before) if !text.is_empty() => Cow::Owned([before, text].concat()),
            Self::Replace(from, to) if memchr::memmem::find(text.as_bytes(), from.as_bytes()).is_some() => {
                Cow::Owned(text.replace(from, to))
            }
            _ => Cow::Borrowed(text),
        }
    }
}

/// Which texts get a space before them, unless they begin with one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefix {
    /// None.
    #[default]
    Never,
    /// What stands at the very beginning.
    First,
    /// Every stretch between two special tokens.
    Always,
}

/// Which spaces at the beginning of a decoded text go away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strip {
    /// None.
    #[default]
    Nothing,
    /// One.
    One,
    /// All that are in the first token.
    FirstToken,
}

/// When a vocabulary's own character for a space comes into the text; here spaces stay what they are, and that
/// character becomes one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spaces {
    /// Never.
    #[default]
    Plain,
    /// By the last step: no white space of this kind is left when special tokens are looked for in the normalized text.
    Normalized,
    /// After that.
    Cut(char),
}

/// See the file's head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalizer {
    /// What is done to each stretch of text between special tokens.
    pub steps: Vec<Step>,
    /// When spaces are written otherwise.
    pub spaces: Spaces,
    /// Then, the space before it.
    pub prefix: Prefix,
    /// The way back.
    pub strip: Strip,
}

impl Normalizer {
    /// `text` after all steps; borrowed when nothing changes.
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut out = Cow::Borrowed(text);
        for step in &self.steps {
            if let Cow::Owned(changed) = step.apply(&out) {
                out = Cow::Owned(changed);
            }
        }
        out
    }

    /// What is left to do to a text that went through all steps.
    pub(crate) fn without_steps(&self) -> Self {
        Self { steps: Vec::new(), ..self.clone() }
    }

    /// As [`Normalizer::apply`], for what does not begin a text: nothing goes before it.
    pub fn apply_inside<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let steps = self.steps.iter().filter(|step| !matches!(step, Step::Prepend(_))).cloned().collect();
        let text = Self { steps, ..Self::default() }.apply(text).into_owned();
        Self { spaces: self.spaces, ..Self::default() }.prefixed(text.into(), false)
    }

    /// `text` with the space before it that [`Prefix`] asks for; `first`: it stands at the very beginning.
    pub fn prefixed<'t>(&self, text: Cow<'t, str>, first: bool) -> Cow<'t, str> {
        let text = match self.spaces {
            Spaces::Cut(space) if text.contains(space) => Cow::Owned(text.replace(space, " ")),
            _ => text,
        };
        let wanted = match self.prefix {
            Prefix::Never => false,
            Prefix::First => first,
            Prefix::Always => true,
        };
        if wanted && !text.is_empty() && !text.starts_with(' ') {
            return Cow::Owned([" ", &*text].concat());
        }
        text
    }

    /// What decoding takes away from `bytes`, of which the first token made the first `first_token`.
    pub fn strip(&self, bytes: &mut Vec<u8>, first_token: usize) {
        match self.strip {
            Strip::One if bytes.first() == Some(&b' ') => {
                bytes.remove(0);
            }
            Strip::FirstToken => {
                let mut at = 0;
                bytes.retain(|&b| {
                    at += 1;
                    at > first_token || b != b' '
                });
            }
            _ => {}
        }
    }
}
