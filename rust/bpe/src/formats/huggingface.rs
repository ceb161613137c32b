//! HF tokenizers' `tokenizer.json`: BPE over bytes or characters, and WordLevel; anything that would change ids and is not supported is an error.

use std::borrow::Cow;
use std::fmt;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::byte_chars::to_bytes;
use super::characters::{self, CharModel};
use super::normalizer::{self, Decoding};
use super::pre_tokenizer::{self, Alphabet};
use crate::bpe::Bpe;
use crate::error::{Error, Result};
use crate::normalize::{Normalizer, Prefix, Spaces, Step, Strip};
use crate::pattern::Pattern;
use crate::special::Special;
use crate::tokenizer::{Kept, Model, Parts, Tokenizer};
use crate::tokens::{TokenIndex, Tokens};

/// `{"token": id, …}` in the order of the file.
#[derive(Default)]
pub struct VocabMap<'f>(pub Vec<(Cow<'f, str>, u32)>);

/// `["a b", …]` or `[["a", "b"], …]`.
#[derive(Default)]
struct Merges<'f>(Vec<(Cow<'f, str>, Cow<'f, str>)>);

struct Text<'f>(Cow<'f, str>);

#[derive(Deserialize)]
struct File<'f> {
    truncation: Option<IgnoredAny>,
    padding: Option<Value>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    decoder: Option<Value>,
    #[serde(borrow)]
    post_processor: Option<&'f RawValue>,
    #[serde(borrow)]
    model: &'f RawValue,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct ModelEntry<'f> {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(borrow, default)]
    vocab: VocabMap<'f>,
    #[serde(borrow, default)]
    merges: Merges<'f>,
}

/// Reads a `tokenizer.json`.
///
/// # Errors
/// [`Error::Format`] names `file` and what is wrong or not supported.
pub fn read(data: &[u8], file: &str) -> Result<Tokenizer> {
    let fail = |what: String| Error::format(file, what);
    let malformed = |e: serde_json::Error| fail(format!("not a tokenizer.json: {e}"));
    let parsed: File<'_> = serde_json::from_slice(data).map_err(malformed)?;
    let model: ModelEntry<'_> = serde_json::from_str(parsed.model.get()).map_err(|e| fail(format!("model: {e}")))?;
    refuse_unsupported(&parsed, &model).map_err(fail)?;
    let (mut steps, space) =
        normalizer::read(parsed.normalizer.as_ref()).map_err(|what| fail(format!("normalizer: {what}")))?;
    let cuts = pre_tokenizer::read(parsed.pre_tokenizer.as_ref(), space)
        .map_err(|what| fail(format!("pre_tokenizer: {what}")))?;
    if model.vocab.0.is_empty() {
        return Err(fail("model.vocab is empty, or not an object of ids by token".to_owned()));
    }
    let specials: Vec<Special> = parsed.added_tokens.iter().map(special).collect();
    let as_text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let mut kept = Kept {
        post_processor: parsed.post_processor.map(|raw| raw.get().to_owned()),
        normalizer: as_text(&parsed.normalizer),
        ..Kept::default()
    };
    let (mut pattern, mut strip, mut spaces) = (cuts.pattern, Strip::Nothing, Spaces::Plain);
    let (tokens, index, made) = match (model.kind.as_deref().unwrap_or("BPE"), cuts.alphabet) {
        ("BPE", Alphabet::Bytes) => {
            if space.is_some() {
                return Err(fail("normalizer: writing spaces otherwise is not supported before ByteLevel".to_owned()));
            }
            if model.byte_fallback {
                return Err(fail("model.byte_fallback with a ByteLevel pre-tokenizer is not supported".to_owned()));
            }
            if cuts.prefix != Prefix::Never {
                kept.pre_tokenizer = as_text(&parsed.pre_tokenizer);
            }
            byte_model(&model, &specials).map_err(fail)?
        }
        ("BPE", Alphabet::Text) => {
            let decoding = normalizer::read_decoder(parsed.decoder.as_ref(), cuts.space)
                .map_err(|what| fail(format!("decoder: {what}")))?;
            strip = decoding.strip;
            let made = characters::read(&char_model(&model, cuts.space, &decoding), &specials).map_err(fail)?;
            if made.spaces_lead && pattern.name() == Some("none") {
                pattern = Pattern::none_cut_at_spaces();
            }
            spaces = match (space, cuts.space) {
                (Some(space), _) => {
                    steps.push(Step::Replace(space.to_string(), " ".to_owned()));
                    Spaces::Normalized
                }
                (None, Some(space)) => Spaces::Cut(space),
                (None, None) => Spaces::Plain,
            };
            kept.pre_tokenizer = Some(as_text(&parsed.pre_tokenizer).unwrap_or_else(|| "null".to_owned()));
            kept.decoder = Some(as_text(&parsed.decoder).unwrap_or_else(|| "null".to_owned()));
            kept.model = Some(parsed.model.get().to_owned());
            (made.tokens, made.index, Model::Chars(made.bpe))
        }
        (_, Alphabet::Text) if cuts.space.is_none() => word_model(&model, &specials).map_err(fail)?,
        (kind, _) => {
            return Err(fail(format!("a {kind} model with this pre-tokenizer and normalizer is not supported")));
        }
    };
    let normalizer = Normalizer { steps, spaces, prefix: cuts.prefix, strip };
    let normalizer = Some(normalizer).filter(|normalizer| *normalizer != Normalizer::default());
    Tokenizer::new(Parts { tokens, index, model: made, pattern, normalizer, specials, kept })
        .map_err(|what| fail(format!("added_tokens: {what}")))
}

