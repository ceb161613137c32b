//! The page rules of C4: lines that are no sentences go, pages of code or filler go whole.
//!
//! Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.2, with the numbers and the order
//! of the published filter. Departures: (1) a citation mark inside another is removed too, and the words of a line are
//! counted without its citation marks, so that a second time changes nothing; (2) the paper's list of bad words is not
//! applied: it removes whole subjects; (3) in text mostly without spaces (Chinese, Japanese, Thai) the marks of those
//! scripts end a sentence too.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::signs::{ends_sentence, is_punctuation, is_space};
use super::words::{chars, is_unspaced, lines, pieces, split};
use super::{Check, Outcome, thresholds};

const END: [char; 5] = ['.', '?', '!', '"', '\''];

const POLICY: [&str; 6] =
    ["terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"];

static CITATION: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[\d*\]|\[edit\]|\[citation needed\]").ok());

thresholds! {
    /// Thresholds of the rule, defaults as published.
    C4 {
        /// Sentences that must be left.
        min_sentences: 5.0,
        /// Words of a line that stays.
        min_words_per_line: 3.0,
        /// Characters of the longest word of a line that stays.
        max_word_length: 1000.0,
        /// Opening curly brackets a page may have, in lines that would stay.
        max_curly_brackets: 0.0,
        /// Lines with "lorem ipsum" a page may have.
        max_lorem_ipsum: 0.0,
        /// 1 to remove lines that do not end like a sentence.
        end_punctuation: 1.0,
        /// 1 to remove lines that mention "javascript".
        javascript: 1.0,
        /// 1 to remove lines about cookies, terms of use and privacy policies.
        policy: 1.0,
        /// 1 to take citation marks (`[1]`, `[edit]`) out of lines.
        citations: 1.0,
    }
}

impl C4 {
    /// The page without the lines that are no sentences, or why it goes.
    pub fn apply(&self, text: &str) -> Outcome {
        let unspaced = is_unspaced(text);
        let (mut kept, mut removed, mut cited, mut sentences) = (Vec::new(), 0, 0, 0);
        let (mut lorem, mut brackets) = (0, 0);
        let mut check = Check::new("c4");
        for raw in lines(text) {
            let raw = raw.trim_matches(is_space);
            let line = if self.citations > 0.0 { without_citations(raw) } else { Cow::Borrowed(raw) };
            if !self.reads_like_a_sentence(raw, &line, unspaced) {
                removed += u64::from(!raw.is_empty());
                continue;
            }
            let lower = line.to_lowercase();
            lorem += usize::from(lower.contains("lorem ipsum"));
            check.at_most("lorem_ipsum", lorem as f64, "max_lorem_ipsum", self.max_lorem_ipsum);
            if self.javascript > 0.0 && lower.contains("javascript") {
                removed += 1;
                continue;
            }
            brackets += memchr::memchr_iter(b'{', line.as_bytes()).count();
            check.at_most("curly_brackets", brackets as f64, "max_curly_brackets", self.max_curly_brackets);
            if check.dropped.is_some() {
                // A dropped page keeps its text: the reason can be checked against it.
                return Outcome { dropped: check.dropped, ..Outcome::default() };
            }
            if self.policy > 0.0 && POLICY.iter().any(|policy| lower.contains(policy)) {
                removed += 1;
                continue;
            }
            sentences += count_sentences(&line, unspaced);
            cited += u64::from(line.len() != raw.len());
            kept.push(line);
        }
        check.at_least("sentences", sentences as f64, "min_sentences", self.min_sentences);
        if check.dropped.is_some() {
            return Outcome { dropped: check.dropped, ..Outcome::default() };
        }
        let rewritten = kept.iter().map(|line| line.trim_matches(is_space)).collect::<Vec<_>>().join("\n");
        let changed = rewritten != text;
        let counts = [("c4.lines_removed", removed), ("c4.lines_without_citations", cited)];
        Outcome {
            rewritten: changed.then_some(rewritten),
            dropped: None,
            changes: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// `raw` is the line as it stood, `line` without citation marks.
    fn reads_like_a_sentence(&self, raw: &str, line: &str, unspaced: bool) -> bool {
        let ends = || {
            let theirs = unspaced && line.ends_with(|c| ends_sentence(c) || matches!(c, '”' | '」' | '』'));
            (line.ends_with(END) || theirs) && !line.ends_with("...")
        };
        let enough = |line: &str| {
            let count = if unspaced { split(line).len() } else { pieces(line).count() };
            count as f64 >= self.min_words_per_line
        };
        (self.end_punctuation <= 0.0 || ends())
            && enough(line)
            && pieces(raw)
                .all(|word| word.len() as f64 <= self.max_word_length || chars(word) as f64 <= self.max_word_length)
    }
}

/// `line` without `[1]`, `[edit]` and `[citation needed]`, also where removing one makes another.
fn without_citations(line: &str) -> Cow<'_, str> {
    let mut line = Cow::Borrowed(line);
    let Some(citation) = CITATION.as_ref() else { return line };
    while memchr::memchr(b'[', line.as_bytes()).is_some() && citation.is_match(&line) {
        line = Cow::Owned(citation.replace_all(&line, "").into_owned());
    }
    line
}

/// Sentences of a line: a new one starts with the first word after a word that ends one.
fn count_sentences(line: &str, unspaced: bool) -> usize {
    if unspaced {
        return line.chars().filter(|c| ends_sentence(*c)).count().max(1);
    }
    let (mut count, mut ended) = (1, false);
    for word in split(line) {
        let mut chars = word.chars();
        let ends = matches!((chars.next(), chars.next()), (Some(c), None) if ends_sentence(c));
        if ends {
            ended = true;
        } else if ended && !word.chars().all(is_punctuation) {
            count += 1;
            ended = false;
        }
    }
    count
}
