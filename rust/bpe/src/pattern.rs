//! Patterns by name, their published regular expressions, and the splitter of each.

use crate::error::{Error, Result};
use crate::split::{Characters, Cl100k, DeepSeek, Gpt2, O200k, Spaces, Splitter, Whole};

/// A known pattern and its regular expressions in the form that HF tokenizers' engine (Oniguruma) understands.
struct Known {
    name: &'static str,
    regexes: &'static [&'static str],
    /// Other published forms of the same pattern.
    aliases: &'static [&'static str],
    splitter: fn() -> Splitter,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT2_TIKTOKEN: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";
const GPT2_TIKTOKEN_OLD: &str = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+";
const CL100K_TIKTOKEN: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3_TIKTOKEN: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
];

const KNOWN: [Known; 9] = [
    Known {
        name: "gpt2",
        regexes: &[GPT2],
        aliases: &[GPT2_TIKTOKEN, GPT2_TIKTOKEN_OLD],
        splitter: || Splitter::Gpt2(Gpt2::default()),
    },
    Known {
        name: "cl100k",
        regexes: &[CL100K],
        aliases: &[CL100K_TIKTOKEN],
        splitter: || Splitter::Cl100k(Cl100k::default()),
    },
    Known { name: "o200k", regexes: &[O200K], aliases: &[], splitter: || Splitter::O200k(O200k::default()) },
    Known {
        name: "llama3",
        regexes: &[LLAMA3],
        aliases: &[LLAMA3_TIKTOKEN],
        splitter: || Splitter::Llama3(Cl100k::default()),
    },
    Known { name: "qwen2", regexes: &[QWEN2], aliases: &[], splitter: || Splitter::Qwen2(Cl100k::default()) },
    Known { name: "tekken", regexes: &[TEKKEN], aliases: &[], splitter: || Splitter::Tekken(O200k::default()) },
    Known { name: "deepseek", regexes: &DEEPSEEK, aliases: &[], splitter: || Splitter::DeepSeek(DeepSeek::default()) },
    Known { name: "characters", regexes: &[r"[\s\S]"], aliases: &[], splitter: || Splitter::Characters(Characters) },
    Known { name: "none", regexes: &[], aliases: &[], splitter: || Splitter::Whole(Whole) },
];

/// How a text is cut into pretokens.
pub struct Pattern {
    name: Option<&'static str>,
    regexes: Vec<String>,
    splitter: Splitter,
}