type Vocabulary = (Tokens, TokenIndex, Model);

fn byte_model(model: &ModelEntry<'_>, specials: &[Special]) -> std::result::Result<Vocabulary, String> {
    let (tokens, index) = read_vocab(&model.vocab, specials, true).map_err(|what| format!("model.vocab: {what}"))?;
    let merges = read_merges(&model.merges, &tokens, &index).map_err(|what| format!("model.merges: {what}"))?;
    let bpe =
        Bpe::from_merges(&tokens, &index, &merges, model.ignore_merges).map_err(|what| format!("model: {what}"))?;
    Ok((tokens, index, Model::Bpe(bpe)))
}

fn word_model(model: &ModelEntry<'_>, specials: &[Special]) -> std::result::Result<Vocabulary, String> {
    let (tokens, index) = read_vocab(&model.vocab, specials, false).map_err(|what| format!("model.vocab: {what}"))?;
    let name = model.unk_token.as_deref().unwrap_or_default();
    let unknown =
        index.get(&tokens, name.as_bytes()).or_else(|| specials.iter().find(|s| s.content == name).map(|s| s.id));
    let unknown = unknown.ok_or_else(|| format!("model.unk_token {name:?} is not in the vocabulary"))?;
    Ok((tokens, index, Model::Lookup { unknown }))
}

fn char_model<'f>(model: &'f ModelEntry<'f>, space: Option<char>, decoding: &Decoding) -> CharModel<'f> {
    CharModel {
        vocab: &model.vocab.0,
        merges: &model.merges.0,
        unknown: model.unk_token.as_deref(),
        fuse_unknown: model.fuse_unk,
        byte_fallback: model.byte_fallback,
        decode_bytes: decoding.bytes,
        whole_first: model.ignore_merges,
        space,
    }
}

fn refuse_unsupported(file: &File<'_>, model: &ModelEntry<'_>) -> std::result::Result<(), String> {
    let kind = model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" && kind != "WordLevel" {
        return Err(format!("model type {kind:?} is not supported; BPE and WordLevel are"));
    }
    if let Some(dropout) = model.dropout.filter(|&d| d > 0.0) {
        return Err(format!(
            "model.dropout {dropout} makes ids random; set it to null and give dropout to encode, with a seed"
        ));
    }
    for (name, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if value.as_deref().is_some_and(|v| !v.is_empty()) {
            return Err(format!("model.{name} {value:?} is not supported"));
        }
    }
    if file.truncation.is_some() {
        return Err("truncation is not supported; set it to null and cut the ids instead".to_owned());
    }
    if file.padding.as_ref().is_some_and(|p| p.get("strategy").is_some_and(|s| s != "BatchLongest")) {
        return Err("padding to a fixed length is not supported; set it to null and use TokenBatch.padded".to_owned());
    }
    Ok(())
}

