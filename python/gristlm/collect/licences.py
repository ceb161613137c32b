"""SPDX licence expressions: which words say which licence beyond doubt, and whether an expression satisfies a filter.

What cannot be told is "unknown". In particular the classifiers "BSD License" and "Apache Software License" name no
version, and two licence classifiers do not say whether both or either apply, so they tell nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gristlm.collect.document import UNKNOWN_LICENCE

PROJECT_GUTENBERG = "LicenseRef-Project-Gutenberg"
"""The terms of https://www.gutenberg.org/policy/license.html, for books of that library that are under copyright."""

# The identifiers that packages and pages commonly carry (https://spdx.org/licenses); lower case finds the written form.
# fmt: off
_WRITTEN = (
    "0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-1.1", "Apache-2.0", "Artistic-2.0",
    "BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear",
    "BSD-4-Clause", "BSL-1.0", "bzip2-1.0.6", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
    "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "CC-PDDC", "CC0-1.0", "CNRI-Python",
    "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.2", "GFDL-1.3-only", "GFDL-1.3-or-later", "GPL-2.0-only",
    "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "HPND", "ISC", "LGPL-2.0-only",
    "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later",
    "libpng-2.0", "MIT", "MIT-0", "MIT-CMU", "MPL-1.1", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0", "OFL-1.1",
    "OpenSSL", "PDDL-1.0", "PostgreSQL", "PSF-2.0", "Python-2.0", "Python-2.0.1", "Ruby", "SSPL-1.0",
    "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "Vim", "W3C", "WTFPL", "X11", "Zlib",
    "ZPL-2.0", "ZPL-2.1",
)
# fmt: on
_IDS = {name.lower(): name for name in _WRITTEN}
_EXCEPTIONS = {
    name.lower(): name
    for name in ("LLVM-exception", "GCC-exception-3.1", "Classpath-exception-2.0", "OpenSSL-exception")
}

# Free-text `License` fields and link texts that name one licence and version in other words.
_PHRASES = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "the mit license (mit)": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "mpl 2.0": "MPL-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
_CLASSIFIERS = {
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "zlib/libpng License": "Zlib",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "PostgreSQL License": "PostgreSQL",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
}
TAG = "SPDX-License-Identifier:"
TAG_WITHIN = 2000
"""Characters at the start of a text in which a tag is looked for."""
_TAG = re.compile(TAG + r"[ \t]*([^\r\n*]{1,200})")
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(?:licenses/(by(?:-nc)?(?:-nd|-sa)?)/(\d\.\d)|(publicdomain/zero)/(1\.0))", re.IGNORECASE
)
_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9.+:-]+")


_MAX_WRAPS = 4  # each costs a pass over the expression


def from_text(words: str | None) -> str:
    """Returns the SPDX expression that `words` (one, a licence's name, a Creative Commons link) says, or "unknown"."""
    if not words or len(words) > 500:
        return UNKNOWN_LICENCE
    words = words.strip()
    link = _CREATIVE_COMMONS.search(words)
    if link:
        return "CC0-1.0" if link[3] else f"CC-{link[1].upper()}-{link[2]}"
    return _expression(words) or _PHRASES.get(words.lower(), UNKNOWN_LICENCE)


def from_tag(text: str) -> str:
    """Returns what an `SPDX-License-Identifier:` line near the start says, or "unknown"."""
    tag = _TAG.search(text, 0, TAG_WITHIN)
    return from_text(re.sub(r"[\s/>-]+$", "", tag[1])) if tag else UNKNOWN_LICENCE


