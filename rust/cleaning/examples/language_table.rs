//! Makes `src/language/ngrams.bin`.
//!
//!     cargo run --release -p gristlm-cleaning --example language_table -- CRATES OUTPUT [SENTENCES]
//!
//! CRATES holds the unpacked crates `lingua-*-language-model-1.3.0` (Apache-2.0, Peter M. Stahl), as `cargo fetch` leaves
//! them in the registry of a project that depends on `lingua = "=1.8.0"`. Their models give the frequencies of n-grams
//! within words, their sentences those at the edges of words. SENTENCES holds a `TAG.txt` for each language that lingua
//! lacks; both kinds are counted in it. Of each language the most frequent n-grams of each length are taken; an n-gram then
//! weighs for every language in which it is likelier than the floor. Ties have one answer.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};

use fst::Streamer;
use gristlm_cleaning::for_each_letter;
use gristlm_cleaning::language_ngrams::{LONGEST, STEPS, TAGS, Word, extend};

/// The languages that lingua's crates are for; scripts that one language has to itself need no n-grams.
const CRATES: [(&str, &str); 60] = [
    ("af", "afrikaans"),
    ("ar", "arabic"),
    ("az", "azerbaijani"),
    ("be", "belarusian"),
    ("bg", "bulgarian"),
    ("ca", "catalan"),
    ("cs", "czech"),
    ("cy", "welsh"),
    ("da", "danish"),
    ("de", "german"),
    ("en", "english"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("et", "estonian"),
    ("eu", "basque"),
    ("fa", "persian"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("ga", "irish"),
    ("hi", "hindi"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("id", "indonesian"),
    ("is", "icelandic"),
    ("it", "italian"),
    ("kk", "kazakh"),
    ("la", "latin"),
    ("lg", "ganda"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("mi", "maori"),
    ("mk", "macedonian"),
    ("mn", "mongolian"),
    ("mr", "marathi"),
    ("nb", "bokmal"),
    ("nl", "dutch"),
    ("nn", "nynorsk"),
    ("pl", "polish"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("ru", "russian"),
    ("sk", "slovak"),
    ("sl", "slovene"),
    ("sn", "shona"),
    ("so", "somali"),
    ("sq", "albanian"),
    ("sr", "serbian"),
    ("st", "sotho"),
    ("sv", "swedish"),
    ("sw", "swahili"),
    ("tl", "tagalog"),
    ("tn", "tswana"),
    ("tr", "turkish"),
    ("ts", "tsonga"),
    ("uk", "ukrainian"),
    ("ur", "urdu"),
    ("vi", "vietnamese"),
    ("xh", "xhosa"),
    ("yo", "yoruba"),
    ("zu", "zulu"),
];
/// The n-grams within words taken of each language, by length from one letter on.
const WITHIN: [usize; LONGEST] = [80, 600, 2500, 3000, 2500];
/// The n-grams with an edge taken of each language.
const AT_EDGES: usize = 4000;
/// An n-gram that stood less often than this in the sentences says nothing.
const LEAST: u32 = 3;
/// The probability below which an n-gram says nothing.
const FLOOR: f64 = 1e-5;
/// What is in more languages than this says little and costs the most time.
const MOST_LANGUAGES: usize = 20;

/// N-grams, by their hash, and the probability of each.
type Ngrams = Vec<(u32, f64)>;

/// What is known of one language.
#[derive(Default)]
struct Known {
    /// The probability of each n-gram, by its hash.
    probabilities: HashMap<u32, f64>,
    /// The most frequent ones.
    chosen: Vec<u32>,
}

impl Known {
    /// Adds the n-grams of a text.
    fn count(&mut self, text: &str) {
        for (ngrams, most) in count(text).into_iter().zip(WITHIN.into_iter().chain([AT_EDGES])) {
            self.add(ngrams, most);
        }
    }

    /// Adds n-grams of which the `most` likeliest are chosen.
    fn add(&mut self, mut ngrams: Ngrams, most: usize) {
        ngrams.sort_by(|(a, p), (b, q)| q.total_cmp(p).then_with(|| a.cmp(b)));
        self.chosen.extend(ngrams.iter().take(most).map(|(hash, _)| *hash));
        for (hash, probability) in ngrams {
            self.probabilities.entry(hash).or_insert(probability);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let crates = PathBuf::from(arguments.next().ok_or("name the directory of the crates")?);
    let output = arguments.next().ok_or("name the file to write")?;
    let sentences = arguments.next().map(PathBuf::from);
    let mut languages = Vec::new();
    for tag in TAGS {
        let mut known = Known::default();
        if let Some((_, name)) = CRATES.iter().find(|(other, _)| *other == tag) {
            let folder = crates.join(format!("lingua-{name}-language-model-1.3.0"));
            for (ngrams, most) in model(&folder.join("models/ngrams.fst"))?.into_iter().zip(WITHIN) {
                known.add(ngrams, most);
            }
            // The models of some scripts have no marks above and below letters; the sentences have them.
            known.count(&std::fs::read_to_string(folder.join("testdata/sentences.txt"))?);
        } else if let Some(text) =
            sentences.as_ref().map(|folder| folder.join(format!("{tag}.txt"))).filter(|path| path.exists())
        {
            known.count(&std::fs::read_to_string(text)?);
        }
        languages.push(known);
    }
    let chosen: BTreeSet<u32> = languages.iter().flat_map(|known| &known.chosen).copied().collect();
    let mut bytes = Vec::new();
    let mut last = 0;
    for hash in chosen {
        let mut weights = Vec::new();
        for (language, known) in (0u8..).zip(&languages) {
            let nats = (known.probabilities.get(&hash).copied().unwrap_or(0.0) / FLOOR).ln();
            let weight = (nats * f64::from(STEPS)).round().clamp(0.0, 255.0) as u8;
            if weight > 0 {
                weights.extend([language, weight]);
            }
        }
        if weights.is_empty() || weights.len() > 2 * MOST_LANGUAGES {
            continue;
        }
        leb128(hash - last, &mut bytes);
        last = hash;
        bytes.push((weights.len() / 2) as u8);
        bytes.extend(weights);
    }
    println!("{} bytes", bytes.len());
    std::fs::write(output, bytes)?;
    Ok(())
}

/// The n-grams within words, by length, each with its probability among those of its length; the file holds that of its
/// last letter after the others.
fn model(path: &Path) -> Result<Vec<Ngrams>, Box<dyn Error>> {
    let map = fst::Map::new(std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?)?;
    let mut logs: HashMap<String, f64> = HashMap::new();
    let mut out = vec![Vec::new(); LONGEST];
    let mut entries = map.stream();
    while let Some((key, value)) = entries.next() {
        let ngram = std::str::from_utf8(key)?;
        let cut = ngram.char_indices().last().map_or(0, |(at, _)| at);
        // A prefix comes before what it begins.
        let before = if cut == 0 { 0.0 } else { logs.get(&ngram[..cut]).copied().unwrap_or(-30.0) };
        let log = before + f64::from_bits(value);
        logs.insert(ngram.to_owned(), log);
        if let Some(of_length) = out.get_mut(ngram.chars().count() - 1) {
            of_length.push((ngram.chars().rev().fold(0, extend), log.exp()));
        }
    }
    Ok(out)
}

/// The n-grams of a text, by length those within words, and last those with an edge: each with its number for each letter.
fn count(text: &str) -> Vec<Ngrams> {
    let mut counts: Vec<HashMap<u32, u32>> = vec![HashMap::new(); LONGEST + 1];
    let (mut word, mut letters) = (Word::default(), 0_u32);
    for_each_letter(text, |letter| match letter {
        Some((_, letter)) => {
            letters += 1;
            let mut length = 0;
            word.letter(letter, |hash, edge| {
                *counts[if edge { LONGEST } else { length }].entry(hash).or_default() += 1;
                length += 1;
            });
        }
        None => word.end(|hash| *counts[LONGEST].entry(hash).or_default() += 1),
    });
    let share = |(hash, count)| (hash, f64::from(count) / f64::from(letters.max(1)));
    let often =
        |counts: HashMap<u32, u32>| counts.into_iter().filter(|(_, count)| *count >= LEAST).map(share).collect();
    counts.into_iter().map(often).collect()
}

fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
