//! Bytes to text: the encoding that a page declares, or that its bytes show.

/// Bytes at the start of a page in which a `<meta charset>` is looked for (the HTML standard says 1,024; real pages
/// put long comments before it).
const CHARSET_BYTES: usize = 4096;

/// Characters beyond ASCII that make a page UTF-8 against its word.
const MIN_UTF8: usize = 16;

/// Returns the text of a page: by its byte order mark, its `<meta charset>`, UTF-8 if it is that, or a guess.
pub fn decode(bytes: &[u8]) -> String {
    let labelled = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| encoding).or_else(|| declared(bytes));
    let encoding = match labelled {
        Some(encoding) if encoding != encoding_rs::UTF_8 && !is_utf8_all_the_same(bytes, encoding) => encoding,
        _ => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                return text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
            }
            if labelled.is_some() {
                encoding_rs::UTF_8
            } else {
                let mut detector = chardetng::EncodingDetector::new(chardetng::Iso2022JpDetection::Deny);
                detector.feed(bytes, true);
                detector.guess(None, chardetng::Utf8Detection::Allow)
            }
        }
    };
    encoding.decode(bytes).0.into_owned()
}

/// Whether a page that names another encoding is UTF-8: texts that were converted and kept their old `<meta>`. Of
/// letters in another encoding hardly any are UTF-8 by chance, and [`MIN_UTF8`] of them never.
fn is_utf8_all_the_same(bytes: &[u8], encoding: &'static encoding_rs::Encoding) -> bool {
    encoding.is_ascii_compatible()
        && encoding_rs::Encoding::for_bom(bytes).is_none()
        && std::str::from_utf8(bytes)
            .is_ok_and(|text| text.chars().filter(|c| !c.is_ascii()).take(MIN_UTF8).count() == MIN_UTF8)
}

/// The encoding that the page names in `<meta charset=…>` or `<meta http-equiv=… content="…charset=…">`.
fn declared(bytes: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = bytes[..bytes.len().min(CHARSET_BYTES)].to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&head[from..], b"<meta") {
        let tag = &head[from + at..];
        let tag = &tag[..memchr::memchr(b'>', tag).unwrap_or(tag.len())];
        if let Some(value) = memchr::memmem::find(tag, b"charset").map(|i| &tag[i + 7..]) {
            let value = value.trim_ascii_start().strip_prefix(b"=").unwrap_or_default().trim_ascii_start();
            let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
            let end = value.iter().position(|b| matches!(b, b'"' | b'\'' | b' ' | b';' | b'/')).unwrap_or(value.len());
            // A page that can be read as ASCII up to its <meta> cannot be UTF-16 (HTML standard, 13.2.3.2).
            return encoding_rs::Encoding::for_label(&value[..end]).map(|encoding| {
                if encoding == encoding_rs::UTF_16LE || encoding == encoding_rs::UTF_16BE {
                    encoding_rs::UTF_8
                } else {
                    encoding
                }
            });
        }
        from += at + 5;
    }
    None
}