def from_package(expression: str | None, licence: str | None, classifiers: Sequence[str]) -> str:
    """Returns a distribution's licence from its core metadata.

    Args:
        expression: the field License-Expression.
        licence: the older free-text field License.
        classifiers: all its classifiers.
    """
    if expression:
        return from_text(expression)
    told = from_text(licence)
    if told != UNKNOWN_LICENCE:
        return told
    named = [
        c.rpartition(" :: ")[2]
        for c in classifiers
        if c.startswith("License :: ") and c not in ("License :: OSI Approved", "License :: DFSG approved")
    ]
    return _CLASSIFIERS.get(named[0], UNKNOWN_LICENCE) if len(named) == 1 else UNKNOWN_LICENCE


def allows(licence: str, wanted: Collection[str]) -> bool:
    """Returns whether a licence expression is covered by the `wanted` identifiers (case does not matter).

    `A OR B` needs one of the two, `A AND B` both, `A WITH exception` needs A. "unknown" is covered only where it is
    wanted by name, and "public-domain" in `wanted` covers CC0-1.0, CC-PDDC, PDDL-1.0, the Unlicense and
    pages with the Public Domain Mark (LicenseRef-public-domain).
    """
    names = {name.lower() for name in wanted}
    if "public-domain" in names:
        names |= {"cc0-1.0", "cc-pddc", "pddl-1.0", "unlicense", "licenseref-public-domain"}
    if licence.lower() in names:
        return True
    tokens = _TOKEN.findall(licence)
    try:
        value, rest = _any(tokens, names)
    except (IndexError, RecursionError):
        return False
    return value and not rest


def _any(tokens: list[str], names: set[str]) -> tuple[bool, list[str]]:
    value, tokens = _all(tokens, names)
    while tokens and tokens[0].upper() == "OR":
        other, tokens = _all(tokens[1:], names)
        value = value or other
    return value, tokens


def _all(tokens: list[str], names: set[str]) -> tuple[bool, list[str]]:
    value, tokens = _one(tokens, names)
    while tokens and tokens[0].upper() == "AND":
        other, tokens = _one(tokens[1:], names)
        value = value and other
    return value, tokens


def _one(tokens: list[str], names: set[str]) -> tuple[bool, list[str]]:
    if tokens[0] == "(":
        value, rest = _any(tokens[1:], names)
        return (value, rest[1:]) if rest[0] == ")" else (False, rest)
    value, rest = tokens[0].lower() in names, tokens[1:]
    return (value, rest[2:]) if rest and rest[0].upper() == "WITH" else (value, rest)


def _expression(words: str) -> str | None:
    """Returns `words`, identifiers in their written form, if it is an SPDX expression of known ones, else None."""
    tokens = _TOKEN.findall(words)
    if not tokens or "".join(tokens) != re.sub(r"\s+", "", words):
        return None
    for _ in range(_MAX_WRAPS):
        if _is_wrapped(tokens):
            tokens = tokens[1:-1]
    out: list[str] = []
    depth, operand = 0, True  # operand: an identifier or "(" must follow
    for part in tokens:
        word = part.lower()
        if operand and out and out[-1] == "WITH":
            if word not in _EXCEPTIONS:
                return None
            out.append(_EXCEPTIONS[word])
            operand = False
        elif operand and part == "(":
            depth += 1
            out.append(part)
        elif operand:
            known = _IDS.get(word) or (part if re.fullmatch(r"LicenseRef-[A-Za-z0-9.-]+", part) else None)
            if known is None:
                return None
            out.append(known)
            operand = False
        elif part == ")" and depth:
            depth -= 1
            out.append(part)
        elif word in ("and", "or", "with"):
            out.append(word.upper())
            operand = True
        else:
            return None
    if operand or depth:
        return None
    return " ".join(out).replace("( ", "(").replace(" )", ")")


def _is_wrapped(tokens: list[str]) -> bool:
    """Returns whether one pair of parentheses is around all: `(A OR B)` is written `A OR B`, so that it is one name."""
    depth = 0
    for at, part in enumerate(tokens):
        depth += (part == "(") - (part == ")")
        if depth <= 0:
            return at == len(tokens) - 1 and part == ")" and at > 1
    return False
