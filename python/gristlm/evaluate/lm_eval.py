"""Our checkpoints under EleutherAI's lm-evaluation-harness (the package `lm_eval`, extra `lm-eval`).

    python -m gristlm.evaluate.lm_eval --model gristlm --model_args pretrained=runs/demo --tasks hellaswag,gsm8k

is the harness's own command line with one more model; `lm_eval.simple_evaluate(model=GristlmLM("runs/demo"), …)` works
too. The harness (0.4.13) has no entry points for models of other packages, so ours is registered by running this.

It asks three things. Where a text is cut into context and continuation is the harness's rule: white space at the
context's end belongs to the continuation, both are encoded as one text, and the continuation is what follows as many
tokens as the context alone has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from gristlm.errors import ConfigError, InputError, missing_extra
from gristlm.evaluate.checkpoint import Checkpoint, load
from gristlm.evaluate.scoring import Continuation, fit, score, windows
from gristlm.training import device as devices

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError:
    raise missing_extra("lm_eval", "lm-eval") from None

MAX_NEW_TOKENS = 256
"""What the harness's other models generate at most where a task does not say."""


class Instance(Protocol):
    """A question of the harness; the arguments depend on what is asked."""

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments."""


if TYPE_CHECKING:

    class _Base:
        """What the harness's class is, as far as this needs it."""

        cache_hook: Any

else:
    _Base = LM


