//! A whole tokenizer: vocabulary, merges, pattern, special tokens; encoding and decoding.

mod pretokens;

pub(crate) use pretokens::Scratch;

use crate::bpe::Bpe;
use crate::chars::CharBpe;
use crate::error::Result;
use crate::job::Job;
use crate::normalize::Normalizer;
use crate::pattern::Pattern;
use crate::pool::{Borrowed, CachePool};
use crate::special::{Choice, Special, Specials};
use crate::split::{Cursor, with_split};
use crate::stop;
use crate::symbols::Dropout;
use crate::tokens::{TokenIndex, Tokens};

/// How a pretoken becomes ids.
pub enum Model {
    /// By merging byte pairs.
    Bpe(Bpe),
    /// By merging pairs of characters.
    Chars(CharBpe),
    /// By looking the whole pretoken up; this id where it is not there.
    Lookup {
        /// The id of what is not in the vocabulary.
        unknown: u32,
    },
}

/// Parts of an HF `tokenizer.json`, as JSON, that are written back as they were read.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// `normalizer`.
    pub normalizer: Option<String>,
    /// `pre_tokenizer`, where the pattern alone does not say it.
    pub pre_tokenizer: Option<String>,
    /// `post_processor`.
    pub post_processor: Option<String>,
    /// `decoder`.
    pub decoder: Option<String>,
    /// `model`, of a vocabulary of characters.
    pub model: Option<String>,
}

/// See the file's head.
pub struct Tokenizer {
    tokens: Tokens,
    index: TokenIndex,
    model: Model,
    pattern: Pattern,
    normalizer: Option<Normalizer>,
    specials: Specials,
    kept: Kept,
    caches: CachePool,
}

/// What a tokenizer is made of; see [`Tokenizer::new`].
pub struct Parts {
    /// The ordinary tokens.
    pub tokens: Tokens,
    /// Their index.
    pub index: TokenIndex,
    /// How pretokens become ids.
    pub model: Model,
    /// How texts are cut.
    pub pattern: Pattern,
    /// What is done to a text first.
    pub normalizer: Option<Normalizer>,
    /// The special tokens.
    pub specials: Vec<Special>,
    /// What is written back as it was read.
    pub kept: Kept,
}

impl Tokenizer {
    /// Puts a tokenizer together.
    ///
    /// # Errors
    /// A message when a special token takes an id that a different token has, or is empty.
    pub fn new(parts: Parts) -> std::result::Result<Self, String> {
        let Parts { mut tokens, index, model, pattern, normalizer, specials, kept } = parts;
        for special in &specials {
            if special.content.is_empty() {
                return Err(format!("the special token with id {} is empty", special.id));
            }
            let is_byte = matches!(&model, Model::Chars(chars) if chars.is_byte(special.id));
            if tokens.get(special.id) != Some(special.content.as_bytes()) && !is_byte {
                tokens.insert(special.id, special.content.as_bytes())?;
            }
        }
        Ok(Self {
            tokens,
            index,
            model,
            pattern,
            specials: Specials::new(specials, normalizer.as_ref()),
            normalizer,
            kept,
            caches: CachePool::default(),
        })
    }

    /// One more than the highest id: the rows an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.tokens.size()
    }

    /// The bytes of every token.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// How pretokens become ids.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How texts are cut.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What is done to a text first.
    pub fn normalizer(&self) -> Option<&Normalizer> {
        self.normalizer.as_ref()
    }

    /// The special tokens, by id.
    pub fn specials(&self) -> &[Special] {
        self.specials.list()
    }

    pub(crate) fn all_specials(&self) -> &Specials {
        &self.specials
    }

    /// This thread's cache for the time of a call.
    pub(crate) fn cache(&self) -> Borrowed<'_> {
        self.caches.borrow()
    }

    /// Whether `id` is a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.specials.get(id).is_some()
    }

    /// What is written back as it was read.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The id of an ordinary token by its bytes, or of a special token by its text.
    pub fn token_to_id(&self, bytes: &[u8]) -> Option<u32> {
        let special = self.specials.list().iter().find(|s| s.content.as_bytes() == bytes).map(|s| s.id);
        special.or_else(|| self.index.get(&self.tokens, bytes))
    }

    /// The bytes of `ids`.
    ///
    /// # Errors
    /// [`Error::Input`] names an id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(ids.len() * 4);
        self.tokens.decode(ids, &mut out)?;
        if let Some(normalizer) = &self.normalizer {
            normalizer.strip(&mut out, ids.first().and_then(|&id| self.tokens.get(id)).map_or(0, <[u8]>::len));
        }
        Ok(out)
    }

    /// Appends the ids of `text` to `out`, special tokens as `choices` says.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] when the text holds a forbidden one.
    pub fn encode(&self, text: &str, choices: &Choices, out: &mut Vec<u32>) -> Result<()> {
        if text.len() <= A_FEW_BYTES && self.normalizer.is_none() && choices.are_none() {
            return self.encode_a_few_bytes(text, out);
        }
        let mut job = Job::new(self, text, choices)?;
        while job.step(STEP_BYTES, out)? && !stop::requested() {}
        Ok(())
    }

    /// A job would take longer to set up than the text to encode.
    fn encode_a_few_bytes(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let (mut cursor, mut scratch) = (Cursor::default(), Scratch::default());
        let cache = &mut *self.cache();
        with_split!(self.pattern.splitter(), split => self.pretokens(split, text, 0, text.len(), &mut cursor, cache, &mut scratch, out));
        cursor.failure().map_or(Ok(()), Err)
    }

    /// As [`Tokenizer::encode`], with merges left out at random.
    ///
    /// # Errors
    /// As there; [`crate::Error::Input`] when the tokenizer does not merge.
    pub fn encode_with_dropout(
        &self,
        text: &str,
        choices: &Choices,
        dropout: Dropout,
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let mut job = Job::new(self, text, choices)?.with_dropout(dropout)?;
        while job.step(STEP_BYTES, out)? && !stop::requested() {}
        Ok(())
    }
}

/// A text of up to so many bytes is encoded pretoken by pretoken: making room for many would take longer.
const A_FEW_BYTES: usize = 32;
/// Between two questions whether to stop.
const STEP_BYTES: usize = 4 << 20;

/// Which special tokens a call allows, and which it forbids.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Each becomes its id wherever it stands.
    pub allowed: Choice,
    /// Each makes the call fail wherever it stands.
    pub forbidden: Choice,
}

impl Choices {
    /// Whether no special token matters.
    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.allowed.is_none() && self.forbidden.is_none()
    }
}
