"""Log-probabilities of given tokens, as clients read them: for evaluation harnesses and for curious people.

They are those of the model itself, at temperature 1 and without truncation, whatever the answer was sampled with.

Shapes: S scored tokens, K likeliest alternatives, V vocab.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from gristlm.model import Model

AT_ONCE = 256
"""Positions whose log-probabilities over the vocabulary are held at once."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One token in its place. `logprob` is None for the first token of a text, which nothing comes before."""

    token: int
    logprob: float | None
    likeliest: Sequence[tuple[int, float]]


@torch.no_grad()
def score(model: Model, tokens: Sequence[int], first: int, num_likeliest: int) -> list[Score]:
    """Returns the scores of `tokens[first:]`, each given all before it, with the `num_likeliest` tokens there."""
    scores = [Score(tokens[0], None, ())] if first == 0 else []
    start = max(first, 1)
    if start >= len(tokens):
        return scores
    inputs = torch.tensor([tokens[:-1]], device=model.device)
    x_SD = model.hidden_states(inputs)[0, start - 1 :]
    targets_S = torch.tensor(tokens[start:], device=model.device)
    for x, targets in zip(torch.split(x_SD, AT_ONCE), torch.split(targets_S, AT_ONCE), strict=True):
        logprobs_SV = model.logits(x).float().log_softmax(-1)
        chosen_S = logprobs_SV.gather(1, targets[:, None]).squeeze(1)
        likeliest = logprobs_SV.topk(min(num_likeliest, logprobs_SV.shape[1]), -1)
        for token, logprob, values, ids in zip(
            targets.tolist(), chosen_S.tolist(), likeliest.values.tolist(), likeliest.indices.tolist(), strict=True
        ):
            scores.append(Score(token, logprob, tuple(zip(ids, values, strict=True))))
    return scores


def for_completion(scores: Sequence[Score], name: Callable[[int], str], offset: int = 0) -> dict[str, object]:
    """Returns the `logprobs` of a /v1/completions choice; `name` gives a token's text, `offset` is where they begin."""
    texts = [name(score.token) for score in scores]
    offsets = [offset]
    for text in texts[:-1]:
        offsets.append(offsets[-1] + len(text))
    return {
        "tokens": texts,
        "token_logprobs": [score.logprob for score in scores],
        "top_logprobs": [
            None if score.logprob is None else {name(token): value for token, value in score.likeliest}
            for score in scores
        ],
        "text_offset": offsets[: len(texts)],
    }


def for_chat(
    scores: Sequence[Score], name: Callable[[int], str], to_bytes: Callable[[int], bytes]
) -> dict[str, object]:
    """Returns the `logprobs` of a /v1/chat/completions choice."""

    def entry(token: int, logprob: float | None) -> dict[str, object]:
        return {"token": name(token), "logprob": logprob, "bytes": list(to_bytes(token))}

    return {
        "content": [
            {**entry(score.token, score.logprob), "top_logprobs": [entry(*pair) for pair in score.likeliest]}
            for score in scores
        ],
        "refusal": None,
    }
