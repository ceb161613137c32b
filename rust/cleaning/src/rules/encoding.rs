//! Repairs "mojibake": UTF-8 that was read as windows-1252 (`cafÃ©`, `donâ€™t`, `ÐŸÑ€Ð¸Ð²ÐµÑ‚`), also twice over.
//!
//! Ours, because the field's tool (ftfy) decides by a long pattern of bad pairs. Here a run of characters is read back as
//! windows-1252 bytes (C1 controls stand for the five bytes that have no character, as browsers do); where the bytes
//! are UTF-8 they are taken for what was meant, if the run could hardly be meant as it stands:
//!
//! - two bytes after `Â` or `Ã` (Latin-1), unless after a capital and before closing punctuation (`AMANHÃ”`);
//! - two bytes after another letter only inside a longer run of repairs, or where the result is a lower-case letter
//!   inside a word (`KrakÅ‚`);
//! - three bytes after `â` (general punctuation, signs), several three-byte characters in a row (CJK), or where the
//!   result is a lower-case Vietnamese letter beside another letter (`tiáº¿p`), or where one of the signs behind the
//!   letter is seldom used (`è¡¨`, but not `é»…`);
//! - four bytes after `ðŸ` (emoji);
//! - anything with a C1 control in it (which nobody writes; but U+0085, a line end), in a run of three or more, or in a
//!   text of which three others are believed.
//!
//! Applied until nothing changes, so it is idempotent; each round shortens the text, so it ends.

/// The repaired text, or `None` when there is nothing to repair.
pub fn repair(text: &str) -> Option<String> {
    let mut current: Option<String> = None;
    while let Some(next) = repair_once(current.as_deref().unwrap_or(text)) {
        current = Some(next);
    }
    current
}

/// One decoded character and where it stood.
struct Repair {
    start: usize,
    end: usize,
    meant: char,
    bytes: usize,
    lead: char,
}

fn repair_once(text: &str) -> Option<String> {
    if !text.contains(is_lead) {
        return None;
    }
    let found: Vec<Repair> = candidates(text);
    // Runs: repairs that touch.
    let runs: Vec<&[Repair]> = found.chunk_by(|left, right| left.end == right.start).collect();
    let believed: usize =
        runs.iter().map(|run| run.iter().filter(|repair| believable(text, run, repair)).count()).sum();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for run in runs {
        for repair in run {
            if believed >= 3 || believable(text, run, repair) {
                out.push_str(&text[from..repair.start]);
                out.push(repair.meant);
                from = repair.end;
            }
        }
    }
    if from == 0 {
        return None;
    }
    out.push_str(&text[from..]);
    Some(out)
}

fn is_lead(c: char) -> bool {
    ('\u{c2}'..='\u{f4}').contains(&c)
}

fn candidates(text: &str) -> Vec<Repair> {
    let mut found = Vec::new();
    let mut next_free = 0;
    for (start, lead) in text.char_indices() {
        if start < next_free || !is_lead(lead) {
            continue;
        }
        let mut bytes = [0_u8; 4];
        bytes[0] = lead as u8;
        let wanted = match lead as u32 {
            ..0xe0 => 2,
            0xe0..0xf0 => 3,
            _ => 4,
        };
        let mut end = start + lead.len_utf8();
        let mut count = 1;
        for c in text[end..].chars().take(wanted - 1) {
            let Some(byte) = windows_1252(c).filter(|b| (0x80..0xc0).contains(b)) else { break };
            bytes[count] = byte;
            count += 1;
            end += c.len_utf8();
        }
        if count != wanted {
            continue;
        }
        let meant = std::str::from_utf8(&bytes[..wanted]).ok().and_then(|s| s.chars().next());
        if let Some(meant) = meant {
            found.push(Repair { start, end, meant, bytes: wanted, lead });
            next_free = end;
        }
    }
    found
}

