"""The stage `task`: a generator function in, its data and an untrained model out, for experiments from nothing.

A recipe names the generator, `[task] generator = "file.py:function"`; `function(seed) -> {name: rows}` returns rows
for any of `sft`, `preferences` and `prompts` (each also with `_heldout`), in the formats of `gristlm.finetune` and
`gristlm.rlhf`. The tokenizer is trained on the training texts alone. A recipe that names a file runs that file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from gristlm.errors import ConfigError
from gristlm.model import Model
from gristlm.rlhf.config import TaskConfig
from gristlm.rlhf.criterion import own_file, own_function
from gristlm.runs import artifact
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.tokenize.config import CHAT_TOKENS
from gristlm.training import checkpoint

FILES = tuple(f"{name}{suffix}" for name in ("sft", "preferences", "prompts") for suffix in ("", "_dev", "_heldout"))
"""What a generator may return."""
Rows = Mapping[str, Sequence[Mapping[str, object]]]


def run(config: TaskConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of the artifact "task": the generator's `.jsonl` files, and `final/`, an untrained model.

    Raises:
        ConfigError: the generator is not there, fails, or returns something else.
    """
    stage = artifact.begin(
        output_dir,
        kind="task",
        config=config,
        inputs={**inputs, "generator": own_file("task.generator", config.generator)},
    )
    if stage.manifest is not None:
        return stage.manifest
    try:
        rows = _generate(config)
        for name, lines in rows.items():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            write_atomic(output_dir / f"{name}.jsonl", text)
        tokenizer = Tokenizer.train(
            [text for name, lines in rows.items() if not name.endswith("_heldout") for text in _texts(lines)],
            vocab_size=config.vocab_size,
            special_tokens=list(CHAT_TOKENS),
        )
        tokenizer.save(output_dir / "tokenizer.json")
        special = tokenizer.special_tokens
        shape = {
            "vocab_size": tokenizer.vocab_size,
            "eos_token_ids": (special["<|im_end|>"],),
            "pad_token_id": special["<|pad|>"],
        }
        model = Model(config.model.model_copy(update=shape), seed=config.seed)
        checkpoint.write_final(stage.path, model, tokenizer_dir=output_dir)
        counts: dict[str, object] = {name: len(lines) for name, lines in rows.items()}
        return stage.finish(counts={**counts, "parameters": model.config.num_parameters()})
    finally:
        stage.close()


def _generate(config: TaskConfig) -> Rows:
    make = own_function("task.generator", config.generator)
    try:
        rows = cast("Rows", make(config.seed))
        good = all(name in FILES and len(lines) for name, lines in rows.items())
    except Exception as error:
        raise ConfigError(f"task.generator {config.generator!r} failed: {error!r}") from error
    if not good:
        raise ConfigError(
            f"task.generator {config.generator!r} returned {', '.join(map(str, rows))}; "
            f"allowed: lists of at least one row, named {', '.join(FILES)}"
        )
    return rows


def _texts(rows: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yields every message's text, and its role, which a chat template writes out."""
    for row in rows:
        for key in ("messages", "prompt", "chosen", "rejected"):
            value = row.get(key)
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                yield from (text for message in value for text in (message["role"], message["content"]))
