//! Makes `src/language/ngrams.bin` from the n-gram frequencies of lingua's language models (Apache-2.0, Peter M. Stahl).
//!
//!     cargo run --release -p gristlm-cleaning --example language_table -- DIRECTORY OUTPUT
//!
//! DIRECTORY holds the unpacked crates `lingua-*-language-model-1.3.0`, as `cargo fetch` leaves them in the registry of
//! a project that depends on `lingua = "=1.8.0"`. Of each language the most frequent n-grams of each length are taken; an
//! n-gram then weighs for every language in which it is likelier than the floor, so that ties have one answer.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;

use fst::Streamer;
use gristlm_cleaning::language_ngrams::{LONGEST, STEPS, extend};

/// The crates' names, in the order of `TAGS`.
const NAMES: [&str; 73] = [
    "afrikaans",
    "arabic",
    "azerbaijani",
    "belarusian",
    "bulgarian",
    "bengali",
    "catalan",
    "czech",
    "welsh",
    "danish",
    "german",
    "greek",
    "english",
    "esperanto",
    "spanish",
    "estonian",
    "basque",
    "persian",
    "finnish",
    "french",
    "irish",
    "gujarati",
    "hebrew",
    "hindi",
    "croatian",
    "hungarian",
    "armenian",
    "indonesian",
    "icelandic",
    "italian",
    "japanese",
    "georgian",
    "kazakh",
    "korean",
    "latin",
    "ganda",
    "lithuanian",
    "latvian",
    "maori",
    "macedonian",
    "mongolian",
    "marathi",
    "bokmal",
    "dutch",
    "nynorsk",
    "punjabi",
    "polish",
    "portuguese",
    "romanian",
    "russian",
    "slovak",
    "slovene",
    "shona",
    "somali",
    "albanian",
    "serbian",
    "sotho",
    "swedish",
    "swahili",
    "tamil",
    "telugu",
    "thai",
    "tagalog",
    "tswana",
    "turkish",
    "tsonga",
    "ukrainian",
    "urdu",
    "vietnamese",
    "xhosa",
    "yoruba",
    "chinese",
    "zulu",
];
/// Scripts that one language has to itself need no n-grams.
const BY_SCRIPT: [&str; 12] = [
    "bengali", "greek", "gujarati", "hebrew", "armenian", "japanese", "georgian", "korean", "punjabi", "tamil",
    "telugu", "thai",
];
/// The n-grams taken of each language, by length from one letter on.
const TAKEN: [usize; LONGEST] = [60, 250, 700, 600, 300];
/// The probability below which an n-gram says nothing.
const FLOOR: f64 = 1e-5;
/// What is in more languages than this says little and costs the most time.
const MOST_LANGUAGES: usize = 20;

type Probabilities = HashMap<String, f64>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("name the directory of the crates")?);
    let output = arguments.next().ok_or("name the file to write")?;
    let mut joint: Vec<Probabilities> = Vec::new();
    for name in NAMES {
        let skipped = BY_SCRIPT.contains(&name) || name == "chinese";
        joint.push(if skipped { Probabilities::new() } else { read(&directory, name)? });
    }
    let mut chosen: BTreeMap<u32, &str> = BTreeMap::new();
    for probabilities in &joint {
        for (length, most) in (1..).zip(TAKEN) {
            let of_length = probabilities.iter().filter(|(ngram, _)| ngram.chars().count() == length);
            let mut sorted: Vec<(&String, f64)> = of_length.map(|(ngram, p)| (ngram, *p)).collect();
            sorted.sort_by(|(a, p), (b, q)| q.total_cmp(p).then_with(|| a.cmp(b)));
            sorted.truncate(most);
            chosen.extend(sorted.iter().map(|(ngram, _)| (hash(ngram), ngram.as_str())));
        }
    }
    let mut bytes = Vec::new();
    let mut last = 0;
    for (hash, ngram) in chosen {
        let mut weights = Vec::new();
        for (language, probabilities) in (0u8..).zip(&joint) {
            let nats = (probabilities.get(ngram).copied().unwrap_or(0.0) / FLOOR).ln();
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

/// The probability of each n-gram among those of its length; the files hold that of its last letter after the others.
fn read(directory: &std::path::Path, name: &str) -> Result<Probabilities, Box<dyn Error>> {
    let path = directory.join(format!("lingua-{name}-language-model-1.3.0/models/ngrams.fst"));
    let map = fst::Map::new(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?)?;
    let mut joint = Probabilities::new();
    let mut entries = map.stream();
    while let Some((key, value)) = entries.next() {
        let ngram = std::str::from_utf8(key)?;
        let cut = ngram.char_indices().last().map_or(0, |(at, _)| at);
        // A prefix comes before what it begins.
        let before = if cut == 0 { 0.0 } else { joint.get(&ngram[..cut]).copied().unwrap_or(-30.0) };
        joint.insert(ngram.to_owned(), before + f64::from_bits(value));
    }
    Ok(joint.into_iter().map(|(ngram, log)| (ngram, log.exp())).collect())
}

fn hash(ngram: &str) -> u32 {
    ngram.chars().rev().fold(0, extend)
}

fn leb128(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
