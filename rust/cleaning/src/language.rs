//! The language of a text, by its script and its trigrams (whatlang).

use rayon::prelude::*;
use whatlang::Lang;

use crate::clean::Step;
use crate::error::Error;

/// Bytes at the start of a text that are looked at: more does not change the answer, only the time.
const SAMPLE_BYTES: usize = 4096;

/// A language and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Language {
    /// BCP 47; `und` where it cannot be told.
    pub tag: &'static str,
    /// From 0 to 1.
    pub confidence: f32,
}

/// Returns the language of each text.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn identify(texts: &[&str], step: Step<'_>) -> Result<Vec<Language>, Error> {
    let one = |text: &&str| if step(text.len() as u64) { Ok(identify_one(text)) } else { Err(Error::Interrupted) };
    texts.par_iter().with_min_len(8).map(one).collect()
}

fn identify_one(text: &str) -> Language {
    let mut end = text.len().min(SAMPLE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    whatlang::detect(&text[..end]).map_or(Language { tag: "und", confidence: 0.0 }, |info| Language {
        tag: bcp47(info.lang()),
        confidence: info.confidence() as f32,
    })
}

/// The shortest ISO 639 code, as BCP 47 asks for.
fn bcp47(lang: Lang) -> &'static str {
    match lang.code() {
        "afr" => "af",
        "aka" => "ak",
        "amh" => "am",
        "ara" => "ar",
        "aze" => "az",
        "bel" => "be",
        "ben" => "bn",
        "bul" => "bg",
        "cat" => "ca",
        "ces" => "cs",
        "cmn" => "zh",
        "cym" => "cy",
        "dan" => "da",
        "deu" => "de",
        "ell" => "el",
        "eng" => "en",
        "epo" => "eo",
        "est" => "et",
        "fin" => "fi",
        "fra" => "fr",
        "guj" => "gu",
        "heb" => "he",
        "hin" => "hi",
        "hrv" => "hr",
        "hun" => "hu",
        "hye" => "hy",
        "ind" => "id",
        "ita" => "it",
        "jav" => "jv",
        "jpn" => "ja",
        "kan" => "kn",
        "kat" => "ka",
        "khm" => "km",
        "kor" => "ko",
        "lat" => "la",
        "lav" => "lv",
        "lit" => "lt",
        "mal" => "ml",
        "mar" => "mr",
        "mkd" => "mk",
        "mya" => "my",
        "nep" => "ne",
        "nld" => "nl",
        "nob" => "nb",
        "ori" => "or",
        "pan" => "pa",
        "pes" => "fa",
        "pol" => "pl",
        "por" => "pt",
        "ron" => "ro",
        "rus" => "ru",
        "sin" => "si",
        "slk" => "sk",
        "slv" => "sl",
        "sna" => "sn",
        "spa" => "es",
        "srp" => "sr",
        "swe" => "sv",
        "tam" => "ta",
        "tel" => "te",
        "tgl" => "tl",
        "tha" => "th",
        "tuk" => "tk",
        "tur" => "tr",
        "ukr" => "uk",
        "urd" => "ur",
        "uzb" => "uz",
        "vie" => "vi",
        "yid" => "yi",
        "zul" => "zu",
        // A code without a two-letter form is its own BCP 47 tag.
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_two_letter_tag_or_is_known_to_have_none() {
        for lang in Lang::all() {
            assert!(bcp47(*lang).len() == 2, "{} has no short tag", lang.code());
        }
    }
}
