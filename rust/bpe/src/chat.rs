//! Many conversations of a few shapes as token ids with a loss mask.
//!
//! A chat template is a program over messages. For messages of given roles it mostly writes the same words around
//! whatever was said, and a [`Shape`] is what it then writes, with the tests on what was said that this rests on. A
//! conversation that fails a test is not guessed at: the caller runs the template itself.

use crate::error::{Error, Result};
use crate::ordered::ordered;
use crate::tokenizer::{Choices, Tokenizer};

/// About how many bytes of text a thread takes at a time.
const UNIT_BYTES: usize = 64 << 10;

/// Which ends of a text are trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The beginning.
    Left,
    /// The end.
    Right,
    /// Both.
    Both,
}

/// One trimming of a message, as Python's `strip`: of these characters, or of white space.
#[derive(Clone, Debug)]
pub struct Strip {
    /// Where.
    pub side: Side,
    /// Of what.
    pub chars: Option<String>,
}

/// What a message says, after some trimming.
#[derive(Clone, Debug)]
pub struct Said {
    /// The message's number.
    pub message: usize,
    /// Trimmings, in order.
    pub strips: Vec<Strip>,
}

/// A part of a plain text.
#[derive(Clone, Debug)]
pub enum Part {
    /// The template's words.
    Literal(String),
    /// A message's.
    Said(Said),
}

/// What is tokenised by itself.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The special token that this is; then there are no parts.
    pub special: Option<u32>,
    /// The parts of a plain text.
    pub parts: Vec<Part>,
    /// Whether it is to be learnt.
    pub target: bool,
}

/// How a text is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is the other.
    Equals,
    /// It holds the other.
    Contains,
    /// It begins with the other.
    StartsWith,
    /// It ends with the other.
    EndsWith,
}

/// A test that must fail for a shape to hold.
#[derive(Clone, Debug)]
pub struct Guard {
    /// What is tested.
    pub said: Said,
    /// How.
    pub test: Test,
    /// Against what.
    pub text: String,
}

/// What a template writes for messages of given roles, none of which is blank.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many messages there are.
    pub num_messages: usize,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
    /// The tests that must fail.
    pub guards: Vec<Guard>,
}

/// Conversations as ids.
#[derive(Default, Debug)]
pub struct Chats {
    /// The ids of all, one after the other.
    pub ids: Vec<u32>,
    /// For each id, whether it is to be learnt.
    pub targets: Vec<bool>,
    /// For each conversation, the number of ids up to its end.
    pub ends: Vec<i64>,
    /// For each conversation, whether its shape held; one whose shape did not has no ids.
    pub held: Vec<bool>,
}

/// Tokenises conversations; `texts` holds the messages of all, conversation `i` has shape `shapes[which[i]]`.
///
/// The same on any number of threads.
///
/// # Errors
/// [`Error::Input`] when `which`, `shapes` and `texts` do not belong together.
pub fn prepare(
    tokenizer: &Tokenizer,
    shapes: &[&Shape],
    which: &[u32],
    texts: &[&str],
    num_threads: usize,
) -> Result<Chats> {
    let mut chats = Vec::with_capacity(which.len());
    let mut at = 0;
    for &number in which {
        let shape = *shapes
            .get(number as usize)
            .ok_or_else(|| Error::Input(format!("shape {number} of {} does not exist", shapes.len())))?;
        let messages = texts
            .get(at..at + shape.num_messages)
            .ok_or_else(|| Error::Input(format!("{} texts are too few for these conversations", texts.len())))?;
        chats.push((shape, messages));
        at += shape.num_messages;
    }
    if at != texts.len() {
        return Err(Error::Input(format!("{} texts are given, these conversations have {at}", texts.len())));
    }
    let units = units(&chats);
    let parts = ordered(units.len(), num_threads, |unit| {
        let mut part = Chats::default();
        let run = &chats[units[unit].clone()];
        run.iter().try_for_each(|(shape, said)| one(tokenizer, shape, said, &mut part)).map(|()| part)
    });
    let mut all = Chats::default();
    for part in parts {
        let part = part?;
        let before = all.ids.len() as i64;
        all.ids.extend_from_slice(&part.ids);
        all.targets.extend_from_slice(&part.targets);
        all.ends.extend(part.ends.iter().map(|end| end + before));
        all.held.extend_from_slice(&part.held);
    }
    Ok(all)
}

