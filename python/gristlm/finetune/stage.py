"""The stage `finetune`: a checkpoint and data in, a tuned checkpoint that carries its chat template out."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from gristlm.chat_formats import Conversation, Labelled, Pair, Ranking
from gristlm.errors import ConfigError, FormatError, InputError, MissingArtifactError
from gristlm.finetune import preference, sft
from gristlm.finetune.chat import Chat, ChatTokenizer
from gristlm.finetune.config import FinetuneConfig
from gristlm.finetune.data import Rows, read, reasons
from gristlm.finetune.drift import sampled_kl
from gristlm.finetune.general import General
from gristlm.finetune.keeping import Figures, gathered
from gristlm.finetune.lora import inject
from gristlm.finetune.preference import Answers
from gristlm.finetune.prepared import Prepared, prepare_with
from gristlm.finetune.samples import Samples
from gristlm.finetune.templates import choose
from gristlm.model import Model
from gristlm.runs import artifact, progress
from gristlm.runs.artifact import Manifest
from gristlm.runs.files import write_atomic
from gristlm.tokenize import Tokenizer
from gristlm.training import checkpoint, device, distributed
from gristlm.training.chat_prompt import load_template
from gristlm.training.distributed import ALONE, Ranks
from gristlm.training.questions import Questions

_INPUTS = ("checkpoint", "data", "heldout_data", "tokens")
_TOKENIZER = "tokenizer"
_NAMED = 3  # rows left out that are printed by name
_REASONS = 20  # kinds of rows left out that the manifest counts; skipped.jsonl has every row
_BEFORE_AND_AFTER = (
    "heldout_loss", "heldout_accuracy", "heldout_margin", "sampled_kl", "answer_tokens", "answers_ended",
    "pretrain_bits_per_byte", "cloze_accuracy", "choice_accuracy",
)  # fmt: skip
_PAD_TOKENS = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>")


def run(config: FinetuneConfig, inputs: Mapping[str, Path], output_dir: Path) -> Manifest:
    """Returns the manifest of a tuned checkpoint in `output_dir`: `final/`, `checkpoints/`, `metrics.jsonl`.

    Args:
        config: the settings; `method` says whether conversations or preferences are learnt.
        inputs: `checkpoint`, a model directory with its tokenizer; `data`, a file of rows (`gristlm.chat_formats`);
            `heldout_data`, another (optional), to measure on before and after; `tokens`, the tokens artifact that the
            model was pretrained on (optional), whose held-out documents tell what general ability tuning costs.
        output_dir: the directory to write; what an earlier, cut-off call left there is gone on with.

    Raises:
        InputError: a row cannot be trained on (`strict`), the tokenizer does not match the checkpoint, or the
            template does not suit the tokenizer.
        ConfigError: an input is unknown.
        ArtifactError: an input is missing or damaged.
        TrainingError: a loss is not finite.
    """
    inputs = {name: Path(path) for name, path in inputs.items()}
    unknown = sorted(set(inputs) - set(_INPUTS))
    if unknown or not {"checkpoint", "data"} <= set(inputs):
        raise ConfigError(
            "finetune reads the inputs checkpoint, data and, optional, heldout_data and tokens; given "
            f"{', '.join(inputs) or 'none'}"
        )
    if not (inputs["checkpoint"] / "config.json").is_file():
        raise MissingArtifactError(
            f"{inputs['checkpoint']} is no checkpoint: it has no config.json; give a directory such as pretrain/final"
        )
    with distributed.joined() as ranks:
        if not ranks.first:
            progress.enable(False)
        stage = artifact.begin(output_dir, kind="finetune", config=config, inputs=inputs) if ranks.first else None
        if not ranks.from_first(stage is not None and stage.manifest is not None):
            with contextlib.closing(stage) if stage is not None else contextlib.nullcontext():
                if ranks.first and artifact.is_complete(inputs["checkpoint"]):
                    artifact.verify(inputs["checkpoint"])
                counts = _tune(config, inputs, output_dir, ranks)
                if stage is not None:
                    stage.finish(counts=counts)
                    _report(config, counts)
        ranks.from_first(None)
        return artifact.load(output_dir, kind="finetune")


def _tune(config: FinetuneConfig, inputs: Mapping[str, Path], output_dir: Path, ranks: Ranks) -> dict[str, object]:
    where = device.pick(config.num_threads)
    source = inputs["checkpoint"]
    model = Model.from_pretrained(source, device=str(where), dtype=torch.float32)
    tokenizer = Tokenizer.from_file(source)
    template = choose(config.template or load_template(source), tokenizer.special_tokens)
    check_tokenizer(tokenizer.vocab_size, tokenizer.special_tokens, model)
    chat = Chat(tokenizer, template)
    tokenizer_dir = write_tokenizer(output_dir / _TOKENIZER, source, chat, model, ranks)
    max_seq_len = min(config.max_seq_len or model.config.max_seq_len, model.config.max_seq_len)
    lora = None
    if config.lora_rank is not None:
        lora = inject(
            model, rank=config.lora_rank, alpha=config.lora_alpha, targets=config.lora_targets, seed=config.seed
        )
    rows = read(inputs["data"], format=config.format, strict=config.strict)
    heldout_rows = None
    if "heldout_data" in inputs:
        heldout_rows = read(inputs["heldout_data"], format=config.format, strict=config.strict)
        heldout_rows = Rows(heldout_rows.examples[: config.max_heldout], heldout_rows.format, heldout_rows.skipped)
    say_format(inputs["data"], rows)
    samples = Samples(output_dir, model, lora, chat, tokenizer, heldout_rows, config)
    general = General(inputs["tokens"], tokenizer, config, max_seq_len=max_seq_len) if "tokens" in inputs else None

    questions = Questions.read(config.questions, tokenizer, max_seq_len)

    def watch(step: int) -> Figures:
        found: Figures = {**questions.measure(model)}
        if ranks.world_size > 1 and lora is None:
            if samples and (alone := distributed.plain(model, ranks)) is not None:
                found |= samples(step, alone)
        elif ranks.first:
            said = samples(step)
            if config.method != "sft" and said:
                said |= (
                    sampled_kl(samples, model, source, config, max_seq_len=max_seq_len) if step else {"sampled_kl": 0.0}
                )
            found |= said
        return found if general is None else found | general.measure(model, ranks)

    if config.method == "sft":
        data = _conversations(chat, rows, tokenizer, max_seq_len, config)
        heldout = None if heldout_rows is None else _conversations(chat, heldout_rows, tokenizer, max_seq_len, config)
        figures = sft.train(
            output_dir, model, data, heldout, config, max_seq_len=max_seq_len, tokenizer_dir=tokenizer_dir,
            trained=lora, watch=watch, ranks=ranks,
        )  # fmt: skip
        prepared, units = data, len(data)
    else:
        answers = _answers(chat, rows, tokenizer, max_seq_len, config)
        heldout_answers = None if heldout_rows is None else _answers(chat, heldout_rows, tokenizer, max_seq_len, config)
        figures = preference.train(
            output_dir, model, answers, heldout_answers, config, max_seq_len=max_seq_len, tokenizer_dir=tokenizer_dir,
            model_digest=artifact.describe(source).digest, trained=lora, watch=watch, ranks=ranks,
        )  # fmt: skip
        prepared, units = answers.prepared, len(answers.units)
    skipped = [*rows.skipped, *prepared.skipped]
    if skipped and ranks.first:
        lines = (json.dumps({"where": entry.where, "why": entry.why}, ensure_ascii=False) for entry in skipped)
        write_atomic(output_dir / "skipped.jsonl", "\n".join(lines) + "\n")
    final = gathered(model, ranks) if lora is None else lora
    if ranks.first:
        checkpoint.write_final(output_dir, final, tokenizer_dir=tokenizer_dir)
    return {
        "format": rows.format,
        "rows": units,
        "rows_skipped": len(skipped),
        "skipped_for": dict(Counter(entry.kind for entry in skipped).most_common(_REASONS)),
        "tokens": len(prepared.ids),
        "target_tokens": int(prepared.loss_mask.sum()),
        **figures,
    }


def check_tokenizer(vocab_size: int, special_tokens: Mapping[str, int], model: Model) -> None:
    """Refuses a tokenizer that does not belong to the model.

    Raises:
        InputError: it has ids that the model has no embedding for; names one.
    """
    rows = model.config.vocab_size or 0
    if vocab_size > rows:
        raise InputError(
            f"the tokenizer does not match the checkpoint: it has {vocab_size} tokens, the model embeds "
            f"{rows}; put the tokenizer.json that "
            "the model was trained with into the checkpoint's directory"
        )
    for token, number in special_tokens.items():
        if number >= rows:
            raise InputError(
                f"the tokenizer does not match the checkpoint: its special token {token!r} is {number}, the "
                f"model embeds {rows}"
            )


def write_tokenizer(path: Path, source: Path, chat: Chat, model: Model, ranks: Ranks = ALONE) -> Path:
    """Writes the tokenizer's files of a tuned checkpoint, for transformers' `apply_chat_template` too; returns `path`.

    The end-of-turn token becomes the model's first end of generation, in `model.config` too. A token made for padding
    becomes the pad token. The first rank writes.

    Raises:
        InputError: the checkpoint pads with the end-of-turn token.
    """
    existing = source / "tokenizer_config.json"
    try:
        settings = json.loads(existing.read_bytes()) if existing.is_file() else {}
    except ValueError as error:
        raise FormatError(f"{existing} is not JSON: {error}") from error
    pad = next((token for token in _PAD_TOKENS if token in chat.special_tokens), None)
    pad_id = model.config.pad_token_id if pad is None else chat.special_tokens[pad]
    if pad_id == chat.end_id:
        raise InputError(
            f"the checkpoint pads with the end-of-turn token {chat.end_token!r} (pad_token_id {pad_id}): "
            "tools that mask padding would mask "
            "every end of turn; set pad_token_id in its config.json to another token, or to null"
        )
    ends = (chat.end_id, *(number for number in model.config.eos_token_ids if number != chat.end_id))
    model.config = model.config.model_copy(update={"eos_token_ids": ends, "pad_token_id": pad_id})
    settings.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    settings |= {
        "chat_template": chat.template.jinja,
        "eos_token": chat.end_token,
        "clean_up_tokenization_spaces": False,
    }
    if chat.template.bos_token:
        settings["bos_token"] = chat.template.bos_token
    if pad is not None:
        settings["pad_token"] = pad
    elif settings.get("pad_token") == chat.end_token:
        del settings["pad_token"]
    if ranks.first:
        path.mkdir(exist_ok=True)
        shutil.copyfile(source / "tokenizer.json", path / "tokenizer.json")
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        (path / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return path


def _conversations(
    chat: Chat, rows: Rows, tokenizer: ChatTokenizer, max_seq_len: int, config: FinetuneConfig
) -> Prepared:
    examples = [example for example in rows.examples if isinstance(example, Conversation)]
    if len(examples) < len(rows.examples):
        raise InputError(
            f"method sft learns conversations; the data is in the format {rows.format!r} (for preferences set "
            "method to dpo, say)"
        )
    return prepare_with(chat, examples, tokenizer, max_seq_len=max_seq_len, strict=config.strict)


def _answers(chat: Chat, rows: Rows, tokenizer: ChatTokenizer, max_seq_len: int, config: FinetuneConfig) -> Answers:
    """Returns the judged answers; a pair of which one side cannot be used is left out whole."""
    labelled = [example for example in rows.examples if isinstance(example, Labelled)]
    judged = [example for example in rows.examples if isinstance(example, Pair | Ranking)]
    pairs = [pair for example in judged for pair in ([example] if isinstance(example, Pair) else example.pairs())]
    allowed = len(labelled) + len(judged) if config.method == "kto" else len(judged)
    if allowed < len(rows.examples):
        kind = "preference pairs or labelled answers" if config.method == "kto" else "preference pairs"
        raise InputError(
            f"method {config.method} learns {kind}; the data is in the format {rows.format!r} (for "
            "conversations set method to sft)"
        )
    sides = [side for pair in pairs for side in pair.sides()] or [example.conversation for example in labelled]
    good = np.array(
        [place % 2 == 0 for place in range(len(sides))] if pairs else [example.label for example in labelled]
    )
    prepared = prepare_with(chat, sides, tokenizer, max_seq_len=max_seq_len, strict=config.strict)
    if config.method == "kto":
        units = np.arange(len(prepared), dtype=np.int64)[:, None]
    else:
        number = {int(row): place for place, row in enumerate(prepared.rows)}
        both = [
            (number[row], number[row + 1]) for row in range(0, len(sides), 2) if row in number and row + 1 in number
        ]
        units = np.array(both, dtype=np.int64).reshape(-1, 2)
        if not len(units):
            raise InputError(f"no pair has two answers that can be trained on: {reasons(prepared.skipped)}")
    return Answers(prepared, units, good[prepared.rows])


def say_format(path: Path, rows: Rows) -> None:
    """Prints what a file was taken for, and the rows that were left out, the first few by name."""
    progress.say(f"      {path}: {len(rows.examples):,} rows in the format {rows.format}")
    for entry in rows.skipped[:_NAMED]:
        progress.say(f"      left out: {entry.where}: {entry.why}")
    if len(rows.skipped) > _NAMED:
        progress.say(f"      left out: {len(rows.skipped) - _NAMED:,} more, see skipped.jsonl")


def _report(config: FinetuneConfig, counts: Mapping[str, object]) -> None:
    progress.say(
        f"      {config.method}: {counts['steps']} steps over {counts['rows']:,} rows ({counts['format']}), "
        f"{counts['target_tokens']:,} of {counts['tokens']:,} tokens learnt, {counts['rows_skipped']} rows left out"
    )
    for name in _BEFORE_AND_AFTER:
        before, after = counts.get(f"{name}_before"), counts.get(f"{name}_after")
        if isinstance(before, float) and isinstance(after, float):
            progress.say(f"      {name}: {before:.4f} -> {after:.4f}")
