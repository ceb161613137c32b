//! Many texts through a list of rules, in parallel.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::Error;
use crate::rules::{Drop, Rule};

/// Told the bytes done since the last call; false asks to stop.
pub type Step<'s> = &'s (dyn Fn(u64) -> bool + Sync);

/// What the rules made of one text.
#[derive(Clone, Debug)]
pub struct Cleaned<'a> {
    /// The text after the last rule that saw it.
    pub text: Cow<'a, str>,
    /// Why it goes; `None` when it stays.
    pub dropped: Option<Drop>,
    /// What was changed: how many times, by kind (`"unicode"`, `"personal_data.email"`).
    pub changes: Vec<(&'static str, u64)>,
}

/// Applies `rules` to each text, in the order given; the first rule that drops a text ends its way.
///
/// # Errors
/// [`Error::Interrupted`].
pub fn clean<'a>(texts: &[&'a str], rules: &[Rule], step: Step<'_>) -> Result<Vec<Cleaned<'a>>, Error> {
    let apply = |text: &&'a str| {
        let cleaned = clean_one(text, rules);
        if step(text.len() as u64) { Ok(cleaned) } else { Err(Error::Interrupted) }
    };
    texts.par_iter().with_min_len(8).map(apply).collect()
}

fn clean_one<'a>(text: &'a str, rules: &[Rule]) -> Cleaned<'a> {
    let mut cleaned = Cleaned { text: Cow::Borrowed(text), dropped: None, changes: Vec::new() };
    for rule in rules {
        let outcome = rule.apply(&cleaned.text);
        if let Some(rewritten) = outcome.rewritten {
            cleaned.text = Cow::Owned(rewritten);
        }
        cleaned.changes.extend(outcome.changes);
        if outcome.dropped.is_some() {
            cleaned.dropped = outcome.dropped;
            break;
        }
    }
    cleaned
}

/// The sum of all changes, by kind, in the order of their names.
pub fn total_changes(cleaned: &[Cleaned<'_>]) -> BTreeMap<&'static str, u64> {
    let mut total = BTreeMap::new();
    for (kind, count) in cleaned.iter().flat_map(|c| &c.changes) {
        *total.entry(*kind).or_insert(0) += count;
    }
    total
}
