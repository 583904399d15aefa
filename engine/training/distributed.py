"""Several processes that train one network: who they are, how they add up and how they agree.

There are two ways between them. Tensors of the devices are added on the devices (NCCL on GPUs, gloo on the
CPU), in the stream's order, so that no host waits. What the hosts must agree on (another step, a pause, the
end) goes from host to host over gloo, while the devices compute. A rank that dies closes its connections:
the others meet ``RankLost`` at their next word, and end.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from ..cores import core_count
from ..runs.liveness import Writer
from .launch import check_devices

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""What one rank may take alone (reading the data, scoring) while the others wait."""
_FAILURE = "yolotui/failure"
_LOOK_SECONDS = 2.0


class RankLost(RuntimeError):
    """Another process of this training is gone, or does not answer."""


class Group:
    """The processes of one training. Of one (the default), every method answers at once."""

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.local_rank, self.local_size = local_rank, local_size
        """Among those on this machine."""
        self.device = ""
        """Of this rank, as ``train.device`` names one; empty: as the config says."""
        self.own: dist.ProcessGroup | None = None
        """Of this rank alone, for what would meet the others else."""
        self._store: Store | None = None
        self._hosts: dist.ProcessGroup | None = None
        self._members: list[Writer] = []
        self._lost = ""

    @property
    def leads(self) -> bool:
        """Whether this rank decides, writes the run and speaks."""
        return self.rank == 0

    # on the devices

    def sum(self, tensor: Tensor) -> Callable[[], None]:
        """Begin to add ``tensor`` over all ranks, in place; call what is returned before it is used. On a GPU
        the stream waits there, not the host. Raises ``RankLost``, both."""
        if self.size == 1:
            return _nothing
        with self._listening():
            work = dist.all_reduce(tensor, async_op=True)

        def wait() -> None:
            with self._listening():
                work.wait()

        return wait

    # from host to host

    def exchange(self, values: Sequence[float]) -> list[float]:
        """A few numbers, added over all ranks."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64)
        with self._listening():
            dist.all_reduce(summed, group=self._hosts)
        return summed.tolist()

    def tell(self, value: T | None = None) -> T:
        """The leader's value, at every rank."""
        if self.size == 1:
            return value  # type: ignore[return-value]
        box: list[Any] = [value if self.leads else None]
        with self._listening():
            dist.broadcast_object_list(box, 0, group=self._hosts)
        return box[0]  # type: ignore[no-any-return]

    def collect(self, value: T) -> list[T]:
        """Every rank's value, at every rank, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._listening():
            dist.all_gather_object(values, value, group=self._hosts)
        return values

    def equalize(self, model: nn.Module) -> None:
        """The leader's weights and buffers, in every rank's model (on the CPU)."""
        if self.size > 1:
            with torch.no_grad(), self._listening():
                for tensor in model.state_dict().values():
                    whole = tensor.contiguous()
                    dist.broadcast(whole, 0, group=self._hosts)
                    tensor.copy_(whole)

    # ends

    def fail(self, why: str) -> None:
        """Leave word for the others why this rank goes; never raises."""
        if self._store is not None:
            try:
                self._store.set(_FAILURE, f"rank {self.rank}: {why}")
            except RuntimeError:  # whoever kept the words is gone too
                return

    def close(self) -> None:
        if self._store is not None and dist.is_initialized():
            dist.destroy_process_group()
        self._store = None

    def leave(self, status: int) -> NoReturn:
        """End this process, at once: where it failed, what is left of the connections is not waited for, and
        an interpreter that tears gloo's threads down as its last act aborts now and then ("terminate called
        without an active exception", torch 2.13)."""
        if status == 0:
            self.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankLost(self._who_is_lost()) from error

    def _who_is_lost(self) -> str:
        """A moment may pass until the one that went can be told from those that go because of it."""
        until = time.monotonic() + _LOOK_SECONDS
        while not self._lost and time.monotonic() < until:
            self._lost = self._last_word() or self._gone_process()
            time.sleep(0.05)
        return self._lost or "another rank is gone, or has not answered in time"

    def _last_word(self) -> str:
        assert self._store is not None
        try:
            return self._store.get(_FAILURE).decode() if self._store.check([_FAILURE]) else ""
        except RuntimeError:
            return ""

    def _gone_process(self) -> str:
        here = socket.gethostname()
        for rank, member in enumerate(self._members):
            if member.host == here and not member.alive:
                return f"rank {rank} (process {member.pid}) is gone"
        return ""

    @classmethod
    def join(cls, device: str = "auto") -> Group:
        """The group that a launcher has started this process in, by its environment variables (RANK,
        WORLD_SIZE, LOCAL_RANK, MASTER_ADDR ...); a group of one where there are none.

        ``device``: ``train.device``. Raises ``UserError`` where the devices do not suffice.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
        group = cls(rank, size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
        on_gpus = check_devices(device, group.local_size)
        group.device = f"cuda:{local_rank}" if on_gpus else "cpu"
        if on_gpus:
            torch.cuda.set_device(local_rank)
        elif "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, core_count() // group.local_size))
        group._store = store
        dist.init_process_group(
            "nccl" if on_gpus else "gloo",
            store=PrefixStore("yolotui", store),
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
            device_id=torch.device(group.device) if on_gpus else None,
        )
        group._hosts = dist.new_group(backend="gloo", timeout=PATIENCE)
        owns = [dist.new_group([each], backend="gloo") for each in range(size)]
        group.own = owns[rank]
        group._members = group.collect(Writer.here())
        return group


def _nothing() -> None:
    return None
