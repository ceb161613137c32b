"""The licence that a source file states at its head in the words that the licence itself prescribes for that.

Only prescribed notices count, whole, and only one of them: a file that carries two says nothing here.
"""

from __future__ import annotations

import re

from gristlm.collect.document import UNKNOWN_LICENCE

HEAD = 6_000  # characters in which a notice must stand
_GNU = "gnu {name}general public license as published by the free software foundation"
_LATER = "(at your option) any later version"
_NAMES = {"": "GPL", "lesser ": "LGPL", "library ": "LGPL", "affero ": "AGPL"}
_VERSIONS = {"GPL": ("2", "3"), "LGPL": ("2", "2.1", "3"), "AGPL": ("3",)}
_GRANT = "redistribution and use in source and binary forms, with or without modification, are permitted provided"
_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy of this software"
_MIT_NOTICE = "copyright notice and this permission notice shall be included in all copies or substantial portions"
_MIT_END = "use or other dealings in the software."
_ISC = "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby"
_NOTICES = {
    "Apache-2.0": "licensed under the apache license, version 2.0",
    "MPL-2.0": "this source code form is subject to the terms of the mozilla public license, v. 2.0",
    "BSL-1.0": "distributed under the boost software license, version 1.0",
}


def from_header(text: str) -> str:
    """Returns the SPDX identifier that the notice at the head of a source file names, or "unknown"."""
    words = re.sub(r"[\s*#/;!%\"'<>-]+", " ", text[:HEAD]).lower()
    found = {licence for licence, notice in _NOTICES.items() if notice in words}
    found |= _gnu(words)
    if _MIT in words:
        whole = _MIT_NOTICE in words and _MIT_END in words and "except as contained in this notice" not in words
        found.add("MIT" if whole else UNKNOWN_LICENCE)
    if _ISC in words:
        found.add("ISC" if "copyright notice and this permission notice appear in all copies" in words else "0BSD")
    if _GRANT in words:
        found.add(_bsd(words))
    return found.pop() if len(found) == 1 else UNKNOWN_LICENCE


def _gnu(words: str) -> set[str]:
    found = set[str]()
    for name, short in _NAMES.items():
        at = words.find(_GNU.format(name=name))
        if at < 0:
            continue
        stated = re.search(r"version (\d(?:\.\d)?)\b", words[at : at + 200])
        version = stated[1].removesuffix(".0") if stated else ""
        if version not in _VERSIONS[short]:
            found.add(UNKNOWN_LICENCE)
            continue
        kind = "or-later" if _LATER in words[at : at + 300] else "only"
        found.add(f"{short}-{version if '.' in version else f'{version}.0'}-{kind}")
    return found


def _bsd(words: str) -> str:
    if "all advertising materials" in words or "this software is provided by" not in words:
        return UNKNOWN_LICENCE
    return "BSD-3-Clause" if "neither the name" in words else "BSD-2-Clause"
