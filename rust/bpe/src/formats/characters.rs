//! The model of a `tokenizer.json` whose symbols are characters: BPE as SentencePiece trains it.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::chars::{CharBpe, CharParts};
use crate::special::Special;
use crate::tokens::{TokenIndex, Tokens};

/// The parts of the model, as the file has them.
pub struct CharModel<'f> {
    /// Ids by token.
    pub vocab: &'f [(std::borrow::Cow<'f, str>, u32)],
    /// Pairs of tokens, in order.
    pub merges: &'f [(std::borrow::Cow<'f, str>, std::borrow::Cow<'f, str>)],
    /// Stands for what is not in the vocabulary.
    pub unknown: Option<&'f str>,
    /// Unknown characters side by side are one token.
    pub fuse_unknown: bool,
    /// Characters that are not in the vocabulary become their bytes' tokens.
    pub byte_fallback: bool,
    /// `<0x0A>` is decoded as a byte.
    pub decode_bytes: bool,
    /// A whole pretoken is looked up before anything is merged.
    pub whole_first: bool,
    /// What the vocabulary has for a space, when that is not a space.
    pub space: Option<char>,
}

/// The vocabulary, ready to use.
pub struct Made {
    /// The tokens, as they are decoded.
    pub tokens: Tokens,
    /// Those that text can become.
    pub index: TokenIndex,
    /// The merges.
    pub bpe: CharBpe,
    /// No merge makes a token with a space behind something else, so nothing merges across that border.
    pub spaces_lead: bool,
}

/// The byte that `<0x0A>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let upper = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    u8::from_str_radix(digits, 16).ok().filter(|_| upper)
}

/// Reads the model.
///
/// # Errors
/// A message names the token or merge that is wrong.
pub fn read(model: &CharModel<'_>, specials: &[Special]) -> Result<Made, String> {
    let ids: FxHashMap<&str, u32> = model.vocab.iter().map(|(token, id)| (&**token, *id)).collect();
    if ids.len() != model.vocab.len() {
        return Err("model.vocab: a token is there twice".to_owned());
    }
    let special: FxHashSet<u32> = specials.iter().filter(|s| s.special).map(|s| s.id).collect();
    let added: FxHashSet<u32> = specials.iter().map(|s| s.id).collect();
    let (mut tokens, mut in_text) = (Tokens::default(), Vec::new());
    let mut bytes = Box::new([None; 256]);
    let mut characters = FxHashMap::default();
    for (token, id) in model.vocab {
        let fail = |what: String| format!("model.vocab: {what}");
        if let Some(byte) = byte_of(token).filter(|_| model.byte_fallback || model.decode_bytes) {
            bytes[byte as usize] = Some(*id).filter(|_| model.byte_fallback);
            tokens.insert(*id, &[byte]).map_err(fail)?;
            continue;
        }
        let shown = model.space.map_or_else(|| token.to_string(), |space| token.replace(space, " "));
        tokens.insert(*id, if added.contains(id) { token.as_bytes() } else { shown.as_bytes() }).map_err(fail)?;
        // No text becomes a token with a real space in it when spaces are written otherwise.
        let spaced = model.space.is_some() && token.contains(' ');
        if !special.contains(id) && !spaced && !token.is_empty() {
            let mut chars = shown.chars();
            if let (Some(c), None) = (chars.next(), chars.next()) {
                characters.insert(c, *id);
            }
            if tokens.get(*id) == Some(shown.as_bytes()) {
                in_text.push(*id);
            }
        }
    }
    let mut spaces_lead = true;
    let mut joined = String::new();
    let id = |part: &str, number: usize| {
        ids.get(part)
            .copied()
            .ok_or_else(|| format!("model.merges: number {number}: {part:?} is not in the vocabulary"))
    };
    let mut merges = Vec::with_capacity(model.merges.len());
    for (number, (left, right)) in model.merges.iter().enumerate() {
        joined.clear();
        joined.extend([&**left, &**right]);
        let pair = (id(left, number)?, id(right, number)?);
        let Some(&made) = ids.get(joined.as_str()) else {
            return Err(format!("model.merges: number {number} makes {joined:?}, which is not in the vocabulary"));
        };
        let space = model.space.unwrap_or(' ');
        spaces_lead &= !joined.trim_start_matches(space).contains(space);
        merges.push((pair, made));
    }
    let unknown = match model.unknown {
        None => None,
        Some(name) => Some(*ids.get(name).ok_or_else(|| format!("model.unk_token {name:?} is not in the vocabulary"))?),
    };
    spaces_lead &= characters.contains_key(&' ') && !model.whole_first;
    let CharModel { fuse_unknown, whole_first, space, .. } = *model;
    let index = TokenIndex::new(&tokens, in_text.iter().copied()).map_err(|what| format!("model.vocab: {what}"))?;
    let bpe = CharBpe::new(CharParts { merges, characters, bytes, unknown, fuse_unknown, whole_first, space });
    Ok(Made { tokens, index, bpe, spaces_lead })
}
