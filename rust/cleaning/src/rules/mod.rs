//! The rules of [`crate::clean()`]: some rewrite a text, some drop it, each says what it did.
//!
//! Rewriting rules are idempotent: a second application changes nothing.

mod bank;
mod c4;
mod contractions;
mod encoding;
mod fineweb;
mod gopher_quality;
mod gopher_repetition;
mod national_id;
mod personal_data;
mod signs;
mod unicode;
mod words;

use std::fmt;

use crate::Error;
use crate::error::nearest;

/// Why a text is dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Drop {
    /// The rule.
    pub rule: &'static str,
    /// What was measured.
    pub measure: &'static str,
    /// How much of it the text has.
    pub value: f64,
    /// The threshold that it misses.
    pub threshold: &'static str,
    /// Its value.
    pub limit: f64,
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.value < self.limit { '<' } else { '>' };
        let value = (self.value * 1e4).round() / 1e4;
        // Rounding must not turn the sentence into nonsense such as "0.1 > 0.1".
        let value = if value == self.limit { self.value } else { value };
        write!(f, "{}: {} {value} {sign} {} {}", self.rule, self.measure, self.threshold, self.limit)
    }
}

/// What one rule made of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The new text, where it differs.
    pub rewritten: Option<String>,
    /// Why the text goes.
    pub dropped: Option<Drop>,
    /// What was changed, by kind.
    pub changes: Vec<(&'static str, u64)>,
}

impl Outcome {
    fn rewritten(kind: &'static str, text: Option<String>) -> Self {
        let changes = text.as_ref().map(|_| (kind, 1)).into_iter().collect();
        Self { rewritten: text, dropped: None, changes }
    }
}

/// Numbers of one rule, by name: a struct with published defaults and a setter for `(name, value)` pairs.
macro_rules! thresholds {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: f64,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::rules::Thresholds for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            fn slot(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}
use thresholds;

/// A rule's numbers by name.
trait Thresholds: Default {
    const NAMES: &'static [&'static str];

    fn slot(&mut self, name: &str) -> Option<&mut f64>;

    /// The defaults with `given` in place.
    fn with(rule: &'static str, given: &[(String, f64)]) -> Result<Self, Error> {
        let mut out = Self::default();
        for (name, value) in given {
            let Some(slot) = out.slot(name) else {
                return Err(Error::UnknownThreshold {
                    rule,
                    given: name.clone(),
                    nearest: nearest(name, Self::NAMES),
                    known: Self::NAMES.to_vec(),
                });
            };
            if !value.is_finite() || *value < 0.0 {
                return Err(Error::BadThreshold { rule, threshold: name.clone(), value: *value });
            }
            *slot = *value;
        }
        Ok(out)
    }
}

/// A rule with its thresholds.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Repairs text that was decoded with the wrong character set.
    Encoding,
    /// NFC, no control or zero-width characters, one kind of line ending, no trailing white space.
    Unicode,
    /// Drops what does not read like prose (Gopher).
    GopherQuality(gopher_quality::GopherQuality),
    /// Drops what repeats itself (Gopher).
    GopherRepetition(gopher_repetition::GopherRepetition),
    /// Removes lines that are no sentences, drops pages of code and filler (C4).
    C4(c4::C4),
    /// Drops lists and pages of short lines (FineWeb).
    FineWeb(fineweb::FineWeb),
    /// Replaces personal data and secrets by typed placeholders.
    PersonalData(personal_data::PersonalData),
}

/// Names of all rules.
pub const NAMES: &[&str] =
    &["encoding", "unicode", "gopher_quality", "gopher_repetition", "c4", "fineweb", "personal_data"];

thresholds! {
    /// Of rules that have none.
    NoThresholds {}
}

impl Rule {
    /// The rule called `name`, its published thresholds changed by `given`.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], [`Error::UnknownThreshold`], [`Error::BadThreshold`].
    pub fn new(name: &str, given: &[(String, f64)]) -> Result<Self, Error> {
        Ok(match name {
            "encoding" => NoThresholds::with("encoding", given).map(|_| Self::Encoding)?,
            "unicode" => NoThresholds::with("unicode", given).map(|_| Self::Unicode)?,
            "gopher_quality" => Self::GopherQuality(Thresholds::with("gopher_quality", given)?),
            "gopher_repetition" => Self::GopherRepetition(Thresholds::with("gopher_repetition", given)?),
            "c4" => Self::C4(Thresholds::with("c4", given)?),
            "fineweb" => Self::FineWeb(Thresholds::with("fineweb", given)?),
            "personal_data" => Self::PersonalData(Thresholds::with("personal_data", given)?),
            _ => {
                return Err(Error::UnknownRule {
                    given: name.to_owned(),
                    nearest: nearest(name, NAMES),
                    known: NAMES.to_vec(),
                });
            }
        })
    }

    /// Applies the rule to one text.
    pub fn apply(&self, text: &str) -> Outcome {
        match self {
            Self::Encoding => Outcome::rewritten("encoding", encoding::repair(text)),
            Self::Unicode => Outcome::rewritten("unicode", unicode::normalize(text)),
            Self::GopherQuality(rule) => Outcome { dropped: rule.judge(text), ..Outcome::default() },
            Self::GopherRepetition(rule) => Outcome { dropped: rule.judge(text), ..Outcome::default() },
            Self::C4(rule) => rule.apply(text),
            Self::FineWeb(rule) => Outcome { dropped: rule.judge(text), ..Outcome::default() },
            Self::PersonalData(rule) => rule.apply(text),
        }
    }
}

/// Compares measures with thresholds in order and keeps the first miss.
struct Check {
    rule: &'static str,
    dropped: Option<Drop>,
}

impl Check {
    fn new(rule: &'static str) -> Self {
        Self { rule, dropped: None }
    }

    fn at_least(&mut self, measure: &'static str, value: f64, threshold: &'static str, limit: f64) {
        if self.dropped.is_none() && value < limit {
            self.dropped = Some(Drop { rule: self.rule, measure, value, threshold, limit });
        }
    }

    fn at_most(&mut self, measure: &'static str, value: f64, threshold: &'static str, limit: f64) {
        if self.dropped.is_none() && value > limit {
            self.dropped = Some(Drop { rule: self.rule, measure, value, threshold, limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rewriting_rules_are_idempotent(text in "\\PC{0,60}|[a-zÃÂâ€™Å‚ðŸ˜€ÐŸÑ€Ð¸\u{80}-\u{bf}\u{200b}\u{301}\r\n\t .]{0,80}") {
            for name in ["encoding", "unicode", "c4", "personal_data"] {
                let rule = Rule::new(name, &[]).unwrap();
                if let Some(once) = rule.apply(&text).rewritten {
                    prop_assert_ne!(&once, &text);
                    prop_assert_eq!(rule.apply(&once).rewritten, None, "{}", name);
                }
            }
        }
    }

    #[test]
    fn a_reason_names_rule_value_and_threshold() {
        let drop = Drop {
            rule: "fineweb",
            measure: "short_line_ratio",
            value: 0.700_049,
            threshold: "max_short_line_ratio",
            limit: 0.67,
        };
        assert_eq!(drop.to_string(), "fineweb: short_line_ratio 0.7 > max_short_line_ratio 0.67");
    }
}
