//! Replaces personal data and secrets by typed placeholders: `[EMAIL]`, `[IP]`, `[PHONE]`, `[IBAN]`, `[CARD]`,
//! `[NATIONAL_ID]`, `[SECRET]`; with `numbered`, `[EMAIL_1]`, `[EMAIL_2]`, …, the same number for the same value of a text.
//!
//! Ours. Lines without the signs of a kind are not searched for it. Numbers with a check digit must pass it; addresses
//! that belong to nobody (private, loopback, documentation)
//! stay. What was found is counted by kind, never kept.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::{Captures, Match, Regex};

use super::bank::{iban_length, is_card};
use super::{Outcome, national_id, thresholds};

thresholds! {
    /// 1 to replace a kind, 0 to leave it.
    PersonalData {
        /// E-mail addresses.
        email: 1.0,
        /// Public IPv4 and IPv6 addresses.
        ip: 1.0,
        /// International phone numbers (`+…`).
        phone: 1.0,
        /// International bank account numbers.
        iban: 1.0,
        /// Payment cards.
        card: 1.0,
        /// National identity numbers with check digits (the countries are listed in `national_id.rs`).
        national_id: 1.0,
        /// API keys of the common kinds, tokens, private keys.
        secret: 1.0,
        /// 1 to number the placeholders by value within a text.
        numbered: 0.0,
    }
}

/// One kind: its name in the counts, what replaces it, where to look, what to make sure of.
struct Kind {
    count: &'static str,
    placeholder: &'static str,
    pattern: Option<Regex>,
    genuine: fn(&str) -> bool,
    possible: fn(&Signs) -> bool,
}

/// What a line has that some kind needs.
#[derive(Clone, Copy)]
struct Signs {
    /// Most digits of a chain in which at most two other signs stand between two digits.
    digits: usize,
    at: bool,
    plus: bool,
    points: bool,
    /// A colon after four hexadecimal digits of which the first is 2 or 3.
    colons: bool,
    /// Two digits after two capitals.
    account: bool,
}

impl Signs {
    /// `None` for a line that no kind could be in.
    fn of(line: &str) -> Option<Self> {
        let bytes = line.as_bytes();
        let has = |sign| memchr::memchr(sign, bytes).is_some();
        let mut signs = Self { digits: 0, at: has(b'@'), plus: false, points: false, colons: false, account: false };
        // Most lines have no two digits beside each other or nearly so, and are told here.
        if bytes.iter().map(|byte| usize::from(byte.is_ascii_digit())).sum::<usize>() >= 2 {
            signs.look_at_digits(bytes);
            signs.plus = signs.digits >= 8 && has(b'+');
            signs.points = signs.digits >= 4 && has(b'.');
            signs.colons = memchr::memchr_iter(b':', bytes).any(|at| at >= 4 && is_block(&bytes[at - 4..at]));
        }
        (signs.at || signs.digits >= 4 || signs.colons || signs.account).then_some(signs)
    }

    fn look_at_digits(&mut self, bytes: &[u8]) {
        let (mut chain, mut last) = (0, 0);
        for (at, byte) in bytes.iter().enumerate() {
            if !byte.is_ascii_digit() {
                continue;
            }
            if chain > 0 && at - last <= 3 {
                chain += 1;
                if at - last == 1 && last >= 2 && !self.account {
                    self.account = bytes[last - 2].is_ascii_uppercase() && bytes[last - 1].is_ascii_uppercase();
                }
            } else {
                chain = 1;
            }
            last = at;
            self.digits = self.digits.max(chain);
        }
    }

    /// Of a line in which everything is looked for; what the shortcuts are tested against.
    #[cfg(test)]
    fn all() -> Self {
        Self { digits: usize::MAX, at: true, plus: true, points: true, colons: true, account: true }
    }
}

/// Whether these are the first four digits of a global IPv6 address.
fn is_block(bytes: &[u8]) -> bool {
    matches!(bytes[0], b'2' | b'3') && bytes.iter().all(u8::is_ascii_hexdigit)
}

fn kind(
    count: &'static str,
    placeholder: &'static str,
    pattern: &str,
    genuine: fn(&str) -> bool,
    possible: fn(&Signs) -> bool,
) -> Kind {
    Kind { count, placeholder, pattern: Regex::new(pattern).ok(), genuine, possible }
}

