//! National identity numbers whose check digits tell them from other numbers.
//!
//! Belgium (national register), Brazil (CPF), Canada (SIN, with hyphens), Chile (RUT), China (resident identity), Finland
//! (personal identity code), France (NIR), India (Aadhaar, in groups), Italy (codice fiscale), Korea (resident
//! registration), Poland (PESEL), Spain (DNI, NIE), Sweden (personal number). Each in the form in which it is written;
//! a number that merely could be one, such as nine bare digits, stays. Sources: the issuers' published algorithms.

/// Where to look: the union of the forms.
pub const PATTERN: &str = concat!(
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]",
    r"|[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}|[1-9][0-9]{2}-[0-9]{3}-[0-9]{3}",
    r"|[12] [0-9]{2} [0-9]{2} [0-9]{2} [0-9]{3} [0-9]{3} [0-9]{2}|[2-9][0-9]{3} [0-9]{4} [0-9]{4}",
    r"|(?:19|20)[0-9]{6}[-+][0-9]{4}|[0-9]{6}-[1-4][0-9]{6}|[0-9]{6}[-+][0-9]{4}|[0-9]{6}[-+A][0-9]{3}[0-9A-Y]",
    r"|[1-9][0-9]{16}[0-9X]|[12][0-9]{14}|[0-9]{11}|[0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]",
    r"|[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
);

/// Whether `text`, which has one of the forms, has the check digits of it.
pub fn is_genuine(text: &str) -> bool {
    let signs: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase()).collect();
    let digits: Vec<u32> = signs.iter().map(|b| char::from(*b).to_digit(10).unwrap_or(10)).collect();
    let numeric = digits.iter().all(|digit| *digit < 10);
    let points = text.matches('.').count();
    match (signs.len(), numeric) {
        (11, true) if text.as_bytes()[2] == b'.' => belgium(&digits),
        (11, true) if points == 2 => brazil(&digits),
        (11, true) => poland(&digits),
        (8 | 9, _) if points == 2 => chile(&digits),
        (9, true) => luhn(&digits),
        (13, true) => korea(&digits),
        (12, true) if text.contains(' ') => verhoeff(&digits),
        (10, true) => is_date(&digits[2..6], true) && luhn(&digits) || finland(&signs),
        (12, true) => is_date(&digits[4..8], true) && luhn(&digits[2..]),
        (10 | 11, false) => finland(&signs),
        (15, true) => france(&digits),
        (18, _) => china(&digits),
        (9, false) => spain(&signs),
        (16, false) => italy(&signs),
        _ => false,
    }
}

fn value(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |value, digit| value * 10 + u64::from(*digit))
}

fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Month and day, or day and month.
fn is_date(four: &[u32], month_first: bool) -> bool {
    let (a, b) = (value(&four[..2]), value(&four[2..]));
    let (month, day) = if month_first { (a, b) } else { (b, a) };
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// ISO/IEC 7812.
pub fn luhn(digits: &[u32]) -> bool {
    let doubled = |(i, d): (usize, &u32)| if i % 2 == 0 { *d } else { d * 2 / 10 + d * 2 % 10 };
    digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

fn belgium(digits: &[u32]) -> bool {
    let (body, check) = (value(&digits[..9]), value(&digits[9..]));
    97 - body % 97 == check || 97 - (2_000_000_000 + body) % 97 == check
}

fn brazil(digits: &[u32]) -> bool {
    let check = |count: usize| {
        let sum: u32 = digits[..count].iter().zip((2..=count as u32 + 1).rev()).map(|(d, w)| d * w).sum();
        sum * 10 % 11 % 10 == digits[count]
    };
    digits.iter().any(|digit| *digit != digits[0]) && check(9) && check(10)
}

fn chile(digits: &[u32]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let sum: u32 = body.iter().rev().zip([2, 3, 4, 5, 6, 7].iter().cycle()).map(|(d, w)| d * w).sum();
    // K stands for 10, and was read so.
    (11 - sum % 11) % 11 == *check
}

fn china(digits: &[u32]) -> bool {
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let check = [1, 0, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    is_date(&digits[10..14], true)
        && matches!(value(&digits[6..8]), 18..=20)
        && check[(weighted(&digits[..17], &weights) % 11) as usize] == digits[17]
}

fn finland(signs: &[u8]) -> bool {
    const CHECKS: &[u8] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    // The century sign "A" is alphanumeric, "-" and "+" are gone already.
    let plain: Vec<u8> = if signs.len() == 11 { [&signs[..6], &signs[7..]].concat() } else { signs.to_vec() };
    let Some((check, body)) = plain.split_last() else { return false };
    if signs.len() == 11 && signs[6] != b'A' || !body.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let digits: Vec<u32> = body.iter().map(|b| u32::from(b - b'0')).collect();
    is_date(&digits[..4], false) && CHECKS[(value(&digits) % 31) as usize] == *check
}

fn france(digits: &[u32]) -> bool {
    97 - value(&digits[..13]) % 97 == value(&digits[13..]) && matches!(value(&digits[3..5]), 1..=12 | 20..=42 | 50..=99)
}

fn italy(signs: &[u8]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let sum: u32 = signs[..15]
        .iter()
        .enumerate()
        .map(|(i, sign)| {
            let number = u32::from(if sign.is_ascii_digit() { sign - b'0' } else { sign - b'A' });
            if i % 2 == 0 { ODD[number as usize] } else { number }
        })
        .sum();
    sum % 26 == u32::from(signs[15] - b'A')
}

fn korea(digits: &[u32]) -> bool {
    let sum = weighted(&digits[..12], &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    is_date(&digits[2..6], true) && (11 - sum % 11) % 10 == digits[12]
}

fn poland(digits: &[u32]) -> bool {
    let sum = weighted(&digits[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    // The month carries the century.
    let month = value(&digits[2..4]) % 20;
    (1..=12).contains(&month) && (1..=31).contains(&value(&digits[4..6])) && (10 - sum % 10) % 10 == digits[10]
}

fn spain(signs: &[u8]) -> bool {
    const CHECKS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let first = match signs[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        digit => u64::from(digit.saturating_sub(b'0')),
    };
    let number = signs[1..8].iter().fold(first, |number, digit| number * 10 + u64::from(digit.saturating_sub(b'0')));
    CHECKS[(number % 23) as usize] == signs[8]
}

/// Verhoeff 1969: the dihedral group of order ten.
fn verhoeff(digits: &[u32]) -> bool {
    const SWAPS: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let times = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    digits
        .iter()
        .rev()
        .enumerate()
        .fold(0, |state, (i, digit)| times(state, (0..i % 8).fold(*digit, |digit, _| SWAPS[digit as usize])))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENUINE: [&str; 17] = [
        "85.07.30-033.28",
        "529.982.247-25",
        "046-454-286",
        "12.345.678-5",
        "11010519491231002X",
        "131052-308T",
        "1 85 05 78 006 084 91",
        "185057800608491",
        "2341 2341 2346",
        "RSSMRA85T10A562S",
        "44051401359",
        "12345678Z",
        "X1234567L",
        "811228-9874",
        "19811228-9874",
        "12345678-Z",
        "131052A308T",
    ];

    #[test]
    fn genuine_ones_pass_and_one_wrong_digit_fails() {
        for text in GENUINE {
            assert!(is_genuine(text), "{text}");
            let at = text.rfind(|c: char| c.is_ascii_digit()).unwrap();
            let other = (text.as_bytes()[at] - b'0' + 1) % 10;
            let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(!is_genuine(&wrong), "{wrong}");
        }
    }
}
