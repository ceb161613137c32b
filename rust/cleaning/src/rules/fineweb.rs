//! The quality rules that FineWeb adds to those of C4 and Gopher.
//!
//! Source: Penedo et al. 2024, "The FineWeb Datasets", section 3.6 and its published filter: an end of a sentence is
//! looked for at the very end of a line, and a quote is none. Departures: none but the split into words
//! ([`super::words`]).

use super::signs::{ends_sentence, is_space};
use super::words::{chars, duplicates, ratio, split};
use super::{Check, Drop, thresholds};

thresholds! {
    /// Thresholds of the rule, defaults as published.
    FineWeb {
        /// Lines that are not blank.
        min_lines: 1.0,
        /// Share of lines that end like a sentence.
        min_line_punctuation_ratio: 0.12,
        /// Share of lines with at most `short_line_length` characters.
        max_short_line_ratio: 0.67,
        /// Characters of a short line.
        short_line_length: 30.0,
        /// Share of characters in lines that stood before.
        max_duplicate_line_character_ratio: 0.01,
        /// Line breaks per word.
        max_line_word_ratio: 0.3,
        /// 1 to keep a text in which no line at all ends like a sentence.
        exclude_zero_line_punctuation: 0.0,
    }
}

impl FineWeb {
    /// Why `text` goes, if it does.
    pub fn judge(&self, text: &str) -> Option<Drop> {
        let mut check = Check::new("fineweb");
        let lines: Vec<&str> = text.split('\n').filter(|line| !line.chars().all(is_space)).collect();
        let punctuated = lines.iter().filter(|line| line.ends_with(ends_sentence)).count();
        let short = lines.iter().filter(|line| chars(line) as f64 <= self.short_line_length).count();
        let breaks = memchr::memchr_iter(b'\n', text.as_bytes()).count();
        let (_, duplicated) = duplicates(lines.iter().copied());

        check.at_least("lines", lines.len() as f64, "min_lines", self.min_lines);
        if punctuated > 0 || self.exclude_zero_line_punctuation <= 0.0 {
            check.at_least(
                "line_punctuation_ratio",
                ratio(punctuated, lines.len()),
                "min_line_punctuation_ratio",
                self.min_line_punctuation_ratio,
            );
        }
        check.at_most("short_line_ratio", ratio(short, lines.len()), "max_short_line_ratio", self.max_short_line_ratio);
        check.at_most(
            "duplicate_line_character_ratio",
            ratio(duplicated, chars(text) - breaks),
            "max_duplicate_line_character_ratio",
            self.max_duplicate_line_character_ratio,
        );
        if check.dropped.is_none() {
            check.at_most(
                "line_word_ratio",
                ratio(breaks, split(text).len()),
                "max_line_word_ratio",
                self.max_line_word_ratio,
            );
        }
        check.dropped
    }
}
