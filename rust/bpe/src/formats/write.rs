//! Writing `tokenizer.json` in the form HF tokenizers reads.

use serde_json::{Map, Value, json};

use super::byte_chars::to_text;
use crate::special::Special;
use crate::tokenizer::{Model, Tokenizer};

/// The `tokenizer.json` of a tokenizer. Loaded in HF tokenizers, or here, it gives equal ids.
pub fn huggingface(tokenizer: &Tokenizer) -> String {
    let kept_parts = tokenizer.kept();
    let kept = |raw: &Option<String>| raw.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw).ok());
    let value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": tokenizer.specials().iter().map(added_token).collect::<Vec<_>>(),
        "normalizer": kept(&kept_parts.normalizer).unwrap_or(Value::Null),
        "pre_tokenizer": kept(&kept_parts.pre_tokenizer).unwrap_or_else(|| pre_tokenizer(tokenizer)),
        "post_processor": kept(&kept_parts.post_processor).unwrap_or(Value::Null),
        "decoder": kept(&kept_parts.decoder).unwrap_or_else(|| decoder(tokenizer)),
        "model": kept(&kept_parts.model).unwrap_or_else(|| model(tokenizer)),
    });
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

fn added_token(special: &Special) -> Value {
    json!({
        "id": special.id,
        "content": special.content,
        "single_word": special.single_word,
        "lstrip": special.lstrip,
        "rstrip": special.rstrip,
        "normalized": special.normalized,
        "special": special.special,
    })
}

fn pre_tokenizer(tokenizer: &Tokenizer) -> Value {
    let split =
        |regex: &String| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let mut list: Vec<Value> = tokenizer.pattern().regexes().iter().map(split).collect();
    if matches!(tokenizer.model(), Model::Bpe(_)) {
        list.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}));
    }
    json!({"type": "Sequence", "pretokenizers": list})
}

fn decoder(tokenizer: &Tokenizer) -> Value {
    match tokenizer.model() {
        Model::Bpe(_) => {
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})
        }
        Model::Chars(_) | Model::Lookup { .. } => json!({"type": "Fuse"}),
    }
}

fn model(tokenizer: &Tokenizer) -> Value {
    let special = |id: u32| tokenizer.is_special(id);
    let mut vocab = Map::new();
    for (id, bytes) in tokenizer.tokens().iter() {
        let as_text = special(id) || matches!(tokenizer.model(), Model::Lookup { .. });
        vocab.insert(if as_text { String::from_utf8_lossy(bytes).into_owned() } else { to_text(bytes) }, json!(id));
    }
    match tokenizer.model() {
        Model::Bpe(bpe) => {
            let name = |id: u32| to_text(tokenizer.tokens().get(id).unwrap_or_default());
            let merges: Vec<[String; 2]> =
                bpe.merges().into_iter().map(|(left, right, _)| [name(left), name(right)]).collect();
            json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": bpe.whole_first(), "vocab": vocab, "merges": merges,
            })
        }
        Model::Chars(_) => Value::Null, // always kept as it was read
        Model::Lookup { unknown } => {
            let name = String::from_utf8_lossy(tokenizer.tokens().get(*unknown).unwrap_or_default()).into_owned();
            json!({"type": "WordLevel", "vocab": vocab, "unk_token": name})
        }
    }
}
