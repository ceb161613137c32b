//! The language of a text: by its script, and within a script by the n-grams of its words.

pub mod ngrams;
pub mod script;

use rayon::prelude::*;

use crate::clean::Step;
use crate::error::Error;
use ngrams::{Scores, TAGS};
use script::Script;

/// Of a longer text this many windows, spread over its length, are looked at: headings and quotes are often in another language.
const WINDOWS: usize = 4;
const WINDOW_BYTES: usize = 192;
/// How much one letter of these scripts says, as Latin names and commands stand in text of every other script.
const LATIN_WEIGHT: u32 = 2;
const OTHER_WEIGHT: u32 = 3;
const IDEOGRAPH_WEIGHT: u32 = 8;
/// Japanese has at least this share of kana among its kana and ideographs.
const KANA_SHARE: f32 = 0.05;
/// Yiddish has at least this share of its own digraphs among its letters, or, written without them, of ayin, its vowel
/// `e`, which is rare in Hebrew; that is asked of texts with so many letters.
const DIGRAPH_SHARE: f32 = 0.01;
const AYIN_SHARE: f32 = 0.09;
const AYIN_LETTERS: u32 = 40;
/// The margin, in nats per square root of letters, at which the confidence is 1 - 1/e.
const SURE_NATS: f32 = 1.0;

/// A language and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Language {
    /// BCP 47; `und` where it cannot be told.
    pub tag: &'static str,
    /// From 0 to 1.
    pub confidence: f32,
}

const UNDETERMINED: Language = Language { tag: "und", confidence: 0.0 };

/// Returns the language of each text.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn identify(texts: &[&str], step: Step<'_>) -> Result<Vec<Language>, Error> {
    let one = |text: &&str| if step(text.len() as u64) { Ok(identify_one(text)) } else { Err(Error::Interrupted) };
    texts.par_iter().with_min_len(8).map(one).collect()
}

fn identify_one(text: &str) -> Language {
    let mut scores = Scores::new();
    let mut letters = [0u32; Script::COUNT];
    for window in windows(text) {
        read(window, &mut scores, &mut letters);
    }
    let weighed = Script::ALL.map(|script| (letters[script as usize] * weight(script), script));
    let Some((most, script)) = weighed.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best })
    else {
        return UNDETERMINED;
    };
    if most == 0 {
        return UNDETERMINED;
    }
    let share = most as f32 / weighed.iter().map(|(weight, _)| weight).sum::<u32>() as f32;
    let [han, kana] = [Script::Han, Script::Kana].map(|script| letters[script as usize] as f32);
    match script {
        Script::Han | Script::Kana if kana >= KANA_SHARE * (kana + han) => Language { tag: "ja", confidence: share },
        Script::Han | Script::Kana => Language { tag: "zh", confidence: share },
        Script::Hebrew if is_yiddish(text) => Language { tag: "yi", confidence: share },
        _ => script.only().map_or_else(
            || likeliest(&scores, script, letters[script as usize]),
            |tag| Language { tag, confidence: share },
        ),
    }
}

const fn weight(script: Script) -> u32 {
    match script {
        Script::Latin => LATIN_WEIGHT,
        Script::Han | Script::Kana => IDEOGRAPH_WEIGHT,
        _ => OTHER_WEIGHT,
    }
}

fn is_yiddish(text: &str) -> bool {
    let (mut letters, mut digraphs, mut ayins) = (0, 0, 0);
    for letter in windows(text).flat_map(str::chars) {
        letters += u32::from(matches!(letter, '\u{5D0}'..='\u{5EA}' | '\u{5F0}'..='\u{5F2}'));
        // With the rafe over a letter, which modern Hebrew does without.
        digraphs +=
            u32::from(matches!(letter, '\u{5F0}'..='\u{5F2}' | '\u{5BF}' | '\u{FB1F}' | '\u{FB4C}' | '\u{FB4E}'));
        ayins += u32::from(letter == '\u{5E2}');
    }
    let share = |count: u32| count as f32 / letters.max(1) as f32;
    share(digraphs) >= DIGRAPH_SHARE || (letters >= AYIN_LETTERS && share(ayins) >= AYIN_SHARE)
}

