"""How the documentation is built: `make docs`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from pydantic import BaseModel

from gristlm.collect.config import CollectConfig, ConversationsConfig
from gristlm.evaluate.config import EvaluateConfig
from gristlm.finetune.config import FinetuneConfig
from gristlm.model.config import ModelConfig
from gristlm.pretrain.config import PretrainConfig
from gristlm.rlhf.config import PairsConfig, RewardConfig, RLHFConfig
from gristlm.tokenize.config import TokenizerConfig, TokensConfig

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "gristlm"
author = "the gristlm developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "gristlm"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
exclude_patterns = ["_build"]

TABLES: dict[str, type[BaseModel]] = {
    "collect": CollectConfig,
    "conversations": ConversationsConfig,
    "evaluate": EvaluateConfig,
    "finetune": FinetuneConfig,
    "model": ModelConfig,
    "pairs": PairsConfig,
    "pretrain": PretrainConfig,
    "reward": RewardConfig,
    "rlhf": RLHFConfig,
    "tokenizer": TokenizerConfig,
    "tokens": TokensConfig,
}


class Settings(Directive):
    """A table of the named keys of a recipe's table, with the defaults and meanings that the code has: no second copy.

    The argument is the table's name; the content names keys, separated by white space.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Returns the table; an unknown key is an error of the build."""
        schema = TABLES[self.arguments[0]]
        defaults = schema()
        lines = ["| key | default | meaning |", "|---|---|---|"]
        for key in " ".join(self.content).split():
            meaning = " ".join((schema.model_fields[key].description or "").split()).replace("|", "\\|")
            default = json.dumps(defaults.model_dump(mode="json")[key], ensure_ascii=False)
            lines.append(f"| `{key}` | `{'none' if default == 'null' else default}` | {meaning} |")
        holder = nodes.container()
        self.state.nested_parse(StringList(lines, source=str(self.state.document["source"])), 0, holder)
        return holder.children


def as_rst(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Makes reStructuredText of a docstring: `code` is a literal, and a bar outside of code is only a bar."""
    parts = re.split(r"(?<!`)`([^`]+)`(?!`)", "\n".join(lines))
    text = parts[0].replace("|", "\\|")
    for code, after in zip(parts[1::2], parts[2::2], strict=True):
        text += f"``{code.strip()}``" + ("\\ " if after[:1].isalnum() else "") + after.replace("|", "\\|")
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> None:
    """Adds the directive `settings`, and `as_rst` before anything else that reads docstrings."""
    app.add_directive("settings", Settings)
    app.connect("autodoc-process-docstring", as_rst, priority=100)
