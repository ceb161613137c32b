import pytest
from file_source import read

from gristlm.collect import headers, licences


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("apache-2.0 or mit", "Apache-2.0 OR MIT"),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0 WITH LLVM-exception"),
        ("LicenseRef-Own", "LicenseRef-Own"),
        ("Apache License 2.0", "Apache-2.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/deed.de", "CC-BY-SA-4.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        # what says no one licence, or no version of it
        ("BSD", "unknown"),
        ("Apache", "unknown"),
        ("GPL", "unknown"),
        ("MIT AND", "unknown"),
        ("MIT Apache-2.0", "unknown"),
        ("(MIT", "unknown"),
        ("MIT)", "unknown"),
        ("AND", "unknown"),
        ("free for all", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
        ("MIT OR " * 1000, "unknown"),
    ],
)
def test_a_licence_is_what_the_words_say_beyond_doubt(words, said):
    assert licences.from_text(words) == said


def test_a_package_is_never_guessed_at():
    mit, bsd = "License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License"
    apache = "License :: OSI Approved :: Apache Software License"
    assert licences.from_package(None, None, ["License :: OSI Approved", mit]) == "MIT"
    assert licences.from_package(None, None, [bsd]) == "unknown"
    assert licences.from_package(None, None, [apache]) == "unknown"
    assert licences.from_package(None, "Apache-2.0", [apache]) == "Apache-2.0"
    assert licences.from_package("MIT-CMU", "anything", [bsd]) == "MIT-CMU"
    assert licences.from_package(None, None, [mit, "License :: OSI Approved :: ISC License (ISCL)"]) == "unknown"
    assert licences.from_package("not an expression", "MIT", [mit]) == "unknown"


def test_a_tag_in_a_file_counts_near_its_start_alone():
    assert licences.from_tag("# SPDX-License-Identifier: Apache-2.0\nimport os\n") == "Apache-2.0"
    assert licences.from_tag("/* SPDX-License-Identifier: MIT */\n") == "MIT"
    assert licences.from_tag("<!-- SPDX-License-Identifier: CC-BY-4.0 -->") == "CC-BY-4.0"
    assert licences.from_tag("x" * 3000 + "SPDX-License-Identifier: MIT") == "unknown"


@pytest.mark.parametrize(
    ("licence", "wanted", "allowed"),
    [
        ("MIT", ["mit"], True),
        ("MIT", ["apache-2.0"], False),
        ("MIT OR Apache-2.0", ["apache-2.0"], True),
        ("MIT AND Apache-2.0", ["mit"], False),
        ("MIT AND Apache-2.0", ["mit", "apache-2.0"], True),
        ("MIT AND (Apache-2.0 OR ISC)", ["mit", "isc"], True),
        ("MIT AND (Apache-2.0 OR ISC)", ["isc"], False),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception", ["apache-2.0"], True),
        ("CC0-1.0", ["public-domain"], True),
        ("CC-BY-4.0", ["public-domain"], False),
        ("unknown", ["mit"], False),
        ("unknown", ["unknown", "mit"], True),
        ("(((MIT", ["mit"], False),
        ("", ["mit"], False),
    ],
)
def test_the_filter_evaluates_expressions(licence, wanted, allowed):
    assert licences.allows(licence, wanted) is allowed


GPL = "under the terms of the GNU {0}General Public License as published by the Free Software Foundation; {1}.\n"
MIT = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software … The above "
    "copyright notice and this permission notice shall be included in all copies or substantial portions … OR THE "
    "USE OR OTHER DEALINGS IN THE SOFTWARE."
)
BSD = "Redistribution and use in source and binary forms, with or without modification, are permitted provided that … "
BSD_END = "THIS SOFTWARE IS PROVIDED BY THE AUTHORS"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# Licensed under the Apache License,\n# Version 2.0 (the License)", "Apache-2.0"),
        (
            "/* This Source Code Form is subject to the terms of the\n * Mozilla Public\n * License, v. 2.0. */",
            "MPL-2.0",
        ),
        (GPL.format("", "either version 2 of the License, or (at your option) any later version"), "GPL-2.0-or-later"),
        (GPL.format("", "version 3 of the License"), "GPL-3.0-only"),
        (
            GPL.format("Lesser ", "either\n// version 2.1, or (at your option)\n// any later version"),
            "LGPL-2.1-or-later",
        ),
        (GPL.format("", "see COPYING"), "unknown"),
        (f"// {MIT}", "MIT"),
        (f"// {MIT} Except as contained in this notice, the name …", "unknown"),
        (f"{BSD} {BSD_END}", "BSD-2-Clause"),
        (f"{BSD} Neither the name of … {BSD_END}", "BSD-3-Clause"),
        (f"{BSD} All advertising materials … {BSD_END}", "unknown"),
        (f"{MIT}\n{BSD} {BSD_END}", "unknown"),
        ("x = 1\n" * 2000 + "# Licensed under the Apache License, Version 2.0", "unknown"),
        ("# This talks about the MIT licence and the GPL.", "unknown"),
    ],
)
def test_notices_at_the_head_of_source_code(text, said):
    assert headers.from_header(text) == said


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        ('<link rel="license" href="https://creativecommons.org/licenses/by/4.0/">', "", "CC-BY-4.0"),
        ("", '<a rel="license" href="//creativecommons.org/licenses/by-nc-sa/3.0/">terms</a>', "CC-BY-NC-SA-3.0"),
        ("", '<a href="https://creativecommons.org/publicdomain/zero/1.0/"><img alt="CC0"></a>', "CC0-1.0"),
        ("", '<a href="https://creativecommons.org/publicdomain/mark/1.0/">free</a>', "LicenseRef-public-domain"),
        ('<meta name="dcterms.license" content="https://creativecommons.org/licenses/by-sa/4.0/">', "", "CC-BY-SA-4.0"),
        ('<script type="application/ld+json">{"license": "https://opensource.org/licenses/MIT"}</script>', "", "MIT"),
        (
            '<link rel="license" href="/terms">',
            '<a href="https://creativecommons.org/licenses/by/4.0/">x</a>',
            "unknown",
        ),
        ("", '<a href="https://creativecommons.org/licenses/by/">which?</a>', "unknown"),
        ("", "<p>Some say CC-BY-4.0 is fine.</p>", "unknown"),
    ],
)
def test_the_licence_of_a_page(tmp_path, head, body, said):
    words = "<p>The miller grinds barley and rye, and every morning carts leave for the town with fresh flour.</p>" * 5
    page = f"<html><head><title>T</title>{head}</head><body><article>{words}</article>{body}</body></html>"
    (tmp_path / "a.html").write_text(page)
    (document,), _ = read(tmp_path / "a.html")
    assert document.licence == said


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("(GPL-2.0-only OR BSD-2-Clause)", "GPL-2.0-only OR BSD-2-Clause"),
        ("((mit))", "MIT"),
        ("(MIT OR Apache-2.0) AND (BSD-3-Clause)", "(MIT OR Apache-2.0) AND (BSD-3-Clause)"),
        ("()", "unknown"),
        ("(MIT", "unknown"),
        (")MIT(", "unknown"),
    ],
)
def test_parentheses_around_all_of_an_expression_are_not_written(given: str, written: str) -> None:
    assert licences.from_text(given) == written
