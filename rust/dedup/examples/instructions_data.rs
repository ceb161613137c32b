//! One fixed piece of work on fixed texts, for `valgrind --tool=callgrind` to count its instructions; `bench/instructions.py` does.
//!
//!     instructions_data signatures|minhash|exact|lines|substrings|contamination|quality|personal|language [BYTES]
//!
//! Making the texts runs outside of `work_*`, the functions that callgrind is told to count.

use std::error::Error;
use std::hint::black_box;

use gristlm_cleaning::rules::Rule;
use gristlm_cleaning::{clean, identify};
use gristlm_dedup::{Length, MinHash, Room, Unit, contamination, exact, near_duplicates, signatures, substrings};

/// A generator of numbers that is the same everywhere (Steele, Lea and Flood 2014, SplitMix).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u64
    }
}

const WORDS: [&str; 24] = [
    "the", "of", "and", "river", "bank", "stream", "because", "was", "it", "bends", "outer", "worn", "away", "by",
    "to", "in", "a", "is", "that", "have", "with", "water", "stone", "slowly",
];

/// Documents of about 2 KB, `bytes` together: sentences of words that recur and words that do not, every fourth document
/// a changed copy, here and there an address.
fn texts(bytes: usize) -> Vec<String> {
    let mut random = Random(6);
    let mut out: Vec<String> = Vec::new();
    let mut size = 0;
    while size < bytes {
        let mut text = String::new();
        if out.len() % 4 == 3 {
            let copied = &out[random.below(out.len() as u64) as usize];
            let at = copied.find(". ").map_or(0, |at| at + 2);
            text = format!("{}A changed sentence number {}. {}", &copied[..at], out.len(), &copied[at..]);
        }
        while text.len() < 2000 {
            for _ in 0..5 + random.below(12) {
                match random.below(3) {
                    0 => text.push_str(&format!("{:x}", random.below(1 << 24))),
                    _ => text.push_str(WORDS[random.below(WORDS.len() as u64) as usize]),
                }
                text.push(' ');
            }
            if random.below(20) == 0 {
                text.push_str("to jane@mail.example.org from 8.8.4.4 ");
            }
            text.push_str(if random.below(3) == 0 { "the end.\n" } else { "so it is. " });
        }
        size += text.len();
        out.push(text);
    }
    out
}

#[inline(never)]
fn work_data(work: &str, texts: &[&str]) -> Result<usize, Box<dyn Error>> {
    run(work, texts)
}

#[inline(never)]
fn run(work: &str, texts: &[&str]) -> Result<usize, Box<dyn Error>> {
    let options = MinHash { num_perm: 112, bands: 14, rows: 8, ngram: 5, threshold: 0.8, seed: 0 };
    let rules = |names: &[&str]| names.iter().map(|name| Rule::new(name, &[])).collect::<Result<Vec<_>, _>>();
    let go_on: gristlm_cleaning::Step<'_> = &|_| true;
    Ok(match work {
        "signatures" => signatures(texts, 112, 5, 0, Room::default())?.len(),
        "minhash" => near_duplicates(&texts, None, &options, Room::default())?.keep.len(),
        "exact" => exact(&texts, Unit::Document, Room::default())?.spans.len(),
        "lines" => exact(&texts, Unit::Line, Room::default())?.spans.len(),
        "substrings" => substrings(&texts, None, Length::Bytes(200), Room::default())?.len(),
        "contamination" => contamination(texts, &texts[..texts.len().min(20)], 13, Room::default())?.hits.len(),
        "quality" => clean(texts, &rules(&["gopher_quality", "gopher_repetition", "c4", "fineweb"])?, go_on)?.len(),
        "personal" => clean(texts, &rules(&["personal_data"])?, go_on)?.len(),
        "language" => identify(texts, go_on)?.len(),
        _ => return Err("there is no such work".into()),
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().ok_or("say what to do")?;
    let bytes = arguments.next().map_or(Ok(1 << 20), |bytes| bytes.parse::<usize>())?;
    let texts = texts(bytes);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()?;
    // Tables and patterns are made once, before.
    pool.install(|| run(&work, &texts[..2]).map_err(|error| error.to_string()))?;
    black_box(pool.install(|| work_data(&work, &texts).map_err(|error| error.to_string()))?);
    Ok(())
}