fn special(token: &AddedToken) -> Special {
    let AddedToken { id, content, single_word, lstrip, rstrip, normalized, special } = token;
    Special {
        content: content.clone(),
        id: *id,
        lstrip: *lstrip,
        rstrip: *rstrip,
        special: *special,
        normalized: *normalized,
        single_word: *single_word,
    }
}

fn read_vocab(
    vocab: &VocabMap<'_>,
    specials: &[Special],
    byte_level: bool,
) -> std::result::Result<(Tokens, TokenIndex), String> {
    let mut tokens = Tokens::default();
    let mut ids = Vec::with_capacity(vocab.0.len());
    let mut bytes = Vec::new();
    let specials: FxHashMap<u32, &str> = specials.iter().map(|s| (s.id, s.content.as_str())).collect();
    for (token, id) in &vocab.0 {
        if specials.get(id).is_some_and(|s| s == token) {
            continue; // an added token that the model lists too: it is never made of ordinary text
        }
        if byte_level {
            if !to_bytes(token, &mut bytes) {
                return Err(format!("token {token:?} (id {id}) has a character that stands for no byte"));
            }
            tokens.insert(*id, &bytes)?;
        } else {
            tokens.insert(*id, token.as_bytes())?;
        }
        ids.push(*id);
    }
    let index = TokenIndex::new(&tokens, ids.iter().copied())?;
    Ok((tokens, index))
}

fn read_merges(
    merges: &Merges<'_>,
    tokens: &Tokens,
    index: &TokenIndex,
) -> std::result::Result<Vec<(u32, u32)>, String> {
    let mut bytes = Vec::new();
    let mut id = |part: &str, number: usize| {
        let found = if to_bytes(part, &mut bytes) { index.get(tokens, &bytes) } else { None };
        found.ok_or_else(|| format!("number {number}: {part:?} is not in the vocabulary"))
    };
    merges.0.iter().enumerate().map(|(number, (left, right))| Ok((id(left, number)?, id(right, number)?))).collect()
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

impl<'de: 'f, 'f> Deserialize<'de> for VocabMap<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = VocabMap<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary: an object of ids by token")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some((token, id)) = map.next_entry::<Text<'de>, u32>()? {
                    out.push((token.0, id));
                }
                Ok(VocabMap(out))
            }

            /// A Unigram vocabulary; its model type is refused later, by name.
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(VocabMap(Vec::new()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de: 'f, 'f> Deserialize<'de> for Merges<'f> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Merge<'f>(Cow<'f, str>, Cow<'f, str>);
        impl<'de> Deserialize<'de> for Merge<'de> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                struct Read;
                impl<'de> Visitor<'de> for Read {
                    type Value = Merge<'de>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
                    }

                    fn visit_borrowed_str<E: serde::de::Error>(
                        self,
                        text: &'de str,
                    ) -> std::result::Result<Self::Value, E> {
                        let (left, right) =
                            text.split_once(' ').ok_or_else(|| E::custom(format!("merge {text:?} has no space")))?;
                        Ok(Merge(Cow::Borrowed(left), Cow::Borrowed(right)))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
                        let (left, right) =
                            text.split_once(' ').ok_or_else(|| E::custom(format!("merge {text:?} has no space")))?;
                        Ok(Merge(Cow::Owned(left.to_owned()), Cow::Owned(right.to_owned())))
                    }

                    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self::Value, A::Error> {
                        let (Some(left), Some(right)) =
                            (list.next_element::<Text<'de>>()?, list.next_element::<Text<'de>>()?)
                        else {
                            return Err(A::Error::custom("a merge has fewer than two tokens"));
                        };
                        if list.next_element::<IgnoredAny>()?.is_some() {
                            return Err(A::Error::custom("a merge has more than two tokens"));
                        }
                        Ok(Merge(left.0, right.0))
                    }
                }
                deserializer.deserialize_any(Read)
            }
        }
        let list: Vec<Merge<'de>> = Vec::deserialize(deserializer)?;
        Ok(Self(list.into_iter().map(|Merge(left, right)| (left, right)).collect()))
    }
}