/// In the order in which they are replaced: what could be part of another comes later.
static KINDS: LazyLock<[Kind; 8]> = LazyLock::new(|| {
    [
        kind(
            "personal_data.secret",
            "[SECRET]",
            concat!(
                r"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s:,.-]+?-----END [A-Z ]*PRIVATE KEY-----",
                r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}",
                r"|\bglpat-[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}",
                r"|\b[rs]k_(?:live|test)_[0-9A-Za-z]{20,}|\bwhsec_[0-9A-Za-z]{24,}|\bnpm_[A-Za-z0-9]{36}|\bpypi-[A-Za-z0-9_-]{50,}|\bdop_v1_[a-f0-9]{64}",
                r"|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|\bya29\.[0-9A-Za-z_-]{20,}",
                r"|\bhooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]+",
                r"|\bhf_[A-Za-z0-9]{30,}|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
            ),
            is_secret,
            |_| true,
        ),
        kind(
            "personal_data.email",
            "[EMAIL]",
            r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}",
            |_| true,
            |signs| signs.at,
        ),
        kind(
            "personal_data.iban",
            "[IBAN]",
            r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}",
            |_| true,
            |signs| signs.account,
        ),
        kind("personal_data.card", "[CARD]", r"[0-9](?:[ -]?[0-9]){12,18}", is_card, |signs| signs.digits >= 13),
        kind("personal_data.national_id", "[NATIONAL_ID]", national_id::PATTERN, national_id::is_genuine, |signs| {
            signs.digits >= 7
        }),
        kind("personal_data.phone", "[PHONE]", r"\+[1-9](?:[ .()/-]{0,2}[0-9]){7,14}", |_| true, |signs| signs.plus),
        kind("personal_data.ip", "[IP]", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", is_public_v4, |signs| signs.points),
        kind("personal_data.ip", "[IP]", r"\b[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}", is_public_v6, |signs| {
            signs.colons
        }),
    ]
});

impl PersonalData {
    /// The text with placeholders.
    pub fn apply(&self, text: &str) -> Outcome {
        self.replace(text, Signs::of)
    }

    fn replace(&self, text: &str, signs_of: fn(&str) -> Option<Signs>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut known = Known::new();
        // A placeholder can lay bare a neighbour's boundary; each round consumes digits or signs, so this ends.
        loop {
            let current = outcome.rewritten.as_deref().unwrap_or(text);
            let Some((next, changes)) = self.replace_once(current, &mut known, signs_of) else { return outcome };
            outcome.rewritten = Some(next);
            for (kind, count) in changes {
                match outcome.changes.iter_mut().find(|(name, _)| *name == kind) {
                    Some((_, total)) => *total += count,
                    None => outcome.changes.push((kind, count)),
                }
            }
        }
    }

    fn wants(&self, count: &str) -> bool {
        let switch = match count {
            "personal_data.email" => self.email,
            "personal_data.ip" => self.ip,
            "personal_data.phone" => self.phone,
            "personal_data.iban" => self.iban,
            "personal_data.card" => self.card,
            "personal_data.national_id" => self.national_id,
            _ => self.secret,
        };
        switch > 0.0
    }

    fn replace_once(
        &self,
        text: &str,
        known: &mut Known,
        signs_of: fn(&str) -> Option<Signs>,
    ) -> Option<(String, Counts)> {
        let mut counts = Counts::new();
        // Secrets may span lines; their pattern is found by its literal beginnings. The others lie within a line.
        let whole = KINDS[..1].iter().filter(|kind| self.wants(kind.count));
        let secrets = whole.filter_map(|kind| self.replace_kind(kind, text, known, &mut counts)).last();
        let subject = secrets.as_deref().unwrap_or(text);
        let mut out = String::new();
        let (mut copied, mut at) = (0, 0);
        for line in subject.split_inclusive('\n') {
            let mut current: Option<String> = None;
            if let Some(signs) = signs_of(line) {
                for kind in KINDS[1..].iter().filter(|kind| (kind.possible)(&signs) && self.wants(kind.count)) {
                    let replaced = self.replace_kind(kind, current.as_deref().unwrap_or(line), known, &mut counts);
                    current = replaced.or(current);
                }
            }
            if let Some(rewritten) = &current {
                out.push_str(&subject[copied..at]);
                out.push_str(rewritten);
                copied = at + line.len();
            }
            at += line.len();
        }
        if counts.is_empty() {
            return None;
        }
        out.push_str(&subject[copied..]);
        Some((out, counts))
    }

    fn replace_kind(&self, kind: &Kind, text: &str, known: &mut Known, counts: &mut Counts) -> Option<String> {
        let pattern = kind.pattern.as_ref()?;
        let mut count = 0;
        let replaced = pattern.replace_all(text, |captures: &Captures<'_>| {
            let Some(found) = captures.get(0) else { return String::new() };
            let Some(length) = genuine_length(kind, text, found) else { return found.as_str().to_owned() };
            count += 1;
            let (value, rest) = found.as_str().split_at(length);
            format!("{}{rest}", self.placeholder(kind, value, known))
        });
        if count == 0 {
            return None;
        }
        match counts.iter_mut().find(|(name, _)| *name == kind.count) {
            Some((_, total)) => *total += count,
            None => counts.push((kind.count, count)),
        }
        Some(replaced.into_owned())
    }

    fn placeholder(&self, kind: &Kind, value: &str, known: &mut Known) -> String {
        if self.numbered <= 0.0 {
            return kind.placeholder.to_owned();
        }
        let values = known.entry(kind.placeholder).or_default();
        let next = values.len() + 1;
        let number = values.entry(value.to_owned()).or_insert(next);
        format!("{}_{number}]", kind.placeholder.trim_end_matches(']'))
    }
}

