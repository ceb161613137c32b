"""Text from ids that come one by one."""

from __future__ import annotations

import codecs
from typing import Protocol


class _Vocabulary(Protocol):
    def id_to_bytes(self, id: int, /) -> bytes: ...

    def decode_bytes(self, ids: list[int], /) -> bytes: ...


class StreamDecoder:
    """Turns ids into text as they come, never half a character: bytes wait until their character is whole.

    The pieces together are `tokenizer.decode` of all ids.
    """

    def __init__(self, tokenizer: _Vocabulary) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._first = True

    def push(self, id: int) -> str:
        """Returns the text that is certain after `id`; often a word, sometimes nothing.

        Raises:
            InputError: `id` is not in the vocabulary.
        """
        if self._first:
            # Some tokenizers put a space before a text, which decoding takes away again.
            content = self._tokenizer.decode_bytes([id])
            self._first = False
        else:
            content = self._tokenizer.id_to_bytes(id)
        return self._decoder.decode(content)

    def finish(self) -> str:
        """Returns what is left: U+FFFD for the bytes of a character that never became whole, else nothing."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._first = True
        return rest
