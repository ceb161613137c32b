"""Runs a chat template over messages, in Jinja's sandbox; the text is that of transformers' `apply_chat_template`.

What templates may use is what transformers 5 offers them: blocks trimmed, loop controls, `tojson` that leaves HTML
alone, `raise_exception`, `strftime_now`, `{% generation %}`. Messages go in as plain JSON types only, so that a
foreign template can reach nothing else, and as `Traced` strings, so that the result says which characters came from
which message.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from gristlm.errors import InputError, missing_extra
from gristlm.finetune.symbolic import is_traceable, stands_for_text
from gristlm.finetune.templates import resolve
from gristlm.finetune.traced import PLAIN, Traced, concatenate, join, marks_of, message_mark
from gristlm.training.chat_prompt import ChatTemplate

try:
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from jinja2.visitor import NodeTransformer
except ImportError:
    raise missing_extra("jinja2", "train") from None

GENERATED_OFFSET = 0x80000
"""Added to the mark of a character that stands inside `{% generation %}`."""
_REASONING = ("reasoning_content", "thinking", "reasoning")
_NOT_TRACED = ("role", "type", "id", "tool_call_id")


def render(
    messages: Sequence[Mapping[str, object]],
    template: str | ChatTemplate = "chatml",
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, object]] | None = None,
    **variables: object,
) -> str:
    """Returns the text of a conversation.

    Args:
        messages: `{"role": …, "content": …}` each, and whatever else the template reads (`reasoning_content`,
            `tool_calls`, …).
        template: "chatml", "llama3", "qwen3", "mistral", or a Jinja text.
        add_generation_prompt: end with the opening of the assistant's answer.
        tools: JSON schemas of the functions that the assistant may call.
        variables: what else the template reads; `bos_token` and `eos_token` replace those of a named template.

    Raises:
        InputError: the template is unknown, is broken, or refuses these messages.
    """
    return str.__str__(
        render_traced(
            messages, resolve(template), add_generation_prompt=add_generation_prompt, tools=tools, **variables
        )
    )


def render_traced(
    messages: Sequence[Mapping[str, object]],
    template: ChatTemplate,
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Mapping[str, object]] | None = None,
    **variables: object,
) -> Traced:
    """Returns `render`'s text with the mark of each character's origin."""
    compiled = _compile(template.jinja)
    special = {
        name: token for name, token in (("bos_token", template.bos_token), ("eos_token", template.eos_token)) if token
    }
    try:
        text = compiled.render(
            messages=[_message(message, message_mark(index)) for index, message in enumerate(messages)],
            tools=None if tools is None else _traced(list(tools), PLAIN),
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **{**special, **variables},
        )
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise InputError(f"the chat template refuses this conversation: {error}") from error
    return text if isinstance(text, Traced) else Traced(text, marks_of(text))


def _message(message: Mapping[str, object], mark: str) -> dict[str, object]:
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is not None:
        message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    return {
        key: value if key in _NOT_TRACED and isinstance(value, str) else _traced(value, mark)
        for key, value in message.items()
    }


def _traced(value: object, mark: str) -> object:
    """Returns `value` rebuilt from plain JSON types, its strings carrying `mark`."""
    if isinstance(value, str):
        if isinstance(value, Traced) and value.opaque:
            return value
        text = str.__str__(value)
        return Traced(text, mark * len(text))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            str(key): item if key in _NOT_TRACED and isinstance(item, str) else _traced(item, mark)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_traced(item, mark) for item in value]
    raise InputError(f"a message may hold strings, numbers, lists and objects; given {type(value).__name__}")


class _JoinOperator(NodeTransformer):
    """Turns the operator `~`, which Jinja compiles to an untraced join, into a call of the filter `concatenate`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the name that Jinja calls
        strings = [
            nodes.Filter(self.visit(part), "string", [], [], None, None, lineno=node.lineno) for part in node.nodes
        ]
        return nodes.Filter(
            nodes.List(strings, lineno=node.lineno), "concatenate", [], [], None, None, lineno=node.lineno
        )


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with every join traced."""

    concat = staticmethod(concatenate)  # joins the output of templates, macros and `{% set %}` blocks

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed: nodes.Template = _JoinOperator().visit(super()._parse(source, name, filename))
        return parsed


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: the template says itself what the assistant generates."""

    tags = {"generation"}  # noqa: RUF012 - the attribute that Jinja reads

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> Traced:
        text = caller()
        return Traced(text, "".join(chr(ord(mark) + GENERATED_OFFSET) for mark in marks_of(text)))


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    mark = next(_marks_within(value), None)
    return text if mark is None else Traced(text, mark * len(text))


def _marks_within(value: object) -> Iterator[str]:
    if isinstance(value, Traced) and value:
        yield value.marks[0]
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _marks_within(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _marks_within(item)


def _join_filter(value: object, d: str = "", attribute: str | None = None) -> str:
    items = list(value) if isinstance(value, Iterable) else [value]
    if attribute is not None:
        items = [item[attribute] if isinstance(item, Mapping) else getattr(item, attribute) for item in items]
    return join(d, [item if isinstance(item, str) else str(item) for item in items])


def _replace_filter(text: object, old: str, new: str, count: int = -1) -> str:
    return (text if isinstance(text, str) else str(text)).replace(old, new, -1 if count is None else count)


@functools.lru_cache(maxsize=64)
def can_trace(jinja: str) -> bool:
    """Returns whether the template can be run over messages whose words are not known (`symbolic.py`)."""
    return not stands_for_text(jinja) and is_traceable(_environment().parse(jinja))


@functools.lru_cache(maxsize=64)
def _compile(jinja: str) -> jinja2.Template:
    environment = _environment()
    try:
        return environment.from_string(jinja)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"the chat template is not valid Jinja: line {error.lineno}: {error.message}") from error
    except (jinja2.TemplateError, RecursionError) as error:
        raise InputError(f"the chat template cannot be used: {error}") from error


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters |= {
        "tojson": _tojson,
        "join": _join_filter,
        "replace": _replace_filter,
        "concatenate": concatenate,
    }
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(
        form
    )  # local time, as transformers
    return environment
