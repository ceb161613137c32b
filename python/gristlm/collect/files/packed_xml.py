"""XML files inside a zip archive (EPUB, DOCX), read whole where they are small; entities are refused everywhere."""

from __future__ import annotations

import zipfile
from xml.etree import ElementTree
from xml.parsers import expat

from gristlm.collect.files.refusal import Refusal

MAX_XML_BYTES = 4 << 20


def member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Returns the content of a member, which may have `limit` bytes.

    Raises:
        Refusal: it has more.
        KeyError: there is none of the name.
    """
    with archive.open(name) as opened:
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise Refusal("too large", f"more than {limit:,} bytes when unpacked: {name}")
    return content


def parsed(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    """Returns the root of an XML file of at most 4 MiB.

    Raises:
        Refusal: it is longer, is no XML, or defines an entity.
        KeyError: there is none of the name.
    """
    content = member(archive, name, MAX_XML_BYTES)
    check = expat.ParserCreate()
    refuse_entities(check, name)
    try:
        check.Parse(content, True)
    except expat.ExpatError as error:
        raise Refusal("damaged file", f"{name}: {error}") from error
    return ElementTree.fromstring(content)  # noqa: S314  # bounded, and entities are refused above


def refuse_entities(parser: expat.XMLParserType, where: str) -> None:
    """Makes a parser raise `Refusal` where `where` defines an entity."""

    def refuse(entity: str, *_: object) -> None:
        raise Refusal("entity expansion", f"{where} defines the entity {entity!r}")

    parser.EntityDeclHandler = refuse
