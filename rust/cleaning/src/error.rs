//! What can go wrong in this crate; each message says what was given, what is allowed and what to change.

/// An error of `gristlm-cleaning`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The page is longer than the caller's limit.
    #[error("the page has {bytes} bytes, more than the limit of {limit}; raise max_bytes to read it")]
    TooLarge {
        /// Bytes of the page.
        bytes: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The page has more elements than any real one.
    #[error("the page has more than {limit} elements and texts; it is not read, for no option raises this limit")]
    TooManyNodes {
        /// The limit in force.
        limit: usize,
    },
    /// A tag of the page is so long, or so many are, that telling its attributes apart would take minutes.
    #[error(
        "the page has a tag or comment of tens of thousands of words; it is not read, for no option raises this limit"
    )]
    TooManyAttributes,
    /// The caller asked to stop.
    #[error("the call was interrupted")]
    Interrupted,
    /// A model file that cannot be read, or texts that none can be made of.
    #[error("model {path}: {why}")]
    Model {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Data that are not gzip, or not any more.
    #[error("the gzip data are damaged: {why}")]
    Gzip {
        /// What is wrong.
        why: String,
    },
    /// A rule that does not exist.
    #[error("rules: there is no rule {given:?}{}; the rules are {}", did_you_mean(.nearest), .known.join(", "))]
    UnknownRule {
        /// As given.
        given: String,
        /// The closest existing name.
        nearest: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A threshold that its rule does not have.
    #[error("rules: {rule:?} has no threshold {given:?}{}; it has {}", did_you_mean(.nearest), .known.join(", "))]
    UnknownThreshold {
        /// The rule.
        rule: &'static str,
        /// As given.
        given: String,
        /// The closest existing name.
        nearest: Option<&'static str>,
        /// All names of this rule.
        known: Vec<&'static str>,
    },
    /// A threshold that is no number a document could be compared with.
    #[error("rules: {rule:?} has {threshold}={value}; give a finite number of 0 or more")]
    BadThreshold {
        /// The rule.
        rule: &'static str,
        /// The threshold.
        threshold: String,
        /// As given.
        value: f64,
    },
}

fn did_you_mean(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// The name in `known` with the fewest edits from `given`, if that is at most a third of its length.
pub fn nearest(given: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|name| (edits(&given.to_lowercase(), name), *name))
        .filter(|(distance, name)| *distance * 3 <= name.len().max(3))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance; long inputs are not compared.
fn edits(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX / 4;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_has_none() {
        let known = ["unicode", "encoding", "gopher_quality"];
        assert_eq!(nearest("gopher-qualty", &known), Some("gopher_quality"));
        assert_eq!(nearest("Unicod", &known), Some("unicode"));
        assert_eq!(nearest("zebra", &known), None);
    }
}