impl Pattern {
    /// The names that [`Pattern::parse`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|k| k.name)
    }

    /// A pattern by name, or from a regular expression.
    ///
    /// # Errors
    /// [`Error::Pattern`] when it is neither.
    pub fn parse(pattern: &str) -> Result<Self> {
        if let Some(known) = KNOWN.iter().find(|k| k.name == pattern) {
            return Ok(Self::known(known));
        }
        let looks_like_a_name = !pattern.is_empty() && pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if looks_like_a_name || pattern.is_empty() {
            let names: Vec<_> = Self::names().collect();
            return Err(Error::Pattern {
                pattern: pattern.to_owned(),
                reason: format!("not a known name ({}) and not a regular expression", names.join(", ")),
            });
        }
        Self::sequence(vec![pattern.to_owned()])
    }

    /// Regular expressions, each applied to the pieces of the one before; a published sequence gets its hand-made splitter.
    ///
    /// # Errors
    /// [`Error::Pattern`] when one does not compile.
    pub fn sequence(regexes: Vec<String>) -> Result<Self> {
        let same =
            |k: &&Known| k.regexes == regexes || (regexes.len() == 1 && k.aliases.contains(&regexes[0].as_str()));
        if let Some(known) = KNOWN.iter().find(same) {
            return Ok(Self::known(known));
        }
        let splitter = Splitter::regex(&regexes)?;
        Ok(Self { name: None, regexes, splitter })
    }

    /// No pattern, for a vocabulary in which nothing merges across the beginning of a run of spaces: cut there, it gives the same.
    pub fn none_cut_at_spaces() -> Self {
        Self { name: Some("none"), regexes: Vec::new(), splitter: Splitter::Spaces(Spaces) }
    }

    /// Before every space, as HF tokenizers' Metaspace cuts.
    pub fn each_space() -> Self {
        Self { name: None, regexes: vec!["[^ ]+| [^ ]*".to_owned()], splitter: Splitter::EachSpace(Spaces) }
    }

    fn known(known: &'static Known) -> Self {
        Self {
            name: Some(known.name),
            regexes: known.regexes.iter().map(|&r| r.to_owned()).collect(),
            splitter: (known.splitter)(),
        }
    }

    /// The name of a known pattern.
    pub fn name(&self) -> Option<&'static str> {
        self.name
    }

    /// The regular expressions, as HF tokenizers would apply them.
    pub fn regexes(&self) -> &[String] {
        &self.regexes
    }

    /// The splitter.
    pub fn splitter(&self) -> &Splitter {
        &self.splitter
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters of every class that any pattern tells apart, and their neighbours.
    const ALPHABET: &[char] = &[
        'a',
        'b',
        's',
        't',
        'S',
        'l',
        'L',
        'r',
        'e',
        'v',
        'm',
        'd',
        'Z',
        'A',
        '\'',
        '’',
        ' ',
        ' ',
        '\t',
        '\n',
        '\r',
        '\u{b}',
        '\u{85}',
        '\u{a0}',
        '\u{2028}',
        '\u{3000}',
        '0',
        '7',
        '9',
        '½',
        '٣',
        'Ⅷ',
        '五',
        '〇',
        '漢',
        'あ',
        'ゟ',
        '゛',
        '・',
        'ー',
        'ヿ',
        '龥',
        '龦',
        '한',
        'ſ',
        'ǅ',
        'ʰ',
        'ª',
        'é',
        'É',
        'ß',
        'я',
        'Я',
        '\u{301}',
        '\u{3099}',
        '\u{903}',
        '\u{20dd}',
        '.',
        ',',
        '/',
        '-',
        '_',
        '<',
        '|',
        '>',
        '{',
        '$',
        '+',
        '€',
        '😀',
        '\u{200d}',
        '\u{fe0f}',
        '\0',
        '\u{7f}',
        '\u{ad}',
        '\u{e000}',
        '\u{378}',
        '\u{10ffff}',
        'K',
        'İ',
        'ı',
        'ﬆ',
    ];

    fn reference(known: &Known) -> Splitter {
        let regexes: Vec<String> = known.regexes.iter().map(|&r| r.to_owned()).collect();
        Splitter::regex(&regexes).expect("a published pattern")
    }

    fn check(known: &Known, reference: &Splitter, text: &str) {
        let expected = reference.pretokens(text);
        assert_eq!((known.splitter)().pretokens(text), expected, "{} {text:?}", known.name);
        assert_eq!((known.splitter)().pretokens_one_by_one(text), expected, "{} one by one {text:?}", known.name);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn hand_made_splitters_equal_their_regex(picks in proptest::collection::vec(0..ALPHABET.len(), 0..24)) {
            let text: String = picks.iter().map(|&i| ALPHABET[i]).collect();
            thread_local!(static REFERENCES: Vec<Splitter> = KNOWN[..8].iter().map(reference).collect());
            REFERENCES.with(|references| {
                for (known, reference) in KNOWN.iter().zip(references) {
                    check(known, reference, &text);
                }
            });
        }

        /// Long enough for several blocks of 64 bytes, with now and then a character that ends one early.
        #[test]
        fn long_ascii_texts_too(picks in proptest::collection::vec(0..ALPHABET.len() * 8, 60..260)) {
            const ASCII: &[u8] = b"abstlrevmdSLRZA'''' \x20\x20 \t\n\n\r\x0b019../-_(){\0~";
            let text: String =
                picks.iter().map(|&i| ALPHABET.get(i).copied().unwrap_or(ASCII[i % ASCII.len()] as char)).collect();
            thread_local!(static REFERENCES: Vec<Splitter> = KNOWN[..8].iter().map(reference).collect());
            REFERENCES.with(|references| {
                for (known, reference) in KNOWN.iter().zip(references) {
                    check(known, reference, &text);
                }
            });
        }

        #[test]
        fn on_any_characters(text in any::<String>()) {
            thread_local!(static REFERENCES: Vec<Splitter> = KNOWN[..8].iter().map(reference).collect());
            REFERENCES.with(|references| {
                for (known, reference) in KNOWN.iter().zip(references) {
                    check(known, reference, &text);
                }
            });
        }
    }

    #[test]
    fn all_triples_of_classes_split_as_their_regex_does() {
        for known in &KNOWN[..7] {
            let reference = reference(known);
            for &a in ALPHABET {
                for &b in ALPHABET {
                    let text: String = ALPHABET.iter().flat_map(|&c| ['x', '1', a, b, c, '\n']).collect();
                    check(known, &reference, &text);
                }
                check(known, &reference, &[a].iter().collect::<String>());
            }
        }
    }

    #[test]
    fn the_published_forms_of_one_pattern_agree() {
        for known in &KNOWN {
            for alias in known.aliases {
                let regex = fancy_regex::Regex::new(alias).expect("a published pattern");
                for &a in ALPHABET {
                    let text: String =
                        ALPHABET.iter().flat_map(|&c| [a, c, ' ', a, a, '\n', c]).chain([a, ' ', '\n', ' ']).collect();
                    let found: Vec<&str> = regex.find_iter(&text).map(|m| m.expect("no limit").as_str()).collect();
                    assert_eq!((known.splitter)().pretokens(&text), found, "{} {alias}", known.name);
                }
            }
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = Pattern::parse("o100k").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("o200k") && error.contains("o100k"), "{error}");
    }
}
