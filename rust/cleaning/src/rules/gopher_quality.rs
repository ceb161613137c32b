//! The document-level quality rules of Gopher.
//!
//! Source: Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", A1.1
//! (Quality filtering). As in the published filter, words of punctuation alone do not count towards `min_words`,
//! `max_words` and the mean length. Departures: (1) words as [`super::words`] splits them; (2) the length of words and
//! the English stop words are not looked at in text mostly without spaces (Chinese, Japanese, Thai), where words are
//! cut by length. The thresholds were chosen for English: for other languages set `min_stop_words=0`.

use super::signs::is_symbol;
use super::words::{chars, is_unspaced, lines, ratio, split};
use super::{Check, Drop, thresholds};

/// The eight English words of the paper; a text needs `min_stop_words` different ones.
const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

thresholds! {
    /// Thresholds of the rule, defaults as published.
    GopherQuality {
        /// Words a text must have.
        min_words: 50.0,
        /// Words a text may have.
        max_words: 100_000.0,
        /// Characters of the mean word, at least.
        min_mean_word_length: 3.0,
        /// Characters of the mean word, at most.
        max_mean_word_length: 10.0,
        /// Hash signs per word, and ellipses per word.
        max_symbol_word_ratio: 0.1,
        /// Share of lines that start with a bullet.
        max_bullet_line_ratio: 0.9,
        /// Share of lines that end with an ellipsis.
        max_ellipsis_line_ratio: 0.3,
        /// Share of words with a letter.
        min_alphabetic_word_ratio: 0.8,
        /// Different stop words a text must have.
        min_stop_words: 2.0,
    }
}

impl GopherQuality {
    /// Why `text` goes, if it does.
    pub fn judge(&self, text: &str) -> Option<Drop> {
        let all = split(text);
        let (mut count, mut characters, mut alphabetic, mut stop_words) = (0, 0, 0, 0_u8);
        for word in &all {
            alphabetic += usize::from(word.chars().any(char::is_alphabetic));
            if !word.chars().all(is_symbol) {
                count += 1;
                characters += chars(word);
                if let Some(index) = STOP_WORDS.iter().position(|stop| stop == word) {
                    stop_words |= 1 << index;
                }
            }
        }
        let (mut all_lines, mut bullets, mut ellipses) = (0, 0, 0);
        for line in lines(text) {
            all_lines += 1;
            bullets += usize::from(line.trim_start().starts_with(['•', '-']));
            let end = line.trim_end();
            ellipses += usize::from(end.ends_with("...") || end.ends_with('…'));
        }
        let hashes = memchr::memchr_iter(b'#', text.as_bytes()).count();
        let dots = text.matches("...").count() + text.matches('…').count();

        let mut check = Check::new("gopher_quality");
        check.at_least("words", count as f64, "min_words", self.min_words);
        check.at_most("words", count as f64, "max_words", self.max_words);
        let unspaced = is_unspaced(text);
        if !unspaced {
            let mean = ratio(characters, count);
            check.at_least("mean_word_length", mean, "min_mean_word_length", self.min_mean_word_length);
            check.at_most("mean_word_length", mean, "max_mean_word_length", self.max_mean_word_length);
        }
        check.at_most("hash_word_ratio", ratio(hashes, all.len()), "max_symbol_word_ratio", self.max_symbol_word_ratio);
        check.at_most(
            "ellipsis_word_ratio",
            ratio(dots, all.len()),
            "max_symbol_word_ratio",
            self.max_symbol_word_ratio,
        );
        check.at_most(
            "bullet_line_ratio",
            ratio(bullets, all_lines),
            "max_bullet_line_ratio",
            self.max_bullet_line_ratio,
        );
        check.at_most(
            "ellipsis_line_ratio",
            ratio(ellipses, all_lines),
            "max_ellipsis_line_ratio",
            self.max_ellipsis_line_ratio,
        );
        check.at_least(
            "alphabetic_word_ratio",
            ratio(alphabetic, all.len()),
            "min_alphabetic_word_ratio",
            self.min_alphabetic_word_ratio,
        );
        if !unspaced {
            check.at_least("stop_words", f64::from(stop_words.count_ones()), "min_stop_words", self.min_stop_words);
        }
        check.dropped
    }
}
