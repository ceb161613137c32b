"""A reward model: a checkpoint's network with one number read off the last token of a conversation.

On disk it is a checkpoint directory (transformers loads its network) with `value_head.safetensors` beside it. An
ensemble has `ensemble.json` and its further members in `member-2/`, `member-3/`, …

Shapes: N conversations, S positions of all of them, D model width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from gristlm.errors import DamagedArtifactError, InputError, MissingArtifactError
from gristlm.model import Model
from gristlm.model.shared_prompt import Layout, lay_out
from gristlm.runs.files import write_json
from gristlm.tokenize import Tokenizer
from gristlm.training.chat_prompt import ChatTemplate, encode_conversation, load_template

VALUE_HEAD = "value_head.safetensors"
ENSEMBLE = "ensemble.json"
_SCORE_BATCH = 32
_Float = TypeVar("_Float", np.float32, np.float64)


class RewardModel(nn.Module):
    """Scores how good a conversation's last answer is; only differences between answers to one prompt mean anything."""

    def __init__(self, trunk: Model, tokenizer: Tokenizer, template: ChatTemplate | None) -> None:
        """Puts a new value head, all zeros, on `trunk`; `from_checkpoint` and `from_pretrained` are easier."""
        super().__init__()
        self.trunk = trunk
        self.value_head = nn.Linear(trunk.config.d_model, 1, device=next(trunk.parameters()).device)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.tokenizer = tokenizer
        self.template = template
        self.config = trunk.config
        self.pessimism = 0.0
        self._members: list[RewardModel] = []

    def join(self, members: Sequence[RewardModel], pessimism: float = 0.0) -> None:
        """Makes this the first of an ensemble: `score` is the mean of all, less `pessimism` standard deviations."""
        self._members, self.pessimism = list(members), pessimism

    @property
    def members(self) -> list[RewardModel]:
        """The models of the ensemble, this one first; itself alone where there is none."""
        return [self, *self._members]

    @classmethod
    def from_checkpoint(cls, path: Path, *, device: torch.device | str = "cpu") -> Self:
        """Returns an untrained reward model (every score is 0) on the network of a checkpoint directory."""
        path = Path(path)
        return cls(Model.from_pretrained(path, device=device), Tokenizer.from_file(path), load_template(path))

    @classmethod
    def from_pretrained(cls, path: Path | str, *, device: torch.device | str = "cpu") -> Self:
        """Returns the reward model in a directory that `save_pretrained` or `train_reward` wrote.

        Raises:
            MissingArtifactError: the directory holds no value head (it is a plain checkpoint, or a stage's directory
                instead of its `final/`).
            DamagedArtifactError: the value head does not fit the network.
        """
        path = Path(path)
        file = path / VALUE_HEAD
        if not file.is_file():
            raise MissingArtifactError(
                f"{path} is no reward model: it has no {VALUE_HEAD}; give the final/ of a reward stage"
            )
        model = cls.from_checkpoint(path, device=device)
        model._load_head(file)
        if (path / ENSEMBLE).is_file():
            model._load_members(path, device)
        return model.eval()

    def _load_head(self, file: Path) -> None:
        try:
            self.value_head.load_state_dict(load_file(file))
        except (RuntimeError, SafetensorError, FileNotFoundError) as error:
            raise DamagedArtifactError(f"{file} does not fit the network beside it: {error}") from error

    def _load_members(self, path: Path, device: torch.device | str) -> None:
        try:
            body = json.loads((path / ENSEMBLE).read_bytes())
            count, pessimism = int(body["members"]), float(body["pessimism"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedArtifactError(f"{path / ENSEMBLE} is damaged: {error!r}") from error
        members = []
        for number in range(2, count + 1):
            folder = path / f"member-{number}"
            member = type(self)(Model.from_pretrained(folder, device=device), self.tokenizer, self.template)
            member._load_head(folder / VALUE_HEAD)
            members.append(member.eval())
        self.join(members, pessimism)

    def save_pretrained(self, path: Path) -> None:
        """Writes the network and the value head under directory `path` (the tokenizer is the caller's to copy)."""
        self.trunk.save_pretrained(path)
        save_file(
            {name: tensor.detach().contiguous().cpu() for name, tensor in self.value_head.state_dict().items()},
            path / VALUE_HEAD,
        )
        for number, member in enumerate(self._members, 2):
            folder = path / f"member-{number}"
            folder.mkdir(exist_ok=True)
            member.save_pretrained(folder)
        if self._members:
            write_json(path / ENSEMBLE, {"members": len(self.members), "pessimism": self.pessimism})

    def forward(self, layout: Layout) -> torch.Tensor:
        """Returns the rewards, float32 [N], read at the last token of each of the conversations laid out."""
        last_N = torch.tensor([int(flat[-1]) for flat in layout.flats], device=layout.input_ids.device)
        rewards_N: torch.Tensor = self.value_head(self._hidden(layout)[0].index_select(0, last_N)).squeeze(-1).float()
        return rewards_N

    def values(self, layout: Layout) -> torch.Tensor:
        """Returns the head's number at every position, float32 [1, S]: an estimate of value, in PPO's critic."""
        values_1S: torch.Tensor = self.value_head(self._hidden(layout)).squeeze(-1).float()
        return values_1S

    def _hidden(self, layout: Layout) -> torch.Tensor:
        return self.trunk.hidden_states(layout.input_ids, position_ids=layout.position_ids, attend=layout.attend)

    def encode(self, conversation: Sequence[Mapping[str, str]]) -> list[int]:
        """Returns the ids of a conversation, rendered as the chat template says."""
        return encode_conversation(self.tokenizer, conversation, self.template)

    def reward(self, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        """Returns the rewards of encoded conversations, float32 [N], with gradient."""
        device = self.value_head.weight.device
        layout = lay_out(sequences, [len(ids) for ids in sequences], config=self.config, device=device)
        rewards: torch.Tensor = self(layout)
        return rewards

    @torch.no_grad()
    def score(
        self, prompts: Sequence[str | Sequence[Mapping[str, str]]], responses: Sequence[str]
    ) -> NDArray[np.float32]:
        """Returns the reward of each response to its prompt, float32[N].

        Args:
            prompts: each a list of messages, or the text of one user message.
            responses: the assistant's answers.

        A conversation longer than the network's context loses its beginning.

        Raises:
            InputError: there are not as many prompts as responses.
        """
        if len(prompts) != len(responses):
            raise InputError(
                f"score needs a prompt for each response; given {len(prompts)} prompts and {len(responses)} responses"
            )
        limit = self.config.max_seq_len
        return self.score_ids(
            [
                self.encode([*_as_messages(prompt), {"role": "assistant", "content": response}])[-limit:]
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        )

    @torch.no_grad()
    def score_ids(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Returns the reward of each encoded conversation, float32[N]; of an ensemble the mean, less its pessimism."""
        return self.combined(self.score_members(sequences))

    def combined(self, scores_KN: NDArray[_Float]) -> NDArray[_Float]:
        """Returns the ensemble's reward from its members', shape [N]."""
        mean: NDArray[_Float] = scores_KN.mean(axis=0)
        if len(scores_KN) > 1:
            mean -= scores_KN.dtype.type(self.pessimism) * scores_KN.std(axis=0)
        return mean

    def score_members(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Returns what each member gives each encoded conversation, float32 [K, N]."""
        return np.stack([member._score_alone(sequences) for member in self.members])

    @torch.no_grad()
    def _score_alone(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Returns this network's rewards, float32[N]; conversations that begin alike are computed together."""
        scores = np.empty(len(sequences), dtype=np.float32)
        alike = sorted(range(len(sequences)), key=lambda i: list(sequences[i]))
        for start in range(0, len(alike), _SCORE_BATCH):
            chosen = alike[start : start + _SCORE_BATCH]
            scores[chosen] = self.reward([sequences[i] for i in chosen]).cpu().numpy()
        return scores


def _as_messages(prompt: str | Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