/// How often each kind was replaced.
type Counts = Vec<(&'static str, u64)>;

/// The numbers of the values of one text, by placeholder.
type Known = HashMap<&'static str, HashMap<String, usize>>;

/// How many bytes of the match are the thing itself; `None` when it is something else.
fn genuine_length(kind: &Kind, text: &str, found: Match<'_>) -> Option<usize> {
    let matched = found.as_str();
    match kind.count {
        "personal_data.iban" => iban_length(matched),
        "personal_data.secret" => (kind.genuine)(matched).then_some(matched.len()),
        _ => {
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            let joins = |c: char| c.is_alphanumeric() || c == '_';
            let email = kind.count == "personal_data.email";
            let number = !email && (before.is_some_and(|c| joins(c) || c == '.') || after.is_some_and(joins));
            let longer =
                !email && after == Some('.') && text[found.end() + 1..].starts_with(|c: char| c.is_ascii_digit());
            (!number && !longer && (kind.genuine)(matched)).then_some(matched.len())
        }
    }
}

/// What starts with `sk-` is a key when it is a mixture of small letters, capitals and digits, not a name of a style.
fn is_secret(text: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| text.as_bytes().iter().any(wanted);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    mixed || !text.starts_with("sk-")
}

fn is_public_v4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok_and(|ip| {
        let nobody = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast();
        !(nobody || ip.is_documentation() || ip.is_multicast() || ip.octets()[0] == 0)
    })
}

fn is_public_v6(text: &str) -> bool {
    // 2000::/3 is all that is assigned; 2001:db8::/32 is for documentation.
    text.parse::<Ipv6Addr>()
        .is_ok_and(|ip| ip.segments()[0] & 0xe000 == 0x2000 && ip.segments()[..2] != [0x2001, 0xdb8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> String {
        PersonalData::default().apply(text).rewritten.unwrap_or_else(|| text.to_owned())
    }

    #[test]
    fn every_pattern_compiles() {
        assert!(KINDS.iter().all(|kind| kind.pattern.is_some()));
    }

    #[test]
    fn genuine_ones_are_replaced() {
        assert_eq!(replaced("write to jane.doe+x@mail.example.org."), "write to [EMAIL].");
        assert_eq!(replaced("from 8.8.8.8, 2a00:1450:4001:81b::200e ok"), "from [IP], [IP] ok");
        assert_eq!(replaced("DE89 3704 0044 0532 0130 00 AND MORE"), "[IBAN] AND MORE");
        assert_eq!(replaced("card 4111 1111 1111 1111!"), "card [CARD]!");
        assert_eq!(replaced("call +49 (30) 1234-5678"), "call [PHONE]");
        assert_eq!(replaced("CPF 529.982.247-25, DNI 12345678Z"), "CPF [NATIONAL_ID], DNI [NATIONAL_ID]");
        assert_eq!(replaced("key AKIAIOSFODNN7EXAMPLE"), "key [SECRET]");
    }

    #[test]
    fn placeholders_are_numbered_by_value_when_asked() {
        let rule = PersonalData { numbered: 1.0, ..PersonalData::default() };
        let text = "a@x.org to b@x.org\nand b@x.org from 8.8.8.8\n\nend";
        let replaced = rule.apply(text).rewritten.unwrap();
        assert_eq!(replaced, "[EMAIL_1] to [EMAIL_2]\nand [EMAIL_2] from [IP_1]\n\nend");
        assert_eq!(rule.apply(&replaced).rewritten, None);
    }

    proptest::proptest! {
        #[test]
        fn shortcuts_change_nothing(pieces in proptest::collection::vec(0_usize..31, 0..9)) {
            const PIECES: [&str; 31] = [
                "a@b.example", "8.8.8.8", "+49 30 1234567", "4111111111111111", "DE89370400440532013000", ".", " ", "1",
                "-", "@", "x", "AND", "\n", "+1", "12", ":", "2a00:1450:4001:81b::200e", "2001:", "12345678Z", "DE89",
                "3704 0044 0532 0130 00", "529.982.247-25", "RSSMRA85T10A562S", "131052-308T", "X1234567L", "2", "GB82",
                "WEST 1234 5698 7654 32", "1 85 05 78 006 084 91", "  ", "/",
            ];
            let text: String = pieces.iter().map(|at| PIECES[*at]).collect();
            let rule = PersonalData::default();
            proptest::prop_assert_eq!(rule.apply(&text), rule.replace(&text, |_| Some(Signs::all())));
        }
    }

    #[test]
    fn look_alikes_stay() {
        for text in [
            "10.0.0.1 and 127.0.0.1 and 192.168.1.1",
            "version 1.2.3.4.5",
            "2001:db8::1 std::add",
            "4111 1111 1111 1112",
            "DE89 3704 0044 0532 0130 01",
            "1 + 2 = 3",
            "@decorator user@localhost",
        ] {
            assert_eq!(replaced(text), text);
        }
    }
}