/// The best of the script's languages; of equal ones the first by tag.
fn likeliest(scores: &Scores, script: Script, letters: u32) -> Language {
    let nats = scores.nats();
    let (mut best, mut second) = ((0.0, "und"), 0.0);
    for (tag, sum) in TAGS.into_iter().zip(nats).filter(|(tag, _)| script.writes(tag)) {
        if sum > best.0 {
            second = best.0;
            best = (sum, tag);
        } else if sum > second {
            second = sum;
        }
    }
    if best.1 == "und" {
        return UNDETERMINED;
    }
    let margin = (best.0 - second) / (letters as f32).sqrt();
    Language { tag: best.1, confidence: (1.0 - (-margin / SURE_NATS).exp()).max(f32::EPSILON) }
}

fn read(window: &str, scores: &mut Scores, letters: &mut [u32; Script::COUNT]) {
    for_each_letter(window, |letter| {
        let Some((script, letter)) = letter else {
            scores.end_word();
            return;
        };
        letters[script as usize] += 1;
        if script.only().is_none() && !matches!(script, Script::Han | Script::Kana) {
            scores.letter(letter);
        }
    });
}

/// Calls `letter` with each letter of `text` in lower case and its script, and with `None` where a word may end.
pub fn for_each_letter(text: &str, mut letter: impl FnMut(Option<(Script, char)>)) {
    for c in text.chars() {
        letter(Script::of(c).map(|script| (script, lower(c))));
    }
    letter(None);
}

fn lower(letter: char) -> char {
    if letter.is_ascii() { letter.to_ascii_lowercase() } else { letter.to_lowercase().next().unwrap_or(letter) }
}

fn windows(text: &str) -> impl Iterator<Item = &str> {
    let whole = text.len() <= WINDOWS * WINDOW_BYTES;
    let length = if whole { text.len() } else { WINDOW_BYTES };
    (0..if whole { 1 } else { WINDOWS }).map(move |at| {
        let start = at * (text.len() - length) / (WINDOWS - 1);
        let mut ends = [start, start + length];
        for end in &mut ends {
            while !text.is_char_boundary(*end) {
                *end -= 1;
            }
        }
        &text[ends[0]..ends[1]]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> &'static str {
        identify_one(text).tag
    }

    #[test]
    fn scripts_of_one_language_are_told_by_the_script() {
        let texts =
            [("ኢትዮጵያ", "am"), ("ភាសាខ្មែរ", "km"), ("မြန်မာဘာသာ", "my"), ("ಕನ್ನಡ", "kn"), ("മലയാളം", "ml"), ("සිංහල", "si")];
        for (text, language) in texts {
            assert_eq!(tag(text), language);
        }
        assert_eq!(tag("漢字かな"), "ja");
        assert_eq!(tag("汉字"), "zh");
    }

    #[test]
    fn sentences_of_one_script_are_told_apart() {
        let texts = [
            ("The river bends because its outer bank is worn away by the stream.", "en"),
            ("Der Fluss biegt sich, weil das äußere Ufer vom Strom abgetragen wird.", "de"),
            ("La rivière se courbe parce que sa rive extérieure est usée par le courant.", "fr"),
            ("Река изгибается, потому что течение размывает её внешний берег.", "ru"),
            ("Річка вигинається, бо течія розмиває її зовнішній берег.", "uk"),
            ("رودخانه به این دلیل خم می‌شود که جریان کناره بیرونی آن را می‌ساید.", "fa"),
        ];
        for (text, language) in texts {
            assert_eq!(tag(text), language);
        }
        assert_eq!(identify_one("1234 !?"), UNDETERMINED);
    }

    #[test]
    fn a_text_of_any_length_is_read_in_whole_characters() {
        for length in (0..5000).step_by(7) {
            let text = "öäü ".repeat(length);
            let read: usize = windows(&text).map(str::len).sum();
            assert!(read <= WINDOWS * (WINDOW_BYTES + 3) && (read > 0) == (length > 0));
        }
    }
}
