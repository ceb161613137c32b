"""Long texts cut between paragraphs."""

from __future__ import annotations

from collections.abc import Iterator

from gristlm._core import utf8_bytes


def cut(text: str, max_bytes: int | None) -> Iterator[str]:
    """Yields `text` in pieces of about `max_bytes` bytes of UTF-8; joined, they are `text` again.

    A piece ends at the last blank line within `max_bytes`, failing that at the last line end, failing that at the last
    space, failing that between two characters; a text that is not longer is one piece, as it is (None: never cut).
    """
    if max_bytes is None or len(text) * 4 <= max_bytes or _size(text) <= max_bytes:
        yield text
        return
    start = 0
    while start < len(text):
        window = text[start : start + max_bytes].encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
        end = start + max(1, len(window))
        if end < len(text):
            for mark in ("\n\n", "\n", " "):
                at = text.rfind(mark, start + len(window) // 2, end)
                if at >= 0:
                    end = at + len(mark)
                    break
        yield text[start:end]
        start = end


def _size(text: str) -> int:
    try:
        return utf8_bytes(text)
    except UnicodeEncodeError:
        return len(text.encode("utf-8", "replace"))
