"""Several processes on one model: joined by torchrun, sharded by FSDP2 (`fully_shard`) and, if asked, by tensor.

There is no launcher here: `torchrun --nproc-per-node 8 -m gristlm pretrain …` starts the processes and this file finds
them. One process is the case without any of it. What is written to disk can be read by any number of
them, so a run may go on with another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from gristlm.errors import ConfigError, GristlmError
from gristlm.model import Model

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Ranks:
    """Which process of how many this is."""

    rank: int = 0
    world_size: int = 1
    tensor_parallel: int = 1
    """Neighbouring ranks that share each matrix, and so the same rows of a batch."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    @property
    def tensor_rank(self) -> int:
        """This rank's place among those that share its matrices."""
        return self.rank % self.tensor_parallel

    @property
    def data_rank(self) -> int:
        """Which share of a batch is this rank's."""
        return self.rank // self.tensor_parallel

    @property
    def data_size(self) -> int:
        """The shares of a batch."""
        return self.world_size // self.tensor_parallel

    def rows(self, global_batch_size: int) -> int:
        """Returns the rows of a global batch that each rank computes.

        Raises:
            ConfigError: the ranks cannot share them evenly.
        """
        if global_batch_size % self.data_size:
            raise ConfigError(
                f"global_batch_size is {global_batch_size}, which {self.data_size} processes cannot share evenly; "
                "give a multiple"
            )
        return global_batch_size // self.data_size

    def sum(self, *values: float) -> list[float]:
        """Returns each number summed over the shares of a batch, in float64; every rank must call it."""
        if self.world_size == 1:
            return list(values)
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else "cpu"
        total = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        return [float(value) / self.tensor_parallel for value in total]

    def from_first(self, value: T) -> T:
        """Returns what the first rank gave; every rank must call it, so it also waits for all."""
        if self.world_size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]

    def by_first(self, make: Callable[[], T]) -> T:
        """Returns what the first rank makes; its error is raised on every rank, so that none waits for ever."""
        if self.world_size == 1:
            return make()
        made: tuple[T | None, GristlmError | None] = (None, None)
        if self.first:
            try:
                made = (make(), None)
            except GristlmError as error:
                made = (None, error)
        value, error_there = self.from_first(made)
        if error_there is not None:
            raise error_there
        return cast("T", value)

    def part(self, count: int) -> slice:
        """Returns this rank's share of `count` things in a row: contiguous, and as even as can be."""
        return slice(count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size)

    def gathered(self, values: list[T]) -> list[T]:
        """Returns the values of all ranks, the first rank's first; every rank must call it."""
        if self.world_size == 1:
            return values
        parts: list[list[T]] = [[] for _ in range(self.world_size)]
        torch.distributed.all_gather_object(parts, values)
        return [value for part in parts for value in part]


ALONE = Ranks()
"""The only process."""


@contextlib.contextmanager
def joined(tensor_parallel: int = 1) -> Iterator[Ranks]:
    """Yields this process's place among those that torchrun started, connected for as long as the context lasts.

    A process group that is there already is used and left alone.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ALONE
        return
    mine = not torch.distributed.is_initialized()
    if mine:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size(), tensor_parallel)
    if mine:  # not after an error: the others may be waiting in the middle of a step, and torchrun ends them
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
        # A sharded model's cycles hold the group, whose threads abort the process if they let a tensor go while Python
        # shuts down.
        gc.collect()


def shard(model: Model, ranks: Ranks, *heads: nn.Module) -> None:
    """Spreads the weights, gradients and optimizer state of `model` over the ranks (FSDP2), block by block.

    With `ranks.tensor_parallel` the matrices are cut first (`tensor_parallel.parallelize`), and only ranks with the
    same parts spread them. `heads` are modules outside it that are called on what it returns; they are spread too.
    """
    if ranks.world_size == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    # Nothing here changes in place what a sharded module returns, which is what this warns of.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
    if ranks.tensor_parallel == 1:
        mesh = init_device_mesh(model.device.type, (ranks.world_size,))
    else:
        from gristlm.training.tensor_parallel import parallelize

        shape = (ranks.data_size, ranks.tensor_parallel)
        both = init_device_mesh(model.device.type, shape, mesh_dim_names=("data", "tensor"))
        parallelize(model, both["tensor"])
        mesh = both["data"]
    for block in model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    for head in heads:
        fully_shard(head, mesh=mesh)
    for method in ("loss", "hidden_states", "token_logprobs"):
        register_fsdp_forward_method(model, method)


def average_gradients(parameters: Iterable[Tensor], ranks: Ranks) -> None:
    """Makes every gradient the mean over the ranks, where each of them holds the whole of `parameters`."""
    if ranks.world_size == 1:
        return
    for parameter in parameters:
        assert parameter.grad is not None, "every rank computes at least one micro-batch"
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= ranks.world_size


def whole(tensor: Tensor) -> Tensor:
    """Returns all of a tensor of which each rank may hold a part; every rank must call it."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def plain(model: Model, ranks: Ranks) -> Model | None:
    """Returns the model with all its weights on the first rank, None on the others, which only give their parts."""
    if ranks.world_size == 1:
        return model
    tensors = {}
    for name, tensor in model.state_dict().items():
        full = whole(tensor)
        if ranks.first:
            tensors[name] = full
    if not ranks.first:
        return None
    with torch.device("meta"):
        alone = Model(model.config)
    alone.load_state_dict(tensors, assign=True)
    alone.tokenizer_dir = model.tokenizer_dir
    return alone


def gather_into(target: nn.Module, source: nn.Module) -> None:
    """Fills `target`, whole on each rank, with the weights of `source`, of which each has a part; all must call it."""
    with torch.no_grad():
        for own, other in zip(target.parameters(), source.parameters(), strict=True):
            own.copy_(whole(other))


def sharded_like(tensor: Tensor, parameter: Tensor | nn.Parameter) -> Tensor:
    """Returns a whole tensor spread over the ranks as `parameter` is."""
    if not hasattr(parameter, "placements"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)
