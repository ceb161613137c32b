"""Bytes to text, where nothing says which character set was used."""

from __future__ import annotations

import codecs
import dataclasses

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SNIFFED_BYTES = 65_536
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b")) + b"\x7f"
_MAX_CONTROL_SHARE = 0.005
_MAX_CONTROLS = 2  # a short text may have a stray one
_MAX_BROKEN_SHARE = 0.1
_HIGH = bytes(range(128, 256))
_MIN_FOREIGN_SHARE = 0.3
_MIN_FOREIGN = 16
_GUESSED_BYTES = 16_384
_FOREIGN = [
    "cp1251", "koi8_r", "iso8859_5", "cp866", "cp1253", "iso8859_7", "cp1255", "cp1256",
    "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr",
]  # fmt: skip


class BinaryFileError(ValueError):
    """The bytes are no text in any character set that is looked for."""


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Text, and the character set it was read in."""

    text: str
    encoding: str


def decode(content: bytes) -> Decoded:
    r"""Returns `content` as text, with every line end as `\n`.

    In this order (ours, because UTF-8 is hardly ever valid by accident and every byte is valid Latin-1): a byte order
    mark decides; NUL bytes or many control characters mean binary; valid UTF-8 is UTF-8; so is text of which less than
    a tenth of the non-ASCII characters is broken (a torn file), with U+FFFD for those; then what
    charset-normalizer finds where a third of the letters are not ASCII, then Windows-1252, then Latin-1.

    Raises:
        BinaryFileError: it is binary.
    """
    text, encoding = _decode(content)
    return Decoded(text.replace("\r\n", "\n").replace("\r", "\n"), encoding)


def _decode(content: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            text = content.decode(encoding, "replace")
            if text.count("\N{REPLACEMENT CHARACTER}") > _MAX_BROKEN_SHARE * len(text):
                raise BinaryFileError(f"it begins like {encoding} and is not")
            return text, encoding
    head = content[:_SNIFFED_BYTES]
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if b"\0" in head or controls > max(_MAX_CONTROLS, _MAX_CONTROL_SHARE * len(head)):
        raise BinaryFileError(f"{controls:,} control characters in the first {len(head):,} bytes")
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text = content.decode("utf-8", "replace")
    broken = text.count("\N{REPLACEMENT CHARACTER}")
    if broken < _MAX_BROKEN_SHARE * sum(1 for character in text if character > "\x7f"):
        return text, "utf-8"
    encoding = _guess(head)
    try:
        return content.decode(encoding), encoding
    except UnicodeDecodeError:
        encoding = "latin-1" if encoding == "windows-1252" else encoding
        return content.decode(encoding, "replace"), encoding


def _guess(head: bytes) -> str:
    """Returns the older character set of `head`: Windows-1252 where it may be Western, else as charset-normalizer says.

    Western text has few bytes above 127, and a statistical guess among its many look-alikes is often wrong (ours).
    """
    high = len(head) - len(head.translate(None, _HIGH))
    letters = high + sum(1 for byte in head if 65 <= byte <= 122)
    if high < max(_MIN_FOREIGN, _MIN_FOREIGN_SHARE * letters):
        return "windows-1252"
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return "windows-1252"
    best = from_bytes(head[:_GUESSED_BYTES], cp_isolation=_FOREIGN, threshold=0.5, enable_fallback=False).best()
    return "windows-1252" if best is None else best.encoding