fn believable(text: &str, run: &[Repair], repair: &Repair) -> bool {
    let before = text[..repair.start].chars().next_back();
    let after = text[repair.end..].chars().next();
    let in_word = before.is_some_and(char::is_lowercase) || after.is_some_and(char::is_lowercase);
    let last = text[..repair.end].chars().next_back().unwrap_or(' ');
    let closes = matches!(last, '’' | '”' | '–' | '—' | '…' | '»' | '›' | '\u{a0}');
    match repair.bytes {
        // Nobody writes three such sequences in a row, or a control.
        _ if run.len() >= 3 => true,
        _ if text[repair.start..repair.end].chars().any(|c| matches!(c, '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}')) => {
            true
        }
        2 if matches!(repair.lead, 'Â' | 'Ã') => !(before.is_some_and(char::is_uppercase) && closes),
        2 => {
            let shouted = before.is_some_and(char::is_uppercase) && !after.is_some_and(char::is_lowercase);
            let script = run.iter().filter(|r| r.bytes == 2 && !matches!(r.lead, 'Â' | 'Ã')).count();
            script >= 2 || (repair.meant.is_lowercase() && in_word && !shouted)
        }
        3 if ('\u{1e00}'..='\u{1eff}').contains(&repair.meant) => {
            let beside = before.is_some_and(char::is_alphabetic) || after.is_some_and(char::is_lowercase);
            (beside && repair.meant.is_lowercase() && !closes) || run.iter().filter(|r| r.bytes == 3).count() >= 2
        }
        3 => {
            let sign = repair.lead == 'â' && ('\u{2010}'..'\u{2c00}').contains(&repair.meant);
            let ligature =
                repair.lead == 'ï' && matches!(repair.meant, '\u{feff}' | '\u{fffd}' | '\u{fb00}'..='\u{fb06}');
            let seldom =
                repair.lead >= 'ã' && text[repair.start..repair.end].chars().skip(1).any(|c| SELDOM.contains(&c));
            sign || ligature || seldom || run.iter().filter(|r| r.bytes == 3).count() >= 2
        }
        _ => repair.lead == 'ð' && repair.meant >= '\u{1f000}',
    }
}

/// Signs (and capitals) that hardly anybody writes right after an accented letter.
const SELDOM: [char; 22] =
    ['¢', '¤', '¥', '¦', '¨', '¬', '\u{ad}', '¯', '±', '´', 'µ', '¸', '‚', 'ƒ', '„', 'ˆ', '‰', 'Š', 'Œ', 'Ž', '˜', 'Ÿ'];

/// The byte that windows-1252 shows as `c`.
fn windows_1252(c: char) -> Option<u8> {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match c as u32 {
        code @ 0x80..=0xff => Some(code as u8),
        0x100.. => HIGH.iter().position(|h| *h == c).map(|index| 0x80 + index as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn break_once(text: &str) -> String {
        encoding_rs::WINDOWS_1252.decode_without_bom_handling(text.as_bytes()).0.into_owned()
    }

    #[test]
    fn what_was_broken_is_repaired_once_and_twice() {
        for text in [
            "café",
            "don’t “quote” — dash…",
            "Привет, мир",
            "中文字符",
            "naïve £5 ½ ©",
            "emoji 😀",
            "żółć zażółć",
            "Ωμέγα",
            "Kế tiếp",
            "Předchozí",
            "表7.4 List",
        ] {
            let once = break_once(text);
            assert_eq!(repair(&once).as_deref(), Some(text), "{once}");
            assert_eq!(repair(&break_once(&once)).as_deref(), Some(text), "twice: {once}");
        }
    }

    #[test]
    fn text_that_was_meant_is_left_alone() {
        for text in [
            "CAFÉ” said he",
            "voilà\u{a0}» dit-il",
            "AMANHÃ” é",
            "naïve café",
            "Ärger, Ü», ÀÉ",
            "â",
            "Ð",
            "« le café»… et déjà»… »",
            "já»… já»… já»…",
            "un été¹² chaud",
        ] {
            assert_eq!(repair(text), None, "{text}");
        }
    }
}
