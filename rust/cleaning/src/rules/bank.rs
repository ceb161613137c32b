//! Payment cards and bank accounts: what their check digits say.

use super::national_id;

/// ISO/IEC 7812: a known issuer, its length, and the Luhn check digit.
pub fn is_card(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let prefix = |n: usize| digits[..n].iter().fold(0, |value, digit| value * 10 + digit);
    let issued = match (digits.len(), prefix(2)) {
        (13 | 16 | 19, 40..=49) | (16, 51..=55 | 35 | 65) | (15, 34 | 37) | (14, 30 | 36 | 38) => true,
        (16, _) => matches!(prefix(4), 2221..=2720 | 6011),
        _ => false,
    };
    issued && national_id::luhn(&digits)
}

/// Lengths of the countries' numbers (ISO 13616 registry).
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VG", 24),
    ("XK", 20),
];

/// Bytes of the account number at the start of `text`, if its country, length and check digits are right.
pub fn iban_length(text: &str) -> Option<usize> {
    let (_, wanted) = IBAN_LENGTHS.iter().find(|(country, _)| text.starts_with(country))?;
    let signs: Vec<(usize, u8)> = text.bytes().enumerate().filter(|(_, b)| *b != b' ').collect();
    let end = signs.get(wanted - 1)?.0 + 1;
    if text[end..].starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let order = signs[4..*wanted].iter().chain(&signs[..4]);
    let remainder = order.fold(0_u32, |rest, (_, sign)| match sign {
        b'0'..=b'9' => (rest * 10 + u32::from(sign - b'0')) % 97,
        _ => (rest * 100 + u32::from(sign - b'A') + 10) % 97,
    });
    (remainder == 1).then_some(end)
}
