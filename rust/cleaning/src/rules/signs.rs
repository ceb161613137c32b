//! Characters by what the quality rules make of them.
//!
//! Source: the published filters' sets of punctuation and of ends of sentences, and the classes of spaCy's tokenizer.

/// White space, as Python's `str.isspace` sees it.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A sign that is taken off either end of a word: punctuation, a quote, an icon.
pub fn is_affix(c: char) -> bool {
    if c.is_ascii() { b",:;!?()[]{}<>_#*&'\"`".contains(&(c as u8)) } else { is_mark(c) || is_icon(c) }
}

/// Punctuation or a quote.
pub fn is_mark(c: char) -> bool {
    let marks = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪";
    if c.is_ascii() { b",:;!?()[]{}<>_#*&'\"`".contains(&(c as u8)) } else { marks.contains(c) || is_quote(c) }
}

/// A quote or bracket that opens or closes what is quoted.
pub fn is_quote(c: char) -> bool {
    "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧".contains(c)
}

/// A currency's sign.
pub fn is_currency(c: char) -> bool {
    matches!(c, '$' | '£' | '€' | '¥' | '฿' | '﷼' | '\u{20a0}'..='\u{20bf}')
}

/// Symbols that are no letters: arrows, boxes, dingbats, emoji.
pub fn is_icon(c: char) -> bool {
    !c.is_ascii()
        && matches!(c,
            '¦' | '©' | '®' | '°' | '\u{2100}' | '\u{2103}'..='\u{2106}' | '\u{2116}' | '\u{2117}' | '\u{211e}'..='\u{2123}'
            | '\u{2195}'..='\u{2199}' | '\u{219c}'..='\u{219f}' | '\u{21a1}' | '\u{21a2}' | '\u{21a4}' | '\u{21a5}'
            | '\u{21a7}'..='\u{21ad}' | '\u{21af}'..='\u{21cd}' | '\u{21d0}' | '\u{21d1}' | '\u{21d3}' | '\u{21d5}'..='\u{21f3}'
            | '\u{2300}'..='\u{2307}' | '\u{230c}'..='\u{231f}' | '\u{2322}'..='\u{2328}' | '\u{232b}'..='\u{237b}'
            | '\u{237d}'..='\u{239a}' | '\u{23b4}'..='\u{23db}' | '\u{23e2}'..='\u{2426}' | '\u{249c}'..='\u{24e9}'
            | '\u{2500}'..='\u{25b6}' | '\u{25b8}'..='\u{25c0}' | '\u{25c2}'..='\u{25f7}' | '\u{2600}'..='\u{266e}'
            | '\u{2670}'..='\u{2767}' | '\u{2794}'..='\u{27bf}' | '\u{2800}'..='\u{28ff}' | '\u{2b00}'..='\u{2b2f}'
            | '\u{2b45}' | '\u{2b46}' | '\u{2b4d}'..='\u{2bfe}' | '\u{3004}' | '\u{3012}' | '\u{3013}'
            | '\u{3200}'..='\u{33ff}' | '\u{fffc}' | '\u{fffd}' | '\u{1f000}'..='\u{1f3fa}' | '\u{1f400}'..='\u{1fa6d}')
}

/// Units that stand right after a number.
pub const UNITS: &[&str] = &[
    "km", "km²", "km³", "m", "m²", "m³", "dm", "dm²", "dm³", "cm", "cm²", "cm³", "mm", "mm²", "mm³", "ha", "µm", "nm",
    "yd", "in", "ft", "kg", "g", "mg", "µg", "t", "lb", "oz", "m/s", "km/h", "kmh", "mph", "hPa", "Pa", "mbar", "mb",
    "MB", "kb", "KB", "gb", "GB", "tb", "TB", "T", "G", "M", "K", "%",
];

/// Characters of a common word of a script without spaces between words; `None` for letters of any other.
pub fn word_length(c: char) -> Option<usize> {
    match c {
        // Kana, Han.
        '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' => Some(2),
        // Thai, Lao, Burmese, Khmer, their vowel signs included.
        '\u{e01}'..='\u{e3a}'
        | '\u{e40}'..='\u{e4e}'
        | '\u{e81}'..='\u{ece}'
        | '\u{1000}'..='\u{103f}'
        | '\u{1780}'..='\u{17d3}' => Some(4),
        _ => None,
    }
}

/// Whether `c` belongs to the punctuation of the published Gopher filter; words of such signs alone are not counted.
pub fn is_symbol(c: char) -> bool {
    const OTHERS: &str = concat!(
        "\u{ab}\u{b4}\u{bb}\u{2013}\u{2014}\u{2019}\u{201c}\u{201d}\u{201e}\u{2026}\u{2236}\u{2501}\u{25ba}\u{3001}",
        "\u{3008}\u{3009}\u{300a}\u{300b}\u{300c}\u{300d}\u{3010}\u{3011}\u{ff05}\u{ff08}\u{ff09}\u{ff0c}\u{ff11}",
        "\u{ff1a}\u{ff1b}\u{ff5e}",
    );
    if c.is_ascii() {
        c.is_ascii_punctuation() || c.is_ascii_control() && !matches!(c, '\t' | '\n')
    } else {
        !c.is_alphabetic() && (OTHERS.contains(c) || ends_sentence(c) || ('\u{7f}'..'\u{a0}').contains(&c))
    }
}

