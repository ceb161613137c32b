//! The `normalizer` and the `decoder` of a `tokenizer.json`.

use serde_json::Value;

use crate::normalize::{Form, Step, Strip};

type Read<T> = std::result::Result<T, String>;

/// Reads a normalizer: its steps, and the character that it writes for a space (which is left out of the steps).
///
/// # Errors
/// A message says what is not supported.
pub fn read(value: Option<&Value>) -> Read<(Vec<Step>, Option<char>)> {
    let mut steps = Vec::new();
    if let Some(value) = value {
        walk(value, &mut steps)?;
    }
    let Some(Step::Replace(from, to)) = steps.last() else { return Ok((steps, None)) };
    let Some(space) = single(to).filter(|&c| from == " " && c != ' ') else { return Ok((steps, None)) };
    steps.pop();
    for step in steps.iter_mut().rev() {
        match step {
            Step::Prepend(text) => *text = text.replace(space, " "),
            _ => break,
        }
    }
    Ok((steps, Some(space)))
}

fn walk(value: &Value, steps: &mut Vec<Step>) -> Read<()> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    if let Some(form) = Form::parse(kind) {
        steps.push(Step::Form(form));
        return Ok(());
    }
    match kind {
        "Sequence" => {
            let list = value.get("normalizers").and_then(Value::as_array);
            list.into_iter().flatten().try_for_each(|v| walk(v, steps))
        }
        "Prepend" => {
            steps.push(Step::Prepend(text("prepend").ok_or("Prepend without \"prepend\"")?));
            Ok(())
        }
        "Replace" => {
            let from = value.get("pattern").and_then(|p| p.get("String")).and_then(Value::as_str);
            match (from, text("content")) {
                (Some(from), Some(to)) if !from.is_empty() => {
                    steps.push(Step::Replace(from.to_owned(), to));
                    Ok(())
                }
                _ => Err(format!(
                    "Replace with the pattern {} is not supported; {{\"String\": …}} is",
                    value.get("pattern").unwrap_or(&Value::Null)
                )),
            }
        }
        other => {
            Err(format!("type {other:?} is not supported; NFC, NFD, NFKC, NFKD, Prepend, Replace and Sequence are"))
        }
    }
}

fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

/// What a decoder does.
#[derive(Debug, Default)]
pub struct Decoding {
    /// `<0x0A>` stands for a byte.
    pub bytes: bool,
    /// Which spaces go away.
    pub strip: Strip,
}

/// Reads the decoder of a vocabulary of characters that writes `space` for a space.
///
/// No decoder: tokens are joined as they are, and spaces are spaces (HF tokenizers would put a space between any two).
///
/// # Errors
/// A message says what is not supported.
pub fn read_decoder(value: Option<&Value>, space: Option<char>) -> Read<Decoding> {
    let mut decoding = Decoding::default();
    let Some(value) = value else { return Ok(decoding) };
    let list = match value.get("decoders").and_then(Value::as_array) {
        Some(list) => list.iter().collect(),
        None => vec![value],
    };
    let (mut fused, mut spaces) = (false, false);
    for value in list {
        match value.get("type").and_then(Value::as_str).unwrap_or_default() {
            "Replace" => {
                let from = value.get("pattern").and_then(|p| p.get("String")).and_then(Value::as_str);
                let to = value.get("content").and_then(Value::as_str);
                if to != Some(" ") || from.and_then(single).is_none_or(|c| Some(c) != space) {
                    return Err(format!(
                        "Replace of {from:?} by {to:?} is not supported; of what stands for a space, by a space, is"
                    ));
                }
                spaces = true;
            }
            "ByteFallback" => decoding.bytes = true,
            "Fuse" => fused = true,
            "Strip" => {
                let count = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
                let content = value.get("content").and_then(Value::as_str);
                decoding.strip = match (content, count("start"), count("stop"), fused) {
                    (_, 0, 0, _) => Strip::Nothing,
                    (Some(" "), 1, 0, true) => Strip::One,
                    _ => {
                        return Err(format!(
                            "{value} is not supported; stripping one space at the start, after Fuse, is"
                        ));
                    }
                };
            }
            "Metaspace" => {
                let replacement = value.get("replacement").and_then(Value::as_str).and_then(single);
                if replacement != space {
                    return Err(format!(
                        "Metaspace replaces {replacement:?}, but the vocabulary writes {space:?} for a space"
                    ));
                }
                spaces = true;
                let scheme = value.get("prepend_scheme").and_then(Value::as_str);
                let never = scheme.map_or(value.get("add_prefix_space") == Some(&Value::Bool(false)), |s| s == "never");
                decoding.strip = if never { Strip::Nothing } else { Strip::FirstToken };
            }
            other => {
                return Err(format!(
                    "type {other:?} is not supported here; Replace, ByteFallback, Fuse, Strip, Metaspace and Sequence are"
                ));
            }
        }
    }
    if space.is_some() && !spaces {
        return Err(format!("it leaves {} in the text; Replace or Metaspace is missing", space.unwrap_or_default()));
    }
    Ok(decoding)
}
