//! One fixed piece of work on fixed texts, for `valgrind --tool=callgrind` to count its instructions; `bench/instructions.py` does.
//!
//!     instructions encode|decode|train PATTERN [TEXT KIND] [BYTES]
//!
//! Everything before the work proper (making the text, training the vocabulary) runs outside of `work_*`, the functions
//! that callgrind is told to count.

use std::error::Error;
use std::hint::black_box;

use gristlm_bpe::Tokenizer;
use gristlm_bpe::pattern::Pattern;
use gristlm_bpe::tokenizer::Choices;
use gristlm_bpe::train::{Counter, Merging, Settings};

/// A generator of numbers that is the same everywhere (Steele, Lea and Flood 2014, SplitMix).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u64
    }

    /// Small numbers far more often than large ones, as ranks of words are.
    fn rank(&mut self, end: u64) -> u64 {
        let bits = 64 - end.leading_zeros() as u64;
        let width = self.below(bits) + 1;
        self.below(1 << width).min(end - 1)
    }
}

const SCRIPTS: [(u32, u32); 6] =
    [(0x430, 0x450), (0x3B1, 0x3C9), (0x627, 0x64A), (0xAC00, 0xD7A3), (0x3041, 0x3096), (0x4E00, 0x9FA5)];

fn words(random: &mut Random, kind: &str) -> Vec<String> {
    (0..4000u32)
        .map(|number| {
            let (first, end) =
                if kind == "multilingual" { SCRIPTS[number as usize % SCRIPTS.len()] } else { (0x61, 0x7B) };
            let span = u64::from(end - first).min(400);
            let length = 1 + random.below(if first >= 0x3041 { 3 } else { 9 });
            (0..length).filter_map(|_| char::from_u32(first + random.rank(span) as u32)).collect()
        })
        .collect()
}

/// About `bytes` bytes of text of a kind: `english`, `multilingual`, `code`; or one long run: `letter`, `word`, `han`, ….
fn text(kind: &str, bytes: usize) -> Result<String, Box<dyn Error>> {
    let mut random = Random(bytes as u64 % 7 + 1);
    let mut text = String::with_capacity(bytes + 64);
    let one = |random: &mut Random, out: &mut String| match kind {
        "letter" => out.push('a'),
        "spaces" => out.push(' '),
        "newlines" => out.push('\n'),
        "carets" => out.push('^'),
        "word" => out.push(char::from(b'a' + random.below(26) as u8)),
        "han" => out.push(char::from_u32(0x4E00 + random.below(0x51A5) as u32).unwrap_or('漢')),
        _ => out.push(char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{FFFD}')),
    };
    if !matches!(kind, "english" | "multilingual" | "code") {
        while text.len() < bytes {
            one(&mut random, &mut text);
        }
        return Ok(text);
    }
    let words = words(&mut random, kind);
    while text.len() < bytes {
        let word = words.get(random.rank(words.len() as u64) as usize).ok_or("no such word")?;
        text.push_str(word);
        text.push_str(match (kind, random.below(12)) {
            ("code", 0) => "(\n    ",
            ("code", 1) => " = 0x1F;\n        ",
            ("code", 2..=4) => "_",
            ("code", 5) => ") {\n\t",
            (_, 0) => ", ",
            (_, 1) => ". The ",
            (_, 2) => "'s 1234 ",
            _ => " ",
        });
    }
    Ok(text)
}

fn count(texts: &[&str], pattern: &Pattern) -> Result<Counter, Box<dyn Error>> {
    let mut counter = Counter::default();
    counter.add(texts, pattern.splitter(), 1)?;
    Ok(counter)
}

fn merge(counter: &Counter, settings: &Settings) -> Result<Vec<(u32, u32)>, Box<dyn Error>> {
    let mut merging = Merging::new(counter, settings.num_merges()?, settings.min_frequency, settings.max_token_bytes);
    while merging.run(usize::MAX) {}
    Ok(merging.merges().to_vec())
}

#[inline(never)]
fn work_train(texts: &[&str], pattern: &Pattern, settings: &Settings) -> Result<usize, Box<dyn Error>> {
    Ok(merge(&count(texts, pattern)?, settings)?.len())
}

#[inline(never)]
fn work_encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &Choices::default(), &mut ids)?;
    Ok(ids)
}

#[inline(never)]
fn work_decode(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(tokenizer.decode(ids)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let work = arguments.next().ok_or("say what to do: encode, decode or train")?;
    let pattern = arguments.next().ok_or("name a pattern")?;
    let kind = arguments.next().unwrap_or_else(|| "english".to_owned());
    let bytes = arguments.next().map_or(Ok(1 << 20), |bytes| bytes.parse::<usize>())?;
    let settings = Settings { vocab_size: 4096, specials: Vec::new(), min_frequency: 1, max_token_bytes: 128 };
    if work == "train" {
        let text = text(&kind, bytes)?;
        black_box(work_train(&[&text], &Pattern::parse(&pattern)?, &settings)?);
        return Ok(());
    }
    let seen = [text("english", 200_003)?, text("multilingual", 200_003)?, text("code", 200_003)?];
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    let parsed = Pattern::parse(&pattern)?;
    let merges = merge(&count(&seen, &parsed)?, &settings)?;
    let tokenizer = settings.tokenizer(&merges, parsed)?;
    let text = text(&kind, bytes)?;
    let ids = black_box(work_encode(&tokenizer, &text)?);
    if work == "decode" && black_box(work_decode(&tokenizer, &ids)?) != text.as_bytes() {
        return Err("the text does not come back".into());
    }
    Ok(())
}
