"""Why a file, or a part of one, gives no document."""

from __future__ import annotations

from gristlm.collect.document import Drop


class Refusal(Exception):  # noqa: N818  # it is an answer, not an error: it becomes a counted drop
    """A file gives no document."""

    def __init__(self, reason: str, detail: str = "", *, fault: bool = True) -> None:
        """Says why; see `Drop`."""
        super().__init__(reason, detail)
        self.reason, self.detail, self.fault = reason, detail, fault

    def drop(self, source: str, uri: str, size: int = 0) -> Drop:
        """Returns the drop that counts it."""
        return Drop(source, uri, self.reason, self.detail, size, fault=self.fault)