/// Runs of conversations of about [`UNIT_BYTES`] together.
fn units(chats: &[(&Shape, &[&str])]) -> Vec<std::ops::Range<usize>> {
    let (mut out, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (i, (_, said)) in chats.iter().enumerate() {
        bytes += said.iter().map(|text| text.len() + 16).sum::<usize>();
        if bytes >= UNIT_BYTES {
            out.push(start..i + 1);
            (start, bytes) = (i + 1, 0);
        }
    }
    if start < chats.len() {
        out.push(start..chats.len());
    }
    out
}

fn one(tokenizer: &Tokenizer, shape: &Shape, said: &[&str], out: &mut Chats) -> Result<()> {
    let held = holds(shape, said) && {
        let (text, bounds) = written(tokenizer, shape, said);
        let plain = only_the_templates(tokenizer, shape, &text, &bounds);
        if plain {
            for (piece, range) in shape.pieces.iter().zip(bounds) {
                match piece.special {
                    Some(id) => out.ids.push(id),
                    None => tokenizer.encode(&text[range], &Choices::default(), &mut out.ids)?,
                }
                out.targets.resize(out.ids.len(), piece.target);
            }
        }
        plain
    };
    out.ends.push(out.ids.len() as i64);
    out.held.push(held);
    Ok(())
}

fn holds(shape: &Shape, said: &[&str]) -> bool {
    said.iter().all(|text| text.chars().any(|c| !is_space(c)))
        && shape.guards.iter().all(|guard| {
            let (text, other) = (stripped(&guard.said, said), guard.text.as_str());
            !match guard.test {
                Test::Equals => text == other,
                Test::Contains => memchr::memmem::find(text.as_bytes(), other.as_bytes()).is_some(),
                Test::StartsWith => text.starts_with(other),
                Test::EndsWith => text.ends_with(other),
            }
        })
        && shape.pieces.iter().flat_map(|piece| &piece.parts).all(|part| match part {
            Part::Literal(_) => true,
            Part::Said(one) => !stripped(one, said).is_empty(),
        })
}

/// The whole text, and where each piece is in it.
fn written(tokenizer: &Tokenizer, shape: &Shape, said: &[&str]) -> (String, Vec<std::ops::Range<usize>>) {
    let mut text = String::with_capacity(said.iter().map(|t| t.len() + 32).sum());
    let mut bounds = Vec::with_capacity(shape.pieces.len());
    for piece in &shape.pieces {
        let start = text.len();
        if let Some(special) = piece.special.and_then(|id| tokenizer.all_specials().get(id)) {
            text.push_str(&special.content);
        }
        for part in &piece.parts {
            text.push_str(match part {
                Part::Literal(words) => words,
                Part::Said(one) => stripped(one, said),
            });
        }
        bounds.push(start..text.len());
    }
    (text, bounds)
}

/// Whether the special tokens of `text` are those that the template writes, and no others.
fn only_the_templates(tokenizer: &Tokenizer, shape: &Shape, text: &str, bounds: &[std::ops::Range<usize>]) -> bool {
    let wanted = shape.pieces.iter().zip(bounds).filter(|(piece, _)| piece.special.is_some()).map(|(_, range)| range);
    tokenizer.all_specials().find_all(text.as_bytes()).eq(wanted.cloned())
}

fn stripped<'a>(one: &Said, said: &[&'a str]) -> &'a str {
    let mut text = said.get(one.message).copied().unwrap_or_default();
    for strip in &one.strips {
        let dropped = |c: char| match &strip.chars {
            None => is_space(c),
            Some(chars) => chars.contains(c),
        };
        text = match strip.side {
            Side::Left => text.trim_start_matches(dropped),
            Side::Right => text.trim_end_matches(dropped),
            Side::Both => text.trim_matches(dropped),
        };
    }
    text
}

/// What Python's `str.isspace` accepts: Unicode's white space and the four separators U+001C to U+001F.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_that_of_python() {
        assert!("\u{1c}\u{1f} \t\n\u{85}\u{a0}\u{3000}".chars().all(is_space));
        assert!(!is_space('\u{200b}'));
    }

    #[test]
    fn trimming_is_done_in_order() {
        let strips = vec![
            Strip { side: Side::Both, chars: None },
            Strip { side: Side::Left, chars: Some("xy".into()) },
            Strip { side: Side::Right, chars: Some("z".into()) },
        ];
        assert_eq!(stripped(&Said { message: 1, strips }, &["other", " xyxa zz "]), "a ");
    }
}