/// Whether `c` is punctuation (Unicode's category P), of what texts have of it.
pub fn is_punctuation(c: char) -> bool {
    match c {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        _ if c.is_ascii() => c.is_ascii_punctuation(),
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' => true,
        '\u{2044}' | '\u{2052}' => false,
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' => true,
        '\u{3014}'..='\u{301f}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff1f}' => {
            !matches!(c, '＄' | '＋' | '＜'..='＞')
        }
        _ => ends_sentence(c),
    }
}

/// Whether `c` ends a sentence, in any script: the published FineWeb filter's set.
pub fn ends_sentence(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, '!' | '.' | '?');
    }
    TERMINAL.binary_search(&c).is_ok()
}

/// In order.
const TERMINAL: &[char] = &[
    '\u{589}',
    '\u{61d}',
    '\u{61e}',
    '\u{61f}',
    '\u{6d4}',
    '\u{700}',
    '\u{701}',
    '\u{702}',
    '\u{7f9}',
    '\u{837}',
    '\u{839}',
    '\u{83d}',
    '\u{83e}',
    '\u{964}',
    '\u{965}',
    '\u{104a}',
    '\u{104b}',
    '\u{1362}',
    '\u{1367}',
    '\u{1368}',
    '\u{166e}',
    '\u{1735}',
    '\u{1736}',
    '\u{17d4}',
    '\u{17d5}',
    '\u{17d6}',
    '\u{17d9}',
    '\u{17da}',
    '\u{1803}',
    '\u{1809}',
    '\u{1944}',
    '\u{1945}',
    '\u{1aa8}',
    '\u{1aa9}',
    '\u{1aaa}',
    '\u{1aab}',
    '\u{1b5a}',
    '\u{1b5b}',
    '\u{1b5e}',
    '\u{1b5f}',
    '\u{1b7d}',
    '\u{1b7e}',
    '\u{1c3b}',
    '\u{1c3c}',
    '\u{1c7e}',
    '\u{1c7f}',
    '\u{203c}',
    '\u{203d}',
    '\u{2047}',
    '\u{2048}',
    '\u{2049}',
    '\u{2e2e}',
    '\u{2e3c}',
    '\u{2e53}',
    '\u{2e54}',
    '\u{3002}',
    '\u{a4ff}',
    '\u{a60e}',
    '\u{a60f}',
    '\u{a6f3}',
    '\u{a6f7}',
    '\u{a876}',
    '\u{a877}',
    '\u{a8ce}',
    '\u{a8cf}',
    '\u{a92f}',
    '\u{a9c8}',
    '\u{a9c9}',
    '\u{aa5d}',
    '\u{aa5e}',
    '\u{aa5f}',
    '\u{aaf0}',
    '\u{aaf1}',
    '\u{abeb}',
    '\u{fe52}',
    '\u{fe56}',
    '\u{fe57}',
    '\u{ff01}',
    '\u{ff0e}',
    '\u{ff1f}',
    '\u{ff61}',
    '\u{10a56}',
    '\u{10a57}',
    '\u{10f55}',
    '\u{10f56}',
    '\u{10f57}',
    '\u{10f58}',
    '\u{10f59}',
    '\u{10f86}',
    '\u{10f87}',
    '\u{10f88}',
    '\u{10f89}',
    '\u{11047}',
    '\u{11048}',
    '\u{110be}',
    '\u{110bf}',
    '\u{110c0}',
    '\u{110c1}',
    '\u{11141}',
    '\u{11142}',
    '\u{11143}',
    '\u{111c5}',
    '\u{111c6}',
    '\u{111cd}',
    '\u{111de}',
    '\u{111df}',
    '\u{11238}',
    '\u{11239}',
    '\u{1123b}',
    '\u{1123c}',
    '\u{112a9}',
    '\u{1144b}',
    '\u{1144c}',
    '\u{115c2}',
    '\u{115c3}',
    '\u{115c9}',
    '\u{115ca}',
    '\u{115cb}',
    '\u{115cc}',
    '\u{115cd}',
    '\u{115ce}',
    '\u{115cf}',
    '\u{115d0}',
    '\u{115d1}',
    '\u{115d2}',
    '\u{115d3}',
    '\u{115d4}',
    '\u{115d5}',
    '\u{115d6}',
    '\u{115d7}',
    '\u{11641}',
    '\u{11642}',
    '\u{1173c}',
    '\u{1173d}',
    '\u{1173e}',
    '\u{11944}',
    '\u{11946}',
    '\u{11a42}',
    '\u{11a43}',
    '\u{11a9b}',
    '\u{11a9c}',
    '\u{11c41}',
    '\u{11c42}',
    '\u{11ef7}',
    '\u{11ef8}',
    '\u{11f43}',
    '\u{11f44}',
    '\u{16a6e}',
    '\u{16a6f}',
    '\u{16af5}',
    '\u{16b37}',
    '\u{16b38}',
    '\u{16b44}',
    '\u{16e98}',
    '\u{1bc9f}',
    '\u{1da88}',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_sentences_are_in_order() {
        assert!(TERMINAL.is_sorted());
        assert!(ends_sentence('。') && ends_sentence('?') && !ends_sentence('"') && !ends_sentence('…'));
    }
}