@register_model("gristlm")
class GristlmLM(_Base):
    """A checkpoint, or a run's latest, as the harness sees a model."""

    def __init__(
        self,
        pretrained: str | Path,
        *,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        max_gen_toks: int = MAX_NEW_TOKENS,
        batch_tokens: int = 8_192,
        num_threads: int | None = None,
        seed: int = 0,
    ) -> None:
        """Loads the checkpoint.

        Args:
            pretrained: a checkpoint directory or a run.
            batch_size: rows generated at once; None or "auto" is all of them (rows join and leave as they end).
            max_batch_size: accepted from the harness, which always gives it.
            device: "cpu" or "cuda…"; None is CUDA where there is one.
            max_gen_toks: longest answer where a task does not say (tokens).
            batch_tokens: of a forward pass when text is scored, padding included (tokens).
            num_threads: of the CPU; None is all cores.
            seed: of answers at a temperature above 0; each has its own from its place.

        Raises:
            ConfigError: a batch size that is none.
            MissingArtifactError, DamagedArtifactError: there is no checkpoint, or not a whole one.
        """
        super().__init__()
        del max_batch_size
        rows = None if batch_size in (None, "auto") else str(batch_size)
        if rows is not None and (not rows.isdigit() or int(rows) < 1):
            raise ConfigError(f"batch_size is {batch_size!r}; allowed: a number of at least 1, or 'auto'")
        self._rows = None if rows is None else int(rows)
        picked = devices.pick(int(num_threads) if num_threads is not None else None)
        self._where = torch.device(device) if device else picked
        self._checkpoint: Checkpoint = load(Path(pretrained), self._where)
        self._name = str(pretrained)
        self._max_gen_toks, self._batch_tokens, self._seed = int(max_gen_toks), int(batch_tokens), int(seed)

    @property
    def eot_token_id(self) -> int:
        """The token that begins and ends documents."""
        return self._checkpoint.document_start

    @property
    def max_length(self) -> int:
        """The context (tokens)."""
        return self._checkpoint.max_seq_len

    @property
    def tokenizer_name(self) -> str:
        """What the harness's caches of prompts are kept under."""
        return self._name.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Returns the template that `apply_chat_template` follows, for the harness's records."""
        del chat_template
        template = self._checkpoint.template
        return "chatml" if template is None else template.jinja

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Returns messages as text, up to where an answer begins.

        Raises:
            InputError: the checkpoint cannot chat, or an answer is to be gone on with, which it does not do.
        """
        if not self._checkpoint.can_chat:
            raise InputError(
                f"{self._name} has neither a chat template nor ChatML's tokens; leave --apply_chat_template out"
            )
        if not add_generation_prompt:
            raise InputError(
                "a conversation that ends in the middle of an answer cannot be rendered; leave the prefix out"
            )
        return self._checkpoint.tokenizer.decode(self._checkpoint.prompt(chat_history))

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Returns log p(continuation | context) in nats, and whether each of its tokens is the likeliest.

        A pair too long for the context loses its beginning.
        """
        del disable_tqdm
        rows = [fit(*self._split(*request.args), self.max_length) for request in requests]
        found = score(self._checkpoint.model, rows, batch_tokens=self._batch_tokens, device=self._where)
        greedy = self._greedy(rows)
        answers = [(float(values.sum()), likeliest) for values, likeliest in zip(found, greedy, strict=True)]
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Returns log p(text) in nats: every token once, with as much before it as the context holds.

        After the first window each token beyond moves the window on by half the context.
        """
        del disable_tqdm
        rows: list[Continuation] = []
        owners: list[int] = []
        for place, request in enumerate(requests):
            ids = [self.eot_token_id, *self._encode(request.args[0])]
            if len(ids) > 1:
                mine = windows(ids, max_seq_len=self.max_length, stride=max(1, self.max_length // 2))
                rows += mine
                owners += [place] * len(mine)
        totals = [0.0] * len(requests)
        found = score(self._checkpoint.model, rows, batch_tokens=self._batch_tokens, device=self._where)
        for place, values in zip(owners, found, strict=True):
            totals[place] += float(values.sum())
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Returns what follows each context, up to the first of its `until` strings or the model's own end.

        Read of the settings: `until`, `max_gen_toks` (or `max_tokens`, `max_new_tokens`), `do_sample`, `temperature`,
        `top_k`, `top_p`, `min_p`.

        Raises:
            InputError: a setting has another type, or is unknown.
        """
        del disable_tqdm
        alike: dict[str, list[int]] = {}
        settings = [_settings(request.args[1], self._max_gen_toks) for request in requests]
        for place, one in enumerate(settings):
            alike.setdefault(repr(sorted(one.items())), []).append(place)
        answers = [""] * len(requests)
        for places in alike.values():
            size = self._rows or len(places)
            for begin in range(0, len(places), size):
                part = places[begin : begin + size]
                texts = self._generated([requests[i].args[0] for i in part], settings[part[0]], part)
                for place, text in zip(part, texts, strict=True):
                    answers[place] = text
                    self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return answers

    def _generated(self, contexts: Sequence[str], settings: Mapping[str, Any], places: Sequence[int]) -> list[str]:
        until, how = settings["until"], {name: value for name, value in settings.items() if name != "until"}
        longest = min(how.pop("max_new_tokens"), max(1, self.max_length // 2))
        room = self.max_length - longest
        prompts = [(self._encode(text) or [self.eot_token_id])[-room:] for text in contexts]
        checkpoint = self._checkpoint
        with torch.inference_mode():
            groups = checkpoint.model.generate(
                prompts,
                max_new_tokens=longest,
                stop=sorted(checkpoint.stops),
                seed=[self._seed + place for place in places],
                **how,
            )
        texts = []
        for group in groups:
            tokens = list(group[0].tokens)
            end = next((place for place, token in enumerate(tokens) if token in checkpoint.stops), len(tokens))
            text = checkpoint.tokenizer.decode(tokens[:end])
            texts.append(text[: min((found for stop in until if (found := text.find(stop)) >= 0), default=len(text))])
        return texts

    def _encode(self, text: str) -> list[int]:
        """Returns ids; the names of special tokens are those tokens, as chat templates write them."""
        return self._checkpoint.tokenizer.encode(text, allowed_special="all")

    def _split(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Returns the ids of the context and of the continuation; neither is empty unless the continuation is."""
        kept = context.rstrip()
        before = self._encode(kept)
        whole = self._encode(context + continuation)
        if not before:
            return [self.eot_token_id], whole
        return whole[: len(before)], whole[len(before) :]

    @torch.inference_mode()
    def _greedy(self, rows: Sequence[Continuation]) -> list[bool]:
        """Returns whether the continuation's tokens are the likeliest, each given those before it."""
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i].ids), i))
        verdicts = [True] * len(rows)
        vocab_size = self._checkpoint.model.config.vocab_size or 1
        while order:
            width = max(1, len(rows[order[0]].ids) - 1)
            # whole logits are held here, so a batch is of so many that they take 64 MB at most
            size = max(1, min(self._batch_tokens, (1 << 24) // vocab_size) // width)
            part, order = order[:size], order[size:]
            ids_BT = torch.zeros((len(part), width), dtype=torch.int64)
            for row, i in zip(ids_BT, part, strict=True):
                given = list(rows[i].ids[:-1])
                row[: len(given)] = torch.tensor(given, dtype=torch.int64)
            best_BT = self._checkpoint.model(ids_BT.to(self._where)).argmax(dim=-1).cpu()
            for row, i in zip(best_BT, part, strict=True):
                wanted = rows[i].ids[rows[i].start :]
                verdicts[i] = row[rows[i].start - 1 : len(rows[i].ids) - 1].tolist() == list(wanted)
        return verdicts


def _settings(given: Mapping[str, object], longest: int) -> dict[str, Any]:
    """Returns a task's generation settings under our names."""
    rest = dict(given)
    until = rest.pop("until", None)
    stops = [until] if isinstance(until, str) else until if until is not None else []
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise InputError(f"'until' must be a text or a list of texts; given {until!r}")
    for name in ("max_gen_toks", "max_tokens", "max_new_tokens", "max_completion_tokens"):
        longest = int(str(rest.pop(name, longest)))
    sample = rest.pop("do_sample", None)
    temperature = float(str(rest.pop("temperature", 1.0 if sample else 0.0)))
    found: dict[str, Any] = {
        "until": [stop for stop in stops if stop],
        "max_new_tokens": longest,
        "temperature": 0.0 if sample is False else temperature,
    }
    for name in ("top_k", "top_p", "min_p"):
        if name in rest:
            found[name] = rest.pop(name)
    if rest:
        raise InputError(
            f"generation settings {', '.join(map(repr, rest))} are not known; allowed: until, max_gen_toks, do_sample, "
            "temperature, top_k, top_p, min_p"
        )
    return found


def main() -> None:
    """Runs the harness's command line, with our model in it."""
    import lm_eval.models  # noqa: F401 - so that its own models are there too
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
