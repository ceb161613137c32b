"""Runs a template once for all conversations of one shape, by handing it messages whose words are not known yet.

A `Symbolic` text stands for what a message will say. Joining it with other text and trimming it are remembered; a
question that templates ask of every message (does it contain "</think>"?) is answered with no, and the question is
kept as a guard that each conversation must pass; anything else that would look into the text raises `Inspected`, and
then the template is run for each conversation by itself. So is one that looks at text in a way that a subclass of
`str` does not get to see: `is_traceable` reads the template for such.

Ours: the idea is that of tracing compilers, a trace with guards.
"""

# ruff: noqa: D102 - the methods are those of str, remembered
from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NoReturn

from jinja2 import nodes

from gristlm.finetune.traced import Traced

Strips = tuple[tuple[str, str | None], ...]
_FIRST = 0xF0000  # private use: the character that stands for variant 0
_LAST = 0xFFFFD
_FILTERS = frozenset({
    "trim", "string", "list", "length", "count", "tojson", "concatenate", "join", "selectattr", "rejectattr",
    "map", "first", "last", "default", "d", "reverse", "items",
})  # fmt: skip
_TESTS = frozenset({
    "defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "true", "false", "boolean",
    "equalto", "eq", "==", "ne", "!=",
})  # fmt: skip
_FUNCTIONS = frozenset({
    "raise_exception", "strftime_now", "namespace", "range", "dict",
})  # fmt: skip


class Inspected(Exception):  # noqa: N818 - no error: the template needs the words themselves
    """The template looked into a text in a way that has no one answer for all texts."""


@dataclasses.dataclass(frozen=True)
class Guard:
    """A question that must be answered with no: `test` is equals, contains, starts or ends."""

    message: int
    strips: Strips
    test: str
    text: str


class Probe:
    """What was done to the messages' texts in one run of a template."""

    def __init__(self) -> None:
        self.variants: list[tuple[int, Strips]] = []
        self.guards: list[Guard] = []

    def text(self, message: int, mark: str, strips: Strips = ()) -> Symbolic:
        """Returns the text of a message after `strips`, as one character."""
        if (message, strips) not in self.variants:
            self.variants.append((message, strips))
        variant = self.variants.index((message, strips))
        if _FIRST + variant > _LAST:
            raise Inspected
        return Symbolic(chr(_FIRST + variant), mark, self, variant)

    def variant(self, character: str) -> tuple[int, Strips] | None:
        """Returns the message and the strips that a character of the result stands for, None for any other."""
        number = ord(character) - _FIRST
        return self.variants[number] if 0 <= number < len(self.variants) else None


def stands_for_text(text: str) -> bool:
    """Returns whether `text` itself holds a character that a `Probe` uses."""
    return any(_FIRST <= ord(character) <= _LAST for character in text)


class Symbolic(Traced):
    """The text of a message (`variant` is its number in the probe), or such joined with others (-1)."""

    __slots__ = ("probe", "variant")
    opaque = True
    probe: Probe
    variant: int

    def __new__(cls, text: str, marks: str, probe: Probe, variant: int = -1) -> Symbolic:
        made = super().__new__(cls, text, marks)
        assert isinstance(made, Symbolic)
        made.probe, made.variant = probe, variant
        return made

    def combine(self, text: str, marks: str) -> Traced:
        """Returns a text that this one has gone into."""
        return Symbolic(text, marks, self.probe)

    def _stripped(self, side: str, chars: str | None) -> Traced:
        message, strips = self._said()
        if isinstance(chars, Symbolic):
            raise Inspected
        plain = None if chars is None else str.__str__(chars)
        return self.probe.text(message, self.marks, (*strips, (side, plain)))

    def _said(self) -> tuple[int, Strips]:
        if self.variant < 0:
            raise Inspected
        return self.probe.variants[self.variant]

    def _no(self, test: str, other: object) -> bool:
        """Answers no, and remembers the question."""
        if not isinstance(other, str):
            return False
        if isinstance(other, Symbolic):
            raise Inspected
        self.probe.guards.append(Guard(*self._said(), test, str.__str__(other)))
        return False

    def __add__(self, other: str) -> Traced:
        return self.combine(str.__add__(self, other), self.marks + _marks(other))

    def __radd__(self, other: str) -> Traced:
        return self.combine(str.__add__(other, self), _marks(other) + self.marks)

    def __str__(self) -> Symbolic:
        return self

    def __bool__(self) -> bool:
        return self.variant < 0 or not self._no("equals", "")

    def __eq__(self, other: object) -> bool:
        return other is self or self._no("equals", other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        raise Inspected

    def __contains__(self, other: object) -> bool:
        return self._no("contains", other)

    def strip(self, chars: str | None = None, /) -> Traced:
        """As `str`, remembered."""
        return self._stripped("both", chars)

    def lstrip(self, chars: str | None = None, /) -> Traced:
        """As `str`, remembered."""
        return self._stripped("left", chars)

    def rstrip(self, chars: str | None = None, /) -> Traced:
        """As `str`, remembered."""
        return self._stripped("right", chars)

    def startswith(self, prefix: str | tuple[str, ...], *bounds: Any) -> bool:
        """Answers no."""
        return self._begins_or_ends("starts", prefix, bounds)

    def endswith(self, suffix: str | tuple[str, ...], *bounds: Any) -> bool:
        """Answers no."""
        return self._begins_or_ends("ends", suffix, bounds)

    def _begins_or_ends(self, test: str, other: str | tuple[str, ...], bounds: tuple[Any, ...]) -> bool:
        if bounds:
            raise Inspected
        return any(self._no(test, one) for one in ((other,) if isinstance(other, str) else other))


def _marks(text: str) -> str:
    return text.marks if isinstance(text, Traced) else "\0" * len(text)


def _refuse(self: Symbolic, *args: Any, **kwargs: Any) -> NoReturn:
    raise Inspected


_KEPT = frozenset({
    "__new__", "__init__", "__class__", "__doc__", "__getattribute__", "__setattr__", "__delattr__", "__dir__",
    "__subclasshook__", "__init_subclass__", "__reduce__", "__reduce_ex__", "__getnewargs__", "__sizeof__",
    "__getstate__",
})  # fmt: skip
for _name in dir(str):
    if _name not in _KEPT and _name not in vars(Symbolic):
        setattr(Symbolic, _name, _refuse)


def is_traceable(template: nodes.Template) -> bool:
    """Returns whether every look that the template takes at a text is one that `Symbolic` gets to see."""
    macros = {macro.name for macro in template.find_all(nodes.Macro)}
    return all(_is_seen(node, macros) for node in _walk(template))


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _is_seen(node: nodes.Node, macros: set[str]) -> bool:
    match node:
        case nodes.Filter(name="map", args=args):
            return not args
        case nodes.Filter(name=name):
            return name in _FILTERS
        case nodes.Test(name=name):
            return name in _TESTS
        case nodes.Compare(expr=left, ops=operands):
            return all(
                operand.op not in ("in", "notin")
                or isinstance(left, nodes.Const)
                or isinstance(operand.expr, nodes.List | nodes.Tuple)
                for operand in operands
            )
        case nodes.Call(node=nodes.Name(name=name)):
            return name in _FUNCTIONS or name in macros
        case nodes.Call(args=args, kwargs=kwargs):  # a method: of a plain text it would not be seen
            return not kwargs and all(isinstance(argument, nodes.Const) for argument in args)
        case nodes.FilterBlock() | nodes.Include() | nodes.Import() | nodes.Extends():
            return False
    return True
