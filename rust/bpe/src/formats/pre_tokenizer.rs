//! The `pre_tokenizer` of a `tokenizer.json`.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::normalize::Prefix;
use crate::pattern::Pattern;

/// What the model's symbols are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Bytes, written as GPT-2's characters.
    Bytes,
    /// Characters.
    Text,
}

/// How a text is cut before the model sees it.
pub struct Cuts {
    /// The pattern.
    pub pattern: Pattern,
    /// What the model's symbols are.
    pub alphabet: Alphabet,
    /// Which texts get a space before them.
    pub prefix: Prefix,
    /// What is written for a space before the model sees it.
    pub space: Option<char>,
}

/// Reads Metaspace: a character for each space, a space before the text, and perhaps a cut before each of them.
fn metaspace(value: &Value) -> Result<Cuts> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let mut chars = text("replacement").unwrap_or("▁").chars();
    let space = chars.next().filter(|_| chars.next().is_none());
    let space = space.ok_or_else(|| Error::Input("Metaspace.replacement is not one character".to_owned()))?;
    let old = value.get("add_prefix_space").and_then(Value::as_bool);
    let prefix = match text("prepend_scheme").unwrap_or(if old == Some(false) { "never" } else { "always" }) {
        "always" => Prefix::Always,
        "first" => Prefix::First,
        "never" => Prefix::Never,
        other => return Err(Error::Input(format!("Metaspace.prepend_scheme {other:?} is not supported"))),
    };
    let split = value.get("split").and_then(Value::as_bool).unwrap_or(true);
    let pattern = if split { Pattern::each_space() } else { Pattern::parse("none")? };
    Ok(Cuts { pattern, alphabet: Alphabet::Text, prefix, space: Some(space) })
}

/// Whether a pre-tokenizer only cuts at spaces, of which a normalizer leaves none.
fn only_cuts_at_spaces(value: &Value) -> bool {
    let pattern = value.get("pattern").and_then(|p| p.get("String"));
    value.get("type").and_then(Value::as_str) == Some("Split") && pattern.and_then(Value::as_str) == Some(" ")
}

/// Reads a pre-tokenizer; `normalized_space` is what the normalizer writes for a space.
///
/// # Errors
/// [`Error::Input`] says what is not supported; [`Error::Pattern`] when an expression does not compile.
pub fn read(value: Option<&Value>, normalized_space: Option<char>) -> Result<Cuts> {
    let value = value.map(unwrapped);
    if let Some(value) = value.filter(|v| v.get("type").and_then(Value::as_str) == Some("Metaspace")) {
        let cuts = metaspace(value)?;
        return match normalized_space {
            Some(other) if Some(other) != cuts.space => Err(Error::Input(format!(
                "Metaspace after a normalizer that writes {other:?} for a space is not supported"
            ))),
            _ => Ok(cuts),
        };
    }
    let value = value.filter(|value| normalized_space.is_none() || !only_cuts_at_spaces(value));
    let mut walked = Walked { regexes: Vec::new(), alphabet: Alphabet::Text, prefix: Prefix::Never };
    if let Some(value) = value {
        walk(value, &mut walked)?;
    }
    if let (Some(space), Some(_)) = (normalized_space, value) {
        return Err(Error::Input(format!("cutting a text whose spaces are written {space:?} is not supported")));
    }
    let Walked { regexes, alphabet, prefix } = walked;
    let pattern = if regexes.is_empty() { Pattern::parse("none")? } else { Pattern::sequence(regexes)? };
    Ok(Cuts { pattern, alphabet, prefix, space: normalized_space })
}

/// The one member of a sequence of one.
fn unwrapped(value: &Value) -> &Value {
    match value.get("pretokenizers").and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => one,
        _ => value,
    }
}

struct Walked {
    regexes: Vec<String>,
    alphabet: Alphabet,
    prefix: Prefix,
}

fn walk(value: &Value, walked: &mut Walked) -> Result<()> {
    let no = |what: String| Err(Error::Input(what));
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    if walked.alphabet == Alphabet::Bytes {
        return no("a pre-tokenizer after ByteLevel is not supported".to_owned());
    }
    match value.get("type").and_then(Value::as_str).unwrap_or_default() {
        "Sequence" => {
            value.get("pretokenizers").and_then(Value::as_array).into_iter().flatten().try_for_each(|v| walk(v, walked))
        }
        "ByteLevel" => {
            if flag("add_prefix_space").unwrap_or(true) {
                if !walked.regexes.is_empty() {
                    return no(
                        "ByteLevel.add_prefix_space after another cut is not supported; set it to false".to_owned()
                    );
                }
                walked.prefix = Prefix::Always;
            }
            if flag("use_regex").unwrap_or(true) {
                walked.regexes.extend(Pattern::parse("gpt2")?.regexes().iter().cloned());
            }
            walked.alphabet = Alphabet::Bytes;
            Ok(())
        }
        "Split" => {
            let behavior = value.get("behavior").and_then(Value::as_str).unwrap_or_default();
            if behavior != "Isolated" {
                return no(format!("Split with behavior {behavior:?} is not supported; \"Isolated\" is"));
            }
            match value.get("pattern") {
                Some(Value::Object(pattern)) if pattern.len() == 1 => {
                    match (pattern.get("Regex"), pattern.get("String")) {
                        (Some(Value::String(regex)), _) => walked.regexes.push(regex.clone()),
                        (_, Some(Value::String(text))) => walked.regexes.push(regex_syntax::escape(text)),
                        _ => return no(format!("Split.pattern {pattern:?} is not supported; {{\"Regex\": …}} is")),
                    }
                }
                other => return no(format!("Split.pattern {other:?} is not supported; {{\"Regex\": …}} is")),
            }
            Ok(())
        }
        "Digits" => {
            walked
                .regexes
                .push(if flag("individual_digits").unwrap_or(false) { r"\p{N}" } else { r"\p{N}+" }.to_owned());
            Ok(())
        }
        other => {
            no(format!("type {other:?} is not supported; ByteLevel, Split, Digits, Metaspace (alone) and Sequence are"))
        }
    }
}
